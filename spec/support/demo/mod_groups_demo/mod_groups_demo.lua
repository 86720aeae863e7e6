-- Makes the accounts and the group of demo.txt through the functions of mod_groups_internal, as any module could, and
-- prints what became of them. All of it may be there from the last time.

local async = require "util.async";
local rostermanager = require "core.rostermanager";
local usermanager = require "core.usermanager";

local host = module.host;
local groups = module:depends("groups_internal");
local demo_file = module:get_option_string("groups_demo_file");
local hint = module:get_option_string("groups_demo_hint");

local function read_demo()
	local demo = { users = {}; members = {} };
	for line in assert(io.lines(demo_file)) do
		local what, name, rest = line:match("^(%l+)%s+(%S+)%s*(.-)%s*$");
		if what == "user" then
			demo.users[#demo.users + 1] = { name = name; password = rest };
		elseif what == "group" then
			demo.id, demo.name = name, rest;
		elseif what == "member" then
			demo.members[#demo.members + 1] = name;
		end
	end
	return demo;
end

local function set_up(demo)
	for _, user in ipairs(demo.users) do
		if not usermanager.user_exists(user.name, host) then
			assert(usermanager.create_user(user.name, user.password, host));
		end
	end
	if not groups.exists(demo.id) then
		assert(groups.create({ name = demo.name }, true, demo.id));
	end
	local already = groups.get_members(demo.id);
	for _, name in ipairs(demo.members) do
		if not already[name] then
			assert(groups.add_member(demo.id, name, true));
		end
	end
	groups.sync(demo.id);
end

local function contact_lines(username)
	local lines = {};
	for jid, item in pairs(rostermanager.load_roster(username, host)) do
		if jid then
			local labels = {};
			for label in pairs(item.groups or {}) do labels[#labels + 1] = label; end
			table.sort(labels);
			lines[#lines + 1] = ("    %-20s %-6s in: %s"):format(jid, item.subscription, table.concat(labels, ", "));
		end
	end
	table.sort(lines);
	return #lines > 0 and lines or { "    (no contacts)" };
end

local function show(demo)
	local info = groups.get_info(demo.id);
	local chat = info.muc_jid or info.mucs and info.mucs[1] or "none";
	local out = { ""; ("Group \"%s\" (%s), chat %s"):format(info.name, demo.id, chat) };
	out[#out + 1] = "";
	out[#out + 1] = "Contact lists:";
	for _, user in ipairs(demo.users) do
		out[#out + 1] = ("  %s@%s, password %s"):format(user.name, host, user.password);
		for _, line in ipairs(contact_lines(user.name)) do
			out[#out + 1] = line;
		end
	end
	out[#out + 1] = "";
	out[#out + 1] = hint;
	io.stdout:write(table.concat(out, "\n"), "\n");
	io.stdout:flush();
end

local runner = async.runner(function ()
	local demo = read_demo();
	set_up(demo);
	show(demo);
end, {
	error = function (_, err)
		module:log("error", "The demo could not be set up: %s", err);
	end;
});

module:hook_global("server-started", function ()
	runner:run(true);
end, -100);
