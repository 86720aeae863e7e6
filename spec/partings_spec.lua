-- What a group takes back from contact lists when a member leaves (`groups_remove_contacts`).

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function known(user) return world.known(server, user); end
local function logout_all() world.logout_all(server); end
local function remove(...) world.remove_members(server, ...); end
local function jid(name) return name.."@localhost"; end

describe("a member who leaves, with groups_remove_contacts, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("goes from the others' lists at once, with one push and unavailable presence, and they from its own", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a, b, c);
		world.forget(server);
		assert.is_true(call("remove_member", id, b));
		-- All of it within the call.
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.same({ [a] = "both" }, world.in_memory(server, c));
		assert.same({}, world.in_memory(server, b));
		local pushes = { world.pushes(server, a), world.pushes(server, b), world.pushes(server, c) };
		assert.equal("remove", pushes[1][b].subscription);
		assert.is_nil(pushes[1][c]);
		assert.equal("remove", pushes[2][a].subscription);
		assert.equal("remove", pushes[2][c].subscription);
		assert.equal("remove", pushes[3][b].subscription);
		assert.is_nil(pushes[3][a]);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ b..":unavailable" }, world.presences(server, c));
		local seen = world.presences(server, b);
		table.sort(seen);
		local expected = { a..":unavailable", c..":unavailable" };
		table.sort(expected);
		assert.same(expected, seen);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("is seen offline also if it logs out before the others' lists are changed", function ()
		local a, gone;
		for _ = 1, 10 do
			local members = { accounts(30) };
			local id = world.group(server, "G", members);
			world.login(server, table.unpack(members));
			a, gone = members[1], server:eval([[
				local id, a = ...;
				local sessions = hosts[host].sessions;
				for i = 3, select("#", ...) do
					local b = select(i, ...);
					assert(groups.remove_member(id, b));
					-- What is to be done takes longer than callers may, sooner or later in between.
					if sessions[a].roster[b.."@"..host] and not sessions[b].roster[a.."@"..host] then
						require "core.sessionmanager".destroy_session(prosody.spec_clients.session(b));
						return b;
					end
				end]], id, table.unpack(members));
			if gone then break; end
		end
		assert.is_string(gone, "both lists were changed at once, each time");
		server:wait_for("return hosts[host].sessions[...].roster[select(2, ...)] == nil", "the list is changed", 10, a,
			jid(gone));
		world.settle(server);
		local told = false;
		for _, presence in ipairs(world.presences(server, a)) do told = told or presence == gone..":unavailable"; end
		assert.is_true(told);
	end);

	it("is seen offline also by somebody whose list keeps the contact for another group's sake", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { Earlier = true } } },
			{ version = 7; groups_internal = '{"labels":{"gone":"Earlier"}}' });
		local id = world.group(server, "G", { a, b });
		world.settle(server);
		world.login(server, a, b);
		world.forget(server);
		call("remove_member", id, b);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.same({}, world.in_memory(server, b));
		assert.same({ b..":unavailable" }, world.presences(server, a));
	end);

	it("is seen offline before the push, so that no client hears of strangers, and is heard of no more", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a, b);
		world.forget(server);
		call("remove_member", id, b);
		for _, user in ipairs { a, b } do
			assert.same({ "presence", "iq" }, server:eval([[
				local names = {};
				for _, stanza in ipairs(prosody.spec_clients.session(...).received) do names[#names + 1] = stanza.name; end
				return names]], user));
		end
		world.forget(server);
		server:eval([[
			local clients = prosody.spec_clients;
			clients.send(clients.session(...), require "util.stanza".presence():text_tag("show", "away"));
			return true]], b);
		-- The member's own presence comes back to all of the member's resources.
		assert.same({ b..":available" }, world.presences(server, b));
		assert.same({}, world.presences(server, a));
	end);

	it("goes from the lists of those who are offline, in storage, and each is written once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.forget(server);
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = 1; [b] = 1; [c] = 1 }, world.writes(server));
		assert.is_nil(world.in_memory(server, a));
		world.login(server, a, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.same({}, world.in_memory(server, b));
		-- Nothing more is written, which a later change shows.
		world.forget(server);
		world.group(server, "Later", { accounts(2) });
		assert.is_nil(world.writes(server)[a]);
	end);

	it("goes from a list that is read before the background pass reaches it", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		-- The roster is read in the same turn, so nothing can have changed it.
		assert.same({ false, true }, server:eval([[
			local id, a, b, c = ...;
			groups.remove_member(id, b);
			local roster = require "core.rostermanager".load_roster(a, host);
			return { roster[b.."@"..host] ~= nil, roster[c.."@"..host] ~= nil };]], id, a, b, c));
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("goes from a list in Prosody's cache at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], a);
		call("remove_member", id, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("leaves roster versions that tell a device that was offline to fetch the list", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		local before = world.metadata(server, a).version;
		world.login(server, a);
		world.forget(server);
		remove(id, b);
		local after = world.metadata(server, a).version;
		assert.is_true(after > before);
		assert.equal(tostring(after), world.pushes(server, a)[b].ver);
	end);

	it("stays a contact where another group brings it, and loses only the label", function ()
		local a, b, c = accounts(3);
		local work = world.group(server, "Work", { a, b, c });
		world.group(server, "Choir", { a, b });
		world.login(server, a, b);
		world.forget(server);
		remove(work, b);
		assert.same({ [b] = world.both("Choir"); [c] = world.both("Work") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Choir") }, world.contacts(server, b));
		assert.same({ [a] = world.both("Work") }, world.contacts(server, c));
		local push = world.pushes(server, a)[b];
		assert.equal("both", push.subscription);
		assert.same({ "Choir" }, push.groups);
		assert.same({ "Choir" }, world.pushes(server, b)[a].groups);
		assert.equal("remove", world.pushes(server, b)[c].subscription);
		assert.same({}, world.presences(server, a));
	end);

	it("loses the label also where the user has cancelled the contact's subscription for the session", function ()
		local a, b = accounts(2);
		local first, second = world.group(server, "First", { a, b }), world.group(server, "Second", { a, b });
		world.login(server, a);
		server:eval([[
			local st, from, to = require "util.stanza", ...;
			prosody.spec_clients.send(prosody.spec_clients.session(from), st.presence({ type = "unsubscribed"; to = to }));
			return true]], a, jid(b));
		call("remove_member", first, b);
		world.settle(server);
		assert.equal("to,,,Second", world.contacts(server, a)[b]);
		call("remove_member", second, b);
		world.settle(server);
		assert.same({}, world.contacts(server, a));
	end);

	it("goes when the last of several groups gives it up", function ()
		local a, b = accounts(2);
		local work = world.group(server, "Work", { a, b });
		local choir = world.group(server, "Choir", { a, b });
		remove(work, b);
		assert.same({ [b] = world.both("Choir") }, world.contacts(server, a));
		remove(choir, a);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("of two groups at once goes as well", function ()
		local a, b, c = accounts(3);
		local work, choir = world.group(server, "Work", { a, b, c }), world.group(server, "Choir", { a, b });
		server:eval([[
			local work, choir, b = ...;
			return groups.remove_member(work, b) and groups.remove_member(choir, b)]], work, choir, b);
		world.settle(server);
		assert.same({ [c] = world.both("Work") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("may come back, as if nothing had been", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		for _ = 1, 3 do
			remove(id, b);
			assert.same({ [c] = world.both("G") }, world.contacts(server, a));
			call("add_member", id, b);
			world.settle(server);
			for _, user in ipairs { a, b, c } do
				assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
				assert.same({ labels = { [id] = "G" } }, known(user));
			end
		end
	end);

	it("may come back before the background pass has been at anything", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		server:eval([[
			local id, b = ...;
			return groups.remove_member(id, b) and groups.add_member(id, b)]], id, b);
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
			assert.same({ labels = { [id] = "G" } }, known(user));
		end
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("goes with a label that the group does not bear any more", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Old", { a, b, c });
		server:eval([[
			local id, b = ...;
			return groups.set_info(id, { name = "New" }) and groups.remove_member(id, b)]], id, b);
		world.settle(server);
		assert.same({ [c] = world.both("New") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		assert.same({ labels = { [id] = "New" } }, known(a));
	end);

	it("goes from a group that has another of the same name, which still brings it", function ()
		local a, b = accounts(2);
		local one = world.group(server, "Same", { a, b });
		local other = world.group(server, "Same", { a, b });
		remove(one, b);
		assert.same({ [b] = world.both("Same") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Same") }, world.contacts(server, b));
		remove(other, b);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("takes nothing along that others have put into a list", function ()
		local a, b = accounts(2);
		local own = { ["else@example.org"] = { subscription = "both"; groups = { G = true } };
			["other@localhost"] = { subscription = "both"; name = "O"; groups = {} } };
		world.store_roster(server, a, own, { pending = { ["new@example.org"] = true } });
		local id = world.group(server, "G", { a, b });
		remove(id, a);
		assert.same({ ["else@example.org"] = world.both("G"); other = "both,,O" }, world.contacts(server, a));
		assert.same({ ["new@example.org"] = true }, world.metadata(server, a).pending);
	end);

	it("leaves no trace in the items, and little beside them", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		for _, user in ipairs { a, b, c } do
			assert.same({ labels = { [id] = "G" } }, world.provenance(server, user));
			for _, item in pairs(server:stored_roster(user)) do
				assert.same({ subscription = "both"; groups = { G = true } }, item);
			end
		end
		remove(id, b);
		assert.same({ labels = { [id] = "G" } }, known(a));
		assert.is_nil(world.marker(server).partings);
	end);

	it("who comes and goes time and again makes nothing grow, though nobody is online", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G0", { a, b, c });
		for i = 1, 4 do
			remove(id, b);
			assert.is_true(call("set_info", id, { name = "G"..i }));
			world.settle(server);
			b = accounts(1);
			call("add_member", id, b);
			world.settle(server);
		end
		assert.same({ labels = { [id] = "G4" } }, world.provenance(server, a));
		assert.same({ [b] = world.both("G4"); [c] = world.both("G4") }, world.contacts(server, a));
	end);

	it("is never taken from a list without provenance", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		-- As storage does that drops what it does not know.
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { G = true } };
			[jid(c)] = { subscription = "both"; groups = { G = true } } }, { version = 1 });
		remove(id, b);
		assert.same({ [b] = world.both("G"); [c] = world.both("G") }, world.contacts(server, a));
		-- Clients may know a later version than this list was put back with.
		assert.is_true(world.metadata(server, a).version > 1);
		-- The others know.
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
	end);

	it("is never taken from a list that had no provenance when it was last settled", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { G = true } } }, { version = 1 });
		call("add_member", id, c);
		world.settle(server);
		assert.same({ [b] = world.both("G"); [c] = world.both("G") }, world.contacts(server, a));
		remove(id, b, c);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);

	it("is gone after a kill in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:try_eval([[
			local id, name, pid = ...;
			groups.remove_member(id, name);
			os.execute("kill -9 "..pid)]], id, b, server.pid);
		server:kill();
		-- Nothing is in storage but what is to be done.
		server.settings.modules = {};
		server:start();
		assert.same({ [id] = { [b] = true } }, world.marker(server).partings);
		assert.same(world.mutual(a, { a, b, c }, "G"), world.contacts(server, a));
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("is gone after a reload in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:eval([[
			local id, name = ...;
			groups.remove_member(id, name);
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], id, b);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("may be taken back once more, as by a server that was killed before it knew that it was done", function ()
		local a, b, c, d, gone = accounts(5);
		-- Of a's contacts, b is own and d was; what is left of all of them bears what is, or was, the group's label.
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; groups = { G = true } } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b, c, d, gone });
		world.login(server, a);
		world.edit(server, a, c, "Carl", "G");
		world.edit(server, a, d, nil, "G", "H");
		world.edit(server, a, gone, nil, "G", "H");
		assert.is_true(call("set_info", id, { name = "H" }));
		world.logout(server, a);
		world.settle(server);
		server:delete_user(gone);
		remove(id, b, c, d);
		local expected = { [b] = "to,,,G"; [c] = "none,,Carl"; [d] = "none,,,H"; [gone] = "none,,,H" };
		assert.same(expected, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
		for _ = 1, 2 do
			server.settings.modules = {};
			server:restart();
			server:eval([[
				local id, a, b, c, d, gone = ...;
				local store = require "core.storagemanager".open(host, "groups_internal", "keyval");
				local marker = store:get(nil);
				marker.partings = { [id] = { [b] = true, [c] = true, [d] = true } };
				marker.withdrawals = { [gone] = { [a] = true } };
				return store:set(nil, marker)]], id, a, b, c, d, gone);
			server.settings.modules = { "spec_clients", "groups_internal" };
			server:restart();
			world.settle(server);
			assert.same(expected, world.contacts(server, a));
			assert.same({ [a] = "from,," }, world.contacts(server, b));
		end
	end);

	it("costs nothing if it was never there", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a });
		world.forget(server);
		local before = world.marker(server);
		assert.is_true(call("remove_member", id, b));
		assert.same(before, world.marker(server));
	end);

	it("and had no account is as if it never was", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b, "unborn" });
		remove(id, "unborn");
		assert.same(world.mutual(a, { a, b }, "G"), world.contacts(server, a));
		assert.is_nil(world.contacts(server, "unborn"));
	end);
end);
