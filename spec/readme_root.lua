-- What README.md tells people to type, in a clean root, from its top to its end: commands do what it says, and print
-- what it shows. One test for each heading.

local harness = require "spec.support.harness";
local new_root = require "spec.support.root".new;

-- Commands that come before the tests, and one that does not end.
local elsewhere = { ["make build"] = true, ["make run"] = true, ["make deb"] = true };

-- What is there before a heading's commands are run.
local before = {
	["Put it on a server"] = [[echo 'APT::Get::Assume-Yes "true";' >/etc/apt/apt.conf.d/yes]];
	["Make the first group"] = "for user in ann bob; do prosodyctl register $user example.com secret; done";
	["In the shell"] = [[
		prosodyctl shell groups create example.com Staff false staff
		sed -i 's/^staff:.*/staff:x:50:ann,bob/' /etc/group
		printf 'ann\nbob@example.com\n' >/etc/prosody/staff]];
	["By invitation"] = [[
		cp -r /src/spec/support/plugins/mod_invites_groups /usr/local/lib/prosody/modules
		sed -i 's/"admin_shell";/& "invites_groups";/' /etc/prosody/prosody.cfg.lua
		systemctl restart prosody]];
	["From the Lua module"] = [[
		for _ in $(seq 50); do
			prosodyctl shell groups status example.com | grep -q 'all contact lists are in storage' && break
			sleep 0.1
		done]];
	["When something is wrong"] = "make -C /src install && systemctl restart prosody";
	["From mod_groups or ejabberd"] = [[
		printf '[Book Club]\nann@example.com\nbob@example.com\neve@elsewhere.example\n' >/etc/prosody/groups.txt]];
};

-- What holds after a heading's commands beside what they print.
local after = {
	["From mod_groups or ejabberd"] = [[
		prosodyctl shell groups import example.com /etc/prosody/srg.txt >/tmp/import || true
		grep -q '^crew: create "Night crew"$' /tmp/import && grep -q '^Left out: line 7: watch is left out' /tmp/import]];
	["Backup"] = [[
		prosodyctl shell groups delete example.com family --yes
		source <(grep -o "prosodyctl shell '> return .*restore.*" /src/README.md) | grep -w true
		prosodyctl shell groups show example.com family | grep 'OK: 2 members'
		grep 'Group family has lost chats' /var/log/prosody/prosody.log
		prosodyctl shell groups check example.com | grep 'OK: nothing is wrong']];
};

-- What ejabberd 24.12 prints, for the commands that README.md has.
local ejabberdctl = [[
#!/bin/sh
case $1-$2 in
	srg_list-*) printf 'crew\nwatch\n';;
	srg_get_info-crew) printf 'displayed_groups\t["crew"]\nlabel\tNight crew\ndescription\t[]\n';;
	srg_get_info-watch) printf 'displayed_groups\t["crew"]\nlabel\tWatch\ndescription\t[]\n';;
	srg_get_members-crew) echo ann@example.com;;
	srg_get_members-watch) echo bob@example.com;;
esac
]];

-- The blocks of README.md by headings, in their order: { heading =, { language =, text = } … }
local function read_readme()
	local sections, block, indent = { { heading = "" } }, nil, nil;
	for line in io.lines("README.md") do
		local blanks, language = line:match("^(%s*)```(%w*)$");
		if block and blanks then
			block.text = table.concat(block, "\n");
			block = nil;
		elseif block then
			block[#block + 1] = line:sub(#indent + 1);
		elseif blanks then
			block, indent = { language = language }, blanks;
			table.insert(sections[#sections], block);
		elseif line:match("^##+ ") then
			sections[#sections + 1] = { heading = line:match("^#+ (.*)$") };
		end
	end
	return sections;
end

-- Leaves out the lines for another version of Prosody, and those that other tests run.
local function for_here(text)
	return (text:gsub("[^\n]+", function (line)
		local version = line:match("# Prosody ([%d.]+)$");
		local command = line:gsub("%s+#.*$", "");
		return (version and version ~= harness.version or elsewhere[command]) and ":" or nil;
	end));
end

describe("README.md, with Prosody "..harness.version.." in a clean root", function ()
	local root;

	local run = {
		-- The first drawing.
		[""] = function () end;
		sh = function (text)
			root:done("set -e; cd /src\n"..for_here(text));
		end;
		-- Commands with what they print.
		console = function (text)
			local steps = {};
			for line in text:gmatch("[^\n]+") do
				local command = line:match("^%$ (.*)");
				if command then steps[#steps + 1] = { command = command }; else table.insert(steps[#steps], line); end
			end
			for _, step in ipairs(steps) do
				local output, status = root:run("cd /src; "..step.command);
				assert.equal(table.concat(step, "\n"), output);
				assert.equal(output:find("Error: ", 1, true) and 1 or 0, status);
			end
		end;
		-- A file, if its first line says which.
		lua = function (text)
			assert(load(text));
			local path, name = text:match("^%-%- (/%S+)\n"), text:match("^%-%- (mod_[%w_]+)%.lua\n");
			if path then root:write(path, text); end
			if name then
				root:done("mkdir -p /usr/local/lib/prosody/modules/"..name);
				root:write(("/usr/local/lib/prosody/modules/%s/%s.lua"):format(name, name), text);
				assert.matches("OK: .*1 host", root:done(([[prosodyctl shell 'module:load("%s", "example.com")']])
					:format(name:match("^mod_(.*)$"))));
			end
		end;
	};

	setup(function ()
		root = new_root();
		root:install("prosody lua-unbound lua5.4 make");
		root:program("ejabberdctl", ejabberdctl);
	end);

	teardown(function ()
		if root then root:destroy(); end
	end);

	for _, section in ipairs(read_readme()) do
		if #section > 0 then
			it((section.heading == "" and "at its top" or section.heading)..": says what is so", function ()
				if before[section.heading] then root:done("set -e\n"..before[section.heading]); end
				for _, block in ipairs(section) do
					assert(run[block.language], "no test knows what to do with a block of "..block.language)(block.text);
				end
				if after[section.heading] then root:done("set -e\n"..after[section.heading]); end
			end);
		end
	end
end);
