-- Effects on accounts, rosters and presence.

local rostermanager = require "core.rostermanager";
local usermanager = require "core.usermanager";
local user_exists, users = usermanager.user_exists, usermanager.users;
local jid_split = require "util.jid".split;
local st = require "util.stanza";
local add_task = require "util.timer".add_task;

local host = module.host;
local collectgarbage = collectgarbage;
local max = math.max;
local host_session = prosody.hosts[host];

local for_each = module:require "each";

-- Users whose rosters the engine is loading: it reconciles them itself, the hook on loading need not.
local being_settled = module:shared("rosters_being_settled");

-- What a roster was found, or made, to be settled as of, and the version it had then, are kept in a metatable of its metadata:
-- there they last as long as the roster in memory, are never stored, and cost Lua's collector less than a weak table.
local function set_stamp(metadata, stamp)
	setmetatable(metadata, { groups_stamp = stamp; groups_version = tonumber(metadata.version) });
end

local function has_stamp(metadata, stamp)
	local settled = getmetatable(metadata);
	return settled ~= nil and settled.groups_stamp == stamp and settled.groups_version == metadata.version;
end

local effects = {};

-- Returns the roster that Prosody would hand out without reading storage: of a session, or a cached one.
local function get_loaded(username)
	local user = host_session.sessions[username];
	if user and user.roster then
		return user.roster;
	end
	local cache = host_session.roster_cache;
	return cache and cache:get(username.."@"..host);
end

function effects.list_rosters(_, limit)
	local cache = host_session.roster_cache;
	local n, usernames = cache and cache:count() or 0, {};
	for username in pairs(host_session.sessions) do
		n = n + 1;
		if n > limit then return nil, "there are more"; end
		usernames[#usernames + 1] = username;
	end
	if n > limit then return nil, "there are more"; end
	if cache then
		for jid in cache:items() do
			usernames[#usernames + 1] = jid_split(jid);
		end
	end
	return usernames;
end

function effects.has_account(username)
	local ok, exists = pcall(user_exists, username, host);
	return ok and exists and true or false;
end

function effects.find_accounts(_, usernames)
	local found = {};
	for i, username in ipairs(usernames) do
		found[i] = effects.has_account(username);
	end
	return found;
end

function effects.find_rosters(_, usernames)
	local found = {};
	for i, username in ipairs(usernames) do
		found[i] = get_loaded(username) ~= nil;
	end
	return found;
end

function effects.list_accounts()
	local usernames = {};
	for username in users(host) do
		usernames[#usernames + 1] = username;
	end
	return usernames;
end

function effects.has_contact(_, username, jid)
	local was_loaded = get_loaded(username) ~= nil;
	being_settled[username] = true;
	local ok, roster, err = pcall(rostermanager.load_roster, username, host);
	being_settled[username] = nil;
	if not was_loaded then
		effects.release_roster(nil, username);
	end
	if not ok or err then return nil, tostring(err or roster); end
	return { roster[jid] ~= nil };
end

function effects.load_roster(_, username)
	local was_loaded = get_loaded(username) ~= nil;
	being_settled[username] = true;
	local ok, roster, err = pcall(rostermanager.load_roster, username, host);
	being_settled[username] = nil;
	if not ok then return nil, tostring(roster); end
	if err or roster[false].broken then return "broken"; end
	return true, was_loaded;
end

-- Makes a contact what it should be. Returns whether its item changed, and whether its presence can be seen only now.
local function reconcile_contact(roster, jid, labels)
	local item = roster[jid];
	if not item then
		item = { subscription = "both", groups = {} };
		for i = 1, #labels do
			item.groups[labels[i]] = true;
		end
		roster[jid] = item;
		return true, true;
	end
	local changed, gained = false, false;
	local subscription = item.subscription;
	if subscription ~= "both" then
		gained = subscription ~= "to";
		item.subscription = "both";
		changed = true;
	end
	if item.ask then
		item.ask = nil;
		changed = true;
	end
	local groups = item.groups;
	if not groups then
		groups = {};
		item.groups = groups;
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

local function next_version(metadata, least)
	local version = metadata.version;
	if version == true then return 0; end -- another module makes the roster up at each load
	version = max((tonumber(version) or 0) + 1, least);
	metadata.version = version;
	return version;
end

function effects.check_stamp(_, username, stamp)
	local roster = get_loaded(username);
	return { roster ~= nil and has_stamp(roster[false], stamp) };
end

-- What differs is defined in src/engine/effect.rs, at Plan.
function effects.reconcile(context, username, sections, withdrawn, least_version, stamp)
	local roster = context and context.roster or get_loaded(username);
	if not roster then return "absent"; end
	local metadata = roster[false];
	if not metadata or metadata.broken then return "broken"; end
	local pending = metadata.pending or {};
	local own_jid = username.."@"..host;
	local changed, gained, missing, quiet = {}, {}, {}, false;
	local number = 0;
	for s = 1, #sections, 3 do
		local verified, labels, contacts = sections[s], sections[s + 1], sections[s + 2];
		for c = 1, #contacts do
			local jid = contacts[c];
			number = number + 1;
			if not verified and not roster[jid] and jid ~= own_jid then
				missing[#missing + 1] = number;
			elseif jid ~= own_jid then
				local is_changed, is_gained = reconcile_contact(roster, jid, labels);
				if is_changed then changed[#changed + 1] = number; end
				if is_gained then gained[#gained + 1] = number; end
				if pending[jid] then
					pending[jid] = nil;
					quiet = true;
				end
			end
		end
	end
	for w = 1, withdrawn and #withdrawn or 0 do
		local jid = withdrawn[w];
		number = number + 1;
		if roster[jid] then
			roster[jid] = nil;
			changed[#changed + 1] = number;
		end
		if pending[jid] then
			pending[jid] = nil;
			quiet = true;
		end
	end
	local version = 0;
	if changed[1] or quiet then
		version = next_version(metadata, least_version);
	end
	if not missing[1] then
		set_stamp(metadata, stamp);
	end
	return true, changed, gained, missing, quiet, version, host_session.sessions[username] ~= nil;
end

local function run_collector()
	collectgarbage("restart");
end

local function and_run_collector(...)
	run_collector();
	return ...;
end

-- Calls a function that makes much garbage at once, and lets Lua's collector go on afterwards: in the midst of the save of a large
-- roster it would go through all memory, which takes as long as the save, and nobody is served meanwhile. A call that waits is
-- no longer in this turn of the event loop, and must not keep the collector from the others.
local function collect_afterwards(f, ...)
	if not collectgarbage("isrunning") then return pcall(f, ...); end
	add_task(0, run_collector);
	collectgarbage("stop");
	return and_run_collector(pcall(f, ...));
end

function effects.save_roster(_, username, contact_jid)
	local roster, err = rostermanager.load_roster(username, host);
	if err or roster[false].broken then return "broken"; end
	local metadata = roster[false];
	local version = metadata.version;
	-- Saving raises the version. The one that was pushed says the same, and a client that has it needs no other.
	if type(version) == "number" then
		metadata.version = version - 1;
	end
	local called, ok, save_err = collect_afterwards(rostermanager.save_roster, username, host, roster, contact_jid);
	if called and ok then return true; end
	if type(version) == "number" then
		metadata.version = max(metadata.version, version);
	end
	if not called then
		return nil, tostring(ok), tonumber(metadata.version);
	end
	-- Neither yes nor a reason: Prosody does not know the account.
	if ok == nil and save_err == nil then return "absent"; end
	return nil, tostring(save_err), tonumber(roster[false].version);
end

function effects.release_roster(_, username)
	local cache = host_session.roster_cache;
	if cache then
		cache:set(username.."@"..host, nil);
	end
	return true;
end

-- Why pushes carry other versions than the roster has is told in src/engine/effect.rs, at Push.
function effects.push(_, username, jids, is_last)
	local roster = get_loaded(username);
	local metadata = roster and roster[false];
	if not metadata then return true, 0; end
	local version = metadata.version;
	local last_jid = is_last and jids[#jids];
	if type(version) == "number" then
		metadata.version = version - 1;
		version = is_last and version + 1 or version;
	end
	for_each(jids, "push the contact", function (jid)
		if jid == last_jid then
			metadata.version = version;
		end
		rostermanager.roster_push(username, host, jid);
	end);
	metadata.version = version;
	return true, tonumber(version) or 0;
end

local function send_presence(username, jid, stanza)
	local presence = host_session.modules.presence;
	if presence then
		presence.send_presence_of_available_resources(username, host, jid, nil, stanza);
	end
end

function effects.send_presence(_, username, jids)
	for_each(jids, "send presence to", function (jid)
		send_presence(username, jid);
	end);
	return true;
end

-- The contacts leave the roster before mod_roster goes through it; nothing of it is saved, for it is to be purged.
function effects.depart(_, username, jids)
	local roster, err = rostermanager.load_roster(username, host);
	if err then return nil, tostring(err); end
	local pending = roster[false].pending or {};
	for _, jid in ipairs(jids) do
		if prosody.bare_sessions[jid] then
			send_presence(username, jid, st.presence({ type = "unavailable" }));
		end
		roster[jid] = nil;
		pending[jid] = nil;
	end
	return true;
end

return effects;
