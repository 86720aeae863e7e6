-- What the commands of the shell do. A command gets the arguments as text, as `prosodyctl shell` hands them over, or as
-- Lua has them, and returns true and what was done, or nil and what is wrong.

local async = require "util.async";
local jid_split = require "util.jid".prepped_split;
local count_all = require "util.iterators".count;
local new_table = require "util.human.io".table;
local monotonic = require "util.time".monotonic;
local usermanager = require "core.usermanager";

local typed = module:require("arguments");
local transfer = module:require("transfer");

local say, plural, enumerate, there_are = typed.say, typed.plural, typed.enumerate, typed.there_are;
local find_group, read_user, read_users = typed.find_group, typed.read_user, typed.read_users;
local sleep, sorted_keys = transfer.sleep, transfer.sorted_keys;

local function count(map)
	return count_all(pairs(map));
end

-- The widest table where the shell does not say how wide its window is: on 0.12, and in scripts.
local default_width = 100;
-- How many lines of what an import changes are shown.
local lines_shown = 50;
-- How often progress is shown, and how long it may stand still before nobody waits any longer, in seconds.
local progress_interval, progress_patience = 0.5, 30;

-- Calls a function for lists, and names the user whom it refuses.
local function change_members(groups, name, id, users, ...)
	local ok, err, place = groups[name](id, users, ...);
	if ok then return true; end
	if place then return nil, ("%q cannot be a username; nothing has changed"):format(users[place]); end
	return nil, say(err);
end

local function warn_of_missing(session, host, users)
	local missing, pace = {}, transfer.new_pacer();
	for _, user in ipairs(users) do
		pace();
		if not usermanager.user_exists(user, host) then missing[#missing + 1] = user; end
	end
	if #missing > 0 then
		session.print("No account yet, so nobody sees them: "..enumerate(missing));
	end
end

-- Shows how the open work becomes less, until it is done or stands still.
local function show_progress(session, groups)
	local last, rest = nil, 0;
	while true do
		local open = groups.status().unsettled;
		if open == 0 then return "all contact lists are in storage"; end
		if open ~= last then
			session.print(plural(open, "contact list").." to go");
			last, rest = open, 0;
		elseif rest >= progress_patience or not async.ready() then
			return ("%s to go, in the background"):format(plural(open, "contact list"));
		end
		sleep(progress_interval);
		rest = rest + progress_interval;
	end
end

-- Returns a function to be called often, which prints how much is done, now and then.
local function new_progress(session)
	local shown = monotonic();
	return function (n, all)
		if monotonic() - shown < progress_interval then return; end
		shown = monotonic();
		session.print(("%d of %s done"):format(n, plural(all, "group")));
	end;
end

-- Calls a function of groups that looks at all contact lists, and prints meanwhile how many are still to be looked at.
local function run_check(session, groups, name)
	local last;
	local timer = module:add_timer(progress_interval, function ()
		local left = groups.status().unchecked;
		if left > 0 and left ~= last then session.print(plural(left, "contact list").." to look at"); end
		last = left;
		return progress_interval;
	end);
	local problems, err = groups[name]();
	timer:stop();
	return problems, err;
end

local function print_table(session, columns, rows)
	local row = new_table(columns, session.width or default_width);
	session.print((row():gsub("%s+$", "")));
	local pace = transfer.new_pacer();
	for _, cells in ipairs(rows) do
		session.print((row(cells):gsub("%s+$", "")));
		pace();
	end
end

local truths = {
	[""] = false, ["false"] = false, no = false, ["nil"] = false, ["0"] = false;
	["true"] = true, yes = true, ["1"] = true, muc = true, chat = true;
};
-- What of a portal's truth value behind a user comes as text. A user of such a name is given as a JID.
local delays = { [""] = false, ["false"] = false, ["true"] = true, delay = true };

local not_done = "nothing has changed; add --yes to do it";

-- The commands: their arguments and flags, what the shell's help says, and what they do. An argument of `run` is nil if
-- it was not given.
local list, by_name = {}, {};

local function command(name, args, flags, desc, run)
	local known = {};
	for flag in flags:gmatch("%S+") do known[flag] = true; end
	by_name[name] = { name = name, args = args, flags = known, desc = desc, run = run };
	list[#list + 1] = by_name[name];
end

command("list", "host", "", "List the groups", function (session, groups, host)
	local all, rows, pace = groups.groups(), {}, transfer.new_pacer();
	for _, id in ipairs(sorted_keys(all)) do
		pace();
		local info = all[id];
		-- Not by get_group_chats(), which reads each room.
		local members, chats = count(groups.get_members(id)), #(info.mucs or {}) + (info.muc_jid and 1 or 0);
		rows[#rows + 1] = { id, info.name, members, chats, info.description };
	end
	if #rows > 0 then
		print_table(session, {
			{ title = "Id", width = "30%" };
			{ title = "Name", width = "30%" };
			{ title = "Members", width = 7, align = "right" };
			{ title = "Chats", width = 5, align = "right" };
			{ title = "Description", width = "40%" };
		}, rows);
	end
	return true, ("%s on %s"):format(plural(#rows, "group"), host);
end);

command("show", "host group", "", "Show a group with its members and chats", function (session, groups, host, text)
	local id, info = find_group(groups, host, text);
	if not id then return nil, info; end
	session.print("Id:          "..id);
	session.print("Name:        "..info.name);
	if info.description then session.print("Description: "..info.description); end
	if info.chat_membership == false then session.print("Members are not put into the chats."); end
	for _, chat in ipairs(groups.get_group_chats(id) or {}) do
		session.print(("Chat:        %s (%s)%s"):format(chat.jid, chat.name, chat.deleted and ", its room is gone" or ""));
	end
	local members = sorted_keys(groups.get_members(id));
	for _, user in ipairs(members) do session.print(("Member:      %s@%s"):format(user, host)); end
	return true, plural(#members, "member");
end);

command("create", "host name chat id", "chat", "Create a group, with a chat if wanted (true or --chat)",
	function (_, groups, host, name, chat, wanted, flags)
		if type(name) ~= "string" or name == "" then return nil, "the group needs a name: groups create HOST NAME"; end
		if type(chat) == "string" then
			local truth = truths[chat:lower()];
			if truth == nil then
				return nil, ("%q stands where true or false says whether the group has a chat"):format(chat);
			end
			chat = truth;
		end
		if wanted == "" then wanted = nil; end
		local id, err = groups.create({ name = name }, chat or flags.chat or false, wanted);
		if err == "conflict" then
			return nil, ("the id %q is taken on %s"):format(wanted, host);
		end
		if not id then return nil, say(err); end
		return true, ("created the group %q on %s, its id is %s"):format(name, host, id);
	end);

command("rename", "host group name", "", "Give a group another name", function (_, groups, host, text, name)
	local id, info = find_group(groups, host, text);
	if not id then return nil, info; end
	local ok, err = groups.set_info(id, { name = name or "" });
	if not ok then return nil, say(err); end
	return true, ("%q is now %q"):format(info.name, name);
end);

command("delete", "host group", "yes", "Delete a group with its members and chats (--yes)",
	function (session, groups, host, text, flags)
		local id, info = find_group(groups, host, text);
		if not id then return nil, info; end
		local members, chats = count(groups.get_members(id)), groups.get_group_chats(id) or {};
		local what = ("the group %q (%s) with %s and %s"):format(info.name, id, plural(members, "member"),
			plural(#chats, "chat"));
		if not flags.yes then
			session.print("This would delete "..what);
			return nil, not_done;
		end
		local ok, err = groups.delete(id);
		if not ok then return nil, say(err); end
		return true, "deleted "..what;
	end);

command("add_member", "host group users", "delay", "Add one user, or several (--delay: contact lists wait for sync)",
	function (session, groups, host, text, ...)
		local id, info = find_group(groups, host, text);
		if not id then return nil, info; end
		local arguments = { ... };
		local flags = table.remove(arguments);
		local delay = flags.delay or false;
		-- Portals send a truth value behind a single user.
		local last = arguments[2];
		if #arguments == 2 and (type(last) == "boolean" or type(last) == "string" and delays[last] ~= nil) then
			if type(last) == "string" then last = delays[last]; end
			delay = delay or last;
			arguments[2] = nil;
		end
		local users, err = read_users(host, table.unpack(arguments));
		if not users then return nil, err; end
		if #users == 0 then return nil, "which users?"; end
		local ok, refusal = change_members(groups, "add_members", id, users, delay);
		if not ok then return nil, refusal; end
		warn_of_missing(session, host, users);
		return true, ("added %s to %q%s"):format(#users == 1 and users[1] or plural(#users, "user"), info.name,
			delay and "; contact lists wait for sync" or "");
	end);

command("remove_member", "host group users", "", "Remove one user, or several", function (_, groups, host, text, ...)
	local id, info = find_group(groups, host, text);
	if not id then return nil, info; end
	local arguments = { ... };
	table.remove(arguments);
	local users, err = read_users(host, table.unpack(arguments));
	if not users then return nil, err; end
	if #users == 0 then return nil, "which users?"; end
	local members, strangers = groups.get_members(id), {};
	for _, user in ipairs(users) do
		local name = jid_split(user.."@"..host) or user;
		if not members[name] and not members[user] then strangers[#strangers + 1] = user; end
	end
	if #strangers > 0 then
		return nil, ("not in %q: %s; %s"):format(info.name, enumerate(strangers), there_are(sorted_keys(members)));
	end
	local ok, refusal = change_members(groups, "remove_members", id, users);
	if not ok then return nil, refusal; end
	return true, ("removed %s from %q"):format(#users == 1 and users[1] or plural(#users, "user"), info.name);
end);

command("set_members", "host group users", "yes empty file=",
	"Make these users the members, from --file=PATH too (--yes; --empty: none)",
	function (session, groups, host, text, ...)
		local id, info = find_group(groups, host, text);
		if not id then return nil, info; end
		local arguments = { ... };
		local flags = table.remove(arguments);
		if flags.file then
			local file, err = io.open(flags.file, "r");
			if not file then return nil, "the server cannot read "..err; end
			local names;
			names, err = file:read("a");
			file:close();
			if not names then return nil, "the server cannot read "..flags.file..": "..err; end
			arguments[#arguments + 1] = names;
		end
		local users, err = read_users(host, table.unpack(arguments));
		if not users then return nil, err; end
		-- A list that could not be made is empty as well.
		if #users == 0 and not flags.empty then return nil, "which users? For an empty group, say --empty"; end
		local members, wanted, added, removed = groups.get_members(id), {}, {}, {};
		for i, user in ipairs(users) do
			local name = jid_split(user.."@"..host);
			if not name then return nil, ("%q cannot be a username; nothing has changed"):format(user); end
			users[i] = name;
			if not wanted[name] and not members[name] then added[#added + 1] = name; end
			wanted[name] = true;
		end
		for _, name in ipairs(sorted_keys(members)) do
			if not wanted[name] then removed[#removed + 1] = name; end
		end
		if #added + #removed == 0 then return true, ("%q has these members already"):format(info.name); end
		session.print("Add: "..enumerate(added));
		session.print("Remove: "..enumerate(removed));
		if not flags.yes then return nil, not_done; end
		local ok, refusal = change_members(groups, "set_members", id, users);
		if not ok then return nil, refusal; end
		warn_of_missing(session, host, added);
		return true, ("%q has %s now"):format(info.name, plural(count(groups.get_members(id)), "member"));
	end);

command("members", "host group", "", "List the members of a group, one a line", function (session, groups, host, text)
	local id, info = find_group(groups, host, text);
	if not id then return nil, info; end
	local members = sorted_keys(groups.get_members(id));
	for _, user in ipairs(members) do session.print(user.."@"..host); end
	return true, ("%s in %q"):format(plural(#members, "member"), info.name);
end);

command("user", "host user", "", "List the groups of a user", function (session, groups, host, text)
	if type(text) ~= "string" or text == "" then return nil, "which user?"; end
	local user, err = read_user(host, text);
	if not user then return nil, err; end
	local ids = groups.get_user_groups(user);
	table.sort(ids);
	local rows = {};
	for i, id in ipairs(ids) do rows[i] = { id, groups.get_info(id).name }; end
	if #rows == 0 and not usermanager.user_exists(user, host) then
		return nil, ("no account %s@%s, and no group has it"):format(user, host);
	end
	if #rows > 0 then
		print_table(session, { { title = "Id", width = "50%" }, { title = "Name", width = "50%" } }, rows);
	end
	return true, ("%s is in %s"):format(user, plural(#rows, "group"));
end);

command("add_chat", "host group name", "", "Add a chat to a group", function (_, groups, host, text, name)
	local id, info = find_group(groups, host, text);
	if not id then return nil, info; end
	if type(name) ~= "string" or name == "" then return nil, "the chat needs a name"; end
	local chat, err = groups.add_group_chat(id, name);
	if not chat then return nil, say(err); end
	return true, ("added the chat %q to %q: %s"):format(name, info.name, chat.jid);
end);

command("remove_chat", "host group chat", "yes", "Remove a chat from a group, and destroy its room (--yes)",
	function (session, groups, host, text, wanted, flags)
		local id, info = find_group(groups, host, text);
		if not id then return nil, info; end
		local found, names = {}, {};
		for _, chat in ipairs(groups.get_group_chats(id) or {}) do
			if wanted == chat.id or wanted == chat.jid then found = { chat }; break; end
			if wanted == chat.name then found[#found + 1] = chat; end
			names[#names + 1] = ("%s (%s)"):format(chat.id, chat.name);
		end
		if #found ~= 1 then
			return nil, ("%s chat %q in %q; %s"):format(#found == 0 and "no" or "more than one", wanted or "", info.name,
				there_are(names));
		end
		local what = ("the chat %q (%s) of %q"):format(found[1].name, found[1].jid, info.name);
		if not flags.yes then
			session.print("This would destroy "..what);
			return nil, not_done;
		end
		local ok, err = groups.remove_group_chat(id, found[1].id);
		if not ok then return nil, say(err); end
		return true, "removed "..what;
	end);

command("sync", "host group", "no-wait", "Bring contact lists up to date, of one group or of all (--no-wait)",
	function (session, groups, host, text, flags)
		local ids = sorted_keys(groups.groups());
		if text then
			local id, err = find_group(groups, host, text);
			if not id then return nil, err; end
			ids = { id };
		end
		local pace = transfer.new_pacer();
		for _, id in ipairs(ids) do
			groups.sync(id);
			pace();
		end
		local what = plural(#ids, "group");
		if flags["no-wait"] then return true, what..", in the background"; end
		return true, what..": "..show_progress(session, groups);
	end);

command("sync_group", "host group", "", "Tell other modules of each member anew", function (_, groups, host, text)
	local id, err = find_group(groups, host, text);
	if not id then return nil, err; end
	local ok, failure = groups.emit_member_events(id);
	if not ok then return nil, say(failure); end
	return true, "Synchronised members";
end);

command("status", "host", "", "Show how much there is, and how much work is open", function (session, groups, host)
	local status = groups.status();
	session.print(("Groups:                    %d"):format(status.groups));
	session.print(("Memberships:               %d"):format(status.memberships));
	session.print(("Contact lists to go:       %d"):format(status.unsettled));
	session.print(("Of these, failing:         %d"):format(status.failing));
	session.print(("Groups that wait for sync: %d"):format(status.delayed));
	return true, ("%s: %s"):format(host, status.unsettled == 0 and "all contact lists are in storage" or
		plural(status.unsettled, "contact list").." to go");
end);

local describe_problem = {
	["account-missing"] = function (problem)
		return ("The account %s is deleted, and still in: %s"):format(problem.user, enumerate(problem.groups));
	end;
	["account-left-over"] = function (problem)
		return ("The account %s is deleted, and still in the contact lists of: %s"):format(problem.user,
			enumerate(problem.owners));
	end;
	["chat-missing"] = function (problem)
		return ("The room of a chat of %s is gone: %s"):format(problem.group_id, problem.jid);
	end;
	["chat-changed"] = function (problem)
		return ("The room %s of %s has other settings: %s"):format(problem.jid, problem.group_id,
			enumerate(problem.settings));
	end;
	["member-misspelt"] = function (problem)
		return ("The member %s is the account %s, in: %s"):format(problem.user, problem.account, enumerate(problem.groups));
	end;
	["name-missing"] = function (problem)
		return ("The group %s has no name"):format(problem.group_id);
	end;
	["group-unknown"] = function (problem)
		return ("Storage has the group %s, which was put there since the module was loaded"):format(problem.group_id);
	end;
	["record-differs"] = function (problem)
		return ("Storage has the group %s otherwise than memory"):format(problem.group_id);
	end;
	["affiliations-differ"] = function (problem)
		return ("Affiliations to the room %s of %s differ: %s"):format(problem.jid, problem.group_id,
			enumerate(problem.jids));
	end;
	["contacts-differ"] = function (problem)
		return ("The contact list of %s is not as the groups have it"):format(problem.user);
	end;
};

local function print_problems(session, problems)
	for _, problem in ipairs(problems) do
		session.print(describe_problem[problem.problem](problem));
	end
end

command("check", "host", "", "Look for what is wrong, and change nothing", function (session, groups)
	local problems, err = run_check(session, groups, "check");
	if not problems then return nil, say(err); end
	print_problems(session, problems);
	return true, #problems == 0 and "nothing is wrong" or plural(#problems, "problem").."; repair mends that";
end);

command("repair", "host", "yes", "Mend what check finds (--yes)", function (session, groups, _, flags)
	local problems, err = run_check(session, groups, flags.yes and "repair" or "check");
	if not problems then return nil, say(err); end
	print_problems(session, problems);
	if #problems == 0 then return true, "nothing is wrong"; end
	if not flags.yes then return nil, not_done; end
	return true, plural(#problems, "problem").." mended";
end);

command("export", "host group", "file=", "Print groups as JSON, one or all, or write them to --file=PATH",
	function (session, groups, host, text, flags)
		local id, err;
		if text then
			id, err = find_group(groups, host, text);
			if not id then return nil, err; end
		end
		local json = groups.export_groups(id, new_progress(session));
		local n = id and 1 or count(groups.groups());
		if not flags.file then
			session.print((json:gsub("\n$", "")));
			return true, plural(n, "group");
		end
		local ok;
		ok, err = transfer.write_file(flags.file, json);
		if not ok then return nil, "the server cannot write "..err; end
		return true, ("%s written to %s"):format(plural(n, "group"), flags.file);
	end);

command("import", "host file", "yes", "Add what a file has: an export, mod_groups, ejabberd's srg_* (--yes)",
	function (session, groups, _, path, flags)
		if type(path) ~= "string" or path == "" then return nil, "which file?"; end
		local file, err = io.open(path, "rb");
		if not file then return nil, "the server cannot read "..err; end
		local text = file:read("a");
		file:close();
		if not text then return nil, ("the server cannot read %s: it is no file"):format(path); end
		local function show(result, what)
			for i, line in ipairs(result[what]) do
				if i > lines_shown then
					session.print(("… and %d more"):format(#result[what] - lines_shown));
					break;
				end
				session.print((what == "left_out" and "Left out: " or "")..line);
			end
		end
		local result;
		result, err = groups.import_groups(text, true);
		if not result then return nil, ("%s: %s"):format(path, err); end
		show(result, "changes");
		show(result, "left_out");
		if #result.changes == 0 then return true, "there is nothing to add"; end
		local what = plural(#result.changes, "change");
		if not flags.yes then return nil, ("%s; %s"):format(what, not_done); end
		result, err = groups.import_groups(text, false, new_progress(session));
		if not result then return nil, err; end
		return true, what.." made";
	end);

command("help", "host", "", "List these commands", function (session)
	for _, entry in ipairs(list) do
		session.print(("groups %s %s - %s"):format(entry.name, entry.args:upper(), entry.desc));
	end
	return true, plural(#list, "command");
end);

local run = {};
for name, entry in pairs(by_name) do
	run[name] = function (...) return typed.call(entry, ...); end;
end

return { table = by_name, run = run };
