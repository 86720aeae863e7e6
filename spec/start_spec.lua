-- Modules that use groups at every start.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("at the start of Prosody "..harness.version.." with storage "..harness.storage, function ()
	local server;

	local services = { "service1", "service2", "service3", "service4", "service5" };

	setup(function ()
		server = world.new { modules = { "groups_internal", "spec_product" } };
	end);

	teardown(function ()
		server:destroy();
	end);

	local function results()
		local found = server:eval([[
			local found = {};
			for key, value in pairs(hosts[host].modules.spec_product.results) do found[tostring(key)] = value; end
			return found]]);
		return found;
	end

	it("groups can be asked for, made and filled", function ()
		assert.same({ exists = false; id = "staff"; done = true; ["1"] = true; ["2"] = true; ["3"] = true; ["4"] = true;
			["5"] = true }, results());
		assert.same({ service1 = {}; service2 = {}; service3 = {}; service4 = {}; service5 = {} },
			server:stored("groups", "staff"));
		local info = server:call("get_info", "staff");
		assert.is_true(server:eval([[return hosts["groups.localhost"].modules.muc.get_room_from_jid(...) ~= nil]],
			info.muc_jid));
		server:create_user(table.unpack(services));
		server:call("sync", "staff");
		world.settle(server);
		assert.same(world.mutual("service1", services, "Staff"), world.contacts(server, "service1"));
	end);

	it("the same again finds everything there, and writes nothing", function ()
		local before = server:stored("group_info", "staff");
		server:restart();
		world.settle(server);
		assert.same({ exists = true; done = true; ["1"] = true; ["2"] = true; ["3"] = true; ["4"] = true; ["5"] = true },
			results());
		assert.same(before, server:stored("group_info", "staff"));
		assert.same({}, world.writes(server));
		assert.equal("member", server:eval([[
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):get_affiliation("service3@localhost")]],
			before.muc_jid));
	end);

	it("one line says what there is, and a reload says nothing", function ()
		local function said(mark)
			local lines = {};
			for line in server:log_text(mark):gmatch("\tinfo\t(Groups: [^\n]*)") do lines[#lines + 1] = line; end
			return lines;
		end
		local mark = server:log_mark();
		server:restart();
		assert.same({ ("Groups: 1, memberships: 5, storage: %s, contact lists: permanent, chats: groups.localhost"):format(
			harness.storage == "internal" and "internal" or "sql") }, said(mark));
		mark = server:log_mark();
		world.reload(server);
		assert.same({}, said(mark));
	end);
end);
