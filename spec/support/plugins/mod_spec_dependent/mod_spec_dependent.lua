-- A module that builds on mod_groups_internal as others do: it calls its functions, and hears its events.

local groups = module:depends("groups_internal");

heard = {};

module:hook("group-user-added", function (event)
	heard[#heard + 1] = event.user;
end);

function add(id, username)
	return groups.add_member(id, username);
end

function exists(id)
	return groups.exists(id);
end
