-- Contact lists in storage that waits: users and groups change a list while it is read or saved.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "internal" then return; end -- the driver is the same for all

local server;

local function call(...) return server:call(...); end

local function accounts(n)
	local names = world.names(n);
	server:create_user(table.unpack(names));
	return table.unpack(names);
end

-- Logs a user in whose list somebody else reads meanwhile.
local function login_while_read(username)
	server:eval([[
		hosts[host].roster_cache = nil
		prosody.spec_waiting.hold({ store = "roster", method = "get", username = ... }) return true]], username);
	local login = server:begin("prosody.spec_clients.login(...) return true", username);
	server:wait_for("return prosody.spec_waiting.held() == 1");
	local reading = server:begin([[return require "core.rostermanager".load_roster(..., host) ~= nil]], username);
	server:wait_for("return prosody.spec_waiting.held() == 2");
	server:eval("prosody.spec_waiting.release() return true");
	assert.is_true(login:await());
	assert.is_true(reading:await());
end

local function with_server(mode, define_tests)
	describe(("%s contact lists in storage that waits, with Prosody %s"):format(mode, harness.version), function ()
		setup(function ()
			server = world.new { storage = "waiting"; host_options = { groups_roster_mode = mode } };
		end);

		teardown(function () server:destroy(); end);

		define_tests();

		it("left no error in the log", function ()
			for line in server:log_text():gmatch("[^\n]+") do
				assert.falsy(line:find("groups_internal\terror\t", 1, true) and line, line);
			end
		end);
	end);
end

with_server("permanent", function ()
	it("keep what a client makes of one that was read twice as it came", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Twice" });
		login_while_read(a);
		world.edit(server, a, "own", "Own");
		assert.is_true(call("add_members", id, { a, b }) ~= nil);
		world.settle(server);
		assert.same({ own = "none,,Own"; [b] = world.both("Twice") }, world.contacts(server, a));
		assert.same({ own = "none"; [b] = "both" }, world.in_memory(server, a));
	end);

	it("are served with no version of before a change while that is being saved", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Before" });
		call("add_members", id, { a, b });
		world.settle(server);
		local function version()
			return server:eval([[return require "core.rostermanager".load_roster(..., host)[false].version]], a);
		end
		local before = version();
		server:eval("prosody.spec_waiting.hold({ store = 'accounts', username = ... }) return true", a);
		assert.is_true(call("set_info", id, { name = "After" }));
		server:wait_for("return prosody.spec_waiting.held() > 0");
		assert(version() > before, version());
		server:eval("prosody.spec_waiting.release() return true");
		world.settle(server);
		assert(version() > before, version());
	end);
end);

with_server("virtual", function ()
	it("show their contacts to who logs in while somebody's account is being deleted", function ()
		local a, b, c = accounts(3);
		local id = call("create", { name = "Family" });
		call("add_members", id, { a, b, c });
		server:eval("prosody.spec_waiting.hold({ store = 'groups_internal', method = 'set' }) return true");
		local deleting = server:begin([[return require "core.usermanager".delete_user(..., host) ~= nil]], c);
		server:wait_for("return prosody.spec_waiting.held() > 0");
		world.login(server, a);
		local shown = world.in_memory(server, a);
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(deleting:await());
		assert.equal("both", shown[b]);
		assert.same({ [b] = "both" }, world.in_memory(server, a));
	end);

	it("have who is added while it is read what their user has made of contacts", function ()
		local a, b, c = accounts(3);
		local id = call("create", { name = "Family" });
		call("add_members", id, { a, b });
		server:eval([[
			hosts[host].roster_cache = nil
			prosody.spec_waiting.hold({ store = "groups_contacts", method = "get", username = ... }) return true]], a);
		local loading = server:begin([[return require "core.rostermanager".load_roster(..., host) ~= nil]], a);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		assert.is_true(call("add_member", id, c));
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(loading:await());
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
	end);

	it("take back no contact that is removed while what was made of another is being stored", function ()
		local a, b = accounts(2);
		call("add_members", call("create", { name = "Family" }), { a, b });
		world.login(server, a);
		server:eval([[
			local username = ...;
			local roster = require "core.rostermanager".load_roster(username, host);
			roster["own@example.org"] = { subscription = "none"; groups = {} };
			return require "core.rostermanager".save_roster(username, host, roster, "own@example.org")]], a);
		server:eval("prosody.spec_waiting.hold({ store = 'groups_contacts', method = 'set' }) return true");
		local naming = server:begin([[
			local username, contact = ...;
			local roster = require "core.rostermanager".load_roster(username, host);
			roster[contact].name = "Pal";
			return require "core.rostermanager".save_roster(username, host, roster)]], a, b.."@localhost");
		server:wait_for("return prosody.spec_waiting.held() == 1");
		server:eval([[
			local username = ...;
			local roster = require "core.rostermanager".load_roster(username, host);
			roster["own@example.org"] = nil;
			return require "core.rostermanager".save_roster(username, host, roster, "own@example.org")]], a);
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(naming:await());
		assert.same({}, world.contacts(server, a));
		assert.same({ [b.."@localhost"] = { name = "Pal" } }, server:stored("groups_contacts", a));
	end);

	it("store no contact that is removed while its new name is being stored", function ()
		local a, b = accounts(2);
		call("add_members", call("create", { name = "Family" }), { a, b });
		world.login(server, a);
		server:eval("prosody.spec_waiting.hold({ store = 'groups_contacts', method = 'set' }) return true");
		local naming = server:begin([[
			local username, contact = ...;
			local roster = require "core.rostermanager".load_roster(username, host);
			roster[contact] = { subscription = "both"; groups = { Family = true }; name = "Pal" };
			return require "core.rostermanager".save_roster(username, host, roster, contact)]], a, b.."@localhost");
		server:wait_for("return prosody.spec_waiting.held() == 1");
		local removing = server:begin([[
			local st, username, contact = require "util.stanza", ...;
			prosody.spec_clients.send(prosody.spec_clients.session(username),
				st.iq({ type = "set", id = "remove" }):tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = contact, subscription = "remove" }));
			return true]], a, b.."@localhost");
		-- The contact is out of storage, and so is to be what was made of it.
		server:wait_for("return prosody.spec_waiting.held() == 2");
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(naming:await());
		assert.is_true(removing:await());
		assert.same({}, world.contacts(server, a));
	end);

	it("are one list where one was read twice as its user came", function ()
		local a, b = accounts(2);
		call("add_members", call("create", { name = "Family" }), { a, b });
		login_while_read(a);
		world.edit(server, a, "own", "Own");
		assert.same({ own = "none"; [b] = "both" }, world.in_memory(server, a));
		assert.same({ own = "none,,Own" }, world.contacts(server, a));
	end);

	it("lose what somebody ends of a subscription, if the group goes before that is stored", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, { [b.."@localhost"] = { subscription = "both"; groups = {} } });
		world.store_roster(server, b, { [a.."@localhost"] = { subscription = "both"; groups = {} } });
		local id = call("create", { name = "Family" });
		call("add_members", id, { a, b });
		world.login(server, a);
		server:eval([[return require "core.rostermanager".load_roster(..., host) ~= nil]], b);
		-- Prosody has changed the list, and asks for the account before it saves it.
		server:eval("prosody.spec_waiting.hold({ store = 'accounts', username = ... }) return true", b);
		local cancelling = server:begin([[
			local username, contact = ...;
			prosody.spec_clients.send(prosody.spec_clients.session(username),
				require "util.stanza".presence({ type = "unsubscribed", to = contact }));
			return true]], a, b.."@localhost");
		server:wait_for("return prosody.spec_waiting.held() == 1");
		assert.is_true(call("remove_member", id, b));
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(cancelling:await());
		assert.equal("from", world.in_memory(server, b)[a]);
		assert.same({ [a] = "from,," }, world.contacts(server, b));
	end);
end);
