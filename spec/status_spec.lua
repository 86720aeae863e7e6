-- What the shell's module:info() says of the module while something is wrong.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("the module's status with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function status()
		return server:eval([[return (select(2, hosts[host].modules.groups_internal.module:get_status()))]]);
	end

	local function well()
		harness.wait_until(function () return status() == "Loaded"; end, "nothing is wrong any more", 60);
	end

	after_each(function ()
		server:destroy();
	end);

	it("tells that the chat host is gone, until it is back", function ()
		server = world.new();
		assert.equal("Loaded", status());
		server:eval([[return require "core.hostmanager".deactivate("groups.localhost") ~= nil]]);
		assert.equal("groups_muc_host is no active chat host", status());
		server:eval([[return require "core.hostmanager".activate("groups.localhost") ~= nil]]);
		well();
	end);

	it("tells that groups cannot be stored, until one is", function ()
		server = world.new { storage = "failing" };
		server:create_user("ann", "bob");
		local id = world.group(server, "Family", { "ann" });
		for store, change in pairs { group_info = { "create", { name = "Lost" } }; groups = { "add_member", id, "bob" } } do
			server:eval("prosody.spec_failing.fail(...) return true", { store = store; method = "set" });
			assert.is_nil(server:call(table.unpack(change)));
			assert.equal("Groups cannot be stored (see log)", status(), store);
			server:eval("prosody.spec_failing.clear() return true");
			assert.is_true(server:call("add_member", id, "bob"));
			assert.is_true(server:call("remove_member", id, "bob"));
			assert.equal("Loaded", status());
		end
	end);

	it("tells how many contact lists cannot be read or stored, until they can", function ()
		server = world.new { storage = "failing" };
		server:create_user("ann", "bob");
		local id = world.group(server, "Family", { "ann" });
		for _, method in ipairs { "set", "get" } do
			server:eval("hosts[host].roster_cache = nil; prosody.spec_failing.fail(...) return true",
				{ store = "roster"; method = method });
			assert.is_true(server:call(method == "set" and "add_member" or "remove_member", id, "bob"));
			assert.is_true(server:call("add_member", id, "bob"));
			harness.wait_until(function () return status():find("^Contact lists cannot be read or stored: %d %(see log%)$"); end,
				"it is told");
			server:eval("prosody.spec_failing.clear() return true");
			well();
			assert.is_true(server:call("remove_member", id, "bob"));
			world.settle(server);
		end
	end);
end);
