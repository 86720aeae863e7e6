-- Storage that fails, for one call at each place and for half a minute: what was answered is kept, and once storage is
-- healed, everything completes, with nobody's help. The same for a disk that is full.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "internal" then return; end -- the driver is the same for all

for _, mode in ipairs { "permanent", "virtual" } do
	describe(("storage under fire, %s contacts, Prosody %s"):format(mode, harness.version), function ()
		local server;

		local function call(...) return server:call(...); end

		setup(function ()
			server = world.new { storage = "failing"; clock = true; host_options = { groups_roster_mode = mode } };
		end);

		teardown(function () server:destroy(); end);

		-- Ends the failing, and returns how many calls have failed.
		local function heal()
			return server:eval([[
				local failed = prosody.spec_last_rule.failed;
				prosody.spec_failing.clear();
				return failed]]);
		end

		local function advance(seconds)
			server:eval("prosody.spec_clock.advance(...) return true", seconds);
		end

		-- Puts the clock forward until all work is done.
		local function settle()
			world.wait_until(function ()
				advance(10);
				return world.is_settled(server) and call("status").unsettled == 0;
			end, "everything is complete");
		end

		-- A group of two who are online, and what is done to it. Returns the calls, and what is to come of them.
		local function prepare(n)
			local names = { world.accounts(server, n) };
			local id = world.group(server, "G", { names[1], names[2] });
			world.login(server, names[1], names[2]);
			local calls = {};
			for i = 3, n do calls[#calls + 1] = { "add_member", id, names[i] }; end
			calls[#calls + 1] = { "set_info", id, { name = "H" } };
			calls[#calls + 1] = { "remove_member", id, names[3] };
			calls[#calls + 1] = { "add_member", id, names[3] };
			return id, names, calls;
		end

		-- Makes the calls. Returns those that failed; what they did is undone.
		local function make(calls)
			return server:eval([[
				local failed = {};
				for _, call in ipairs(...) do
					local name, id, argument = table.unpack(call);
					local ok, err = groups[name](id, argument);
					if ok == nil then
						assert(err == "internal-server-error", err);
						failed[#failed + 1] = call;
					end
				end
				return failed]], calls);
		end

		-- A user's client names a contact, and leaves it in its groups. Is it told that this is done?
		local function edit(user, contact, name)
			return server:eval([[
				local st, user, contact, name = require "util.stanza", ...;
				local session = prosody.spec_clients.session(user);
				local jid, xmlns = contact.."@localhost", "jabber:iq:roster";
				local set = st.iq({ type = "set", id = "edit" }):tag("query", { xmlns = xmlns })
					:tag("item", { xmlns = xmlns, jid = jid, name = name });
				for group in pairs(session.roster[jid].groups) do set:text_tag("group", group, { xmlns = xmlns }); end
				session.received = {};
				prosody.spec_clients.send(session, set);
				for _, stanza in ipairs(session.received) do
					if stanza.attr.id == "edit" then return stanza.attr.type == "result"; end
				end
				error("no answer")]], user, contact, name);
		end

		local function assert_complete(id, names, named, what)
			world.logout_all(server);
			local members = {};
			for _, name in ipairs(names) do members[name] = {}; end
			assert.same(members, call("get_members", id), what);
			assert.same(members, server:stored("groups", id), what);
			assert.same({ name = "H" }, server:stored("group_info", id), what);
			for _, name in ipairs(names) do
				local expected = world.mutual(name, names, "H");
				if name == names[1] and named then expected[names[2] ] = "both,,Pal,H"; end
				assert.same(expected, (world.fetch(server, name)), what);
				if mode == "permanent" then assert.same(expected, world.contacts(server, name), what); end
			end
		end

		-- Lets everything happen while storage fails by this rule. Returns whether it did.
		local function endure(rule, n, seconds)
			local what = ("%s.%s%s"):format(rule.store, rule.method, rule.nth and ", call "..rule.nth or "");
			local id, names, calls = prepare(n);
			server:eval("prosody.spec_last_rule = prosody.spec_failing.fail(...) return true", rule);
			local all_done = #make(calls) == 0;
			local named = edit(names[1], names[2], "Pal");
			world.logout(server, names[2]);
			-- The list of this one is perhaps one that cannot be read.
			server:try_eval("prosody.spec_clients.login(...) return true", names[2]);
			for _ = 1, seconds / 5 do
				advance(5);
				call("status");
			end
			local count = heal();
			if not all_done then assert.same({}, make(calls), what); end
			settle();
			if not named then assert.is_true(edit(names[1], names[2], "Pal"), what); end
			settle();
			assert_complete(id, names, true, what);
			return count > 0;
		end

		local stores = { "roster", "groups", "group_info", "groups_internal" };
		if mode == "virtual" then stores[#stores + 1] = "groups_contacts"; end

		for _, store in ipairs(stores) do
			for _, method in ipairs { "set", "get" } do
				it(("(%s.%s) that fails at one call anywhere loses nothing"):format(store, method), function ()
					for nth = 1, 30 do
						if not endure({ store = store; method = method; nth = nth }, 4, 0) then return; end
					end
				end);

				it(("(%s.%s) that fails for half a minute loses nothing"):format(store, method), function ()
					endure({ store = store; method = method }, 6, 30);
				end);
			end
		end

		-- What a start makes of it is read for the group's records and for the record of open work.
		for _, rule in ipairs { { store = "groups_internal"; method = "get" }, { store = "group_info"; method = "users" },
			{ store = "group_info"; method = "get" }, { store = "groups"; method = "get" } } do
			it(("(%s.%s) that fails for half a minute from a start on is read by itself later"):format(rule.store, rule.method),
			function ()
				local id, names, calls = prepare(4);
				assert.same({}, make(calls));
				-- The record of open work names the group.
				server:eval([[
					assert(require "core.modulemanager".unload(host, "groups_internal"));
					prosody.spec_failing.fail(...);
					return assert(require "core.modulemanager".load(host, "groups_internal")) ~= nil]], rule);
				advance(29);
				server:eval("prosody.spec_failing.clear() return true");
				advance(2);
				world.wait_until(function ()
					return server:eval([[
						local id = ...;
						local exists;
						require "util.timer".add_task(0, function () exists = groups.exists(id); end);
						local wait, done = require "util.async".waiter();
						require "util.timer".add_task(0.01, done);
						wait();
						return exists]], id);
				end, "the group has been read");
				settle();
				assert_complete(id, names, false, rule.store);
			end);
		end
	end);
end
