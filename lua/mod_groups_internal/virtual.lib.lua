-- Keeps virtual contacts out of storage: the store of contact lists is wrapped, and gets the stored items below them.
-- What users have made of virtual contacts goes into a store of its own. The state of a list is explained in
-- contacts.lib.lua.

local native = require "groups_internal_native";

local contacts = module:require "contacts";

local getmetatable, next, pairs = getmetatable, next, pairs;
local rawget, setmetatable, type = rawget, setmetatable, type;

-- By usernames.
local edits_store = module:open_store("groups_contacts");

-- Users of whose damaged records the log was told.
local warned = {};

local virtual = {};

-- Returns the state of a list, by its metadata, if contacts are shown in it, or were.
local function shown_state(metadata)
	local state = type(metadata) == "table" and getmetatable(metadata);
	return state and state.shown and state or nil;
end
virtual.shown_state = shown_state;

-- Takes the virtual items out of a list: the list is then as storage has it. Returns the digest of what was shown.
-- Calls `lose(jid)` for each contact whose subscription somebody has changed for the session.
function virtual.leave(roster, lose)
	local state = shown_state(roster[false]);
	if not state then return nil; end
	for jid, item in pairs(state.shown) do
		if lose and (rawget(item, "subscription") or rawget(item, "ask")) then lose(jid); end
		roster[jid] = state.below[jid];
	end
	roster[false].version = state.stored_version;
	setmetatable(roster[false], { changed = state.changed });
	-- Zero stands for nothing, and also for a list without virtual contacts.
	return state.digest ~= 0 and state.digest or nil;
end

-- Edits

function virtual.read_edits(username, roster)
	local record, err = edits_store:get(username);
	if not record and err then return nil, tostring(err); end
	local state = contacts.get_state(roster[false]);
	local edits, is_damaged = native.read_edits(record);
	state.edits = state.edits or edits;
	if is_damaged and not warned[username] then
		warned[username] = true;
		module:log("warn", "What %s has made of virtual contacts is damaged in the store groups_contacts: "
			.."what is wrong there is dropped", username);
	end
	return true;
end

function virtual.store_edits(username, roster)
	local state = contacts.get_state(roster[false]);
	if not state.edits_changed then return true; end
	state.edits_changed = nil;
	local ok, err = edits_store:set(username, next(state.edits) and state.edits or nil);
	if ok then return true; end
	state.edits_changed = true;
	return nil, err;
end

function virtual.forget_edits(jid, rosters)
	for _, roster in pairs(rosters) do
		local state = getmetatable(roster[false]);
		if state and state.edits then state.edits[jid] = nil; end
	end
	for username in edits_store:users() do
		local edits = edits_store:get(username);
		if type(edits) == "table" and edits[jid] then
			edits[jid] = nil;
			edits_store:set(username, next(edits) and edits or nil);
		end
	end
	return true;
end

-- Takes in what somebody has made of a virtual item: replaced it, changed it in place, or removed it. The engine says
-- what follows.
local function take_in(state, jid)
	local facts = {};
	contacts.pack_contact(facts, 1, jid, state.roster, state);
	local labels = getmetatable(state.shown[jid]).labels;
	local edit, name, digest = native.take_in(jid, labels, state.names[jid], facts, state.digest);
	contacts.take_step(state.roster, state, jid, edit, name);
	state.digest = digest;
end

local function is_untouched(state, jid)
	local item = state.shown[jid];
	local kind = getmetatable(item);
	return state.roster[jid] == item and item.name == state.names[jid] and contacts.is_usual(item, kind.labels, kind);
end

-- Storage

local function stored_metadata(state, metadata)
	state.stored_version = native.raised_version(state.stored_version);
	contacts.show_version(metadata, state);
	local stored = {};
	for key, value in pairs(metadata) do stored[key] = value; end
	stored.version = state.stored_version;
	return stored;
end

-- Returns what storage has of some items, or of all.
local function stored_items(state, items, removed)
	local stored = {};
	for jid, item in pairs(items) do
		if state.shown[jid] then
			if item ~= removed and not is_untouched(state, jid) then take_in(state, jid); end
			item = item ~= removed and state.below[jid] or removed;
		end
		if item ~= removed and jid and contacts.is_passing(item) then item = removed; end
		stored[jid] = item;
	end
	stored[false] = stored_metadata(state, items[false]);
	return stored;
end

local function set_roster(store, username, roster, ...)
	local state = shown_state(type(roster) == "table" and roster[false]);
	if not state or state.roster ~= roster then return store:set(username, roster, ...); end
	local stored = stored_items(state, roster, nil);
	local ok, err = virtual.store_edits(username, roster);
	if not ok then return nil, err; end
	return store:set(username, stored, ...);
end

local function set_items(store, username, items, ...)
	local state = shown_state(items[false]);
	if not state then return store:set_keys(username, items, ...); end
	local stored = stored_items(state, items, store.remove);
	local ok, err = virtual.store_edits(username, state.roster);
	if ok then ok, err = store:set_keys(username, stored, ...); end
	if not ok then return ok, err; end
	-- Only now: a contact that could not be removed is in the list again.
	for jid, item in pairs(items) do
		if item == store.remove and state.shown[jid] then take_in(state, jid); end
	end
	contacts.show_version(items[false], state);
	virtual.store_edits(username, state.roster); -- or the next save does
	return ok, err;
end

-- One item, in a `map` store.
local function set_item(store, username, jid, item)
	local kind = type(item) == "table" and getmetatable(item);
	if kind and kind.labels then return true; end
	return store:set(username, jid, item);
end

-- Returns a store of contact lists that virtual items do not get into.
function virtual.wrap(store, store_type)
	local wrapped, set = {}, store_type == "map" and set_item or set_roster;
	function wrapped.set(_, ...) return set(store, ...); end
	if store.set_keys then
		function wrapped.set_keys(_, ...) return set_items(store, ...); end
	end
	return setmetatable(wrapped, { __index = store });
end

return virtual;
