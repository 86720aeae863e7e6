-- What stays of a contact that was the user's own before the group brought it, or has been made so since, when a member
-- leaves (`groups_remove_contacts`).

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function contact_of(...) return world.contact_of(server, ...); end
local function known(user) return world.known(server, user); end
local function logout_all() world.logout_all(server); end
local function remove(...) world.remove_members(server, ...); end
local function jid(name) return name.."@localhost"; end

describe("a member who leaves and may be a contact of one's own, "..title, function ()
	setup(function () server = world.new { host_options = { groups_remove_contacts = true } }; end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	for _, prior in ipairs {
		{ "none", nil, "none" }, { "to", nil, "from" }, { "from", nil, "to" }, { "both", nil, "both" },
		{ "none", "subscribe", "none" }, { "from", "subscribe", "to" },
	} do
		local mine, ask, theirs = table.unpack(prior, 1, 3);
		local before = mine..(ask and ", asked for," or "");
		it("goes back to subscription "..before.." and its own groups, where it was a contact before", function ()
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
end);
