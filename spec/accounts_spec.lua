-- Accounts that appear and disappear while groups go on.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end

local function accounts(n)
	local names = world.names(n);
	server:create_user(table.unpack(names));
	return table.unpack(names);
end

local function jid(name) return name.."@localhost"; end

describe("a member without an account, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);

	local a, b, ghost, id;

	before_each(function ()
		a, b = accounts(2);
		ghost = world.name("ghost");
		id = world.group(server, "Haunted", { a, ghost, b });
	end);

	-- Everybody has everybody.
	local function complete()
		world.settle(server);
		local all = { a, b, ghost };
		for _, member in ipairs(all) do
			assert.same(world.mutual(member, all, "Haunted"), world.contacts(server, member));
		end
		assert.is_nil((world.marker(server).awaiting or {})[ghost]);
	end

	it("is stored, but is nobody's contact", function ()
		assert.same({ [a] = {}; [b] = {}; [ghost] = {} }, server:stored("groups", id));
		assert.same({ [b] = world.both("Haunted") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Haunted") }, world.contacts(server, b));
		assert.is_nil(world.contacts(server, ghost));
		assert.is_true(world.marker(server).awaiting[ghost]);
		call("sync", id);
		call("add_member", id, ghost);
		world.login(server, a);
		world.settle(server);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.same({ [b] = world.both("Haunted") }, world.contacts(server, a));
	end);

	it("is nobody's contact either when its roster is asked for", function ()
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], ghost);
		call("add_member", id, ghost);
		call("sync", id);
		assert.same({}, world.in_memory(server, ghost));
		world.settle(server);
		assert.is_nil(world.contacts(server, ghost));
	end);

	it("takes part when it is registered", function ()
		world.login(server, a);
		world.forget(server);
		server:create_user(ghost);
		server:eval([[
			module:fire_event("user-registered", { username = ..., host = host, source = "mod_register" })
			return true]], ghost);
		assert.truthy(world.pushes(server, a)[ghost]);
		assert.same({ [b] = "both"; [ghost] = "both" }, world.in_memory(server, a));
		complete();
	end);

	it("takes part when it logs in for the first time", function ()
		world.login(server, a);
		server:create_user(ghost);
		world.forget(server);
		world.login(server, ghost);
		assert.same({ [a] = "both"; [b] = "both" }, world.in_memory(server, ghost));
		assert.same({ [b] = "both"; [ghost] = "both" }, world.in_memory(server, a));
		assert.truthy(world.pushes(server, a)[ghost]);
		complete();
	end);

	it("takes part when it was made in the shell and sync is called", function ()
		server:create_user(ghost);
		call("sync", id);
		complete();
	end);

	it("takes part when it was made in the shell and is added again", function ()
		server:create_user(ghost);
		call("add_member", id, ghost);
		complete();
	end);

	it("takes part when it was made while the module was not there", function ()
		server.settings.modules = { "spec_clients" };
		server:restart();
		server:create_user(ghost);
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:restart();
		server:wait_for([[
			return not (require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil).awaiting or {})[...] ]],
			"it has been found", 10, ghost);
		complete();
	end);

	if harness.version ~= "0.12" then
		it("takes part when the shell gives it a role", function ()
			server:eval([[
				local um = require "core.usermanager";
				return assert(um.create_user_with_role(..., "secret", host, "prosody:registered"))]], ghost);
			complete();
		end);
	end

	it("is forgotten when it is removed", function ()
		call("remove_member", id, ghost);
		server:create_user(ghost);
		server:eval([[module:fire_event("user-registered", { username = ..., host = host }) return true]], ghost);
		world.login(server, ghost);
		world.settle(server);
		assert.same({}, world.in_memory(server, ghost));
		assert.is_nil(world.contacts(server, a)[ghost]);
	end);
end);

describe("a deleted account, "..title, function ()
	setup(function () server = world.new { hosts = { ["other.example"] = {} } }; end);
	teardown(function () server:destroy(); end);

	it("leaves groups, chats and contact lists", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "First", { a, b, c }, true);
		local other = world.group(server, "Second", { b, c });
		local muc_jid = call("get_info", id).muc_jid;
		world.login(server, a, b);
		server:eval([[
			prosody.spec_removed = {};
			module:hook("group-user-removed", function (event)
				local list = prosody.spec_removed;
				list[#list + 1] = event.user.." "..event.group_info.name;
			end);
			return true]]);
		world.forget(server);
		server:delete_user(b);
		assert.same({ [a] = {}; [c] = {} }, call("get_members", id));
		assert.same({ [a] = {}; [c] = {} }, server:stored("groups", id));
		assert.same({ [c] = {} }, server:stored("groups", other));
		assert.same({}, call("get_user_groups", b));
		assert.same({ b.." First", b.." Second" },
			server:eval("table.sort(prosody.spec_removed) return prosody.spec_removed"));
		assert.is_nil(server:eval([[
			local room, user = ...
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(room):get_affiliation(user)]],
			muc_jid, jid(b)));
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		world.settle(server);
		assert.same({ [c] = world.both("First") }, world.contacts(server, a));
		assert.same({ [a] = world.both("First") }, world.contacts(server, c));
		assert.is_nil(world.contacts(server, b));
		assert.is_nil(server:eval("return hosts[host].roster_cache and hosts[host].roster_cache:get(...)", jid(b)));
		local writes = world.writes(server);
		assert.is_nil(writes[b]);
		assert.equal(1, writes[a]);
		assert.equal(1, writes[c]);
	end);

	it("is seen offline by those who had it", function ()
		local a, b = accounts(2);
		world.group(server, "G", { a, b });
		world.login(server, a, b);
		world.forget(server);
		server:delete_user(b);
		local seen = server:eval("return prosody.spec_clients.presences(...)", a);
		assert.same({ from = jid(b); type = "unavailable" }, seen[1]);
	end);

	it("leaves contacts of its own as Prosody does", function ()
		local a, b = accounts(2);
		local own = accounts(1);
		world.store_roster(server, b, { [jid(own)] = { subscription = "both"; groups = {} } });
		world.store_roster(server, own, { [jid(b)] = { subscription = "both"; groups = {} } });
		world.group(server, "G", { a, b });
		server:delete_user(b);
		assert.equal("none,,", world.contacts(server, own)[b]);
		assert.is_nil(server:eval("return hosts[host].roster_cache and hosts[host].roster_cache:get(...)", jid(b)));
		server:create_user(b);
		world.login(server, b);
		assert.same({}, world.in_memory(server, b));
	end);

	it("leaves a friend of its own, once contacts are virtual that were stored", function ()
		local a, b = accounts(2);
		for _, pair in ipairs { { a, b }, { b, a } } do
			world.store_roster(server, pair[1], { [jid(pair[2])] = { subscription = "both"; groups = {} } });
		end
		world.group(server, "G", { a, b });
		world.settle(server);
		world.set_options(server, { groups_roster_mode = "virtual" });
		world.login(server, a, b);
		world.settle(server);
		server:delete_user(b);
		assert.equal("none,,", world.contacts(server, a)[b]);
		world.set_options(server, { groups_roster_mode = "permanent" });
	end);

	it("takes requests for contact with it along", function ()
		local a, b = accounts(2);
		world.group(server, "G", { a, b });
		server:eval([[
			local user, contact = ...;
			local rm = require "core.rostermanager";
			local roster = rm.load_roster(user, host);
			roster[false].pending[contact] = true;
			return rm.save_roster(user, host, roster)]], a, jid(b));
		server:delete_user(b);
		world.settle(server);
		assert.same({}, world.metadata(server, a).pending);
		assert.same({}, world.contacts(server, a));
	end);

	it("is withdrawn after a kill, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:try_eval([[
			local name, pid = ...;
			require "core.usermanager".delete_user(name, host);
			os.execute("kill -9 "..pid)]], b, server.pid);
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [a] = {}; [c] = {} }, server:stored("groups", id));
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
	end);

	it("leaves a clean name to a new account", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, b);
		server:delete_user(b);
		world.logout(server, b);
		world.settle(server);
		server:create_user(b);
		world.login(server, b);
		assert.same({}, world.in_memory(server, b));
		assert.same({}, call("get_user_groups", b));
		call("add_member", id, b);
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
	end);

	it("leaves a clean name to a new account that is added before it logs in", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		server:delete_user(b);
		world.settle(server);
		server:create_user(b);
		assert.is_true(call("add_member", id, b));
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
	end);

	it("does not leave a friendship to a new account that is made before contact lists are saved", function ()
		local a, b = accounts(2);
		for user, contact in pairs { [a] = b; [b] = a } do
			world.store_roster(server, user, { [jid(contact)] = { subscription = "both"; groups = {} } });
		end
		world.group(server, "G", { a, b });
		-- The list of the other is in storage only.
		server:restart();
		server:eval([[
			local um, user = require "core.usermanager", ...;
			assert(um.delete_user(user, host) and um.create_user(user, "secret", host));
			module:fire_event("user-registered", { username = user, host = host, source = "spec" });
			return true]], b);
		world.settle(server);
		assert.same({ [b] = "none,," }, world.contacts(server, a));
	end);

	it("takes nothing from a new account that another group brings and leaves behind", function ()
		local a, b = accounts(2);
		world.group(server, "G", { a, b });
		local id = world.group(server, "K", { a });
		world.login(server, a);
		server:eval([[
			local um, groups, id, user = require "core.usermanager", hosts[host].modules.groups_internal, ...;
			return um.delete_user(user, host) and um.create_user(user, "secret", host)
				and groups.add_member(id, user) and groups.delete(id)]], id, b);
		world.settle(server);
		assert.same({ [b] = world.both("K") }, world.contacts(server, a));
	end);

	it("of another host is of no concern", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		server:eval([[prosody.events.fire_event("user-deleted", { username = ..., host = "other.example" }) return true]], b);
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
	end);

	it("that is in no group costs nothing", function ()
		local a = accounts(1);
		local before = world.marker(server);
		server:delete_user(a);
		assert.same(before, world.marker(server));
	end);
end);

describe("an account that is deleted after a member has left, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);

	it("goes from the lists of those who left, where only the group had put it there", function ()
		local a, b, c, own, named = accounts(5);
		for user, contact in pairs { [own] = b; [b] = own } do
			world.store_roster(server, user, { [jid(contact)] = { subscription = "both"; groups = { Friends = true } } });
		end
		local id = world.group(server, "G", { a, b, c, own, named });
		world.login(server, named);
		world.edit(server, named, b, "Bobby", "G");
		world.logout(server, named);
		for _, member in ipairs { a, own, named } do call("remove_member", id, member); end
		-- Contacts are permanent, as long as there is somebody.
		assert.equal(world.both("G"), world.contacts(server, a)[b]);
		world.login(server, a);
		world.forget(server);
		server:delete_user(b);
		assert.same({ [c] = "both"; [own] = "both"; [named] = "both" }, world.in_memory(server, a));
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		world.settle(server);
		assert.same(world.mutual(a, { a, c, own, named }, "G"), world.contacts(server, a));
		assert.same({ [own] = world.both("G"); [a] = world.both("G"); [named] = world.both("G") }, world.contacts(server, c));
		assert.equal("none,,,Friends", world.contacts(server, own)[b]);
		assert.equal("none,,Bobby", world.contacts(server, named)[b]);
	end);

	it("goes from the lists of those who stayed, when it had left itself", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		call("remove_member", id, b);
		assert.equal(world.both("G"), world.contacts(server, a)[b]);
		server:delete_user(b);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
	end);

	it("goes from the list of a contact that it had removed from its own", function ()
		local a, b = accounts(2);
		call("delete", world.group(server, "G", { a, b }));
		world.login(server, b);
		world.take_off(server, b, a);
		assert.is_not_nil(world.contacts(server, a)[b]);
		server:delete_user(b);
		world.settle(server);
		assert.same({}, world.contacts(server, a));
	end);

	it("goes from all lists when the group is gone, also after a restart", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		call("delete", id);
		server:restart();
		assert.equal(world.both("G"), world.contacts(server, a)[b]);
		server:delete_user(b);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
	end);
end);

if harness.version ~= "0.12" then
	describe("a disabled account, "..title, function ()
		-- internal_plain cannot disable accounts.
		setup(function () server = world.new { host_options = { authentication = "internal_hashed" } }; end);
		teardown(function () server:destroy(); end);

		local function set_enabled(user, enabled)
			assert.is_true(server:eval([[
				local um, user, enabled = require "core.usermanager", ...;
				if enabled then assert(um.enable_user(user, host)); else assert(um.disable_user(user, host)); end
				return um.user_is_enabled(user, host) == enabled]], user, enabled));
		end

		it("keeps membership, affiliation and contacts, in the lists of others, too", function ()
			local a, b, c, d = accounts(4);
			local id = world.group(server, "G", { a, b, c }, true);
			local room = call("get_info", id).muc_jid;
			world.login(server, a);
			world.forget(server);
			set_enabled(b, false);
			call("sync", id);
			assert.is_true(call("add_member", id, d));
			assert.is_true(call("set_info", id, { name = "H" }));
			world.settle(server);
			local all = { a, b, c, d };
			for _, member in ipairs(all) do
				assert.same(world.mutual(member, all, "H"), world.contacts(server, member));
			end
			assert.same({ [a] = {}; [b] = {}; [c] = {}; [d] = {} }, call("get_members", id));
			assert.equal("member", server:eval([[
				local room, user = ...;
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(room):get_affiliation(user)]], room, jid(b)));
			server:restart();
			call("sync", id);
			world.settle(server);
			assert.same(world.mutual(a, all, "H"), world.contacts(server, a));
			assert.same({}, call("check"));
			set_enabled(b, true);
			world.login(server, b);
			assert.same({ [a] = "both"; [c] = "both"; [d] = "both" }, world.in_memory(server, b));
		end);

		it("takes part when it is added while it is disabled", function ()
			local a, b = accounts(2);
			local id = world.group(server, "G", { a });
			set_enabled(b, false);
			call("add_member", id, b);
			world.settle(server);
			assert.same({ [b] = world.both("G") }, world.contacts(server, a));
			assert.same({ [a] = world.both("G") }, world.contacts(server, b));
		end);
	end);
end

describe("an account deleted behind the server's back, "..title, function ()
	it("is found by check(), and by repair() taken out of groups, chats and contact lists", function ()
		server = world.new();
		finally(function () server:destroy(); end);
		local a, b, gone = accounts(3);
		local id = world.group(server, "Haunted", { a, b, gone, "unborn" });
		world.settle(server);
		assert.same({}, call("check"));
		-- As a server that does not have the module would do it.
		server:stop();
		server.settings.modules = {};
		server:start();
		server:eval([[
			local storage = require "core.storagemanager";
			assert(storage.open(host, "accounts", "keyval"):set(..., nil));
			storage.open(host, "roster", "keyval"):set(..., nil);
			return true]], gone);
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
		world.settle(server);
		local found = { { problem = "account-missing"; user = gone; groups = { id } } };
		assert.same(found, call("check"));
		assert.truthy(call("get_members", id)[gone]);
		assert.same(found, call("repair"));
		world.wait_until(function () return not world.contacts(server, b)[gone]; end, "the contact is gone from storage");
		assert.same({}, call("check"));
		assert.is_nil(call("get_members", id)[gone]);
		assert.truthy(call("get_members", id).unborn);
		assert.same(world.mutual(b, { a, b }, "Haunted"), world.contacts(server, b));
	end);
end);
