-- What may happen in a history: each operation is plain data, { kind, … }, with a sentence for it, the condition
-- under which it is possible, and how likely it is.

local random = module:require "random";

local operations = {};

operations.users = { "ann", "bob", "carl", "dora", "erin" };
operations.groups = { "g", "h", "k" };
local titles = { "Family", "Work", "Choir" };
-- Labels that users put on contacts: mostly their own, now and then what a group is, or will be, called.
local own_labels = { "Mine", "Mine", "Friends", "Friends", "Work" };
local names = { "Pal", "Chum" };

local function user(state) return random.pick(state, operations.users); end
local function group(state) return random.pick(state, operations.groups); end
local function title(state) return random.pick(state, titles); end
local function device(state) return random.int(state, 2); end
local function milliseconds(state) return random.pick(state, { 0, 1, 5, 20, 60, 150 }); end

local function nobody_asks_anew(model, one, other)
	-- While something is taken off or cancelled in a group's despite, the two ask for nothing anew: it is left open
	-- what Prosody makes of it, for the other's list may have been completed, or not.
	local a, b = model:pair(one, other), model:pair(other, one);
	return not (a.off or a.loose or b.off or b.loose);
end

local function between(model, one, other)
	return one ~= other and model:has_account(one) and model:has_account(other) and nobody_asks_anew(model, one, other);
end

local function plain(model, one, other)
	return not (model:is_shared(one, other) and not (model:is_surely_shared(one, other)
		and model:is_surely_shared(other, one)));
end

local function edits(model, op) return op[2] ~= op[3] and model:is_online(op[2]); end

-- kind = { weight, arguments, sentence, condition }
local kinds = {
	register = { 5, { user }, "an account is made for %s", function (model, op) return not model:has_account(op[2]); end };
	enrol = { 5, { user }, "%s registers", function (model, op) return not model:has_account(op[2]); end };
	unregister = { 2, { user }, "the account of %s is deleted", function (model, op)
		return model:has_account(op[2]);
	end };
	login = { 14, { user, device }, "%s logs in with device %d", function (model, op)
		return model:has_account(op[2]) and not model:is_online(op[2]);
	end };
	logout = { 7, { user }, "%s logs out", function (model, op) return model:is_online(op[2]); end };
	evict = { 3, { user }, "Prosody's cache forgets the list of %s", function (model, op)
		return not model:is_online(op[2]);
	end };
	load = { 3, { user }, "the list of %s is read", function (model, op)
		return model:has_account(op[2]) and not model:is_online(op[2]);
	end };
	name = { 5, { user, user, function (state) return random.pick(state, names); end }, "%s calls %s %s", edits };
	unname = { 2, { user, user }, "%s has no name any more for %s", edits };
	label = { 6, { user, user, function (state) return random.pick(state, own_labels); end }, "%s puts %s into %s",
		edits };
	unlabel = { 4, { user, user, function (state)
		return random.pick(state, { "Mine", "Friends", "Work", "Family", "Choir" });
	end }, "%s takes %s out of %s", edits };
	take_off = { 4, { user, user }, "%s takes %s off the list", edits };
	request = { 3, { user, user }, "%s asks %s for subscription", function (model, op)
		return between(model, op[2], op[3]) and model:is_online(op[2]) and plain(model, op[2], op[3]);
	end };
	approve = { 15, { user, user }, "%s says yes to %s", function (model, op)
		return between(model, op[2], op[3]) and model:is_online(op[2]) and not model:is_shared(op[2], op[3])
			and model.pending[op[2]][op[3]] == true and model:pair(op[3], op[2]).ask == true;
	end };
	befriend = { 6, { user, user }, "%s and %s subscribe to each other", function (model, op)
		return between(model, op[2], op[3]) and model:is_online(op[2]) and model:is_online(op[3])
			and not model:is_shared(op[2], op[3]);
	end };
	unsubscribe = { 2, { user, user }, "%s unsubscribes from %s", function (model, op)
		return between(model, op[2], op[3]) and model:is_online(op[2]) and plain(model, op[2], op[3]);
	end };
	cancel = { 2, { user, user }, "%s cancels the subscription of %s", function (model, op)
		return between(model, op[2], op[3]) and model:is_online(op[2]) and plain(model, op[2], op[3]);
	end };
	create = { 4, { group, title }, "group %s is made, named %s", function () return true; end };
	rename = { 4, { group, title }, "group %s is renamed %s", function () return true; end };
	delete = { 2, { group }, "group %s is deleted", function () return true; end };
	add = { 14, { group, user }, "%2$s is added to group %1$s", function () return true; end };
	add_delayed = { 4, { group, user }, "%2$s is added to group %1$s, with delay", function () return true; end };
	remove = { 8, { group, user }, "%2$s is removed from group %1$s", function () return true; end };
	sync = { 3, { group }, "group %s is synced", function () return true; end };
	pause = { 10, { milliseconds }, "%d ms pass", function () return true; end };
	-- What happens to a whole server; chosen by who drives it.
	reload = { 0, {}, "the module is reloaded" };
	kill = { 0, {}, "the server is killed, and started again" };
	restart = { 0, {}, "the server is stopped, and started again" };
	switch = { 0, {}, "options are switched: %s" };
	check = { 0, {}, "everything is compared" };
};
operations.kinds = kinds;

local bag;

-- Chooses from all kinds but these from now on.
function operations.avoid(avoided)
	bag = {};
	for kind, about in pairs(kinds) do
		for _ = 1, avoided[kind] and 0 or about[1] do bag[#bag + 1] = kind; end
	end
	table.sort(bag);
end
operations.avoid({});

local is_useless = {
	-- Mostly, what would change something is chosen.
	create = function (model, op) return model.groups[op[2]] ~= nil; end;
	rename = function (model, op) return not model.groups[op[2]] or model.groups[op[2]].name == op[3]; end;
	delete = function (model, op) return not model.groups[op[2]]; end;
	add = function (model, op) return not model.groups[op[2]] or model.groups[op[2]].members[op[3]]; end;
	remove = function (model, op) return not model.groups[op[2]] or not model.groups[op[2]].members[op[3]]; end;
	sync = function (model, op) return not model.groups[op[2]]; end;
	unname = function (model, op) return not model:pair(op[2], op[3]).name; end;
	unlabel = function (model, op)
		return not model:is_shared(op[2], op[3]) and not model:pair(op[2], op[3]).labels[op[4]];
	end;
	take_off = function (model, op) return not model:is_shared(op[2], op[3]) and not model:pair(op[2], op[3]).sub; end;
};
is_useless.unsubscribe, is_useless.cancel = is_useless.take_off, is_useless.take_off;
is_useless.add_delayed = is_useless.add;

function operations.is_possible(model, op)
	local condition = kinds[op[1]][4];
	return not condition or condition(model, op);
end

-- An operation that is possible now.
function operations.choose(state, model)
	while true do
		local kind = random.pick(state, bag);
		-- Few have asked for something, and they are looked for.
		for _ = 1, kind == "approve" and 100 or 12 do
			local op = { kind };
			for i, argument in ipairs(kinds[kind][2]) do op[i + 1] = argument(state); end
			if operations.is_possible(model, op)
			and (not (is_useless[kind] and is_useless[kind](model, op)) or random.chance(state, 10)) then
				return op;
			end
		end
	end
end

-- How a history begins, so that there is something to change.
function operations.opening(state)
	local ops = {};
	for i, name in ipairs(operations.users) do
		if i < #operations.users or random.chance(state, 50) then
			ops[#ops + 1] = { random.pick(state, { "register", "enrol" }), name };
		end
	end
	-- Some have contacts of their own, with nothing in them that says so.
	for _, name in ipairs(operations.users) do
		local contact = user(state);
		if contact ~= name and random.chance(state, 40) then
			ops[#ops + 1] = { "login", name, device(state) };
			ops[#ops + 1] = { "name", name, contact, "Pal" };
			ops[#ops + 1] = { "unname", name, contact };
			ops[#ops + 1] = { "logout", name };
		end
	end
	for _, id in ipairs { "g", "h" } do
		ops[#ops + 1] = { "create", id, title(state) };
		for _, name in ipairs(operations.users) do
			if random.chance(state, 60) then ops[#ops + 1] = { "add", id, name }; end
		end
	end
	for _, name in ipairs(operations.users) do
		if random.chance(state, 60) then ops[#ops + 1] = { "login", name, device(state) }; end
	end
	return ops;
end

function operations.describe(op)
	local about = kinds[op[1]];
	if op[1] == "switch" then
		local values = {};
		for name, value in pairs(op[2]) do values[#values + 1] = name.." = "..tostring(value); end
		table.sort(values);
		return about[3]:format(table.concat(values, ", "));
	end
	local text = about[3];
	if text:find("%2$s", 1, true) then
		return (text:gsub("%%(%d)%$s", function (n) return op[tonumber(n) + 1]; end));
	end
	return text:format(table.unpack(op, 2));
end

return operations;
