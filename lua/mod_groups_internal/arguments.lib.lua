-- What people type in the shell and in forms, and the words in which they are told what is wrong with it.

local jid_split = require "util.jid".prepped_split;

local sorted_keys = module:require("transfer").sorted_keys;

-- How many names an error shows.
local names_shown = 20;

local texts = {
	["group-not-found"] = "the group is gone";
	["group-name-required"] = "the group needs a name";
	["conflict"] = "the id is taken";
	["bad-request"] =
		'a name or an id is not valid: a name is text without control characters, an id can stand before the "@" of a JID';
	["service-unavailable"] = "chats need the option groups_muc_host, and it is not set";
	["internal-server-error"] = "storage or the chat host failed; the log says how";
};

local function say(err)
	return texts[err] or tostring(err);
end

local function plural(n, one, many)
	return ("%d %s"):format(n, n == 1 and one or many or one.."s");
end

-- Names for a line: all of them, or the first ones and how many more there are.
local function enumerate(names)
	if #names == 0 then return "none"; end
	local shown = table.concat(names, ", ", 1, math.min(#names, names_shown));
	return #names > names_shown and ("%s and %d more"):format(shown, #names - names_shown) or shown;
end

local function there_are(names)
	return #names == 0 and "there are none" or "there are: "..enumerate(names);
end

-- Finds a group by its id, or by its name if no other group has it. Returns the id and the group's record.
local function find_group(groups, host, text)
	if type(text) ~= "string" or text == "" then
		return nil, ("which group on %s? "):format(host)..there_are(sorted_keys(groups.groups())):gsub("^t", "T");
	end
	local info = groups.get_info(text);
	if info then return text, info; end
	local all, found = groups.groups(), {};
	for id, candidate in pairs(all) do
		if candidate.name == text then found[#found + 1] = id; end
	end
	if #found == 1 then return found[1], all[found[1]]; end
	table.sort(found);
	if #found > 1 then
		return nil, ("%d groups on %s have the name %q; say which by the id: %s"):format(#found, host, text,
			enumerate(found));
	end
	return nil, ("no group %q on %s; %s"):format(text, host, there_are(sorted_keys(all)));
end

-- Reads one user: a username, or a JID of this host.
local function read_user(host, text)
	if not text:find("@", 1, true) then return text; end
	local username, user_host = jid_split(text);
	if not username then return nil, ("%q is not a JID"):format(text); end
	if user_host ~= host then return nil, ("%s is not an account of %s"):format(text, host); end
	return username;
end

-- Reads users: several arguments, each of which may hold several, parted by blanks, commas or ends of lines.
local function read_users(host, ...)
	local users = {};
	for i = 1, select("#", ...) do
		local argument = select(i, ...);
		if type(argument) ~= "string" then
			return nil, ("%s is not a user"):format(tostring(argument));
		end
		for text in argument:gmatch("[^%s,]+") do
			local user, err = read_user(host, text);
			if not user then return nil, err; end
			users[#users + 1] = user;
		end
	end
	return users;
end

-- Parts flags from the other arguments of a command, and runs it. Commands get as many arguments as they name, and the
-- flags behind them; those that take users get as many as there are.
local function call(entry, session, groups, host, ...)
	local arguments, flags, n = {}, {}, 0;
	for i = 1, select("#", ...) do
		local argument = select(i, ...);
		local flag, value;
		if type(argument) == "string" then flag, value = argument:match("^%-%-([%w-]+)=?(.*)$"); end
		if not flag then
			n = n + 1;
			arguments[n] = argument;
		elseif entry.flags[flag.."="] and value ~= "" then
			flags[flag] = value;
		elseif entry.flags[flag] and value == "" then
			flags[flag] = true;
		else
			local known = {};
			for _, name in ipairs(sorted_keys(entry.flags)) do known[#known + 1] = "--"..name; end
			return nil, ("groups %s knows no %s; %s"):format(entry.name, argument, there_are(known));
		end
	end
	while n > 0 and arguments[n] == nil do n = n - 1; end
	local _, named = entry.args:gsub("%S+", "");
	named = named - 1; -- the host
	if entry.args:find("users$") then
		named = math.max(named - 1, n);
	elseif n > named then
		return nil, ("%s is too much; usage: groups %s %s"):format(tostring(arguments[named + 1]), entry.name,
			entry.args:upper());
	end
	arguments[named + 1] = flags;
	return entry.run(session, groups, host, table.unpack(arguments, 1, named + 1));
end

return {
	say = say; plural = plural; enumerate = enumerate; there_are = there_are; find_group = find_group;
	read_user = read_user; read_users = read_users; call = call;
};
