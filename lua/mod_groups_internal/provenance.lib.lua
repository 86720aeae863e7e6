-- What groups have brought, and what is known of rosters in memory: the record of it, and how it is read. The words are explained in
-- src/engine/effect.rs, at Plan. Nothing here has a state of its own.

local jid_node = require "util.jid".node;

local getmetatable, next, pairs, setmetatable, tonumber, type = getmetatable, next, pairs, setmetatable, tonumber, type;

-- The provenance in a roster's metadata: { labels = { [group] = label or array of labels }, notes = { [jid] = note },
-- names = { [jid] = name given }, usernames = true once one was given for a name }. A note is { brought = true or nil, subscription =,
-- ask =, labels = { [label] = true }, done = true once the group has given the contact up }.
local KEY = "groups_internal";

-- What is known of a roster in memory is kept in a metatable of its metadata: there it lasts as long as the roster, is never
-- stored, and costs Lua's collector less than a weak table. It holds `stamp` and `version`: what the roster was found, or
-- made, to be settled as of; `dirty`: storage lacks changes of ours; `saving`: it is just being given them; `settling`: what of the
-- provenance is to be forgotten when it has them.
local function get_state(metadata)
	local state = getmetatable(metadata);
	if not state then
		state = {};
		setmetatable(metadata, state);
	end
	return state;
end

local function has_stamp(metadata, stamp)
	local state = getmetatable(metadata);
	return state ~= nil and state.stamp == stamp and state.version == metadata.version;
end

local function set_stamp(metadata, stamp)
	local state = get_state(metadata);
	state.stamp, state.version = stamp, tonumber(metadata.version);
end

-- Provenance

local function get_provenance(metadata)
	local provenance = metadata[KEY];
	return type(provenance) == "table" and provenance or nil;
end

local function get_field(provenance, field)
	local value = provenance[field];
	if type(value) ~= "table" then
		value = {};
		provenance[field] = value;
	end
	return value;
end

local function newest(labels)
	if type(labels) == "table" then return labels[1]; end
	return labels;
end

-- Adds to a set (or nil) the labels that were given for a group.
local function add_given(set, given)
	if type(given) == "table" then
		for i = 1, #given do
			set = set or {};
			set[given[i]] = true;
		end
	elseif given then
		set = set or {};
		set[given] = true;
	end
	return set;
end

-- Returns the labels given for these groups, as a set; for all groups if none are named. Nil for none.
local function given_for(provenance, ids, set)
	local labels = provenance and provenance.labels;
	if not labels then return set; end
	if not ids then
		for _, given in pairs(labels) do
			set = add_given(set, given);
		end
		return set;
	end
	for i = 1, #ids do
		set = add_given(set, labels[ids[i]]);
	end
	return set;
end

-- All labels in a roster, as a set.
local function labels_of(roster)
	local labels = {};
	for jid, item in pairs(roster) do
		for label in pairs(jid and item.groups or {}) do
			labels[label] = true;
		end
	end
	return labels;
end

local function bears_any(item, labels)
	if not labels then return false; end
	for label in pairs(item.groups or {}) do
		if labels[label] then return true; end
	end
	return false;
end

-- Returns the note on a contact. One that is done counts no more, unless the item is as it was before: a client's edit has stored the
-- metadata, but not the item.
local function note_of(provenance, jid, item, given)
	local note = provenance and provenance.notes and provenance.notes[jid];
	if note and note.done then
		if not (item and bears_any(item, given)) then return nil; end
		note.done = nil;
	end
	return note;
end

local function add_note(provenance, jid, note)
	get_field(provenance, "notes")[jid] = note;
	return note;
end

local function note_choice(provenance, jid, item, label, given)
	local note = note_of(provenance, jid, item, given)
		or add_note(provenance, jid, { brought = item and bears_any(item, given) or nil });
	get_field(note, "labels")[label] = true;
end

-- Has the user given the contact a name?
local function is_named(provenance, jid, item)
	local name = item.name;
	if not name then return false; end
	local names = provenance and provenance.names;
	if names and names[jid] == name then return false; end
	return not (provenance and provenance.usernames and name == jid_node(jid));
end

-- Gives a contact a name if it has none, or the one it was given. Returns whether it did.
local function give_name(provenance, jid, item, name)
	if item.name == name or is_named(provenance, jid, item) then return false; end
	item.name = name;
	if name == jid_node(jid) then
		provenance.usernames = true;
	else
		get_field(provenance, "names")[jid] = name;
	end
	return true;
end

local function sees(item)
	return item.subscription == "both" or item.subscription == "to";
end

-- Takes labels off an item, but for the user's choice. Returns whether it bore any, and whether it is in other groups.
local function strip(item, labels, chosen)
	local stripped, others = false, false;
	for label in pairs(item.groups or {}) do
		if labels and labels[label] and not (chosen and chosen[label]) then
			item.groups[label] = nil;
			stripped = true;
		else
			others = true;
		end
	end
	return stripped, others;
end

-- Makes an item's subscription and request something else. Returns whether it was not that already.
local function set_subscription(item, subscription, ask)
	if item.subscription == subscription and item.ask == ask then return false; end
	item.subscription, item.ask = subscription, ask;
	return true;
end

local function is_stored(state)
	return not state.dirty and not state.saving;
end

-- Forgets the notes that are done, but for those whose items are as they were before: the metadata were stored without the item.
local function forget_done(provenance, roster)
	local notes, names = provenance.notes, provenance.names;
	local given = notes and given_for(provenance);
	for jid, note in pairs(notes or {}) do
		if note.done and not (roster[jid] and bears_any(roster[jid], given)) then
			notes[jid] = nil;
			if names then names[jid] = nil; end
		end
	end
	if notes and not next(notes) then provenance.notes = nil; end
	if names and not next(names) then provenance.names = nil; end
end

-- Forgets what is not needed any more, for the roster is in storage as it is.
local function forget(roster, settling)
	local metadata = roster[false];
	if settling and settling.everything then
		metadata[KEY] = nil;
		return;
	end
	local provenance = get_provenance(metadata);
	local labels = provenance.labels;
	if settling and labels then
		for id, label in pairs(settling.labels) do
			if newest(labels[id]) == label then
				labels[id] = label;
			end
		end
		for id in pairs(settling.forgotten) do
			labels[id] = nil;
		end
	end
	forget_done(provenance, roster);
end

-- Forgets what a save could not yet: what had to be in storage once, beside the changes that it was about, and is of no use now.
-- A roster that is only ever loaded to be changed would keep all of it.
local function forget_stored(roster)
	local metadata, borne = roster[false], nil;
	local provenance = get_provenance(metadata);
	if not provenance or not is_stored(get_state(metadata)) then return; end
	forget_done(provenance, roster);
	for id, given in pairs(provenance.labels or {}) do
		if type(given) == "table" and #given > 1 then
			borne = borne or labels_of(roster);
			local kept = { given[1] };
			for i = 2, #given do
				if borne[given[i]] then kept[#kept + 1] = given[i]; end
			end
			provenance.labels[id] = #kept == 1 and kept[1] or kept;
		end
	end
end

return {
	KEY = KEY;
	add_given = add_given;
	add_note = add_note;
	bears_any = bears_any;
	forget = forget;
	forget_stored = forget_stored;
	is_stored = is_stored;
	get_field = get_field;
	get_provenance = get_provenance;
	get_state = get_state;
	give_name = give_name;
	given_for = given_for;
	has_stamp = has_stamp;
	is_named = is_named;
	newest = newest;
	note_choice = note_choice;
	note_of = note_of;
	sees = sees;
	set_stamp = set_stamp;
	set_subscription = set_subscription;
	strip = strip;
};
