-- What a hosting product does at every start: it makes sure that a group is there, with its members.

local groups = module:depends("groups_internal");

results = {};

module:hook_global("server-started", function ()
	results.exists = groups.exists("staff");
	if not results.exists then
		results.id = groups.create({ name = "Staff" }, true, "staff");
	end
	for i = 1, 5 do
		results[i] = groups.add_member("staff", "service"..i, true);
	end
	groups.sync("staff");
	results.done = true;
end, -100);
