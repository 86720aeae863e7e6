-- Virtual contact lists: contacts that are shown and never stored.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("virtual contact lists with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	local function accounts(n) return world.accounts(server, n); end

	local function jid(name) return name.."@localhost"; end

	-- The contact list that a client which logs in is given, and its version.
	local function shown(username) return world.fetch(server, username); end

	-- Is the answer to a client that knows this version short?
	local function is_short(username, version) return world.fetch(server, username, version) == nil; end

	local function edit(...) world.edit(server, ...); end
	local function take_off(...) world.take_off(server, ...); end

	-- Stores the whole contact list of a user as it is in memory.
	local function save_all(username)
		server:eval([[
			local rm = require "core.rostermanager";
			local username = ...;
			return assert(rm.save_roster(username, host, rm.load_roster(username, host)))]], username);
	end

	local function evict(username)
		server:eval([[
			local cache = hosts[host].roster_cache;
			if cache then cache:set((...).."@"..host, nil); end
			return true]], username);
	end

	local function stored(username)
		return world.contacts(server, username) or {};
	end

	-- Changes the mode by configuration and reload.
	local function switch(mode)
		world.set_options(server, { groups_roster_mode = mode });
		world.settle(server);
	end

	setup(function ()
		server = world.new { host_options = { groups_roster_mode = "virtual" } };
	end);

	teardown(function ()
		server:destroy();
	end);

	after_each(function ()
		world.logout_all(server);
	end);

	it("are shown to who logs in, and are in no store", function ()
		local members = { accounts(4) };
		local id = world.group(server, "Shown", members);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Shown"), (shown(member)));
			assert.same({}, stored(member));
		end
		save_all(members[1]);
		assert.same({}, stored(members[1]));
		assert.is_nil(server:stored("groups_contacts", members[1]));
		server:restart();
		assert.same(world.mutual(members[1], members, "Shown"), (shown(members[1])));
		assert.is_true(call("delete", id));
		assert.same({}, (shown(members[1])));
	end);

	it("change at once for those who are online, with pushes and presence both ways", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Live", { a, b });
		world.login(server, a, b, c);
		world.forget(server);
		call("add_member", id, c);
		world.settle(server);
		assert.equal("both", world.pushes(server, a)[c].subscription);
		assert.same({ "Live" }, world.pushes(server, a)[c].groups);
		assert.equal("both", world.pushes(server, c)[a].subscription);
		assert.equal("both", world.pushes(server, c)[b].subscription);
		local function presences(of)
			local found = {};
			for _, presence in ipairs(server:eval("return prosody.spec_clients.presences(...)", of)) do
				found[presence.from] = presence.type;
			end
			return found;
		end
		assert.equal("available", presences(a)[jid(c)]);
		assert.equal("available", presences(c)[jid(b)]);
		world.forget(server);
		call("remove_member", id, b);
		world.settle(server);
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		assert.equal("remove", world.pushes(server, b)[a].subscription);
		assert.equal("remove", world.pushes(server, b)[c].subscription);
		assert.equal("unavailable", presences(b)[jid(a)]);
		assert.equal("unavailable", presences(a)[jid(b)]);
		assert.same({}, world.writes(server));
		world.forget(server);
		call("set_info", id, { name = "Alive" });
		world.settle(server);
		assert.same({ "Alive" }, world.pushes(server, a)[c].groups);
		assert.same({}, world.pushes(server, b));
	end);

	it("have a version that changes exactly when the visible list does", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Versions", { a, b });
		local _, first = shown(a);
		assert.is_true(is_short(a, first));
		evict(a);
		assert.is_true(is_short(a, first));
		server:restart();
		assert.is_true(is_short(a, first));
		call("add_member", id, c);
		assert.is_false(is_short(a, first));
		local _, second = shown(a);
		assert.is_true(is_short(a, second));
		call("remove_member", id, c);
		assert.is_true(is_short(a, first));
		call("set_info", id, { name = "Other versions" });
		assert.is_false(is_short(a, first));
		local _, third = shown(a);
		world.login(server, a);
		edit(a, b, "Bobby", "Other versions");
		assert.is_false(is_short(a, third));
	end);

	it("are stored neither if the store of rosters cannot be wrapped, and the log says so once", function ()
		local a, b = accounts(2);
		world.group(server, "Unwrapped", { a, b });
		world.login(server, a);
		world.forget(server);
		local mark = server:log_mark();
		local saved = server:eval([[
			local username = ...;
			local rostermanager = require "core.rostermanager";
			-- Another module's store, of which ours can make nothing.
			local function replace(event)
				if event.store_name ~= "roster" then return; end
				local store = event.store;
				event.store = setmetatable({}, { __index = function (_, key)
					if key == "set_keys" then error("on purpose"); end
					return store[key];
				end });
			end
			module:context(host):hook("store-opened", replace, -5);
			local roster = hosts[host].sessions[username].roster;
			local saved = { rostermanager.save_roster(username, host, roster) or false };
			for jid in pairs(roster) do
				if jid then saved[#saved + 1] = rostermanager.save_roster(username, host, roster, jid) or false; end
			end
			module:context(host):unhook("store-opened", replace);
			return saved]], a);
		assert.same({ false, false }, saved);
		assert.same({}, world.writes(server));
		assert.equal(1, select(2, server:log_text(mark):gsub("\terror\tThe store of contact lists cannot be wrapped", "")));
		assert.is_true(server:eval([[
			local username = ...;
			local roster = hosts[host].sessions[username].roster;
			return require "core.rostermanager".save_roster(username, host, roster) or false]], a));
	end);

	it("push the version that a client is told at its next login", function ()
		local a, b, c, d = accounts(4);
		local id = world.group(server, "Pushed", { a, b });
		world.login(server, a);
		world.forget(server);
		call("add_member", id, c);
		local pushed = world.pushes(server, a)[c].ver;
		world.logout(server, a);
		assert.is_true(is_short(a, pushed));
		world.login(server, a);
		world.forget(server);
		call("delete", id);
		local pushes = world.pushes(server, a);
		assert.is_true(is_short(a, pushes[b].ver) ~= is_short(a, pushes[c].ver)); -- the last one only
		id = world.group(server, "Pushed again", { a, d });
		assert.is_false(is_short(a, pushed));
		call("delete", id);
	end);

	it("keep what was made of each stored contact apart, once they are virtual", function ()
		local a, b, c = accounts(3);
		world.set_options(server, { groups_roster_mode = "permanent" });
		world.group(server, "Converted", { a, b, c });
		world.login(server, a);
		for _, contact in ipairs { b, c } do edit(a, contact, nil, "Converted", "Friends"); end
		world.settle(server);
		world.set_options(server, { groups_roster_mode = "virtual" });
		world.settle(server);
		local friends = { groups = { Friends = true } };
		assert.same({ [jid(b)] = friends, [jid(c)] = friends }, server:stored("groups_contacts", a));
		edit(a, b, "Bobby", "Converted", "Family");
		assert.same({ [jid(b)] = { name = "Bobby", groups = { Family = true } }, [jid(c)] = friends },
			server:stored("groups_contacts", a));
	end);

	it("are left to the next load, without a warning, when the module is reloaded before they are in storage", function ()
		local a, b, c = accounts(3);
		world.set_options(server, { groups_roster_mode = "permanent" });
		world.group(server, "Reloaded", { a, b, c });
		world.login(server, a, b, c);
		world.settle(server);
		local mark = server:log_mark();
		server.settings.host_options.groups_roster_mode = "virtual";
		server:write_config();
		server:eval([[
			local reload = require "core.modulemanager".reload;
			prosody.reload_config();
			reload(host, "groups_internal");
			assert(hosts[host].modules.groups_internal.status().unsettled > 0, "all lists are in storage");
			reload(host, "groups_internal");
			return true]]);
		world.settle(server);
		assert.is_nil(server:log_text(mark):find("groups_internal\twarn", 1, true));
		for _, user in ipairs { a, b, c } do assert.same({}, stored(user)); end
	end);

	-- Groups 80 users who are online, more than are seen to in one turn, and makes contacts stored. In the turn of the
	-- reload, `act` is run with the group's id and the users whose lists are still to be changed. Returns these.
	local function store_while(name, act)
		local members = { accounts(80) };
		local id = call("create", { name = name }, false);
		assert.is_true(call("add_members", id, members));
		world.login(server, table.unpack(members));
		world.settle(server);
		world.forget(server);
		local options = server.settings.host_options;
		options.groups_roster_mode, options.groups_remove_contacts = "permanent", true;
		server:write_config();
		local waiting = server:eval([[
			prosody.reload_config();
			assert(require "core.modulemanager".reload(host, "groups_internal"));
			local waiting = {};
			for i = 2, select("#", ...) do
				local username = select(i, ...);
				for jid, item in pairs(hosts[host].sessions[username].roster) do
					if jid and getmetatable(item) then waiting[#waiting + 1] = username; break; end
				end
			end
			local id = ...;]]..act.." return waiting", id, table.unpack(members));
		options.groups_remove_contacts = nil;
		assert.is_true(#waiting > 2, "each list was reconciled in the turn of the reload");
		world.settle(server);
		return waiting, id;
	end

	it("keep no label of their group that a client sent before its list's turn, once they are stored", function ()
		local waiting, id = store_while("Turned", [[
			local st, clients = require "util.stanza", prosody.spec_clients;
			for i = 2, #waiting do
				local name = i % 2 == 0 and "Chum" or nil;
				clients.send(clients.session(waiting[i]), st.iq({ type = "set", id = "edit" })
					:tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = waiting[i - 1].."@"..host, name = name,
						subscription = not name and "remove" or nil })
					:text_tag("group", "Turned", { xmlns = "jabber:iq:roster" }));
			end]]);
		for i = 2, #waiting do
			assert.equal(i % 2 == 0 and "both,,Chum,Turned" or nil, stored(waiting[i])[waiting[i - 1]]);
		end
		call("delete", id);
		world.settle(server);
		for i = 2, #waiting, 2 do assert.equal("none,,Chum", stored(waiting[i])[waiting[i - 1]]); end
		switch("virtual");
	end);

	it("leave the clients of those whose list's turn comes after a removal, once they are stored", function ()
		local waiting = store_while("Left", [[
			assert(hosts[host].modules.groups_internal.remove_member(id, waiting[1]));]]);
		for i = 2, #waiting do
			local user, gone = waiting[i], waiting[1];
			assert.equal("remove", (world.pushes(server, user)[gone] or {}).subscription, user);
			local heard = table.concat(world.presences(server, user), " ");
			assert.is_truthy(heard:find(gone..":unavailable", 1, true), user);
		end
		switch("virtual");
	end);

	it("are in no list after an unload, also where lists are saved with it", function ()
		local a, b, c = accounts(3);
		world.set_options(server, { groups_roster_mode = "permanent" });
		world.group(server, "Unloaded", { a, b, c });
		world.login(server, a, b);
		world.settle(server);
		server.settings.host_options.groups_roster_mode = "virtual";
		server:write_config();
		local shown_still = server:eval([[
			local mm = require "core.modulemanager";
			prosody.reload_config();
			mm.reload(host, "groups_internal");
			assert(hosts[host].modules.groups_internal.status().unsettled > 0, "all lists are in storage");
			mm.unload(host, "groups_internal");
			local found = {};
			for _, username in ipairs { ... } do
				for jid, item in pairs(hosts[host].sessions[username].roster) do
					if jid and getmetatable(item) then found[#found + 1] = username.." has "..jid; end
				end
			end
			assert(mm.load(host, "groups_internal"));
			return found]], a, b);
		assert.same({}, shown_still);
		world.settle(server);
		for _, user in ipairs { a, b, c } do assert.same({}, stored(user)); end
		assert.same(world.mutual(a, { a, b, c }, "Unloaded"), (shown(a)));
	end);

	it("keep the name and the groups that a client gives a contact, apart from the contact list", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Edited", { a, b, c });
		world.login(server, a);
		edit(a, b, "Bobby", "Edited", "Friends");
		assert.equal("both,,Bobby,Edited,Friends", (shown(a))[b]);
		assert.same({}, stored(a));
		assert.same({ [jid(b)] = { name = "Bobby", groups = { Friends = true } } }, server:stored("groups_contacts", a));
		save_all(a);
		assert.same({}, stored(a));
		server:restart();
		assert.equal("both,,Bobby,Edited,Friends", (shown(a))[b]);
		assert.equal(world.both("Edited"), (shown(a))[c]);
		-- Also for who leaves and comes back.
		call("remove_member", id, b);
		assert.is_nil((shown(a))[b]);
		call("add_member", id, b);
		assert.equal("both,,Bobby,Edited,Friends", (shown(a))[b]);
		world.login(server, a);
		edit(a, b, nil, "Edited");
		assert.equal(world.both("Edited"), (shown(a))[b]);
		assert.is_nil(server:stored("groups_contacts", a));
	end);

	it("are given to clients as Prosody gives a contact list, each with what its user has made of it", function ()
		local a, b, c, d = accounts(4);
		call("create", { name = "Choir" }, false, "choir");
		call("create", { name = "Band & Co" }, false, "band");
		for _, name in ipairs { a, b, c } do call("add_member", "choir", name); end
		for _, name in ipairs { a, b } do call("add_member", "band", name); end
		world.login(server, a);
		edit(a, b, "Bee", "Band & Co", "Choir", "Friends");
		edit(a, c, "Cici", "Choir");
		edit(a, d, "Some <one>");
		world.logout(server, a);
		-- Read from storage anew, items have no roster groups of their own.
		server:eval("hosts[host].roster_cache = nil return true");
		local differing = server:eval([[
			local st = require "util.stanza";
			local function written(session)
				session.received = {};
				prosody.spec_clients.send(session, st.iq({ type = "get", id = "look" })
					:tag("query", { xmlns = "jabber:iq:roster" }));
				local answer, items = session.received[1], {};
				for item in answer:get_child("query", "jabber:iq:roster"):children() do
					local lines = {};
					for name, value in pairs(item.attr) do lines[#lines + 1] = name.."="..value; end
					for child in item:children() do lines[#lines + 1] = tostring(child); end
					table.sort(lines);
					items[#items + 1] = item.name.." "..table.concat(lines, " ");
				end
				table.sort(items);
				return table.concat({ answer.attr.id, tostring(answer.attr.to), answer.tags[1].attr.ver,
					table.concat(items, "; ") }, "; "), #items;
			end
			local differing, contacts = {}, 0;
			for _, username in ipairs { ... } do
				local session = prosody.spec_clients.bind(username, "look");
				local roster, plain = session.roster, {};
				local ours, count = written(session);
				-- This gives each item roster groups of its own: its element is not shared any more.
				for jid, item in pairs(roster) do
					plain[jid] = { subscription = item.subscription, ask = item.ask, name = item.name, version = item.version,
						groups = item.groups };
				end
				session.roster = plain;
				local theirs = written(session);
				session.roster = roster;
				contacts = contacts + count;
				if ours ~= theirs or ours ~= written(session) then differing[#differing + 1] = ours.." / "..theirs; end
				prosody.spec_clients.logout(session);
			end
			return { differing, contacts }]], b, c, a, b);
		assert.same({ {}, 2 + 2 + 3 + 2 }, differing);
	end);

	it("let a contact that is taken off come back with the next session", function ()
		local a, b = accounts(2);
		world.group(server, "Off", { a, b });
		local _, version = shown(a);
		world.login(server, a, b);
		take_off(a, b);
		assert.is_nil(world.in_memory(server, a)[b]);
		assert.same({}, stored(a));
		assert.same({}, stored(b));
		world.logout(server, a);
		assert.equal(world.both("Off"), (shown(a))[b]);
		server:wait_for("local a, b = ...; return hosts[host].sessions[b].roster[a].subscription == 'both'",
			"the other has the contact again", 10, jid(a), b);
		assert.is_true(is_short(a, version) == false or stored(a)[b] == nil);
	end);

	for _, prior in ipairs { "none", "to", "from", "both" } do
		it("leave a contact of one's own with subscription "..prior.." as it was", function ()
			local a, b = accounts(2);
			world.store_roster(server, a, { [jid(b)] = { subscription = prior; name = "Own"; groups = { Mine = true } } },
				{ version = 7 });
			local id = world.group(server, "Over", { a, b });
			assert.equal("both,,Own,Mine,Over", (shown(a))[b]);
			save_all(a);
			assert.equal(prior..",,Own,Mine", stored(a)[b]);
			world.login(server, a);
			edit(a, b, "Owned", "Mine", "Over", "More");
			assert.equal(prior..",,Owned,Mine,More", stored(a)[b]);
			assert.equal("both,,Owned,Mine,More,Over", (shown(a))[b]);
			world.forget(server);
			call("remove_member", id, b);
			assert.equal(prior, world.pushes(server, a)[b].subscription);
			assert.equal(prior..",,Owned,Mine,More", (shown(a))[b]);
			assert.is_nil(server:stored("groups_contacts", a));
		end);
	end

	it("store contacts of one's own as ever", function ()
		local a, b = accounts(2);
		world.group(server, "Beside", { a, b });
		world.login(server, a);
		edit(a, "stranger", "Stranger", "Mine");
		assert.same({ stranger = "none,,Stranger,Mine" }, stored(a));
		assert.equal("none,,Stranger,Mine", (shown(a)).stranger);
		assert.equal(world.both("Beside"), (shown(a))[b]);
		take_off(a, "stranger");
		assert.same({}, stored(a));
	end);

	it("survive a reload, with nothing stored meanwhile and nothing pushed", function ()
		local a, b = accounts(2);
		world.group(server, "Reloaded", { a, b });
		world.login(server, a);
		world.forget(server);
		server:eval([[
			local mm, rm = require "core.modulemanager", require "core.rostermanager";
			local username = ...;
			assert(mm.unload(host, "groups_internal"));
			assert(rm.save_roster(username, host, rm.load_roster(username, host)));
			assert(mm.load(host, "groups_internal"));
			return true]], a);
		assert.same({}, stored(a));
		server:wait_for([[
			local a, b = ...; local item = hosts[host].sessions[a].roster[b];
			return item and item.subscription == "both"]],
			"the contact is shown again", 10, a, jid(b));
		world.reload(server);
		server:wait_for([[
			local a, b = ...; local item = hosts[host].sessions[a].roster[b];
			return item and item.subscription == "both"]],
			"the contact is shown again", 10, a, jid(b));
		assert.same({}, world.pushes(server, a));
		assert.same({}, stored(a));
	end);

	it("leave no trace of a deleted account", function ()
		local a, b, c = accounts(3);
		world.group(server, "Ghosts", { a, b, c });
		world.login(server, a);
		edit(a, b, "Bobby", "Ghosts");
		world.forget(server);
		server:delete_user(b);
		world.settle(server);
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		assert.same({ [c] = world.both("Ghosts") }, (shown(a)));
		assert.is_nil(server:stored("groups_contacts", a));
		server:restart();
		assert.same({ [c] = world.both("Ghosts") }, (shown(a)));
	end);

	it("take a member in that gets an account later", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Later", { a, b });
		local late = world.name("late");
		call("add_member", id, late);
		assert.is_nil((shown(a))[late]);
		world.login(server, a);
		server:create_user(late);
		call("sync", id);
		assert.equal("both", world.in_memory(server, a)[late]);
		assert.same({ [a] = world.both("Later"), [b] = world.both("Later") }, (shown(late)));
	end);

	it("are made of stored ones, and stored again, when the option is switched, and own contacts stay", function ()
		local a, b, c, d = accounts(4);
		world.store_roster(server, a, { [jid(d)] = { subscription = "to"; name = "Dora"; groups = { Mine = true } } });
		local members = { a, b, c, d };
		local id = world.group(server, "Modes", members);
		world.login(server, a);
		edit(a, b, "Bobby", "Modes", "Friends");
		local before = (shown(a));
		switch("permanent");
		server:wait_for([[local m = require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil);
			return not (m.everything or m.virtual)]], "all lists are stored");
		assert.same(before, stored(a));
		assert.same({ [b] = "both,,Bobby,Friends,Modes"; [c] = world.both("Modes"); [d] = "both,,Dora,Mine,Modes" },
			stored(a));
		assert.same(world.mutual(b, members, "Modes"), stored(b));
		assert.is_nil(server:stored("groups_contacts", a));
		switch("virtual");
		server:wait_for([[local m = require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil);
			return m.virtual]], "no list is stored");
		assert.same({ [d] = "to,,Dora,Mine" }, stored(a));
		assert.same({}, stored(b));
		assert.same(before, (shown(a)));
		assert.same({ [jid(b)] = { name = "Bobby", groups = { Friends = true } } }, server:stored("groups_contacts", a));
		call("remove_member", id, d);
		assert.equal("to,,Dora,Mine", (shown(a))[d]);
	end);
end);
