-- The section `groups` of the admin shell: puts the commands of commands.lib.lua there, on 13 as items, on 0.12 by
-- hand.
--
-- Three things make this longer than it sounds. Prosody 13.0 never takes a host's command away again, and warns when it
-- comes a second time: so a handler looks the module up that is loaded when it is called, and a command that is there
-- already is not registered again. The module groups_shell replaces the section as a whole: ours come back. And both
-- versions give each session a view of the section, so that it must stay the same table where that is possible.

local modulemanager = require "core.modulemanager";

local host = module.host;

local commands = module:require("commands");

-- All sections of the shell, on both versions. Empty if the shell is not loaded.
local sections = module:shared("/*/admin_shell/env");
-- Our functions in the section, by name, and its metatable, which has the help on 13. These outlive a reload.
local ours = module:shared("/*/groups_internal/shell");
ours.functions = ours.functions or {};

-- COMPAT 0.12: its shell knows no items. module:may() came with 13, as they did.
local has_items = module.may ~= nil;

-- What a function of ours answers to a call that has this for a session's view.
local probe = { is_groups_probe = true; session = { print = function () end } };
local probe_answer = "groups_internal";

local function is_ours(fn)
	local ok, answer = pcall(fn, probe, host);
	return ok and answer == probe_answer;
end

-- A handler knows nothing of this instance of the module, which it may outlive.
local function new_handler(name)
	return function (self, where, ...)
		if self.is_groups_probe then return probe_answer; end
		local jid;
		if type(where) == "string" and where:find("@", 1, true) then
			jid, where = where, where:match("@(.*)$");
		end
		local known = type(where) == "string" and prosody.hosts[where];
		local groups = known and modulemanager.get_module(where, "groups_internal");
		local run = groups and groups.shell and groups.shell[name];
		if run then
			-- A JID says both which host and which user.
			if jid and select("#", ...) == 0 then return run(self.session, groups, where, jid); end
			return run(self.session, groups, where, ...);
		end
		local hosts = {};
		for candidate in pairs(prosody.hosts) do
			if modulemanager.is_loaded(candidate, "groups_internal") then hosts[#hosts + 1] = candidate; end
		end
		table.sort(hosts);
		hosts = #hosts > 0 and "; there are: "..table.concat(hosts, ", ") or "; there are none";
		if type(where) ~= "string" or where == "" then return nil, "which host?"..hosts:gsub("^; there", " There"); end
		return nil, ("no host %q with groups"):format(where)..hosts;
	end;
end

local added = {};

local function add(name, command)
	local args = {};
	for word in command.args:gmatch("%S+") do args[#args + 1] = { name = word, type = "string" }; end
	module:add_item("shell-command", {
		section = "groups";
		section_desc = "Groups whose members see each other";
		name = name;
		desc = command.desc;
		args = args;
		host_selector = "host";
		handler = new_handler(name);
	});
end

-- Puts the commands that are missing into the section.
local function ensure()
	for name, command in pairs(commands.table) do
		local section = sections.groups;
		local fn = section and section[name];
		if fn and is_ours(fn) then
			ours.functions[name] = fn;
			ours.metatable = getmetatable(section);
		elseif ours.functions[name] and is_ours(ours.functions[name]) then
			if not section then
				section = {};
				sections.groups = section;
			end
			section[name] = ours.functions[name];
			if not getmetatable(section) then setmetatable(section, ours.metatable); end
		elseif has_items and not added[name] then
			added[name] = true;
			add(name, command);
			section = sections.groups;
			if section and section[name] and is_ours(section[name]) then
				ours.functions[name] = section[name];
				ours.metatable = getmetatable(section);
			end
		elseif not has_items then
			section = section or {};
			sections.groups = section;
			section[name] = new_handler(name);
			ours.functions[name] = section[name];
		end
	end
end

local function watch(event)
	if event.host == "*" or event.module == "admin_shell" then ensure(); end
end

module:hook_global("module-loaded", watch);
module:hook_global("module-unloaded", watch);
ensure();

return commands.run;
