-- Stands in for the module of this name that portals use: it makes the shell's section anew, with three commands.

module:set_global();

local get_module = require "core.modulemanager".get_module;
local sections = module:shared("/*/admin_shell/env");

local function command(run)
	return function (_, host, ...)
		local groups = host and get_module(host, "groups_internal");
		if not groups then return false, "not loaded"; end
		return run(groups, ...);
	end;
end

sections.groups = {
	create = command(function (groups, name, muc, id) return groups.create({ name = name }, muc, id); end);
	add_member = command(function (groups, ...) return groups.add_member(...); end);
	sync_group = command(function (groups, ...) return groups.emit_member_events(...); end);
};
