-- The bench inside Prosody. The floor: the least work that each measured operation needs, done once by Prosody's own
-- functions. And stop-watches. The bench calls these functions over the control port; loaded, the module does nothing.
-- luacheck: globals module prosody, allow defined top, ignore 131

local rostermanager = require "core.rostermanager";
local usermanager = require "core.usermanager";
local storagemanager = require "core.storagemanager";
local modulemanager = require "core.modulemanager";
local monotonic = require "util.time".monotonic;
local add_task = require "util.timer".add_task;
local st = require "util.stanza";
local envload = require "util.envload";
local lfs = require "lfs";

local host = module.host;
local sessions = prosody.hosts[host].sessions;
local group_store = module:open_store("groups");
local info_store = module:open_store("group_info");

local records = {};

local function record(group)
	if not records[group] then
		records[group] = group_store:get(group) or {};
	end
	return records[group];
end

local function jid_of(user)
	return user.."@"..host;
end

local function contact(label)
	return { subscription = "both", groups = { [label] = true } };
end

-- The floor ----------------------------------------------------------------------------------------------------------

-- Adds a member who is offline. Stores the record; each online member gets the item and one push.
function floor_add(group, label, user)
	local members = record(group);
	members[user] = {};
	group_store:set(group, members);
	local jid = jid_of(user);
	for member in pairs(members) do
		local online = sessions[member];
		if online and member ~= user then
			online.roster[jid] = contact(label);
			rostermanager.roster_push(member, host, jid);
		end
	end
	return true;
end

-- Adds a member who is online. The newcomer gets a push for each member as well, and presence goes both ways.
function floor_add_online(group, label, user)
	local presence = prosody.hosts[host].modules.presence;
	local members = record(group);
	members[user] = {};
	group_store:set(group, members);
	local jid, roster = jid_of(user), sessions[user].roster;
	for member in pairs(members) do
		if member ~= user then
			local other = jid_of(member);
			roster[other] = contact(label);
			rostermanager.roster_push(user, host, other);
			if sessions[member] then
				sessions[member].roster[jid] = contact(label);
				rostermanager.roster_push(member, host, jid);
				presence.send_presence_of_available_resources(user, host, other);
				presence.send_presence_of_available_resources(member, host, jid);
			end
		end
	end
	return true;
end

function floor_remove(group, user)
	local members = record(group);
	members[user] = nil;
	return group_store:set(group, members);
end

-- Renames a group. Each online member gets the new label on each item, and a push for it. Works in slices, so that the
-- connections have their turns in between: Prosody gets slower with each push that still waits to be sent.
function floor_rename(group, name)
	local members = record(group);
	info_store:set(group, { name = name });
	local push = coroutine.wrap(function ()
		for member in pairs(members) do
			for other in pairs(sessions[member] and members or {}) do
				if other ~= member then
					sessions[member].roster[jid_of(other)] = contact(name);
					rostermanager.roster_push(member, host, jid_of(other));
					coroutine.yield(true);
				end
			end
		end
	end);
	add_task(0, function ()
		for _ = 1, 20 do
			if not push() then return; end
		end
		return 0;
	end);
	return true;
end

-- Writes the rosters of a group: loads, fills and saves each once.
function floor_sync(group, label)
	local members = record(group);
	for user in pairs(members) do
		local roster = rostermanager.load_roster(user, host);
		for other in pairs(members) do
			if other ~= user then
				roster[jid_of(other)] = contact(label);
			end
		end
		rostermanager.save_roster(user, host, roster);
	end
	return true;
end

-- Adds members one by one, all offline: stores the record each time. Returns milliseconds.
function floor_grow(group, users)
	local members = {};
	local start = monotonic();
	for _, user in ipairs(users) do
		members[user] = {};
		group_store:set(group, members);
	end
	return (monotonic() - start) * 1000;
end

-- Groups with chats: each record is stored once for a call, each room saved once, and each new member invited once.

local chats = {};

local function invite(room, user)
	local reason = "You are a member. This is the chat.";
	module:send(st.message({ from = room.jid, to = jid_of(user) })
		:tag("x", { xmlns = "http://jabber.org/protocol/muc#user" })
		:tag("invite", { from = host }):text_tag("reason", reason):up():up()
		:tag("x", { xmlns = "jabber:x:conference", jid = room.jid, reason = reason }):up());
end

local function new_chat(group, name)
	local of_group = chats[group];
	local muc = prosody.hosts[of_group.host].modules.muc;
	local room = muc.create_room(group.."-"..(#of_group + 1).."@"..of_group.host);
	room:set_persistent(true);
	room:set_members_only(true);
	room:set_hidden(true);
	room:set_name(name);
	for user in pairs(record(group)) do
		room._affiliations[jid_of(user)] = "member";
		invite(room, user);
	end
	room:save(true);
	of_group[#of_group + 1] = room;
end

function floor_chats(group, muc_host, count)
	chats[group] = { host = muc_host };
	info_store:set(group, { name = group });
	for i = 1, count do new_chat(group, "Chat "..i); end
	return true;
end

local function set_affiliation(group, user, affiliation)
	record(group)[user] = affiliation and {};
	group_store:set(group, record(group));
	for _, room in ipairs(chats[group]) do
		room._affiliations[jid_of(user)] = affiliation;
		room:save(true);
		if affiliation then invite(room, user); end
	end
	return true;
end

function floor_chats_grow(group, users)
	for _, user in ipairs(users) do set_affiliation(group, user, "member"); end
	return true;
end

function floor_chats_add_member(group, user) return set_affiliation(group, user, "member"); end
function floor_chats_remove_member(group, user) return set_affiliation(group, user, nil); end

-- Many at once: one write of the record, one save of each room.
local function set_affiliations(group, users, affiliation)
	for _, user in ipairs(users) do record(group)[user] = affiliation and {}; end
	group_store:set(group, record(group));
	for _, room in ipairs(chats[group]) do
		function room.save() return true; end
		for _, user in ipairs(users) do room:set_affiliation(true, jid_of(user), affiliation); end
		room.save = nil;
		room:save(true);
		for _, user in ipairs(affiliation and users or {}) do invite(room, user); end
	end
	return true;
end

function floor_chats_add_members(group, users) return set_affiliations(group, users, "member"); end
function floor_chats_remove_members(group, users) return set_affiliations(group, users, nil); end

function floor_chats_add_group_chat(group, name)
	info_store:set(group, { name = group, chats = name });
	new_chat(group, name);
	return true;
end

function floor_chats_set_info(group, info)
	info_store:set(group, info);
	local room = chats[group][1];
	room:set_name(info.name);
	room:save(true);
	return true;
end

function floor_chats_delete(group)
	info_store:set(group, nil);
	group_store:set(group, nil);
	for _, room in ipairs(chats[group]) do room:destroy(); end
	return true;
end

-- Reads all groups from the store. Returns milliseconds.
function floor_read()
	local start = monotonic();
	local count = 0;
	for id in info_store:users() do
		local info, members = info_store:get(id), group_store:get(id);
		if info and members then count = count + 1; end
	end
	return { ms = (monotonic() - start) * 1000, groups = count };
end

-- Stop-watches -------------------------------------------------------------------------------------------------------

local function median(values)
	table.sort(values);
	return values[(#values + 1) // 2];
end

-- Saves a user's whole roster. Returns the median in milliseconds.
function save_cost(user, rounds)
	local roster = rostermanager.load_roster(user, host);
	local times = {};
	for i = 1, rounds do
		local start = monotonic();
		assert(rostermanager.save_roster(user, host, roster));
		times[i] = (monotonic() - start) * 1000;
	end
	return median(times);
end

function groups_module()
	return prosody.hosts[host].modules.groups_internal;
end

function grow(group, users)
	local groups = groups_module();
	local start = monotonic();
	for _, user in ipairs(users) do
		assert(groups.add_member(group, user));
	end
	return (monotonic() - start) * 1000;
end

-- Makes groups, and adds users to all of them. Returns milliseconds for the adds.
function join_many(count, users)
	local groups = groups_module();
	for i = 1, count do
		assert(groups.create({ name = "Many "..i }, false, "many"..i));
	end
	local start = monotonic();
	for i = 1, count do
		for _, user in ipairs(users) do
			assert(groups.add_member("many"..i, user));
		end
	end
	return (monotonic() - start) * 1000;
end

-- Takes users out of the groups of join_many, one after the other. Returns milliseconds.
function leave_many(count, users)
	local groups = groups_module();
	local start = monotonic();
	for _, user in ipairs(users) do
		for i = 1, count do
			assert(groups.remove_member("many"..i, user));
		end
	end
	return (monotonic() - start) * 1000;
end

function add_delayed(group, users)
	local groups = groups_module();
	for _, user in ipairs(users) do
		assert(groups.add_member(group, user, true));
	end
	return true;
end

-- Times the call itself. Returns milliseconds.
function time_sync(group)
	local start = monotonic();
	groups_module().sync(group);
	return (monotonic() - start) * 1000;
end

-- Returns microseconds for one call, as the median of batches.
function time_calls(name, batches, calls, ...)
	local f = groups_module()[name];
	local times = {};
	for i = 1, batches do
		local start = monotonic();
		for _ = 1, calls do
			f(...);
		end
		times[i] = (monotonic() - start) * 1e6 / calls;
	end
	return median(times);
end

-- Fires an event for a connected user's session. Returns the median in microseconds.
function time_event(name, user, rounds)
	local _, session = next(sessions[user].sessions);
	local fire_event = prosody.hosts[host].events.fire_event;
	local times = {};
	for i = 1, rounds do
		local start = monotonic();
		fire_event(name, { session = session });
		times[i] = (monotonic() - start) * 1e6;
	end
	return median(times);
end

function time_load(name)
	local start = monotonic();
	assert(modulemanager.load(host, name));
	return (monotonic() - start) * 1000;
end

-- Empties the cache of rosters: what one measurement leaves there makes the collector slow in the next.
function forget_rosters()
	prosody.hosts[host].roster_cache = nil;
	return collect();
end

function delete_user(user)
	return usermanager.delete_user(user, host);
end

-- Runs a full collection. Returns kilobytes of Lua memory.
function collect()
	collectgarbage();
	collectgarbage();
	return collectgarbage("count");
end

-- Storage ------------------------------------------------------------------------------------------------------------

local READS = { get = true; get_all = true; find = true; users = true; dates = true; summary = true };

-- Calls so far by "store read" and "store write", and when the last write was. Left out is what the bench itself reads,
-- and what a call is made of.
local calls, last_write, is_counted = {}, 0, true;

local function count_again(...)
	is_counted = true;
	return ...;
end

-- Counts calls into these kinds of stores from now on, also into stores that are open already.
local function watch(typ)
	local store = storagemanager.open(host, "bench_tools", typ);
	-- File storage has no maps: what stands for them calls the other kind.
	local methods = store and not store.keyval_store and getmetatable(store).__index;
	for name, method in pairs(type(methods) == "table" and methods or {}) do
		if type(method) == "function" then
			methods[name] = function (self, ...)
				if not is_counted then return method(self, ...); end
				local what = self.store..(READS[name] and " read" or " write");
				calls[what] = (calls[what] or 0) + 1;
				if not READS[name] then last_write = monotonic(); end
				is_counted = false;
				return count_again(method(self, ...));
			end
		end
	end
end

watch("keyval");
watch("map");

local function read(store, key)
	is_counted = false;
	return count_again(storagemanager.open(host, store):get(key));
end

-- Returns calls since the last time, by "store read" and "store write".
function take_calls()
	local taken = calls;
	calls = {};
	return next(taken) and taken;
end

-- Returns what `f` calls in this turn, as `take_calls`.
function calls_of(f, ...)
	take_calls();
	assert(f(...));
	return take_calls();
end

-- Returns seconds since the last write.
function quiet()
	return monotonic() - last_write;
end

-- Does the module's record name contact lists that are not settled yet?
function open_work()
	local marker = read("groups_internal") or {};
	return marker.unsettled ~= nil or marker.everything ~= nil or marker.withdrawals ~= nil;
end

-- Stores what a folder holds in the layout of Prosody's file storage.
function take_files(folder)
	local function entries(path)
		return coroutine.wrap(function ()
			for name in lfs.dir(path) do
				if name ~= "." and name ~= ".." then coroutine.yield(name); end
			end
		end);
	end
	local function decode(name)
		return (name:gsub("%%(%x%x)", function (code) return string.char(tonumber(code, 16)); end));
	end
	for store_name in entries(folder) do
		local path = folder.."/"..store_name;
		local store = storagemanager.open(host, decode(store_name));
		for file in lfs.attributes(path, "mode") == "directory" and entries(path) or function () end do
			local data = assert(envload.envloadfile(path.."/"..file, {}))();
			assert(store:set(decode(file:match("^(.*)%.dat$")), data));
		end
	end
	return true;
end
