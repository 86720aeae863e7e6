-- PostgreSQL and Prosody that end in the midst of work: nothing is lost, and everything completes.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "postgresql" then return; end

for _, mode in ipairs { "permanent", "virtual" } do
	describe(("PostgreSQL that fails, %s contacts, Prosody %s"):format(mode, harness.version), function ()
		local server, members, id;

		before_each(function ()
			server = world.new { host_options = { groups_roster_mode = mode } };
			members = {};
			for i = 1, 20 do members[i] = ("m%02d"):format(i); end
			server:create_user(table.unpack(members));
			id = assert(server:call("create", { name = "G" }, false, "g"));
		end);

		after_each(function ()
			harness.start_postgresql();
			server:destroy();
		end);

		-- Each member's contacts, as a client that logs in is given them: all others, in storage or laid over it.
		local function assert_complete()
			world.settle(server, 30);
			assert.same(members, world.members(server, id));
			local record = server:stored("groups", id);
			for _, member in ipairs(members) do
				assert.truthy(record[member], member);
				if mode == "permanent" then
					assert.same(world.mutual(member, members, "G"), world.contacts(server, member), member);
				end
				assert.same(world.mutual(member, members, "G"), (world.fetch(server, member)), member);
			end
			assert.same({}, server:call("check"));
		end

		it("completes after a kill of Prosody while storage is away", function ()
			server:eval([[
				local id = ...;
				for i = 2, select("#", ...) do assert(groups.add_member(id, (select(i, ...)))); end]], id, table.unpack(members));
			harness.stop_postgresql();
			server:kill();
			harness.start_postgresql();
			server:start();
			assert_complete();
		end);
	end);
end
