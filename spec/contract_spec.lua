-- What the functions return, whatever they are given.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local function pack(...) return table.pack(...); end

describe("with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob");
	end);

	teardown(function ()
		server:destroy();
	end);

	local function call(...) return server:call(...); end

	-- The packed results of a call, so that a nil more or less is seen.
	local function results(...) return pack(call(...)); end

	describe("create", function ()
		it("returns the id it was given, and stores the group as documented", function ()
			assert.same(pack("given"), results("create", { name = "Given" }, false, "given"));
			assert.same({ name = "Given" }, server:stored("group_info", "given"));
			assert.is_nil(server:stored("groups", "given"));
		end);

		it("makes an id of its own when none is given", function ()
			local first, second = call("create", { name = "Same" }), call("create", { name = "Same" });
			assert.is_string(first);
			assert.not_equal(first, second);
			assert.equal(#server:eval([[return require "util.id".short()]]), #first);
			assert.same({ name = "Same" }, server:stored("group_info", first));
		end);

		it("keeps the case of a given id", function ()
			assert.equal("CaSe", call("create", { name = "x" }, false, "CaSe"));
			assert.equal("case", call("create", { name = "y" }, false, "case"));
			assert.same({ name = "x" }, call("get_info", "CaSe"));
			assert.is_false(call("exists", "CASE"));
		end);

		it("answers group-name-required without a name", function ()
			for _, info in ipairs { {}, { name = "" }, { name = 7 }, { name = {} }, { name = true }, "name", 7, true } do
				assert.same(pack(nil, "group-name-required"), results("create", info, false, "unnamed"));
			end
			assert.same(pack(nil, "group-name-required"), results("create", nil, false, "unnamed"));
			assert.same(pack(nil, "group-name-required"), results("create"));
			assert.is_false(call("exists", "unnamed"));
		end);

		it("answers conflict for an id that is taken, and leaves the group as it is", function ()
			call("create", { name = "First" }, false, "taken");
			call("add_member", "taken", "alice");
			assert.same(pack(nil, "conflict"), results("create", { name = "Second" }, true, "taken"));
			assert.same({ name = "First" }, call("get_info", "taken"));
			assert.same({ alice = {} }, server:stored("groups", "taken"));
		end);

		it("takes no notice of what else is in the info, nor of what becomes of it", function ()
			assert.is_true(server:eval([[
				local info = { name = "Plain", muc_jid = "a@b", mucs = { "c@d" }, colour = "red" };
				groups.create(info, false, "plain");
				info.name = "Changed";
				return groups.get_info("plain").name == "Plain"]]));
			assert.same({ name = "Plain" }, server:stored("group_info", "plain"));
		end);
	end);

	describe("get_info", function ()
		it("returns nil for an unknown group", function ()
			assert.same(pack(nil), results("get_info", "unknown"));
		end);

		it("returns a fresh table each time", function ()
			call("create", { name = "Fresh" }, true, "fresh");
			call("add_group_chat", "fresh", "More");
			assert.is_true(server:eval([[
				local a, b = groups.get_info("fresh"), groups.get_info("fresh");
				assert(a ~= b and a.mucs ~= b.mucs);
				a.name, a.muc_jid = "broken", "broken@broken";
				a.mucs[1], a.mucs[3] = nil, "x";
				local c = groups.get_info("fresh");
				return c.name == "Fresh" and c.muc_jid == nil and #c.mucs == 2 and c.mucs[1] == b.mucs[1] ]]));
		end);

		it("shows the default chat as muc_jid", function ()
			local id = call("create", { name = "Chatty" }, true);
			local info = call("get_info", id);
			assert.truthy(info.muc_jid:match("^[^@]+@groups%.localhost$"));
			assert.same({ name = "Chatty"; muc_jid = info.muc_jid }, info);
			assert.same(info, server:stored("group_info", id));
		end);
	end);

	describe("set_info", function ()
		before_each(function ()
			call("delete", "renamed");
			call("create", { name = "Old" }, true, "renamed");
		end);

		it("changes the name, in memory and in storage, and nothing else", function ()
			local muc_jid = call("get_info", "renamed").muc_jid;
			assert.same(pack(true), results("set_info", "renamed", { name = "New" }));
			assert.same({ name = "New"; muc_jid = muc_jid }, call("get_info", "renamed"));
			assert.same({ name = "New"; muc_jid = muc_jid }, server:stored("group_info", "renamed"));
		end);

		it("does not let chats be changed", function ()
			local muc_jid = call("get_info", "renamed").muc_jid;
			assert.same(pack(true), results("set_info", "renamed",
				{ name = "New"; muc_jid = "a@b"; mucs = { "c@d" }; colour = "red" }));
			assert.same({ name = "New"; muc_jid = muc_jid }, server:stored("group_info", "renamed"));
		end);

		it("works as its callers use it: on a changed result of get_info", function ()
			assert.is_true(server:eval([[
				local info = groups.get_info("renamed");
				info.name = "Mutated";
				return groups.set_info("renamed", info)]]));
			assert.equal("Mutated", call("get_info", "renamed").name);
		end);

		it("answers bad-request without a name, and group-not-found for an unknown group", function ()
			for _, info in ipairs { {}, { name = "" }, { name = 7 }, "name", 7, true } do
				assert.same(pack(nil, "bad-request"), results("set_info", "renamed", info));
			end
			assert.same(pack(nil, "bad-request"), results("set_info", "renamed"));
			assert.same(pack(nil, "group-not-found"), results("set_info", "unknown", { name = "New" }));
			assert.equal("Old", call("get_info", "renamed").name);
		end);

		it("gives the default chat's room the new name", function ()
			local muc_jid = call("get_info", "renamed").muc_jid;
			local mark = server:log_mark();
			call("set_info", "renamed", { name = "Neu" });
			assert.falsy(server:log_text(mark):find("\twarn\t", 1, true));
			assert.equal("Neu", server:eval([[
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):get_name()]], muc_jid));
		end);
	end);

	describe("get_members", function ()
		it("returns a table of tables keyed by username, {} for an unknown or empty group", function ()
			call("create", { name = "M" }, false, "members");
			assert.equal("{}", server:eval([[return require "util.json".encode(groups.get_members("members"))]]));
			assert.equal("{}", server:eval([[return require "util.json".encode(groups.get_members("unknown"))]]));
			call("add_member", "members", "alice");
			call("add_member", "members", "nobody");
			assert.same({ alice = {}; nobody = {} }, call("get_members", "members"));
			local json = server:eval([[return require "util.json".encode(groups.get_members("members"))]]);
			assert.truthy(json:find('"alice":{}', 1, true));
		end);

		it("returns a fresh table each time", function ()
			assert.is_true(server:eval([[
				groups.create({ name = "M" }, false, "copied");
				groups.add_member("copied", "alice");
				local members = groups.get_members("copied");
				members.alice.changed = true;
				members.alice, members.bob = nil, {};
				members = groups.get_members("copied");
				return members.alice ~= nil and next(members.alice) == nil and members.bob == nil]]));
		end);
	end);

	it("exists answers a real boolean", function ()
		call("create", { name = "E" }, false, "existing");
		assert.same(pack(true), results("exists", "existing"));
		assert.same(pack(false), results("exists", "unknown"));
		assert.same(pack(false), results("exists"));
		call("delete", "existing");
		assert.same(pack(false), results("exists", "existing"));
	end);

	describe("get_user_groups", function ()
		it("returns an array of ids, {} for a user in no group", function ()
			assert.same({}, call("get_user_groups", "lonely"));
			call("create", { name = "1" }, false, "one");
			call("create", { name = "2" }, false, "two");
			call("add_member", "one", "joiner");
			assert.same({ "one" }, call("get_user_groups", "joiner"));
			call("add_member", "two", "joiner");
			local ids = call("get_user_groups", "joiner");
			table.sort(ids);
			assert.same({ "one", "two" }, ids);
			call("remove_member", "one", "joiner");
			assert.same({ "two" }, call("get_user_groups", "joiner"));
			call("delete", "two");
			assert.same({}, call("get_user_groups", "joiner"));
		end);

		it("takes the name as XMPP does", function ()
			call("create", { name = "U" }, false, "upper");
			call("add_member", "upper", "lower");
			assert.same({ "upper" }, call("get_user_groups", "LoWeR"));
		end);
	end);

	describe("delete", function ()
		it("removes the group from memory and storage, with its chats", function ()
			call("create", { name = "D" }, true, "deleted");
			call("add_member", "deleted", "alice");
			call("add_group_chat", "deleted", "More");
			local chats = call("get_group_chats", "deleted");
			assert.equal(2, #chats);
			assert.same(pack(true), results("delete", "deleted"));
			assert.is_false(call("exists", "deleted"));
			assert.same({}, call("get_members", "deleted"));
			assert.is_nil(server:stored("group_info", "deleted"));
			assert.is_nil(server:stored("groups", "deleted"));
			for _, chat in ipairs(chats) do
				assert.is_true(server:eval([[
					local room = hosts["groups.localhost"].modules.muc.get_room_from_jid(...);
					return not room or room._data.destroyed and true]], chat.jid));
			end
			assert.same(pack(nil, "group-not-found"), results("delete", "deleted"));
		end);

		it("leaves the id free for another group", function ()
			call("create", { name = "D" }, false, "again");
			call("add_member", "again", "alice");
			call("delete", "again");
			assert.equal("again", call("create", { name = "E" }, false, "again"));
			assert.same({}, call("get_members", "again"));
		end);
	end);

	describe("add_member and remove_member", function ()
		before_each(function ()
			call("delete", "m");
			call("create", { name = "M" }, false, "m");
		end);

		it("store the member as documented, for keyval and map readers", function ()
			assert.same(pack(true), results("add_member", "m", "alice"));
			assert.same(pack(true), results("add_member", "m", "bob", true));
			assert.same(pack(true), results("add_member", "m", "carl", "false"));
			assert.same({ alice = {}; bob = {}; carl = {} }, server:stored("groups", "m"));
			assert.same({}, server:stored("groups", "m", "bob"));
			assert.same(pack(true), results("remove_member", "m", "bob"));
			assert.same({ alice = {}; carl = {} }, server:stored("groups", "m"));
			call("remove_member", "m", "alice");
			call("remove_member", "m", "carl");
			assert.is_nil(server:stored("groups", "m"));
		end);

		it("answer true when there is nothing to do", function ()
			call("add_member", "m", "alice");
			assert.same(pack(true), results("add_member", "m", "alice"));
			assert.same({ alice = {} }, server:stored("groups", "m"));
			assert.same(pack(true), results("remove_member", "m", "bob"));
			assert.same(pack(true), results("remove_member", "m", "neverseen"));
		end);

		it("answer group-not-found for an unknown group", function ()
			assert.same(pack(nil, "group-not-found"), results("add_member", "unknown", "alice"));
			assert.same(pack(nil, "group-not-found"), results("remove_member", "unknown", "alice"));
			assert.is_nil(server:stored("groups", "unknown"));
		end);

		it("normalise usernames as XMPP does", function ()
			call("add_member", "m", "ALICE");
			call("add_member", "m", "Alice");
			call("add_member", "m", "STRAßE");
			assert.same({ alice = {}; strasse = {} }, call("get_members", "m"));
			assert.same({ alice = {}; strasse = {} }, server:stored("groups", "m"));
			call("remove_member", "m", "aLICE");
			assert.same({ strasse = {} }, server:stored("groups", "m"));
		end);
	end);

	it("sync returns nothing, whatever the id", function ()
		assert.same(pack(), results("sync", "unknown"));
		assert.same(pack(), results("sync"));
		call("create", { name = "S" }, false, "synced");
		assert.same(pack(), results("sync", "synced"));
	end);

	it("emit_member_events answers true, or false and an error", function ()
		call("create", { name = "S" }, false, "emitting");
		assert.same(pack(true), results("emit_member_events", "emitting"));
		assert.same(pack(false, "group-not-found"), results("emit_member_events", "unknown"));
	end);

	describe("chats", function ()
		it("are added with a jid and a name, and listed", function ()
			call("create", { name = "C" }, false, "chats");
			assert.equal("[]", server:eval([[return require "util.json".encode(groups.get_group_chats("chats"))]]));
			local chat = call("add_group_chat", "chats", "Böards & Co");
			assert.same({ jid = chat.jid; name = "Böards & Co" }, chat);
			assert.same({ { id = chat.jid:match("^[^@]+"); jid = chat.jid; name = "Böards & Co" } },
				call("get_group_chats", "chats"));
			assert.same(pack(true), results("remove_group_chat", "chats", (chat.jid:match("^[^@]+"))));
			assert.same({}, call("get_group_chats", "chats"));
			assert.equal("[]", server:eval([[return require "util.json".encode(groups.get_group_chats("chats"))]]));
		end);

		it("of an unknown group are nil", function ()
			assert.same(pack(nil), results("get_group_chats", "unknown"));
			assert.same(pack(nil, "group-not-found"), results("add_group_chat", "unknown", "Chat"));
			assert.same(pack(nil, "group-not-found"), results("remove_group_chat", "unknown", "room"));
		end);

		it("that the group does not have are no failure to remove, but leave a warning", function ()
			call("create", { name = "C" }, true, "nochat");
			local mark = server:log_mark();
			assert.same(pack(true), results("remove_group_chat", "nochat", "stranger"));
			server:wait_for_log("warn[^\n]*nochat[^\n]*stranger", mark);
			assert.equal(1, #call("get_group_chats", "nochat"));
		end);
	end);

	it("groups() is a table of id to info and an iterator of the same", function ()
		local seen = server:eval([[
			for id in pairs(groups.groups()) do groups.delete(id); end
			groups.create({ name = "A" }, false, "a");
			groups.create({ name = "B" }, true, "b");
			local result = { select("#", groups.groups()), {}, {}, {} };
			for id, info in pairs(groups.groups()) do result[2][id] = info.name; end
			for id, info in groups.groups() do result[3][id] = info.name; end
			for id in groups.groups() do result[4][id] = type(groups.groups()[id].muc_jid); end
			groups.groups().a.name = "broken";
			groups.groups().b = nil;
			result[5] = groups.groups().a.name..groups.groups().b.name;
			return result]]);
		assert.same({ 1, { a = "A"; b = "B" }, { a = "A"; b = "B" }, { a = "nil"; b = "string" }, "AB" }, seen);
	end);
end);
