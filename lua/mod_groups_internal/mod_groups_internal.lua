-- Groups whose members see each other, in their contact lists and in group chats.
--
-- This is a shim: the engine in groups_internal_native.so decides, the functions here carry its decisions out. An
-- operation of the engine hands out one effect after the other; the functions for them are in the *.lib.lua files
-- beside this one.

local VERSION = "1.0.0";

local array = require "util.array";
local async = require "util.async";
local jid_bare = require "util.jid".bare;
local jid_prep = require "util.jid".prep;
local jid_split = require "util.jid".split;
local monotonic = require "util.time".monotonic;

local host = module.host;
local host_session = prosody.hosts[host];
local traceback = debug.traceback;

local muc_host = module:get_option_string("groups_muc_host");
local contact_name = module:get_option_string("groups_contact_name", "none");
local roster_mode = module:get_option_string("groups_roster_mode", "permanent");

-- How long lists are saved for when the server stops or the module is unloaded, in seconds. What is not saved by then
-- is made good at the next start.
local flush_time = 5;

-- Ends loading with one line in the log. Prosody adds a traceback to an error that is a string; to its other code this
-- one looks like a string.
local function refuse(text)
	error(setmetatable({}, {
		__tostring = function () return text; end;
		__concat = function (left, right) return tostring(left)..tostring(right); end;
		__index = function (_, method)
			return function (_, ...) return string[method](text, ...); end;
		end;
	}), 0);
end

local function load_native()
	local directory = module:get_directory();
	-- `prosodyctl install` puts the library where LuaRocks does, and Prosody does not look there.
	local tree, version_of_lua = directory:match("^(.*)/share/lua/([%d.]+)/[^/]+$");
	local pattern = tree and ("%s/lib/lua/%s/?.so"):format(tree, version_of_lua) or directory.."/?.so";
	if not (";"..package.cpath..";"):find(";"..pattern..";", 1, true) then
		package.cpath = pattern..";"..package.cpath;
	end
	local ok, native = pcall(require, "groups_internal_native");
	local version = ok and type(native) == "table" and native.version or "unknown";
	local path = package.searchpath("groups_internal_native", package.cpath);
	if version == VERSION then
		return native, native.is_replaced(path);
	end
	local problem = "is missing in "..directory;
	if ok then
		problem = "has version "..tostring(version)..", but the module has version "..VERSION;
	elseif path then
		problem = "cannot be loaded, it must be built for ".._VERSION.." on this machine ("
			..tostring(native):gsub("%s+", " ")..")";
	end
	refuse((path or "groups_internal_native.so").." "..problem..": run 'make install', then restart Prosody");
end

if module:get_host_type() ~= "local" then
	refuse("groups_internal is for the accounts of a VirtualHost, and "..host.." is none: "
		.."take it out of the modules of that component");
end

local native, is_replaced = load_native();

local effects = {};
for _, library in ipairs { "storage", "rooms", "rosters", "profiles" } do
	for name, perform in pairs(module:require(library)) do
		effects[name] = perform;
	end
end

local rosters_being_settled = module:shared("rosters_being_settled");

local handle, options_err = native.open(host, module.reloading or false, {
	chats = muc_host ~= nil;
	row_writes = effects.has_row_writes();
	random_room_ids = module:get_option_string("groups_chat_ids", "readable") == "random";
	enforce_affiliations = module:get_option_boolean("groups_muc_enforce", false);
	remove_contacts = module:get_option_boolean("groups_remove_contacts", false);
	naming = contact_name;
	roster_mode = roster_mode;
});

if not handle then
	refuse(options_err);
end

-- Operations

local function finish(name, ok, ...)
	if ok then return ...; end
	module:log("error", "Error in %s: %s", name, (...));
	return nil, "an error was thrown, see the log";
end

-- Effects that leave garbage and come in great numbers.
local makes_garbage = { find_accounts = true; fire = true; invite = true; save_room = true; set_affiliations = true;
	store_info = true; store_marker = true; store_members = true; destroy_room = true };

-- Carries out an effect. `context` is what a hook knows and no effect says.
local function perform(context, name, ...)
	if makes_garbage[name] then effects.put_off_collector(); end
	return finish(name, xpcall(effects[name], traceback, context, ...));
end

local plan_work, drive; -- forward declarations

-- Drives an operation to its end, in the caller's coroutine. Returns what the operation returns. The time is taken
-- after the reply is there: budgets are to see how long it took.
local function run(operation, context, ...)
	return drive(operation, context, operation:resume(monotonic(), ...));
end

function drive(operation, context, effect, ...)
	if effect then
		return run(operation, context, perform(context, effect, ...));
	end
	plan_work();
	return ...;
end

-- Drives an operation, or several, where nobody waits for the outcome.
local function spawn(job)
	async.runner(job, {
		error = function (_, err)
			module:log("error", "Background work failed: %s", err);
		end;
	}):run(true);
end

local function run_apart(operation, context)
	spawn(function () run(operation, context); end);
end

-- For hooks: waits in the caller's coroutine if there is one, for what comes next relies on it.
local function run_hook(operation, context)
	local run_here = async.ready() and run or run_apart;
	run_here(operation, context);
end

local work_timer, work_at;
local latest = module:shared("latest");

-- What ends after a reload leaves its work to the module that is loaded now.
function plan_work()
	if latest.plan_work ~= plan_work then return latest.plan_work(); end
	local now = monotonic();
	local delay = handle:next_work(now);
	if not delay or module.loaded == false then return; end
	if work_timer then
		if work_at <= now + delay then return; end
		work_timer:stop();
	end
	work_at = now + delay;
	work_timer = module:add_timer(delay, function ()
		work_timer = nil;
		run_apart(handle:work(monotonic()));
	end);
end
latest.plan_work = plan_work;

-- Updates: Prosody keeps the library that it has loaded until its process ends.

if is_replaced then
	run_apart(handle:tell_of_update());
end

-- Prosody calls this before it unloads the module for a reload, and lets the module run on if it throws. The files of
-- another version would refuse to load with the library in memory.
function module.save()
	local version = native.version_of(module.path);
	if version == VERSION then return nil; end
	run_apart(handle:tell_of_update());
	refuse(("version %s goes on, and version %s waits for a restart"):format(VERSION, version or "unknown"));
end

-- Waits until groups have been read from storage, where that is possible.
local function await_groups()
	while handle:is_loading() and async.ready() do
		effects.wait();
	end
end

-- Functions for other modules: README.md says what they take and return.

-- Those that answer from memory, once groups are there.
for _, name in ipairs { "exists", "get_info", "get_members", "get_user_groups", "snapshot", "status" } do
	module.environment[name] = function (...)
		await_groups();
		return handle[name](handle, ...);
	end;
end

-- Those that run an operation to its end.
for _, name in ipairs {
	"create", "set_info", "delete", "add_member", "remove_member", "add_members", "remove_members", "set_members",
	"add_group_chat", "remove_group_chat", "sync", "emit_member_events", "check", "repair", "restore",
} do
	module.environment[name] = function (...)
		local operation, err = handle[name](handle, ...);
		if not operation then return nil, err; end
		return run(operation);
	end;
end

function get_group_chats(group_id)
	await_groups();
	local chats = handle:chats(group_id);
	return chats and array.map(chats, effects.describe_room);
end

-- Returns a table of id to info that is also an iterator: `for id, info in groups() do`.
function groups()
	await_groups();
	return setmetatable(handle:groups(), { __call = function (all, _, last) return next(all, last); end });
end

-- Hooks

local failed = {};

-- Hooks an event of this host, of another one, or of the server. Prosody's own handlers come after these, and an error
-- would keep the stanza, the login or the deletion from them. One error of each hook is logged until the module is
-- loaded again: it would come with every stanza.
local function hook(target, name, act, priority)
	module:hook_object_event(target.events, name, function (event)
		local ok, result = xpcall(act, traceback, event);
		if ok or failed[name] then return ok and result or nil; end
		failed[name] = true;
		module:log("error", "The hook on %s failed, and is passed over whenever it does. Contact lists may be out of date "
			.."until their users log in again: report this as a bug, and restart Prosody if it goes on. %s", name, result);
	end, priority);
end

-- Below modules that bring contacts of their own at each load.
hook(host_session, "roster-load", function (event)
	-- Where storage waits, a session may have begun while this was read: what its clients change is the user's roster.
	local user = host_session.sessions[event.username];
	for _, session in pairs(user and user.sessions or {}) do
		local view = getmetatable(session.roster); -- see presence.lib.lua
		user.roster = view and view.whole or session.roster or user.roster;
	end
	-- The engine is about to reconcile this roster itself.
	if rosters_being_settled[event.username] then return; end
	local metadata = event.roster[false];
	run_hook(handle:roster_loaded(event.username, metadata and metadata.groups_unsaved or false), event);
end, -1);

hook(host_session, "resource-bind", function (event)
	local session = event.session;
	session.roster = host_session.sessions[session.username].roster or session.roster; -- also where it was read twice
	run_hook(handle:user_appeared(session.username));
end);

hook(host_session, "resource-unbind", function (event)
	local username = event.session.username;
	if host_session.sessions[username] then return; end
	-- Prosody drops the roster with the session. What is not saved yet may not come again.
	if handle:is_unsaved(username) then
		effects.keep_roster(username, event.session.roster);
	end
	run_hook(handle:user_left(username));
end);

-- Returns the username of a JID of this host.
local function local_user(jid)
	local username, jid_host = jid_split(type(jid) == "string" and jid or nil);
	return jid_host == host and username or nil;
end

-- Before mod_roster replaces the item, and stores the roster's metadata with it.
hook(host_session, "iq/self/jabber:iq:roster:query", function (event)
	local item = event.stanza.attr.type == "set" and event.stanza.tags[1]:get_child("item");
	local roster = event.origin.roster;
	local jid = item and jid_prep(item.attr.jid);
	if not roster or not jid or not local_user(jid) then return; end
	local groups = {};
	for group in item:childtags("group") do
		groups[#groups + 1] = group:get_text(); -- mod_roster passes over those without one
	end
	handle:note_edit(roster, jid, item.attr.subscription ~= "remove" and groups or nil);
end, 10);

-- Where the option was another one before a reload, lists show virtual contacts until they have had their turn.
effects.guard_storage(roster_mode == "virtual" or effects.guards_storage());

if contact_name == "nickname" then
	effects.watch_nicknames(function (username) run_apart(handle:nickname_changed(username)); end);
end

-- A contact that its user takes off the list comes back with the next session, not in this one.
hook(host_session, "roster-item-removed", function (event)
	local contact = local_user(event.jid);
	if contact then handle:spare_contact(event.username, contact); end
end, 10);

-- A subscription of this user, or to this user, is about to change.
local changes_subscription = { subscribe = true, subscribed = true, unsubscribe = true, unsubscribed = true };

local function on_outgoing_presence(event)
	local kind, username, to = event.stanza.attr.type, event.origin.username, event.stanza.attr.to;
	local contact = changes_subscription[kind] and username and local_user(to);
	if not contact then return; end
	run_hook(handle:subscription_changing(username, contact));
	if kind == "unsubscribe" or kind == "unsubscribed" then
		handle:spare_contact(username, contact);
	end
	effects.note_subscription(handle, username, contact);
	effects.note_subscription(handle, contact, username);
end
hook(host_session, "pre-presence/bare", on_outgoing_presence, 10);
hook(host_session, "pre-presence/full", on_outgoing_presence, 10);

-- Prosody answers a probe from somebody who is not in the list with a refusal, which takes back requests as well. A
-- list that is still to get this contact gives no answer.
local function on_probe(event)
	local kind, from = event.stanza.attr.type, event.stanza.attr.from;
	local prober = kind == "probe" and local_user(from);
	local username = prober and local_user(event.stanza.attr.to);
	if username and handle:may_lack(username, prober) and not effects.is_seen(username, prober) then return true; end
end
hook(host_session, "presence/bare", on_probe, 10);
hook(host_session, "presence/full", on_probe, 10);

hook(host_session, "user-registered", function (event)
	run_hook(handle:user_appeared(event.username));
end);

-- An account made in the shell fires nothing else; 13 only.
hook(prosody, "user-role-changed", function (event)
	if event.host == host and effects.has_account(event.username) then
		run_hook(handle:user_appeared(event.username));
	end
end);

-- Above mod_roster, which would unsubscribe from every contact with two saves each.
hook(prosody, "user-deleted", function (event)
	if event.host == host then run_hook(handle:account_deleted(event.username)); end
end, 310);

-- Below mod_roster, which reads the roster once more: a new account of that name must not be given it.
hook(prosody, "user-deleted", function (event)
	if event.host == host then effects.release_roster(nil, event.username); end
end, -1000);

hook(prosody, "server-stopping", function ()
	run_hook(handle:flush(flush_time));
end);

-- Hooks on the chat host, which has other events each time it is activated.
local function watch_chat_host()
	local chats = muc_host and prosody.hosts[muc_host];
	if not chats then return; end
	hook(chats, "muc-room-restored", function (event)
		handle:room_restored(event.room.jid);
		plan_work();
	end);
	-- Somebody makes a room. Below mod_muc, which makes that one its owner and then has the room.
	hook(chats, "muc-room-pre-create", function (event)
		run_hook(handle:room_made(event.room.jid, jid_bare(event.stanza.attr.from)), event);
	end, -1500);
	-- Another module makes a room, which mod_muc has only after this.
	hook(chats, "muc-room-created", function (event)
		if not event.stanza then run_hook(handle:room_made(event.room.jid), event); end
	end);
	hook(chats, "muc-set-affiliation", function (event)
		if not effects.is_in_batch(event.room) then
			handle:room_touched(event.room.jid);
		end
	end);
end

watch_chat_host();

local function check_chat_host() run_apart(handle:check_chat_host()); end

hook(prosody, "host-activated", function (activated)
	if activated == muc_host then
		watch_chat_host();
		-- Its modules may be loaded after this.
		module:add_timer(0, check_chat_host);
	end
end);
hook(prosody, "host-deactivated", function (deactivated)
	if deactivated == muc_host then check_chat_host(); end
end);

if prosody.start_time then
	check_chat_host();
else
	hook(prosody, "server-started", check_chat_host);
end

local finish_presence = function () end;

function module.unload()
	local reloading = module.reloading;
	spawn(finish_presence);
	spawn(function ()
		run(handle:flush(flush_time));
		-- A reload goes on with the engine and the lists as they are.
		if reloading then return; end
		if effects.guards_storage() then effects.leave_rosters(handle); end
		handle:close();
	end);
end

-- Companions of the functions above, in files of their own.

local transfer = module:require("transfer");

-- Returns groups as JSON, all of them or one.
function export_groups(group_id, on_progress)
	return transfer.export(module.environment, host, group_id, on_progress);
end

-- Adds what a text has: an export, a file of mod_groups, or what ejabberd prints. Returns { changes, left_out }, arrays
-- for people. With `dry_run`, nothing changes.
function import_groups(text, dry_run, on_progress)
	return transfer.import(module.environment, host, text, dry_run, on_progress);
end

shell = module:require("shell");
if module:get_option_boolean("groups_adhoc", false) then
	module:require("forms");
end
if roster_mode == "virtual" then
	module:require("requests")(hook, effects.put_off_collector);
end
if module:get_option_boolean("groups_fast_presence", true) then
	finish_presence = module:require("presence")(handle, spawn, hook, effects.put_off_collector);
end
if require "core.statsmanager".get_metric_registry() then
	module:require("metrics")(effects);
end

local _, driver = require "core.storagemanager".get_driver(host, "groups");
run_apart(handle:load(math.floor(os.time() / 60),
	("storage: %s, contact lists: %s, chats: %s"):format(driver, roster_mode, muc_host or "none")));
await_groups();
