-- Numbers for Prosody's statistics, as mod_http_openmetrics shows them.

local socket = require "socket";

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("metrics with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, port;

	-- The values of this module on localhost, by name.
	local function metrics()
		local conn = assert(socket.connect("127.0.0.1", port));
		conn:send("GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n");
		local text = conn:receive("*a");
		conn:close();
		local values = {};
		for name, labels, value in text:gmatch("\nprosody_mod_groups_internal__(%S-)(%b{}) (%S+)") do
			if labels:find('host="localhost"', 1, true) and not name:find("_created$") then values[name] = tonumber(value); end
		end
		return values, text;
	end

	setup(function ()
		port = harness.free_port();
		server = world.new {
			storage = "failing";
			global_modules = { "disco", "roster", "saslauth", "http_openmetrics" };
			options = {
				http_ports = { port }; http_interfaces = { "127.0.0.1" };
				statistics = "internal"; statistics_interval = "manual";
			};
		};
	end);

	teardown(function ()
		server:destroy();
	end);

	it("count groups, memberships, contact lists, pushes and operations, with units", function ()
		local a, b, c = world.accounts(server, 3);
		world.login(server, a, b);
		world.group(server, "Counted", { a, b, c });
		local values, text = metrics();
		assert.equal(1, values.stored_groups);
		assert.equal(3, values.stored_memberships);
		assert.equal(0, values.unsettled_rosters);
		assert.equal(0, values.failing_rosters);
		assert.equal(0, values.failed_operations_total);
		assert.equal(4, values.operation_seconds_count);
		assert.is_true(values.operation_seconds_sum > 0);
		assert.is_true(values.saved_rosters_total >= 3 and values.reconciled_rosters_total >= 3);
		-- Each of the two has the other and the third.
		assert.equal(4, values.sent_pushes_total);
		assert.matches("# UNIT prosody_mod_groups_internal__unsettled_rosters rosters\n", text);
		assert.matches("# UNIT prosody_mod_groups_internal__operation_seconds seconds\n", text);
	end);

	it("go on after a reload", function ()
		world.reload(server);
		local before = metrics();
		server:call("create", { name = "More" }, false);
		local values = metrics();
		assert.equal(before.stored_groups + 1, values.stored_groups);
		assert.equal((before.operation_seconds_count or 0) + 1, values.operation_seconds_count);
	end);

	it("count contact lists that storage makes fail, while it does", function ()
		local a, b = world.accounts(server, 2);
		local id = world.group(server, "Failing", { a });
		server:eval([[prosody.spec_failing.fail({ store = "roster", method = "set" }) return true]]);
		server:call("add_member", id, b);
		harness.wait_until(function ()
			local values = metrics();
			return values.failing_rosters > 0 and values.unsettled_rosters >= values.failing_rosters;
		end, "they are counted");
		server:eval([[prosody.spec_failing.clear() return true]]);
		world.settle(server, 30);
		assert.equal(0, metrics().failing_rosters);
	end);

	it("count operations that storage makes fail", function ()
		server:eval([[prosody.spec_failing.fail({ store = "group_info", method = "set" }) return true]]);
		assert.is_nil(server:call("create", { name = "Lost" }, false));
		server:eval([[prosody.spec_failing.clear() return true]]);
		assert.is_nil(server:call("add_group_chat", "no-such-group", "x"));
		assert.equal(1, metrics().failed_operations_total);
	end);
end);
