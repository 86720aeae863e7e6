-- Rooms and membership: what is mended when somebody meddles with the rooms of groups.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, options in ipairs {
	{ groups_muc_enforce = false },
	{ groups_muc_enforce = true },
	{ groups_roster_mode = "virtual" },
} do
	local enforced = options.groups_muc_enforce or false;
	local where = ("with groups_muc_enforce = %s, %s contacts, Prosody %s and storage %s"):format(
		enforced, options.groups_roster_mode or "permanent", harness.version, harness.storage);

	describe("rooms of groups "..where, function ()
		local server, jid;

		local function call(...) return server:call(...); end

		-- What Lua source says of the room, in which it is `room`.
		local function room(source, ...)
			return server:eval([[
				local jid, user = ...;
				local room = hosts["groups.localhost"].modules.muc.get_room_from_jid(jid);
				]]..source, jid, ...);
		end

		local function affiliation(user)
			return room("return room:get_affiliation(user)", user.."@localhost");
		end

		local function give(user, wanted)
			local given = wanted and ("%q"):format(wanted) or "nil";
			return room(("return room:set_affiliation(true, user, %s)"):format(given), user.."@localhost");
		end

		setup(function ()
			server = world.new { host_options = options };
			server:create_user("alice", "bob", "carl", "eve");
		end);

		teardown(function ()
			server:destroy();
		end);

		before_each(function ()
			call("delete", "g");
			call("create", { name = "G" }, true, "g");
			jid = call("get_info", "g").muc_jid;
			call("add_member", "g", "alice");
			call("add_member", "g", "bob");
			call("sync", "g");
		end);

		it("let a member in again at a sync, and leave what was given by hand", function ()
			give("alice", "owner");
			give("bob", nil);
			give("eve", "admin");
			call("sync", "g");
			assert.equal("owner", affiliation("alice"));
			assert.equal("member", affiliation("bob"));
			assert.equal("admin", affiliation("eve"));
		end);

		it(enforced and "put a stranger out at a sync" or "leave a stranger in", function ()
			give("eve", "member");
			call("sync", "g");
			assert.equal(not enforced and "member" or nil, affiliation("eve"));
			assert.equal("member", affiliation("alice"));
		end);

		it("leave a ban given by hand, with a warning that names room and user", function ()
			give("bob", "outcast");
			call("sync", "g");
			assert.equal("outcast", affiliation("bob"));
			local log = server:log_text();
			local line = log:match("[^\n]*warn[^\n]*banned[^\n]*");
			assert.truthy(line and line:find("bob@localhost", 1, true) and line:find(jid, 1, true), line);
		end);

		it("try again at the next sync who was refused", function ()
			server:eval([[
				prosody.spec_refuse = function (event)
					if event.jid == "carl@localhost" then event.allowed = false; return true; end
				end
				module:context("groups.localhost"):hook("muc-pre-set-affiliation", prosody.spec_refuse, 100);
				return true]]);
			call("add_member", "g", "carl");
			call("sync", "g");
			assert.is_nil(affiliation("carl"));
			server:eval([[
				module:context("groups.localhost"):unhook("muc-pre-set-affiliation", prosody.spec_refuse);
				return true]]);
			call("sync", "g");
			assert.equal("member", affiliation("carl"));
		end);

		it("are aligned when they are read from storage", function ()
			room([[
				local muc = hosts["groups.localhost"].modules.muc;
				room:set_affiliation(true, "bob@localhost", nil);
				room:save(true);
				muc.forget_room(room);
				assert(not muc.get_room_from_jid(jid):get_affiliation("bob@localhost"), "storage has what was saved");
				return true]]);
			server:wait_for([[
				local jid = ...;
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(jid):get_affiliation("bob@localhost") == "member"]],
				"the room lets bob in", 5, jid);
		end);

		-- The room is gone without a tombstone, and a user's client joins where it was. Returns the error, if any.
		local function lose_and_join(user)
			world.login(server, user);
			return server:eval([[
				local user, jid = ...;
				local st, muc = require "util.stanza", hosts["groups.localhost"].modules.muc;
				local room = muc.get_room_from_jid(jid);
				if room then
					muc.forget_room(room);
					muc.delete_room(room);
				end
				local session = prosody.spec_clients.session(user);
				session.received = {};
				prosody.spec_clients.send(session, st.presence({ to = jid.."/"..user })
					:tag("x", { xmlns = "http://jabber.org/protocol/muc" }));
				for _, stanza in ipairs(session.received) do
					if stanza.attr.type == "error" then return (select(2, stanza:get_error())); end
				end]], user, jid);
		end

		local function occupants()
			return room([[
				local users = {};
				for _, occupant in room:each_occupant() do users[#users + 1] = occupant.bare_jid; end
				return users]]);
		end

		local function assert_is_the_groups()
			assert.same({ true, true, true, false, "anyone", "G", false }, room([[
				return { room:get_members_only() or false, room:get_hidden() or false, room:get_persistent() or false,
					room:get_allow_member_invites() or false, room:get_whois(), room:get_name(),
					room._data.locked or false }]]));
			assert.same({ "member", "member" }, { affiliation("alice"), affiliation("bob") });
			assert.is_nil(affiliation("eve"));
			assert.same({}, call("check"));
			server:wait_for([[
				local data = require "core.storagemanager".open("groups.localhost", "config", "keyval"):get((...));
				return data and data._data.members_only]], "storage has the room", 5, (jid:match("^[^@]+")));
		end

		it("are the group's again when a member's client makes them anew", function ()
			assert.is_nil(lose_and_join("alice"));
			assert.same({ "alice@localhost" }, occupants());
			assert_is_the_groups();
			world.logout(server, "alice");
		end);

		it("are the group's again when a stranger makes them anew, who is not let in", function ()
			assert.equal("registration-required", lose_and_join("eve"));
			assert.same({}, occupants());
			assert_is_the_groups();
			world.logout(server, "eve");
		end);

		it("let a member in whom nobody else may follow, though a handler of another module throws", function ()
			server:eval([[
				prosody.spec_throw = function (event)
					if event.jid == "bob@localhost" then error("on purpose"); end
				end
				module:context("groups.localhost"):hook("muc-pre-set-affiliation", prosody.spec_throw, 100);
				return true]]);
			local err = lose_and_join("alice");
			server:eval([[
				module:context("groups.localhost"):unhook("muc-pre-set-affiliation", prosody.spec_throw);
				return true]]);
			assert.is_nil(err);
			assert.same({ "alice@localhost" }, occupants());
			assert.same({ true, "member" }, { room("return room:get_members_only()"), affiliation("alice") });
			call("sync", "g");
			assert_is_the_groups();
			world.logout(server, "alice");
		end);

		it("are the group's again when another module makes them anew", function ()
			room([[
				local muc = hosts["groups.localhost"].modules.muc;
				muc.forget_room(room);
				muc.delete_room(room);
				assert(muc.create_room(jid));
				return true]]);
			assert_is_the_groups();
		end);

		it("are reported when they let others in or keep members out, and mended, who puts out whoever came in", function ()
			for setting, value in pairs { members_only = false, hidden = false, persistent = false,
				allow_member_invites = true, password = "open sesame" } do
				room(("room:set_%s(%q) return true"):format(setting, value));
				local problem = { problem = "chat-changed"; group_id = "g"; jid = jid; settings = { setting } };
				assert.same({ problem }, call("check"));
				assert.same({ problem }, call("repair"));
				assert.is_nil(room("return room:get_password()"));
				assert_is_the_groups();
			end
			room("room:set_members_only(false) return true");
			world.login(server, "eve");
			server:eval([[
				local jid = ...;
				prosody.spec_clients.send(prosody.spec_clients.session("eve"), require "util.stanza".presence({ to = jid.."/eve" })
					:tag("x", { xmlns = "http://jabber.org/protocol/muc" }));
				return true]], jid);
			assert.same({ "eve@localhost" }, occupants());
			call("repair");
			assert.same({}, occupants());
			world.logout(server, "eve");
		end);

		it("are left as they are by a sync when nothing happened to them", function ()
			call("sync", "g");
			assert.equal(0, room([[
				local saves, save = 0, room.save;
				room.save = function (...) saves = saves + 1; return save(...); end
				local looked, get = 0, room.get_affiliation;
				room.get_affiliation = function (...) looked = looked + 1; return get(...); end
				groups.sync("g");
				room.save, room.get_affiliation = nil, nil;
				return saves + looked]]));
		end);
	end);
end
