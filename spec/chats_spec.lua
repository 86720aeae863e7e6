-- The rooms that groups have: how they are made, who is let in, and what happens when the chat host is not as it should
-- be.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("group chats with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- What Lua source says of a room, in which it is `room`.
	local function room(jid, source)
		return server:eval([[
			local jid = ...;
			local room = hosts["groups.localhost"].modules.muc.get_room_from_jid(jid);
			]]..source, jid);
	end

	local function affiliation(jid, user)
		return room(jid, ("return room:get_affiliation(%q)"):format(user.."@localhost"));
	end

	local function node(jid) return (jid:match("^[^@]+")); end

	local function new_group(with_chat)
		local id = world.name("group");
		call("create", { name = id:upper() }, with_chat or false, id);
		return id;
	end

	-- Notes invitations on their way, and lets a spec say who is refused an affiliation.
	local function watch()
		server:eval([[
			prosody.spec_invites, prosody.spec_refused = {}, {};
			module:hook("message/bare", function (event)
				local x = event.stanza:get_child("x", "jabber:x:conference");
				local mediated = event.stanza:get_child("x", "http://jabber.org/protocol/muc#user");
				if x and mediated then
					local list = prosody.spec_invites;
					local attr, invite = event.stanza.attr, mediated:get_child("invite");
					list[#list + 1] = { to = attr.to; from = attr.from; jid = x.attr.jid; type = attr.type;
						by = invite.attr.from; reason = x.attr.reason == invite:get_child_text("reason") and x.attr.reason };
				end
			end, 100);
			module:context("groups.localhost"):hook("muc-pre-set-affiliation", function (event)
				if prosody.spec_refused[event.jid] then event.allowed = false; return true; end
			end, 100);
			return true]]);
	end

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob");
		watch();
	end);

	teardown(function ()
		server:destroy();
	end);

	local function invites()
		return server:eval("local list = prosody.spec_invites; prosody.spec_invites = {}; return list");
	end

	it("have rooms made as promised", function ()
		local id = new_group(true);
		local default, other = call("get_info", id).muc_jid, call("add_group_chat", id, "Other").jid;
		for jid, name in pairs { [default] = id:upper(); [other] = "Other" } do
			assert.same({ hidden = true; persistent = true; members_only = true; invites = false; moderated = false;
				whois = "anyone"; name = name },
				room(jid, [[return {
					hidden = room:get_hidden(); persistent = room:get_persistent(); members_only = room:get_members_only();
					invites = not not room:get_allow_member_invites(); moderated = not not room:get_moderated();
					whois = room:get_whois(); name = room:get_name();
				}]]));
			assert.equal(jid, server:eval([[return require "util.jid".prep(...)]], jid));
			assert.equal("groups.localhost", jid:match("@(.*)$"));
		end
		assert.not_equal(default, other);
	end);

	it("are in storage when the call returns, with the group", function ()
		local id = new_group(true);
		call("add_member", id, "alice");
		local other = call("add_group_chat", id, "Other").jid;
		local muc_jid = call("get_info", id).mucs[2];
		server:kill();
		server:start();
		for _, jid in ipairs { other, muc_jid } do
			assert.is_true(room(jid, "return room ~= nil"), jid);
			assert.is_true(room(jid, "return room:get_members_only() and room:get_persistent() and room:get_hidden()"));
		end
		world.settle(server);
		for _, jid in ipairs { other, muc_jid } do
			assert.equal("member", affiliation(jid, "alice"));
		end
		assert.equal("Other", call("get_group_chats", id)[1].name);
		watch();
	end);

	-- The marker names the group, so that the next start does what was not saved.
	it("have whom they should have after a kill that came right after a call", function ()
		local id = new_group(true);
		local jid = call("get_info", id).muc_jid;
		call("add_member", id, "bob");
		call("add_member", id, "carl");
		world.settle(server);
		server:try_eval([[
			local id, pid = ...;
			assert(groups.add_member(id, "alice"));
			assert(groups.remove_member(id, "bob"));
			os.execute("kill -9 "..pid)]], id, server.pid);
		server:kill();
		server:start();
		local stored = [[
			local data = require "core.storagemanager".open("groups.localhost", "config", "keyval"):get(...);
			local affiliations = data._affiliations or data;
			return (affiliations["alice@localhost"] or "-").." "..(affiliations["bob@localhost"] or "-").." "
				..(affiliations["carl@localhost"] or "-")]];
		-- Nobody has asked for the room.
		server:wait_for("return (function (...) "..stored.." end)(...) == 'member - member'", "the room is saved", 10,
			node(jid));
		world.settle(server);
		assert.is_nil(world.marker(server).rooms);
		watch();
	end);

	it("let members in, and out again", function ()
		local id = new_group(true);
		local other = call("add_group_chat", id, "Other").jid;
		local muc_jid = call("get_info", id).mucs[2];
		call("add_member", id, "alice");
		assert.equal("member", affiliation(muc_jid, "alice"));
		assert.equal("member", affiliation(other, "alice"));
		call("remove_member", id, "alice");
		assert.is_nil(affiliation(muc_jid, "alice"));
		assert.is_nil(affiliation(other, "alice"));
	end);

	it("have readable ids that differ where names do not", function ()
		local first = call("create", { name = "Book Club!" }, true);
		local second = call("create", { name = "Book Club!" }, true);
		local other = call("create", { name = "@" }, true);
		assert.equal("book-club@groups.localhost", call("get_info", first).muc_jid);
		assert.truthy(call("get_info", second).muc_jid:match("^book%-club%-%w+@groups%.localhost$"));
		assert.truthy(call("get_info", other).muc_jid:match("^[%w_-]+@groups%.localhost$"));
	end);

	it("invite members by a message from the room to the bare JID that names the group and the chat", function ()
		local id = new_group(true);
		local muc_jid = call("get_info", id).muc_jid;
		invites();
		call("add_member", id, "alice");
		local reason = ("You are a member of %s. This is the chat %s."):format(id:upper(), id:upper());
		local function invitation(user)
			return { to = user.."@localhost"; from = muc_jid; jid = muc_jid; by = "localhost"; reason = reason };
		end
		local alice = invitation("alice");
		assert.same({ alice }, invites());
		call("add_member", id, "alice");
		assert.same({ alice }, invites());
		call("add_member", id, "bob", true);
		assert.same({ invitation("bob") }, invites());
		local other = call("add_group_chat", id, "Other").jid;
		local told = {};
		server:wait_for("return #prosody.spec_invites == 2");
		for _, invite in ipairs(invites()) do told[invite.to] = invite.jid; end
		assert.same({ ["alice@localhost"] = other; ["bob@localhost"] = other }, told);
	end);

	it("of a group that has one are upgraded by the next, the new one first", function ()
		local id = new_group(true);
		local default = call("get_info", id).muc_jid;
		local other = call("add_group_chat", id, "Other").jid;
		assert.same({ name = id:upper(); mucs = { other, default } }, call("get_info", id));
		assert.same({ name = id:upper(); mucs = { other, default } }, server:stored("group_info", id));
		local third = call("add_group_chat", id, "Third").jid;
		assert.same({ other, default, third }, server:stored("group_info", id).mucs);
		assert.same({ "Other", id:upper(), "Third" }, server:eval([[
			local names = {};
			for i, chat in ipairs(groups.get_group_chats(...)) do names[i] = chat.name; end
			return names]], id));
	end);

	it("are destroyed when removed, also the default one", function ()
		local id = new_group(true);
		local default = call("get_info", id).muc_jid;
		local other = call("add_group_chat", id, "Other").jid;
		call("remove_group_chat", id, node(other));
		assert.same({ default }, server:stored("group_info", id).mucs);
		assert.is_true(room(other, "return not room or room._data.destroyed ~= nil"));
		call("remove_group_chat", id, node(default));
		assert.same({ name = id:upper(); mucs = {} }, server:stored("group_info", id));
		local single = new_group(true);
		call("remove_group_chat", single, node(call("get_info", single).muc_jid));
		assert.same({ name = single:upper(); mucs = {} }, call("get_info", single));
		assert.same({}, call("get_group_chats", single));
	end);

	it("whose rooms are gone are listed as deleted, and dropped when a member is added", function ()
		local id = new_group(true);
		local kept = call("add_group_chat", id, "Kept").jid;
		local gone = call("add_group_chat", id, "Gone").jid;
		room(gone, "room:destroy() return true");
		local chats = call("get_group_chats", id);
		assert.equal(3, #chats);
		assert.same({ id = node(gone); jid = gone; name = id:upper(); deleted = true }, chats[3]);
		assert.is_nil(chats[1].deleted);
		local default = chats[2].jid;
		call("add_member", id, "alice");
		assert.same({ kept, default }, call("get_info", id).mucs);
		assert.same({ kept, default }, server:stored("group_info", id).mucs);
		assert.equal("member", affiliation(kept, "alice"));
	end);

	it("forgotten by the chat host are deleted, too", function ()
		local id = new_group(false);
		local gone = call("add_group_chat", id, "Gone").jid;
		room(gone, [[
			local muc = hosts["groups.localhost"].modules.muc;
			muc.forget_room(room); muc.delete_room(room) return true]]);
		assert.is_true(call("get_group_chats", id)[1].deleted);
		assert.is_true(call("delete", id));
	end);

	it("keep affiliations that were given by hand", function ()
		local id = new_group(true);
		local jid = call("get_info", id).muc_jid;
		room(jid, [[
			room:set_affiliation(true, "alice@localhost", "owner");
			room:set_affiliation(true, "bob@localhost", "outcast");
			return true]]);
		call("add_member", id, "alice");
		call("add_member", id, "bob");
		assert.equal("owner", affiliation(jid, "alice"));
		assert.equal("outcast", affiliation(jid, "bob"));
	end);

	it("heal when a member is added again", function ()
		local id = new_group(true);
		local jid = call("get_info", id).muc_jid;
		call("add_member", id, "alice");
		room(jid, [[return room:set_affiliation(true, "alice@localhost", nil)]]);
		assert.is_nil(affiliation(jid, "alice"));
		call("add_member", id, "alice");
		assert.equal("member", affiliation(jid, "alice"));
	end);

	it("of a group of 50 are saved once for all the members, and once for a burst of changes", function ()
		local id = new_group(false);
		server:eval([[
			local id = ...;
			for i = 1, 50 do assert(groups.add_member(id, "member"..i, true)); end
			return true]], id);
		local saves = server:eval([[
			local id = ...;
			local muc = hosts["groups.localhost"].modules.muc;
			local create_room, counts = muc.create_room, {};
			local wrapped;
			function muc.create_room(...)
				local room = create_room(...);
				local save = room.save;
				function wrapped(...)
					local affiliations = 0;
					for _ in room:each_affiliation() do affiliations = affiliations + 1; end
					counts[#counts + 1] = affiliations;
					return save(...);
				end
				room.save = wrapped;
				return room;
			end
			local chat = groups.add_group_chat(id, "Chat");
			muc.create_room = create_room;
			local created = counts;
			counts = {};
			groups.add_member(id, "late", true);
			for i = 1, 10 do groups.add_member(id, "late"..i, true); end
			groups.remove_member(id, "late");
			prosody.spec_saves = counts;
			return { created, counts, muc.get_room_from_jid(chat.jid).save == wrapped }]], id);
		local with_all, before = 0, 0;
		for _, affiliations in ipairs(saves[1]) do
			if affiliations == 50 then with_all = with_all + 1; else before = before + (affiliations > 0 and 1 or 0); end
		end
		assert.same({ 1, 0 }, { with_all, before });
		assert.same({ {}, true }, { saves[2], saves[3] });
		server:wait_for("return prosody.spec_saves[1] ~= nil", "the room is saved", 5);
		assert.same({ 60 }, server:eval("return prosody.spec_saves"));
	end);

	it("are saved by others as ever while, and after, the affiliations of one are being set", function ()
		local id = new_group(true);
		local jid = call("get_info", id).muc_jid;
		-- Handlers that wait, and one that never comes back.
		server:eval([[
			local async = require "util.async";
			prosody.spec_go_on = {};
			prosody.spec_wait = function (event)
				local wait, done = async.waiter();
				prosody.spec_go_on[event.jid] = done;
				wait();
			end
			module:context("groups.localhost"):hook("muc-set-affiliation", prosody.spec_wait, 100);
			return true]]);
		local adding = {};
		for _, user in ipairs { "alice", "never", "bob" } do
			adding[user] = server:begin("return groups.add_member(...)", id, user);
			server:wait_for("return prosody.spec_go_on[...] ~= nil", nil, 10, user.."@localhost");
		end
		server:eval([[module:context("groups.localhost"):unhook("muc-set-affiliation", prosody.spec_wait) return true]]);
		local stored_name = [[
			local configs = require "core.storagemanager".open("groups.localhost", "config", "keyval");
			return configs:get(...)._data.name]];
		assert.is_true(room(jid, "room:set_name('While'); return room:save(true) and true"));
		assert.equal("While", server:eval(stored_name, node(jid)));
		for _, user in ipairs { "alice", "bob" } do
			server:eval("prosody.spec_go_on[...]() return true", user.."@localhost");
			assert.is_true(adding[user]:await());
		end
		assert.is_true(room(jid, "room:set_name('After'); return room:save(true) and true"));
		assert.equal("After", server:eval(stored_name, node(jid)));
		assert.same({ "member", "member" }, server:eval([[
			local affiliations = require "core.storagemanager".open("groups.localhost", "config", "keyval"):get(...);
			return { affiliations["alice@localhost"], affiliations["bob@localhost"] };]], node(jid)));
	end);

	it("report with room and user who is refused an affiliation, and let the others in", function ()
		local id = new_group(false);
		call("add_member", id, "alice");
		call("add_member", id, "bob");
		server:eval([[prosody.spec_refused["bob@localhost"] = true return true]]);
		finally(function () server:eval([[prosody.spec_refused = {} return true]]); end);
		local mark = server:log_mark();
		local jid = call("add_group_chat", id, "Strict").jid;
		assert.truthy(jid);
		assert.equal("member", affiliation(jid, "alice"));
		assert.is_nil(affiliation(jid, "bob"));
		local line = server:log_text(mark):match("[^\n]*warn[^\n]*"..node(jid):gsub("%p", "%%%0").."[^\n]*");
		assert.truthy(line and line:find("bob", 1, true), line);
		assert.falsy(line:find("alice", 1, true), line);
		server:eval([[prosody.spec_refused = {} return true]]);
		call("add_member", id, "bob");
		assert.equal("member", affiliation(jid, "bob"));
	end);

	it("do not fail for users who are no members of the room, nor for a veto of the room's end", function ()
		local id = new_group(true);
		local jid = call("get_info", id).muc_jid;
		server:eval([[
			prosody.spec_veto = function () return true; end
			module:context("groups.localhost"):hook("muc-room-pre-destroy", prosody.spec_veto);
			return true]]);
		finally(function ()
			server:eval([[module:context("groups.localhost"):unhook("muc-room-pre-destroy", prosody.spec_veto) return true]]);
		end);
		assert.is_true(call("remove_group_chat", id, node(jid)));
		assert.same({}, call("get_info", id).mucs);
	end);
end);
