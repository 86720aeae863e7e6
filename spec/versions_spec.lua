-- Roster versions, and saving behind: whatever is killed or logs out in between, no device keeps an old list for the
-- new one.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("roster versions with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	local function jid(name) return name.."@localhost"; end

	-- The version that a client is told when it logs in.
	local function version(user)
		return server:eval("return hosts[host].sessions[...].roster[false].version", user);
	end

	local function stored_version(user)
		return (world.metadata(server, user) or {}).version;
	end

	setup(function ()
		server = world.new();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("are higher after a change, and pushed with it", function ()
		local a, b, c = accounts(3);
		world.login(server, a);
		local id = world.group(server, "G", { a, b });
		local before = version(a);
		world.forget(server);
		call("add_member", id, c);
		assert.is_true(version(a) > before);
		assert.equal(tostring(version(a)), world.pushes(server, a)[c].ver);
		local pushed = version(a);
		world.settle(server);
		assert.is_true(stored_version(a) >= pushed);
	end);

	it("stay when nothing changes", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a, b });
		local before, stored = version(a), stored_version(a);
		call("sync", id);
		call("add_member", id, b);
		assert.equal(before, version(a));
		world.logout(server, a);
		world.login(server, a);
		assert.equal(stored, stored_version(a));
		assert.equal(before, version(a));
	end);

	it("of an empty list are never 1, the number that Prosody serves it as", function ()
		local a, b = accounts(2);
		world.login(server, a);
		world.group(server, "G", { a, b });
		assert.is_true(version(a) >= 2 ^ 24);
		assert.is_true(stored_version(a) >= 2 ^ 24);
		assert.is_true(stored_version(b) >= 2 ^ 24);
	end);

	it("that are text become numbers", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, {}, { version = "99999999999" });
		world.login(server, a);
		world.group(server, "G", { a, b });
		assert.equal("integer", math.type(version(a)));
		assert.is_true(version(a) > 99999999999);
	end);

	it("that are higher than the module's only grow", function ()
		local a, b = accounts(2);
		world.store_roster(server, a, {}, { version = 99999999999 });
		world.group(server, "G", { a, b });
		assert.is_true(stored_version(a) > 99999999999 and stored_version(a) < 99999999999 + 10);
	end);

	it("that another module has set to true stay", function ()
		local a, b = accounts(2);
		world.login(server, a);
		server:eval("hosts[host].sessions[...].roster[false].version = true; return true", a);
		world.group(server, "G", { a, b });
		assert.is_true(version(a));
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);

	it("are stored with the contact when the user logs out at once", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a });
		local pushed, stored, contact = table.unpack(server:eval([[
			local id, user, other = ...;
			groups.add_member(id, other);
			local pushed = hosts[host].sessions[user].roster[false].version;
			prosody.spec_clients.logout(prosody.spec_clients.session(user));
			local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(user);
			return { pushed, roster[false].version, roster[other.."@"..host] ~= nil };]], id, a, b));
		assert.is_true(stored >= pushed);
		assert.is_true(contact);
		world.login(server, a);
		assert.is_true(version(a) >= pushed);
	end);

	it("are not saved while another device of the user is online", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a });
		server:eval([[
			local id, user, other = ...;
			local second = prosody.spec_clients.bind(user, "second");
			groups.add_member(id, other);
			prosody.spec_clients.logout(second);
			assert(next(hosts[host].sessions[user].sessions));
			local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(user);
			assert(not (roster and roster[other.."@"..host]));
			return true]], id, a, b);
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
	end);

	it("are saved when the module is unloaded", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a });
		local contact = server:eval([[
			local id, user, other = ...;
			groups.add_member(id, other);
			require "core.modulemanager".unload(host, "groups_internal");
			local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(user);
			require "core.modulemanager".load(host, "groups_internal");
			return roster[other.."@"..host] ~= nil;]], id, a, b);
		assert.is_true(contact);
	end);

	it("are saved when the server stops", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = world.group(server, "G", { a });
		local contact = server:eval([[
			local id, user, other = ...;
			groups.add_member(id, other);
			local stored;
			local function look()
				local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(user);
				stored = roster and roster[other.."@"..host] ~= nil;
			end
			-- Clients are sent away at -100.
			module:hook_global("server-stopping", look, -50);
			prosody.events.fire_event("server-stopping", { reason = "spec" });
			return stored;]], id, a, b);
		assert.is_true(contact);
		server:restart();
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.same({ [a] = world.both("G") }, world.contacts(server, b));
	end);

	it("pushed before a kill never stand for another list after it", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a });
		world.login(server, a);
		local pid = server.pid;
		local before = stored_version(a);
		server:try_eval([[
			local id, user, other, pid = ...;
			groups.add_member(id, other);
			prosody.log("info", "spec: pushed %s", tostring(hosts[host].sessions[user].roster[false].version));
			os.execute("kill -9 "..pid);]], id, a, b, pid);
		server:kill();
		assert.equal(before, nil);
		local pushed = tonumber(server:log_text():match("spec: pushed (%d+)"));
		server:start();
		world.settle(server);
		assert.same({ [b] = world.both("G") }, world.contacts(server, a));
		assert.is_true(stored_version(a) > pushed);
		world.login(server, a);
		assert.is_true(version(a) > pushed);
		call("add_member", id, c);
		world.settle(server);
	end);

	it("begin higher with each start", function ()
		local a, b = accounts(2);
		local first = world.marker(server).generation;
		server:restart();
		local second = world.marker(server).generation;
		assert.is_true(second > first);
		world.group(server, "G", { a, b });
		assert.is_true(stored_version(a) >= second * 2 ^ 24);
		server:restart();
		assert.is_true(world.marker(server).generation > second);
	end);

	it("let a client's own edit keep what groups brought", function ()
		local a, b, c = accounts(3);
		world.login(server, a);
		local id = world.group(server, "G", { a, b });
		server:eval([[
			local id, user, contact, other = ...;
			local st = require "util.stanza";
			groups.add_member(id, other);
			-- Before our save: the list's metadata and this one item go to storage.
			prosody.spec_clients.send(prosody.spec_clients.session(user), st.iq({ type = "set", id = "rename" })
				:tag("query", { xmlns = "jabber:iq:roster" })
				:tag("item", { xmlns = "jabber:iq:roster", jid = contact, name = "Bee" })
				:tag("group"):text("Pals"));
			return true]], id, a, jid(b), c);
		world.settle(server);
		local contacts = world.contacts(server, a);
		assert.equal(world.both("G"), contacts[c]);
		assert.truthy(contacts[b]:find("^both,,Bee,"), contacts[b]);
		assert.truthy(contacts[b]:find("Pals", 1, true), contacts[b]);
	end);
end);
