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

local shown_version = require "groups_internal_native".shown_version;

local host = module.host;
local concat = table.concat;
local getmetatable, ipairs, next, pairs = getmetatable, ipairs, next, pairs;
local rawget, setmetatable, tonumber, type = rawget, setmetatable, tonumber, type;

local none = {};

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

-- `kind`: that of virtual items, or nil.
function contacts.is_usual(item, labels, kind)
	if getmetatable(item) ~= kind or item.subscription ~= "both" or item.ask then return false; end
	local groups = rawget(item, "groups");
	return kind and not groups or is_exactly(groups, labels);
end
local is_usual = contacts.is_usual;

-- Is it a contact that another module brings at each load and never stores, as mod_groups those of its file? It is
-- neither the user's nor a group's.
local function is_passing(item)
	return item.persist == false;
end
contacts.is_passing = is_passing;

-- Returns the list without such contacts, which a save of the whole list would store.
function contacts.without_passing(roster)
	local kept = {};
	for jid, item in pairs(roster) do
		if not jid or not is_passing(item) then kept[jid] = item; end
	end
	return kept;
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

local function pack(facts, item)
	local n = #facts;
	facts[n + 1] = item.subscription or false;
	facts[n + 2] = item.ask ~= nil;
	facts[n + 3] = item.name or false;
	facts[n + 4] = pack_groups(item.groups);
end

-- Packs what there is of a contact: its item, the stored one below it, and what the user has made of it. The bits
-- behind its number say which there are; src/binding/roster.rs reads them.
function contacts.pack_contact(facts, number, jid, roster, state)
	local item, below, edit = roster[jid], (state.below or none)[jid], (state.edits or none)[jid];
	local is_shown, asks = (state.shown or none)[jid], (roster[false].pending or none)[jid];
	facts[#facts + 1] = number * 32 + (item and 1 or 0) + (below and 2 or 0) + (edit and 4 or 0) + (is_shown and 8 or 0)
		+ (asks and 16 or 0);
	if item then pack(facts, item); end
	if below then pack(facts, below); end
	if edit then pack(facts, edit); end
end
local pack_contact = contacts.pack_contact;

-- Comparing

-- Tells of the plan's contacts that do not have the usual form. Returns what Comparison in src/engine/effect.rs has.
function contacts.compare(username, roster, plan, online)
	local metadata = roster[false];
	local state = get_state(metadata);
	if plan.reads_edits and not state.edits then return "unread"; end
	local jids, sections, naming = plan.contacts, plan.sections, plan.naming;
	local shown, pending = state.shown or none, metadata.pending or none;
	local facts, first, own_jid = {}, 0, username.."@"..host;
	for s = 1, #sections, 4 do
		local size, brings, labels, names = sections[s], sections[s + 1], sections[s + 2], sections[s + 3];
		local kind = plan.virtual_contacts and get_kind(labels) or nil;
		for number = first + 1, first + size do
			local jid = jids[number];
			local item = roster[jid];
			local usual = brings and item and is_usual(item, labels, kind) and not pending[jid];
			if usual and naming then
				local name = naming == "username" and jid_node(jid) or names and names[number - first];
				usual = item.name == name or not name and item.name;
			end
			local passing = item and is_passing(item) and not shown[jid];
			if not usual and not passing and jid ~= own_jid then
				pack_contact(facts, number, jid, roster, state);
			end
		end
		first = first + size;
	end
	local version = metadata.version;
	if state.shown then version = state.stored_version; end
	return true, facts, metadata.groups_internal, version, metadata.groups_unsaved, not state.changed, online;
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
				pack(facts, item);
				break;
			end
		end
	end
	return jids, facts;
end

-- Changing

local function alter(item, edit, name)
	local groups = item.groups or {};
	item.groups = groups;
	if edit.subscription then item.subscription = edit.subscription; end
	if edit.ask ~= nil then item.ask = edit.ask and "subscribe" or nil; end
	if edit.name ~= nil then item.name = edit.name and name or nil; end
	for _, group in ipairs(edit.drop or none) do groups[group] = nil; end
	for _, group in ipairs(edit.add or none) do groups[group] = true; end
	return item;
end

-- Does what an Edit in src/engine/contacts/item.rs says, for one of its contacts.
function contacts.take_step(roster, state, jid, edit, name)
	local shown, below, edits = state.shown or none, state.below, state.edits;
	local is_shown = shown[jid];
	local own = roster[jid];
	if is_shown then own = below[jid]; end
	if edit.fate == "remove" then
		own = nil;
	elseif edit.fate then
		own = alter(own or {}, edit, name);
	end
	if edit.labels then
		local item = setmetatable({ name = name, groups = edit.groups and make_set(edit.groups) }, get_kind(edit.labels));
		item.subscription, item.ask = edit.shown_subscription, edit.shown_ask;
		shown[jid], below[jid], state.names[jid], roster[jid] = item, own, name, item;
	elseif is_shown and not edit.lift then
		below[jid] = own;
	else
		if is_shown then shown[jid], below[jid], state.names[jid] = nil, nil, nil; end
		roster[jid] = own;
	end
	if edit.edit ~= nil and edits then
		edits[jid], state.edits_changed = edit.edit or nil, true;
	end
end

-- Shows the version of a list with virtual contacts.
function contacts.show_version(metadata, state)
	metadata.version = shown_version(state.stored_version, state.digest);
end

-- Does what a Change in src/engine/effect.rs says. `jids`: the plan's contacts.
function contacts.change(roster, jids, change)
	local metadata = roster[false];
	local state = get_state(metadata);
	if change.digest and not state.shown then
		state.roster, state.shown, state.below, state.names = roster, {}, {}, {};
		state.stored_version = metadata.version;
	end
	for _, edit in ipairs(change) do
		local numbers, names = edit.contacts, edit.names or none;
		for i = 1, #numbers do
			contacts.take_step(roster, state, jids[numbers[i]], edit, names[i] or nil);
		end
	end
	for _, number in ipairs(change.answered or none) do
		metadata.pending[jids[number]] = nil;
	end
	contacts.set_provenance(metadata, change.provenance);
	if state.shown then
		state.stored_version, state.digest = change.version or state.stored_version, change.digest or state.digest;
		contacts.show_version(metadata, state);
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

-- Hands the engine an item that a client is about to replace, with these roster groups, or to remove if there are none,
-- and stores the provenance that it returns.
function contacts.note_edit(handle, roster, jid, username, groups)
	local metadata, item, facts = roster[false], roster[jid], {};
	if not metadata or not metadata.groups_internal or getmetatable(item) then return; end
	if item then pack(facts, item); end
	contacts.set_provenance(metadata, handle:note_edit(metadata.groups_internal, username, facts, groups));
end

return contacts;
