-- A day of mixed work, as a part of `make soak`: 50 clients over TCP, storage that waits, and a clock that is put
-- forward in between.
--
-- The environment may say SOAK_SEED.

local client = require "spec.support.client";
local harness = require "spec.support.harness";
local world = require "spec.support.world";

-- Storage that waits is one of its own.
if harness.storage ~= "internal" or not os.getenv("SOAK_SEED") then return; end

local seed = tonumber(os.getenv("SOAK_SEED"));
local size, hours = 50, 24;
local quarter = 900;

-- How much memory may grow from the second third of the day to the last, in kilobytes.
local most_lua, most_process = 100, 4000;

for _, mode in ipairs { "permanent", "virtual" } do
	describe(("a day, %s contacts, Prosody %s, seed %d"):format(mode, harness.version, seed), function ()
		local server;
		local clients, names = {}, {};

		local at = (seed * 69069 + 1) & 0xffffffff;
		local function choose(n)
			at = (at * 1664525 + 1013904223) & 0xffffffff;
			return (at >> 12) % n + 1;
		end
		local function one_of(list) return list[choose(#list)]; end

		setup(function ()
			server = harness.new { modules = { "spec_clients", "groups_internal" }; storage = "waiting"; clock = true;
				host_options = { groups_roster_mode = mode; groups_remove_contacts = true };
				-- Prosody itself remembers rooms that are gone.
				components = { ["groups.localhost"] = { "muc", options = { muc_tombstones = false } } } };
			server.settings.options = { log = { warn = server.folder.."/prosody.log" } };
			server:start();
			server:eval("prosody.spec_waiting.delay = 0.001 return true");
			for i = 1, size do names[i] = "user"..i; end
			server:create_user(table.unpack(names));
		end);

		teardown(function ()
			for _, one in pairs(clients) do one:close(); end
			server:destroy();
		end);

		-- What a client has been told of its list.
		local function take_in(one, text)
			for attributes, place in text:gmatch("<item ([^>]*)>()") do
				local jid, subscription = attributes:match("jid='([^']*)'"), attributes:match("subscription='([^']*)'");
				if jid and subscription then
					local groups = {};
					local inner = attributes:sub(-1) == "/" and "" or text:sub(place, text:find("</item>", place, true));
					for group in inner:gmatch("<group>([^<]*)</group>") do groups[#groups + 1] = group; end
					table.sort(groups);
					one.list[jid] = subscription ~= "remove" and table.concat({ subscription, attributes:match("ask='([^']*)'") or "",
						attributes:match("name='([^']*)'") or "", table.unpack(groups) }, ",") or nil;
				end
			end
		end

		local function ask(name, text)
			take_in(clients[name], clients[name]:ask(text or ""));
		end

		local roster_get = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";

		local function log_in(name)
			local one = client.login(server, name, "r"..choose(1000));
			one.list = {};
			clients[name] = one;
			-- Once more: what the first answer had is gone by now.
			ask(name, roster_get);
		end

		local function log_out(name)
			clients[name]:send("<presence type='unavailable'/></stream:stream>");
			clients[name]:close();
			clients[name] = nil;
			server:wait_for("return hosts[host].sessions[...] == nil", name.." is gone", 10, name);
		end

		local function item(contact, rest)
			return ("<iq type='set' id='edit'><query xmlns='jabber:iq:roster'><item jid='%s@localhost'%s</query></iq>"):format(
				contact, rest);
		end

		local by_clients = {
			function (contact) return item(contact, (" name='Name %d'><group>Own</group></item>"):format(choose(9))); end;
			function (contact) return item(contact, " subscription='remove'/>"); end;
			function (contact) return ("<presence type='subscribe' to='%s@localhost'/>"):format(contact); end;
			function (contact) return ("<presence type='subscribed' to='%s@localhost'/>"):format(contact); end;
			function (contact) return ("<presence type='unsubscribe' to='%s@localhost'/>"):format(contact); end;
			function () return ("<presence><show>away</show><status>%d</status></presence>"):format(choose(99)); end;
			function (contact)
				return ("<message type='chat' to='%s@localhost'><body>hello</body></message>"):format(contact);
			end;
			function () return roster_get; end;
		};

		-- Lua source, with `id` and `user`.
		local by_admins = {
			"groups.create({ name = 'Group '..id }, #id % 2 == 0, id)"; "groups.add_member(id, user)";
			"groups.add_member(id, user)"; "groups.add_member(id, user)"; "groups.add_member(id, user, true)";
			"groups.remove_member(id, user)"; "groups.sync(id)"; "groups.set_info(id, { name = 'Name '..#user..id })";
			"groups.add_group_chat(id, 'Chat')"; "groups.add_member(id, user) groups.remove_member(id, user)";
		};

		local group_count = size // 5 + 2;
		local function id_of(number) return "g"..("x"):rep(number); end

		local function work()
			local requests = {};
			for _ = 1, size // 4 + 1 do
				local source = choose(25) == 1 and "groups.delete(id)" or one_of(by_admins);
				requests[#requests + 1] = server:begin("local id, user = ...; "..source.." return true",
					id_of(choose(group_count)), one_of(names));
			end
			for _ = 1, size do
				local number = choose(size);
				local name = names[number];
				if not clients[name] then
					log_in(name);
				elseif choose(8) == 1 then
					log_out(name);
				else
					-- They have to do with a few others only, so that lists are soon as long as they get.
					ask(name, one_of(by_clients)(names[(number + choose(5)) % size + 1]));
				end
			end
			for _, request in ipairs(requests) do assert.is_true(request:await(60)); end
		end

		local function settle()
			server:eval([[for id in pairs(groups.groups()) do groups.sync(id); end return true]]);
			world.settle(server, 60);
		end

		-- Each client is told of all that it is given when it asks, before the answer or soon after.
		local function compare()
			for name, one in pairs(clients) do
				local told, given;
				local agree = pcall(harness.wait_until, function ()
					local text = one:ask(roster_get);
					local answer = text:find("<iq [^>]-id='roster'");
					local _, last = text:find("</iq>", answer, true);
					take_in(one, text:sub(1, answer - 1));
					told, given = one.list, {};
					one.list = given;
					take_in(one, text:sub(answer, last));
					one.list = told;
					local same = pcall(assert.same, given, told);
					take_in(one, text:sub(last + 1));
					return same;
				end, nil, 3);
				if not agree then assert.same(given, told, name); end
			end
		end

		local function mean(list, first, last)
			local sum = 0;
			for i = first, last do sum = sum + list[i]; end
			return sum / (last - first + 1);
		end

		it("leaves lists, groups and clients in agreement, and memory as it was", function ()
			local lua, process = {}, {};
			for number = 1, group_count do
				assert(server:call("create", { name = "Group" }, number % 3 == 0, id_of(number)));
				for _ = 1, 5 do assert(server:call("add_member", id_of(number), one_of(names))); end
			end
			for _, name in ipairs(names) do log_in(name); end
			for hour = 1, hours do
				for _ = 1, 4 do
					work();
					server:eval("prosody.spec_clock.advance(...) return true", quarter);
				end
				settle();
				compare();
				-- What users have taken off comes back with their next sessions.
				for _, name in ipairs(names) do
					if clients[name] then log_out(name); end
					log_in(name);
				end
				settle();
				assert.same({}, server:call("check"), "hour "..hour);
				world.forget(server); -- what was noted of the server for tests
				lua[hour], process[hour] = world.memory(server);
			end
			for line in server:log_text():gmatch("[^\n]+") do
				assert.falsy(line:find("\terror\t", 1, true) or line:find("groups_internal\twarn", 1, true), line);
			end
			local third = hours // 3;
			local lua_growth = mean(lua, hours - third + 1, hours) - mean(lua, third + 1, 2 * third);
			local process_growth = mean(process, hours - third + 1, hours) - mean(process, third + 1, 2 * third);
			print(("Lua: %.0f kB at the end, %+.0f; process: %.0f kB, %+.0f"):format(lua[hours], lua_growth, process[hours],
				process_growth));
			assert(lua_growth < most_lua and process_growth < most_process, "memory has grown");
		end);
	end);
end
