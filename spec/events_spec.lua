-- What other modules are told, when, and what becomes of it when they fail.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

-- Records events, with what is in storage and in the chats at that moment.
local record = [[
	local recorded = {};
	prosody.spec_events = recorded;
	local stores = { info = module:open_store("group_info"); members = module:open_store("groups") };
	for _, name in ipairs { "group-user-added", "group-user-removed", "group-chat-added", "group-chat-removed",
		"group-created", "group-updated", "group-deleted", "group-chat-renamed" } do
		module:hook(name, function (event)
			local id = event.id or event.group_id;
			local info, members = stores.info:get(id), stores.members:get(id);
			local user = event.user;
			local entry = { name = name; event = {}; stored_name = info and info.name };
			entry.is_stored = members and user and members[user] ~= nil;
			for key, value in pairs(event) do entry.event[key] = value; end
			entry.is_listed = groups.get_members(id)[user or false] ~= nil;
			local muc = hosts["groups.localhost"].modules.muc;
			local jid = event.muc and event.muc.jid or event.group_info.muc_jid
				or event.group_info.mucs and event.group_info.mucs[1];
			local room = jid and muc.get_room_from_jid(jid);
			entry.room = room and not room._data.destroyed and true or false;
			entry.affiliation = room and room:get_affiliation((user or "alice").."@"..host);
			local contacts = hosts[host].roster_cache and hosts[host].roster_cache:get("alice@"..host);
			entry.has_contact = contacts and user and contacts[user.."@"..host] ~= nil;
			recorded[#recorded + 1] = entry;
		end);
	end
	return true]];

describe("events with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	local function events()
		return server:eval("local events = prosody.spec_events; return events");
	end

	local function names()
		local list = {};
		for i, entry in ipairs(events()) do
			list[i] = entry.name..(entry.event.user and " "..entry.event.user or "");
		end
		return list;
	end

	local function forget()
		server:eval("local events = prosody.spec_events; for i = 1, #events do events[i] = nil; end return true");
	end

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob", "carl");
		server:eval(record);
	end);

	teardown(function ()
		server:destroy();
	end);

	before_each(function ()
		call("delete", "g");
		call("create", { name = "G" }, true, "g");
		forget();
	end);

	it("group-user-added comes after storage and affiliation, and before the contact lists", function ()
		call("add_member", "g", "alice");
		server:eval([[require "core.rostermanager".load_roster("alice", host) return true]]);
		forget();
		call("add_member", "g", "bob");
		local entry = events()[1];
		local muc_jid = call("get_info", "g").muc_jid;
		assert.same({ id = "g"; user = "bob"; host = "localhost"; group_info = { name = "G"; muc_jid = muc_jid } },
			entry.event);
		assert.same({ "group-user-added bob" }, names());
		assert.is_true(entry.is_stored);
		assert.is_true(entry.is_listed);
		assert.equal("member", entry.affiliation);
		assert.is_false(entry.has_contact);
		assert.equal("both", world.in_memory(server, "alice").bob);
	end);

	it("group-user-removed comes after storage and affiliation", function ()
		call("add_member", "g", "bob");
		forget();
		call("remove_member", "g", "bob");
		local entry = events()[1];
		assert.same({ "group-user-removed bob" }, names());
		assert.same({ id = "g"; user = "bob"; host = "localhost"; group_info = call("get_info", "g") }, entry.event);
		assert.falsy(entry.is_stored);
		assert.is_false(entry.is_listed);
		assert.is_nil(entry.affiliation);
		assert.is_true(entry.room);
	end);

	it("removing who is no member tells nobody", function ()
		call("remove_member", "g", "bob");
		assert.same({}, names());
	end);

	it("adding a member again tells everybody again", function ()
		call("add_member", "g", "bob");
		call("add_member", "g", "bob");
		call("add_member", "g", "BOB", true);
		assert.same({ "group-user-added bob", "group-user-added bob", "group-user-added bob" }, names());
	end);

	it("group-chat-added names the new chat in group_info, also as the group's first", function ()
		call("create", { name = "H" }, false, "h");
		finally(function () call("delete", "h"); end);
		call("add_member", "h", "alice");
		forget();
		local chat = call("add_group_chat", "h", "First");
		local entry = events()[1];
		assert.same({ "group-chat-added" }, names());
		assert.same({ group_id = "h"; group_info = { name = "H"; mucs = { chat.jid } };
			muc = { jid = chat.jid; name = "First" } }, entry.event);
		assert.is_true(entry.room);
		assert.equal("member", entry.affiliation);
	end);

	it("group-chat-added on a group with the default chat names both, the new one first", function ()
		local muc_jid = call("get_info", "g").muc_jid;
		local chat = call("add_group_chat", "g", "Second");
		assert.same({ group_id = "g"; group_info = { name = "G"; mucs = { chat.jid, muc_jid } };
			muc = { jid = chat.jid; name = "Second" } },
			events()[1].event);
	end);

	it("group-chat-removed says which chat, and which are left", function ()
		local first = call("add_group_chat", "g", "First");
		local second = call("add_group_chat", "g", "Second");
		local muc_jid = call("get_info", "g").mucs[2];
		forget();
		local node = first.jid:match("^[^@]+");
		call("remove_group_chat", "g", node);
		local entry = events()[1];
		assert.same({ "group-chat-removed" }, names());
		assert.same({ group_id = "g"; group_info = { name = "G"; mucs = { muc_jid, second.jid } };
			muc = { id = node; jid = first.jid } }, entry.event);
		assert.is_false(entry.room);
	end);

	it("removing the default chat leaves an empty list in the event", function ()
		local muc_jid = call("get_info", "g").muc_jid;
		call("remove_group_chat", "g", (muc_jid:match("^[^@]+")));
		assert.same({ name = "G"; mucs = {} }, events()[1].event.group_info);
	end);

	it("group-created comes when the group and its chat are in storage", function ()
		call("create", { name = "H" }, true, "h");
		finally(function () call("delete", "h"); end);
		local entry = events()[1];
		assert.same({ "group-created" }, names());
		assert.same({ group_id = "h"; group_info = call("get_info", "h") }, entry.event);
		assert.equal("H", entry.stored_name);
		assert.is_true(entry.room);
	end);

	it("set_info tells of the group, with its old record, and of its default chat", function ()
		local old = call("get_info", "g");
		call("set_info", "g", { name = "Better" });
		local info = call("get_info", "g");
		assert.same({ "group-updated", "group-chat-renamed" }, names());
		assert.same({ group_id = "g"; group_info = info; old_info = old }, events()[1].event);
		assert.equal("Better", events()[1].stored_name);
		assert.same({ group_id = "g"; group_info = info; muc = { jid = info.muc_jid; name = "Better" }; old_name = "G" },
			events()[2].event);
		forget();
		call("set_info", "g", { name = "Better" });
		assert.same({}, names());
	end);

	it("delete tells of every member, with the chats, then of every chat, and then of the group", function ()
		call("add_member", "g", "alice");
		call("add_member", "g", "bob");
		local chat = call("add_group_chat", "g", "More");
		local info = call("get_info", "g");
		forget();
		call("delete", "g");
		local list = names();
		table.sort(list, function (a, b) return a > b; end);
		assert.same({ "group-user-removed bob", "group-user-removed alice", "group-deleted", "group-chat-removed",
			"group-chat-removed" }, list);
		local told = events();
		for i = 1, 2 do
			assert.equal("group-user-removed", told[i].name);
			assert.same(info, told[i].event.group_info);
			assert.equal("localhost", told[i].event.host);
			assert.is_nil(told[i].stored_name);
		end
		assert.equal("group-deleted", told[5].name);
		assert.same({ group_id = "g"; group_info = { name = "G"; mucs = {} } }, told[5].event);
		assert.is_nil(told[5].stored_name);
		local gone = {};
		for i = 3, 4 do
			assert.equal("group-chat-removed", told[i].name);
			assert.equal("G", told[i].event.group_info.name);
			assert.equal("g", told[i].event.group_id);
			gone[told[i].event.muc.jid] = told[i].event.muc.id;
			assert.is_false(told[i].room);
		end
		assert.same({ [chat.jid] = chat.jid:match("^[^@]+"); [info.mucs[2]] = info.mucs[2]:match("^[^@]+") }, gone);
	end);

	it("emit_member_events tells of each member as if just added", function ()
		call("add_member", "g", "alice");
		call("add_member", "g", "bob");
		forget();
		call("emit_member_events", "g");
		local list = names();
		table.sort(list);
		assert.same({ "group-user-added alice", "group-user-added bob" }, list);
		assert.same(call("get_info", "g"), events()[1].event.group_info);
	end);

	it("handlers get a copy that is theirs", function ()
		server:eval([[
			prosody.spec_seen = {};
			prosody.spec_handler = function (event)
				table.insert(prosody.spec_seen, { event.group_info.name, event.group_info.muc_jid });
				event.group_info.name = "broken"; event.group_info.muc_jid = nil;
			end
			module:hook("group-user-added", prosody.spec_handler, 10)
			return true]]);
		finally(function () server:eval([[module:unhook("group-user-added", prosody.spec_handler) return true]]); end);
		local info = call("get_info", "g");
		call("add_members", "g", { "alice", "bob" });
		local whole = { info.name, info.muc_jid };
		assert.same({ whole, whole }, server:eval("return prosody.spec_seen"));
		assert.same(info, call("get_info", "g"));
		assert.same(info, server:stored("group_info", "g"));
	end);

	it("a handler that throws is logged with its traceback, and the operation goes on", function ()
		server:eval([[
			prosody.spec_handler = function (event) error("handler is broken on "..(event.id or event.group_id)); end
			for _, name in ipairs { "group-user-added", "group-user-removed", "group-chat-added", "group-chat-removed" } do
				module:hook(name, prosody.spec_handler, 10);
			end
			return true]]);
		finally(function ()
			server:eval([[
				for _, name in ipairs { "group-user-added", "group-user-removed", "group-chat-added", "group-chat-removed" } do
					module:unhook(name, prosody.spec_handler);
				end
				return true]]);
		end);
		local mark = server:log_mark();
		assert.is_true(call("add_member", "g", "alice"));
		assert.is_true(call("add_member", "g", "bob"));
		server:wait_for_log("error[^\n]*handler is broken on g[^\n]*\n?[^\n]*stack traceback", mark);
		world.settle(server);
		assert.equal(world.both("G"), world.contacts(server, "alice").bob);
		assert.equal(world.both("G"), world.contacts(server, "bob").alice);
		local chat = call("add_group_chat", "g", "Chat");
		assert.equal(2, #call("get_info", "g").mucs);
		assert.is_true(call("remove_group_chat", "g", (chat.jid:match("^[^@]+"))));
		assert.is_true(call("emit_member_events", "g"));
		assert.is_true(call("remove_member", "g", "alice"));
		assert.is_true(call("emit_member_events", "g"));
		assert.is_true(call("delete", "g"));
		local _, count = server:log_text(mark):gsub("handler is broken on g", "");
		assert.is_true(count >= 10, "only "..count.." failures were logged");
	end);

	it("a handler may add members to the same group, wait, and look at it", function ()
		server:eval([[
			local async, timer = require "util.async", require "util.timer";
			prosody.spec_handler = function (event)
				local wait, done = async.waiter();
				timer.add_task(0.01, function () done(); end);
				wait();
				if event.user == "alice" then
					prosody.spec_answer = { groups.add_member(event.id, "bob"), groups.add_member(event.id, "alice", true) ~= nil };
				end
			end
			local nested;
			local handler = prosody.spec_handler;
			prosody.spec_handler = function (event)
				if nested then return; end
				nested = true;
				handler(event);
				nested = false;
			end
			module:hook("group-user-added", prosody.spec_handler, 10)
			return true]]);
		finally(function () server:eval([[module:unhook("group-user-added", prosody.spec_handler) return true]]); end);
		assert.is_true(call("add_member", "g", "alice"));
		assert.same({ true, true }, server:eval("return prosody.spec_answer"));
		assert.same({ alice = {}; bob = {} }, server:stored("groups", "g"));
		world.settle(server);
		assert.equal(world.both("G"), world.contacts(server, "bob").alice);
	end);

	it("a handler may delete the group that it is told of", function ()
		server:eval([[
			prosody.spec_handler = function (event) groups.delete(event.id); end
			module:hook("group-user-added", prosody.spec_handler, 10)
			return true]]);
		finally(function () server:eval([[module:unhook("group-user-added", prosody.spec_handler) return true]]); end);
		assert.is_true(call("add_member", "g", "carl"));
		assert.is_false(call("exists", "g"));
		assert.is_nil(server:stored("groups", "g"));
		assert.is_nil(server:stored("group_info", "g"));
	end);

	it("a handler that stops an event does not stop the operation", function ()
		server:eval([[
			prosody.spec_handler = function () return false; end
			module:hook("group-user-added", prosody.spec_handler, 10)
			return true]]);
		finally(function () server:eval([[module:unhook("group-user-added", prosody.spec_handler) return true]]); end);
		call("create", { name = "Stopped" }, false, "stopped");
		assert.is_true(call("add_member", "stopped", "alice"));
		assert.is_true(call("add_member", "stopped", "carl"));
		world.settle(server);
		assert.equal(world.both("Stopped"), world.contacts(server, "carl").alice);
	end);
end);
