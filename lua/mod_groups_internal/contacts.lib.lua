-- What contact lists hold: here they are compared with what they should hold, and changed; nowhere else. The rules, and
-- what the words mean, are in src/engine/effect.rs, at Plan.

local jid_node = require "util.jid".node;

local host = module.host;
local max = math.max;
local getmetatable, next, pairs, setmetatable, tonumber, type = getmetatable, next, pairs, setmetatable, tonumber, type;

-- The provenance in a roster's metadata: { labels = { [group] = label or array of labels }, notes = { [jid] = note },
-- names = { [jid] = name given }, usernames = true once one was given for a name }. A note is { brought = true or nil, subscription =,
-- ask =, labels = { [label] = true }, done = true once the group has given the contact up }.
local KEY = "groups_internal";

local contacts = {};

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

function contacts.has_stamp(metadata, stamp)
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

local function note_of(provenance, jid)
	local note = provenance and provenance.notes and provenance.notes[jid];
	if note and not note.done then return note; end
end

local function add_note(provenance, jid, note)
	get_field(provenance, "notes")[jid] = note;
	return note;
end

local function note_choice(provenance, jid, item, label, given)
	local note = note_of(provenance, jid) or add_note(provenance, jid, { brought = item and bears_any(item, given) or nil });
	get_field(note, "labels")[label] = true;
end

-- A label is given for the first time: who bears it already does so by the user's choice.
local function note_choices(list, label, given)
	for jid, item in pairs(list.roster) do
		if jid and item.groups and item.groups[label] then
			note_choice(list.provenance, jid, item, label, given);
		end
	end
end

-- Contacts are about to be given a label for a group.
local function give_label(list, id, label)
	local labels = list.provenance and list.provenance.labels;
	local given = labels and labels[id];
	local settling = list.state.settling;
	if settling and settling.forgotten then
		settling.forgotten[id] = nil;
	end
	if newest(given) == label then return; end
	if not list.provenance then
		list.provenance = {};
		list.metadata[KEY] = list.provenance;
	end
	local all_given = given_for(list.provenance);
	if all_given and all_given[label] then
		-- It may change no item that this group bears the label as well, and must be known all the same.
		list.quiet = list.quiet or list.known;
	elseif not list.adopts then
		note_choices(list, label, all_given);
	end
	local all = { label };
	for earlier in pairs(add_given({}, given)) do
		if earlier ~= label then all[#all + 1] = earlier; end
	end
	get_field(list.provenance, "labels")[id] = #all == 1 and label or all;
end

-- Contacts

-- Has the user given the contact a name?
local function is_named(provenance, jid, item)
	local name = item.name;
	if not name then return false; end
	local names = provenance and provenance.names;
	if names and names[jid] == name then return false; end
	return not (provenance and provenance.usernames and name == jid_node(jid));
end

-- Gives a contact a name if it has none, or the one it was given. Returns whether it did.
local function give_name(list, jid, item, name)
	if item.name == name or is_named(list.provenance, jid, item) then return false; end
	item.name = name;
	if name == jid_node(jid) then
		list.provenance.usernames = true;
	else
		get_field(list.provenance, "names")[jid] = name;
	end
	return true;
end

local function sees(item)
	return item.subscription == "both" or item.subscription == "to";
end

-- Brings a contact. Returns whether its item changed, and whether its presence can be seen only now.
local function bring(list, section, jid)
	local roster, labels = list.roster, section.labels;
	local item = roster[jid];
	if not item then
		item = { subscription = "both", groups = {} };
		for i = 1, #labels do
			item.groups[labels[i]] = true;
		end
		roster[jid] = item;
		if list.provenance.notes then
			list.provenance.notes[jid] = nil;
			if not next(list.provenance.notes) then list.provenance.notes = nil; end
		end
		return true, true;
	end
	local groups = item.groups;
	if not groups then
		groups = {};
		item.groups = groups;
	end
	local note = note_of(list.provenance, jid);
	if not note and not bears_any(item, section.given) then
		add_note(list.provenance, jid, { subscription = item.subscription ~= "both" and item.subscription or nil; ask = item.ask });
	elseif note and not note.brought and (item.subscription ~= "both" or item.ask) then
		note.subscription, note.ask = item.subscription, item.ask;
	end
	local changed, gained = false, false;
	if item.subscription ~= "both" then
		gained = not sees(item);
		item.subscription = "both";
		changed = true;
	end
	if item.ask then
		item.ask = nil;
		changed = true;
	end
	local chosen = note and note.labels;
	for label in next, section.old do
		if groups[label] and not (chosen and chosen[label]) then
			groups[label] = nil;
			changed = true;
		end
	end
	for i = 1, #labels do
		local label = labels[i];
		if not groups[label] then
			groups[label] = true;
			changed = true;
		end
	end
	return changed, gained;
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

-- Groups have let go of a contact whose item stays. As long as it bears a label that groups give, by the user's choice, only the note
-- tells that it is the user's own.
local function let_go(provenance, note, item)
	if bears_any(item, given_for(provenance)) then
		note.brought, note.subscription, note.ask = nil, item.subscription ~= "both" and item.subscription or nil, item.ask;
	else
		note.done = true;
	end
end

-- Gives a contact up that groups bring no more. Returns whether its item changed, and whether it had been seen and is no longer.
local function give_up(list, given, jid)
	local roster, provenance = list.roster, list.provenance;
	local item = roster[jid];
	local note = note_of(provenance, jid);
	if not item or not note and not bears_any(item, given) then return false, false; end
	local brought, saw = not note or note.brought, sees(item);
	local changed, others = strip(item, given, note and note.labels);
	note = note or add_note(provenance, jid, {});
	if brought and not others and not is_named(provenance, jid, item) then
		note.done = true;
		roster[jid] = nil;
		return true, saw;
	end
	if brought then
		changed = set_subscription(item, "none", nil) or changed;
	else
		changed = set_subscription(item, note.subscription or "both", note.ask) or changed;
	end
	let_go(provenance, note, item);
	return changed, saw and not sees(item);
end

-- Takes a contact back whose account is gone. Returns whether its item changed.
local function withdraw(list, given, jid)
	local roster, provenance = list.roster, list.provenance;
	local item = roster[jid];
	if not item then return false; end
	local note = note_of(provenance, jid);
	local own = provenance and not (note and note.brought) and (note or not bears_any(item, given));
	local changed, others = strip(item, given, note and note.labels);
	if own or is_named(provenance, jid, item) or provenance and others then
		changed = set_subscription(item, "none", nil) or changed;
		if note then let_go(provenance, note, item); end
		return changed;
	end
	if note then note.done = true; end
	roster[jid] = nil;
	return true;
end

local function clear_pending(list, jid)
	local pending = list.metadata.pending;
	if pending and pending[jid] then
		pending[jid] = nil;
		list.quiet = true;
	end
end

-- What of the provenance is to be forgotten once the roster is in storage as it is now.
local function plan_forgetting(list, plan, sections)
	local settling = { labels = {}, forgotten = {} };
	for i = 1, plan.whole and #sections or 0 do
		local ids, labels = sections[i].ids, sections[i].labels;
		for j = 1, #ids do
			settling.labels[ids[j]] = labels[j];
		end
	end
	for i = 1, #plan.forgotten do
		settling.forgotten[plan.forgotten[i]] = true;
	end
	list.state.settling = settling;
end

local function is_stored(state)
	return not state.dirty and not state.saving;
end

local function forget(provenance, settling)
	local labels, notes, names = provenance.labels, provenance.notes, provenance.names;
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
	for jid, note in pairs(notes or {}) do
		if note.done then
			notes[jid] = nil;
			if names then names[jid] = nil; end
		end
	end
	if notes and not next(notes) then provenance.notes = nil; end
	if names and not next(names) then provenance.names = nil; end
end

-- Forgets what a save could not yet: what had to be in storage once, beside the changes that it was about, and is of no use now.
-- A roster that is only ever loaded to be changed would keep all of it.
local function forget_stored(list)
	local provenance, borne = list.provenance, nil;
	if not provenance or not is_stored(list.state) then return; end
	forget(provenance);
	for id, given in pairs(provenance.labels or {}) do
		if type(given) == "table" and #given > 1 then
			borne = borne or labels_of(list.roster);
			local kept = { given[1] };
			for i = 2, #given do
				if borne[given[i]] then kept[#kept + 1] = given[i]; end
			end
			provenance.labels[id] = #kept == 1 and kept[1] or kept;
		end
	end
end

-- The sections of a plan, which come flat, with what is to be known of each.
local function read_sections(list, flat)
	local sections = {};
	for s = 1, #flat, 6 do
		local ids, labels = flat[s + 1], flat[s + 2];
		local section = { verified = flat[s], ids = ids, labels = labels, contacts = flat[s + 4], names = flat[s + 5] };
		local given = given_for(list.provenance, flat[s + 3], given_for(list.provenance, ids));
		if list.adopts then
			given = add_given(given, labels);
		end
		section.given, section.old = given, {};
		for label in pairs(given or {}) do
			section.old[label] = true;
		end
		for i = 1, #labels do
			section.old[labels[i]] = nil;
		end
		sections[#sections + 1] = section;
	end
	return sections;
end

local function next_version(metadata, least)
	local version = metadata.version;
	if version == true then return 0; end -- another module makes the roster up at each load
	version = max((tonumber(version) or 0) + 1, least);
	metadata.version = version;
	return version;
end

local function bring_section(list, section, number, report)
	local naming, names = list.naming, section.names;
	for c = 1, #section.contacts do
		local jid = section.contacts[c];
		if jid == list.own_jid then -- luacheck: ignore 542
		elseif not section.verified and not list.roster[jid] then
			report.missing[#report.missing + 1] = number + c;
		else
			local changed, gained = bring(list, section, jid);
			if naming then
				local item = list.roster[jid];
				local name = naming == "username" and jid_node(jid) or names and names[c];
				if name then
					changed = give_name(list, jid, item, name) or changed;
				elseif not item.name then
					report.unnamed[#report.unnamed + 1] = number + c;
				end
			end
			if changed then report.changed[#report.changed + 1] = number + c; end
			if gained then report.gained[#report.gained + 1] = number + c; end
			clear_pending(list, jid);
		end
	end
end

-- Makes a roster what a plan says. Returns what changed, as `Changes` has it; `online`: the user has a session.
function contacts.reconcile(username, roster, plan, online)
	local metadata = roster[false];
	local state = get_state(metadata);
	local provenance = get_provenance(metadata);
	local list = {
		roster = roster, metadata = metadata, state = state, provenance = provenance, own_jid = username.."@"..host,
		known = provenance ~= nil, adopts = plan.adopt and not provenance, naming = plan.naming, quiet = false,
	};
	local report = { changed = {}, gained = {}, lost = {}, missing = {}, unnamed = {} };
	forget_stored(list);
	local sections = read_sections(list, plan.sections);
	local number = 0;
	for s = 1, #sections do
		local section = sections[s];
		local given = section.given;
		if #section.ids > 0 then
			for i = 1, #section.ids do
				give_label(list, section.ids[i], section.labels[i]);
			end
			bring_section(list, section, number, report);
		else
			for c = 1, #section.contacts do
				local changed, lost = give_up(list, given, section.contacts[c]);
				if changed then report.changed[#report.changed + 1] = number + c; end
				if lost then report.lost[#report.lost + 1] = number + c; end
			end
		end
		number = number + #section.contacts;
	end
	local withdrawn = plan.withdrawn;
	local given = withdrawn and given_for(list.provenance);
	for w = 1, withdrawn and #withdrawn or 0 do
		if withdraw(list, given, withdrawn[w]) then report.changed[#report.changed + 1] = number + w; end
		clear_pending(list, withdrawn[w]);
	end
	-- It would not be known later on that this was the Lua module's work.
	list.quiet = list.quiet or list.adopts and list.provenance ~= nil;
	local version = 0;
	if report.changed[1] or list.quiet then
		version = next_version(metadata, plan.version);
		state.dirty = true;
	end
	if list.provenance and (plan.whole or plan.forgotten[1]) then
		plan_forgetting(list, plan, sections);
		if is_stored(state) then
			forget(list.provenance, state.settling);
			state.settling = nil;
		end
	end
	if not report.missing[1] and not report.unnamed[1] then
		set_stamp(metadata, plan.stamp);
	end
	return true, report.changed, report.gained, report.lost, report.missing, report.unnamed, list.quiet, version, online;
end

-- Saving: what is forgotten has to be in storage without the items that it was about.

function contacts.begin_save(roster)
	local state = get_state(roster[false]);
	local settling, dirty = state.settling, state.dirty;
	state.settling, state.dirty, state.saving = nil, nil, true;
	return settling, dirty;
end

function contacts.end_save(roster, saved, settling, dirty)
	local state, provenance = get_state(roster[false]), get_provenance(roster[false]);
	state.saving = nil;
	if not saved then
		state.settling, state.dirty = state.settling or settling, dirty or state.dirty;
	elseif provenance and not state.dirty then
		forget(provenance, settling);
	end
end

-- What clients do

-- A client is about to replace a contact's item by one in these groups.
function contacts.note_edit(roster, jid, groups)
	local provenance = get_provenance(roster[false]);
	local given = given_for(provenance);
	if not given then return; end
	local item = roster[jid];
	local bore = item and bears_any(item, given);
	if bore and not bears_any({ groups = groups }, given) and not note_of(provenance, jid) then
		add_note(provenance, jid, { brought = true });
	end
	for label in pairs(groups) do
		if given[label] and not (item and item.groups and item.groups[label]) then
			note_choice(provenance, jid, item, label, given);
		end
	end
end

-- What the account's own roster tells of who has it as a contact through groups: bare JIDs.
function contacts.brought(roster)
	local provenance = get_provenance(roster[false]);
	local given, jids = given_for(provenance), {};
	for jid, item in pairs(roster) do
		if jid and given then
			local note = note_of(provenance, jid);
			if note and note.brought or not note and bears_any(item, given) then
				jids[#jids + 1] = jid;
			end
		end
	end
	return jids;
end

return contacts;
