-- Commands for admins in an XMPP client (XEP-0050): forms in front of the shell's commands. Loaded with groups_adhoc.

module:depends("adhoc");

local new_command = module:require("adhoc").new;
local new_form = require "util.dataforms".new;
local new_handler = require "util.adhoc".new_initial_data_form;

local run = module:require("commands").run;

local groups, host = module.environment, module.host;

local group = { name = "group", label = "Group", type = "list-single", required = true };
local users = { name = "users", label = "Users, by JID", type = "jid-multi", required = true };
local name = { name = "name", label = "Name", type = "text-single", required = true };
local sure = { name = "sure", label = "This cannot be undone. Are you sure?", type = "boolean" };

-- Each has the name of the shell's command, and returns that one's arguments.
local commands = {
	{ "list", "List groups", {}, function () end };
	{ "show", "Show a group", { group }, function (fields) return fields.group; end };
	{ "create", "Create a group", {
		name;
		{ name = "chat", label = "With a chat", type = "boolean" };
		{ name = "id", label = "Id (made for you if empty)", type = "text-single" };
	}, function (fields) return fields.name, fields.chat or false, fields.id; end };
	{ "rename", "Rename a group", { group, name }, function (fields) return fields.group, fields.name; end };
	{ "delete", "Delete a group", { group, sure }, function (fields)
		return fields.group, fields.sure and "--yes" or nil;
	end };
	{ "add_member", "Add members to a group", { group, users }, function (fields)
		return fields.group, table.unpack(fields.users);
	end };
	{ "remove_member", "Remove members from a group", { group, users }, function (fields)
		return fields.group, table.unpack(fields.users);
	end };
	{ "add_chat", "Add a chat to a group", { group, name }, function (fields) return fields.group, fields.name; end };
	{ "remove_chat", "Remove a chat from a group", {
		group;
		{ name = "chat", label = "Chat, by name or JID", type = "text-single", required = true };
		sure;
	}, function (fields) return fields.group, fields.chat, fields.sure and "--yes" or nil; end };
};

local result_form = new_form {
	title = "Groups";
	{ name = "result", label = "Result", type = "text-multi" };
};

-- Runs a command of the shell. What it prints becomes the result.
local function execute(command, ...)
	local printed = {};
	local session = { print = function (line) printed[#printed + 1] = line; end };
	local ok, text = run[command](session, groups, host, ...);
	printed[#printed + 1] = text;
	text = table.concat(printed, "\n");
	if not ok then
		return { status = "completed", error = { message = (text:gsub("add %-%-yes to do it", "say that you are sure")) } };
	end
	if #printed == 1 then return { status = "completed", info = text }; end
	return { status = "completed", result = { layout = result_form, values = { result = text } } };
end

local function list_groups()
	local options = {};
	for id, info in groups.groups() do
		options[#options + 1] = { value = id, label = ("%s (%s)"):format(info.name, id) };
	end
	table.sort(options, function (a, b) return a.label < b.label; end);
	return { group = options };
end

for _, entry in ipairs(commands) do
	local command, title, fields, arguments = table.unpack(entry);
	local handler;
	if #fields == 0 then
		function handler() return execute(command); end
	else
		local form = { title = title, table.unpack(fields) };
		handler = new_handler(new_form(form), list_groups, function (values, errors)
			for _, field in ipairs(fields) do
				local wrong = errors and errors[field.name];
				if wrong then
					return { status = "completed", error = { message = ("%s: %s"):format(field.label, tostring(wrong)) } };
				end
			end
			return execute(command, arguments(values));
		end);
	end
	module:provides("adhoc", new_command(title, "groups_internal:"..command, handler, "admin"));
end
