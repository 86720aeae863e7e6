-- What the shell's module:info() says of the module while something is wrong.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("the module's status with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function status()
		return server:eval([[return (select(2, hosts[host].modules.groups_internal.module:get_status()))]]);
	end

	teardown(function ()
		server:destroy();
	end);

	it("tells that the chat host is gone, until it is back", function ()
		server = world.new();
		assert.equal("Loaded", status());
		server:eval([[return require "core.hostmanager".deactivate("groups.localhost") ~= nil]]);
		assert.equal("groups_muc_host is no active chat host", status());
		server:eval([[return require "core.hostmanager".activate("groups.localhost") ~= nil]]);
		harness.wait_until(function () return status() == "Loaded"; end, "nothing is wrong any more");
	end);
end);
