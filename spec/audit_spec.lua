-- Records that are not as they should be: what check() reports, and repair() mends.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("records of groups, "..title, function ()
		local server;

		local function call(...) return server:call(...); end

		-- Writes records behind the module's back, which is loaded again then.
		local function rewrite(source, ...)
			server:eval([[
				local modulemanager = require "core.modulemanager";
				assert(modulemanager.unload(host, "groups_internal"));
				local info = require "core.storagemanager".open(host, "group_info", "keyval");
				local members = require "core.storagemanager".open(host, "groups", "keyval");
				]]..source..[[
				assert(modulemanager.load(host, "groups_internal"));
				return true]], ...);
			world.settle(server);
		end

		-- The contact list that a client of the user is given.
		local function fetched(user) return (world.fetch(server, user)); end

		setup(function ()
			server = world.new { host_options = { groups_roster_mode = mode } };
			server:create_user("anna", "bob", "carl");
		end);

		teardown(function () server:destroy(); end);

		before_each(function ()
			call("delete", "g");
			assert(call("create", { name = "G" }, true, "g"));
			assert(call("add_member", "g", "bob"));
			world.settle(server);
		end);

		after_each(function () world.logout_all(server); end);

		it("with a member's name in capitals are reported, and get the account's name", function ()
			rewrite([[members:set("g", { Anna = {}, bob = {} });]]);
			assert.is_nil(fetched("bob").anna);
			local found = { { problem = "member-misspelt"; user = "Anna"; account = "anna"; groups = { "g" } } };
			assert.same(found, call("check"));
			assert.same(found, call("repair"));
			world.settle(server);
			assert.same({}, call("check"));
			assert.same({ anna = {}; bob = {} }, call("get_members", "g"));
			assert.same({ anna = {}; bob = {} }, server:stored("groups", "g"));
			assert.same({ anna = world.both("G") }, fetched("bob"));
			assert.same({ bob = world.both("G") }, fetched("anna"));
			assert.equal("member", server:eval([[
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(groups.get_info("g").muc_jid)
					:get_affiliation("anna@localhost")]]));
		end);

		it("with a member under both names keep the one that is right", function ()
			assert(call("add_member", "g", "anna"));
			rewrite([[members:set("g", { Anna = {}, anna = {}, bob = {} });]]);
			assert.same("member-misspelt", call("check")[1].problem);
			call("repair");
			world.settle(server);
			assert.same({}, call("check"));
			assert.same({ anna = {}; bob = {} }, call("get_members", "g"));
			assert.same({ anna = world.both("G") }, fetched("bob"));
			assert.equal("member", server:eval([[
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(groups.get_info("g").muc_jid)
					:get_affiliation("anna@localhost")]]));
		end);

		it("without a name are reported, and get the id for one", function ()
			assert(call("add_member", "g", "anna"));
			for _, record in ipairs { { other = 1 }, { name = 7 }, { name = "" } } do
				rewrite([[info:set("g", ...);]], record);
				local found = { { problem = "name-missing"; group_id = "g" } };
				assert.same(found, call("check"));
				assert.same(found, call("repair"));
				world.settle(server);
				assert.same({}, call("check"));
				assert.equal("g", call("get_info", "g").name);
				assert.equal("g", server:stored("group_info", "g").name);
				assert.same({ anna = world.both("g") }, fetched("bob"));
			end
		end);

		it("that somebody has put into storage are reported, and taken in", function ()
			world.login(server, "bob");
			server:store("group_info", "h", { name = "H", other = 1 });
			server:store("groups", "h", { anna = {}, bob = {} });
			-- Another module may keep groups of its own there.
			server:store("groups", "foreign", { anna = {} });
			local found = { { problem = "group-unknown"; group_id = "h" } };
			assert.same(found, call("check"));
			assert.is_false(call("exists", "h"));
			world.forget(server);
			assert.same(found, call("repair"));
			assert.equal("both", world.pushes(server, "bob").anna.subscription);
			world.settle(server);
			assert.same({}, call("check"));
			assert.same({ anna = {}; bob = {} }, call("get_members", "h"));
			assert.matches("^both,.*H", fetched("anna").bob);
			assert.same({ name = "H", other = 1 }, server:stored("group_info", "h"));
			call("delete", "h");
			world.settle(server);
			server:store("groups", "foreign", nil);
		end);
	end);
end
