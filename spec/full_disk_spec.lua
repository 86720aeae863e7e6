-- A disk that is full, down to the last block, or to a few: what was answered is kept, and once there is
-- room again, everything completes, with nobody's help.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage == "postgresql" or not harness.has_disks() then return; end

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("a disk that is full, "..title, function ()
		local server;

		local function call(...) return server:call(...); end

		setup(function ()
			server = world.new { disk = "4m"; clock = true; host_options = { groups_roster_mode = mode } };
		end);

		teardown(function () server:destroy(); end);

		-- Fills the disk, but for so many blocks.
		local function fill(left)
			server:eval([[
				local path, left = ...;
				local spare = assert(io.open(path.."-spare", "wb"));
				assert(spare:write(("x"):rep(left * 4096)));
				assert(spare:close());
				local file = assert(io.open(path, "wb"));
				file:setvbuf("no");
				while file:write(("x"):rep(4096)) do end
				file:close();
				return os.remove(path.."-spare")]], server.folder.."/data/filler", left);
		end

		local function clear()
			server:eval("return os.remove(...)", server.folder.."/data/filler");
		end

		local function settle()
			world.wait_until(function ()
				server:eval("prosody.spec_clock.advance(10) return true");
				return world.is_settled(server) and call("status").unsettled == 0;
			end, "everything is complete", 20);
		end

		for _, left in ipairs { 0, 4 } do
			it(("but for %d blocks, loses nothing"):format(left), function ()
				local names = { world.accounts(server, 8) };
				local id = world.group(server, "G", { names[1], names[2] }, true);
				world.login(server, names[1]);
				local calls = {};
				for i = 3, #names do calls[#calls + 1] = { "add_member", id, names[i] }; end
				calls[#calls + 1] = { "set_info", id, { name = "H" } };
				calls[#calls + 1] = { "remove_member", id, names[3] };
				calls[#calls + 1] = { "add_member", id, names[3] };
				local make = [[
					local failed = 0;
					for _, call in ipairs(...) do
						local name, id, argument = table.unpack(call);
						local ok, err = groups[name](id, argument);
						if ok == nil then
							assert(err == "internal-server-error", err);
							failed = failed + 1;
						end
					end
					return failed]];
				fill(left);
				local failed = server:eval(make, calls);
				if left == 0 then assert.is_true(failed > 0); end
				-- What was answered is what there is.
				local members = call("get_members", id);
				assert.same(members, server:stored("groups", id));
				for _ = 1, 6 do
					server:eval("prosody.spec_clock.advance(5) return true");
					call("status");
				end
				clear();
				assert.same(members, server:stored("groups", id));
				-- LuaDBI keeps statements, and one that has failed on SQLite fails once more.
				local attempts = 0;
				while failed > 0 and attempts < 5 do
					failed, attempts = server:eval(make, calls), attempts + 1;
				end
				assert.equal(0, failed);
				if harness.storage == "internal" then assert.is_true(attempts <= 1); end
				settle();
				assert.same({}, call("check"));
				world.logout_all(server);
				for _, name in ipairs(names) do
					local expected = world.mutual(name, names, "H");
					assert.same(expected, (world.fetch(server, name)));
					if mode == "permanent" then assert.same(expected, world.contacts(server, name)); end
				end
			end);
		end
	end);
end
