-- An update is installed while Prosody runs, and somebody reloads the module before the restart.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local main = "/mod_groups_internal.lua";
local library = "/groups_internal_native.so";

describe("an update, with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, module_folder;

	local function run(command)
		assert(os.execute(command));
	end

	-- Puts the module's main file there anew, as of another version if one is given.
	local function install(version)
		local file = assert(io.open("target/plugins/mod_groups_internal"..main));
		local text = file:read("a");
		file:close();
		if version then
			local count;
			text, count = text:gsub('(\nlocal VERSION = )"[^"]+"', '%1"'..version..'"');
			assert.equal(1, count);
		end
		local new = assert(io.open(module_folder..main..".new", "w"));
		new:write(text);
		new:close();
		assert(os.rename(module_folder..main..".new", module_folder..main));
	end

	local function reload()
		return server:eval([[return require "core.modulemanager".reload(host, "groups_internal") ~= nil]]);
	end

	local function status()
		return { server:eval("return hosts[host].modules.groups_internal.module:get_status()") };
	end

	local function lines(mark, pattern)
		return select(2, server:log_text(mark):gsub(pattern, ""));
	end

	setup(function ()
		local plugins = harness.top.."/target/spec/update-plugins-"..harness.version.."-"..harness.storage;
		module_folder = plugins.."/mod_groups_internal";
		run(("rm -rf '%s' && mkdir -p '%s' && cp -r target/plugins/mod_groups_internal '%s'"):format(plugins, plugins,
			plugins));
		server = world.new { plugins = plugins; modules = { "groups_internal", "spec_dependent" } };
		server:create_user("ann", "bob");
		world.group(server, "Family", { "ann" });
	end);

	teardown(function ()
		server:destroy();
		run(("rm -rf '%s'"):format((module_folder:gsub("/[^/]+$", ""))));
	end);

	before_each(function () install(); end);

	it("with other Lua files leaves the old version running, and says that a restart is due", function ()
		world.login(server, "ann", "bob");
		local id = server:call("get_user_groups", "ann")[1];
		install("99.1.0");
		local mark = server:log_mark();
		assert.is_false(reload());
		assert.equal(1, lines(mark, "version 99%.1%.0 waits for a restart"));
		assert.equal(1, lines(mark, "\twarn\t[^\n]*An update is installed: restart Prosody to use it"));
		assert.equal(0, lines(mark, "\terror\t"));
		assert.equal(0, lines(mark, "traceback"));
		assert.same({ "warn", "An update is installed: restart Prosody to use it" }, { status()[1], status()[2] });
		-- It works as before, with its hooks and its dependents.
		assert.is_true(server:call("add_member", id, "bob"));
		assert.same({ bob = "both" }, world.in_memory(server, "ann"));
		assert.is_true(server:eval("return hosts[host].modules.spec_dependent.exists(...)", id));
		-- The old files are back.
		install();
		assert.is_true(reload());
		assert.equal("Loaded", status()[2]);
		assert.same({ "ann", "bob" }, world.members(server, id));
	end);

	it("with another library goes on with the one in memory, and says so at a reload", function ()
		assert.is_true(reload());
		assert.equal("Loaded", status()[2]);
		run(("cp '%s' '%s.new' && mv '%s.new' '%s'"):format(module_folder..library, module_folder..library,
			module_folder..library, module_folder..library));
		local mark = server:log_mark();
		assert.is_true(reload());
		assert.equal(1, lines(mark, "\twarn\t[^\n]*restart Prosody to use it"));
		assert.same({ "warn", "An update is installed: restart Prosody to use it" }, { status()[1], status()[2] });
		assert.equal(1, #server:call("get_user_groups", "ann"));
		server:restart();
		assert.equal("Loaded", status()[2]);
		assert.is_true(reload());
		assert.equal("Loaded", status()[2]);
	end);

	it("that does not fit together refuses to load at a start, in one line", function ()
		install("99.1.0");
		server.settings.modules = { "groups_internal" };
		local mark = server:log_mark();
		server:restart();
		assert.equal(1, lines(mark, "\terror\t[^\n]*has version [%d.]+, but the module has version 99%.1%.0"));
		assert.is_true(server:eval("return groups == nil"));
	end);
end);
