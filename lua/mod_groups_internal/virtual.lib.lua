-- Virtual contacts: laid over the items of a roster in memory, and never stored. See src/engine/effect.rs, at Plan.
--
-- A shown contact is a table of its own with a metatable that has what all contacts of the same labels have in common, so that
-- who changes one changes no other. What is below, what users have made of it, and the version in storage are kept in the state
-- of the roster's metadata: `roster`, `below` = { [jid] = item }, `edits` = { [jid] = { name =, groups = } }, `edited` = { [jid] = the item that a
-- client is about to replace }, `stored_version`, `digest`. `edits` without `roster`: they have been read, but nothing is shown.

local provenances = module:require "provenance";

local bears_any, get_state = provenances.bears_any, provenances.get_state;
local is_named, note_of, sees, strip = provenances.is_named, provenances.note_of, provenances.sees, provenances.strip;

local concat, floor, max = table.concat, math.floor, math.max;
local getmetatable, next, pairs, rawget, setmetatable, tonumber, type = getmetatable, next, pairs, rawget, setmetatable, tonumber, type;

-- What users have made of virtual contacts, by their usernames.
local edits_store = module:open_store("groups_contacts");

local virtual = {};

local permanent; -- how contacts are treated that are in storage
function virtual.init(rules)
	permanent = rules;
end

local kinds = setmetatable({}, { __mode = "v" });

-- Returns what contacts with these labels have in common.
local function get_kind(labels)
	local key = concat(labels, "\0");
	local kind = kinds[key];
	if not kind then
		local groups = {};
		for i = 1, #labels do
			groups[labels[i]] = true;
		end
		kind = { is_virtual = true, labels = groups, __index = { subscription = "both", groups = groups } };
		kinds[key] = kind;
	end
	return kind;
end

local function is_virtual(item)
	local kind = item and getmetatable(item);
	return kind and kind.is_virtual or false;
end

-- Are contacts shown in this roster, or were they, since it was loaded?
function virtual.is_shown(metadata)
	local state = getmetatable(metadata);
	return state ~= nil and state.roster ~= nil;
end

local function is_same(one, other)
	if one.subscription ~= other.subscription or one.ask ~= other.ask or one.name ~= other.name then return false; end
	local groups, others = one.groups or {}, other.groups or {};
	for group in pairs(groups) do
		if not others[group] then return false; end
	end
	for group in pairs(others) do
		if not groups[group] then return false; end
	end
	return true;
end

-- Returns an item as it looks now.
local function get_look(item)
	local groups = {};
	for group in pairs(item.groups or {}) do groups[group] = true; end
	return { subscription = item.subscription, ask = item.ask, name = item.name, groups = groups };
end

-- Returns the item that is shown of a contact.
local function make_item(state, kind, jid, name)
	local own = state.below[jid] or state.edits[jid];
	local item = { name = own and own.name or name };
	if own and own.groups and next(own.groups) then
		item.groups = {};
		for group in pairs(own.groups) do item.groups[group] = true; end
		for label in pairs(kind.labels) do item.groups[label] = true; end
	end
	return setmetatable(item, kind);
end

local function set_edit(state, jid, name, groups)
	if groups and not next(groups) then groups = nil; end
	local edit = (name or groups) and { name = name, groups = groups } or nil;
	if edit or state.edits[jid] then
		state.edits[jid] = edit;
		state.edits_changed = true;
	end
end

-- Puts an item of the roster below the contact that is to be shown. What a group has brought when contacts were stored is cleared away.
local function put_below(list, section, jid, item)
	local state, provenance = list.state, list.provenance;
	local note = note_of(provenance, jid);
	if not note and not bears_any(item, section.given) then
		state.below[jid] = item;
		return;
	end
	list.stored = true;
	strip(item, section.given, note and note.labels);
	provenances.note_done(state, jid);
	if note and not note.brought then
		provenances.set_subscription(item, note.subscription or "both", note.ask);
		state.below[jid] = item;
	else
		set_edit(state, jid, is_named(provenance, jid, item) and item.name or nil, item.groups);
	end
end

local mode = {};
virtual.mode = mode;

function mode.bring(list, section, jid, name)
	local state, roster = list.state, list.roster;
	local kind = section.kind;
	if not kind then
		kind = get_kind(section.labels);
		section.kind = kind;
	end
	local item = roster[jid];
	local before = item;
	if item and getmetatable(item) == kind and not rawget(item, "subscription") and not rawget(item, "ask") then
		local own = state.below[jid] or state.edits[jid];
		if item.name == (own and own.name or name) then return false, false; end
	elseif item and not is_virtual(item) then
		before = get_look(item);
		put_below(list, section, jid, item);
	end
	local shown = make_item(state, kind, jid, name);
	roster[jid] = shown;
	if before and is_same(before, shown) then return false, false; end
	return true, not (before and sees(before));
end

function mode.give_up(list, given, jid)
	local item = list.roster[jid];
	if not is_virtual(item) then
		local changed, lost = permanent.give_up(list, given, jid);
		list.stored = list.stored or changed;
		return changed, lost;
	end
	local below = list.state.below[jid];
	list.roster[jid], list.state.below[jid] = below, nil;
	return not below or not is_same(item, below), sees(item) and not (below and sees(below));
end

function mode.withdraw(list, given, jid)
	local shown = list.roster[jid];
	if is_virtual(shown) then
		list.roster[jid], list.state.below[jid] = list.state.below[jid], nil;
	end
	local changed = permanent.withdraw(list, given, jid);
	list.stored = list.stored or changed;
	return changed or is_virtual(shown);
end

-- Versions: the one that is told is made of the one in storage and of what groups bring. It is even, for pushes that are not the last
-- carry the number below it, and has no more digits than Lua 5.2 writes of a number.

local function make_version(stored, digest)
	if digest == 0 or stored == true then return stored; end
	return digest * 0x80000 + floor(tonumber(stored) or 0) % 0x40000 * 2;
end

-- `least`: what is below has changed, and must not be stored under a version that the list had when contacts were stored.
function virtual.set_version(metadata, digest, least)
	local state = get_state(metadata);
	state.digest = digest;
	if least and state.stored_version ~= true then
		state.stored_version = max((tonumber(state.stored_version) or 0) + 1, least);
	end
	metadata.version = make_version(state.stored_version, digest);
end

-- Has contacts shown in a roster from now on; its edits have been read.
function virtual.show(roster)
	local state = get_state(roster[false]);
	if state.roster == roster then return; end
	state.roster, state.below, state.edited, state.stored_version = roster, {}, {}, roster[false].version;
end

-- Returns the JIDs of the contacts that are shown.
function virtual.shown(roster)
	local jids = {};
	for jid, item in pairs(roster) do
		if jid and is_virtual(item) then
			jids[#jids + 1] = jid;
		end
	end
	return jids;
end

-- Leaves a roster as it is in storage. Returns the digest of what was shown.
function virtual.leave(roster)
	local state = getmetatable(roster[false]);
	if not state or not state.roster then return nil; end
	for jid, item in pairs(roster) do
		if jid and is_virtual(item) then
			roster[jid] = state.below[jid];
		end
	end
	roster[false].version = state.stored_version;
	setmetatable(roster[false], nil);
	return state.digest;
end

-- Edits

function virtual.read_edits(username, roster)
	local edits, err = edits_store:get(username);
	if not edits and err then return nil, tostring(err); end
	local state = get_state(roster[false]);
	state.edits = state.edits or edits or {};
	return true;
end

function virtual.store_edits(username, roster)
	local state = get_state(roster[false]);
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

-- A client is about to replace an item. Returns whether it is a virtual one.
function virtual.note_edit(roster, jid)
	if not is_virtual(roster[jid]) then return false; end
	get_state(roster[false]).edited[jid] = roster[jid];
	return true;
end

-- Takes in what a client has made of a contact, and shows it again.
local function take_in_edit(state, jid)
	local old, item = state.edited[jid], state.roster[jid];
	state.edited[jid] = nil;
	if not item or is_virtual(item) then return; end
	local kind, below = getmetatable(old), state.below[jid];
	local own = below or state.edits[jid];
	local given = not (own and own.name) and old.name or nil;
	local name = own and own.name;
	if item.name ~= old.name then name = item.name; end
	local groups = {};
	for group in pairs(item.groups) do
		if not kind.labels[group] then groups[group] = true; end
	end
	if below then
		below.name, below.groups = name, groups;
	else
		set_edit(state, jid, name, groups);
	end
	state.roster[jid] = make_item(state, kind, jid, given);
end

-- Storage

-- Returns the state of a roster in which something is shown, by its metadata.
local function shown_state(metadata)
	local state = type(metadata) == "table" and getmetatable(metadata);
	return state and state.roster and state or nil;
end

local function stored_metadata(state, metadata)
	if state.stored_version ~= true then
		state.stored_version = (tonumber(state.stored_version) or 0) + 1;
	end
	metadata.version = make_version(state.stored_version, state.digest);
	local stored = {};
	for key, value in pairs(metadata) do stored[key] = value; end
	stored.version = state.stored_version;
	return stored;
end

-- Returns what storage is to have of a contact.
local function stored_item(state, jid, item)
	if not is_virtual(item) then return item; end
	local below = state.below[jid];
	-- Somebody else has changed the subscription, such as the contact.
	if below and rawget(item, "subscription") then
		below.subscription, below.ask = item.subscription, item.ask;
	end
	return below;
end

local function set_roster(store, username, roster, ...)
	local state = shown_state(type(roster) == "table" and roster[false]);
	if not state or state.roster ~= roster then return store:set(username, roster, ...); end
	for jid in pairs(state.edited) do
		take_in_edit(state, jid);
	end
	local ok, err = virtual.store_edits(username, roster);
	if not ok then return nil, err; end
	local stored = {};
	for jid, item in pairs(roster) do
		if jid then
			stored[jid] = stored_item(state, jid, item);
		end
	end
	stored[false] = stored_metadata(state, roster[false]);
	return store:set(username, stored, ...);
end

local function set_items(store, username, items, ...)
	local state = shown_state(items[false]);
	if not state then return store:set_keys(username, items, ...); end
	local stored, taken_off, below, edit = {}, nil, nil, nil;
	for jid, item in pairs(items) do
		if item == store.remove then
			-- The user has taken the contact off the list: what is below goes as well.
			taken_off, below, edit = jid, state.below[jid], state.edits[jid];
			state.below[jid] = nil;
			set_edit(state, jid, nil, nil);
			stored[jid] = item;
		elseif jid then
			if state.edited[jid] then
				take_in_edit(state, jid);
				item = state.roster[jid];
			end
			stored[jid] = stored_item(state, jid, item) or store.remove;
		end
	end
	local ok, err = virtual.store_edits(username, state.roster);
	if ok then
		stored[false] = stored_metadata(state, items[false]);
		ok, err = store:set_keys(username, stored, ...);
	end
	if not ok and taken_off then
		state.below[taken_off] = below;
		set_edit(state, taken_off, edit and edit.name, edit and edit.groups);
	end
	return ok, err;
end

-- Returns a store of rosters that what is shown does not get into.
function virtual.wrap(store, store_type)
	local wrapped = {};
	if store_type == "map" then
		function wrapped:set(username, jid, item) -- luacheck: ignore 212/self
			if is_virtual(item) then return true; end
			return store:set(username, jid, item);
		end
	else
		function wrapped:set(...) return set_roster(store, ...); end -- luacheck: ignore 212/self
	end
	if store.set_keys then
		function wrapped:set_keys(...) return set_items(store, ...); end -- luacheck: ignore 212/self
	end
	return setmetatable(wrapped, { __index = function (_, key)
		local value = store[key];
		if type(value) ~= "function" then return value; end
		return function (_, ...) return value(store, ...); end;
	end });
end

return virtual;
