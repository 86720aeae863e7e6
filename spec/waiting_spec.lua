-- Storage that waits in every call: a yield is met everywhere, and operations come between one another.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("storage that waits, with Prosody "..harness.version, function ()
	local server;

	local function call(...) return server:call(...); end

	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	setup(function ()
		server = world.new { storage = "waiting" };
	end);

	teardown(function ()
		server:destroy();
	end);

	it("lets every function work from a coroutine", function ()
		local a, b = accounts(2);
		local before = server:eval("return prosody.spec_waiting.waited");
		assert.equal("core", call("create", { name = "Core" }, true, "core"));
		assert.same({ nil, "conflict" }, { call("create", { name = "Core" }, false, "core") });
		assert.is_true(call("add_member", "core", a));
		assert.is_true(call("add_member", "core", b, true));
		assert.is_true(call("set_info", "core", { name = "Kern" }));
		local chat = call("add_group_chat", "core", "Chat");
		assert.equal(2, #call("get_group_chats", "core"));
		call("sync", "core");
		assert.is_true(call("emit_member_events", "core"));
		world.settle(server);
		assert.same({ [b] = world.both("Kern") }, world.contacts(server, a));
		assert.is_true(call("remove_group_chat", "core", (chat.jid:match("^[^@]+"))));
		assert.is_true(call("remove_member", "core", a));
		assert.same({ [b] = {} }, server:stored("groups", "core"));
		assert.is_true(call("delete", "core"));
		assert.is_nil(server:stored("group_info", "core"));
		assert.is_true(server:eval("return prosody.spec_waiting.waited") > before + 10);
	end);

	it("loses nothing of 20 members, 3 chats and 5 re-adds at once", function ()
		local members = { accounts(20) };
		local id = call("create", { name = "Many" });
		local requests = {};
		for i, member in ipairs(members) do
			requests[#requests + 1] = server:begin("return groups.add_member(...)", id, member);
			if i % 7 == 0 then
				requests[#requests + 1] = server:begin("return groups.add_group_chat(...) ~= nil", id, "Chat "..i);
			end
			if i % 4 == 0 then
				requests[#requests + 1] = server:begin("return groups.add_member(...)", id, members[i - 3]);
			end
		end
		requests[#requests + 1] = server:begin("return groups.add_group_chat(...) ~= nil", id, "Chat");
		for _, request in ipairs(requests) do
			assert.is_true(request:await());
		end
		local expected = {};
		for _, member in ipairs(members) do expected[member] = {}; end
		assert.same(expected, call("get_members", id));
		assert.same(expected, server:stored("groups", id));
		assert.equal(3, #call("get_info", id).mucs);
		assert.same(call("get_info", id), server:stored("group_info", id));
		world.settle(server, 30);
		for _, member in ipairs(members) do
			assert.same(world.mutual(member, members, "Many"), world.contacts(server, member));
		end
		for _, chat in ipairs(call("get_group_chats", id)) do
			assert.is_nil(chat.deleted);
			for _, member in ipairs(members) do
				assert.equal("member", server:eval([[
					local room, user = ...;
					return hosts["groups.localhost"].modules.muc.get_room_from_jid(room):get_affiliation(user.."@localhost")]],
					chat.jid, member));
			end
		end
	end);

	it("lets two who are added at the same time see each other", function ()
		local a, b = accounts(2);
		world.login(server, a, b);
		local id = call("create", { name = "Two" });
		server:eval("prosody.spec_waiting.hold({ store = 'groups' }) return true");
		local first = server:begin("return groups.add_member(...)", id, a);
		local second = server:begin("return groups.add_member(...)", id, b);
		server:wait_for("return prosody.spec_waiting.held() > 0");
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(first:await());
		assert.is_true(second:await());
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.same({ [a] = "both" }, world.in_memory(server, b));
		assert.truthy(world.pushes(server, a)[b] and world.pushes(server, b)[a]);
		world.settle(server);
		assert.same({ [b] = world.both("Two") }, world.contacts(server, a));
	end);

	it("answers from memory while a change is being stored, with the state before it", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Before" });
		call("add_member", id, a);
		server:eval("prosody.spec_waiting.hold({ method = 'set' }) return true");
		local adding = server:begin("return groups.add_member(...)", id, b);
		local renaming = server:begin("local id = ... return groups.set_info(id, { name = 'After' })", id);
		server:wait_for("return prosody.spec_waiting.held() > 0");
		assert.same({ [a] = {} }, call("get_members", id));
		assert.same({ name = "Before" }, call("get_info", id));
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(adding:await());
		assert.is_true(renaming:await());
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		assert.same({ name = "After" }, call("get_info", id));
		world.settle(server);
		assert.same({ name = "After" }, server:stored("group_info", id));
	end);

	it("goes on with open work if it is reloaded while a contact list is being read", function ()
		local members = { accounts(5) };
		server:eval("prosody.spec_waiting.hold({ store = 'roster', method = 'get' }) return true");
		local id = call("create", { name = "Read" });
		assert.is_true(call("add_members", id, members) ~= nil);
		server:wait_for("return prosody.spec_waiting.held() > 0");
		assert.is_true(server:eval([[return require "core.modulemanager".reload(host, "groups_internal") ~= nil]]));
		server:eval("prosody.spec_waiting.release() return true");
		world.settle(server);
		for _, member in ipairs(members) do
			local others = {};
			for _, other in ipairs(members) do
				if other ~= member then others[other] = world.both("Read"); end
			end
			assert.same(others, world.contacts(server, member));
		end
	end);

	it("lets only one of two create the same group", function ()
		server:eval("prosody.spec_waiting.hold({ store = 'group_info' }) return true");
		local first = server:begin("return groups.create({ name = 'First' }, true, 'race')");
		local second = server:begin("return groups.create({ name = 'Second' }, true, 'race')");
		server:wait_for("return prosody.spec_waiting.held() > 0");
		server:eval("prosody.spec_waiting.release() return true");
		local results = { { first:await() }, { second:await() } };
		local winner, loser = results[1], results[2];
		if winner[1] == nil then winner, loser = loser, winner; end
		assert.same({ "race" }, winner);
		assert.same({ nil, "conflict" }, loser);
		assert.equal(1, server:eval([[
			local n = 0;
			for room in hosts["groups.localhost"].modules.muc.each_room(true) do
				if room:get_name() == "First" or room:get_name() == "Second" then n = n + 1; end
			end
			return n]]));
	end);

	-- The chat host's own storage waits as well.
	it("lets two chats of one name that are made at the same time have a room each", function ()
		local first, second = call("create", { name = "First" }), call("create", { name = "Second" });
		server:eval("prosody.spec_waiting.hold({ store = 'config' }) return true");
		local requests = {};
		for i, id in ipairs { first, second } do
			requests[i] = server:begin("return groups.add_group_chat(...).jid", id, "Twins");
			server:wait_for("return prosody.spec_waiting.held() >= ...", nil, 5, i);
		end
		server:eval("prosody.spec_waiting.release() return true");
		assert.not_equal(requests[1]:await(), requests[2]:await());
		world.settle(server);
		assert.same({}, call("check"));
	end);

	it("lets a chat keep its room that is made while one of its name is taken away", function ()
		local server = world.new { storage = "waiting"; -- luacheck: ignore 431/server
			components = { ["groups.localhost"] = { "muc", options = { muc_tombstones = false } } } };
		finally(function () server:destroy(); end);
		local function call(...) return server:call(...); end -- luacheck: ignore 431/call
		local first, second = call("create", { name = "First" }), call("create", { name = "Second" });
		local jid = call("add_group_chat", first, "Heir").jid;
		world.settle(server);
		-- Its first record is gone by then, and the last one not yet.
		server:eval("prosody.spec_waiting.hold({ store = 'state', method = 'set' }) return true");
		local deleting = server:begin("return groups.delete(...)", first);
		server:wait_for("return prosody.spec_waiting.held() > 0");
		local making = server:begin("return groups.add_group_chat(...).jid", second, "Heir");
		world.wait_until(function ()
			return making:done() or server:eval("return prosody.spec_waiting.held() > 1");
		end, "the room is being saved");
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(deleting:await());
		assert.not_equal(jid, making:await());
		world.settle(server);
		server:restart();
		assert.same({}, call("check"));
	end);

	it("lets adding meet deleting", function ()
		local a = accounts(1);
		local id = call("create", { name = "Gone" });
		server:eval("prosody.spec_waiting.hold({ store = 'groups_internal' }) return true");
		local adding = server:begin("return groups.add_member(...)", id, a);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		local deleting = server:begin("return groups.delete(...)", id);
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(adding:await());
		assert.is_true(deleting:await());
		assert.is_false(call("exists", id));
		assert.is_nil(server:stored("groups", id));
		assert.is_nil(server:stored("group_info", id));
	end);

	it("answers internal-server-error to a timer that would have to wait for another operation", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Timer" });
		server:eval("prosody.spec_waiting.hold({ store = 'groups' }) return true");
		local adding = server:begin("return groups.add_member(...)", id, a);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		local answer = server:eval([[
			local id, user = ...;
			local async, timer = require "util.async", require "util.timer";
			local wait, done = async.waiter();
			local answer;
			timer.add_task(0, function ()
				answer = { groups.add_member(id, user) == nil, (select(2, groups.add_member(id, user))), groups.exists(id),
					groups.get_members(id)[user] == nil };
				done();
			end);
			wait();
			return answer;]], id, b);
		assert.same({ true, "internal-server-error", true, true }, answer);
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(adding:await());
		assert.same({ [a] = {} }, call("get_members", id));
		assert.is_true(call("add_member", id, b));
		world.settle(server);
		assert.same({ [b] = world.both("Timer") }, world.contacts(server, a));
	end);

	it("lets a user log in while the members of the group change", function ()
		local a, b, c = accounts(3);
		local id = call("create", { name = "Login" });
		call("add_member", id, a);
		call("add_member", id, b);
		world.settle(server);
		server:eval([[
			hosts[host].roster_cache = nil
			prosody.spec_waiting.hold({ store = "roster", username = ... }) return true]], a);
		local login = server:begin("prosody.spec_clients.login(...) return true", a);
		server:wait_for("return prosody.spec_waiting.held() >= 1");
		assert.is_true(call("add_member", id, c));
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(login:await());
		assert.same({ [b] = "both"; [c] = "both" }, world.in_memory(server, a));
		world.settle(server);
		assert.same(world.mutual(a, { b, c }, "Login"), world.contacts(server, a));
		assert.same(world.mutual(c, { a, b }, "Login"), world.contacts(server, c));
	end);

	it("lets an account be deleted while it is being added", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Leaving" });
		call("add_member", id, a);
		server:eval("prosody.spec_waiting.hold({ store = 'groups' }) return true");
		local adding = server:begin("return groups.add_member(...)", id, b);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		local deleting = server:begin([[return require "core.usermanager".delete_user(..., host) ~= nil]], b);
		server:eval("prosody.spec_waiting.release() return true");
		adding:result();
		deleting:await();
		world.settle(server);
		assert.same({ [a] = {} }, call("get_members", id));
		assert.same({}, world.contacts(server, a) or {});
	end);

	it("lets a group with the name of a deleted account survive", function ()
		local a, b = accounts(2);
		local id = world.name("ops");
		server:create_user(id);
		call("create", { name = "Ops" }, false, id);
		call("add_member", id, a);
		call("add_member", id, b);
		world.settle(server);
		server:delete_user(id);
		server:wait_for([[
			local sm = require "core.storagemanager";
			return sm.open(host, "group_info", "keyval"):get((...)) and sm.open(host, "groups", "keyval"):get((...)) and true]],
			"the records are back", 20, id);
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		assert.same({ [a] = {}; [b] = {} }, server:stored("groups", id));
	end);

	it("is loaded from at start, while operations and users who come early wait", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Early" });
		call("add_member", id, a);
		call("add_member", id, b, true);
		server:eval([[
			local a = ...;
			local mm = require "core.modulemanager";
			mm.unload(host, "groups_internal");
			prosody.spec_waiting.hold({ store = "group_info" });
			return true]], a);
		local loading = server:begin([[return require "core.modulemanager".load(host, "groups_internal") ~= nil]]);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		world.login(server, a);
		assert.same({}, world.in_memory(server, a));
		-- In a timer there is no waiting; elsewhere there is.
		local exists = server:begin("return hosts[host].modules.groups_internal.exists(...)", id);
		local adding = server:begin([[
			local id, user = ...;
			return hosts[host].modules.groups_internal.add_member(id, user)]], id, "third");
		assert.is_false(exists:done());
		server:eval("prosody.spec_waiting.release() return true");
		assert.is_true(loading:await());
		assert.is_true(exists:await());
		assert.is_true(adding:await());
		server:wait_for([[
			local roster = hosts[host].sessions[(...)].roster;
			return roster[(select(2, ...)).."@"..host] ~= nil]], "the early user has the contact", 10, a, b);
		assert.truthy(world.pushes(server, a)[b]);
		call("sync", id);
		world.settle(server);
		assert.same({ [b] = world.both("Early") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Early") }, world.contacts(server, b));
	end);

	it("is loaded from at a real start", function ()
		local a, b = accounts(2);
		local id = call("create", { name = "Real" }, true);
		call("add_member", id, a);
		call("add_member", id, b);
		server:restart();
		assert.same({ [a] = {}; [b] = {} }, call("get_members", id));
		world.settle(server);
		assert.same({ [b] = world.both("Real") }, world.contacts(server, a));
	end);

	it("left no error in the log", function ()
		for line in server:log_text():gmatch("[^\n]+") do
			assert.falsy(line:find("groups_internal\terror\t", 1, true) and line, line);
			assert.falsy(line:find("C-call boundary", 1, true) and line, line);
		end
	end);
end);
