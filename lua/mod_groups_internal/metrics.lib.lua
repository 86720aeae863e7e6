-- Numbers for Prosody's statistics. Loaded where those are collected: effects and functions are counted on their way.

local groups = module.environment;

local function measure(name, kind, unit, description)
	return module:measure(name, kind, { unit = unit, description = description });
end

local stored_groups = measure("stored", "amount", "groups", "Groups");
local memberships = measure("stored", "amount", "memberships", "Members, counted once for each of their groups");
local unsettled = measure("unsettled", "amount", "rosters", "Contact lists that are not in storage yet");
local failing = measure("failing", "amount", "rosters", "Contact lists that failed and are tried again");
local reconciled = measure("reconciled", "counter", "rosters", "Contact lists compared with the groups");
local saved = measure("saved", "counter", "rosters", "Contact lists saved");
local pushes = measure("sent", "counter", "pushes", "Changes of contacts sent to the clients of a user");
local failed = measure("failed", "counter", "operations", "Calls that storage or the chat host made fail");
local duration = measure("operation", "times", "seconds", "How long callers of functions waited");

-- Functions that change something.
local operations = {
	"create", "set_info", "delete", "add_member", "remove_member", "add_members", "remove_members", "set_members", "sync";
	"add_group_chat", "remove_group_chat", "repair", "restore";
};

-- Replaces an effect by one that is counted when it has been performed.
local function count(effects, name, note)
	local perform = effects[name];
	local function counted(ok, ...)
		note(ok);
		return ok, ...;
	end
	effects[name] = function (...) return counted(perform(...)); end;
end

local function finish(stop, ...)
	stop();
	local ok, err = ...;
	if not ok and err == "internal-server-error" then failed(1); end
	return ...;
end

return function (effects)
	count(effects, "compare", function () reconciled(1); end);
	count(effects, "save_roster", function (ok) if ok == true then saved(1); end end);
	local push = effects.push;
	function effects.push(context, username, jids, ...)
		pushes(#jids);
		return push(context, username, jids, ...);
	end
	for _, name in ipairs(operations) do
		local operate = groups[name];
		groups[name] = function (...) return finish(duration(), operate(...)); end;
	end
	module:hook_global("stats-update", function ()
		local status = groups.status();
		stored_groups(status.groups);
		memberships(status.memberships);
		unsettled(status.unsettled);
		failing(status.failing);
	end);
end
