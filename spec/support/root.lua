-- A Debian with nothing on it, for tests of an installation: a folder under target/roots, and a shell in it.
--
--	local root = require "spec.support.root".new();   -- by the folder that `provision package-tools` has made
--	root:install("./package.deb");                     -- apt-get install, with Prosody in the version under test
--	local output, status = root:run("prosodyctl about");
--	root:destroy();
--
-- The shell has its own processes, mounts and network: what it starts ends with it, and meets no other server. The
-- repository is its folder /src, which it can only read.

local lfs = require "lfs";

local harness = require "spec.support.harness";

local root_mt = {};
root_mt.__index = root_mt;

local count = 0;

local function execute(command, ...)
	local ok, _, status = os.execute(command:format(...));
	assert(ok, ("%s: %s"):format(command:format(...), tostring(status)));
end

-- What systemctl does, for a machine that runs no systemd: `systemctl restart prosody` is what people type. PROSODY is
-- another program to start.
local systemctl = [[
#!/bin/sh
case $1 in stop|restart)
	start-stop-daemon --stop --quiet --oknodo --retry 30 --user prosody --remove-pidfile --pidfile /run/prosody.pid;;
esac
case $1 in start|restart)
	mkdir -p /run/prosody
	chown prosody: /run/prosody
	start-stop-daemon --start --quiet --chuid prosody --chdir /var/lib/prosody --background --make-pidfile \
		--pidfile /run/prosody.pid --startas ${PROSODY:-/usr/bin/prosody} -- -F
	for _ in $(seq 100); do
		prosodyctl shell 'return 1' >/dev/null 2>&1 && exit
		sleep 0.1
	done
	exit 1;;
esac
]];

-- Is there a folder to copy? Only for root, on Debian 12.
function root_mt.new()
	count = count + 1;
	local folder = ("%s/target/roots/%s-%d"):format(harness.top, harness.version, count);
	execute("rm -rf %s && cp -a %s/target/roots/clean %s && mkdir -p %s/src", folder, harness.top, folder, folder);
	return setmetatable({ folder = folder }, root_mt);
end

function root_mt:write(path, text)
	local file = assert(io.open(self.folder..path, "w"));
	assert(file:write(text));
	assert(file:close());
end

function root_mt:read(path)
	local file = io.open(self.folder..path);
	if not file then return nil; end
	local text = file:read("a");
	file:close();
	return text;
end

function root_mt:exists(path)
	return lfs.symlinkattributes(self.folder..path) ~= nil;
end

-- Installs packages, by names or by paths in the root. Before the first command: the shell has no network.
function root_mt:install(packages)
	assert(not self.shell);
	execute("DEBIAN_FRONTEND=noninteractive chroot %s apt-get -qq install -y --no-install-recommends -t %s %s "
		.."</dev/null >%s.log 2>&1", self.folder, harness.version == "13" and "bookworm-backports" or "bookworm",
		packages, self.folder);
	self:program("systemctl", systemctl);
end

-- Puts a script into the search path.
function root_mt:program(name, text)
	self:write("/usr/local/bin/"..name, text);
	execute("chmod +x %s/usr/local/bin/%s", self.folder, name);
end

local function open_shell(self)
	if self.shell then return; end
	self.shell = assert(io.popen(([[echo $$ >%s/shell.pid; exec unshare --mount --pid --net --fork --kill-child sh -c '
		mount -t proc proc "$1/proc" && mount --bind "$2" "$1/src" && mount -o remount,ro,bind "$1/src" &&
			exec chroot "$1" bash' - %s %s]]):format(self.folder, self.folder, harness.top), "w"));
end

-- Runs shell source as root. Returns what it prints, without the last end of line, and its exit status.
function root_mt:run(source)
	open_shell(self);
	self:write("/command", source);
	os.remove(self.folder.."/status");
	assert(self.shell:write("cd /root; bash /command </dev/null >/output 2>&1; echo $? >/status.new; "
		.."mv /status.new /status\n"));
	assert(self.shell:flush());
	local status = harness.wait_until(function () return self:read("/status"); end, "this has ended: "..source, 60);
	return (self:read("/output"):gsub("\n$", "")), tonumber(status);
end

-- The same, for what is to succeed.
function root_mt:done(source)
	local output, status = self:run(source);
	assert(status == 0, ("%s: exit status %d\n%s"):format(source, status, output));
	return output;
end

function root_mt:destroy()
	if self.shell then
		execute("kill -9 %s", self:read("/shell.pid")); -- and all that it has started
		self.shell:close();
	end
	if os.getenv("SPEC_KEEP") ~= "1" then
		execute("rm -rf %s %s.log", self.folder, self.folder);
	end
end

return root_mt;
