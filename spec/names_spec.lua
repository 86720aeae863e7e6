-- Names that contacts get from groups (`groups_contact_name`), and those that users give them.

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

-- "both" with this name and these groups.
local function named(name, ...)
	return table.concat({ "both", "", name, ... }, ",");
end

-- Publishes a vCard with a nickname, or nil for one without.
local function publish_vcard(user, nickname)
	server:eval([[
		local st, user, nickname = require "util.stanza", ...;
		local item = st.stanza("item", { xmlns = "http://jabber.org/protocol/pubsub", id = "current" })
			:tag("vcard", { xmlns = "urn:ietf:params:xml:ns:vcard-4.0" }):tag("fn"):text_tag("text", "Full Name"):up();
		if nickname then item:tag("nickname"):text_tag("text", nickname):up(); end
		local service = hosts[host].modules.pep.get_pep_service(user);
		return assert(service:publish("urn:xmpp:vcard4", true, "current", item:reset()))]],
		user, nickname);
end

-- Publishes a nickname by itself (XEP-0172).
local function publish_nick(user, nickname)
	server:eval([[
		local st, user, nickname = require "util.stanza", ...;
		local item = st.stanza("item", { xmlns = "http://jabber.org/protocol/pubsub", id = "current" })
			:text_tag("nick", nickname, { xmlns = "http://jabber.org/protocol/nick" });
		local service = hosts[host].modules.pep.get_pep_service(user);
		return assert(service:publish("http://jabber.org/protocol/nick", true, "current", item))]],
		user, nickname);
end

local function start(option, options)
	options = options or {};
	options.groups_contact_name = option;
	server = world.new {
		host_options = options;
		global_modules = { "disco", "roster", "saslauth", "ping", "pep", "vcard4" };
	};
end

describe("contacts that groups bring, by default, "..title, function ()
	setup(function () start(nil); end);
	teardown(function () server:destroy(); end);

	it("have no name, whatever their users have published", function ()
		local a, b = accounts(2);
		publish_vcard(b, "Bobby");
		world.group(server, "G", { a, b });
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);
end);

describe("contacts that groups bring, with groups_contact_name none, "..title, function ()
	setup(function () start("none"); end);
	teardown(function () server:destroy(); end);

	it("have no name", function ()
		local a, b = accounts(2);
		publish_nick(b, "Bobby");
		world.group(server, "G", { a, b });
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
	end);
end);

describe("contacts that groups bring, with groups_contact_name username, "..title, function ()
	setup(function () start("username"); end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("have the username for a name, and it is pushed", function ()
		local a, b = accounts(2);
		publish_vcard(b, "Bobby");
		world.login(server, a);
		world.forget(server);
		world.group(server, "G", { a, b });
		assert.same({ [b] = named(b, "G") }, world.contacts(server, a));
		assert.same({ [a] = named(a, "G") }, world.contacts(server, b));
		assert.equal(b, world.pushes(server, a)[b].name);
	end);

	it("keep a name that they had, and get one where they had none", function ()
		local a, b, c = accounts(3);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; name = "Bobby"; groups = {} };
			[jid(c)] = { subscription = "both"; groups = {} } });
		world.group(server, "G", { a, b, c });
		assert.same({ [b] = named("Bobby", "G"); [c] = named(c, "G") }, world.contacts(server, a));
	end);

	it("get one in groups that were there before the option was set", function ()
		world.set_options(server, { groups_contact_name = "none" });
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		world.set_options(server, { groups_contact_name = "username" });
		world.login(server, a);
		assert.equal(b,
			server:eval("local user, contact = ...; return hosts[host].sessions[user].roster[contact].name", a, jid(b)));
		call("set_info", id, { name = "H" });
		world.settle(server);
		assert.same({ [b] = named(b, "H") }, world.contacts(server, a));
		assert.same({ [a] = named(a, "H") }, world.contacts(server, b));
	end);

	it("go when the group takes them back, for the name is not the user's", function ()
		world.set_options(server, { groups_remove_contacts = true });
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a);
		world.edit(server, a, c, "Carl", "G");
		call("remove_member", id, b);
		call("remove_member", id, c);
		world.settle(server);
		assert.same({ [c] = "none,,Carl" }, world.contacts(server, a));
		assert.same({}, world.contacts(server, b));
		world.set_options(server, { groups_remove_contacts = false });
	end);
end);

describe("contacts that groups bring, with groups_contact_name nickname, "..title, function ()
	setup(function () start("nickname"); end);
	teardown(function () server:destroy(); end);
	after_each(logout_all);

	it("have the nickname of the vCard, or else the one published by itself, or else the username", function ()
		local a, b, c, d, e = accounts(5);
		publish_vcard(b, "Bobby");
		publish_nick(b, "not this one");
		publish_nick(c, "Carl 🐈");
		publish_vcard(d, nil);
		publish_nick(d, "Dora");
		world.group(server, "G", { a, b, c, d, e });
		assert.same({ [b] = named("Bobby", "G"); [c] = named("Carl 🐈", "G"); [d] = named("Dora", "G"); [e] = named(e, "G") },
			world.contacts(server, a));
		assert.equal(named(a, "G"), contact_of(b, a));
		assert.equal(named("Bobby", "G"), contact_of(e, b));
	end);

	it("have the username if nothing can be seen of the nickname", function ()
		local a, b, c = accounts(3);
		publish_vcard(b, "  ");
		publish_nick(c, "\u{202e}\u{200b}");
		world.group(server, "G", { a, b, c });
		assert.same({ [b] = named(b, "G"); [c] = named(c, "G") }, world.contacts(server, a));
	end);

	it("have no more of it than a short line that turns no text around", function ()
		local a, b, c, d = accounts(4);
		publish_vcard(b, ("n"):rep(1000000));
		publish_nick(c, "\u{202e}Carl\n\n the \u{2067}Great\u{200f}");
		publish_nick(d, ("ü"):rep(5000));
		world.group(server, "G", { a, b, c, d });
		assert.same({ [b] = named(("n"):rep(64), "G"); [c] = named("Carl the Great", "G"); [d] = named(("ü"):rep(64), "G") },
			world.contacts(server, a));
	end);

	it("have a nickname no more that was taken back, or whose node is gone", function ()
		for _, how in ipairs { "service:retract('http://jabber.org/protocol/nick', true, 'current')",
			"service:delete('http://jabber.org/protocol/nick', true)" } do
			local a, b, c = accounts(3);
			publish_nick(b, "Bobby");
			local id = world.group(server, "G", { a, b });
			assert.equal(named("Bobby", "G"), contact_of(a, b));
			server:eval([[
				local service = hosts[host].modules.pep.get_pep_service((...));
				return assert(]]..how..")", b);
			assert(call("add_member", id, c));
			world.settle(server);
			assert.equal(named(b, "G"), contact_of(c, b), how);
			world.login(server, a);
			world.settle(server);
			assert.equal(named(b, "G"), contact_of(a, b), how);
		end
	end);

	it("have nothing of a deleted account's nickname when its name is registered anew", function ()
		local a, b = accounts(2);
		publish_nick(b, "Bobby");
		local id = world.group(server, "G", { a, b });
		server:delete_user(b);
		world.settle(server);
		server:create_user(b);
		assert(call("add_member", id, b));
		world.settle(server);
		assert.equal(named(b, "G"), contact_of(a, b));
	end);

	it("are pushed to those online with it, within the call", function ()
		local a, b = accounts(2);
		publish_nick(b, "Bobby");
		world.login(server, a);
		local id = world.group(server, "G", { a });
		world.forget(server);
		call("add_member", id, b);
		assert.equal("Bobby",
			server:eval("local user, contact = ...; return hosts[host].sessions[user].roster[contact].name", a, jid(b)));
		local last;
		for _, item in ipairs(server:eval("return prosody.spec_clients.pushes(...)", a)) do last = item; end
		assert.equal("Bobby", last.name);
	end);

	it("follow another nickname, but not where the user has named them", function ()
		local a, b, c = accounts(3);
		publish_vcard(b, "Bobby");
		local id = world.group(server, "G", { a, b, c });
		world.login(server, a, c);
		world.edit(server, a, b, "My Bob", "G");
		publish_vcard(b, "Robert");
		call("set_info", id, { name = "H" });
		world.settle(server);
		assert.equal(named("My Bob", "H"), contact_of(a, b));
		assert.equal(named("Robert", "H"), contact_of(c, b));
		-- And back to the username's turn.
		publish_vcard(b, nil);
		call("set_info", id, { name = "I" });
		world.settle(server);
		assert.equal(named("My Bob", "I"), contact_of(a, b));
		assert.equal(named(b, "I"), contact_of(c, b));
	end);

	it("have another nickname with the next login of those who have them", function ()
		local a, b = accounts(2);
		publish_nick(b, "Bobby");
		world.group(server, "G", { a, b });
		publish_nick(b, "Robert");
		world.login(server, a);
		assert.equal("Robert",
			server:eval("local user, contact = ...; return hosts[host].sessions[user].roster[contact].name", a, jid(b)));
	end);

	it("have nicknames that were published before a restart", function ()
		local a, b = accounts(2);
		publish_vcard(b, "Bobby");
		server:restart();
		world.group(server, "G", { a, b });
		assert.equal(named("Bobby", "G"), contact_of(a, b));
	end);
end);

for _, removes in ipairs { false, true } do
	describe(("a name that the user gave, with groups_remove_contacts %s, %s"):format(removes, title), function ()
		setup(function () start("nickname", { groups_remove_contacts = removes }); end);
		teardown(function () server:destroy(); end);
		after_each(logout_all);

		it("is never overwritten, also when the member is removed and added again", function ()
			local a, b, c = accounts(3);
			publish_vcard(b, "Bobby");
			local id = world.group(server, "G", { a, b, c });
			world.login(server, a);
			world.edit(server, a, b, "My Bob", "G");
			for _ = 1, 2 do
				call("remove_member", id, b);
				world.settle(server);
				assert.equal(removes and "none,,My Bob" or named("My Bob", "G"), contact_of(a, b));
				call("add_member", id, b);
				world.settle(server);
				assert.equal(named("My Bob", "G"), contact_of(a, b));
				assert.equal(named("Bobby", "G"), contact_of(c, b));
			end
			-- Nor when nobody is online.
			world.logout(server, a);
			publish_vcard(b, "Robert");
			call("remove_member", id, b);
			call("add_member", id, b);
			world.settle(server);
			assert.equal(named("My Bob", "G"), contact_of(a, b));
		end);

		it("is never overwritten where it was there before the group", function ()
			local a, b = accounts(2);
			publish_nick(b, "Bobby");
			world.store_roster(server, a, { [jid(b)] = { subscription = "to"; name = "My Bob"; groups = {} } });
			world.store_roster(server, b, { [jid(a)] = { subscription = "from"; groups = {} } });
			local id = world.group(server, "G", { a, b });
			assert.equal(named("My Bob", "G"), contact_of(a, b));
			call("remove_member", id, b);
			world.settle(server);
			assert.equal(removes and "to,,My Bob" or named("My Bob", "G"), contact_of(a, b));
			call("add_member", id, b);
			world.settle(server);
			assert.equal(named("My Bob", "G"), contact_of(a, b));
		end);

		it("is theirs if it is what they are called anyway, and given back when it is taken off", function ()
			local a, b = accounts(2);
			publish_nick(b, "Bobby");
			local id = world.group(server, "G", { a, b });
			world.login(server, a);
			world.edit(server, a, b, nil, "G");
			assert.equal(world.both("G"), contact_of(a, b));
			call("set_info", id, { name = "H" });
			world.settle(server);
			assert.equal(named("Bobby", "H"), contact_of(a, b));
		end);

		if removes then
			it("was not theirs, and goes with the contact", function ()
				local a, b = accounts(2);
				publish_nick(b, "Bobby");
				local id = world.group(server, "G", { a, b });
				world.login(server, a);
				-- Clients send the name that they were given along with everything else.
				world.edit(server, a, b, "Bobby", "G");
				call("remove_member", id, b);
				world.settle(server);
				assert.same({}, world.contacts(server, a));
				assert.same({}, world.contacts(server, b));
			end);
		end
	end);
end

describe("an option groups_contact_name that is none of these, "..title, function ()
	it("keeps the module from loading, with one line that says what it may be", function ()
		server = harness.new { host_options = { groups_contact_name = "fullname" } };
		finally(function () server:destroy(); end);
		server:start();
		assert.is_false(server:eval([[return require "core.modulemanager".is_loaded(host, "groups_internal") == true]]));
		local lines = {};
		for line in server:log_text():gmatch("[^\n]+") do
			if line:find("\terror\t", 1, true) then lines[#lines + 1] = line; end
		end
		assert.equal(1, #lines);
		local reason = 'groups_contact_name must be "none", "username" or "nickname", but is "fullname"';
		assert.truthy(lines[1]:find(reason, 1, true));
		assert.falsy(server:log_text():find("stack traceback", 1, true));
	end);

	it("leaves nothing half done at a reload", function ()
		server = world.new();
		finally(function () server:destroy(); end);
		local a, b = accounts(2);
		local id = world.group(server, "G", { a, b });
		server.settings.host_options = { groups_contact_name = "fullname" };
		server:write_config();
		local mark = server:log_mark();
		server:eval([[
			prosody.reload_config();
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]]);
		assert.truthy(server:log_text(mark):find('but is "fullname"', 1, true));
		server.settings.host_options.groups_contact_name = "username";
		server:write_config();
		server:eval([[
			prosody.reload_config();
			local mm = require "core.modulemanager";
			if mm.is_loaded(host, "groups_internal") then
				mm.reload(host, "groups_internal");
			else
				mm.load(host, "groups_internal");
			end
			return true]]);
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		call("set_info", id, { name = "H" });
		world.settle(server);
		assert.same({ [b] = named(b, "H") }, world.contacts(server, a));
	end);
end);
