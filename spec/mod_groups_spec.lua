-- Prosody's own mod_groups beside the module: the contacts of its file stay as the file has them.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local file = [[
[Family]
ann@localhost=Anna
bob@localhost=Robert
carl@localhost=Charles
]];

for _, mode in ipairs { "permanent", "virtual" } do
	for _, first in ipairs { "groups", "groups_internal" } do
		local title = ("%s contacts, %s first, Prosody %s and storage %s"):format(
			mode, first, harness.version, harness.storage);

		describe("contacts of the file of mod_groups, "..title, function ()
			local server;

			local function call(...) return server:call(...); end

			-- The contact list that a client is given at a login, as `world.contacts`.
			local function fetched(user)
				return (world.fetch(server, user));
			end

			local bob, carl = world.both("Family"), world.both("Family");
			bob, carl = bob:gsub("both,,", "both,,Robert"), carl:gsub("both,,", "both,,Charles");
			local from_file = { bob = bob; carl = carl };

			-- Two: a list in which more than one contact has changed is saved whole.
			local function and_others(...)
				return { bob = bob; carl = carl; dora = world.both(...); ella = world.both(...) };
			end

			setup(function ()
				server = harness.new {
					modules = { "spec_clients", first, first == "groups" and "groups_internal" or "groups" };
					host_options = { groups_roster_mode = mode; groups_remove_contacts = true };
				};
				local path = server.folder.."/groups.txt";
				local out = assert(io.open(path, "w"));
				out:write(file);
				out:close();
				server.settings.host_options.groups_file = path;
				server:start();
				server:create_user("ann", "bob", "carl", "dora", "ella");
			end);

			teardown(function () server:destroy(); end);

			after_each(function ()
				world.logout_all(server);
				for id in pairs { g = true; h = true } do call("delete", id); end
				world.settle(server);
			end);

			local function forget_rosters()
				server:eval("hosts[host].roster_cache = nil; return true");
			end

			for _, name in ipairs { "Family", "Team" } do
				for _, online in ipairs { false, true } do
					local when = ("in a group named %s, %s"):format(name, online and "online" or "offline");

					it("stay when groups bring them, too, and let them go, "..when, function ()
						if online then world.login(server, "ann", "bob"); end
						assert(call("create", { name = name }, false, "g"));
						for _, user in ipairs { "ann", "bob", "dora", "ella" } do assert(call("add_member", "g", user)); end
						world.settle(server);
						if online then assert.same(and_others(name), fetched("ann")); end
						world.logout_all(server);
						assert.same(and_others(name), fetched("ann"));
						forget_rosters();
						assert.same(and_others(name), fetched("ann"));
						if online then world.login(server, "ann", "bob"); end
						assert(call("remove_member", "g", "bob"));
						world.settle(server);
						if online then assert.same(and_others(name), fetched("ann")); end
						assert(call("delete", "g"));
						world.settle(server);
						if online then assert.same(from_file, fetched("ann")); end
						world.logout_all(server);
						assert.same(from_file, fetched("ann"));
						forget_rosters();
						assert.same(from_file, fetched("ann"));
						assert.same({}, world.contacts(server, "ann") or {});
					end);
				end
			end

			it("get into no store when those of groups are taken out of it, or put into it", function ()
				local other = mode == "virtual" and "permanent" or "virtual";
				assert(call("create", { name = "Team" }, false, "g"));
				for _, user in ipairs { "ann", "bob", "dora", "ella" } do assert(call("add_member", "g", user)); end
				world.settle(server);
				world.login(server, "ann");
				for _, wanted in ipairs { other, mode } do
					world.set_options(server, { groups_roster_mode = wanted });
					world.settle(server);
					local stored = world.contacts(server, "ann") or {};
					assert.same({}, { stored.bob, stored.carl });
					assert.equal(wanted == "permanent" and world.both("Team") or nil, stored.dora);
					assert.same(and_others("Team"), fetched("ann"));
				end
			end);
		end);
	end
end
