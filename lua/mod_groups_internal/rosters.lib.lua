-- Effects on accounts, rosters and presence.

local rostermanager = require "core.rostermanager";
local usermanager = require "core.usermanager";
local user_exists, users = usermanager.user_exists, usermanager.users;
local array = require "util.array";
local jid_node = require "util.jid".node;
local st = require "util.stanza";
local add_task = require "util.timer".add_task;
local monotonic = require "util.time".monotonic;

local host = module.host;
local host_session = prosody.hosts[host];

local native = require "groups_internal_native";

local virtual = module:require "virtual";
local for_each = module:require "each";

-- Users whose rosters the engine is loading: it reconciles them itself, and the hook on loading passes over them.
local being_settled = module:shared("rosters_being_settled");

local effects = {};

local collector = native.collector();

local function note_collection()
	collector:note_collection(collectgarbage("count"));
end

-- Collects for 1 ms. The smaller the speed, the less a step does.
local function collect_slice()
	local ends, speed = monotonic() + 0.001, collectgarbage("setstepmul", 25);
	repeat
		local is_done = collectgarbage("step", 0);
		if is_done then note_collection(); end
	until is_done or monotonic() >= ends;
	collectgarbage("setstepmul", speed);
end

-- Lets Lua's collector work only after so much more is in use.
local function rest(kilobytes)
	collectgarbage("restart"); -- forgets what is due
	collectgarbage("step", -(kilobytes or collector:limit(collectgarbage("count"))));
end

-- Puts Lua's collector off, as src/engine/collector.rs says.
local function put_off_collector()
	local action = collector:put_off(collectgarbage("count"), collectgarbage("isrunning"));
	if not action then return; end
	if action == "collect" then collectgarbage(); note_collection(); end
	rest();
	if action ~= "begin" then return; end
	add_task(0.01, function ()
		local pause = collector:step(collectgarbage("count"));
		if not pause then collect_slice(); end
		rest(pause);
		return not pause and 0 or nil;
	end);
end
effects.put_off_collector = put_off_collector;

-- Returns the roster that Prosody would hand out without reading storage: of a session, or a cached one.
local function get_loaded(username)
	local user = host_session.sessions[username];
	if user and user.roster then return user.roster; end
	local cache = host_session.roster_cache;
	return cache and cache:get(username.."@"..host);
end

function effects.list_rosters(_, limit)
	local usernames, cache = {}, host_session.roster_cache;
	for username in pairs(host_session.sessions) do
		if #usernames == limit then return nil, "there are more"; end
		usernames[#usernames + 1] = username;
	end
	if not cache then return usernames; end
	if #usernames + cache:count() > limit then return nil, "there are more"; end
	for jid in cache:items() do
		usernames[#usernames + 1] = jid_node(jid);
	end
	return usernames;
end

function effects.has_account(username)
	local ok, exists = pcall(user_exists, username, host);
	return ok and exists and true or false;
end

function effects.find_accounts(_, usernames)
	return array.map(usernames, effects.has_account);
end

function effects.find_rosters(_, usernames)
	return array.map(usernames, function (username) return get_loaded(username) ~= nil; end);
end

function effects.list_accounts()
	return array.collect(users(host));
end

-- Loads a roster that the hook on loading need not reconcile.
function effects.load_roster(_, username)
	local was_loaded = get_loaded(username) ~= nil;
	being_settled[username] = true;
	local ok, roster, err = pcall(rostermanager.load_roster, username, host);
	being_settled[username] = nil;
	if not ok then return nil, roster; end
	if err or roster[false].broken then return "broken"; end
	return true, was_loaded;
end

function effects.find_roster(_, username)
	return get_loaded(username) or "absent";
end

-- Is there a client that has been given the contact list, or has sent presence?
local function is_online(username)
	local user = host_session.sessions[username];
	for _, session in pairs(user and user.sessions or {}) do
		if session.interested or session.presence then return true; end
	end
	return false;
end

local leaving = false;

-- The engine compares the roster itself, and changes it: see src/binding/roster.
function effects.compare(context, username)
	-- For who comes after an unload, a list that virtual contacts have left is as one that is not in memory.
	local roster = not leaving and (context and context.roster or get_loaded(username));
	if not roster then return "absent"; end
	if not context then put_off_collector(); end
	local user = host_session.sessions[username];
	return roster, is_online(username), user and user.groups_shown, virtual.get_kind;
end

effects.read_edits = virtual.read_edits;

local function loaded_rosters()
	local rosters = {};
	for _, username in ipairs(effects.list_rosters(nil, math.huge)) do
		rosters[username] = get_loaded(username);
	end
	return rosters;
end

function effects.find_editors(_, username)
	return virtual.find_editors(username.."@"..host, loaded_rosters());
end

-- Takes virtual items out of all rosters, for nothing keeps them from being stored any more. If the module is loaded
-- again, clients show already what groups bring.
function effects.leave_rosters(handle)
	leaving = true;
	for username, roster in pairs(loaded_rosters()) do
		local digest, user = handle:leave_roster(roster), host_session.sessions[username];
		if user then user.groups_shown = digest; end
	end
	virtual.guard_storage(false);
end

function effects.save_roster(_, username, contact_jid, provenance)
	local roster, err = rostermanager.load_roster(username, host);
	if err then return "broken"; end
	local handed_out = roster[false].version;
	local save, items = native.begin_save(roster, provenance);
	if not save then return "broken"; end
	-- Prosody asks for the account of who has no session first. Nobody who comes meanwhile may be told a lower version.
	if not host_session.sessions[username] then roster[false].version = handed_out; end
	put_off_collector();
	local called, ok, save_err = pcall(rostermanager.save_roster, username, host, items, contact_jid);
	if called and ok then
		-- If this fails, the edits are read again; items that have taken them in already do so once more.
		virtual.store_edits(username, roster);
		return true;
	end
	local version = save:undo();
	-- Neither yes nor a reason: Prosody does not know the account.
	if called and ok == nil and save_err == nil then return "absent"; end
	return nil, called and save_err or ok, version;
end

function effects.keep_roster(username, roster)
	local cache = host_session.roster_cache;
	if cache and roster and roster[false] and not roster[false].broken then
		cache:set(username.."@"..host, roster);
	end
end

function effects.release_roster(_, username)
	local cache = host_session.roster_cache;
	if cache then cache:set(username.."@"..host, nil); end
	return true;
end

function effects.push(_, username, jids, is_last)
	local roster = get_loaded(username);
	local metadata = roster and roster[false];
	if not metadata then return "absent"; end
	put_off_collector();
	local version, number = native.begin_push(roster, is_last);
	for_each(jids, "push the contact", function (jid)
		if is_last and jid == jids[#jids] then metadata.version = version; end
		rostermanager.roster_push(username, host, jid);
	end);
	metadata.version = version;
	return true, number;
end

function effects.send_presence(_, username, jids, unavailable, is_gone)
	local presence = host_session.modules.presence;
	if unavailable then
		jids = array.filter(array(jids), function (jid) return prosody.bare_sessions[jid]; end);
	end
	for_each(presence and jids or {}, "send presence to", function (jid)
		local stanza = unavailable and st.presence({ type = "unavailable" }) or nil;
		local count = presence.send_presence_of_available_resources(username, host, jid, nil, stanza);
		if is_gone and count == 0 then
			module:send(st.presence({ type = "unavailable"; from = username.."@"..host; to = jid }));
		end
	end);
	return true;
end

-- Takes contacts out of the roster before mod_roster reads it. Nothing is saved, for the roster is about to be purged.
function effects.depart(_, username, jids)
	local roster, err = rostermanager.load_roster(username, host);
	if err then return nil, err; end
	return effects.send_presence(nil, username, native.depart(roster, jids), true);
end

effects.guard_storage, effects.guards_storage = virtual.guard_storage, virtual.guards_storage;

-- Whether a contact sees the presence of a user. An error counts as a yes.
function effects.is_seen(username, contact)
	local is_subscribed, err = rostermanager.is_contact_subscribed(username, host, contact.."@"..host);
	return is_subscribed or err ~= nil;
end

-- Notes that a subscription between two users of this host is about to change: that of `username` to `contact`, or the
-- other way round.
function effects.note_subscription(handle, username, contact)
	local roster = get_loaded(username);
	if roster then handle:note_subscription(roster, contact); end
end

return effects;
