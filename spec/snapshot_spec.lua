-- All groups as one string, and back.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("a snapshot with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob", "carl");
		server:store("group_info", "extra", { name = "Extra"; colour = "red"; nested = { 1, 2 } });
		server:store("groups", "extra", { alice = true; bob = { since = 7 } });
		server:eval([[
			local mm = require "core.modulemanager";
			mm.unload(host, "groups_internal");
			return mm.load(host, "groups_internal") ~= nil]]);
		server:call("create", { name = "Bü" }, true, "chatty");
		server:call("add_member", "chatty", "alice");
		server:call("create", { name = "Empty" }, false, "empty");
		world.settle(server);
		server:eval("prosody.spec_blob = groups.snapshot() return true");
	end);

	teardown(function ()
		server:destroy();
	end);

	local function state()
		return {
			info = { server:stored("group_info", "extra"), server:stored("group_info", "chatty"),
				server:stored("group_info", "empty") };
			members = { server:stored("groups", "extra"), server:stored("groups", "chatty"), server:stored("groups", "empty") };
			groups = server:eval("return groups.groups()");
			more = server:stored("group_info", "more");
		};
	end

	it("is a string, and the same each time", function ()
		assert.is_true(server:eval([[
			return type(prosody.spec_blob) == "string" and groups.snapshot() == prosody.spec_blob]]));
	end);

	it("brings everything back, in memory and in storage", function ()
		local before = state();
		server:call("delete", "extra");
		server:call("set_info", "chatty", { name = "Other" });
		server:call("remove_member", "chatty", "alice");
		server:call("add_member", "empty", "carl");
		server:call("create", { name = "More" }, false, "more");
		server:call("add_member", "more", "carl");
		assert.is_true(server:eval("return groups.restore(prosody.spec_blob)"));
		assert.same(before, state());
		assert.same({ "chatty", "extra" },
			server:eval("local ids = groups.get_user_groups('alice') table.sort(ids) return ids"));
		assert.same({}, server:call("get_user_groups", "carl"));
		assert.is_false(server:call("exists", "more"));
		assert.is_true(server:eval("return groups.restore(prosody.spec_blob)"));
		assert.same(before, state());
		server:restart();
		assert.same(before, state());
		server:eval("prosody.spec_blob = groups.snapshot() return true");
	end);

	it("brings contacts back, too", function ()
		world.settle(server);
		server:call("delete", "extra");
		for _, user in ipairs { "alice", "bob" } do
			server:eval([[
				hosts[host].roster_cache = nil;
				return require "core.storagemanager".open(host, "roster", "keyval"):set(..., nil)]], user);
		end
		server:eval("return groups.restore(prosody.spec_blob)");
		world.settle(server);
		assert.same({ bob = world.both("Extra") }, world.contacts(server, "alice"));
		assert.same({ alice = world.both("Extra") }, world.contacts(server, "bob"));
	end);

	it("is refused whole when any of its bytes is changed, or it is cut short", function ()
		local before = state();
		assert.same({ 0, "nil" }, server:eval([[
			local blob, taken, first = prosody.spec_blob, 0;
			local function try(damaged)
				local ok, err = groups.restore(damaged);
				if ok ~= nil or type(err) ~= "string" then
					taken, first = taken + 1, first or ("%q"):format(damaged);
				end
			end
			for i = 1, #blob do
				local byte = blob:byte(i);
				for _, flip in ipairs { 1, 128, 255 } do
					try(blob:sub(1, i - 1)..string.char(byte ~ flip)..blob:sub(i + 1));
				end
				try(blob:sub(1, i - 1));
				try(blob:sub(i + 1));
			end
			try(blob.."x");
			return { taken, tostring(first) };]]));
		assert.same(before, state());
	end);
end);
