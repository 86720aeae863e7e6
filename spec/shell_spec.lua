-- The section `groups` of the admin shell, through prosodyctl.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("the shell with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function shell(...)
		local output, errors, status = server:shell("groups", ...);
		return (output:gsub("^OK: ", ""):gsub("\nOK: ", "\n")), (errors:gsub("^Error: ", "")), status;
	end

	-- A command that works: its output.
	local function done(...)
		local output, errors, status = shell(...);
		assert.same({ "", 0 }, { errors, status });
		return output;
	end

	-- A command that is refused: the reason, and what was printed before.
	local function refused(...)
		local output, errors, status = shell(...);
		assert.equal(1, status, output);
		return errors, output;
	end

	-- Sends Lua source, as portals do.
	local function portal(source)
		local output, errors = server:shell(source);
		return output..errors;
	end

	local function settings(modules)
		return {
			global_modules = modules;
			modules = { "groups_internal" };
			hosts = { ["other.example"] = { modules = { "groups_internal" } } };
		};
	end

	setup(function ()
		server = world.new(settings { "disco", "roster", "saslauth", "admin_shell" });
		server:create_user("ann", "bob", "cleo");
	end);

	teardown(function ()
		server:destroy();
	end);

	it("makes, lists, shows, renames and deletes a group", function ()
		assert.equal('created the group "Family" on localhost, its id is family',
			done("create", "localhost", "Family", "true", "family"));
		assert.equal("added 2 users to \"Family\"", done("add_member", "localhost", "family", "ann", "bob@localhost"));
		assert.same({ "ann", "bob" }, world.members(server, "family"));
		local list = done("list", "localhost");
		assert.matches("family +| Family +| +2 | +1 |", list);
		assert.matches("1 group on localhost$", list);
		local show = done("show", "localhost", "Family");
		assert.matches("Id: +family\nName: +Family\nChat: +%S+@groups.localhost %(Family%)\nMember: +ann@localhost\n", show);
		assert.equal("ann@localhost\nbob@localhost\n2 members in \"Family\"", done("members", "localhost", "family"));
		assert.matches("family +| Family\nann is in 1 group$", done("user", "localhost", "ann"));
		assert.matches("ann is in 1 group$", done("user", "ann@localhost"));
		assert.equal('"Family" is now "Kin"', done("rename", "localhost", "Family", "Kin"));
		assert.equal('removed bob from "Kin"', done("remove_member", "localhost", "Kin", "bob"));
		local err, said = refused("delete", "localhost", "family");
		assert.equal("nothing has changed; add --yes to do it", err);
		assert.equal('This would delete the group "Kin" (family) with 1 member and 1 chat', said);
		assert.is_true(server:call("exists", "family"));
		assert.equal('deleted the group "Kin" (family) with 1 member and 1 chat',
			done("delete", "localhost", "family", "--yes"));
		assert.is_false(server:call("exists", "family"));
	end);

	it("says what is wrong and what there is", function ()
		done("create", "localhost", "Work", "false", "work");
		done("create", "localhost", "Twins", "false", "one");
		done("create", "localhost", "Twins", "false", "two");
		assert.equal('no group "wrk" on localhost; there are: one, two, work', (refused("show", "localhost", "wrk")));
		assert.equal('2 groups on localhost have the name "Twins"; say which by the id: one, two',
			(refused("show", "localhost", "Twins")));
		assert.equal("which group on localhost? There are: one, two, work", (refused("members", "localhost")));
		assert.equal('the id "work" is taken on localhost', (refused("create", "localhost", "Other", "false", "work")));
		assert.equal('"maybe" stands where true or false says whether the group has a chat',
			(refused("create", "localhost", "Other", "maybe")));
		assert.equal("ann@elsewhere.example is not an account of localhost",
			(refused("add_member", "localhost", "work", "ann@elsewhere.example")));
		assert.equal('"b:b" cannot be a username; nothing has changed',
			(refused("add_member", "localhost", "work", "ann", "b:b")));
		assert.equal('not in "Work": zoe; there are none', (refused("remove_member", "localhost", "work", "zoe")));
		assert.equal("groups delete knows no --force; there are: --yes",
			(refused("delete", "localhost", "work", "--force")));
		assert.equal("twice is too much; usage: groups members HOST GROUP",
			(refused("members", "localhost", "work", "twice")));
		assert.equal("no account zoe@localhost, and no group has it", (refused("user", "localhost", "zoe")));
		-- 13 looks at the host itself.
		assert.equal(harness.version == "13" and "Unknown host: nowhere.example"
			or 'no host "nowhere.example" with groups; there are: localhost, other.example',
			(refused("list", "nowhere.example")));
		assert.equal("which users?", (refused("add_member", "localhost", "work")));
		assert.matches("No account yet, so nobody sees them: zoe\n", done("add_member", "localhost", "work", "zoe"));
	end);

	it("refuses what lacks something, or makes no sense, and changes nothing", function ()
		done("create", "localhost", "Full", "true", "full");
		done("add_chat", "localhost", "full", "Books");
		done("add_chat", "localhost", "full", "Books");
		done("create", "other.example", "Far", "false", "far");
		local before = server:call("export_groups");
		local not_valid = 'a name or an id is not valid: a name is text without control characters, '
			..'an id can stand before the "@" of a JID';
		for command, reason in pairs {
			["create localhost"] = "the group needs a name: groups create HOST NAME";
			["create localhost a\1b"] = not_valid;
			["create localhost Name false a@b"] = not_valid;
			["create other.example Name true"] = "chats need the option groups_muc_host, and it is not set";
			["rename localhost full"] = not_valid;
			["add_member localhost full @localhost"] = '"@localhost" is not a JID';
			["add_member localhost"] = "^which group on localhost%? There are: ";
			["remove_member localhost full"] = "which users?";
			["remove_member localhost full ann@elsewhere.example"] = "ann@elsewhere.example is not an account of localhost";
			["set_members localhost full"] = "which users? For an empty group, say --empty";
			["set_members localhost full b:b --yes"] = '"b:b" cannot be a username; nothing has changed';
			["set_members localhost full --yes --file=/"] = "^the server cannot read /: ";
			["set_members localhost full ann --file"] = "^groups set_members knows no %-%-file; ";
			["user localhost"] = "which user?";
			["user localhost ann@elsewhere.example"] = "ann@elsewhere.example is not an account of localhost";
			["add_chat localhost full"] = "the chat needs a name";
			["add_chat other.example far Books"] = "chats need the option groups_muc_host, and it is not set";
			["remove_chat localhost full Books"] = '^more than one chat "Books" in "Full"; there are: ';
			["remove_chat localhost full"] = '^no chat "" in "Full"; there are: ';
			["import localhost"] = "which file?";
			["import localhost /"] = "the server cannot read /: it is no file";
		} do
			local arguments = {};
			for word in command:gmatch("[^ ]+") do arguments[#arguments + 1] = word; end
			local refusal = refused(table.unpack(arguments));
			assert((reason:sub(1, 1) == "^" and refusal:find(reason) or refusal == reason), command..": "..refusal);
		end
		for _, name in ipairs { "show", "rename", "delete", "add_member", "remove_member", "set_members", "members",
			"add_chat", "remove_chat", "sync", "sync_group", "export" } do
			assert.matches('^no group "wrk" on localhost; there are: ', (refused(name, "localhost", "wrk")), name);
		end
		assert.matches("^Error: 7 is not a user", portal('groups:add_member("localhost","full",7)'));
		assert.equal(before, server:call("export_groups"));
	end);

	it("says that storage fails, and that its log says how", function ()
		server:eval([[
			local provider = hosts[host].users;
			local list = provider.users;
			function provider.users() provider.users = list; return nil, "the directory is away"; end
			return true]]);
		assert.equal("storage or the chat host failed; the log says how", (refused("check", "localhost")));
		done("check", "localhost");
	end);

	it("makes a list of users the members, from arguments, text and files", function ()
		done("create", "localhost", "Set", "false", "set");
		local err, said = refused("set_members", "localhost", "set", "ann bob\ncleo");
		assert.equal("nothing has changed; add --yes to do it", err);
		assert.equal("Add: ann, bob, cleo\nRemove: none", said);
		assert.same({}, world.members(server, "set"));
		assert.matches('"Set" has 3 members now$', done("set_members", "localhost", "set", "ann bob\ncleo", "--yes"));
		assert.equal('"Set" has these members already', done("set_members", "localhost", "set", "Ann,bob", "cleo"));
		local path = server.folder.."/names";
		local file = io.open(path, "w");
		file:write("ann@localhost\ncleo\n");
		file:close();
		assert.equal('Add: none\nRemove: bob\n"Set" has 2 members now',
			done("set_members", "localhost", "set", "--yes", "--file="..path));
		assert.same({ "ann", "cleo" }, world.members(server, "set"));
		assert.matches("^the server cannot read .*No such file",
			(refused("set_members", "localhost", "set", "--file=/none")));
		assert.matches("0 members now$", done("set_members", "localhost", "set", "--empty", "--yes"));
		assert.matches("say %-%-empty$", (refused("set_members", "localhost", "set", "", "--yes")));
	end);

	it("adds and removes chats", function ()
		done("create", "localhost", "Club", "false", "club");
		local jid = done("add_chat", "localhost", "club", "Books"):match('^added the chat "Books" to "Club": (%S+)$');
		assert.equal(jid, server:call("get_group_chats", "club")[1].jid);
		assert.matches('^no chat "Films" in "Club"; there are: %S+ %(Books%)$',
			(refused("remove_chat", "localhost", "club", "Films")));
		local _, said = refused("remove_chat", "localhost", "club", "Books");
		assert.equal(('This would destroy the chat "Books" (%s) of "Club"'):format(jid), said);
		done("remove_chat", "localhost", "club", jid, "--yes");
		assert.same({}, server:call("get_group_chats", "club"));
	end);

	it("shows open work, brings lists up to date, finds and mends", function ()
		done("create", "localhost", "Late", "true", "late");
		done("add_member", "localhost", "late", "ann", "bob", "--delay");
		assert.matches("Groups that wait for sync: 1\n", done("status", "localhost"));
		assert.matches("1 group: all contact lists are in storage$", done("sync", "localhost", "late"));
		assert.matches("Late", world.contact_of(server, "ann", "bob"));
		assert.matches("localhost: all contact lists are in storage$", done("status", "localhost"));
		assert.equal("nothing is wrong", done("check", "localhost"));
		server:eval([[
			return hosts["groups.localhost"].modules.muc.get_room_from_jid((...)):set_members_only(false) ~= nil]],
			server:call("get_info", "late").muc_jid);
		assert.matches("The room .* of late has other settings: members_only\n", done("check", "localhost"));
		assert.matches("1 problem mended$", done("repair", "localhost", "--yes"));
		assert.equal("nothing is wrong", done("check", "localhost"));
		server:eval([[hosts["groups.localhost"].modules.muc.get_room_from_jid((...)):destroy() return true]],
			server:call("get_info", "late").muc_jid);
		assert.matches("The room of a chat of late is gone: .*\n1 problem; repair mends that$", done("check", "localhost"));
		refused("repair", "localhost");
		assert.matches("1 problem mended$", done("repair", "localhost", "--yes"));
		assert.equal("nothing is wrong", done("check", "localhost"));
		assert.matches("groups delete HOST GROUP %- ", done("help", "localhost"));
	end);

	local function check_portal()
		assert.matches("created the group", portal('groups:create("localhost","Portal",true,"portal")'));
		assert.is_string(server:call("get_info", "portal").muc_jid);
		assert.matches("^OK", portal('groups:add_member("localhost","portal","ann","delay")'));
		assert.matches("^OK", portal('groups:add_member("localhost","portal","bob",true)'));
		assert.matches("^OK", portal('groups:add_member("localhost","portal","cleo",nil)'));
		assert.same({ "ann", "bob", "cleo" }, world.members(server, "portal"));
		assert.equal("OK: Synchronised members", portal('groups:sync_group("localhost","portal")'));
		assert.matches("^Error: no group", portal('groups:sync_group("localhost","none")'));
		assert.matches("^OK", portal('groups:delete("localhost","portal","--yes")'));
	end

	it("serves each host, and says where there are groups", function ()
		done("create", "other.example", "There", "false", "there");
		assert.matches("Far .*There .*2 groups on other.example$", done("list", "other.example"));
		assert.matches('^no group "there" on localhost', (refused("show", "localhost", "there")));
		server:eval([[return assert(require "core.modulemanager".unload("other.example", "groups_internal"))]]);
		refused("list", "other.example");
		done("list", "localhost");
		server:eval([[return assert(require "core.modulemanager".load("other.example", "groups_internal")) ~= nil]]);
		done("list", "other.example");
		if harness.version == "13" then
			assert.matches("add_member", (server:shell("help groups")));
		end
	end);

	it("answers the strings that portals send", check_portal);

	it("stays with groups_shell beside it, before and after, and through reloads that log nothing", function ()
		-- Each command is there, and does what it is for.
		local function check_all()
			check_portal();
			done("list", "localhost");
			local n = 0;
			for name in done("help", "localhost"):gmatch("groups (%S+) HOST") do
				n = n + 1;
				assert.not_matches("nil value", portal(('groups:%s("localhost")'):format(name)), name);
			end
			assert.equal(20, n);
		end
		check_all();
		server:eval([[return assert(require "core.modulemanager".load("localhost", "groups_shell")) ~= nil]]);
		check_all();
		local mark = server:log_mark();
		world.reload(server);
		assert.not_matches("warn", server:log_text(mark));
		check_all();
		server:eval([[return assert(require "core.modulemanager".reload("*", "admin_shell")) ~= nil]]);
		world.reload(server);
		check_all();
		server:eval([[return assert(require "core.modulemanager".unload("*", "groups_shell"))]]);
		check_all();
		server:eval([[return assert(require "core.modulemanager".load("localhost", "groups_shell")) ~= nil]]);
		server:eval([[return assert(require "core.modulemanager".unload("localhost", "groups_internal"))]]);
		assert.matches("^Error: ", portal('groups:sync_group("localhost","portal")'));
		server:eval([[return assert(require "core.modulemanager".load("localhost", "groups_internal")) ~= nil]]);
		check_all();
	end);
end);

describe("the shell beside slow work, with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	-- The output of a command during which a contact list is not to be had for a while.
	local function slowly(method, ...)
		server:eval([[
			hosts[host].roster_cache = nil;
			prosody.spec_waiting.hold({ store = "roster", method = ... });
			module:add_timer(0.1, function ()
				if prosody.spec_waiting.held() == 0 then return 0.1; end
				module:add_timer(1.5, prosody.spec_waiting.release);
			end);
			return true]], method);
		local output, errors, status = server:shell("groups", ...);
		assert.same({ "", 0 }, { errors, status });
		return output;
	end

	setup(function ()
		server = world.new { storage = "waiting"; global_modules = { "disco", "roster", "saslauth", "admin_shell" } };
		server:create_user("ann", "bob", "cleo");
		assert(server:call("create", { name = "Late" }, false, "late"));
		assert(server:call("add_members", "late", { "ann", "bob", "cleo" }, true));
	end);

	teardown(function ()
		server:destroy();
	end);

	it("shows by a count how a sync gets on", function ()
		assert.matches("3 contact lists to go\n.*1 group: all contact lists are in storage$",
			slowly("set", "sync", "localhost", "late"));
	end);

	it("shows by a count how a check gets on, and a repair", function ()
		assert.matches("%d contact lists? to look at\n.*nothing is wrong$", slowly("get", "check", "localhost"));
		assert.matches("%d contact lists? to look at\n.*nothing is wrong$",
			slowly("get", "repair", "localhost", "--yes"));
		assert.equal(0, server:call("status").unchecked);
	end);
end);
