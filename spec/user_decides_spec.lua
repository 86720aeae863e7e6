-- What users and admins have decided holds, whatever the background work on contact lists has not come to yet.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function contact_of(...) return world.contact_of(server, ...); end
local function jid(name) return name.."@localhost"; end

-- Two users who are online become contacts of each other, with the stanzas that their clients send.
local befriend = [[
	local function befriend(a, b)
		local st, clients = require "util.stanza", prosody.spec_clients;
		local function send(from, kind, to)
			clients.send(clients.session(from), st.presence({ type = kind, to = to.."@"..host }));
		end
		send(a, "subscribe", b);
		send(b, "subscribed", a);
		send(b, "subscribe", a);
		send(a, "subscribed", b);
	end ]];

describe("two who become contacts of each other as a group gives them up, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(function () world.logout_all(server); end);

	-- What the one has of the other before the group, what a client makes of it in the group, and what it is to be.
	local contacts = {
		{ where = "where the group had brought the contact"; ends = "both,," };
		{
			where = "where it was a named contact without subscription before";
			before = { subscription = "none"; name = "Bobby"; groups = {} }; ends = "both,,Bobby";
		};
		{ where = "where the user had named the contact"; edit = { "Bobby", "G" }; ends = "both,,Bobby" };
		{
			where = "where the user had moved the contact to a group of the user's own";
			edit = { nil, "Friends" }; ends = "both,,,Friends";
		};
		{ where = "where the user had taken the label off the contact"; edit = {}; ends = "both,," };
	};

	local ways = {
		{ "is deleted"; "groups.delete(id)" };
		{ "loses the contact"; "groups.remove_member(id, b)" };
		{ "loses the user"; "groups.remove_member(id, a)" };
	};

	-- Nothing else is in storage and in the lists of the two than this.
	local function are_friends(a, b, ends)
		assert.same({ [b] = ends }, world.contacts(server, a));
		assert.same({ [a] = "both,," }, world.contacts(server, b));
		assert.same({ [b] = ends }, (world.fetch(server, a)));
		assert.same({ [a] = "both,," }, (world.fetch(server, b)));
	end

	-- They are each other's own contacts: no group takes that away any more.
	local function stay_friends(a, b, ends)
		are_friends(a, b, ends);
		local again = world.group(server, "Again", { a, b });
		call("delete", again);
		world.settle(server);
		are_friends(a, b, ends);
	end

	for _, contact in ipairs(contacts) do
		for _, pair in ipairs(ways) do
			local way, release = table.unpack(pair);

			local function prepare()
				local a, b = accounts(2);
				if contact.before then world.store_roster(server, a, { [jid(b)] = contact.before }); end
				local id = world.group(server, "G", { a, b });
				world.login(server, a, b);
				if contact.edit then world.edit(server, a, b, table.unpack(contact.edit, 1, 2)); end
				world.settle(server);
				return id, a, b;
			end

			it(("stay so for good when the group %s, %s"):format(way, contact.where), function ()
				local id, a, b = prepare();
				-- In one turn of the event loop: nothing can have been saved in between.
				server:eval(befriend..([[
					local id, a, b = ...;
					assert(%s);
					befriend(a, b);
					return true]]):format(release), id, a, b);
				assert.equal("both", world.in_memory(server, a)[b]);
				assert.equal("both", world.in_memory(server, b)[a]);
				world.settle(server);
				stay_friends(a, b, contact.ends);
			end);

			it(("stay so when the group %s and the server is killed, %s"):format(way, contact.where), function ()
				local id, a, b = prepare();
				server:try_eval(befriend..([[
					local id, a, b, pid = ...;
					assert(%s);
					befriend(a, b);
					os.execute("kill -9 "..pid);]]):format(release), id, a, b, server.pid);
				server:kill();
				server:start();
				world.settle(server);
				stay_friends(a, b, contact.ends);
			end);
		end
	end
end);

for _, option in ipairs { false, true } do
	local with_option = ("with groups_remove_contacts %s, %s"):format(option, title);

	describe("a named contact without an account, "..with_option, function ()
		setup(function () server = world.new { host_options = { groups_remove_contacts = option } }; end);
		teardown(function () server:destroy(); end);
		after_each(function () world.logout_all(server); end);

		local interruptions = {
			{ "nothing"; function () end };
			{ "a reload"; function () world.reload(server); end };
			{ "a restart"; function () server:restart(); end };
		};

		-- The contact as it is in storage, and in the list that a client is given.
		local function is(expected, a, b)
			world.settle(server);
			assert.equal(expected, contact_of(a, b));
			assert.equal(expected, (world.fetch(server, a))[b]);
		end

		for _, interruption in ipairs(interruptions) do
			local what, interrupt = table.unpack(interruption);
			for place, name in ipairs {
				"after each step", "before the group is made again", "after the member is added", "after a rename",
			} do
				-- Without a place there is nothing to tell apart.
				if what ~= "nothing" or place == 1 then
					for _, by in ipairs { "its id", "another id" } do
						it(("waits for the account when its group is made again by %s, with %s %s"):format(by, what, name), function ()
							local a, b = accounts(2);
							local id = world.group(server, "G", { a, b });
							world.login(server, a);
							world.edit(server, a, b, "Bobby", "G");
							world.logout(server, a);
							world.settle(server);
							server:delete_user(b);
							is("none,,Bobby", a, b);
							call("delete", id);
							is("none,,Bobby", a, b);
							if place <= 2 then interrupt(); end

							id = assert(call("create", { name = "H" }, false, by == "its id" and id or nil));
							call("add_member", id, a);
							call("add_member", id, b);
							is("none,,Bobby", a, b);
							if place == 1 or place == 3 then interrupt(); end
							call("sync", id);
							is("none,,Bobby", a, b);

							call("set_info", id, { name = "I" });
							if place == 1 or place == 4 then interrupt(); end
							is("none,,Bobby", a, b);
							assert.is_nil(world.contacts(server, b));

							server:create_user(b);
							call("sync", id);
							is("both,,Bobby,I", a, b);
							is(world.both("I"), b, a);
						end);
					end
				end
			end
		end
	end);

	describe("a directory that is down, "..with_option, function ()
		before_each(function () server = world.new { host_options = { groups_remove_contacts = option } }; end);
		after_each(function () server:destroy(); end);

		local function prepare()
			local a, b, c = accounts(3);
			local id = world.group(server, "G", { a, b, c });
			world.login(server, a);
			world.edit(server, a, b, "Bobby", "G");
			world.logout(server, a);
			world.settle(server);
			return id, a, b, c;
		end

		-- Everybody is still there, whatever the label says meanwhile.
		local function are_there(a, b, c)
			for _, list in ipairs { (world.fetch(server, a)), world.contacts(server, a) } do
				assert.truthy(list[b] and list[b]:find("^both,,Bobby,"), list[b]);
				assert.truthy(list[c] and list[c]:find("^both,,,"), list[c]);
			end
		end

		-- And when the directory is back, all is well.
		local function are_well(id, a, b, c)
			call("sync", id);
			world.settle(server);
			assert.same({ [b] = "both,,Bobby,H"; [c] = world.both("H") }, (world.fetch(server, a)));
			assert.same({ [b] = "both,,Bobby,H"; [c] = world.both("H") }, world.contacts(server, a));
			assert.same(world.mutual(b, { a, b, c }, "H"), world.contacts(server, b));
		end

		it("takes no contact away, named or not, when the module is loaded anew and the group renamed", function ()
			local id, a, b, c = prepare();
			-- In one turn, with an engine that knows of no account yet.
			local subscriptions = server:eval([[
				prosody.spec_asked = {};
				local id, a = ...;
				local mm = require "core.modulemanager";
				hosts[host].users.user_exists = function (name)
					prosody.spec_asked[name] = true;
					if name == a then return true; end
					return nil, "the directory is down";
				end
				assert(mm.unload(host, "groups_internal") and mm.load(host, "groups_internal"));
				assert(hosts[host].modules.groups_internal.set_info(id, { name = "H" }));
				local subscriptions = {};
				for jid, item in pairs(require "core.rostermanager".load_roster(a, host)) do
					if jid then subscriptions[jid] = item.subscription; end
				end
				return subscriptions]], id, a);
			assert.same({ [jid(b)] = "both"; [jid(c)] = "both" }, subscriptions);
			server:wait_for("local b, c = ...; return prosody.spec_asked[b] and prosody.spec_asked[c]",
				"the directory has been asked", 10, b, c);
			are_there(a, b, c);
			call("sync", id);
			are_there(a, b, c);
			server:restart();
			are_well(id, a, b, c);
		end);

		it("takes no contact away, named or not, when the server is restarted and the group renamed", function ()
			local id, a, b, c = prepare();
			server.settings.host_options.authentication = "spec_absent"; -- there is no such module
			server:restart();
			assert.falsy(server:eval([[return (require "core.usermanager".user_exists(..., host))]], b));
			are_there(a, b, c);
			call("set_info", id, { name = "H" });
			are_there(a, b, c);
			call("sync", id);
			are_there(a, b, c);
			server.settings.host_options.authentication = nil;
			server:restart();
			are_well(id, a, b, c);
		end);
	end);
end

describe("an option that is switched off, "..title, function ()
	before_each(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	after_each(function () server:destroy(); end);

	-- Runs Lua source in one turn of the event loop: no list has been reconciled before it ends. `switch_off()` in it
	-- switches the option off and reloads the module; `groups` is the new one then.
	local function at_once(source, ...)
		local switched = { groups_remove_contacts = false };
		server.settings.host_options = switched;
		server:write_config();
		return server:try_eval([[
			local groups = groups;
			local function switch_off()
				prosody.reload_config();
				assert(require "core.modulemanager".reload(host, "groups_internal"));
				groups = hosts[host].modules.groups_internal;
			end ]]..source, ...);
	end

	for _, online in ipairs { false, true } do
		for _, killed in ipairs { false, true } do
			local when = ("%s%s"):format(online and "all online" or "nobody online", killed and ", server killed" or "");

			-- Everything is in storage, and a client is given the same.
			local function are(expected)
				if killed then
					server:kill();
					server:start();
				end
				world.settle(server);
				for user, contacts in pairs(expected) do
					assert.same(contacts, world.contacts(server, user));
					assert.same(contacts, (world.fetch(server, user)));
				end
			end

			local finish = " if pid then os.execute(\"kill -9 \"..pid); end return true";

			local function prepare(n)
				local members = { accounts(n) };
				local id = world.group(server, "G", members);
				if online then world.login(server, table.unpack(members)); end
				return id, killed and server.pid or nil, members;
			end

			local both = world.both("G");

			it("does not give a member who has left back when the group is deleted then, "..when, function ()
				local id, pid, members = prepare(3);
				local a, b, c = table.unpack(members);
				local done = at_once([[
					local id, b, pid = ...;
					assert(groups.remove_member(id, b));
					switch_off();
					assert(groups.delete(id));]]..finish, id, b, pid);
				assert.equal(not killed, done);
				are { [a] = { [c] = both }; [b] = {}; [c] = { [a] = both } };
			end);

			it("lets the next one who leaves lose the one before only, "..when, function ()
				local id, pid, members = prepare(4);
				local a, b, c, d = table.unpack(members);
				local done = at_once([[
					local id, b, c, pid = ...;
					assert(groups.remove_member(id, b));
					switch_off();
					assert(groups.remove_member(id, c));]]..finish, id, b, c, pid);
				assert.equal(not killed, done);
				are {
					[a] = { [c] = both; [d] = both }; [b] = {}; [c] = { [a] = both; [d] = both };
					[d] = { [a] = both; [c] = both };
				};
			end);

			it("lets the next one who leaves keep the others when the group is deleted then, "..when, function ()
				local id, pid, members = prepare(4);
				local a, b, c, d = table.unpack(members);
				local done = at_once([[
					local id, b, c, pid = ...;
					assert(groups.remove_member(id, b));
					switch_off();
					assert(groups.remove_member(id, c));
					assert(groups.delete(id));]]..finish, id, b, c, pid);
				assert.equal(not killed, done);
				are {
					[a] = { [c] = both; [d] = both }; [b] = {}; [c] = { [a] = both; [d] = both };
					[d] = { [a] = both; [c] = both };
				};
			end);
		end
	end
end);
