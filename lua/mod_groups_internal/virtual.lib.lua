-- Keeps virtual contacts out of storage: the store of contact lists is wrapped, and gets the stored items below them.
-- What users have made of virtual contacts goes into a store of its own. The state of a list is explained in
-- contacts.lib.lua.

local native = require "groups_internal_native";

local contacts = module:require "contacts";

local getmetatable, ipairs, next, pairs = getmetatable, ipairs, next, pairs;
local rawget, setmetatable, tonumber, type = rawget, setmetatable, tonumber, type;

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

-- Returns what of a record is as it should be. What is not is dropped, and the next save heals the record.
local function check_edits(username, record)
	local edits, damaged = {}, record ~= nil and type(record) ~= "table";
	for jid, edit in pairs(type(record) == "table" and record or {}) do
		if type(jid) == "string" and type(edit) == "table" and (edit.name == nil or type(edit.name) == "string")
		and (edit.groups == nil or type(edit.groups) == "table") then
			edits[jid] = edit;
		else
			damaged = true;
		end
	end
	if damaged and not warned[username] then
		warned[username] = true;
		module:log("warn", "What %s has made of virtual contacts is damaged in the store groups_contacts: "
			.."what is wrong there is dropped", username);
	end
	return edits;
end

function virtual.read_edits(username, roster)
	local record, err = edits_store:get(username);
	if not record and err then return nil, tostring(err); end
	local state = contacts.get_state(roster[false]);
	state.edits = state.edits or check_edits(username, record);
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

-- Takes in an edit: somebody has replaced a virtual item, or changed it in place. The engine says what the edit is.
local function take_in_edit(state, jid)
	local facts = {};
	contacts.pack_layers(facts, 1, state, jid, state.roster[jid]);
	contacts.pack(facts, 1, contacts.SHOWN, { name = state.names[jid] });
	local edit, name, subscription, ask = native.take_in(getmetatable(state.shown[jid]).labels, facts);
	contacts.take_step(state.roster, state, jid, edit, name);
	state.roster[jid].subscription, state.roster[jid].ask = subscription, ask;
	if subscription or ask then state.digest = native.deviating_digest(state.digest, jid); end
end

-- Storage

local function stored_metadata(state, metadata)
	if state.stored_version ~= true then
		state.stored_version = (tonumber(state.stored_version) or 0) + 1;
	end
	contacts.show_version(metadata, state);
	local stored = {};
	for key, value in pairs(metadata) do stored[key] = value; end
	stored.version = state.stored_version;
	return stored;
end

local function set_roster(store, username, roster, ...)
	local state = shown_state(type(roster) == "table" and roster[false]);
	if not state or state.roster ~= roster then return store:set(username, roster, ...); end
	for jid, item in pairs(state.shown) do
		local kind = getmetatable(item);
		local same = roster[jid] == item and item.name == state.names[jid] and contacts.is_usual(item, kind.labels, kind);
		if roster[jid] and not same then take_in_edit(state, jid); end
	end
	local ok, err = virtual.store_edits(username, roster);
	if not ok then return nil, err; end
	local stored = {};
	for jid, item in pairs(roster) do
		if state.shown[jid] then item = state.below[jid]; end
		stored[jid] = item;
	end
	stored[false] = stored_metadata(state, roster[false]);
	return store:set(username, stored, ...);
end

local function set_items(store, username, items, ...)
	local state = shown_state(items[false]);
	if not state then return store:set_keys(username, items, ...); end
	local stored, taken_off = {}, {};
	for jid, item in pairs(items) do
		-- What is not shown and not there is no contact: Prosody saves a request for subscription like this.
		if item == store.remove and state.shown[jid] then
			-- The user has taken the contact off the list: what is below goes as well.
			taken_off[#taken_off + 1] = { jid, state.shown[jid], state.below[jid], state.edits[jid] };
			state.edits_changed = state.edits_changed or state.edits[jid] ~= nil;
			if state.shown[jid] then state.digest = native.deviating_digest(state.digest, jid); end
			state.shown[jid], state.below[jid], state.edits[jid] = nil, nil, nil;
			stored[jid] = item;
		elseif jid and state.shown[jid] then
			take_in_edit(state, jid);
			stored[jid] = state.below[jid] or store.remove;
		elseif jid then
			stored[jid] = item;
		end
	end
	local ok, err = virtual.store_edits(username, state.roster);
	if ok then
		stored[false] = stored_metadata(state, items[false]);
		ok, err = store:set_keys(username, stored, ...);
	end
	if not ok then
		for _, was in ipairs(taken_off) do
			local jid = was[1];
			state.shown[jid], state.below[jid], state.edits[jid] = was[2], was[3], was[4];
			state.edits_changed = true;
		end
	end
	return ok, err;
end

-- Returns a store of contact lists that virtual items do not get into.
function virtual.wrap(store, store_type)
	local wrapped = {};
	if store_type == "map" then
		function wrapped:set(username, jid, item) -- luacheck: ignore 212/self
			local kind = type(item) == "table" and getmetatable(item);
			if kind and kind.labels then return true; end
			return store:set(username, jid, item);
		end
	else
		function wrapped:set(...) return set_roster(store, ...); end -- luacheck: ignore 212/self
	end
	if store.set_keys then
		function wrapped:set_keys(...) return set_items(store, ...); end -- luacheck: ignore 212/self
	end
	return setmetatable(wrapped, { __index = store });
end

return virtual;
