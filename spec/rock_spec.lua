-- The module as `prosodyctl install` lays it out: by the rockspec, in the folders of LuaRocks.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("the rock with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, tree;

	local function run(command, ...)
		assert(os.execute(command:format(...)), command);
	end

	setup(function ()
		server = harness.new { plugins = "/none" };
		tree = server.folder.."/rocks";
		server.settings.options = { installer_plugin_path = tree };
		run("spec/support/rock --rockspec");
		local rock = {};
		assert(loadfile("target/mod_groups_internal-1.0.0-1.rockspec", "t", rock))();
		for name, file in pairs(rock.build.install.lua) do
			run("install -D -m 644 %s '%s/share/lua/5.4/%s.lua'", file, tree, (name:gsub("%.", "/")));
		end
		for _, name in ipairs(rock.build.modules) do
			run("install -D -m 644 target/plugins/mod_groups_internal/%s.so '%s/lib/lua/5.4/%s.so'", name, tree, name);
		end
		server.settings.host_options = { groups_adhoc = true };
		server:start();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("is loaded from there, with its library and its other files", function ()
		assert.equal(tree.."/share/lua/5.4/mod_groups_internal", server:eval("return groups.module:get_directory()"));
		server:create_user("ann", "bob");
		world.group(server, "Family", { "ann", "bob" });
		assert.equal(world.both("Family"), world.contact_of(server, "ann", "bob"));
		world.reload(server);
		assert.same({ "ann", "bob" }, world.members(server, server:call("get_user_groups", "ann")[1]));
		assert.not_matches("groups_internal\terror\t", server:log_text());
	end);
end);
