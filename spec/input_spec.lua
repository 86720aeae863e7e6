-- Whatever is given to a function, at whatever place: the answer that is documented, nothing thrown, nothing stored.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

-- Lua source of values that are no id and no username.
local bad = {
	{ "nil", "nil" }, { "false", "false" }, { "true", "true" }, { "a number", "7" }, { "a fraction", "0.5" },
	{ "a table", "{}" },
	{ "a table with metamethods that throw",
		"setmetatable({}, { __index = error, __tostring = error, __len = error, __pairs = error })" },
	{ "a function", "print" }, { "a coroutine", "coroutine.create(print)" }, { "an empty string", '""' },
	{ "a string of 1 MB", '("x"):rep(1024 * 1024)' }, { "a string of 1024 bytes", '("x"):rep(1024)' },
	{ "a string with NUL", '"a\\0b"' }, { "NUL", '"\\0"' }, { "a string with a slash", '"a/b"' },
	{ "a string with @", '"a@b"' },
	{ "invalid UTF-8", '"a\\255b"' }, { "an overlong NUL", '"\\192\\128"' }, { "a lone surrogate", '"\\237\\160\\128"' },
	{ "a space", '" "' }, { "an XML tag", '"<a>"' }, { "a control character", '"a\\1b"' }, { "a path", '"../../etc"' },
};

describe("bad input with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function everything()
		return server:eval([[
			local sm, sorted_pairs = require "core.storagemanager", require "util.iterators".sorted_pairs;
			local serialize = require "util.serialization".new({ preset = "compact"; table_iterator = sorted_pairs });
			local found = {};
			for _, name in ipairs { "groups", "group_info" } do
				local store = sm.open(host, name, "keyval");
				for id in store:users() do
					found[#found + 1] = name.."/"..id.."="..serialize(store:get(id));
				end
			end
			local rooms = 0;
			for _ in hosts["groups.localhost"].modules.muc.each_room() do rooms = rooms + 1; end
			table.sort(found);
			return table.concat(found, "\n").."\n"..rooms.." rooms"]]);
	end

	-- Runs Lua source that returns what a function does; gives that as one string.
	local function answer(source)
		return server:eval(([[
			local results = table.pack(%s);
			for i = 1, results.n do
				local value = results[i];
				if type(value) == "table" then value = next(value) == nil and "{}" or "{...}"; end
				results[i] = tostring(value);
			end
			return table.concat(results, ", ")]]):format(source));
	end

	local before;

	setup(function ()
		server = world.new();
		server:create_user("alice");
		server:call("create", { name = "Real" }, true, "real");
		server:call("add_member", "real", "alice");
		before = everything();
	end);

	teardown(function ()
		server:destroy();
	end);

	-- `source` has %s where the bad value goes.
	local function specify(source, expected, except)
		it(("%s answers %s"):format(source:format("BAD"), expected), function ()
			for _, value in ipairs(bad) do
				if not (except and except[value[1]]) then
					assert.equal(expected, answer(source:format(value[2])), value[1]);
				end
			end
			assert.equal(before, everything());
		end);
	end

	describe("as a group id", function ()
		specify("groups.get_info(%s)", "nil");
		specify("groups.exists(%s)", "false");
		specify("groups.get_members(%s)", "{}");
		specify("groups.get_group_chats(%s)", "nil");
		specify("groups.sync(%s)", "");
		specify("groups.set_info(%s, { name = 'New' })", "nil, bad-request");
		specify("groups.delete(%s)", "nil, bad-request");
		specify("groups.add_member(%s, 'alice')", "nil, bad-request");
		specify("groups.add_member(%s, 'alice', true)", "nil, bad-request");
		specify("groups.remove_member(%s, 'alice')", "nil, bad-request");
		specify("groups.add_group_chat(%s, 'Chat')", "nil, bad-request");
		specify("groups.remove_group_chat(%s, 'room')", "nil, bad-request");
		specify("groups.emit_member_events(%s)", "false, bad-request");
		specify("groups.create({ name = 'New' }, false, %s)", "nil, bad-request", { ["nil"] = true; ["false"] = true });
		specify("groups.create({ name = 'New' }, true, %s)", "nil, bad-request", { ["nil"] = true; ["false"] = true });
	end);

	describe("as a username", function ()
		specify("groups.get_user_groups(%s)", "{}");
		specify("groups.add_member('real', %s)", "nil, bad-request");
		specify("groups.add_member('real', %s, true)", "nil, bad-request");
		specify("groups.remove_member('real', %s)", "nil, bad-request");
	end);

	describe("as a room's node", function ()
		specify("groups.remove_group_chat('real', %s)", "nil, bad-request");
	end);

	describe("as a name", function ()
		local names = { ["a space"] = true; ["an XML tag"] = true; ["a path"] = true; ["a string with a slash"] = true;
			["a string with @"] = true };
		specify("groups.set_info('real', { name = %s })", "nil, bad-request", names);
		specify("groups.add_group_chat('real', %s)", "nil, bad-request", names);

		local strings = { ["a string of 1 MB"] = true; ["a string of 1024 bytes"] = true; ["a string with NUL"] = true;
			["NUL"] = true;
			["invalid UTF-8"] = true; ["an overlong NUL"] = true; ["a lone surrogate"] = true; ["a control character"] = true };
		local others = {};
		for _, value in ipairs(bad) do
			if not strings[value[1]] then others[value[1]] = true; end
			if names[value[1]] then strings[value[1]] = true; end
		end
		specify("groups.create({ name = %s }, true)", "nil, group-name-required", strings);
		specify("groups.create({ name = %s }, true)", "nil, bad-request", others);
	end);

	describe("as an info", function ()
		local infos = { ["a table with metamethods that throw"] = true };
		specify("groups.create(%s, true)", "nil, group-name-required", infos);
		specify("groups.set_info('real', %s)", "nil, bad-request", infos);
	end);

	it("as a snapshot is refused", function ()
		for _, value in ipairs(bad) do
			assert.equal("nil, this is not a snapshot of groups", answer(("groups.restore(%s)"):format(value[2])), value[1]);
		end
		assert.equal(before, everything());
	end);

	it("takes names of 1023 bytes", function ()
		local id, name = ("i"):rep(1023), ("n"):rep(1023);
		finally(function () server:call("delete", id); end);
		if harness.storage == "internal" then
			-- A file system takes no such name, so the answer is storage's.
			assert.same({ nil, "internal-server-error" }, { server:call("create", { name = name }, false, id) });
			assert.is_false(server:call("exists", id));
			return;
		end
		assert.equal(id, server:call("create", { name = name }, false, id));
		assert.is_true(server:call("add_member", id, ("u"):rep(1023)));
		assert.same({ id }, server:call("get_user_groups", ("u"):rep(1023)));
		assert.equal(name, server:call("get_info", id).name);
	end);

	it("leaves the server as it was, without an error in the log", function ()
		for line in server:log_text():gmatch("[^\n]+") do
			assert.falsy(line:find("\terror\t", 1, true) and not line:find(("i"):rep(100), 1, true) and line, line);
			assert.falsy(line:find("traceback", 1, true), line);
		end
		assert.equal(before, everything());
	end);
end);
