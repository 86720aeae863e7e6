-- Contact lists that cannot be read or saved, and storage that cannot be read at start.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("with Prosody "..harness.version..", a contact list", function ()
	local server;

	setup(function ()
		server = world.new { storage = "failing" };
	end);

	teardown(function ()
		server:destroy();
	end);

	local function fail(rule)
		server:eval("prosody.spec_failing.fail(...) return true", rule);
	end

	local function clear()
		server:eval("prosody.spec_failing.clear() return true");
	end

	local function warnings(user)
		local _, count = server:log_text():gsub("groups_internal\twarn\t[^\n]*"..user.." [^\n]*", "");
		return count;
	end

	local own = { ["own@example.org"] = { subscription = "both"; name = "Own"; groups = {} } };
	local cannot_be_read, cannot_be_saved, throws, marked, healthy, other = table.unpack(world.names(6));
	local id;

	setup(function ()
		server:create_user(cannot_be_read, cannot_be_saved, throws, marked, healthy, other);
		for _, user in ipairs { cannot_be_read, cannot_be_saved, throws, marked } do
			world.store_roster(server, user, own, { version = 3 });
		end
		-- Prosody reads this one, fails, and keeps it in its cache.
		fail { store = "roster"; method = "get"; username = marked };
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], marked);
		assert.truthy(server:eval([[return hosts[host].roster_cache:get(...)[false].broken]], marked.."@localhost"));
		fail { store = "roster"; method = "get"; username = cannot_be_read };
		fail { store = "roster"; method = "set"; username = cannot_be_saved };
		fail { store = "roster"; method = "get"; username = throws; throw = true };
		id = server:call("create", { name = "G" });
		for _, member in ipairs { cannot_be_read, cannot_be_saved, healthy, throws, marked, other } do
			server:call("add_member", id, member);
		end
		for _, user in ipairs { cannot_be_read, cannot_be_saved, throws, marked } do
			server:wait_for_log("groups_internal\twarn\t[^\n]*"..user.." ");
		end
	end);

	it("that fails keeps nobody else's from being settled", function ()
		local members = { cannot_be_read, cannot_be_saved, throws, marked, healthy, other };
		for _, user in ipairs { healthy, other } do
			server:wait_for([[
				local roster = require "core.storagemanager".open(host, "roster", "keyval"):get((...));
				local n = 0;
				for jid in pairs(roster or {}) do n = n + (jid and 1 or 0); end
				return n == 5]], "the others are settled", 10, user);
			assert.same(world.mutual(user, members, "G"), world.contacts(server, user));
		end
	end);

	it("that fails makes one warning, however often it is looked at", function ()
		server:call("add_member", id, healthy);
		server:call("sync", id);
		server:call("add_member", id, cannot_be_read);
		for _, user in ipairs { cannot_be_read, cannot_be_saved, throws, marked } do
			assert.equal(1, warnings(user), user);
		end
	end);

	it("that cannot be read leaves the cache, or Prosody would serve it empty until a restart", function ()
		assert.is_nil(world.in_memory(server, cannot_be_read));
		assert.is_nil(world.in_memory(server, throws));
		assert.is_nil(world.in_memory(server, marked));
	end);

	it("that fails is open work", function ()
		assert.is_true(world.marker(server).unsettled[id]);
	end);

	it("that could not be read is whole again at the next login, and never was written", function ()
		clear();
		for _, user in ipairs { cannot_be_read, throws, marked } do
			assert.same({ ["own@example.org"] = "both,,Own" }, world.contacts(server, user));
		end
		world.login(server, cannot_be_read);
		assert.same({ ["own@example.org"] = "both"; [cannot_be_saved] = "both"; [throws] = "both"; [marked] = "both";
			[healthy] = "both";
			[other] = "both" }, world.in_memory(server, cannot_be_read));
	end);

	it("that failed is tried again later", function ()
		clear();
		world.settle(server, 30);
		local members = { cannot_be_read, cannot_be_saved, throws, marked, healthy, other };
		for _, user in ipairs(members) do
			local expected = world.mutual(user, members, "G");
			if user ~= healthy and user ~= other then expected["own@example.org"] = "both,,Own"; end
			assert.same(expected, world.contacts(server, user));
		end
	end);
end);

describe("with Prosody "..harness.version..", a start on storage that fails", function ()
	local server;

	before_each(function ()
		server = world.new { storage = "failing" };
		server:create_user("alice", "bob");
		world.group(server, "G", { "alice", "bob" });
	end);

	after_each(function ()
		server:destroy();
	end);

	local function load_with(rule)
		server:eval([[
			local mm = require "core.modulemanager";
			mm.unload(host, "groups_internal");
			prosody.spec_failing.fail(...);
			return mm.load(host, "groups_internal") ~= nil]], rule);
	end

	local function unavailable()
		assert.same({ nil, "internal-server-error" }, { server:eval([[
			local async = require "util.async";
			local results;
			require "util.timer".add_task(0, function () results = { groups.create({ name = "H" }, false, "h") }; end);
			local wait, done = async.waiter();
			require "util.timer".add_task(0.01, done);
			wait();
			return table.unpack(results, 1, 2)]]) });
	end

	for _, rule in ipairs { { store = "group_info"; method = "users" }, { store = "groups_internal"; method = "get" },
		{ store = "group_info"; method = "users"; throw = true } } do
		local how = ("%s.%s%s"):format(rule.store, rule.method, rule.throw and ", thrown" or "");
		it("("..how..") works nothing, says so, and stores nothing", function ()
			local mark = server:log_mark();
			load_with(rule);
			unavailable();
			assert.is_false(server:eval([[
				local exists;
				require "util.timer".add_task(0, function () exists = groups.exists("h"); end);
				local wait, done = require "util.async".waiter();
				require "util.timer".add_task(0.01, done);
				wait();
				return exists]]));
			assert.truthy(server:log_text(mark):find("groups_internal\terror\t", 1, true));
			assert.equal("error", server:eval("return (hosts[host].modules.groups_internal.module:get_status())"));
			assert.is_nil(server:stored("group_info", "h"));
			-- A load that works mends it.
			server:eval([[
				prosody.spec_failing.clear();
				local mm = require "core.modulemanager";
				mm.unload(host, "groups_internal");
				return mm.load(host, "groups_internal") ~= nil]]);
			assert.equal("h", server:call("create", { name = "H" }, false, "h"));
		end);
	end

	it("leaves one group out that cannot be read, and does not overwrite it", function ()
		server:store("group_info", "bad", { name = "Bad" });
		server:store("groups", "bad", { alice = {} });
		load_with { store = "groups"; method = "get"; username = "bad" };
		server:eval("prosody.spec_failing.clear() return true");
		assert.is_false(server:call("exists", "bad"));
		assert.truthy(server:log_text():find("Group bad cannot be read", 1, true));
		assert.same({ nil, "internal-server-error" }, { server:call("create", { name = "New" }, false, "bad") });
		assert.same({ nil, "internal-server-error" }, { server:call("add_member", "bad", "bob") });
		assert.same({ nil, "internal-server-error" }, { server:call("delete", "bad") });
		assert.same({ name = "Bad" }, server:stored("group_info", "bad"));
		assert.same({ alice = {} }, server:stored("groups", "bad"));
		server:restart();
		assert.same({ alice = {} }, server:call("get_members", "bad"));
	end);
end);
