-- Stands in for the module of this name: whoever registers with an invitation joins the groups that it names.

local mod_groups = module:depends("groups_internal");

module:hook("user-registered", function (event)
	local invite = event.validated_invite or event.session and event.session.validated_invite;
	for _, id in ipairs(invite and invite.additional_data and invite.additional_data.groups or {}) do
		mod_groups.add_member(id, event.username);
	end
end);
