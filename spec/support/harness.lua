-- Runs a real Prosody for specs, in a folder of its own under target/spec.
--
--	local harness = require "spec.support.harness";
--	local server = harness.new { modules = { "groups_internal" } };  -- a table of settings, see `new`
--	server:start();
--	server:create_user("alice");
--	local id, err = server:call("create", { name = "Friends" }, false);   -- a function of mod_groups_internal
--	local rows = server:eval("return hosts[host].sessions", ...);         -- any Lua, inside the server
--	server:destroy();
--
-- Which Prosody and which storage: the environment says, SPEC_PROSODY = 0.12 | 13 and SPEC_STORAGE = internal | sql |
-- postgresql. With the last, each server has a database of its own in one PostgreSQL, which ends with this process.
-- With SPEC_KEEP=1 the folders stay, for a look at what happened.

local lfs = require "lfs";
local socket = require "socket";
local json = require "dkjson";

local harness = {
	version = os.getenv("SPEC_PROSODY") or "0.12";
	storage = os.getenv("SPEC_STORAGE") or "internal";
	top = lfs.currentdir();
};

local prosody = ("%s/target/prosody/%s"):format(harness.top, harness.version);
local plugins = harness.top.."/target/plugins";

-- --- small things ---------------------------------------------------------------------------------------------------

-- Quotes a value as Lua source: nil, booleans, numbers, strings, and tables of these.
local function quote(value)
	if type(value) ~= "table" then
		return (("%q"):format(value):gsub("\\\n", "\\n"));
	end
	local parts = {};
	for key, item in pairs(value) do
		parts[#parts + 1] = ("[%s]=%s"):format(quote(key), quote(item));
	end
	return "{"..table.concat(parts, ";").."}";
end
harness.quote = quote;

local function shell_quote(text)
	return "'"..text:gsub("'", "'\\''").."'";
end

local function read_file(path)
	local file = io.open(path, "rb");
	if not file then return nil; end
	local text = file:read("a");
	file:close();
	return text;
end

local function write_file(path, text)
	local file = assert(io.open(path, "wb"));
	assert(file:write(text));
	assert(file:close());
end

local function merged(...)
	local result = {};
	for i = 1, select("#", ...) do
		for key, value in pairs((select(i, ...)) or {}) do
			result[key] = value;
		end
	end
	return result;
end

-- Calls `condition` until it returns something true, and returns that; an error that says `what` after `timeout`
-- seconds.
function harness.wait_until(condition, what, timeout)
	local deadline = socket.gettime() + (timeout or 10);
	while true do
		local result = condition();
		if result then return result; end
		if socket.gettime() > deadline then
			error("waited in vain until "..(what or "a condition holds"), 2);
		end
		socket.sleep(0.005);
	end
end

local ports_given = {};

-- A TCP port of 127.0.0.1 that nobody listens on. Specs of the two versions may run at the same time: each has one half
-- of the odd ports, which are the ones that Linux gives.
function harness.free_port()
	local half = harness.version == "13" and 1 or 0;
	while true do
		local listener = assert(socket.bind("127.0.0.1", 0));
		local _, port = listener:getsockname();
		listener:close();
		port = tonumber(port);
		if port // 2 % 2 == half and not ports_given[port] then
			ports_given[port] = true;
			return port;
		end
	end
end

-- Is the plugin folder built? Specs that need the module can say `pending` without it.
function harness.has_module()
	return lfs.attributes(plugins.."/mod_groups_internal/mod_groups_internal.lua", "mode") == "file";
end

-- Lets `require "util.x"` find the libraries of the Prosody under test, in this process.
function harness.use_prosody_libraries()
	package.path = prosody.."/lib/?.lua;"..package.path;
	package.cpath = prosody.."/lib/?.so;"..package.cpath;
	pcall(require, "loader"); -- 13: its files know each other by other names
	harness.use_prosody_libraries = function () end;
end

-- Can a server have a disk of its own?
function harness.has_disks()
	return os.execute("unshare --map-root-user --mount mount -t tmpfs none /mnt 2>/dev/null") == true;
end

-- Makes a folder for this run.
local function new_folder(name)
	local parent = ("%s/target/spec/%s-%s"):format(harness.top, harness.version, harness.storage);
	local quoted = shell_quote(parent);
	local made = io.popen(("mkdir -p %s && mktemp -d %s/%s.XXXXXX"):format(quoted, quoted, name));
	local folder = made:read("l");
	assert(made:close(), "cannot make a folder in "..parent);
	return folder;
end

-- --- PostgreSQL -----------------------------------------------------------------------------------------------------

local database_server;

local function postgresql(command, ...)
	local done = os.execute(table.concat({ "spec/support/postgresql", command, database_server.port, ... }, " "));
	assert(done, "PostgreSQL: "..command.." failed");
end

-- Starts the PostgreSQL of this process, unless it has been started.
local function provide_postgresql()
	if database_server then return; end
	local folder = new_folder("postgresql");
	database_server = { port = harness.free_port() };
	database_server.keeper = assert(io.popen(("spec/support/postgresql serve %s %d"):format(shell_quote(folder),
		database_server.port), "w"));
	postgresql("wait");
end

-- Kills PostgreSQL, and returns when it is gone.
function harness.stop_postgresql()
	assert(database_server.keeper:write("stop\n"));
	database_server.keeper:flush();
	harness.wait_until(function ()
		local conn = socket.connect("127.0.0.1", database_server.port);
		return not conn or not conn:close();
	end, "PostgreSQL has ended");
end

-- Starts it again with what was committed, and returns when it answers.
function harness.start_postgresql()
	assert(database_server.keeper:write("start\n"));
	database_server.keeper:flush();
	postgresql("wait");
end

-- --- a server -------------------------------------------------------------------------------------------------------

local server_mt = {};
server_mt.__index = server_mt;

local function write_options(out, options)
	local names = {};
	for name in pairs(options) do names[#names + 1] = name; end
	table.sort(names);
	for _, name in ipairs(names) do
		out[#out + 1] = ("%s = %s"):format(name, quote(options[name]));
	end
end

-- The configuration, from the settings as they are now.
function server_mt:config()
	local settings, out = self.settings, {};
	local storage = settings.storage or harness.storage;
	local sql = { driver = "SQLite3"; database = self.folder.."/data/prosody.sqlite" };
	if storage == "postgresql" then
		storage = "sql";
		sql = { driver = "PostgreSQL"; host = "127.0.0.1"; port = database_server.port; username = "postgres";
			database = self.database };
	end
	local paths = { table.unpack(settings.plugin_paths or {}) };
	paths[#paths + 1] = settings.plugins or plugins;
	paths[#paths + 1] = harness.top.."/spec/support/plugins";
	write_options(out, merged({
		run_as_root = true;
		daemonize = false;
		data_path = self.folder.."/data";
		certificates = self.folder; -- there are none, but the system's are not looked for
		plugin_paths = paths;
		log = { debug = self.folder.."/prosody.log" };
		modules_enabled = settings.global_modules or { "disco", "roster", "saslauth", "ping" };
		modules_disabled = { "s2s" };
		interfaces = { "127.0.0.1" };
		c2s_ports = { self.c2s_port };
		c2s_direct_tls_ports = {};
		http_ports = {};
		https_ports = {};
		component_ports = {};
		c2s_require_encryption = false;
		allow_unencrypted_plain_auth = true;
		authentication = "internal_plain"; -- no time spent on hashing passwords
		limits = {};
		storage = storage;
		sql = sql;
	}, settings.options));

	local modules = { "spec_control", "spec_started", table.unpack(settings.modules or { "groups_internal" }) };
	out[#out + 1] = 'VirtualHost "localhost"';
	write_options(out, merged({
		modules_enabled = modules;
		spec_control_port = self.control_port;
		groups_muc_host = settings.muc ~= false and "groups.localhost" or nil;
	}, settings.host_options));

	for name, host in pairs(settings.hosts or {}) do
		out[#out + 1] = ("VirtualHost %q"):format(name);
		write_options(out, merged({ modules_enabled = host.modules }, host.options));
	end

	local components = settings.components or {};
	if settings.muc ~= false and not components["groups.localhost"] then
		components = merged({ ["groups.localhost"] = { "muc" } }, components);
	end
	for name, component in pairs(components) do
		out[#out + 1] = ("Component %q %q"):format(name, component[1]);
		write_options(out, merged({ modules_enabled = component.modules }, component.options));
	end
	if settings.clock then
		-- 13 has globals there.
		out[#out + 1] = ("local globals = Lua or _G; globals.dofile %q"):format(harness.top.."/spec/support/clock.lua");
	end
	out[#out + 1] = settings.config; -- the last word, as text
	return table.concat(out, "\n").."\n";
end

-- Writes the configuration anew; `restart` or `prosody.reload_config()` makes it count.
function server_mt:write_config()
	write_file(self.folder.."/prosody.cfg.lua", self:config());
end

local function alive(pid)
	local text = pid and read_file("/proc/"..pid.."/stat");
	-- Z: it has ended, and nobody has waited for it yet.
	return text ~= nil and not text:match("%) [ZX]");
end

function server_mt:running()
	return alive(self.pid);
end

-- What a failure should show.
local function account(self)
	local log = read_file(self.folder.."/prosody.log") or "";
	return ("\n--- output:\n%s\n--- end of %s/prosody.log:\n%s"):format(
		read_file(self.folder.."/output") or "", self.folder, log:sub(-4000));
end

-- Starts Prosody and waits until it answers.
function server_mt:start()
	assert(not self:running(), "the server is running already");
	self:write_config();
	os.remove(self.folder.."/pid");
	-- The shell in between waits for its child, and kills it when our end of the pipe closes: a spec that dies takes its
	-- server along.
	local program = shell_quote(prosody.."/bin/prosody");
	if self.settings.disk then
		-- Only this process and its children see the disk, which is gone with them.
		program = ([[unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=%s none "$0" && exec "$@"' %s %s]])
			:format(self.settings.disk, shell_quote(self.folder.."/data"), program);
	end
	self.keeper = assert(io.popen(([[%s --config %s -F </dev/null >>%s 2>&1 &
		echo $! >%s.new; mv %s.new %s
		read -r _
		kill -9 $! 2>/dev/null
		wait 2>/dev/null]]):format(program, shell_quote(self.folder.."/prosody.cfg.lua"),
		shell_quote(self.folder.."/output"), shell_quote(self.folder.."/pid"), shell_quote(self.folder.."/pid"),
		shell_quote(self.folder.."/pid")), "w"));
	self.pid = harness.wait_until(function ()
		return tonumber(read_file(self.folder.."/pid"));
	end, "the shell has started Prosody");
	local ready = pcall(harness.wait_until, function ()
		if not self:running() then error("it ended"); end
		local conn = socket.connect("127.0.0.1", self.control_port);
		if conn then conn:close(); return true; end
	end, nil, 30);
	if not ready then
		local text = account(self);
		self:kill();
		error("Prosody did not start"..text, 2);
	end
	self:wait_for("return prosody.spec_started", "the server has started");
	return self;
end

local function reap(self)
	if self.keeper then
		self.keeper:close(); -- and waits for the shell, which waits for Prosody
		self.keeper = nil;
	end
	self.pid = nil;
end

function server_mt:signal(name)
	if self:running() then
		os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid));
	end
end

-- Asks Prosody to stop and waits until it has.
function server_mt:stop(timeout)
	if not self.pid then return; end
	self:signal("TERM");
	local nudge = socket.gettime() + 1;
	local stopped = pcall(harness.wait_until, function ()
		if not self:running() then return true; end
		-- A signal that comes just before 0.12 waits for the next event is heard, but with no connections and no timers left
		-- nothing ends that wait. Halting the process does.
		if socket.gettime() > nudge then
			self:signal("STOP");
			self:signal("CONT");
			nudge = socket.gettime() + 1;
		end
	end, nil, timeout or 30);
	local text = not stopped and account(self);
	reap(self);
	if not stopped then error("Prosody did not stop when asked to"..text, 2); end
end

-- Ends Prosody with no chance to tidy up.
function server_mt:kill()
	if not self.pid then return; end
	self:signal("KILL");
	reap(self);
end

function server_mt:restart()
	self:stop();
	return self:start();
end

-- Kills it if it runs, and removes its folder.
function server_mt:destroy()
	self:kill();
	if self.database then postgresql("drop", self.database); end
	if os.getenv("SPEC_KEEP") ~= "1" then
		os.execute("rm -rf "..shell_quote(self.folder));
	end
end

-- --- talking to it --------------------------------------------------------------------------------------------------

local request_mt = {};
request_mt.__index = request_mt;

-- Starts Lua source inside the server and returns a request at once; `request:await()` gives its results. The arguments
-- are plain data, and arrive as `...`. Names in scope: `module`, `host`, `groups` (the module's environment), all
-- globals.
function server_mt:begin(source, ...)
	local arguments = {};
	for i = 1, select("#", ...) do arguments[i] = quote((select(i, ...))); end
	-- On one line with the first of the source, so that line numbers in errors are the caller's.
	source = ("return (function (...) %s\nend)(%s)"):format(source, table.concat(arguments, ","));
	local conn, err = socket.connect("127.0.0.1", self.control_port);
	if not conn then error("cannot talk to Prosody: "..err..account(self), 2); end
	conn:settimeout(30);
	assert(conn:send(#source.."\n"..source));
	return setmetatable({ conn = conn; server = self }, request_mt);
end

-- true and the results, or false and the error.
function request_mt:result(timeout)
	self.conn:settimeout(timeout or 30);
	local length, err = self.conn:receive("*l");
	local text;
	if length then text, err = self.conn:receive(tonumber(length)); end
	self.conn:close();
	if not text then return false, "no answer from Prosody: "..err..account(self.server); end
	local answer, _, bad = json.decode(text);
	if not answer then return false, "bad answer from Prosody: "..bad; end
	if not answer.ok then return false, answer.error; end
	return true, table.unpack(answer.result, 1, answer.n);
end

local function or_error(ok, ...)
	if not ok then error((...), 3); end
	return ...;
end

function request_mt:await(timeout)
	return or_error(self:result(timeout));
end

-- Is there an answer? Does not wait.
function request_mt:done()
	local ready = socket.select({ self.conn }, nil, 0);
	return #ready > 0;
end

-- Runs Lua source inside the server and returns its results; a thrown error is thrown here.
function server_mt:eval(source, ...)
	return or_error(self:begin(source, ...):result());
end

-- The same, but returns true and the results, or false and the error.
function server_mt:try_eval(source, ...)
	return self:begin(source, ...):result();
end

-- Calls a function of mod_groups_internal with plain data.
function server_mt:call(name, ...)
	return or_error(self:begin("local name = ...; return groups[name](select(2, ...));", name, ...):result());
end

-- Waits until Lua source inside the server returns something true, and returns that.
function server_mt:wait_for(source, what, timeout, ...)
	local request = { n = select("#", ...), ... };
	return harness.wait_until(function ()
		return (self:eval(source, table.unpack(request, 1, request.n)));
	end, what or source, timeout);
end

-- Makes accounts; the password of each is "secret".
function server_mt:create_user(...)
	return self:eval([[
		local um = require "core.usermanager";
		for _, name in ipairs { ... } do assert(um.create_user(name, "secret", host)); end
		return true]], ...);
end

-- Deletes an account as the admin shell does.
function server_mt:delete_user(name)
	return self:eval([[return assert(require "core.usermanager".delete_user(..., host))]], name);
end

-- Runs prosodyctl with these arguments. Returns what it prints, what it says is wrong, and its exit status.
function server_mt:prosodyctl(...)
	local arguments = {};
	for i = 1, select("#", ...) do arguments[i] = shell_quote((select(i, ...))); end
	local errors = self.folder.."/shell-errors";
	local process = io.popen(("%s --config %s %s </dev/null 2>%s"):format(shell_quote(prosody.."/bin/prosodyctl"),
		shell_quote(self.folder.."/prosody.cfg.lua"), table.concat(arguments, " "), shell_quote(errors)));
	-- 13 tells of libraries that it misses first.
	local output = process:read("a"):gsub("^\n%*%*+\n.-\n%*%*+\n\n?", "");
	local _, _, status = process:close();
	return (output:gsub("\n$", "")), (read_file(errors):gsub("\n$", "")), status;
end

-- The same for its shell: one argument is Lua source, several are a command.
function server_mt:shell(...)
	return self:prosodyctl("shell", ...);
end

-- What a store holds under a key, read by Prosody's own driver: `typ` is "keyval" or, with `key`, "map".
function server_mt:stored(store, username, key)
	return self:eval([[
		local store, username, key = ...;
		local sm = require "core.storagemanager";
		if key ~= nil then return sm.open(host, store, "map"):get(username, key); end
		return sm.open(host, store, "keyval"):get(username);]], store, username, key);
end

-- Writes a record into a store behind everybody's back.
function server_mt:store(store, username, data)
	return self:eval([[
		local store, username, data = ...;
		return assert(require "core.storagemanager".open(host, store, "keyval"):set(username, data));]],
		store, username, data);
end

-- The contact list that is in storage, keyed by JID: { subscription =, ask =, name =, groups = { NAME = true } }.
function server_mt:stored_roster(username)
	return self:eval([[
		local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(...);
		if not roster then return nil; end
		local items = {};
		for jid, item in pairs(roster) do
			if type(jid) == "string" and jid ~= "pending" then items[jid] = item; end
		end
		return items;]], username);
end

-- --- its log --------------------------------------------------------------------------------------------------------

-- Where the log ends now, for `log_text`.
function server_mt:log_mark()
	return lfs.attributes(self.folder.."/prosody.log", "size") or 0;
end

-- The log, from a mark on if one is given.
function server_mt:log_text(mark)
	return (read_file(self.folder.."/prosody.log") or ""):sub((mark or 0) + 1);
end

-- Waits until the log has a line that matches.
function server_mt:wait_for_log(pattern, mark, timeout)
	return harness.wait_until(function ()
		return self:log_text(mark):match(pattern);
	end, "the log matches "..pattern, timeout);
end

-- --- making one -----------------------------------------------------------------------------------------------------

local count = 0;

-- Settings, all optional; `server.settings` may be changed later and count at the next start:
--   modules         of host localhost, { "groups_internal" } unless given (spec_control is always there)
--   options         global options; host_options, those of host localhost
--   global_modules  instead of { "disco", "roster", "saslauth", "ping" }
--   muc             false: no component groups.localhost and no groups_muc_host
--   hosts           { ["other.example"] = { modules = {}, options = {} } }
--   components      { ["chat.example"] = { "muc", modules = {}, options = {} } }; may replace groups.localhost
--   plugins         instead of target/plugins; plugin_paths: folders that come before it
--   storage         "internal", "sql", "waiting", "failing" or a table store -> driver, instead of SPEC_STORAGE;
--                   "postgresql" only if SPEC_STORAGE says so
--   clock           true: one that can be put forward, see spec/support/clock.lua
--   disk            a size as mount(8) has it: the server's data are on a disk of their own, gone with the process
--   config          text at the end of the configuration
-- Fields: folder, c2s_port, control_port, settings, pid.
function harness.new(settings)
	count = count + 1;
	local folder = new_folder(count);
	assert(lfs.mkdir(folder.."/data"));
	local database;
	if harness.storage == "postgresql" then
		provide_postgresql();
		database = "server"..count;
		postgresql("create", database);
	end
	return setmetatable({
		database = database;
		settings = settings or {};
		folder = folder;
		c2s_port = harness.free_port();
		control_port = harness.free_port();
	}, server_mt);
end

return harness;
