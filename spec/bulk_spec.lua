-- Many members at once, descriptions, and groups whose members stay out of the chats.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("lists of members with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- Counts what is fired and saved from now on.
	local function watch()
		server:eval([[
			local seen = { added = {}; removed = {}; saves = 0 };
			if not prosody.spec_seen then
				module:hook("group-user-added", function (event) table.insert(prosody.spec_seen.added, event.user); end);
				module:hook("group-user-removed", function (event) table.insert(prosody.spec_seen.removed, event.user); end);
			end
			prosody.spec_seen = seen;
			return true]]);
	end

	local function seen()
		return server:eval([[
			table.sort(prosody.spec_seen.added);
			table.sort(prosody.spec_seen.removed);
			return prosody.spec_seen]]);
	end

	local function count_room_saves(jid)
		server:eval([[
			local muc = hosts["groups.localhost"].modules.muc;
			local room = muc.get_room_from_jid(...);
			local save = room.save;
			function room.save(...) prosody.spec_seen.saves = prosody.spec_seen.saves + 1; return save(...); end
			return true]], jid);
	end

	local function affiliation(jid, user)
		return server:eval([[return hosts["groups.localhost"].modules.muc.get_room_from_jid((...))
			:get_affiliation((select(2, ...)).."@localhost")]], jid, user);
	end

	-- Who was invited since the last call, by bare JID.
	local function invited()
		return server:eval([[
			local list = prosody.spec_invited;
			prosody.spec_invited = {};
			table.sort(list);
			return list]]);
	end

	setup(function ()
		server = world.new();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("are added with an event for each, one save of the room, and full contact lists", function ()
		local users = { world.accounts(server, 12) };
		local id = call("create", { name = "Choir" }, true);
		local room = call("get_info", id).muc_jid;
		watch();
		count_room_saves(room);
		assert.is_true(call("add_members", id, users));
		world.settle(server);
		table.sort(users);
		local all = seen();
		assert.same(users, all.added);
		assert.equal(1, all.saves);
		for _, user in ipairs(users) do
			assert.equal("member", affiliation(room, user));
			assert.same(world.mutual(user, users, "Choir"), world.contacts(server, user));
		end
	end);

	it("are set by difference and removed as a list", function ()
		local a, b, c, d = world.accounts(server, 4);
		local id = world.group(server, "Band", { a, b });
		watch();
		assert.is_true(call("set_members", id, { b, c:upper(), d }));
		assert.same({ added = { c, d }; removed = { a }; saves = 0 }, seen());
		assert.same({ b, c, d }, world.members(server, id));
		watch();
		assert.is_true(call("set_members", id, { d, c, b }));
		assert.same({ added = {}; removed = {}; saves = 0 }, seen());
		assert.is_true(call("remove_members", id, { c, "nobody", d }));
		assert.same({ b }, world.members(server, id));
		server:restart();
		assert.same({ b }, world.members(server, id));
	end);

	it("are refused whole for a bad name, which is pointed out", function ()
		local a = world.accounts(server, 1);
		local id = world.group(server, "Two", { a });
		local function refusal(...) return { call(...) }; end
		assert.same({ nil, "bad-request", 2 }, refusal("add_members", id, { "fine", "not fine", "" }));
		assert.same({ nil, "bad-request", 1 }, refusal("set_members", id, { "@" }));
		assert.same({ nil, "bad-request", 2 }, refusal("remove_members", id, { a, 7 }));
		for _, name in ipairs { "add_members", "set_members", "remove_members" } do
			assert.same({ nil, "bad-request" }, refusal(name, id));
			assert.same({ nil, "bad-request" }, refusal(name, id, "alice"));
			assert.same({ nil, "bad-request" }, refusal(name, id, { alice = {} }));
			assert.same({ nil, "group-not-found" }, refusal(name, "no-such-group", {}));
		end
		assert.same({ a }, world.members(server, id));
	end);

	it("belong to groups that can be described", function ()
		local id = call("create", { name = "Crew", description = "All hands" }, false);
		assert.same({ name = "Crew"; description = "All hands" }, call("get_info", id));
		assert.is_true(call("set_info", id, { name = "Deck" }));
		server:restart();
		assert.same({ name = "Deck"; description = "All hands" }, call("get_info", id));
		assert.is_true(call("set_info", id, { name = "Deck", description = "" }));
		assert.same({ name = "Deck" }, call("get_info", id));
		assert.same({ nil, "bad-request" }, { call("set_info", id, { name = "Deck", description = {} }) });
		assert.same({ nil, "bad-request" }, { call("create", { name = "X", chat_membership = "no" }, false) });
	end);

	it("stay out of the chats where the group says so, until it lets them in", function ()
		local a, b = world.accounts(server, 2);
		local id = call("create", { name = "Quiet", chat_membership = false }, true);
		server:eval([[
			prosody.spec_invited = {};
			module:hook("message/bare", function (event)
				if event.stanza:get_child("x", "jabber:x:conference") then
					table.insert(prosody.spec_invited, event.stanza.attr.to);
				end
			end, 100);
			return true]]);
		local room = call("get_info", id).muc_jid;
		assert.is_true(call("add_members", id, { a }));
		assert.is_true(call("add_member", id, b));
		call("sync", id);
		world.settle(server);
		assert.is_nil(affiliation(room, a));
		assert.is_nil(affiliation(room, b));
		assert.same({}, invited());
		assert.is_false(call("get_info", id).chat_membership);
		assert.is_true(call("set_info", id, { name = "Quiet", chat_membership = true }));
		assert.equal("member", affiliation(room, a));
		assert.equal("member", affiliation(room, b));
		local both = { a.."@localhost", b.."@localhost" };
		table.sort(both);
		server:wait_for("return #prosody.spec_invited >= 2", "both are invited");
		assert.same(both, invited());
		assert.is_nil(call("get_info", id).chat_membership);
	end);
end);
