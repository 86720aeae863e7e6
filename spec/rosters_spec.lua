-- Contact lists: what ends up in them, what is sent to clients, and how often they are written.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("contact lists with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- Makes accounts of names that no other spec uses.
	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	local function jid(name) return name.."@localhost"; end

	setup(function ()
		server = world.new();
	end);

	teardown(function ()
		server:destroy();
	end);

	after_each(function ()
		server:eval([[
			for _, user in pairs(hosts[host].sessions) do
				for _, session in pairs(user.sessions) do prosody.spec_clients.logout(session); end
			end
			return true]]);
	end);

	it("hold every other member, and never their owner", function ()
		local members = { accounts(4) };
		world.group(server, "Four", members);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Four"), world.contacts(server, member));
		end
	end);

	it("hold every other member after a delayed add of many and one sync", function ()
		local members = { accounts(12) };
		local id = call("create", { name = "Dozen" });
		for _, member in ipairs(members) do call("add_member", id, member, true); end
		world.forget(server);
		call("sync", id);
		world.settle(server);
		local expected = {};
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Dozen"), world.contacts(server, member));
			expected[member] = 1;
		end
		assert.same(expected, world.writes(server));
	end);

	-- In so much garbage, Lua's collector finds what nobody holds.
	local make_garbage = "for i = 1, 40000 do local _ = { i }; end ";

	it("are changed without Lua's collector, which goes on soon afterwards", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a });
		world.login(server, a);
		world.settle(server);
		assert.is_true(server:eval([[
			collectgarbage();
			groups.add_member(...);
			prosody.unheld = setmetatable({ {} }, { __mode = "v" });]]..make_garbage..[[
			return prosody.unheld[1] ~= nil;]], id, b));
		server:wait_for(make_garbage.."return prosody.unheld[1] == nil", "the collector goes on");
	end);

	it("are sent presence without Lua's collector", function ()
		local a, b = accounts(2);
		world.group(server, "G", { a, b });
		world.login(server, a);
		world.settle(server);
		assert.is_true(server:eval([[
			local session = select(2, next(hosts[host].sessions[...].sessions));
			local is_held;
			local function look()
				local unheld = setmetatable({ {} }, { __mode = "v" });]]..make_garbage..[[
				is_held = unheld[1] ~= nil;
			end
			module:hook("presence/bare", look, 100);
			collectgarbage();
			prosody.core_post_stanza(session, require "util.stanza".presence({ from = session.full_jid }), true);
			module:unhook("presence/bare", look);
			return is_held;]], a));
	end);

	it("carry the label of every group that is shared", function ()
		local a, b, c = accounts(3);
		world.group(server, "Work", { a, b, c });
		world.group(server, "Choir", { a, b });
		assert.same({ [b] = world.both("Choir", "Work"); [c] = world.both("Work") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Choir", "Work"); [c] = world.both("Work") }, world.contacts(server, b));
		assert.same({ [a] = world.both("Work"); [b] = world.both("Work") }, world.contacts(server, c));
	end);

	it("keep the name and the groups that an item had", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; name = "Bobby"; groups = { Friends = true } };
			["else@example.org"] = { subscription = "to"; name = "Else"; groups = {} } });
		world.group(server, "Fam", { a, b });
		assert.same({ [b] = "both,,Bobby,Fam,Friends"; ["else@example.org"] = "to,,Else" }, world.contacts(server, a));
	end);

	for _, prior in ipairs { { subscription = "none" }, { subscription = "to" }, { subscription = "from" },
		{ subscription = "none"; ask = "subscribe" },
		{ subscription = "from"; ask = "subscribe" }, { subscription = "to"; name = "N" } } do
		it(("turn subscription %s%s into both"):format(prior.subscription, prior.ask and ", asked for," or ""), function ()
			local a, b = accounts(2);
			prior.groups = {};
			world.store_roster(server, a, { [jid(b)] = prior });
			world.login(server, a);
			world.forget(server);
			world.group(server, "G", { a, b });
			assert.same({ [b] = ("both,,%s,G"):format(prior.name or "") }, world.contacts(server, a));
			assert.same({ [a] = world.both("G") }, world.contacts(server, b));
			assert.same({ jid = jid(b); subscription = "both"; name = prior.name; groups = { "G" };
				ver = world.pushes(server, a)[b].ver },
				world.pushes(server, a)[b]);
		end);
	end

	it("lose the request that a contact had made", function ()
		local a, b, c = accounts(3);
		world.store_roster(server, a, {}, { pending = { [jid(b)] = true; [jid(c)] = true } });
		world.group(server, "G", { a, b });
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [jid(c)] = true }, world.metadata(server, a).pending);
	end);

	it("lose the request that a contact had made, also where the item is as it should be", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { G = true } } },
			{ pending = { [jid(b)] = true } });
		world.login(server, a);
		world.forget(server);
		world.group(server, "G", { a, b });
		assert.same({}, world.metadata(server, a).pending);
		assert.same({}, world.pushes(server, a));
	end);

	it("of those online change at once, with one push each and presence both ways", function ()
		local a, b, c = accounts(3);
		world.login(server, a, b);
		local id = world.group(server, "Trio", { a, c });
		world.forget(server);
		call("add_member", id, b);
		-- All of it within the call.
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
		assert.same({ [a] = "both"; [c] = "both" }, world.in_memory(server, b));
		local to_a, to_b = world.pushes(server, a), world.pushes(server, b);
		assert.same({ "Trio" }, to_a[b].groups);
		assert.equal("both", to_a[b].subscription);
		assert.is_nil(to_a[c]);
		assert.truthy(to_b[a] and to_b[c]);
		local from = function (user)
			local seen = {};
			for _, presence in ipairs(server:eval("return prosody.spec_clients.presences(...)", user)) do
				seen[#seen + 1] = presence.from..":"..presence.type;
			end
			return seen;
		end
		assert.same({ jid(b)..":available" }, from(a));
		assert.same({ jid(a)..":available" }, from(b));
	end);

	it("push nothing to clients that are not interested", function ()
		local a, b = accounts(2);
		server:eval("prosody.spec_clients.bind(...) return true", a);
		world.group(server, "G", { a, b });
		assert.same({}, world.pushes(server, a));
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);

	it("push before presence, so that no client hears of strangers", function ()
		local a, b = accounts(2);
		world.login(server, a, b);
		world.forget(server);
		world.group(server, "G", { a, b });
		for _, user in ipairs { a, b } do
			assert.same({ "iq", "presence" }, server:eval([[
				local names = {};
				for _, stanza in ipairs(prosody.spec_clients.session(...).received) do names[#names + 1] = stanza.name; end
				return names]], user));
		end
	end);

	it("are written once in a burst, and once each", function ()
		local members = { accounts(8) };
		local id = call("create", { name = "Burst" });
		world.forget(server);
		server:eval([[
			local id = ...;
			for i = 2, select("#", ...) do groups.add_member(id, (select(i, ...))); end
			return true]], id, table.unpack(members));
		assert.same({}, world.writes(server));
		world.settle(server);
		local expected = {};
		for _, member in ipairs(members) do expected[member] = 1; end
		assert.same(expected, world.writes(server));
	end);

	it("are neither written nor pushed when nothing changes", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a, b });
		world.forget(server);
		call("add_member", id, a);
		call("add_member", id, b);
		call("sync", id);
		call("emit_member_events", id);
		world.settle(server);
		world.logout(server, a);
		world.login(server, a);
		-- Something that changes after all shows that the background has been through.
		local c = accounts(1);
		world.group(server, "Other", { c, (accounts(1)) });
		assert.is_nil(world.writes(server)[a]);
		assert.is_nil(world.writes(server)[b]);
		assert.same({}, world.pushes(server, a));
	end);

	it("wait for sync after a delayed add, whoever else is at work", function ()
		local a, b, c, d = accounts(4);
		world.login(server, a);
		local id = call("create", { name = "Later" });
		call("add_member", id, a, true);
		call("add_member", id, b, "false");
		world.forget(server);
		local other = call("create", { name = "Other" });
		call("add_member", other, c);
		call("add_member", other, d);
		server:wait_for("return #prosody.spec_clients.writes == 2");
		assert.is_nil(world.contacts(server, a));
		assert.same({}, world.pushes(server, a));
		assert.is_true(world.marker(server).unsettled[id]);
		call("sync", id);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		world.settle(server);
		assert.same({ [b] = world.both("Later") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Later") }, world.contacts(server, b));
	end);

	it("that are touched meanwhile take a delayed add in", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Later" });
		call("add_member", id, a, true);
		call("add_member", id, b, true);
		world.login(server, a);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		call("sync", id);
		world.settle(server);
		assert.same({ [a] = world.both("Later") }, world.contacts(server, b));
	end);

	it("keep their contacts when a member is removed or the group is deleted", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		call("remove_member", id, b);
		call("delete", id);
		call("create", { name = "G" }, false, id);
		call("add_member", id, a);
		world.settle(server);
		assert.same(world.mutual(a, { b, c }, "G"), world.contacts(server, a));
		assert.same(world.mutual(b, { a, c }, "G"), world.contacts(server, b));
	end);

	it("gain the new label when a group is renamed", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "Old", { a, b });
		call("set_info", id, { name = "New" });
		world.settle(server);
		assert.truthy(world.contacts(server, a)[b]:find("New", 1, true));
		assert.truthy(world.contacts(server, b)[a]:find("New", 1, true));
	end);

	it("in Prosody's cache change at once, too, and are in storage later", function ()
		local a, b = accounts(2);
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], a);
		local id = call("create", { name = "Cached" });
		call("add_member", id, a);
		call("add_member", id, b);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		world.settle(server);
		assert.same({ [b] = world.both("Cached") }, world.contacts(server, a));
		-- A login takes the cached table over.
		world.login(server, a);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
	end);

	it("that only the background brought into memory leave it", function ()
		local a, b, c = accounts(3);
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], a);
		world.group(server, "G", { a, b, c });
		assert.is_nil(world.in_memory(server, b));
		assert.is_nil(world.in_memory(server, c));
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
	end);

	it("bring a contact back that its owner took off, but only with the next session", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		server:eval([[
			local st, user, contact = require "util.stanza", ...;
			prosody.spec_clients.send(prosody.spec_clients.session(user), st.iq({ type = "set", id = "remove" })
				:tag("query", { xmlns = "jabber:iq:roster" })
				:tag("item", { xmlns = "jabber:iq:roster", jid = contact, subscription = "remove" }));
			return true]], a, jid(b));
		assert.is_nil(world.contacts(server, a)[b]);
		world.forget(server);
		call("add_member", id, c);
		call("sync", id);
		world.settle(server);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.is_nil(world.pushes(server, a)[b]);
		world.logout(server, a);
		world.login(server, a);
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
		server:wait_for([[
			local roster = require "core.storagemanager".open(host, "roster", "keyval"):get((...));
			return roster[(select(2, ...))] ~= nil]], "the contact is stored again", 10, a, jid(b));
		assert.same(world.mutual(a, { b, c }, "G"), world.contacts(server, a));
	end);

	it("bring a subscription back that its owner cancelled, but only with the next session", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		server:eval([[
			local st, user, contact = require "util.stanza", ...;
			prosody.spec_clients.send(prosody.spec_clients.session(user), st.presence({ type = "unsubscribe", to = contact }));
			return true]], a, jid(b));
		assert.same({ [b] = "from" }, world.in_memory(server, a));
		call("sync", id);
		call("add_member", id, b);
		assert.same({ [b] = "from" }, world.in_memory(server, a));
		world.logout(server, a);
		world.login(server, a);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
	end);

	it("of a server full of groups are settled by one add each", function ()
		local a, b, c = accounts(3);
		for i = 1, 5 do
			local id = call("create", { name = "N"..i });
			for _, name in ipairs { a, b, c } do call("add_member", id, name); end
		end
		world.settle(server);
		assert.same({ [b] = world.both("N1", "N2", "N3", "N4", "N5"); [c] = world.both("N1", "N2", "N3", "N4", "N5") },
			world.contacts(server, a));
	end);
end);
