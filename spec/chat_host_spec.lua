-- The chat host comes and goes; the module looks it up whenever it needs it.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

describe("a chat host that is there, "..title, function ()
	local server;

	setup(function ()
		server = world.new();
		server:create_user("alice", "bob");
	end);

	teardown(function ()
		server:destroy();
	end);

	it("leaves no complaint in the log or status", function ()
		assert.falsy(server:log_text():find("groups_muc_host", 1, true));
		assert.not_equal("error", server:eval([[
			local module = hosts[host].modules.groups_internal.module;
			return (module:get_status())]]));
	end);

	it("may be reloaded", function ()
		local id = server:call("create", { name = "G" }, true);
		server:call("add_member", id, "alice");
		server:eval([[return require "core.modulemanager".reload("groups.localhost", "muc") ~= nil]]);
		assert.is_true(server:call("add_member", id, "bob"));
		local chat = server:call("add_group_chat", id, "Later");
		local chats = server:call("get_group_chats", id);
		assert.equal(2, #chats);
		for _, each in ipairs(chats) do
			assert.is_nil(each.deleted);
			assert.same({ "member", "member" }, server:eval([[
				local room = hosts["groups.localhost"].modules.muc.get_room_from_jid(...);
				return { room:get_affiliation("alice@localhost"), room:get_affiliation("bob@localhost") };]], each.jid));
		end
		assert.is_true(server:call("set_info", id, { name = "H" }));
		assert.is_true(server:call("remove_group_chat", id, (chat.jid:match("^[^@]+"))));
		assert.is_true(server:call("remove_member", id, "alice"));
		assert.is_true(server:call("delete", id));
	end);

	it("may go away and come back", function ()
		local id = server:call("create", { name = "G" }, true);
		local jid = server:call("get_info", id).muc_jid;
		server:eval([[return require "core.hostmanager".deactivate("groups.localhost") ~= nil]]);
		local mark = server:log_mark();
		assert.is_true(server:call("add_member", id, "alice"));
		assert.same({ nil, "internal-server-error" }, { server:call("add_group_chat", id, "Chat") });
		assert.same({ nil, "internal-server-error" }, { server:call("create", { name = "New" }, true, "new") });
		assert.is_false(server:call("exists", "new"));
		assert.equal("new", server:call("create", { name = "New" }, false, "new"));
		local chats = server:call("get_group_chats", id);
		assert.same({ { id = jid:match("^[^@]+"); jid = jid; name = "G" } }, chats);
		assert.is_true(server:call("set_info", id, { name = "H" }));
		assert.truthy(server:log_text(mark):find("groups_muc_host", 1, true));
		assert.equal(jid, server:call("get_info", id).muc_jid);
		server:eval([[return require "core.hostmanager".activate("groups.localhost") ~= nil]]);
		assert.is_true(server:call("add_member", id, "alice"));
		assert.equal("member", server:eval([[
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):get_affiliation("alice@localhost")]], jid));
	end);

	it("is no obstacle to deleting when it is gone", function ()
		local id = server:call("create", { name = "G" }, true);
		server:call("add_member", id, "alice");
		server:call("add_group_chat", id, "Chat");
		server:eval([[return require "core.hostmanager".deactivate("groups.localhost") ~= nil]]);
		finally(function () server:eval([[return require "core.hostmanager".activate("groups.localhost") ~= nil]]); end);
		local chats = server:call("get_group_chats", id);
		assert.is_true(server:call("remove_group_chat", id, chats[1].id));
		assert.is_true(server:call("remove_member", id, "alice"));
		assert.is_true(server:call("delete", id));
		assert.is_nil(server:stored("group_info", id));
	end);
end);

describe("a chat host that is none, "..title, function ()
	local server;

	local function status()
		return server:eval([[
			local module = hosts[host].modules.groups_internal.module;
			return { module:get_status() }]]);
	end

	before_each(function ()
		server = nil;
	end);

	after_each(function ()
		server:destroy();
	end);

	local function without_chats()
		assert.same({ nil, "internal-server-error" }, { server:call("create", { name = "A" }, true, "a") });
		assert.is_false(server:call("exists", "a"));
		assert.is_nil(server:stored("group_info", "a"));
		assert.equal("a", server:call("create", { name = "A" }, false, "a"));
		assert.same({ nil, "internal-server-error" }, { server:call("add_group_chat", "a", "Chat") });
		assert.same({ name = "A" }, server:call("get_info", "a"));
		assert.is_true(server:call("add_member", "a", "alice"));
		assert.same({}, server:call("get_group_chats", "a"));
	end

	it("because none is configured, answers service-unavailable, and says once what to set", function ()
		server = world.new { muc = false };
		assert.falsy(server:log_text():find("groups_muc_host", 1, true));
		assert.same({ nil, "service-unavailable" }, { server:call("create", { name = "A" }, true, "a") });
		assert.is_false(server:call("exists", "a"));
		assert.equal("a", server:call("create", { name = "A" }, false, "a"));
		assert.same({ nil, "service-unavailable" }, { server:call("add_group_chat", "a", "Chat") });
		assert.is_true(server:call("add_member", "a", "alice"));
		assert.same({}, server:call("get_group_chats", "a"));
		assert.is_true(server:call("remove_group_chat", "a", "room"));
		assert.is_true(server:call("set_info", "a", { name = "B" }));
		assert.is_true(server:call("delete", "a"));
		assert.equal(1, select(2, server:log_text():gsub("\twarn\t[^\n]*set groups_muc_host", "")));
		assert.not_equal("error", status()[1]);
	end);

	it("because it is missing, is reported once at start", function ()
		server = world.new { muc = false; host_options = { groups_muc_host = "missing.localhost" } };
		local _, count = server:log_text():gsub("\terror\t[^\n]*missing%.localhost", "");
		assert.equal(1, count);
		assert.equal("error", status()[1]);
		assert.truthy(status()[2]:find("groups_muc_host", 1, true));
		without_chats();
	end);

	it("because it is a host without chats, is reported once at start", function ()
		server = world.new {
			muc = false;
			host_options = { groups_muc_host = "other.localhost" };
			hosts = { ["other.localhost"] = {} };
		};
		local _, count = server:log_text():gsub("\terror\t[^\n]*other%.localhost", "");
		assert.equal(1, count);
		assert.equal("error", status()[1]);
		without_chats();
	end);

	it("because it is activated late, is used from then on", function ()
		server = world.new { muc = false; host_options = { groups_muc_host = "late.localhost" } };
		without_chats();
		server:eval([[
			require "core.configmanager".set("late.localhost", "component_module", "muc");
			require "core.configmanager".set("late.localhost", "defined", true);
			require "core.hostmanager".activate("late.localhost");
			return true]]);
		server:wait_for([[return hosts["late.localhost"].modules.muc ~= nil]]);
		local chat = server:call("add_group_chat", "a", "Chat");
		assert.truthy(chat.jid:match("@late%.localhost$"));
		assert.equal("member", server:eval([[
			return hosts["late.localhost"].modules.muc.get_room_from_jid(...):get_affiliation("alice@localhost")]], chat.jid));
	end);

	it("because the module is loaded later, is reported then", function ()
		server = world.new { modules = {}; muc = false; host_options = { groups_muc_host = "missing.localhost" } };
		local mark = server:log_mark();
		server:eval([[return require "core.modulemanager".load(host, "groups_internal") ~= nil]]);
		assert.truthy(server:log_text(mark):find("missing.localhost", 1, true));
		assert.equal("error", status()[1]);
	end);
end);
