-- restore() with users who are online: it adds, removes, renames and deletes as calls would.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("a snapshot that is restored, "..title, function ()
		local server;

		local function call(...) return server:call(...); end
		local function fetched(user) return (world.fetch(server, user)); end

		setup(function ()
			server = world.new { host_options = { groups_roster_mode = mode; groups_remove_contacts = true } };
			server:create_user("a", "b", "c", "d");
			world.group(server, "Kept", { "a" });
		end);

		teardown(function () server:destroy(); end);

		before_each(function ()
			for _, id in ipairs { "g", "later" } do call("delete", id); end
			assert(call("create", { name = "G" }, true, "g"));
			for _, user in ipairs { "a", "b" } do assert(call("add_member", "g", user)); end
			world.settle(server);
			server:eval("prosody.spec_blob = groups.snapshot() return true");
			world.login(server, "a", "b", "c");
		end);

		after_each(function () world.logout_all(server); end);

		local function restore()
			assert.is_true(server:eval("return groups.restore(prosody.spec_blob)"));
			world.settle(server);
		end

		local function affiliation(user)
			return server:eval([[
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(groups.get_info("g").muc_jid)
					:get_affiliation(...)]], user.."@localhost");
		end

		it("lets whoever came later leave: lists, presence and room", function ()
			assert(call("add_member", "g", "c"));
			world.settle(server);
			assert.same({ b = world.both("G"); c = world.both("G") }, fetched("a"));
			assert.equal("member", affiliation("c"));
			restore();
			assert.same({ b = world.both("G") }, fetched("a"));
			assert.same({ a = world.both("G") }, fetched("b"));
			assert.same({}, fetched("c"));
			assert.is_nil(affiliation("c"));
			world.forget(server);
			server:eval([[
				local clients = prosody.spec_clients;
				clients.send(clients.session("a"), require "util.stanza".presence():text_tag("status", "secret"));
				return true]]);
			assert.same({}, world.presences(server, "c"));
			local seen = table.concat(world.presences(server, "b"), " ");
			assert.truthy(seen:find("a:available", 1, true), seen);
			world.logout_all(server);
			assert.same({}, fetched("c"));
		end);

		it("lets whoever left come back, under the name that the group had", function ()
			assert(call("remove_member", "g", "b"));
			assert(call("set_info", "g", { name = "Other" }));
			assert(call("add_member", "g", "c"));
			world.settle(server);
			assert.same({ c = world.both("Other") }, fetched("a"));
			restore();
			assert.same({ b = world.both("G") }, fetched("a"));
			assert.same({}, fetched("c"));
			assert.equal("member", affiliation("b"));
		end);

		it("drops a chat whose room is gone, and says so once", function ()
			local jid = call("get_info", "g").muc_jid;
			assert(call("delete", "g"));
			world.settle(server);
			local mark = server:log_mark();
			restore();
			assert.same({}, call("get_group_chats", "g"));
			assert.same({ b = world.both("G") }, fetched("a"));
			local _, said = server:log_text(mark):gsub("\twarn\tGroup g has lost chats[^\n]*"..jid:gsub("%p", "%%%0"), "");
			assert.equal(1, said);
			assert.same({}, call("check"));
		end);

		it("deletes a group that it does not know, whose contacts go", function ()
			assert(call("create", { name = "Later" }, true, "later"));
			for _, user in ipairs { "a", "b", "c" } do assert(call("add_member", "later", user)); end
			world.settle(server);
			assert.same({ b = world.both("G", "Later"); c = world.both("Later") }, fetched("a"));
			restore();
			assert.is_false(call("exists", "later"));
			assert.same({ b = world.both("G") }, fetched("a"));
			assert.same({}, fetched("c"));
		end);
	end);
end
