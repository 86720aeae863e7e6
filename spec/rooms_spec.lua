-- Rooms and membership: what is mended when somebody meddles with the rooms of groups.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, enforced in ipairs { false, true } do
	local where = ("with groups_muc_enforce = %s, Prosody %s and storage %s"):format(
		enforced, harness.version, harness.storage);

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
			server = world.new { host_options = { groups_muc_enforce = enforced } };
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
				return true]]);
			assert.is_nil(affiliation("bob"));
			server:wait_for([[
				local jid = ...;
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(jid):get_affiliation("bob@localhost") == "member"]],
				"the room lets bob in", 5, jid);
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
