-- Labels follow the names of groups, and the users' own groups are theirs.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end

-- Makes accounts of names that no other spec uses.
local function accounts(n)
	local names = world.names(n);
	server:create_user(table.unpack(names));
	return table.unpack(names);
end

local function jid(name) return name.."@localhost"; end

local function rename(id, name)
	assert.is_true(call("set_info", id, { name = name }));
end

local function logout_all()
	server:eval([[
		for _, user in pairs(hosts[host].sessions) do
			for _, session in pairs(user.sessions) do prosody.spec_clients.logout(session); end
		end
		return true]]);
end

local function contact_of(user, contact)
	return (world.contacts(server, user) or {})[contact];
end

-- The groups of a contact in memory, of a user who is online.
local function groups_in_memory(user, contact)
	return server:eval([[
		local user, contact = ...;
		local names = {};
		for name in pairs(hosts[host].sessions[user].roster[contact].groups) do names[#names + 1] = name; end
		table.sort(names);
		return names;]], user, jid(contact));
end

describe("the label of a group that is renamed, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("takes the old one's place on all contacts, for members online at once and with one push each", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Old", { a, b, c });
		world.login(server, a, b);
		world.forget(server);
		rename(id, "New");
		-- All of it within the call.
		assert.same({ "New" }, groups_in_memory(a, b));
		assert.same({ "New" }, groups_in_memory(a, c));
		assert.same({ "New" }, groups_in_memory(b, a));
		local pushes = world.pushes(server, a);
		assert.same({ "New" }, pushes[b].groups);
		assert.same({ "New" }, pushes[c].groups);
		assert.equal("both", pushes[b].subscription);
		assert.same({ "New" }, world.pushes(server, b)[a].groups);
		assert.same({}, world.presences(server, a));
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "New"), world.contacts(server, user));
		end
		assert.same({ [a] = 1; [b] = 1; [c] = 1 }, world.writes(server));
	end);

	it("takes the old one's place in Prosody's cache, and in a list that is read before the background work", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Old", { a, b });
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], a);
		assert.same({ { New = true }, { New = true } }, server:eval([[
			local id, a, b = ...;
			groups.set_info(id, { name = "New" });
			local load_roster = require "core.rostermanager".load_roster;
			return { hosts[host].roster_cache:get(a.."@"..host)[b.."@"..host].groups,
				load_roster(b, host)[a.."@"..host].groups };]], id, a, b));
		world.settle(server);
		assert.same({ [b] = world.both("New") }, world.contacts(server, a));
		assert.same({ [a] = world.both("New") }, world.contacts(server, b));
	end);

	it("is the last one after several renames, however many no list was reconciled for", function ()
		local a, b = accounts(2);
		local id = world.group(server, "N0", { a, b });
		world.login(server, a);
		world.forget(server);
		server:eval([[
			local id = ...;
			for i = 1, 4 do groups.set_info(id, { name = "N"..i }); end
			return true]], id);
		world.settle(server);
		assert.same({ [b] = world.both("N4") }, world.contacts(server, a));
		assert.same({ [a] = world.both("N4") }, world.contacts(server, b));
		assert.same({ [a] = 1; [b] = 1 }, world.writes(server));
		rename(id, "N5");
		world.settle(server);
		assert.same({ [b] = world.both("N5") }, world.contacts(server, a));
		assert.same({ [a] = world.both("N5") }, world.contacts(server, b));
	end);

	it("goes back to what it was", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Here", { a, b });
		world.login(server, a);
		for _ = 1, 2 do
			for _, name in ipairs { "There", "Here" } do
				rename(id, name);
				assert.same({ name }, groups_in_memory(a, b));
				world.settle(server);
				assert.same({ [b] = world.both(name) }, world.contacts(server, a));
				assert.same({ [a] = world.both(name) }, world.contacts(server, b));
			end
		end
		-- There and back before anybody looks changes nothing.
		world.forget(server);
		server:eval([[
			local id = ...;
			return groups.set_info(id, { name = "There" }) and groups.set_info(id, { name = "Here" })]], id);
		world.settle(server);
		assert.same({ [b] = world.both("Here") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Here") }, world.contacts(server, b));
		assert.is_nil(world.writes(server)[b]);
	end);

	it("takes the old one's place after a kill, too", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Old", { a, b });
		rename(id, "Between");
		server:try_eval([[
			local id, pid = ...;
			groups.set_info(id, { name = "New" });
			os.execute("kill -9 "..pid)]], id, server.pid);
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [b] = world.both("New") }, world.contacts(server, a));
		assert.same({ [a] = world.both("New") }, world.contacts(server, b));
	end);

	it("takes the old one's place after restarts in between, too", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Old", { a, b });
		for i = 1, 2 do
			server:restart();
			rename(id, "New"..i);
			world.settle(server);
		end
		assert.same({ [b] = world.both("New2") }, world.contacts(server, a));
	end);

	it("comes beside that of another group, which stays", function ()
		local a, b, c = accounts(3);
		local work = world.group(server, "Work", { a, b, c });
		world.group(server, "Choir", { a, b });
		rename(work, "Office");
		world.settle(server);
		assert.same({ [b] = world.both("Choir", "Office"); [c] = world.both("Office") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Office"); [b] = world.both("Office") }, world.contacts(server, c));
	end);

	it("stays as long as another group bears it", function ()
		local a, b, c = accounts(3);
		local one = world.group(server, "Same", { a, b, c });
		local other = world.group(server, "Same", { a, b });
		assert.same({ [b] = world.both("Same"); [c] = world.both("Same") }, world.contacts(server, a));
		rename(one, "One");
		world.settle(server);
		assert.same({ [b] = world.both("One", "Same"); [c] = world.both("One") }, world.contacts(server, a));
		rename(other, "One");
		world.settle(server);
		assert.same({ [b] = world.both("One"); [c] = world.both("One") }, world.contacts(server, a));
		rename(one, "Two");
		world.settle(server);
		assert.same({ [b] = world.both("One", "Two"); [c] = world.both("Two") }, world.contacts(server, a));
	end);

	it("is that of a group which was of the same name from the start, and offline all the while", function ()
		local a, b = accounts(2);
		local one = world.group(server, "Same", { a, b });
		local other = world.group(server, "Same", { a, b });
		server:restart();
		rename(other, "Other");
		world.settle(server);
		assert.same({ [b] = world.both("Other", "Same") }, world.contacts(server, a));
		rename(one, "One");
		world.settle(server);
		assert.same({ [b] = world.both("One", "Other") }, world.contacts(server, a));
	end);

	it("changes places with that of another group", function ()
		local a, b, c = accounts(3);
		local one = world.group(server, "One", { a, b });
		local two = world.group(server, "Two", { a, c });
		world.login(server, a);
		server:eval([[
			local one, two = ...;
			return groups.set_info(one, { name = "Two" }) and groups.set_info(two, { name = "One" })]], one, two);
		assert.same({ "Two" }, groups_in_memory(a, b));
		assert.same({ "One" }, groups_in_memory(a, c));
		world.settle(server);
		assert.same({ [b] = world.both("Two"); [c] = world.both("One") }, world.contacts(server, a));
	end);

	it("is put beside the groups of a contact who was there before", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; name = "Bobby"; groups = { Friends = true } } });
		local id = world.group(server, "Old", { a, b });
		assert.equal("both,,Bobby,Friends,Old", contact_of(a, b));
		rename(id, "New");
		world.settle(server);
		assert.equal("both,,Bobby,Friends,New", contact_of(a, b));
	end);

	it("comes back if a client has taken it off, and the old one does not", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Old", { a, b });
		world.login(server, a);
		world.edit(server, a, b, nil, "Friends");
		assert.same({ "Friends" }, groups_in_memory(a, b));
		rename(id, "New");
		assert.same({ "Friends", "New" }, groups_in_memory(a, b));
		world.settle(server);
		assert.equal(world.both("Friends", "New"), contact_of(a, b));
	end);

	for _, name in ipairs { "two words", "  spaces  ", "🎉 ünï 🐈", "<&> ]]>", [["double" and 'single']], "back\\slash",
		"a/b@c", "%s %d", "nil", "false",
		("long"):rep(200) } do
		it(("may be of any characters: %.30s"):format(name), function ()
			local a, b = accounts(2);
			local id = world.group(server, name, { a, b });
			assert.same({ [b] = world.both(name) }, world.contacts(server, a));
			world.login(server, a);
			world.forget(server);
			rename(id, name.."!");
			assert.same({ name.."!" }, world.pushes(server, a)[b].groups);
			-- Through a client and back.
			world.edit(server, a, b, "Bobby", name.."!");
			rename(id, name);
			world.settle(server);
			assert.equal("both,,Bobby,"..name, contact_of(a, b));
			assert.equal(world.both(name), contact_of(b, a));
		end);
	end
end);

describe("a label that the user chose, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("stays on a contact who is no member, when a group of that name comes, is renamed and goes", function ()
		local a, b, c = accounts(3);
		local own = { [jid(c)] = { subscription = "both"; groups = { Team = true; Crew = true } };
			["else@example.org"] = { subscription = "to"; groups = { Team = true } } };
		world.store_roster(server, a, own);
		local id = world.group(server, "Team", { a, b });
		for _, name in ipairs { "Crew", "Gang", "Team", "Crew" } do
			rename(id, name);
			world.settle(server);
			assert.same({ [b] = world.both(name); [c] = world.both("Crew", "Team"); ["else@example.org"] = "to,,,Team" },
				world.contacts(server, a));
		end
		call("delete", id);
		world.settle(server);
		assert.equal(world.both("Crew", "Team"), contact_of(a, c));
	end);

	it("stays on a member, if it was there before the group, and is the group's old name", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { Team = true } } });
		local id = world.group(server, "Team", { a, b });
		assert.equal(world.both("Team"), contact_of(a, b));
		rename(id, "Crew");
		world.settle(server);
		assert.equal(world.both("Crew", "Team"), contact_of(a, b));
		assert.equal(world.both("Crew"), contact_of(b, a));
		rename(id, "Gang");
		world.settle(server);
		assert.equal(world.both("Gang", "Team"), contact_of(a, b));
	end);

	it("stays on a member, if it was there before the group took that name", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Team", { a, b, c });
		world.login(server, a);
		world.edit(server, a, b, nil, "Team", "Crew");
		rename(id, "Crew");
		world.settle(server);
		assert.same({ [b] = world.both("Crew"); [c] = world.both("Crew") }, world.contacts(server, a));
		rename(id, "Gang");
		world.settle(server);
		assert.same({ [b] = world.both("Crew", "Gang"); [c] = world.both("Gang") }, world.contacts(server, a));
		-- Offline all the same.
		world.logout(server, a);
		server:restart();
		rename(id, "Crew");
		world.settle(server);
		rename(id, "Band");
		world.settle(server);
		assert.same({ [b] = world.both("Band", "Crew"); [c] = world.both("Band") }, world.contacts(server, a));
	end);

	it("stays on a contact who is no member, also when it is chosen while a group bears it", function ()
		local a, b, c = accounts(3);
		world.store_roster(server, a, { [jid(c)] = { subscription = "both"; groups = {} } });
		local id = world.group(server, "Team", { a, b });
		world.login(server, a);
		world.edit(server, a, c, nil, "Team");
		rename(id, "Crew");
		world.settle(server);
		assert.same({ [b] = world.both("Crew"); [c] = world.both("Team") }, world.contacts(server, a));
		-- And is theirs when they become a member.
		call("add_member", id, c);
		world.settle(server);
		rename(id, "Team");
		world.settle(server);
		rename(id, "Gang");
		world.settle(server);
		assert.same({ [b] = world.both("Gang"); [c] = world.both("Gang", "Team") }, world.contacts(server, a));
	end);

	it("stays on a contact of one group, when another group bears it for a while", function ()
		local a, b, c = accounts(3);
		world.group(server, "One", { a, b });
		local two = world.group(server, "Two", { a, c });
		world.login(server, a);
		world.edit(server, a, b, nil, "One", "Mine");
		rename(two, "Mine");
		world.settle(server);
		rename(two, "Two");
		world.settle(server);
		assert.same({ [b] = world.both("Mine", "One"); [c] = world.both("Two") }, world.contacts(server, a));
	end);

	it("stays when the member leaves, with groups_remove_contacts", function ()
		world.set_options(server, { groups_remove_contacts = true });
		local a, b, c = accounts(3);
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; groups = { Team = true } } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "Team", { a, b, c });
		world.login(server, a);
		world.edit(server, a, c, nil, "Team", "Crew");
		rename(id, "Crew");
		call("remove_member", id, b);
		call("remove_member", id, c);
		world.settle(server);
		assert.same({ [b] = "to,,,Team"; [c] = "none,,,Crew" }, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
	end);

	it("goes if the user takes it off", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { Team = true } } });
		local id = world.group(server, "Team", { a, b });
		world.login(server, a);
		rename(id, "Crew");
		assert.same({ "Crew", "Team" }, groups_in_memory(a, b));
		world.edit(server, a, b, nil, "Crew");
		rename(id, "Gang");
		world.settle(server);
		assert.equal(world.both("Gang"), contact_of(a, b));
	end);

	it("that has no text is no reason to fail", function ()
		local a, b = accounts(2);
		world.group(server, "Team", { a, b });
		world.login(server, a);
		world.forget(server);
		server:eval([[
			local st, user, contact = require "util.stanza", ...;
			prosody.spec_clients.send(prosody.spec_clients.session(user), st.iq({ type = "set", id = "odd" })
				:tag("query", { xmlns = "jabber:iq:roster" }):tag("item", { xmlns = "jabber:iq:roster", jid = contact })
				:tag("group", { xmlns = "jabber:iq:roster" }):tag("odd"):up():up()
				:text_tag("group", "Team", { xmlns = "jabber:iq:roster" }));
			return true]], a, jid(b));
		assert.same({ "Team" }, groups_in_memory(a, b));
	end);
end);

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("with Prosody "..harness.version..", labels in a list that cannot be read", function ()
	setup(function () server = world.new { storage = "failing" }; end);
	teardown(function () server:destroy(); end);

	it("are the last ones when it can, whatever the group was called meanwhile", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "N0", { a, b, c });
		server:eval("prosody.spec_failing.fail(...) return true", { store = "roster"; method = "get"; username = a });
		local mark = server:log_mark();
		for i = 1, 3 do
			rename(id, "N"..i);
			server:wait_for([[
				local b, c, label = ...;
				local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(b);
				return roster[c.."@"..host].groups[label] ]], "the others have the label", 10, b, c, "N"..i);
		end
		server:wait_for_log("groups_internal\twarn\t[^\n]*"..a.." ", mark);
		server:eval("prosody.spec_failing.clear() return true");
		assert.same(world.mutual(a, { a, b, c }, "N0"), world.contacts(server, a));
		world.settle(server, 30);
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "N3"), world.contacts(server, user));
		end
	end);
end);
