-- What is known of the contacts that groups have brought: a record in the roster's metadata. The rules, and what the words mean, are
-- in src/engine/effect.rs, at Plan.

local jid_node = require "util.jid".node;

local insert = table.insert;
local pairs, type = pairs, type;

-- The record: { labels = { [group] = label or array of labels }, notes = { [jid] = note },
-- names = { [jid] = name given }, usernames = true once one was given for a name }. A note is { brought = true or nil, subscription =,
-- ask =, labels = { [label] = true } }.
local KEY = "groups_internal";

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

-- Returns those of a group's labels that are not to be forgotten: the newest, if any is, and what contacts still bear.
local function still_given(roster, given, first)
	local kept = {};
	for label in pairs(add_given({}, given)) do
		local borne = false;
		for jid, item in pairs(roster) do
			borne = borne or jid and item.groups and item.groups[label];
		end
		if label == first then
			insert(kept, 1, label);
		elseif borne then
			kept[#kept + 1] = label;
		end
	end
	return #kept > 1 and kept or kept[1];
end

local function forget(roster, settling)
	local labels = get_provenance(roster[false]).labels;
	if not settling or not labels then return; end
	for id, label in pairs(settling.labels) do
		if type(labels[id]) == "table" and newest(labels[id]) == label then
			labels[id] = still_given(roster, labels[id], label);
		end
	end
	for id in pairs(settling.forgotten) do
		labels[id] = still_given(roster, labels[id]);
	end
end

-- Leaves no more of the notes on contacts that were given up than the user's choice of labels. Returns what there was.
local function drop_notes(provenance, done)
	local given, dropped = given_for(provenance), {};
	for jid in pairs(done) do
		local note = note_of(provenance, jid);
		if note then
			dropped[jid] = note;
			provenance.notes[jid] = given and bears_any({ groups = note.labels }, given) and { labels = note.labels } or nil;
		end
	end
	return dropped;
end

return {
	KEY = KEY;
	get_provenance = get_provenance;
	get_field = get_field;
	newest = newest;
	add_given = add_given;
	given_for = given_for;
	bears_any = bears_any;
	note_of = note_of;
	add_note = add_note;
	note_choice = note_choice;
	is_named = is_named;
	forget = forget;
	drop_notes = drop_notes;
};
