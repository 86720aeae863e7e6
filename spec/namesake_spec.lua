-- An account with the name of a group: Prosody's purge of the one takes the records of the other along.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local where = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

describe("a group with the name of an account, "..where, function ()
	local server;

	local function call(...) return server:call(...); end

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob");
	end);

	teardown(function ()
		server:destroy();
	end);

	local function new_group(with_chat)
		local id = world.name("ops");
		server:create_user(id);
		call("create", { name = "Operations" }, with_chat, id);
		for _, member in ipairs { "alice", "bob", id } do call("add_member", id, member); end
		world.settle(server);
		return id;
	end

	local function is_whole(id)
		assert.is_true(call("exists", id));
		assert.same({ alice = {}; bob = {} }, call("get_members", id));
		assert.same({ alice = {}; bob = {} }, server:stored("groups", id));
		assert.same(call("get_info", id), server:stored("group_info", id));
		assert.equal("Operations", call("get_info", id).name);
	end

	local function wait_until_stored(id)
		server:wait_for([[
			local sm = require "core.storagemanager";
			return sm.open(host, "group_info", "keyval"):get((...)) and sm.open(host, "groups", "keyval"):get((...)) and true]],
			"the records are back", 10, id);
	end

	it("survives the account, in memory and in storage", function ()
		local id = new_group(true);
		local info = call("get_info", id);
		server:delete_user(id);
		wait_until_stored(id);
		is_whole(id);
		assert.same(info, call("get_info", id));
		server:restart();
		is_whole(id);
	end);

	it("survives the account when the server is killed right after the purge", function ()
		local id = new_group(true);
		local info = call("get_info", id);
		server:try_eval([[
			local name, pid = ...;
			require "core.usermanager".delete_user(name, host);
			local gone = require "core.storagemanager".open(host, "group_info", "keyval"):get(name) == nil;
			prosody.log("info", "spec: the record is %s", gone and "purged" or "there");
			os.execute("kill -9 "..pid)]], id, server.pid);
		server:kill();
		assert.truthy(server:log_text():find("spec: the record is purged", 1, true));
		server:start();
		is_whole(id);
		assert.same(info, call("get_info", id));
		world.settle(server);
		assert.is_nil(world.contacts(server, "alice")[id]);
	end);

	it("survives the account when it was empty", function ()
		local id = world.name("empty");
		server:create_user(id);
		call("create", { name = "Empty" }, false, id);
		server:delete_user(id);
		server:wait_for([[return require "core.storagemanager".open(host, "group_info", "keyval"):get(...) ~= nil]],
			nil, 10, id);
		assert.same({ name = "Empty" }, server:stored("group_info", id));
		assert.is_nil(server:stored("groups", id));
	end);

	it("may be changed while the purge goes on", function ()
		local id = new_group(false);
		server:eval([[
			local id = ...;
			require "core.usermanager".delete_user(id, host);
			groups.set_info(id, { name = "Renamed" });
			groups.remove_member(id, "bob");
			return true]], id);
		wait_until_stored(id);
		assert.same({ name = "Renamed" }, call("get_info", id));
		assert.same({ name = "Renamed" }, server:stored("group_info", id));
		assert.same({ alice = {} }, server:stored("groups", id));
	end);

	it("may be deleted while the purge goes on, and does not come back", function ()
		local id = new_group(false);
		server:eval([[
			local id = ...;
			require "core.usermanager".delete_user(id, host);
			return groups.delete(id)]], id);
		server:restart();
		assert.is_false(call("exists", id));
		assert.is_nil(server:stored("group_info", id));
		assert.is_nil(server:stored("groups", id));
	end);

	it("is restored for a while, and then its copy goes", function ()
		local id = new_group(false);
		server:delete_user(id);
		assert.same("Operations", world.marker(server).copies[id].info.name);
		-- Storage that is late with its purge.
		server:eval([[
			local id = ...;
			local sm = require "core.storagemanager";
			sm.open(host, "group_info", "keyval"):set(id, nil);
			sm.open(host, "groups", "keyval"):set(id, nil);
			return true]], id);
		wait_until_stored(id);
		is_whole(id);
		server:wait_for([[return not require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil).copies]],
			"the copy is gone", 15);
		is_whole(id);
	end);
end);
