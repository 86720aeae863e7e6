-- What groups take back from contact lists when members leave, groups are deleted or accounts are (`groups_remove_contacts`).

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

-- What counts of the provenance beside a user's list. What a save could do without only as soon as it was over, which are the
-- notes on contacts that were given up and the labels that a group had before, is left out: the next save is without it.
local function known(user)
	local provenance = world.provenance(server, user) or {};
	local labels, notes;
	for id, given in pairs(provenance.labels or {}) do
		labels = labels or {};
		labels[id] = type(given) == "table" and given[1] or given;
	end
	for contact, note in pairs(provenance.notes or {}) do
		if not note.done then
			notes = notes or {};
			notes[contact] = note;
		end
	end
	return { labels = labels; notes = notes; names = provenance.names };
end

-- Takes a member out, and waits until everything is in storage.
local function remove(id, ...)
	for _, member in ipairs { ... } do assert.is_true(call("remove_member", id, member)); end
	world.settle(server);
end

describe("a member who leaves, with groups_remove_contacts, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("goes from the lists of the others at once, with one push and unavailable presence, and they from the member's", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a, b, c);
		world.forget(server);
		assert.is_true(call("remove_member", id, b));
		-- All of it within the call.
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.same({ [a] = "both" }, world.in_memory(server, c));
		assert.same({}, world.in_memory(server, b));
		local pushes = { world.pushes(server, a), world.pushes(server, b), world.pushes(server, c) };
		assert.equal("remove", pushes[1][b].subscription);
		assert.is_nil(pushes[1][c]);
		assert.equal("remove", pushes[2][a].subscription);
		assert.equal("remove", pushes[2][c].subscription);
		assert.equal("remove", pushes[3][b].subscription);
		assert.is_nil(pushes[3][a]);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ b..":unavailable" }, world.presences(server, c));
		local seen = world.presences(server, b);
		table.sort(seen);
		local expected = { a..":unavailable", c..":unavailable" };
		table.sort(expected);
		assert.same(expected, seen);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("is seen offline before the push, so that no client hears of strangers, and is heard of no more", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a, b);
		world.forget(server);
		call("remove_member", id, b);
		for _, user in ipairs { a, b } do
			assert.same({ "presence", "iq" }, server:eval([[
				local names = {};
				for _, stanza in ipairs(prosody.spec_clients.session(...).received) do names[#names + 1] = stanza.name; end
				return names]], user));
		end
		world.forget(server);
		server:eval([[
			local clients = prosody.spec_clients;
			clients.send(clients.session(...), require "util.stanza".presence():text_tag("show", "away"));
			return true]], b);
		-- The member's own presence comes back to all of the member's resources.
		assert.same({ b..":available" }, world.presences(server, b));
		assert.same({}, world.presences(server, a));
	end);

	it("goes from the lists of those who are offline, in storage, and each is written once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.forget(server);
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = 1; [b] = 1; [c] = 1 }, world.writes(server));
		assert.is_nil(world.in_memory(server, a));
		world.login(server, a, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		assert.same({}, world.in_memory(server, b));
		-- Nothing more is written, which a later change shows.
		world.forget(server);
		world.group(server, "Later", { accounts(2) });
		assert.is_nil(world.writes(server)[a]);
	end);

	it("goes from a list that is read before the background pass reaches it", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		-- The roster is read in the same turn, so nothing can have been at it.
		assert.same({ false, true }, server:eval([[
			local id, a, b, c = ...;
			groups.remove_member(id, b);
			local roster = require "core.rostermanager".load_roster(a, host);
			return { roster[b.."@"..host] ~= nil, roster[c.."@"..host] ~= nil };]], id, a, b, c));
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("goes from a list in Prosody's cache at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], a);
		call("remove_member", id, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("leaves roster versions that tell a device that was offline to fetch the list", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		local before = world.metadata(server, a).version;
		world.login(server, a);
		world.forget(server);
		remove(id, b);
		local after = world.metadata(server, a).version;
		assert.is_true(after > before);
		assert.equal(tostring(after), world.pushes(server, a)[b].ver);
	end);

	it("stays a contact where another group brings it, and loses only the label", function ()
		local a, b, c = accounts(3);
		local work = world.group(server, "Work", { a, b, c });
		world.group(server, "Choir", { a, b });
		world.login(server, a, b);
		world.forget(server);
		remove(work, b);
		assert.same({ [b] = world.both("Choir"); [c] = world.both("Work") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Choir") }, world.contacts(server, b));
		assert.same({ [a] = world.both("Work") }, world.contacts(server, c));
		local push = world.pushes(server, a)[b];
		assert.equal("both", push.subscription);
		assert.same({ "Choir" }, push.groups);
		assert.same({ "Choir" }, world.pushes(server, b)[a].groups);
		assert.equal("remove", world.pushes(server, b)[c].subscription);
		assert.same({}, world.presences(server, a));
	end);

	it("goes when the last of several groups lets go", function ()
		local a, b = accounts(2);
		local work = world.group(server, "Work", { a, b });
		local choir = world.group(server, "Choir", { a, b });
		remove(work, b);
		assert.same({ [b] = world.both("Choir") }, world.contacts(server, a));
		remove(choir, a);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("of two groups at once goes as well", function ()
		local a, b, c = accounts(3);
		local work, choir = world.group(server, "Work", { a, b, c }), world.group(server, "Choir", { a, b });
		server:eval([[
			local work, choir, b = ...;
			return groups.remove_member(work, b) and groups.remove_member(choir, b)]], work, choir, b);
		world.settle(server);
		assert.same({ [c] = world.both("Work") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	for _, prior in ipairs {
		{ "none", nil, "none" }, { "to", nil, "from" }, { "from", nil, "to" }, { "both", nil, "both" },
		{ "none", "subscribe", "none" }, { "from", "subscribe", "to" },
	} do
		local mine, ask, theirs = table.unpack(prior, 1, 3);
		it(("goes back to subscription %s%s and its own groups, where it was a contact before"):format(mine, ask and ", asked for," or ""), function ()
			local a, b = accounts(2);
			world.store_roster(server, a, { [jid(b)] = { subscription = mine; ask = ask; groups = { Friends = true } } });
			world.store_roster(server, b, { [jid(a)] = { subscription = theirs; groups = {} } });
			local id = world.group(server, "G", { a, b });
			assert.equal("both,,,Friends,G", contact_of(a, b));
			assert.equal(world.both("G"), contact_of(b, a));
			world.login(server, a, b);
			world.forget(server);
			remove(id, b);
			assert.equal(("%s,%s,,Friends"):format(mine, ask or ""), contact_of(a, b));
			assert.equal(("%s,,"):format(theirs), contact_of(b, a));
			local push = world.pushes(server, a)[b];
			assert.equal(mine, push.subscription);
			assert.equal(ask, push.ask);
			assert.same({ "Friends" }, push.groups);
			local sees = mine == "both" or mine == "to";
			assert.same(sees and {} or { b..":unavailable" }, world.presences(server, a));
			-- Nothing is left of it but the list as it was.
			assert.is_nil(known(a).notes);
		end);
	end

	it("goes back to what it was where only one side had it, and goes from the other", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "none"; name = "Bobby"; groups = {} } });
		local id = world.group(server, "G", { a, b });
		remove(id, a);
		assert.same({ [b] = "none,,Bobby" }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("stays as a contact of one's own where it was, with what its user has made of it since", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; name = "Bobby"; groups = { Friends = true } } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, "Robert", "G", "Family");
		remove(id, b);
		assert.same({ [b] = "to,,Robert,Family" }, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
	end);

	it("stays with subscription none where the user has renamed it, and the other side loses the user", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a, b);
		world.edit(server, a, b, "Bobby", "G");
		world.forget(server);
		remove(id, b);
		assert.same({ [b] = "none,,Bobby" }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		assert.equal("none", world.pushes(server, a)[b].subscription);
		assert.equal("Bobby", world.pushes(server, a)[b].name);
		assert.equal("remove", world.pushes(server, b)[a].subscription);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ a..":unavailable" }, world.presences(server, b));
	end);

	it("stays with subscription none where the user has put it into a group of the user's own", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, nil, "G", "Friends");
		remove(id, b);
		assert.same({ [b] = "none,,,Friends" }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("stays with subscription none where a client has moved it to a group of the user's own", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, nil, "Friends");
		-- Whatever the group does to the list in between.
		call("add_member", id, c);
		call("sync", id);
		world.settle(server);
		remove(id, b);
		assert.same({ [b] = "none,,,Friends"; [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("goes though a client has taken the label off it", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, nil);
		assert.equal("both,,", contact_of(a, b));
		remove(id, b);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("goes though a client has named it and thought better of it", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, "Bobby", "G", "Friends");
		world.edit(server, a, b, nil, "G");
		remove(id, b);
		assert.same({}, world.contacts(server, a));
	end);

	it("does not come back to a list that its user has taken it off", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.take_off(server, a, b);
		assert.is_nil(contact_of(a, b));
		remove(id, b);
		assert.same({}, world.contacts(server, a));
		assert.is_nil(contact_of(b, a));
		world.logout(server, a);
		world.login(server, a);
		assert.same({}, world.in_memory(server, a));
	end);

	it("is a contact of the user's own if the user has asked for it again before", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.take_off(server, a, b);
		world.edit(server, a, b, "Bobby");
		assert.equal("none,,Bobby", contact_of(a, b));
		remove(id, b);
		assert.equal("none,,Bobby", contact_of(a, b));
	end);

	it("may come back, as if nothing had been", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		for _ = 1, 3 do
			remove(id, b);
			assert.same({ [c] = world.both("G") }, world.contacts(server, a));
			call("add_member", id, b);
			world.settle(server);
			for _, user in ipairs { a, b, c } do
				assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
				assert.same({ labels = { [id] = "G" } }, known(user));
			end
		end
	end);

	it("may come back before the background pass has been at anything", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		server:eval([[
			local id, b = ...;
			return groups.remove_member(id, b) and groups.add_member(id, b)]], id, b);
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
			assert.same({ labels = { [id] = "G" } }, known(user));
		end
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("that was kept for its name is a contact of the user's own from then on", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		world.edit(server, a, b, "Bobby", "G");
		remove(id, b);
		assert.equal("none,,Bobby", contact_of(a, b));
		call("add_member", id, b);
		world.settle(server);
		assert.equal("both,,Bobby,G", contact_of(a, b));
		-- The name goes, and it stays all the same: it was there before the group brought it again.
		world.edit(server, a, b, nil, "G");
		remove(id, b);
		assert.equal("none,,", contact_of(a, b));
		assert.same({}, world.contacts(server, b));
	end);

	it("goes with a label that the group does not bear any more", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Old", { a, b, c });
		server:eval([[
			local id, b = ...;
			return groups.set_info(id, { name = "New" }) and groups.remove_member(id, b)]], id, b);
		world.settle(server);
		assert.same({ [c] = world.both("New") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		assert.same({ labels = { [id] = "New" } }, known(a));
	end);

	it("goes from a group that has another of the same name, which still brings it", function ()
		local a, b = accounts(2);
		local one = world.group(server, "Same", { a, b });
		local other = world.group(server, "Same", { a, b });
		remove(one, b);
		assert.same({ [b] = world.both("Same") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Same") }, world.contacts(server, b));
		remove(other, b);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("takes nothing along that others have put into a list", function ()
		local a, b = accounts(2);
		local own = { ["else@example.org"] = { subscription = "both"; groups = { G = true } };
			["other@localhost"] = { subscription = "both"; name = "O"; groups = {} } };
		world.store_roster(server, a, own, { pending = { ["new@example.org"] = true } });
		local id = world.group(server, "G", { a, b });
		remove(id, a);
		assert.same({ ["else@example.org"] = world.both("G"); other = "both,,O" }, world.contacts(server, a));
		assert.same({ ["new@example.org"] = true }, world.metadata(server, a).pending);
	end);

	it("leaves no trace in the items, and little beside them", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		for _, user in ipairs { a, b, c } do
			assert.same({ labels = { [id] = "G" } }, world.provenance(server, user));
			for _, item in pairs(server:stored_roster(user)) do
				assert.same({ subscription = "both"; groups = { G = true } }, item);
			end
		end
		remove(id, b);
		assert.same({ labels = { [id] = "G" } }, known(a));
		assert.is_nil(world.marker(server).partings);
	end);

	it("who comes and goes time and again makes nothing grow, though nobody is online", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G0", { a, b, c });
		for i = 1, 4 do
			remove(id, b);
			assert.is_true(call("set_info", id, { name = "G"..i }));
			world.settle(server);
			b = accounts(1);
			call("add_member", id, b);
			world.settle(server);
		end
		assert.same({ labels = { [id] = "G4" } }, world.provenance(server, a));
		assert.same({ [b] = world.both("G4"); [c] = world.both("G4") }, world.contacts(server, a));
	end);

	it("is never taken from a list without provenance", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		-- As storage does that drops what it does not know.
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { G = true } };
			[jid(c)] = { subscription = "both"; groups = { G = true } } }, { version = 1 });
		remove(id, b);
		assert.same({ [b] = world.both("G"); [c] = world.both("G") }, world.contacts(server, a));
		assert.equal(1, world.metadata(server, a).version);
		-- The others know.
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
	end);

	it("is never taken from a list that had no provenance when it was last looked at", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = { G = true } } }, { version = 1 });
		call("add_member", id, c);
		world.settle(server);
		assert.same({ [b] = world.both("G"); [c] = world.both("G") }, world.contacts(server, a));
		remove(id, b, c);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);

	it("is gone after a kill in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:try_eval([[
			local id, name, pid = ...;
			groups.remove_member(id, name);
			os.execute("kill -9 "..pid)]], id, b, server.pid);
		server:kill();
		-- Nothing is in storage but what is to be done.
		server.settings.modules = {};
		server:start();
		assert.same({ [id] = { [b] = true } }, world.marker(server).partings);
		assert.same(world.mutual(a, { a, b, c }, "G"), world.contacts(server, a));
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("is gone after a reload in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:eval([[
			local id, name = ...;
			groups.remove_member(id, name);
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], id, b);
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("may be taken back once more, as by a server that was killed before it knew that it was done", function ()
		local a, b, c, d, gone = accounts(5);
		-- Of a's contacts, b is own and d was; what is left of all of them bears what is, or was, the group's label.
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; groups = { G = true } } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b, c, d, gone });
		world.login(server, a);
		world.edit(server, a, c, "Carl", "G");
		world.edit(server, a, d, nil, "G", "H");
		world.edit(server, a, gone, nil, "G", "H");
		assert.is_true(call("set_info", id, { name = "H" }));
		world.logout(server, a);
		world.settle(server);
		server:delete_user(gone);
		remove(id, b, c, d);
		local expected = { [b] = "to,,,G"; [c] = "none,,Carl"; [d] = "none,,,H"; [gone] = "none,,,H" };
		assert.same(expected, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
		for _ = 1, 2 do
			server.settings.modules = {};
			server:restart();
			server:eval([[
				local id, a, b, c, d, gone = ...;
				local store = require "core.storagemanager".open(host, "groups_internal", "keyval");
				local marker = store:get(nil);
				marker.partings = { [id] = { [b] = true, [c] = true, [d] = true } };
				marker.withdrawals = { [gone] = { [a] = true } };
				return store:set(nil, marker)]], id, a, b, c, d, gone);
			server.settings.modules = { "spec_clients", "groups_internal" };
			server:restart();
			world.settle(server);
			assert.same(expected, world.contacts(server, a));
			assert.same({ [a] = "from,," }, world.contacts(server, b));
		end
	end);

	it("costs nothing if it was never there", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a });
		world.forget(server);
		local before = world.marker(server);
		assert.is_true(call("remove_member", id, b));
		assert.same(before, world.marker(server));
	end);

	it("and had no account is as if it never was", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b, "unborn" });
		remove(id, "unborn");
		assert.same(world.mutual(a, { a, b }, "G"), world.contacts(server, a));
		assert.is_nil(world.contacts(server, "unborn"));
	end);
end);

describe("a group that is deleted, with groups_remove_contacts, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("takes back what it has brought, from those online at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a, b);
		world.forget(server);
		assert.is_true(call("delete", id));
		assert.same({}, world.in_memory(server, a));
		assert.same({}, world.in_memory(server, b));
		assert.equal("remove", world.pushes(server, a)[b].subscription);
		assert.equal("remove", world.pushes(server, a)[c].subscription);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ a..":unavailable" }, world.presences(server, b));
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same({}, world.contacts(server, user));
		end
		assert.is_nil(world.marker(server).partings);
	end);

	it("leaves what is the users' own, or another group's", function ()
		local a, b, c = accounts(3);
		world.store_roster(server, a, { [jid(c)] = { subscription = "to"; groups = {} } });
		world.store_roster(server, c, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b, c });
		world.group(server, "Other", { b, c });
		world.login(server, b);
		world.edit(server, b, a, "Ann", "G");
		call("delete", id);
		world.settle(server);
		assert.same({ [c] = "to,," }, world.contacts(server, a));
		assert.same({ [a] = "none,,Ann"; [c] = world.both("Other") }, world.contacts(server, b));
		assert.same({ [a] = "from,,"; [b] = world.both("Other") }, world.contacts(server, c));
	end);

	it("may be made again under its id, with another name and other members, at once", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		server:eval([[
			local id, a, c = ...;
			return groups.delete(id) and groups.create({ name = "H" }, false, id) and groups.add_member(id, a) and groups.add_member(id, c)]],
			id, a, c);
		world.settle(server);
		assert.same({ [c] = world.both("H") }, world.contacts(server, a));
		assert.same({ [a] = world.both("H") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
		assert.same({ labels = { [id] = "H" } }, known(a));
	end);

	it("may be made again under its id, with the same members", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		server:eval([[
			local id, a, b = ...;
			return groups.delete(id) and groups.create({ name = "H" }, false, id) and groups.add_member(id, a) and groups.add_member(id, b)]],
			id, a, b);
		world.settle(server);
		assert.same({ [b] = world.both("H") }, world.contacts(server, a));
		assert.same({ [a] = world.both("H") }, world.contacts(server, b));
		call("delete", id);
		world.settle(server);
		assert.same({}, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("takes back after a kill in the midst of it, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:try_eval([[
			local id, pid = ...;
			groups.delete(id);
			os.execute("kill -9 "..pid)]], id, server.pid);
		server:kill();
		server:start();
		world.settle(server);
		for _, user in ipairs { a, b, c } do
			assert.same({}, world.contacts(server, user));
		end
	end);
end);

for _, option in ipairs { false, true } do
	describe(("an account that is deleted, with groups_remove_contacts %s, %s"):format(option, title), function ()
		setup(function () server = world.new { host_options = { groups_remove_contacts = option } }; end);
		teardown(function () server:destroy(); end);
		after_each(logout_all);

		it("goes from all lists where only groups had put it, those of former members, too", function ()
			local a, b, c, d = accounts(4);
			local id = world.group(server, "G", { a, b, c, d });
			world.login(server, a);
			if not option then
				remove(id, d);
				assert.equal(world.both("G"), contact_of(d, b));
			end
			world.forget(server);
			server:delete_user(b);
			assert.equal("remove", world.pushes(server, a)[b].subscription);
			world.settle(server);
			for _, user in ipairs { a, c, d } do
				assert.is_nil(contact_of(user, b));
			end
			assert.equal(world.both("G"), contact_of(a, c));
		end);

		it("stays with subscription none where it was a contact before", function ()
			local a, b, c = accounts(3);
			world.store_roster(server, a, { [jid(b)] = { subscription = "to"; groups = { Friends = true } } });
			world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
			world.group(server, "G", { a, b, c });
			server:delete_user(b);
			world.settle(server);
			assert.same({ [b] = "none,,,Friends"; [c] = world.both("G") }, world.contacts(server, a));
			assert.same({ [a] = world.both("G") }, world.contacts(server, c));
		end);

		it("stays with subscription none where the user has named it or put it into a group", function ()
			local a, b, c = accounts(3);
			world.group(server, "G", { a, b, c });
			world.login(server, a, c);
			world.edit(server, a, b, "Bobby", "G");
			world.edit(server, c, b, nil, "G", "Friends");
			server:delete_user(b);
			world.settle(server);
			assert.equal("none,,Bobby", contact_of(a, b));
			assert.equal("none,,,Friends", contact_of(c, b));
		end);
	end);
end

describe("the option groups_remove_contacts, "..title, function ()
	before_each(function () server = world.new(); end);
	after_each(function () server:destroy(); end);

	it("is off by default: nothing is taken back from who leaves, or when a group is deleted", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		world.forget(server);
		remove(id, b);
		call("delete", id);
		-- Something that changes after all shows that the background has been through.
		world.group(server, "Other", { accounts(2) });
		for _, user in ipairs { a, b, c } do
			assert.same(world.mutual(user, { a, b, c }, "G"), world.contacts(server, user));
			assert.is_nil(world.writes(server)[user]);
		end
		assert.same({}, world.pushes(server, a));
		assert.same({}, world.presences(server, a));
	end);

	it("takes effect with a reload, for what happens afterwards", function ()
		local a, b, c, d = accounts(4);
		local id = world.group(server, "G", { a, b, c, d });
		remove(id, b);
		world.set_options(server, { groups_remove_contacts = true });
		remove(id, c);
		local expected = { [b] = world.both("G"); [d] = world.both("G") };
		assert.same(expected, world.contacts(server, a));
		assert.same({ [a] = world.both("G"); [b] = world.both("G") }, world.contacts(server, d));
		-- What was left before stays, on both sides: b has left when nothing was taken back.
		assert.same(world.mutual(b, { a, b, c, d }, "G"), world.contacts(server, b));
		world.set_options(server, { groups_remove_contacts = false });
		remove(id, d);
		assert.same(expected, world.contacts(server, a));
	end);

	it("takes effect with a restart, too", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server.settings.host_options = { groups_remove_contacts = true };
		server:restart();
		world.settle(server);
		remove(id, b);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);

	it("may be switched off while something is being taken back", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.set_options(server, { groups_remove_contacts = true });
		server.settings.host_options.groups_remove_contacts = false;
		server:write_config();
		server:eval([[
			local id, name = ...;
			groups.remove_member(id, name);
			prosody.reload_config();
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], id, b);
		world.settle(server);
		-- It had happened before.
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
	end);
end);

describe("data of the Lua module, "..title, function ()
	local a, b, c = table.unpack(world.names(3));

	-- Writes what that module would have left, behind the back of a server that has none, and starts it with this one.
	local function start_after(items)
		server = world.new { modules = { "groups_internal" }; host_options = { groups_remove_contacts = true } };
		server.settings.modules = {};
		server:restart();
		server:create_user(a, b, c);
		server:store("group_info", "old", { name = "Old" });
		server:store("groups", "old", { [a] = {}; [b] = {}; [c] = {} });
		server:store("groups_internal", nil, nil);
		for user, contacts in pairs(items) do
			world.store_roster(server, user, contacts, { version = 7 });
		end
		server:stop();
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:start();
	end

	after_each(function () server:destroy(); end);

	local function labelled(more)
		local item = { subscription = "both"; groups = { Old = true } };
		for key, value in pairs(more or {}) do item[key] = value; end
		return item;
	end

	local function everybody(of_a)
		return {
			[a] = of_a or { [jid(b)] = labelled(); [jid(c)] = labelled() };
			[b] = { [jid(a)] = labelled(); [jid(c)] = labelled() };
			[c] = { [jid(a)] = labelled(); [jid(b)] = labelled() };
		};
	end

	it("count as the group's where they bear its label", function ()
		start_after(everybody());
		world.settle(server);
		assert.same(world.mutual(a, { a, b, c }, "Old"), world.contacts(server, a));
		remove("old", b);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		assert.same({ [a] = world.both("Old") }, world.contacts(server, c));
	end);

	it("count as the user's own where they bear no label, or have a name or another group", function ()
		start_after(everybody { [jid(b)] = { subscription = "both"; groups = {} }; [jid(c)] = labelled { name = "Carl" } });
		world.settle(server);
		remove("old", b, c);
		assert.same({ [b] = "both,,"; [c] = "none,,Carl" }, world.contacts(server, a));
	end);

	it("count as the group's in lists that are read before the background pass reaches them", function ()
		start_after(everybody());
		world.login(server, a);
		assert.is_true(call("remove_member", "old", b));
		world.settle(server);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
	end);

	it("count as the group's in the list of a member who leaves before the background pass has reached it", function ()
		start_after(everybody());
		-- As at a first start, with the member leaving in the same turn.
		world.settle(server);
		assert.is_true(server:eval([[
			local a, b, c = ...;
			local mm, sm = require "core.modulemanager", require "core.storagemanager";
			mm.unload(host, "groups_internal");
			sm.open(host, "groups_internal", "keyval"):set(nil, nil);
			local others = { [a] = { b, c }, [b] = { a, c }, [c] = { a, b } };
			for user, contacts in pairs(others) do
				local roster = { [false] = { version = 7 } };
				for _, contact in ipairs(contacts) do roster[contact.."@"..host] = { subscription = "both", groups = { Old = true } }; end
				sm.open(host, "roster", "keyval"):set(user, roster);
			end
			mm.load(host, "groups_internal");
			return hosts[host].modules.groups_internal.remove_member("old", b)]], a, b, c));
		world.settle(server);
		assert.same({ [c] = world.both("Old") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Old") }, world.contacts(server, c));
		assert.same({}, world.contacts(server, b));
	end);

	it("of a user who is no member are let be", function ()
		local items = everybody();
		items.d = { [jid(a)] = labelled() };
		start_after(items);
		server:create_user("d");
		world.settle(server);
		remove("old", a);
		assert.same({ [a] = world.both("Old") }, world.contacts(server, "d"));
	end);

	it("written by it in between count as the user's own later on", function ()
		start_after(everybody());
		world.settle(server);
		-- Back to the Lua module, which adds a member, and forth again.
		server.settings.modules = {};
		server:restart();
		server:create_user("e");
		server:eval([[
			local user, e = ...;
			require "core.storagemanager".open(host, "groups", "map"):set("old", e, {});
			local rm = require "core.rostermanager";
			local roster = rm.load_roster(user, host);
			roster[e.."@"..host] = { subscription = "both", groups = { Old = true } };
			return rm.save_roster(user, host, roster)]], a, "e");
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:restart();
		call("add_member", "old", b);
		call("sync", "old");
		world.settle(server);
		remove("old", b);
		assert.is_nil(contact_of(a, b));
		assert.equal(world.both("Old"), contact_of(a, c));
		assert.truthy(contact_of(a, "e"));
	end);
end);

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("with Prosody "..harness.version..", what is taken back from storage that fails", function ()
	setup(function () server = world.new { storage = "failing"; host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);

	local function fail(rule) server:eval("prosody.spec_failing.fail(...) return true", rule); end
	local function clear() server:eval("prosody.spec_failing.clear() return true"); end

	after_each(function () clear(); logout_all(); end);

	it("is taken back later", function ()
		local members = { accounts(7) };
		local b = members[6];
		local id = world.group(server, "G", members);
		local mark = server:log_mark();
		for i, rule in ipairs { { method = "set" }, { method = "get" }, { method = "set"; throw = true }, { method = "get"; throw = true },
			{ method = "set"; after = true } } do
			rule.store, rule.username = "roster", members[i];
			fail(rule);
		end
		assert.is_true(call("remove_member", id, b));
		for i = 1, 5 do
			server:wait_for_log("groups_internal\twarn\t[^\n]*"..members[i].." ", mark);
		end
		assert.same({ [b] = true }, world.marker(server).partings[id]);
		-- Those that cannot be read cannot be looked at, either.
		assert.equal(world.both("G"), contact_of(members[1], b));
		assert.equal(world.both("G"), contact_of(members[3], b));
		clear();
		world.settle(server, 30);
		table.remove(members, 6);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "G"), world.contacts(server, member));
			assert.same({ labels = { [id] = "G" } }, known(member));
		end
		assert.same({}, world.contacts(server, b));
	end);

	it("is taken back from a user who is online though it cannot be saved, and after a kill again", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		fail { store = "roster"; method = "set"; username = a };
		local mark = server:log_mark();
		call("remove_member", id, b);
		assert.same({ [c] = "both" }, world.in_memory(server, a));
		server:wait_for_log("groups_internal\twarn\t[^\n]*"..a.." ", mark);
		assert.equal(world.both("G"), contact_of(a, b));
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [c] = world.both("G") }, world.contacts(server, a));
	end);

	it("restores what was there before though that cannot be saved at first", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [jid(b)] = { subscription = "to"; name = "Bobby"; groups = {} } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "G", { a, b });
		world.login(server, a);
		local mark = server:log_mark();
		fail { store = "roster"; method = "set"; username = a };
		call("remove_member", id, b);
		server:wait_for_log("groups_internal\twarn\t[^\n]*"..a.." ", mark);
		-- What it was is still known, and found again by a server that was killed.
		assert.equal("to", world.provenance(server, a).notes[jid(b)].subscription);
		server:kill();
		server:start();
		world.settle(server);
		assert.same({ [b] = "to,,Bobby" }, world.contacts(server, a));
		assert.same({ [a] = "from,," }, world.contacts(server, b));
	end);

	it("is not begun when that cannot be noted first", function ()
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		fail { store = "groups_internal"; method = "set" };
		assert.same({ nil, "internal-server-error" }, { call("remove_member", id, b) });
		assert.same({ nil, "internal-server-error" }, { call("delete", id) });
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		clear();
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
		assert.is_true(call("remove_member", id, b));
		world.settle(server);
		assert.same({}, world.contacts(server, a));
	end);
end);
