-- What contact lists hold: here they are compared with what they should hold, and changed; nowhere else. The rules, and
-- what the words mean, are in src/engine/effect.rs, at Plan.

local jid_node = require "util.jid".node;

local host = module.host;
local max = math.max;
local next, pairs, tonumber = next, pairs, tonumber;

local provenances = module:require "provenance";
local virtual = module:require "virtual";

local add_given, add_note, bears_any = provenances.add_given, provenances.add_note, provenances.bears_any;
local get_field, get_provenance, get_state = provenances.get_field, provenances.get_provenance, provenances.get_state;
local given_for, is_named, newest, note_of = provenances.given_for, provenances.is_named, provenances.newest, provenances.note_of;
local note_choice, sees, strip = provenances.note_choice, provenances.sees, provenances.strip;
local set_subscription = provenances.set_subscription;

local contacts = {};

contacts.has_stamp = provenances.has_stamp;
contacts.virtual = virtual;

-- A label is given for the first time: who bears it already does so by the user's choice.
local function note_choices(list, label, given)
	for jid, item in pairs(list.roster) do
		if jid and item.groups and item.groups[label] then
			note_choice(list.provenance, jid, item, label, given);
		end
	end
end

local function need_provenance(list)
	if not list.provenance then
		list.provenance = {};
		list.metadata[provenances.KEY] = list.provenance;
	end
	return list.provenance;
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
	need_provenance(list);
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

-- Makes an item what it should be, but for its name. Returns whether it changed, and whether its presence can be seen only now.
local function bring_item(list, section, jid)
	local roster, labels, done = list.roster, section.labels, list.state.done;
	local item = roster[jid];
	if done then done[jid] = nil; end
	if not item then
		local groups = { [labels[1]] = true };
		for i = 2, #labels do
			groups[labels[i]] = true;
		end
		roster[jid] = { subscription = "both", groups = groups };
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

-- A contact was virtual before: what the user made of it goes with it into storage.
local function take_edits(list, edits, jid)
	local edit = edits[jid];
	if not edit then return false; end
	edits[jid] = nil;
	list.state.edits_changed = true;
	local item, changed = list.roster[jid], false;
	if edit.name and not item.name then
		item.name = edit.name;
		changed = true;
	end
	for group in pairs(edit.groups or {}) do
		changed = changed or not item.groups[group];
		item.groups[group] = true;
	end
	return changed;
end

-- Brings a contact. Returns whether its item changed, and whether its presence can be seen only now.
local function bring(list, section, jid, name)
	local changed, gained = bring_item(list, section, jid);
	local edits = list.state.edits;
	if edits then
		changed = take_edits(list, edits, jid) or changed;
	end
	if name then
		changed = provenances.give_name(list.provenance, jid, list.roster[jid], name) or changed;
	end
	return changed, gained;
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
	provenances.note_done(list.state, jid);
	if brought and not others and not is_named(provenance, jid, item) then
		roster[jid] = nil;
		return true, saw;
	end
	if brought then
		add_note(need_provenance(list), jid, { subscription = "none", labels = note and note.labels });
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
	provenances.note_done(list.state, jid);
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
	local settling = { labels = {}, forgotten = {}, everything = plan.whole and plan.virtual_contacts };
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
	for s = 1, #flat, 7 do
		local ids, labels = flat[s + 1], flat[s + 2];
		local section = { verified = flat[s], ids = ids, labels = labels, contacts = flat[s + 5], names = flat[s + 6] };
		local given = given_for(list.provenance, flat[s + 3], given_for(list.provenance, ids));
		if list.adopts then
			given = add_given(add_given(given, labels), flat[s + 4]);
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

local permanent = { bring = bring, give_up = give_up, withdraw = withdraw };
virtual.init(permanent);

-- A first sync spends most of its own time in here: what the loop needs of the tables is looked up before it.
local function bring_section(list, section, number, report)
	local roster, own_jid, naming, act = list.roster, list.own_jid, list.naming, list.mode.bring;
	local jids, verified, names, pending = section.contacts, section.verified, section.names, list.metadata.pending;
	local all_changed, all_gained = report.changed, report.gained;
	for i = 1, list.provenance_wanted and #section.ids or 0 do
		give_label(list, section.ids[i], section.labels[i]);
	end
	for c = 1, #jids do
		local jid = jids[c];
		if jid == own_jid then -- luacheck: ignore 542
		elseif not verified and not roster[jid] then
			report.missing[#report.missing + 1] = number + c;
		else
			local name = naming and (naming == "username" and jid_node(jid) or names and names[c]) or nil;
			local changed, gained = act(list, section, jid, name);
			if naming and not name and not roster[jid].name then
				report.unnamed[#report.unnamed + 1] = number + c;
			end
			if changed then all_changed[#all_changed + 1] = number + c; end
			if gained then all_gained[#all_gained + 1] = number + c; end
			if pending then clear_pending(list, jid); end
		end
	end
end

local function give_up_section(list, section, number, report)
	for c = 1, #section.contacts do
		local changed, lost = list.mode.give_up(list, section.given, section.contacts[c]);
		if changed then report.changed[#report.changed + 1] = number + c; end
		if lost then report.lost[#report.lost + 1] = number + c; end
	end
end

local function withdraw_all(list, withdrawn, number, report)
	local given = given_for(list.provenance);
	for w = 1, #withdrawn do
		if list.mode.withdraw(list, given, withdrawn[w]) then report.changed[#report.changed + 1] = number + w; end
		clear_pending(list, withdrawn[w]);
	end
end

-- Takes the next version if anything changed that is to be stored, and notes what can be forgotten when it is.
local function conclude(list, plan, sections, report)
	local state, version = list.state, 0;
	list.quiet = list.quiet or list.stored or false; -- what is shown is not what is stored
	if plan.virtual_contacts then
		virtual.set_version(list.metadata, plan.digest, list.quiet and plan.version);
	elseif report.changed[1] or list.quiet then
		version = next_version(list.metadata, plan.version);
	end
	local stores = list.quiet or not plan.virtual_contacts and report.changed[1] ~= nil;
	state.dirty = state.dirty or stores or nil;
	if list.provenance and (plan.whole or plan.forgotten[1]) then
		plan_forgetting(list, plan, sections);
		if provenances.is_stored(state) then
			provenances.forget(list.roster, state.settling);
			state.settling = nil;
		end
	end
	if not report.missing[1] and not report.unnamed[1] then
		provenances.set_stamp(list.metadata, plan.stamp);
	end
	return version, not stores;
end

-- Makes a roster what a plan says. Returns what changed, as `Changes` has it; `online`: the user has sessions that were shown the roster.
function contacts.reconcile(username, roster, plan, online)
	local metadata = roster[false];
	local state, provenance = get_state(metadata), get_provenance(metadata);
	if plan.reads_edits and not state.edits then return "unread"; end
	local list = {
		roster = roster, metadata = metadata, state = state, provenance = provenance, own_jid = username.."@"..host,
		known = provenance ~= nil, adopts = plan.adopt and not provenance, naming = plan.naming, quiet = false,
		mode = plan.virtual_contacts and virtual.mode or permanent, provenance_wanted = not plan.virtual_contacts,
	};
	if plan.virtual_contacts then
		virtual.show(roster);
	end
	provenances.forget_stored(roster);
	local report = { changed = {}, gained = {}, lost = {}, missing = {}, unnamed = {} };
	local sections, number = read_sections(list, plan.sections), 0;
	for s = 1, #sections do
		local section = sections[s];
		local act = section.ids[1] and bring_section or give_up_section;
		act(list, section, number, report);
		number = number + #section.contacts;
	end
	withdraw_all(list, plan.withdrawn or {}, number, report);
	-- It would not be known later on that this was the Lua module's work.
	list.quiet = list.quiet or list.adopts and list.provenance ~= nil;
	local version, shown_only = conclude(list, plan, sections, report);
	return true, report.changed, report.gained, report.lost, report.missing, report.unnamed, list.quiet, version, online, shown_only;
end

-- Saving: what is forgotten has to be in storage without the items that it was about.

-- Notes on contacts that were given up are dropped with the save that has them so. Returns what `end_save` needs.
function contacts.begin_save(roster)
	local state, provenance = get_state(roster[false]), get_provenance(roster[false]);
	local saving = { settling = state.settling, dirty = state.dirty, done = state.done or {} };
	saving.dropped = provenance and provenances.drop_notes(provenance, saving.done) or {};
	state.settling, state.dirty, state.done, state.saving = nil, nil, nil, true;
	return saving;
end

function contacts.end_save(roster, saved, saving)
	local state, provenance = get_state(roster[false]), get_provenance(roster[false]);
	state.saving = nil;
	if not saved then
		state.settling, state.dirty = state.settling or saving.settling, saving.dirty or state.dirty;
		for jid in pairs(saving.done) do
			provenances.note_done(state, jid);
		end
		for jid, note in pairs(saving.dropped) do
			add_note(provenance, jid, note);
		end
	elseif provenance then
		provenances.forget_names(provenance, saving.done);
		if not state.dirty then
			provenances.forget(roster, saving.settling);
		end
	end
end

-- What clients do

-- A client is about to replace a contact's item by one in these groups, or to add it.
function contacts.note_edit(roster, jid, groups)
	if virtual.note_edit(roster, jid) then return; end
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
		if jid and given and (note_of(provenance, jid) or bears_any(item, given)) then
			jids[#jids + 1] = jid;
		end
	end
	return jids;
end

return contacts;
