-- Virtual contacts: what their items are made of, and how they are kept out of storage. The store of contact lists is
-- wrapped, and gets the stored items below them. What users have made of virtual contacts goes into a store of its own.

local native = require "groups_internal_native";

local getmetatable, next, setmetatable, type = getmetatable, next, setmetatable, type;

-- By usernames.
local edits_store = module:open_store("groups_contacts");

local virtual = {};

-- Virtual items of the same labels have a metatable in common. Each gets roster groups of its own as soon as they are
-- read, so that a change of one changes no other. Items in memory outlive a reload.
local kinds = setmetatable(module:shared("virtual_kinds"), { __mode = "v" });

function virtual.get_kind(labels)
	local key = table.concat(labels, "\0");
	local kind = kinds[key];
	if not kind then
		kind = { labels = labels };
		function kind.__index(item, field)
			if field == "subscription" then return "both"; end
			if field == "groups" then
				local groups = {};
				for i = 1, #labels do groups[labels[i]] = true; end
				item.groups = groups;
				return groups;
			end
		end
		kinds[key] = kind;
	end
	return kind;
end

function virtual.read_edits(_, username)
	local record, err = edits_store:get(username);
	if not record and err then return nil, tostring(err); end
	return true, record;
end

function virtual.store_edits(username, roster)
	local state = getmetatable(roster[false]);
	if not state or not state.edits_changed then return true; end
	state.edits_changed = nil;
	local ok, err = edits_store:set(username, next(state.edits) and state.edits or nil);
	if not ok then state.edits_changed = true; end
	return ok, err;
end

function virtual.find_editors(jid, rosters)
	local usernames = {};
	for username, roster in pairs(rosters) do
		local state = getmetatable(roster[false]);
		if state and state.edits and state.edits[jid] then usernames[#usernames + 1] = username; end
	end
	for username in edits_store:users() do
		local edits = edits_store:get(username);
		if type(edits) == "table" and edits[jid] then usernames[#usernames + 1] = username; end
	end
	return usernames;
end

-- What storage is to have of items now, and was to have before something was waited for.
local function renew(stored, items, removed)
	if getmetatable(items[false]).stored_version == stored[false].version then return stored; end
	return native.to_store(items, removed) or stored;
end

-- Returns a store of contact lists that virtual items do not get into.
local function wrap(store, store_type)
	local wrapped = {};
	function wrapped.set(_, username, roster, ...)
		local stored = type(roster) == "table" and native.to_store(roster);
		if not stored then return store:set(username, roster, ...); end
		local ok, err = virtual.store_edits(username, roster);
		if not ok then return nil, err; end
		-- While that waited, a client may have changed the list, which may be in storage by now.
		return store:set(username, renew(stored, roster), ...);
	end
	if store_type == "map" then
		function wrapped.set(_, username, jid, item)
			return native.is_virtual(item) or store:set(username, jid, item);
		end
	end
	if store.set_keys then
		function wrapped.set_keys(_, username, items, ...)
			local stored = native.to_store(items, store.remove);
			if not stored then return store:set_keys(username, items, ...); end
			local ok, err = virtual.store_edits(username, items);
			if ok then ok, err = store:set_keys(username, renew(stored, items, store.remove), ...); end
			if not ok then return ok, err; end
			native.note_removals(items, store.remove);
			virtual.store_edits(username, items); -- or the next save does
			return ok, err;
		end
	end
	return setmetatable(wrapped, { __index = store });
end

local function refuse_save()
	return nil, "it might get contacts that are not to be stored, see the error in the log";
end

local failed = false;

-- Only rostermanager opens this store, and does so for each load and save. What other modules wrap it in gets stored
-- contacts only.
local function wrap_opened(event)
	if event.store_name ~= "roster" then return; end
	local ok, wrapped = pcall(wrap, event.store, event.store_type);
	if not ok then
		if not failed then
			module:log("error", "The store of contact lists cannot be wrapped, and no list is saved meanwhile: report this as "
				.."a bug, and set groups_roster_mode to \"permanent\" if it goes on. %s", wrapped);
		end
		failed, wrapped = true, setmetatable({ set = refuse_save, set_keys = refuse_save }, { __index = event.store });
	end
	event.store = wrapped;
end

local guard = module:shared("storage_guard");

function virtual.guards_storage() return guard.handler ~= nil; end

-- Begins to keep virtual contacts out of storage, or ends it. This outlives a reload, as they do: should the module not
-- load again, they still get into no storage.
function virtual.guard_storage(is_on)
	local events = prosody.hosts[module.host].events;
	if guard.handler then events.remove_handler("store-opened", guard.handler); end
	guard.handler = is_on and wrap_opened or nil;
	if is_on then events.add_handler("store-opened", wrap_opened, -10); end
end

return virtual;
