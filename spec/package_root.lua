-- The Debian package in a clean root, as somebody has it who installs it on a new machine. `make deb-test` runs this.

local lfs = require "lfs";

local harness = require "spec.support.harness";
local new_root = require "spec.support.root".new;

describe("the package with Prosody "..harness.version.." in a clean root", function ()
	local root, deb;

	local folder = "/usr/lib/prosody/modules/mod_groups_internal";
	local data = "/var/lib/prosody/example%2ecom";

	local function shell(...)
		return root:done("prosodyctl shell groups "..table.concat({ ... }, " "));
	end

	-- The contacts that a user has in storage, once there are any.
	local function contacts(user)
		return harness.wait_until(function ()
			return root:read(("%s/roster/%s.dat"):format(data, user));
		end, user.." has a contact list");
	end

	local function log()
		return root:read("/var/log/prosody/prosody.log");
	end

	setup(function ()
		local names = io.popen("cd target && ls prosody-mod-groups-internal_*_$(dpkg --print-architecture).deb");
		deb = names:read("l");
		names:close();
		root = new_root();
		assert(os.execute(("cp target/%s %s/root/"):format(deb, root.folder)));
		root:install("prosody lua-unbound /root/"..deb);
		root:write("/etc/prosody/conf.d/example.com.cfg.lua", [[
			VirtualHost "example.com"
				modules_enabled = { "groups_internal" }
				groups_muc_host = "groups.example.com"
			Component "groups.example.com" "muc"
		]]);
	end);

	teardown(function ()
		if root then root:destroy(); end
	end);

	it("brings what it needs, and is read by everybody", function ()
		assert.matches("Prosody "..harness.version:gsub("%.", "%%."), root:done("prosodyctl about"));
		assert.equal("", root:done(("find %s ! -perm -o+r -o -type d ! -perm -o+x"):format(folder)));
		assert.equal("", root:done("ldd "..folder.."/groups_internal_native.so | grep 'not found' || true"));
	end);

	it("makes a group by the shell, whose members see each other", function ()
		root:done("systemctl start prosody");
		assert.matches("info%s+Groups: 0, memberships: 0, storage: internal, contact lists: permanent, "
			.."chats: groups%.example%.com\n", log());
		for _, user in ipairs { "ann", "bob" } do
			root:done("prosodyctl register "..user.." example.com secret");
		end
		assert.equal('OK: created the group "Family" on example.com, its id is family',
			shell("create", "example.com", "Family", "true", "family"));
		assert.equal('OK: added 2 users to "Family"', shell("add_member", "example.com", "family", "ann", "bob"));
		for user, other in pairs { ann = "bob", bob = "ann" } do
			assert.matches('%["'..other..'@example%.com"%] = {.-"both"', contacts(user));
		end
		assert.is_true(root:exists("/var/lib/prosody/groups%2eexample%2ecom/config/family.dat"));
	end);

	it("is upgraded under a running server, which goes on until it is restarted", function ()
		root:done(("dpkg-deb -R %s new && sed -i 's/^Version: .*/&+1/' new/DEBIAN/control && dpkg-deb -b new new.deb")
			:format(deb));
		local inode = lfs.attributes(root.folder..folder.."/groups_internal_native.so", "ino");
		root:done("dpkg -i new.deb");
		assert.not_equal(inode, lfs.attributes(root.folder..folder.."/groups_internal_native.so", "ino"));
		assert.matches("2 members$", shell("show", "example.com", "family"));
		root:done([[prosodyctl shell 'module:reload("groups_internal", "example.com")']]);
		assert.matches("An update is installed: restart Prosody to use it", log());
		assert.matches("OK: removed bob", shell("remove_member", "example.com", "family", "bob"));
		root:done("systemctl restart prosody");
		assert.matches("^Groups: 1, memberships: 1, ", log():match(".*%s(Groups: .*)"));
		assert.matches("OK: 1 member$", shell("show", "example.com", "family"));
	end);

	it("goes without a trace but the data, and Prosody starts without it", function ()
		root:done("dpkg -r prosody-mod-groups-internal");
		assert.is_false(root:exists(folder));
		assert.equal("", root:done("find /etc /usr /var/log /run -name '*groups?internal*'"));
		assert.equal("family.dat", root:done("ls '"..data.."/groups'"));
		assert.equal("family.dat", root:done("ls '"..data.."/group_info'"));
		root:done("systemctl restart prosody");
		assert.matches("Unable to load module 'groups_internal'", log());
		assert.matches("both", contacts("ann"));
	end);

	it("is what lintian wants", function ()
		local lintian = io.popen("lintian --allow-root --suppress-tags "
			-- What a package lacks whose builder has named no maintainer.
			.."bogus-mail-host,bogus-mail-host-in-debian-changelog,root-in-contact target/"..deb.." 2>&1");
		assert.equal("", lintian:read("a"));
		assert.is_true(lintian:close());
	end);
end);
