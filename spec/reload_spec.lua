-- Reload, unload and load, on one host and several.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

describe("the module, "..title, function ()
	local server;

	local function call(...) return server:call(...); end

	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	local function reload()
		assert.is_true(server:eval([[return require "core.modulemanager".reload(host, "groups_internal") ~= nil]]));
	end

	setup(function ()
		server = world.new { modules = { "groups_internal", "spec_dependent" } };
	end);

	teardown(function ()
		server:destroy();
	end);

	it("is found as other modules look for it", function ()
		assert.is_true(server:eval([[
			local mm = require "core.modulemanager";
			local env = mm.get_module(host, "groups_internal");
			return mm.is_loaded(host, "groups_internal") and env.create ~= nil
				and env == prosody.hosts[host].modules.groups_internal]]));
	end);

	it("keeps its groups over a reload, and reads no storage for it", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Kept", { a, b }, true);
		local info = call("get_info", id);
		server:store("group_info", "edited", { name = "Edited" });
		reload();
		assert.same(info, call("get_info", id));
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		assert.is_false(call("exists", "edited"));
		assert.is_true(call("remove_member", id, b));
		assert.same({ [a] = {} }, server:stored("groups", id));
		assert.same({ name = "Edited" }, server:stored("group_info", "edited"));
	end);

	it("reads hand-edited storage when it is unloaded and loaded", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Edited", { a });
		server:eval([[
			local id, other = ...;
			local mm, sm = require "core.modulemanager", require "core.storagemanager";
			mm.unload(host, "groups_internal");
			assert(not mm.is_loaded(host, "groups_internal"));
			sm.open(host, "group_info", "keyval"):set(id, { name = "By Hand" });
			sm.open(host, "groups", "map"):set(id, other, {});
			mm.load(host, "groups_internal");
			mm.load(host, "spec_dependent");
			return true]], id, b);
		assert.same({ name = "By Hand" }, call("get_info", id));
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		assert.same({ id }, call("get_user_groups", b));
	end);

	it("goes on with open work after a reload", function ()
		local members = { accounts(10) };
		local id = call("create", { name = "Work" });
		server:eval([[
			local id = ...;
			for i = 2, select("#", ...) do groups.add_member(id, (select(i, ...)), true); end
			groups.sync(id);
			return require "core.modulemanager".reload(host, "groups_internal") ~= nil]], id, table.unpack(members));
		world.settle(server);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Work"), world.contacts(server, member));
		end
	end);

	it("lets an operation finish that was under way at a reload", function ()
		local a = accounts(1);
		local id = call("create", { name = "Slow" });
		server:eval([[
			local async = require "util.async";
			module:hook("group-user-added", function (event)
				if event.id ~= prosody.spec_slow then return; end
				local wait, done = async.waiter();
				prosody.spec_go_on = function () done(); end
				wait();
			end, 10);
			prosody.spec_slow = ...;
			return true]], id);
		local running = server:begin("local id, user = ...; return groups.add_member(id, user)", id, a);
		server:wait_for("return prosody.spec_go_on ~= nil");
		reload();
		server:eval("prosody.spec_slow = nil; prosody.spec_go_on() return true");
		assert.is_true(running:await());
		assert.same({ [a] = {} }, call("get_members", id));
	end);

	it("keeps a handle of before the reload working", function ()
		local a = accounts(1);
		local id = call("create", { name = "Handle" });
		assert.is_true(server:eval([[
			local id, user = ...;
			local old = groups;
			require "core.modulemanager".reload(host, "groups_internal");
			return old.add_member(id, user)
				and prosody.hosts[host].modules.groups_internal.get_members(id)[user] ~= nil]], id, a));
	end);

	it("takes its dependents along", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Dependent" });
		assert.is_true(server:eval("return hosts[host].modules.spec_dependent.add(...)", id, a));
		reload();
		assert.is_true(server:eval("return hosts[host].modules.spec_dependent.exists(...)", id));
		assert.is_true(server:eval("return hosts[host].modules.spec_dependent.add(...)", id, b));
		assert.same({ b }, server:eval("return hosts[host].modules.spec_dependent.heard"));
		world.settle(server);
		assert.same({ [b] = world.both("Dependent") }, world.contacts(server, a));
	end);

	it("does no more when it is unloaded, with work open, and takes it up when loaded", function ()
		local members = { accounts(6) };
		local id = call("create", { name = "Stopped" });
		for _, member in ipairs(members) do call("add_member", id, member, true); end
		local mark = server:log_mark();
		server:eval([[
			local mm = require "core.modulemanager";
			groups.sync(...);
			mm.unload(host, "groups_internal");
			return not mm.is_loaded(host, "groups_internal")]], id);
		server:wait_for([[
			local timer = require "util.timer";
			if prosody.spec_later == nil then
				prosody.spec_later = false;
				timer.add_task(0.3, function () prosody.spec_later = true; end);
			end
			return prosody.spec_later]], "some time has passed");
		assert.is_false(world.is_settled(server));
		world.login(server, members[1]);
		assert.falsy(server:log_text(mark):find("\terror\t", 1, true));
		server:eval([[
			local mm = require "core.modulemanager";
			mm.load(host, "groups_internal");
			mm.load(host, "spec_dependent");
			return true]]);
		world.settle(server);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Stopped"), world.contacts(server, member));
		end
		assert.same(5, #server:eval([[
			local n = {}
			for jid in pairs(hosts[host].sessions[...].roster) do n[#n + 1] = jid or nil end
			return n]], members[1]));
	end);

	it("loaded into a running server reconciles those who are online", function ()
		local a, b, c = accounts(3);
		server:eval([[return require "core.modulemanager".unload(host, "groups_internal") ~= nil]]);
		world.login(server, a, b);
		server:eval([[require "core.rostermanager".load_roster(..., host) return true]], c);
		world.forget(server);
		server:eval([[
			local a, b, c = ...;
			local mm, sm = require "core.modulemanager", require "core.storagemanager";
			sm.open(host, "group_info", "keyval"):set("online", { name = "Online" });
			sm.open(host, "groups", "keyval"):set("online", { [a] = {}, [b] = {}, [c] = {} });
			-- As after the Lua module: nothing is known of open work.
			sm.open(host, "groups_internal", "keyval"):set(nil, nil);
			mm.load(host, "groups_internal");
			mm.load(host, "spec_dependent");
			return true]], a, b, c);
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
		assert.same({ [a] = "both"; [c] = "both" }, world.in_memory(server, b));
		assert.same({ [a] = "both"; [b] = "both" }, world.in_memory(server, c));
		assert.truthy(world.pushes(server, a)[b]);
		assert.truthy(world.pushes(server, b)[a]);
		world.settle(server);
		assert.same(world.mutual(c, { a, b }, "Online"), world.contacts(server, c));
	end);

	it("may be reloaded many times over without harm", function ()
		local a, b = accounts(2);
		world.login(server, a);
		local id = call("create", { name = "Often" });
		for i = 1, 10 do
			reload();
			call("add_member", id, i % 2 == 0 and a or b);
		end
		world.settle(server);
		assert.same({ [b] = world.both("Often") }, world.contacts(server, a));
		world.forget(server);
		local c = accounts(1);
		call("add_member", id, c);
		-- Hooks of earlier loads would push once more.
		assert.truthy(world.pushes(server, a)[c]);
	end);
end);

describe("several hosts, "..title, function ()
	local server;

	before_each(function () server = nil; end);
	after_each(function () server:destroy(); end);

	local function on(other, source, ...)
		local scope = "local other = ...; local groups = prosody.hosts[other].modules.groups_internal; ";
		return server:eval(scope..source, other, ...);
	end

	local function check()
		server:create_user("ann");
		on("other.example", [[
			local um = require "core.usermanager";
			return um.create_user("ann", "secret", other) and um.create_user("zoe", "secret", other)]]);
		server:call("create", { name = "Here" }, false, "same");
		assert.is_false(on("other.example", "return groups.exists('same')"));
		assert.equal("same", on("other.example", "return groups.create({ name = 'There' }, false, 'same')"));
		server:call("add_member", "same", "ann");
		on("other.example", "return groups.add_member('same', 'ann') and groups.add_member('same', 'zoe')");
		assert.equal("Here", server:call("get_info", "same").name);
		assert.same({ ann = {} }, server:call("get_members", "same"));
		server:wait_for([[
			local roster = require "core.storagemanager".open("other.example", "roster", "keyval"):get("zoe");
			return roster and roster["ann@other.example"] and roster["ann@other.example"].subscription == "both"]]);
		assert.is_nil(world.contacts(server, "ann"));
		server:eval([[return require "core.usermanager".delete_user("ann", "other.example")]]);
		assert.same({ ann = {} }, server:call("get_members", "same"));
		assert.is_true(on("other.example", "return groups.get_members('same').ann == nil"));
		server:eval([[return require "core.modulemanager".unload("other.example", "groups_internal") ~= nil]]);
		assert.is_true(server:call("exists", "same"));
		server:eval([[return require "core.modulemanager".load("other.example", "groups_internal") ~= nil]]);
		assert.equal("There", on("other.example", "return groups.get_info('same').name"));
	end

	it("each have groups of their own", function ()
		server = world.new { hosts = { ["other.example"] = { modules = { "groups_internal" } } } };
		check();
	end);

	it("each have groups of their own when the module is enabled globally", function ()
		server = world.new { modules = {}; global_modules = { "disco", "roster", "saslauth", "groups_internal" };
			hosts = { ["other.example"] = {} } };
		check();
	end);
end);
