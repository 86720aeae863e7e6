-- `make install` in a clean root, and the server as systemd starts it with more protection than Debian's unit asks for.

local harness = require "spec.support.harness";
local new_root = require "spec.support.root".new;

-- Starts Prosody as with MemoryDenyWriteExecute=yes, and sees that this is in force. PROT_READ is 1, PROT_WRITE 2,
-- PROT_EXEC 4.
local deny_write_execute = [[
#!/usr/bin/perl
use POSIX "uname";
my ($prctl, $mmap) = (uname)[4] eq "aarch64" ? (167, 222) : (157, 9);
syscall($prctl, 65, 1, 0, 0, 0) == 0 or die "PR_SET_MDWE: $!";
syscall($mmap, 0, 4096, 7, 0x22, -1, 0) == -1 or die "memory can be written and executed";
exec "/usr/bin/prosody", @ARGV;
]];

-- Stands in for the network: rustup's installer, which puts a toolchain to where it is told.
local curl = [[
#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
cat >"$out" <<'END'
bin=$RUSTUP_HOME/toolchains/stable-here/bin
mkdir -p $bin
printf '#!/bin/sh\necho cargo 1.99.0\n' >$bin/cargo
chmod +x $bin/cargo
END
]];

describe("make build and make install, with Prosody "..harness.version.." in a clean root", function ()
	local root;

	local folder = "/usr/local/lib/prosody/modules/mod_groups_internal";

	local function log()
		return root:read("/var/log/prosody/prosody.log");
	end

	-- Prosody has loaded the module if its line is the last one.
	local function assert_loaded()
		assert.matches("Groups: %d+, memberships: %d+, storage: internal", log());
		assert.not_matches("%serror%s", log());
		os.remove(root.folder.."/var/log/prosody/prosody.log");
	end

	setup(function ()
		root = new_root();
		root:install("prosody lua-unbound lua5.4 make");
		root:write("/etc/prosody/conf.d/example.com.cfg.lua", [[
			VirtualHost "example.com"
				modules_enabled = { "groups_internal" }
		]]);
	end);

	teardown(function ()
		if root then root:destroy(); end
	end);

	it("under a umask of 077 leaves files that Prosody's user can read", function ()
		assert.matches("^Installed%.", root:done("umask 077; make -C /src --no-print-directory install"));
		root:done("systemctl start prosody");
		assert_loaded();
		assert.equal("", root:done("find "..folder.." ! -user root -o -perm /o+w"));
	end);

	it("makes a module that loads with MemoryDenyWriteExecute=yes and ProtectSystem=full", function ()
		root:done("systemctl stop prosody");
		root:program("deny-write-execute", deny_write_execute);
		root:done("for dir in /usr /boot /etc; do mount --bind $dir $dir && mount -o remount,ro,bind $dir; done");
		assert.matches("Read%-only file system", (root:run("touch /usr/x")));
		root:done("PROSODY=/usr/local/bin/deny-write-execute systemctl start prosody");
		assert_loaded();
		assert.matches("created", root:done("prosodyctl shell groups create example.com Family false family"));
		root:done("systemctl stop prosody; for dir in /usr /boot /etc; do umount -l $dir; done");
	end);

	it("is undone by make uninstall, which leaves the data", function ()
		root:done("umask 077; make -C /src --no-print-directory uninstall");
		assert.is_false(root:exists(folder));
		assert.is_true(root:exists("/var/lib/prosody/example%2ecom/group_info/family.dat"));
	end);

	it("has Rust brought to target/rust where there is none, and a line says so", function ()
		root:program("cc", "#!/bin/sh\n");
		root:program("curl", curl);
		local provide = "cd tree && spec/support/provision build-tools";
		local said = "No Rust 1.88 or newer here: rustup's installer fetches one into target/rust ...";
		assert.equal(said, root:done("mkdir tree && cp -r /src/spec tree && "..provide));
		assert.equal("", root:done(provide));
		root:program("curl", "#!/bin/sh\nexit 6\n");
		local output, status = root:run("rm -r tree/target && "..provide);
		assert.equal(1, status);
		assert.equal(said.."\nMissing: Rust 1.88 or newer. It cannot be fetched (see target/rust.log): check the network, "
			.."or install it with rustup (https://rustup.rs).", output);
	end);
end);
