-- The record of open work: in storage before the work, gone from it when all is done.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

describe("the record of open work, "..title, function ()
	local server;

	local function call(...) return server:call(...); end

	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	setup(function ()
		server = world.new();
	end);

	teardown(function ()
		server:destroy();
	end);

	-- Runs Lua source, and returns the record as it is in storage in the same moment.
	local function marker_after(source, ...)
		return server:eval(source..[[
			return require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil);]], ...);
	end

	it("is there from the first start, with nothing in it but its form and a generation", function ()
		local marker = world.marker(server);
		assert.same({ format = 1; generation = marker.generation }, marker);
		assert.equal("integer", math.type(marker.generation));
		assert.is_true(marker.generation >= 1);
	end);

	it("names a group while contact lists with its members are open", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "G" });
		local marker = marker_after([[
			local id, a, b = ...;
			groups.add_member(id, a);
			groups.add_member(id, b);]], id, a, b);
		assert.same({ [id] = true }, marker.unsettled);
		world.settle(server);
		assert.same({ format = 1; generation = marker.generation }, world.marker(server));
	end);

	it("names a group that waits for sync, also across restarts", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "G" });
		call("add_member", id, a, true);
		call("add_member", id, b, true);
		assert.same({ [id] = true }, world.marker(server).unsettled);
		call("sync", id);
		world.settle(server);
	end);

	it("names members without accounts", function ()
		local a = accounts(1);
		local ghost = world.name("ghost");
		local id = world.group(server, "G", { a, ghost });
		assert.same({ [ghost] = true }, world.marker(server).awaiting);
		call("remove_member", id, ghost);
		server:wait_for([[
			local markers = require "core.storagemanager".open(host, "groups_internal", "keyval");
			return not markers:get(nil).awaiting]]);
	end);

	it("names withdrawals from contact lists, until they are in storage", function ()
		local a, b, c = accounts(3);
		world.group(server, "G", { a, b, c });
		local marker = marker_after([[require "core.usermanager".delete_user((...), host)]], b);
		assert.same({ [b] = { [a] = true; [c] = true } }, marker.withdrawals);
		world.settle(server);
		assert.is_nil(world.marker(server).withdrawals);
	end);

	it("has the group again after a rename", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Old", { a, b });
		local marker = marker_after([[groups.set_info(..., { name = "New" })]], id);
		assert.same({ [id] = true }, marker.unsettled);
		world.settle(server);
	end);

	it("has work finished after a kill that came before any of it", function ()
		local members = { accounts(6) };
		local id = call("create", { name = "Killed" });
		server:try_eval([[
			local id, pid = ...;
			for i = 3, select("#", ...) do groups.add_member(id, (select(i, ...))); end
			os.execute("kill -9 "..pid)]], id, server.pid, table.unpack(members));
		server:kill();
		server:start();
		world.settle(server);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Killed"), world.contacts(server, member));
		end
	end);

	it("that is damaged is replaced, and every list is settled", function ()
		local a, b = accounts(2);
		world.group(server, "G", { a, b });
		local generation = world.marker(server).generation;
		server:eval([[
			require "core.modulemanager".unload(host, "groups_internal");
			local sm = require "core.storagemanager";
			sm.open(host, "groups_internal", "keyval"):set(nil, { format = "strange" });
			sm.open(host, "roster", "keyval"):set(..., nil);
			hosts[host].roster_cache = nil;
			require "core.modulemanager".load(host, "groups_internal");
			return true]], a);
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.is_true(world.marker(server).generation > generation);
		assert.truthy(server:log_text():find("record of open work is damaged", 1, true));
	end);
end);

describe("data of the Lua module, "..title, function ()
	local server;

	local members = { "ann", "bob", "carl", "dora" };

	setup(function ()
		-- As the Lua module leaves them: no record of open work, contact lists half done.
		server = world.new { modules = {} };
		server:create_user(table.unpack(members));
		server:store("group_info", "old", { name = "Old" });
		server:store("groups", "old", { ann = {}; bob = {}; carl = {}; dora = true; ghost = {} });
		world.store_roster(server, "ann", { ["bob@localhost"] = { subscription = "both"; groups = { Old = true } };
			["carl@localhost"] = { subscription = "to"; ask = "subscribe"; groups = {} } }, { version = 17 });
		world.store_roster(server, "bob", { ["ann@localhost"] = { subscription = "both"; groups = { Old = true } } },
			{ version = 5 });
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("are taken as they are, and all contact lists are settled once", function ()
		world.settle(server);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Old"), world.contacts(server, member));
		end
		assert.same({ ann = {}; bob = {}; carl = {}; dora = true; ghost = {} }, server:stored("groups", "old"));
		local marker = world.marker(server);
		assert.same({ format = 1; generation = marker.generation; awaiting = { ghost = true } }, marker);
	end);

	it("are not settled again at the next start", function ()
		world.settle(server);
		server:stop();
		server.settings.modules = { "spec_clients" };
		server:start();
		-- Nobody would look at this list again.
		server:eval([[return require "core.storagemanager".open(host, "roster", "keyval"):set("ann", nil)]]);
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
		local id = server:call("create", { name = "Other" });
		server:call("add_member", id, "bob");
		server:call("add_member", id, "dora");
		world.settle(server);
		assert.truthy(world.contacts(server, "bob").dora:find("Other", 1, true));
		assert.is_nil(world.contacts(server, "ann"));
	end);

	it("show members that are not tables as tables, and keep them as they are", function ()
		assert.same({ ann = {}; bob = {}; carl = {}; dora = {}; ghost = {} }, server:call("get_members", "old"));
		server:call("add_member", "old", "eve");
		assert.same({ ann = {}; bob = {}; carl = {}; dora = true; ghost = {}; eve = {} }, server:stored("groups", "old"));
	end);
end);
