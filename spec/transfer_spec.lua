-- Groups out of a server and into one, through the shell.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("export and import with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, other;

	local function new_server()
		local made = world.new { global_modules = { "disco", "roster", "saslauth", "admin_shell" } };
		made:create_user("ann", "bob", "cleo");
		return made;
	end

	-- A command of the shell: its output and status.
	local function shell(on, ...)
		local output, errors, status = on:shell("groups", ...);
		return output..(errors ~= "" and output ~= "" and "\n" or "")..errors, status;
	end

	local function read(path)
		local file = assert(io.open(path));
		local text = file:read("a");
		file:close();
		return text;
	end

	local function write(name, text)
		local path = other.folder.."/"..name;
		local file = assert(io.open(path, "w"));
		file:write(text);
		file:close();
		return path;
	end

	-- Rooms have other names elsewhere.
	local function without_rooms(text)
		return (text:gsub("[^\"]+@groups%.localhost", "ROOM"));
	end

	setup(function ()
		server, other = new_server(), new_server();
	end);

	teardown(function ()
		server:destroy();
		other:destroy();
	end);

	it("carry groups, members and chats to another server, where a second import changes nothing", function ()
		assert(server:call("create", { name = "Fam \"il\" ÿ", description = "All\tof us" }, true, "family"));
		assert(server:call("add_members", "family", { "bob", "ann" }));
		assert(server:call("create", { name = "Empty", chat_membership = false }, false, "empty"));
		assert(server:call("add_group_chat", "empty", "Kitchen"));
		local path = other.folder.."/export.json";
		assert.equal("OK: 2 groups written to "..path, (shell(server, "export", "localhost", "--file="..path)));
		local text = read(path);
		assert.equal([[{
  "format": "groups_internal 1",
  "host": "localhost",
  "groups": [
    {
      "id": "empty",
      "name": "Empty",
      "chat_membership": false,
      "chats": [
        { "jid": "ROOM", "name": "Kitchen" }
      ],
      "members": []
    },
    {
      "id": "family",
      "name": "Fam \"il\" ÿ",
      "description": "All\tof us",
      "chats": [
        { "jid": "ROOM", "name": "Fam \"il\" ÿ", "default": true }
      ],
      "members": [
        "ann",
        "bob"
      ]
    }
  ]
}
]], without_rooms(text));
		local output, status = shell(other, "import", "localhost", path);
		assert.equal(1, status);
		assert.equal([[empty: create "Empty"
empty: add the chat "Kitchen"
family: create "Fam \"il\" ÿ" with a chat
family: add 2 members
Error: 4 changes; nothing has changed; add --yes to do it]], output);
		assert.is_false(other:call("exists", "family"));
		assert.matches("OK: 4 changes made$", (shell(other, "import", "localhost", path, "--yes")));
		world.settle(other);
		assert.equal(world.both("Fam \"il\" ÿ"), world.contact_of(other, "ann", "bob"));
		assert.equal("OK: there is nothing to add", (shell(other, "import", "localhost", path, "--yes")));
		assert.equal(without_rooms(text), without_rooms(other:call("export_groups")));
		assert.matches('"id": "empty"', (shell(other, "export", "localhost", "Empty")));
		assert.not_matches('"id": "family"', (shell(other, "export", "localhost", "Empty")));
	end);

	it("complete a group that is there, and take nobody out of it", function ()
		assert(other:call("create", { name = "Old" }, false, "crew"));
		assert(other:call("add_member", "crew", "cleo"));
		local path = write("crew.json", [[{ "format": "groups_internal 1", "host": "localhost", "groups": [
			{ "id": "crew", "name": "New", "members": [ "ann" ] } ] }]]);
		assert.equal("crew: change name or description\ncrew: add ann\nOK: 2 changes made",
			(shell(other, "import", "localhost", path, "--yes")));
		assert.same({ "ann", "cleo" }, world.members(other, "crew"));
		assert.equal("New", other:call("get_info", "crew").name);
	end);

	it("keep groups apart whose names give the same id", function ()
		for _, id in ipairs { "group", "group-2" } do assert(server:call("create", { name = id }, false, id)); end
		local text = "[Друзья]\nann@localhost\n[Семья]\nbob@localhost\n[Работа]\ncleo@localhost\n";
		assert(server:call("import_groups", text));
		local found = server:eval([[
			local found = {};
			for id, info in groups.groups() do
				if info.name:find("[\128-\255]") and id:find("^group") then
					local users = {};
					for user in pairs(groups.get_members(id)) do users[#users + 1] = user; end
					found[info.name] = table.concat(users, " ");
				end
			end
			for id in pairs(groups.groups()) do
				if id:find("^group") then groups.delete(id); end
			end
			return found]]);
		assert.same({ ["Друзья"] = "ann"; ["Семья"] = "bob"; ["Работа"] = "cleo" }, found);
	end);

	it("take in Prosody's mod_groups, and say what they leave out", function ()
		local path = write("groups.txt", "[Book Club]\nann@localhost=Ann\nbob@localhost\neve@elsewhere.example\n");
		assert.equal([[book-club: create "Book Club"
book-club: add 2 members
Left out: line 2: the name "Ann" of ann@localhost
Left out: line 4: eve@elsewhere.example is not an account of localhost
OK: 2 changes made]], (shell(other, "import", "localhost", path, "--yes")));
		assert.same({ "ann", "bob" }, world.members(other, "book-club"));
		assert.matches("there is nothing to add$", (shell(other, "import", "localhost", path, "--yes")));
	end);

	it("take in what ejabberd prints", function ()
		local path = write("srg.txt", "== sailors\nlabel\tSailors\ndescription\tAt sea\nann@localhost\n@all@\n");
		assert.equal([[sailors: create "Sailors"
sailors: add ann
Left out: line 5: "@all@" is not a JID
OK: 2 changes made]], (shell(other, "import", "localhost", path, "--yes")));
		assert.same({ name = "Sailors"; description = "At sea" }, other:call("get_info", "sailors"));
		assert.matches("there is nothing to add$", (shell(other, "import", "localhost", path, "--yes")));
	end);

	it("refuse what is damaged whole, with the place", function ()
		local before = other:call("export_groups");
		local path = write("bad.json", [[{ "format": "groups_internal 1", "host": "localhost", "groups": [
{ "id": "fine", "name": "Fine" },
{ "id": "bad", "name": } ] }]]);
		local output, status = shell(other, "import", "localhost", path, "--yes");
		assert.equal(1, status);
		assert.equal(("Error: %s: line 3, column 24: expected value"):format(path), output);
		path = write("bad2.json", [[{ "format": "groups_internal 1", "host": "localhost", "groups": [
{ "id": "fine", "name": "Fine" }, { "id": "bad", "name": "Bad", "members": ["b b"] } ] }]]);
		assert.equal(('Error: %s: groups[2] ("Bad"): "b b" cannot be a username'):format(path),
			(shell(other, "import", "localhost", path, "--yes")));
		assert.matches("cannot read .*No such file", (shell(other, "import", "localhost", "/none", "--yes")));
		assert.matches("cannot write .*No such file", (shell(other, "export", "localhost", "--file=/none/file")));
		assert.equal(before, other:call("export_groups"));
	end);

	it("are written by rename: whoever reads the file meanwhile has the old one", function ()
		local path = write("kept.json", "old");
		local old = assert(io.open(path));
		assert.matches("written to", (shell(server, "export", "localhost", "--file="..path)));
		assert.equal("old", old:read("a"));
		old:close();
		assert.equal(server:call("export_groups"), read(path));
		local listing = io.popen(("ls '%s'"):format(other.folder));
		assert.not_matches("kept.json.", listing:read("a"), 1, true);
		listing:close();
		-- Nothing can come in place of a folder.
		assert(os.execute(("mkdir '%s/taken'"):format(other.folder)));
		assert.matches("^Error: the server cannot write ",
			(shell(server, "export", "localhost", "--file="..other.folder.."/taken")));
		listing = io.popen(("ls '%s'"):format(other.folder));
		assert.not_matches("taken.", listing:read("a"), 1, true);
		listing:close();
	end);

	it("round-trip a thousand groups and ten thousand members", function ()
		local out = {};
		for i = 1, 1000 do
			local n = i % 100;
			out[i] = ('{"id":"g%d","name":"Group %d","members":["a%d","b%d","c%d","d%d","e%d","f%d","g%d","h%d","i%d","j%d"]}')
				:format(i, i, n, n, n, n, n, n, n, n, n, n);
		end
		local path = write("many.json", ('{"format":"groups_internal 1","host":"localhost","groups":[%s]}')
			:format(table.concat(out, ",\n")));
		local output = shell(other, "import", "localhost", path, "--yes");
		assert.matches("… and 1950 more\n", output);
		assert.matches("\n%d+ of 1000 groups done\n", output);
		assert.matches("OK: 2000 changes made$", output);
		local export = other.folder.."/many-export.json";
		shell(other, "export", "localhost", "--file="..export);
		assert.equal("OK: there is nothing to add", (shell(other, "import", "localhost", export)));
		local n = 0;
		for _ in read(export):gmatch('\n        "%l%d+"') do n = n + 1; end
		assert.equal(10000, n);
		-- Others have their turns meanwhile.
		for name, arguments in pairs { list = {}; export = {}; import = { export }; check = {} } do
			local turns, ok = other:eval([[
				local name, arguments = ...;
				local turns = 0;
				local ticker = module:add_timer(0, function () turns = turns + 1; return 0; end);
				-- So much work that it takes several turns on any machine.
				local enough, ok = os.clock() + 0.1;
				repeat
					ok = groups.shell[name]({ print = function () end }, groups, host, table.unpack(arguments));
				until not ok or os.clock() > enough;
				ticker:stop();
				return turns, ok]], name, arguments);
			assert.is_true(ok, name);
			assert(turns > 2, ("%s: %d turns"):format(name, turns));
		end
	end);
end);
