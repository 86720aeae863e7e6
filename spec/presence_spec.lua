-- `groups_fast_presence`: contacts that groups bring and that are offline are passed over when presence is broadcast.
-- Clients receive, and other modules see, the same as without it.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

-- Group members, and others whom `me` has in the contact list.
local online = { "twice", "open", "hidden", "blocked", "blocker" };
local offline = { "away", "awayblocker", "awayblocked" };
local others = { "friend", "awayfriend", "asked", "follower", "followed", "stranger" };

-- Inside the server: records what is received and seen while `act` runs, as sorted texts without ids and times.
local recorder = [[
	local st, clients = require "util.stanza", prosody.spec_clients;
	local record = { received = {}, seen = {}, remote = {} };
	prosody.record = record;
	local all = {};

	local function text(stanza)
		local parts = {};
		for name, value in pairs(stanza.attr) do
			if name ~= "id" and name ~= "stamp" then parts[#parts + 1] = name.."="..value; end
		end
		table.sort(parts);
		local children = {};
		for i, child in ipairs(stanza) do
			children[i] = type(child) == "string" and child or "<"..text(child)..">";
		end
		if stanza.name == "query" then table.sort(children); end
		table.move(children, 1, #children, #parts + 1, parts);
		return stanza.name.." "..table.concat(parts, " ");
	end

	local function note(list, ...)
		list[#list + 1] = table.concat({ ... }, " ");
	end

	local events = hosts[host].events;
	for _, name in ipairs { "pre-presence/bare", "presence/bare" } do
		events.add_handler(name, function (event)
			local attr = event.stanza.attr;
			note(record.seen, name, attr.type or "available", attr.from, "to", attr.to or "all");
		end, 1000);
	end
	events.add_handler("route/remote", function (event)
		note(record.remote, text(event.stanza));
		return true;
	end, 1000);
	hosts["other.localhost"].events.add_handler("presence/bare", function (event)
		note(record.remote, text(event.stanza));
		return true;
	end, 1000);

	function prosody.bind(username, resource)
		local session = clients.bind(username, resource);
		all[username.."/"..resource] = session;
		return session;
	end

	function prosody.client(name)
		return all[name];
	end

	-- Returns what came since the last time: by client, by other modules, by other hosts.
	function prosody.collect()
		local result = { received = {}, seen = record.seen, remote = record.remote };
		for name, session in pairs(all) do
			local list = {};
			for _, stanza in ipairs(session.received or {}) do list[#list + 1] = text(stanza); end
			table.sort(list);
			result.received[name] = list;
			session.received = {};
		end
		table.sort(result.seen);
		table.sort(result.remote);
		record.seen, record.remote = {}, {};
		return result;
	end
	return true;]];

local steps = {
	{ "an initial presence"; [[
		local session = prosody.bind("me", "one");
		send(session, st.iq({ type = "get", id = "list" }):tag("query", { xmlns = "jabber:iq:roster" }));
		send(session, st.presence():text_tag("status", "Here")); ]] };
	{ "that of a second resource"; [[
		send(prosody.bind("me", "two"), st.presence():text_tag("priority", "5")); ]] };
	{ "another status"; [[
		send(prosody.client("me/one"), st.presence():text_tag("show", "away")); ]] };
	{ "directed presence"; [[
		for _, to in ipairs { "away@localhost", "hidden@localhost", "stranger@localhost", "someone@remote.example" } do
			send(prosody.client("me/one"), st.presence({ to = to }));
		end ]] };
	{ "a contact that comes"; [[
		send(prosody.bind("away", "phone"), st.presence()); ]] };
	{ "a status that this contact sees"; [[
		send(prosody.client("me/one"), st.presence():text_tag("show", "dnd")); ]] };
	{ "a contact that goes"; [[
		prosody.spec_clients.logout(prosody.client("away/phone")); ]] };
	{ "going offline without ending the session"; [[
		send(prosody.client("me/two"), st.presence({ type = "unavailable" })); ]] };
	{ "coming back"; [[
		send(prosody.client("me/two"), st.presence()); ]] };
	{ "the end of a session"; [[
		prosody.spec_clients.logout(prosody.client("me/one")); ]] };
	{ "the end of the last"; [[
		prosody.spec_clients.logout(prosody.client("me/two")); ]] };
	{ "the login of whoever was asked meanwhile"; [[
		send(prosody.bind("asked", "phone"), st.presence()); ]] };
};

-- Contacts whose presence and probes may be passed over in a step.
local passed_over = {};
for _, name in ipairs(offline) do passed_over[name.."@localhost"] = true; end

-- Drops what concerns nobody but contacts that are passed over.
local function without_offline(step, result)
	local comes = step >= 5 and step <= 6;
	local function is_passed_over(jid)
		return passed_over[jid] and not (comes and jid == "away@localhost");
	end
	local function filter(list, is_dropped)
		local left = {};
		for _, line in ipairs(list) do
			if not is_dropped(line) then left[#left + 1] = line; end
		end
		return left;
	end
	for client, list in pairs(result.received) do
		result.received[client] = filter(list, function (line)
			-- What answers a probe to somebody who is offline, and what tells a user of presence to somebody blocked.
			return is_passed_over(line:match("^presence from=([^ /]+) to=%S+ type=unavailable$"))
				or line:match("^presence from=awayblocked@localhost to=%S+ type=error ");
		end);
	end
	result.seen = filter(result.seen, function (line)
		return is_passed_over(line:match(" to (%S+)$")) and line:match("^%S+ (%S+)") ~= "subscribe"
			and not (step == 4 and line:match("^%S+ available"));
	end);
	return result;
end

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("with %s contact lists, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("what clients, other modules and other hosts get, "..title, function ()
		local results = {};

		-- Runs all steps on a server of its own.
		local function run(fast)
			local server = world.new {
				modules = { "groups_internal", "blocklist" };
				host_options = { groups_roster_mode = mode; groups_fast_presence = fast };
				hosts = { ["other.localhost"] = { modules = {} } };
			};
			local members = { "me" };
			for _, list in ipairs { online, offline } do table.move(list, 1, #list, #members + 1, members); end
			server:create_user(table.unpack(members));
			server:create_user(table.unpack(others));
			world.store_roster(server, "me", {
				["friend@localhost"] = { subscription = "both", groups = {} };
				["awayfriend@localhost"] = { subscription = "both", groups = {} };
				["asked@localhost"] = { subscription = "none", ask = "subscribe", groups = {} };
				["follower@localhost"] = { subscription = "from", groups = {} };
				["followed@localhost"] = { subscription = "to", groups = {} };
				["someone@remote.example"] = { subscription = "both", groups = {} };
				["someone@other.localhost"] = { subscription = "both", groups = {} };
			}, { version = 1; pending = { ["stranger@localhost"] = true } });
			for name, subscription in pairs { friend = "both"; awayfriend = "both"; follower = "to"; followed = "from" } do
				world.store_roster(server, name, {
					["me@localhost"] = { subscription = subscription, groups = {} };
				}, { version = 1 });
			end
			world.group(server, "Team", members);
			server:eval(recorder);
			server:eval([[
				local st = require "util.stanza";
				local send = prosody.spec_clients.send;
				local function block(session, whom)
					send(session, st.iq({ type = "set", id = "block" }):tag("block", { xmlns = "urn:xmpp:blocking" })
						:tag("item", { jid = whom }));
				end
				for _, name in ipairs { "twice/phone", "twice/desk", "open/phone", "blocked/phone", "blocker/phone",
					"friend/phone", "follower/phone", "followed/phone", "stranger/phone" } do
					send(prosody.bind(name:match("(.+)/(.+)")), st.presence():text_tag("status", name));
				end
				-- Not available, but for whom it is directed to.
				send(prosody.bind("hidden", "phone"), st.presence({ to = "me@localhost" }));
				block(prosody.bind("awayblocker", "phone"), "me@localhost");
				block(prosody.client("blocker/phone"), "me@localhost");
				prosody.spec_clients.logout(prosody.client("awayblocker/phone"));
				local me = prosody.bind("me", "zero");
				block(me, "blocked@localhost");
				block(me, "awayblocked@localhost");
				prosody.spec_clients.logout(me);
				prosody.collect();
				return true]]);
			local result = {};
			for i, step in ipairs(steps) do
				result[i] = server:eval([[
					local st, send = require "util.stanza", prosody.spec_clients.send;
					]]..step[2]..[[
					for _, user in pairs(hosts[host].sessions) do
						for _, session in pairs(user.sessions) do
							assert(session.roster == user.roster, "a session has another contact list than its user");
						end
					end
					return prosody.collect()]]);
			end
			server:destroy();
			return result;
		end

		setup(function ()
			for _, fast in ipairs { false, true } do results[fast] = run(fast); end
		end);

		for i, step in ipairs(steps) do
			it("is the same with "..step[1], function ()
				assert.is_truthy(next(results[true][i].seen));
				assert.same(without_offline(i, results[false][i]), results[true][i]);
			end);
		end
	end);
end

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("with %s contact lists, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("what contacts publish, "..title, function ()
		local server;

		-- A client whose presence says that it wants to know nicknames, and that says so when asked. `news` are the
		-- nicknames that it was told of: { "username:nickname", … }
		local tools = [[
			local st, calculate_hash = require "util.stanza", require "util.caps".calculate_hash;
			local clients = prosody.spec_clients;
			local pep = {};
			prosody.pep = pep;

			local function describe(query)
				return query:tag("feature", { var = "http://jabber.org/protocol/nick+notify" }):up();
			end

			local ver = calculate_hash(describe(st.stanza("query")).tags);

			function pep.presence()
				return st.presence():tag("c", { xmlns = "http://jabber.org/protocol/caps", hash = "sha-1",
					node = "http://client.example", ver = ver }):up();
			end

			function pep.login(username)
				local session = clients.bind(username, "spec");
				session.news = {};
				function session.send(stanza)
					local query = stanza:get_child("query", "http://jabber.org/protocol/disco#info");
					local nick = stanza.name == "message" and tostring(stanza):match("<nick[^>]*>([^<]*)</nick>");
					if nick then
						session.news[#session.news + 1] = stanza.attr.from:match("^[^@]+")..":"..nick;
					elseif query and stanza.attr.type == "get" then
						clients.send(session, describe(st.reply(stanza):tag("query", query.attr)));
					end
					return true;
				end
				clients.send(session, pep.presence());
				return session;
			end

			function pep.publish(username, nick)
				local xmlns = "http://jabber.org/protocol/pubsub";
				clients.send(clients.session(username), st.iq({ type = "set", id = "publish" })
					:tag("pubsub", { xmlns = xmlns })
						:tag("publish", { xmlns = xmlns, node = "http://jabber.org/protocol/nick" })
							:tag("item", { xmlns = xmlns, id = "current" })
							:text_tag("nick", nick, { xmlns = "http://jabber.org/protocol/nick" }));
			end

			-- Presence and news on their way to somebody who is offline or gone.
			pep.routed, pep.lost = {}, 0;
			hosts[host].events.add_handler("presence/bare", function (event)
				local attr = event.stanza.attr;
				if attr.to then pep.routed[#pep.routed + 1] = (attr.type or "available").." to "..attr.to; end
			end, 1000);
			hosts[host].events.add_handler("message/full", function (event)
				if not prosody.full_sessions[event.stanza.attr.to] then pep.lost = pep.lost + 1; end
			end, 1000);
			return true;]];

		local function news(username)
			return table.concat(server:eval("return prosody.spec_clients.session(...).news", username), " ");
		end

		local function hears(username, text)
			harness.wait_until(function () return news(username):find(text, 1, true); end, username.." hears of "..text);
		end

		local function routed(text)
			local count = 0;
			for _, line in ipairs(server:eval("return prosody.pep.routed")) do
				if line == text then count = count + 1; end
			end
			return count;
		end

		local members;

		before_each(function ()
			server:eval("prosody.pep.routed = {} return true");
			members = world.names(3);
			server:create_user(table.unpack(members));
			world.group(server, "Team", members);
			-- A writer has published, and is offline.
			server:eval([[
				prosody.pep.login((...));
				prosody.pep.publish(..., "First");
				prosody.spec_clients.logout(prosody.spec_clients.session((...)));
				return true]], members[2]);
		end);

		setup(function ()
			server = world.new { modules = { "groups_internal", "pep" }; host_options = { groups_roster_mode = mode } };
			server:eval(tools);
		end);

		teardown(function ()
			server:destroy();
		end);

		after_each(function ()
			world.logout_all(server);
		end);

		it("is told to a user who logs in while they are offline", function ()
			server:eval("return prosody.pep.login(...) ~= nil", members[1]);
			hears(members[1], members[2]..":First");
			harness.wait_until(function () return routed("available to "..members[3].."@localhost") == 1; end);
			assert.equal(members[2]..":First", news(members[1]), "once");
		end);

		it("is told when they come before their turn, and whenever they publish after that", function ()
			server:eval([[
				local reader, writer = ...;
				prosody.pep.login(reader);
				prosody.pep.login(writer);
				return true]], members[1], members[2]);
			hears(members[1], members[2]..":First");
			server:eval("prosody.pep.publish(...) return true", members[2], "Second");
			hears(members[1], members[2]..":Second");
		end);

		it("is not told again with a change of status", function ()
			server:eval("return prosody.pep.login(...) ~= nil", members[1]);
			hears(members[1], members[2]..":First");
			harness.wait_until(function () return routed("available to "..members[3].."@localhost") == 1; end);
			server:eval([[
				prosody.spec_clients.send(prosody.spec_clients.session(...), prosody.pep.presence():text_tag("show", "dnd"));
				prosody.pep.login(select(2, ...));
				return true]], members[1], members[2]);
			-- What is put off keeps its order.
			harness.wait_until(function () return routed("available to "..members[3].."@localhost") > 1; end,
				"the one who came later is told of");
			assert.equal(2, routed("available to "..members[3].."@localhost"));
			assert.equal(members[2]..":First", news(members[1]));
		end);

		it("is not sent to a session that has ended", function ()
			server:eval("return prosody.pep.login(...) ~= nil", members[1]);
			hears(members[1], members[2]..":First");
			harness.wait_until(function () return routed("available to "..members[3].."@localhost") == 1; end);
			world.logout(server, members[1]);
			harness.wait_until(function () return routed("unavailable to "..members[3].."@localhost") == 1; end);
			server:eval([[
				prosody.pep.login((...));
				prosody.pep.publish(..., "Second");
				return true]], members[2]);
			assert.equal(0, server:eval("return prosody.pep.lost"));
		end);

		it("is nobody's who has left before the contact's turn", function ()
			server:eval([[
				prosody.pep.login((...));
				prosody.spec_clients.logout(prosody.spec_clients.session((...)));
				prosody.pep.login(select(2, ...));
				return true]], members[1], members[2]);
			harness.wait_until(function () return routed("available to "..members[3].."@localhost") == 1; end,
				"the second has been told of");
			assert.equal(0, routed("unavailable to "..members[3].."@localhost"));
		end);

		it("is told of at once when the module is reloaded", function ()
			server:eval([[
				prosody.pep.login((...));
				return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], members[1]);
			assert.equal(1, routed("available to "..members[3].."@localhost"));
			hears(members[1], members[2]..":First");
		end);
	end);

	describe("a session whose presence makes another module fail, "..title, function ()
		it("has its contact list afterwards", function ()
			local server = world.new { host_options = { groups_roster_mode = mode } };
			server:create_user("me", "away");
			world.group(server, "Team", { "me", "away" });
			assert.is_true(server:eval([[
				module:hook("presence/initial", function () error("on purpose"); end);
				assert(not pcall(prosody.spec_clients.login, "me"));
				local session, count = prosody.spec_clients.session("me"), 0;
				for jid in pairs(session.roster) do
					if jid then count = count + 1; end
				end
				return count == 1 and session.roster == hosts[host].sessions.me.roster]]));
			server:destroy();
		end);

		it("ends in the midst of it, and leaves the whole contact list behind", function ()
			local server = world.new { host_options = { groups_roster_mode = mode } };
			server:create_user("me", "away");
			world.group(server, "Team", { "me", "away" });
			assert.is_true(server:eval([[
				module:hook("presence/initial", function (event) prosody.spec_clients.logout(event.origin); end);
				pcall(prosody.spec_clients.login, "me");
				assert(not hosts[host].sessions.me);
				local count = 0;
				for jid in next, require "core.rostermanager".load_roster("me", host) do
					if jid then count = count + 1; end
				end
				return count == 1]]));
			server:destroy();
		end);
	end);
end
