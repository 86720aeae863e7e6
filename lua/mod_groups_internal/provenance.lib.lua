-- What groups have brought, and what is known of rosters in memory: the record of it, and how it is read. The words are explained in
-- src/engine/effect.rs, at Plan. Nothing here has a state of its own.

local jid_node = require "util.jid".node;

local getmetatable, next, pairs, setmetatable, tonumber, type = getmetatable, next, pairs, setmetatable, tonumber, type;

-- The provenance in a roster's metadata: { labels = { [group] = label or array of labels }, notes = { [jid] = note },
-- names = { [jid] = name given }, usernames = true once one was given for a name }. A note is { brought = true or nil, subscription =,
-- ask =, labels = { [label] = true } }.
local KEY = "groups_internal";

-- What is known of a roster in memory is kept in a metatable of its metadata: there it lasts as long as the roster, is never
-- stored, and costs Lua's collector less than a weak table. It holds `stamp` and `version`: what the roster was found, or
-- made, to be settled as of; `dirty`: storage lacks changes of ours; `saving`: it is just being given them; `settling`: what of the
-- provenance is to be forgotten when it has them; `done`: contacts that were given up, whose notes are dropped with the save that has
-- them so, and no sooner.
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

local function bears_any(item, labels)
	if not labels then return false; end
	for label in pairs(item.groups or {}) do
		if labels[label] then return true; end
	end
	return false;
end

local function note_of(provenance, jid)
	return provenance and provenance.notes and provenance.notes[jid];
end

local function add_note(provenance, jid, note)
	get_field(provenance, "notes")[jid] = note;
	return note;
end

local function note_choice(provenance, jid, item, label, given)
	local note = note_of(provenance, jid) or add_note(provenance, jid, { brought = item and bears_any(item, given) or nil });
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

-- A contact has been given up.
local function note_done(state, jid)
	get_field(state, "done")[jid] = true;
end

local function is_stored(state)
	return not state.dirty and not state.saving;
end

-- Returns those of a group's labels that are not to be forgotten: `first`, if there is one, and what contacts still bear.
local function still_given(roster, given, first)
	local kept = { first };
	for label in pairs(add_given({}, given)) do
		local borne = false;
		for jid, item in pairs(roster) do
			borne = borne or jid and item.groups and item.groups[label];
		end
		if borne and label ~= first then
			kept[#kept + 1] = label;
		end
	end
	return #kept > 1 and kept or kept[1];
end

-- Forgets what is not needed any more, for the roster is in storage as it is.
local function forget(roster, settling)
	local metadata = roster[false];
	local labels = get_provenance(metadata).labels;
	if settling and settling.everything then
		metadata[KEY] = nil;
	elseif settling and labels then
		for id, label in pairs(settling.labels) do
			if type(labels[id]) == "table" and newest(labels[id]) == label then
				labels[id] = still_given(roster, labels[id], label);
			end
		end
		for id in pairs(settling.forgotten) do
			labels[id] = still_given(roster, labels[id]);
		end
	end
end

-- Forgets labels that had to be in storage once more, beside the changes of a save. A roster that is only ever loaded to be changed
-- would keep all of them.
local function forget_stored(roster)
	local provenance = get_provenance(roster[false]);
	if not provenance or not is_stored(get_state(roster[false])) then return; end
	for id, given in pairs(provenance.labels or {}) do
		if type(given) == "table" then
			provenance.labels[id] = still_given(roster, given, given[1]);
		end
	end
end

-- Leaves no more of the notes on contacts that were given up than the user's choice of labels. Returns what there was.
local function drop_notes(provenance, done)
	local given, dropped = given_for(provenance), {};
	for jid in pairs(done) do
		local note = note_of(provenance, jid);
		if note then
			dropped[jid] = note;
			provenance.notes[jid] = bears_any({ groups = note.labels }, given) and { labels = note.labels } or nil;
		end
	end
	if provenance.notes and not next(provenance.notes) then provenance.notes = nil; end
	return dropped;
end

local function forget_names(provenance, done)
	local names = provenance.names;
	if not names then return; end
	for jid in pairs(done) do
		names[jid] = nil;
	end
	if not next(names) then provenance.names = nil; end
end

return {
	KEY = KEY;
	add_given = add_given;
	add_note = add_note;
	bears_any = bears_any;
	drop_notes = drop_notes;
	forget = forget;
	forget_names = forget_names;
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
	note_done = note_done;
	note_of = note_of;
	sees = sees;
	set_stamp = set_stamp;
	set_subscription = set_subscription;
	strip = strip;
};
