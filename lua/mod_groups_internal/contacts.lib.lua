-- What contact lists hold: here they are compared with what they should hold, and changed; nowhere else. The rules, and
-- what the words mean, are in src/engine/effect.rs, at Plan.

local jid_node = require "util.jid".node;

local host = module.host;
local max = math.max;
local getmetatable, next, pairs, setmetatable, tonumber = getmetatable, next, pairs, setmetatable, tonumber;

local known = module:require "provenance";
local get_provenance, get_field, newest, is_named = known.get_provenance, known.get_field, known.newest, known.is_named;
local add_given, given_for, bears_any = known.add_given, known.given_for, known.bears_any;
local note_of, add_note, note_choice = known.note_of, known.add_note, known.note_choice;
local forget, drop_notes = known.forget, known.drop_notes;

local contacts = {};

-- What is known of a roster in memory is kept in a metatable of its metadata: there it lasts as long as the roster, is never
-- stored, and costs Lua's collector less than a weak table. It holds `stamp` and `version`: what the roster was found, or
-- made, to be settled as of; `dirty`: storage lacks changes of ours; `settling`: what of the provenance is to be forgotten when it does
-- not; `done`: contacts that were given up, whose notes are dropped with the save that has them so, and no sooner.
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

-- A label is given for the first time: who bears it already does so by the user's choice.
local function note_choices(list, label)
	local given = given_for(list.provenance);
	if given and given[label] then return; end
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
		list.metadata[known.KEY] = list.provenance;
	end
	if not list.adopts then
		note_choices(list, label);
	end
	local all = { label };
	for earlier in pairs(add_given({}, given)) do
		if earlier ~= label then all[#all + 1] = earlier; end
	end
	get_field(list.provenance, "labels")[id] = #all == 1 and label or all;
	list.learnt = true;
end

-- Contacts

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
	local roster, labels, done = list.roster, section.labels, list.state.done;
	local item = roster[jid];
	if done then done[jid] = nil; end
	if not item then
		item = { subscription = "both", groups = {} };
		for i = 1, #labels do
			item.groups[labels[i]] = true;
		end
		roster[jid] = item;
		if list.provenance.notes then
			list.provenance.notes[jid] = nil;
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

-- Gives a contact up that groups bring no more. Returns whether its item changed, and whether it had been seen and is no longer.
-- Doing it again changes nothing: what is kept counts as the user's own.
local function give_up(list, given, jid)
	local roster, provenance = list.roster, list.provenance;
	local item = roster[jid];
	local note = note_of(provenance, jid);
	if not item or not note and not bears_any(item, given) then return false, false; end
	local brought, saw = not note or note.brought, sees(item);
	local changed, others = strip(item, given, note and note.labels);
	get_field(list.state, "done")[jid] = true;
	if brought and not others and not is_named(provenance, jid, item) then
		roster[jid] = nil;
		return true, saw;
	end
	if brought then
		add_note(provenance, jid, { subscription = "none", labels = note and note.labels });
		changed = set_subscription(item, "none", nil) or changed;
	elseif item.subscription == "both" and not item.ask then
		changed = set_subscription(item, note.subscription or "both", note.ask) or changed;
	end
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
	get_field(list.state, "done")[jid] = true;
	if own or is_named(provenance, jid, item) or provenance and others then
		return set_subscription(item, "none", nil) or changed;
	end
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
			list.quiet = list.quiet or list.learnt; -- also where the contact bears the label already
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
		adopts = plan.adopt and not provenance, naming = plan.naming, quiet = false, learnt = false,
	};
	local report = { changed = {}, gained = {}, lost = {}, missing = {}, unnamed = {} };
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
		if not state.dirty then
			forget(roster, state.settling);
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
	local state, provenance = get_state(roster[false]), get_provenance(roster[false]);
	local saving = { settling = state.settling, dirty = state.dirty, done = state.done };
	saving.dropped = provenance and saving.done and drop_notes(provenance, saving.done);
	state.settling, state.dirty, state.done = nil, nil, nil;
	return saving;
end

function contacts.end_save(roster, saved, saving)
	local state, provenance = get_state(roster[false]), get_provenance(roster[false]);
	if not saved then
		state.settling, state.dirty = state.settling or saving.settling, saving.dirty or state.dirty;
		for jid in pairs(saving.done or {}) do
			get_field(state, "done")[jid] = true;
		end
		for jid, note in pairs(saving.dropped or {}) do
			add_note(provenance, jid, note);
		end
	elseif provenance then
		for jid in pairs(provenance.names and saving.done or {}) do
			provenance.names[jid] = nil;
		end
		if not state.dirty then forget(roster, saving.settling); end
	end
end

-- What clients do

-- A client is about to replace a contact's item by one in these groups, or to add it.
function contacts.note_edit(roster, jid, groups)
	local provenance, item = get_provenance(roster[false]), roster[jid];
	local given, note = given_for(provenance), note_of(provenance, jid);
	if note and not item then -- It was another item that this was noted on.
		provenance.notes[jid], note = nil, nil;
	end
	for label in pairs(note and note.labels or {}) do
		if not groups[label] then note.labels[label] = nil; end
	end
	if not given then return; end
	if not note and item and bears_any(item, given) and not bears_any({ groups = groups }, given) then
		add_note(provenance, jid, { brought = true });
	end
	for label in pairs(groups) do
		if given[label] and not (item and item.groups and item.groups[label]) then
			note_choice(provenance, jid, item, label, given);
		end
	end
end

-- What the account's own roster tells of who may have it as a contact through groups, also where it is the account's own: bare JIDs.
function contacts.brought(roster)
	local provenance = get_provenance(roster[false]);
	local given, jids = given_for(provenance), {};
	for jid, item in pairs(roster) do
		if jid and given then
			if note_of(provenance, jid) or bears_any(item, given) then
				jids[#jids + 1] = jid;
			end
		end
	end
	return jids;
end

return contacts;
