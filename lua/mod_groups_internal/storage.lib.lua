-- Effects on storage, on the log, on other modules and on time.

local array = require "util.array";
local async = require "util.async";
local add_task = require "util.timer".add_task;

local info_store = assert(module:open_store("group_info"));
local members_store = assert(module:open_store("groups"));
local members_map = assert(module:open_store("groups", "map"));
-- One record under the host's own key: no account's purge reaches it.
local marker_store = assert(module:open_store("groups_internal"));

local concat, find = table.concat, string.find;
-- Locals, for they are called for each of a million members at a start.
local next, pairs, type, xpcall = next, pairs, type, xpcall;
local traceback = debug.traceback;

local effects = {};

-- Whether one row can be written for less than the record: not where `map` is made of `keyval`.
function effects.has_row_writes()
	return members_map.keyval_store == nil;
end

-- Resumes operations that wait for their turn.
local waiting = {};

function effects.wait()
	if not async.ready() then return nil, "the caller cannot wait"; end
	local wait, done = async.waiter(1, true);
	waiting[#waiting + 1] = done;
	-- Whoever has the turn may have died without a word.
	add_task(1, done);
	wait();
	return true;
end

-- In a timer: resuming them here would nest one coroutine in the other, as many as wait.
function effects.wake()
	add_task(0, function ()
		local resumed = waiting;
		waiting = {};
		for _, done in ipairs(resumed) do done(); end
	end);
	return true;
end

function effects.log(_, level, line)
	module:log(level, "%s", line);
	return true;
end

function effects.show_status(_, kind, text)
	module:set_status(kind, text, true);
	return true;
end

effects.new_id = require "util.id".short;

-- With `users`: an event for each of them, and `payload` has the group's record for each.
function effects.fire(_, name, payload, id, users)
	for i = 1, users and #users or 1 do
		local event = users and { id = id, user = users[i], host = module.host, group_info = payload[i] } or payload;
		local ok, err = xpcall(module.fire_event, traceback, module, name, event);
		if not ok then module:log("error", "Error in a handler of %s: %s", name, err); end
	end
	return true;
end

function effects.list_groups()
	local each, state, start = info_store:users();
	if not each then return nil, state; end
	return array.collect(each, state, start);
end

-- Splits a record into the names for which the empty table is stored, in one string, and the others.
local names = {};
local function pack_members(members)
	local n, others = 0, nil;
	for name, data in pairs(members) do
		if type(data) == "table" and next(data) == nil and type(name) == "string" then
			n = n + 1;
			names[n] = name;
		else
			others = others or {};
			others[name] = data;
		end
	end
	if find(concat(names, "", 1, n), "\0", 1, true) then return "", members; end
	names[n + 1] = "";
	return concat(names, "\0", 1, n + 1), others;
end

function effects.read_group(_, id)
	local info, err = info_store:get(id);
	if info == nil and err then return nil, err; end
	local members, members_err = members_store:get(id);
	if members == nil and members_err then return nil, members_err; end
	if type(members) ~= "table" then return true, info; end
	return true, info, pack_members(members);
end

-- Returns the effect that writes to a store.
local function writing_to(store)
	return function (_, ...) return store:set(...); end
end

effects.store_info, effects.store_members = writing_to(info_store), writing_to(members_store);
effects.store_member, effects.store_marker = writing_to(members_map), writing_to(marker_store);

function effects.read_marker()
	local marker, err = marker_store:get(nil);
	if marker == nil and err then return nil, err; end
	return true, marker;
end

return effects;
