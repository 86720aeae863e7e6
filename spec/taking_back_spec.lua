-- What groups take back when they or accounts are deleted; the option, data of the Lua module, and storage that fails.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function contact_of(...) return world.contact_of(server, ...); end
local function known(user) return world.known(server, user); end
local function logout_all() world.logout_all(server); end
local function remove(...) world.remove_members(server, ...); end
local function jid(name) return name.."@localhost"; end

describe("a group that is deleted, with groups_remove_contacts, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("takes back what it has brought, from those online at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a, b);
		world.forget(server);
		assert.is_true(call("delete", id));
		assert.same({}, world.in_memory(server, a));
		assert.same({}, world.in_memory(server, b));
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		assert.equal("remove", world.pushes(server, a)[c].subscription);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ a..":unavailable" }, world.presences(server, b));
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same({}, world.contacts(server, user));
		end
		assert.is_nil(world.marker(server).partings);
	end);

	it("leaves what is the users' own, or another group's", function ()
		local a, b, c = accounts(3);
		world.store_roster(server, a, { [jid(c)] = { subscription = "to"; groups = {} } });
		world.store_roster(server, c, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b, c });
		world.group(server, "Other", { b, c });
		world.login(server, b);
		world.edit(server, b, a, "Ann", "G");
		call("delete", id);
		world.settle(server);
		assert.same({ [c] = "to,," }, world.contacts(server, a));
		assert.same({ [a] = "none,,Ann"; [c] = world.both("Other") }, world.contacts(server, b));
		assert.same({ [a] = "from,,"; [b] = world.both("Other") }, world.contacts(server, c));
	end);

	it("may be made again under its id, with another name and other members, at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		server:eval([[
			local id, a, c = ...;
			return groups.delete(id) and groups.create({ name = "H" }, false, id) and groups.add_member(id, a)
				and groups.add_member(id, c)]],
			id, a, c);
		world.settle(server);
		assert.same({ [c] = world.both("H") }, world.contacts(server, a));
		assert.same({ [a] = world.both("H") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
		assert.same({ labels = { [id] = "H" } }, known(a));
	end);

	it("may be made again under its id, with the same members", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		server:eval([[
			local id, a, b = ...;
			return groups.delete(id) and groups.create({ name = "H" }, false, id) and groups.add_member(id, a)
				and groups.add_member(id, b)]],
			id, a, b);
		world.settle(server);
		assert.same({ [b] = world.both("H") }, world.contacts(server, a));
		assert.same({ [a] = world.both("H") }, world.contacts(server, b));
		call("delete", id);
		world.settle(server);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("takes back after a kill in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:try_eval([[
			local id, pid = ...;
			groups.delete(id);
			os.execute("kill -9 "..pid)]], id, server.pid);
		server:kill();
		server:start();
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same({}, world.contacts(server, user));
		end
	end);
end);

for _, option in ipairs { false, true } do
	describe(("an account that is deleted, with groups_remove_contacts %s, %s"):format(option, title), function ()
		setup(function () server = world.new { host_options = { groups_remove_contacts = option } }; end);
		teardown(function () server:destroy(); end);
		after_each(logout_all);

		it("goes from all lists where only groups had put it, those of former members, too", function ()
			local a, b, c, d = accounts(4);
			local id = world.group(server, "G", { a, b, c, d });
			world.login(server, a);
			if not option then
				remove(id, d);
				assert.equal(world.both("G"), contact_of(d, b));
			end
			world.forget(server);
			server:delete_user(b);
			assert.equal("remove", world.pushes(server, a)[b].subscription);
			world.settle(server);
			for _, user in ipairs { a, c, d } do
				assert.is_nil(contact_of(user, b));
			end
			assert.equal(world.both("G"), contact_of(a, c));
		end);

		it("stays with subscription none where it was a contact before", function ()
			local a, b, c = accounts(3);
			world.store_roster(server, a, { [jid(b)] = { subscription = "to"; groups = { Friends = true } } });
			world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
			world.group(server, "G", { a, b, c });
			server:delete_user(b);
			world.settle(server);
			assert.same({ [b] = "none,,,Friends"; [c] = world.both("G") }, world.contacts(server, a));
			assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		end);

		it("stays with subscription none where the user has named it or put it into a group", function ()
			local a, b, c = accounts(3);
			world.group(server, "G", { a, b, c });
			world.login(server, a, c);
			world.edit(server, a, b, "Bobby", "G");
			world.edit(server, c, b, nil, "G", "Friends");
			server:delete_user(b);
			world.settle(server);
			assert.equal("none,,Bobby", contact_of(a, b));
			assert.equal("none,,,Friends", contact_of(c, b));
		end);
	end);
end

describe("the option groups_remove_contacts, "..title, function ()
	before_each(function () server = world.new(); end);
	after_each(function () server:destroy(); end);

	it("is off by default: nothing is taken back from who leaves, or when a group is deleted", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		world.forget(server);
		remove(id, b);
		call("delete", id);
		-- Something that changes after all shows that the background has been through.
		world.group(server, "Other", { accounts(2) });
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
			assert.is_nil(world.writes(server)[user]);
		end
		assert.same({}, world.pushes(server, a));
		assert.same({}, world.presences(server, a));
	end);

	it("takes effect with a reload, for what happens afterwards", function ()
		local a, b, c, d = accounts(4);
		local id = world.group(server, "G", { a, b, c, d });
		remove(id, b);
		world.set_options(server, { groups_remove_contacts = true });
		remove(id, c);
		local expected = { [b] = world.both("G"); [d] = world.both("G") };
		assert.same(expected, world.contacts(server, a));
		assert.same({ [a] = world.both("G"); [b] = world.both("G") }, world.contacts(server, d));
		-- What was left before stays, on both sides: b has left when nothing was taken back.
		assert.same(world.mutual(b, { a, b, c, d }, "G"), world.contacts(server, b));
		world.set_options(server, { groups_remove_contacts = false });
		remove(id, d);
		assert.same(expected, world.contacts(server, a));
	end);

	it("takes effect with a restart, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server.settings.host_options = { groups_remove_contacts = true };
		server:restart();
		world.settle(server);
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("may be switched off while something is being taken back", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.set_options(server, { groups_remove_contacts = true });
		server.settings.host_options.groups_remove_contacts = false;
		server:write_config();
		server:eval([[
			local id, name = ...;
			groups.remove_member(id, name);
			prosody.reload_config();
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], id, b);
		world.settle(server);
		-- It had happened before.
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);
end);

describe("data of the Lua module, "..title, function ()
	local a, b, c = table.unpack(world.names(3));

	-- Writes what that module would have left, behind the back of a server that has none, and starts it with this one.
	local function start_after(items)
		server = world.new { modules = { "groups_internal" }; host_options = { groups_remove_contacts = true } };
		server.settings.modules = {};
		server:restart();
		server:create_user(a, b, c);
		server:store("group_info", "old", { name = "Old" });
		server:store("groups", "old", { [a] = {}; [b] = {}; [c] = {} });
		server:store("groups_internal", nil, nil);
		for user, contacts in pairs(items) do
			world.store_roster(server, user, contacts, { version = 7 });
		end
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
	end

	after_each(function () server:destroy(); end);

	local function labelled(more)
		local item = { subscription = "both"; groups = { Old = true } };
		for key, value in pairs(more or {}) do item[key] = value; end
		return item;
	end

	local function everybody(of_a)
		return {
			[a] = of_a or { [jid(b)] = labelled(); [jid(c)] = labelled() };
			[b] = { [jid(a)] = labelled(); [jid(c)] = labelled() };
			[c] = { [jid(a)] = labelled(); [jid(b)] = labelled() };
		};
	end

	it("count as the group's where they bear its label", function ()
		start_after(everybody());
		world.settle(server);
		assert.same(world.mutual(a, { a, b, c }, "Old"), world.contacts(server, a));
		remove("old", b);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = world.both("Old") }, world.contacts(server, c));
	end);

	it("count as the user's own where they bear no label, or have a name or another group", function ()
		start_after(everybody { [jid(b)] = { subscription = "both"; groups = {} }; [jid(c)] = labelled { name = "Carl" } });
		world.settle(server);
		remove("old", b, c);
		assert.same({ [b] = "both,,"; [c] = "none,,Carl" }, world.contacts(server, a));
	end);

	it("count as the group's in lists that are read before the background pass reaches them", function ()
		start_after(everybody());
		world.login(server, a);
		assert.is_true(call("remove_member", "old", b));
		world.settle(server);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
	end);

	it("count as the group's in the list of a member who leaves before the background pass has reached it", function ()
		start_after(everybody());
		-- As at a first start, with the member leaving in the same turn.
		world.settle(server);
		assert.is_true(server:eval([[
			local a, b, c = ...;
			local mm, sm = require "core.modulemanager", require "core.storagemanager";
			mm.unload(host, "groups_internal");
			sm.open(host, "groups_internal", "keyval"):set(nil, nil);
			local others = { [a] = { b, c }, [b] = { a, c }, [c] = { a, b } };
			for user, contacts in pairs(others) do
				local roster = { [false] = { version = 7 } };
				for _, contact in ipairs(contacts) do
					roster[contact.."@"..host] = { subscription = "both", groups = { Old = true } };
				end
				sm.open(host, "roster", "keyval"):set(user, roster);
			end
			mm.load(host, "groups_internal");
			return hosts[host].modules.groups_internal.remove_member("old", b)]], a, b, c));
		world.settle(server);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Old") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("of a user who is not a member stay as they are", function ()
		local items = everybody();
		items.d = { [jid(a)] = labelled() };
		start_after(items);
		server:create_user("d");
		world.settle(server);
		remove("old", a);
		assert.same({ [a] = world.both("Old") }, world.contacts(server, "d"));
	end);

	it("written by it in between count as the user's own later on", function ()
		start_after(everybody());
		world.settle(server);
		-- Back to the Lua module, which adds a member, and forth again.
		server.settings.modules = {};
		server:restart();
		server:create_user("e");
		server:eval([[
			local user, e = ...;
			require "core.storagemanager".open(host, "groups", "map"):set("old", e, {});
			local rm = require "core.rostermanager";
			local roster = rm.load_roster(user, host);
			roster[e.."@"..host] = { subscription = "both", groups = { Old = true } };
			return rm.save_roster(user, host, roster)]], a, "e");
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:restart();
		call("add_member", "old", b);
		call("sync", "old");
		world.settle(server);
		remove("old", b);
		assert.is_nil(contact_of(a, b));
		assert.equal(world.both("Old"), contact_of(a, c));
		assert.truthy(contact_of(a, "e"));
	end);
end);

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("with Prosody "..harness.version..", what is taken back from storage that fails", function ()
	setup(function () server = world.new { storage = "failing"; host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);

	local function fail(rule) server:eval("prosody.spec_failing.fail(...) return true", rule); end
	local function clear() server:eval("prosody.spec_failing.clear() return true"); end

	after_each(function () clear(); logout_all(); end);

	it("is taken back later", function ()
		local members = { accounts(7) };
		local b = members[6];
		local id = world.group(server, "G", members);
		local mark = server:log_mark();
		for i, rule in ipairs { { method = "set" }, { method = "get" }, { method = "set"; throw = true },
			{ method = "get"; throw = true },
			{ method = "set"; after = true } } do
			rule.store, rule.username = "roster", members[i];
			fail(rule);
		end
		assert.is_true(call("remove_member", id, b));
		for i = 1, 5 do
			server:wait_for_log("groups_internal\twarn\t[^\n]*"..members[i].." ", mark);
		end
		assert.same({ [b] = true }, world.marker(server).partings[id]);
		-- Those that cannot be read cannot be looked at, either.
		assert.equal(world.both("G"), contact_of(members[1], b));
		assert.equal(world.both("G"), contact_of(members[3], b));
		clear();
		world.settle(server, 30);
		table.remove(members, 6);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "G"), world.contacts(server, member));
			assert.same({ labels = { [id] = "G" } }, known(member));
		end
		assert.same({}, world.contacts(server, b));
	end);

	it("is taken back from a user who is online though it cannot be saved, and after a kill again", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		fail { store = "roster"; method = "set"; username = a };
		local mark = server:log_mark();
		call("remove_member", id, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		server:wait_for_log("groups_internal\twarn\t[^\n]*"..a.." ", mark);
		assert.equal(world.both("G"), contact_of(a, b));
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("restores what was there before though that cannot be saved at first", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; name = "Bobby"; groups = {} } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		local mark = server:log_mark();
		fail { store = "roster"; method = "set"; username = a };
		call("remove_member", id, b);
		server:wait_for_log("groups_internal\twarn\t[^\n]*"..a.." ", mark);
		-- What it was is still known, and found again by a server that was killed.
		assert.equal("to", world.provenance(server, a).notes[b].subscription);
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [b] = "to,,Bobby" }, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
	end);

	it("is not begun when that cannot be noted first", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		fail { store = "groups_internal"; method = "set" };
		assert.same({ nil, "internal-server-error" }, { call("remove_member", id, b) });
		assert.same({ nil, "internal-server-error" }, { call("delete", id) });
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		clear();
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
		assert.is_true(call("remove_member", id, b));
		world.settle(server);
		assert.same({}, world.contacts(server, a));
	end);
end);
