-- The published layout of the stores, read and written.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("stored data with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- Stores records behind the module's back and has it read them: a plain unload and load.
	local function with_records(source, ...)
		server:eval([[
			require "core.modulemanager".unload(host, "groups_internal");
			local sm = require "core.storagemanager";
			local infos, members = sm.open(host, "group_info", "keyval"), sm.open(host, "groups", "keyval");
			]]..source..[[
			require "core.modulemanager".load(host, "groups_internal");
			return true]], ...);
	end

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob");
	end);

	teardown(function ()
		server:destroy();
	end);

	it("written by hand are read", function ()
		with_records([[
			infos:set("byhand", { name = "By Hand", muc_jid = "a@groups.localhost" });
			infos:set("chats", { name = "Chats", mucs = { "b@groups.localhost", "c@groups.localhost" } });
			members:set("byhand", { alice = {}, bob = true, carl = { since = 7 } });]]);
		assert.same({ name = "By Hand"; muc_jid = "a@groups.localhost" }, call("get_info", "byhand"));
		assert.same({ name = "Chats"; mucs = { "b@groups.localhost", "c@groups.localhost" } }, call("get_info", "chats"));
		assert.same({ alice = {}; bob = {}; carl = { since = 7 } }, call("get_members", "byhand"));
		assert.same({}, call("get_members", "chats"));
		assert.same({ "byhand" }, call("get_user_groups", "carl"));
	end);

	it("keep what is stored for a member, and what others have put beside", function ()
		with_records([[
			infos:set("kept", { name = "Kept", colour = "red", nested = { list = { 1, 2, 3 }, deep = { yes = true } },
				[7] = "seven", ratio = 0.5 });
			members:set("kept", { bob = true, carl = { since = 7, tags = { "a", "b" } } });]]);
		call("set_info", "kept", { name = "Renamed" });
		call("add_member", "kept", "alice");
		call("add_member", "kept", "carl");
		call("add_group_chat", "kept", "Chat");
		assert.same({ bob = true; carl = { since = 7; tags = { "a", "b" } }; alice = {} }, server:stored("groups", "kept"));
		local mucs = call("get_info", "kept").mucs;
		assert.is_true(server:eval([[
			local info = require "core.storagemanager".open(host, "group_info", "keyval"):get("kept");
			return info[7] == "seven" and info.name == "Renamed" and info.colour == "red" and info.ratio == 0.5
				and info.nested.list[3] == 3 and #info.nested.list == 3 and info.nested.deep.yes == true and info.mucs[1] == ...]],
			mucs[1]));
		call("remove_member", "kept", "alice");
		assert.same({ bob = true; carl = { since = 7; tags = { "a", "b" } } }, server:stored("groups", "kept"));
		assert.same({ name = "Renamed"; mucs = mucs }, call("get_info", "kept"));
	end);

	it("of other modules in the store groups are left alone, and never overwritten", function ()
		with_records([[members:set("foreign", { alice = { theirs = true }, stranger = {} });]]);
		assert.is_false(call("exists", "foreign"));
		assert.is_nil(call("get_info", "foreign"));
		assert.same({}, call("get_user_groups", "stranger"));
		assert.same({ nil, "group-not-found" }, { call("add_member", "foreign", "bob") });
		assert.same({ nil, "group-not-found" }, { call("delete", "foreign") });
		assert.same({ nil, "conflict" }, { call("create", { name = "Mine" }, true, "foreign") });
		assert.same({ alice = { theirs = true }; stranger = {} }, server:stored("groups", "foreign"));
		assert.is_nil(server:stored("group_info", "foreign"));
	end);

	it("may be written while the module runs: a record of another module is not overwritten", function ()
		server:store("groups", "later", { alice = { theirs = true } });
		assert.same({ nil, "conflict" }, { call("create", { name = "Mine" }, false, "later") });
		assert.same({ alice = { theirs = true } }, server:stored("groups", "later"));
	end);

	it("have names that nobody would be given today", function ()
		with_records([[
			infos:set("Weird ID", { name = "x" });
			members:set("Weird ID", { Alice = {}, ["b c"] = {}, alice = {} });]]);
		assert.is_true(call("exists", "Weird ID"));
		assert.same({ "Weird ID" }, call("get_user_groups", "Alice"));
		assert.same({ "Weird ID" }, call("get_user_groups", "b c"));
		assert.is_true(call("add_member", "Weird ID", "bob"));
		assert.is_true(call("remove_member", "Weird ID", "Alice"));
		assert.same({ ["b c"] = {}; alice = {}; bob = {} }, server:stored("groups", "Weird ID"));
		assert.is_true(call("remove_member", "Weird ID", "Alice"));
		assert.same({ ["b c"] = {}; bob = {} }, server:stored("groups", "Weird ID"));
		assert.is_true(call("remove_member", "Weird ID", "b c"));
		assert.is_true(call("delete", "Weird ID"));
		assert.is_nil(server:stored("group_info", "Weird ID"));
		assert.is_nil(server:stored("groups", "Weird ID"));
	end);

	it("have group names of any kind, which do not break anybody's contact list", function ()
		local a, b = world.name(), world.name();
		server:create_user(a, b);
		with_records([[
			local a, b = ...;
			infos:set("control", { name = "bad\1name" });
			infos:set("nameless", { muc_jid = "x@groups.localhost" });
			infos:set("number", { name = 7 });
			members:set("control", { [a] = {}, [b] = {} });
			members:set("nameless", { [a] = {}, [b] = {} });
			members:set("number", { [a] = {}, [b] = {} });]], a, b);
		world.login(server, a);
		for _, id in ipairs { "control", "nameless", "number" } do
			call("add_member", id, b);
			call("sync", id);
			assert.is_true(call("exists", id));
		end
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.equal(7, server:eval([[
			return require "core.storagemanager".open(host, "group_info", "keyval"):get("number").name]]));
		for _, id in ipairs { "control", "nameless", "number" } do assert.is_true(call("delete", id)); end
	end);

	it("are found by modules that open the store as a map", function ()
		call("create", { name = "M" }, false, "m1");
		call("create", { name = "N" }, false, "m2");
		call("add_member", "m1", "mapped");
		call("add_member", "m2", "mapped");
		call("add_member", "m2", "other");
		assert.same({ {}, true }, server:eval([[
			local map = require "core.storagemanager".open(host, "groups", "map");
			local all = map:get_all("mapped");
			local ids = {};
			for id in pairs(all) do ids[#ids + 1] = id; end
			table.sort(ids);
			return { all.m1, table.concat(ids, " ") == "m1 m2" };]]));
		call("remove_member", "m1", "mapped");
		assert.is_true(server:eval([[
			return require "core.storagemanager".open(host, "groups", "map"):get_all("mapped").m1 == nil]]));
	end);

	it("outlast a restart and a kill", function ()
		call("create", { name = "Ü & <b>" }, true, "lasting");
		call("add_member", "lasting", "alice");
		call("add_member", "lasting", "ünï");
		call("add_group_chat", "lasting", "Chat");
		local info, members = call("get_info", "lasting"), call("get_members", "lasting");
		server:restart();
		assert.same(info, call("get_info", "lasting"));
		assert.same(members, call("get_members", "lasting"));
		call("add_member", "lasting", "late");
		server:kill();
		server:start();
		members.late = {};
		assert.same(info, call("get_info", "lasting"));
		assert.same(members, call("get_members", "lasting"));
		assert.same(members, server:stored("groups", "lasting"));
	end);
end);

for _, mode in ipairs { "permanent", "virtual" } do
	describe(("the calls of storage, %s contacts, Prosody %s"):format(mode, harness.version), function ()
		local server;

		-- The module's calls: those that a function makes itself, and those that come afterwards. Each store with what is
		-- done, and how often.
		local function calls(...)
			world.settle(server);
			server:eval("prosody.spec_failing.forget() return true");
			server:call(...);
			local function seen()
				local count, found = {}, {};
				for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
					local name = call.store.."."..call.method;
					-- The spec itself reads the marker.
					if call.store == "roster" or call.store:find("^group") and name ~= "groups_internal.get" then
						count[name] = (count[name] or 0) + 1;
					end
				end
				for name, n in pairs(count) do found[#found + 1] = name.." "..n; end
				table.sort(found);
				return found;
			end
			local before = seen();
			server:eval("prosody.spec_failing.forget() return true");
			world.settle(server);
			return { before, seen() };
		end

		local function of_mode(permanent, virtual)
			return mode == "permanent" and permanent or virtual;
		end

		setup(function ()
			server = world.new { storage = "failing"; muc = false; host_options = { groups_roster_mode = mode } };
			server:create_user("a", "b", "c", "d");
		end);

		teardown(function ()
			server:destroy();
		end);

		it("are as few as README.md says", function ()
			local change = of_mode({ "groups.set 1", "groups_internal.set 1" }, { "groups.set 1" });
			local function lists(n)
				return of_mode({ "groups_internal.set 1", "roster.get "..n, "roster.set "..n }, {});
			end
			assert.same({ { "group_info.get 1", "group_info.set 1", "groups.get 1" }, {} },
				calls("create", { name = "G" }, false, "g"));
			assert.same({ change, lists(3) }, calls("add_members", "g", { "a", "b", "c" }));
			assert.same({ change, lists(4) }, calls("add_member", "g", "d"));
			assert.same({ {}, {} }, calls("sync", "g"));
			assert.same({ {}, {} }, calls("get_members", "g"));
			assert.same({ { "groups.set 1" }, {} }, calls("remove_member", "g", "d"));
			assert.same({ of_mode({ "group_info.set 1", "groups_internal.set 1" }, { "group_info.set 1" }), lists(3) },
				calls("set_info", "g", { name = "H" }));
			assert.same({ { "group_info.set 1", "groups.set 1" }, {} }, calls("delete", "g"));
		end);
	end);
end
