-- Contact lists in memory: compares them with the usual form of their contacts, and changes them. Nothing is decided
-- here: the engine says what the usual form is, and what becomes of contacts that do not have it. See Plan and Change
-- in src/engine/effect.rs.
--
-- What is known of a list in memory is kept in a metatable of its metadata: there it lasts as long as the list, is
-- never stored, and costs Lua's collector less than a weak table. It holds
-- - `stamp` and `version`: what the list was settled as of, and the version that it had then;
-- - `changed`: it was changed since it was read from storage;
-- - `edits`, once they are read: { [jid] = { name =, groups = } }, what the user has made of virtual contacts;
--   `edits_changed`;
-- - where contacts are virtual, `roster`: the list; `shown`: { [jid] = the virtual item };
--   `names`: { [jid] = its name }; `below`: { [jid] = the stored item }; `stored_version`; `digest`.

local jid_node = require "util.jid".node;

local virtual_version = require "groups_internal_native".virtual_version;

local host = module.host;
local concat = table.concat;
local getmetatable, ipairs, next, pairs = getmetatable, ipairs, next, pairs;
local rawget, setmetatable, tonumber, type = rawget, setmetatable, tonumber, type;

local contacts = {};

function contacts.get_state(metadata)
	local state = getmetatable(metadata);
	if not state then
		state = {};
		setmetatable(metadata, state);
	end
	return state;
end
local get_state = contacts.get_state;

function contacts.has_stamp(metadata, stamp)
	local state = getmetatable(metadata);
	return state ~= nil and state.stamp == stamp and state.version == metadata.version;
end

local function make_set(list)
	local set = {};
	for i = 1, #list do set[list[i]] = true; end
	return set;
end

-- Virtual items of the same labels have a metatable in common. Each gets roster groups of its own as soon as they are
-- read, so that a change of one changes no other.
local kinds = setmetatable({}, { __mode = "v" });

local function get_kind(labels)
	local key = concat(labels, "\0");
	local kind = kinds[key];
	if not kind then
		kind = { labels = labels };
		function kind.__index(item, field)
			if field == "subscription" then return "both"; end
			if field == "groups" then
				local groups = make_set(labels);
				item.groups = groups;
				return groups;
			end
		end
		kinds[key] = kind;
	end
	return kind;
end

-- Are these the labels, and no others?
local function is_exactly(groups, labels)
	if not groups then return false; end
	local group = next(groups);
	for i = 1, #labels do
		if group == nil or not groups[labels[i]] then return false; end
		group = next(groups, group);
	end
	return group == nil;
end

local function is_usual(item, labels, kind)
	if kind then
		local groups = rawget(item, "groups");
		return getmetatable(item) == kind and not rawget(item, "subscription") and not rawget(item, "ask")
			and (not groups or is_exactly(groups, labels));
	end
	return item.subscription == "both" and not item.ask and is_exactly(item.groups, labels);
end

-- Is it a contact that another module brings at each load and never stores, as mod_groups those of its file? It is
-- neither the user's nor a group's.
local function is_passing(item)
	return item.persist == false;
end

-- Packing

local function pack_groups(groups)
	local group = type(groups) == "table" and next(groups) or nil;
	if group == nil then return ""; end
	if next(groups, group) == nil and type(group) == "string" then return group; end
	local all = {};
	for name in pairs(groups) do
		if type(name) == "string" then all[#all + 1] = name; end
	end
	return concat(all, "\0");
end

-- What an item is of a contact: read by src/binding/roster.rs.
local ITEM, BELOW, EDIT, SHOWN = 0, 1, 2, 3;

local function pack(facts, number, layer, item)
	local n = #facts;
	facts[n + 1] = number * 4 + layer;
	facts[n + 2] = item.subscription or false;
	facts[n + 3] = item.ask ~= nil;
	facts[n + 4] = item.name or false;
	facts[n + 5] = pack_groups(item.groups);
end

-- Packs what there is of a contact: its item, the stored one below it, and what the user has made of it.
local function pack_layers(facts, number, state, jid, item)
	local below, edit = state.below and state.below[jid], state.edits and state.edits[jid];
	if item then pack(facts, number, ITEM, item); end
	if below then pack(facts, number, BELOW, below); end
	if edit then pack(facts, number, EDIT, edit); end
end

-- Comparing

-- Tells of the plan's contacts that do not have the usual form. Returns what Comparison in src/engine/effect.rs has.
function contacts.compare(username, roster, plan, online)
	local metadata = roster[false];
	local state = get_state(metadata);
	if plan.reads_edits and not state.edits then return "unread"; end
	local jids, naming, pending = plan.contacts, plan.naming, metadata.pending;
	local shown, own_jid = state.shown, username.."@"..host;
	local absent, facts, covered, asking = {}, {}, {}, {};

	local function report(number, jid, item, brings)
		local found = #facts + #covered + #asking;
		pack_layers(facts, number, state, jid, item);
		if shown and shown[jid] then covered[#covered + 1] = number; end
		if pending and pending[jid] then asking[#asking + 1] = number; end
		if brings and found == #facts + #covered + #asking then absent[#absent + 1] = number; end
	end

	local first = 0;
	for s = 1, #plan.sections, 4 do
		local size, brings = plan.sections[s], plan.sections[s + 1];
		local labels, names = plan.sections[s + 2], plan.sections[s + 3];
		local kind = brings and plan.virtual_contacts and get_kind(labels);
		for number = first + 1, first + size do
			local jid = jids[number];
			local item = roster[jid];
			local usual = brings and item and is_usual(item, labels, kind) and not (pending and pending[jid]);
			if usual and naming then
				local name = naming == "username" and jid_node(jid) or names and names[number - first];
				usual = item.name == name or not name and item.name;
			end
			local passing = item and is_passing(item) and not (shown and shown[jid]);
			if not usual and not passing and jid ~= own_jid then
				report(number, jid, item, brings);
			end
		end
		first = first + size;
	end
	local version = metadata.version;
	if shown then version = state.stored_version; end
	return true, absent, facts, covered, asking, metadata.groups_internal, tonumber(version) or version,
		metadata.groups_unsaved, not state.changed, online;
end

-- Returns the stored items that are in one of these roster groups: an array of JIDs, and their facts.
function contacts.find_bearers(roster, labels)
	local jids, facts = {}, {};
	local state = get_state(roster[false]);
	for jid, item in pairs(roster) do
		if state.shown and state.shown[jid] then item = state.below[jid]; end
		for i = 1, item and jid and #labels or 0 do
			if item.groups and item.groups[labels[i]] and not is_passing(item) then
				jids[#jids + 1] = jid;
				pack(facts, #jids, ITEM, item);
				break;
			end
		end
	end
	return jids, facts;
end

-- Changing

local function alter(item, edit, name)
	if edit.subscription then item.subscription = edit.subscription; end
	if edit.ask ~= nil then item.ask = edit.ask and "subscribe" or nil; end
	if edit.name ~= nil then item.name = edit.name and name or nil; end
	local groups = item.groups or {};
	item.groups = groups;
	for i = 1, #edit.drop do groups[edit.drop[i]] = nil; end
	for i = 1, #edit.add do groups[edit.add[i]] = true; end
	return item;
end

local function show_version(metadata, state)
	if state.stored_version ~= true then
		local version = virtual_version(tonumber(state.stored_version) or 0, state.digest);
		metadata.version = (state.digest ~= 0 or state.stored_version) and version or nil;
	end
end

-- Does what a Step in src/engine/contacts/item.rs says.
local function take_step(roster, state, jid, edit, name)
	local shown, below = state.shown, state.below;
	local is_covered = shown and shown[jid];
	local own = roster[jid];
	if is_covered then own = below[jid]; end
	if edit.fate == "remove" then
		own = nil;
	elseif edit.fate then
		own = alter(own or {}, edit, name);
	end
	if edit.labels then
		local item = setmetatable({ name = name, groups = edit.groups and make_set(edit.groups) }, get_kind(edit.labels));
		shown[jid], below[jid], state.names[jid], roster[jid] = item, own, name, item;
	elseif is_covered and not edit.lift then
		below[jid] = own;
	else
		if is_covered then shown[jid], below[jid], state.names[jid] = nil, nil, nil; end
		roster[jid] = own;
	end
	if edit.edit ~= nil and state.edits then
		local kept = edit.edit;
		state.edits[jid] = kept and { name = kept.name, groups = kept.groups and make_set(kept.groups) } or nil;
		state.edits_changed = true;
	end
end

-- Does what a Change in src/engine/effect.rs says. `jids`: the plan's contacts.
function contacts.change(roster, jids, change)
	local metadata = roster[false];
	local state = get_state(metadata);
	if change.digest and not state.shown then
		state.roster, state.shown, state.below, state.names = roster, {}, {}, {};
		state.stored_version = metadata.version;
	end
	for _, edit in ipairs(change.edits) do
		local numbers, names = edit.contacts, edit.names;
		for i = 1, #numbers do
			take_step(roster, state, jids[numbers[i]], edit, names and names[i] or nil);
		end
	end
	for _, number in ipairs(change.answered) do
		metadata.pending[jids[number]] = nil;
	end
	contacts.set_provenance(metadata, change.provenance);
	if state.shown then
		state.stored_version, state.digest = change.version or state.stored_version, change.digest or state.digest;
		show_version(metadata, state);
	else
		metadata.version = change.version or metadata.version;
	end
	if change.unsaved then
		metadata.groups_unsaved, state.changed = true, true;
	end
	if change.stamp then
		state.stamp, state.version = change.stamp, tonumber(metadata.version);
	end
end

-- `provenance`: the new one, false for none any more, or nil if it does not change. Returns the one before.
function contacts.set_provenance(metadata, provenance)
	local before = metadata.groups_internal;
	if provenance ~= nil then
		metadata.groups_internal = provenance or nil;
	end
	return before;
end

-- Hands the engine an item that a client is about to replace, or to remove if `groups` is nil, and stores the
-- provenance that it returns.
function contacts.note_edit(handle, roster, jid, username, groups)
	local metadata, item, facts = roster[false], roster[jid], {};
	if not metadata or not metadata.groups_internal or getmetatable(item) then return; end
	if item then pack(facts, 0, ITEM, item); end
	groups = groups and pack_groups(groups);
	contacts.set_provenance(metadata, handle:note_edit(metadata.groups_internal, username, facts, groups));
end

contacts.pack, contacts.take_step = pack, take_step;
contacts.pack_layers, contacts.SHOWN = pack_layers, SHOWN;
contacts.show_version, contacts.is_usual = show_version, is_usual;

return contacts;
