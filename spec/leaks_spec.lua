-- Accounts that are made, put into groups and deleted leave nothing: not in storage, not in the engine, and not in the
-- memory of Lua. `make soak` does it with 2,000 of them.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local is_search = tonumber(os.getenv("SOAK_OPS")) ~= nil;
local rounds, size = is_search and 5 or 4, is_search and 400 or 20;

-- Memory grows by steps at times, as tables do. What leaks is there after each round: this much of it for each account
-- is too much, in kilobytes.
local most_lua, most_process = 0.05, 1;

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("what comes and goes, "..title, function ()
		local server;

		setup(function ()
			server = world.new {
				host_options = { groups_roster_mode = mode; groups_remove_contacts = true };
				-- What Prosody itself keeps of them: of the messages to those who are offline, and of rooms.
				options = { storage_archive_item_limit_cache_size = 1; log = { error = "/dev/null" } };
				components = { ["groups.localhost"] = { "muc", options = { muc_tombstones = false } } };
			};
			-- The disk is not what this is about.
			server:eval([[
				for _, engine in pairs(module:shared("/*/sql/connections")) do engine:execute("PRAGMA synchronous=OFF"); end
				return true]]);
		end);

		teardown(function () server:destroy(); end);

		-- Groups of ten, each with a chat and each member in two, some of them online; then the accounts are deleted, and
		-- at last the groups.
		local function come_and_go(round)
			server:begin([[
				local round, size = ...;
				local um = require "core.usermanager";
				for i = 1, size do assert(um.create_user("r"..round.."u"..i, "secret", host)); end
				for g = 1, size / 10 do
					assert(groups.create({ name = "Group "..g }, true, "r"..round.."g"..g));
					for i = 0, 14 do
						local u = ((g - 1) * 10 + i) % size + 1;
						assert(groups.add_member("r"..round.."g"..g, "r"..round.."u"..u));
					end
				end
				prosody.spec_sessions = {};
				for i = 1, size, 10 do
					table.insert(prosody.spec_sessions, prosody.spec_clients.login("r"..round.."u"..i));
				end
				return true]], round, size):await(600);
			world.settle(server, 300);
			server:begin([[
				for _, session in ipairs(prosody.spec_sessions) do prosody.spec_clients.logout(session); end
				prosody.spec_sessions = nil;
				prosody.spec_clients.forget_sessions();
				local round, size = ...;
				for i = 1, size do assert(require "core.usermanager".delete_user("r"..round.."u"..i, host)); end
				for g = 1, size / 10 do assert(groups.delete("r"..round.."g"..g)); end
				return true]], round, size):await(600);
			world.settle(server, 300);
		end

		it("leaves nothing behind", function ()
			come_and_go(1);
			local lua, process = world.memory(server);
			local least_lua, least_process = math.huge, math.huge;
			for round = 2, rounds do
				come_and_go(round);
				local lua_now, process_now = world.memory(server);
				least_lua, least_process = math.min(least_lua, lua_now - lua), math.min(least_process, process_now - process);
				lua, process = lua_now, process_now;
			end
			if is_search then
				print(("%d accounts: %.1f kB of Lua, %d kB of the process"):format(size, least_lua, least_process));
			end
			assert(least_lua < size * most_lua, ("each round leaves %.1f kB in Lua"):format(least_lua));
			-- Of few accounts, what the process has more or less at times is more than what they take.
			assert(not is_search or least_process < size * most_process, ("each round leaves %d kB"):format(least_process));
			assert.same({ groups = 0; memberships = 0; unsettled = 0; failing = 0; delayed = 0; unchecked = 0 },
				server:call("status"));
			assert.same({}, server:eval([[
				local left = {};
				for _, place in ipairs { { host, "groups" }, { host, "group_info" }, { host, "groups_contacts" },
					{ host, "roster" }, { host, "accounts" }, { "groups.localhost", "config" } } do
					for name in require "core.storagemanager".open(place[1], place[2], "keyval"):users() do
						left[#left + 1] = place[2].." "..name;
					end
				end
				return left]]));
		end);
	end);
end
