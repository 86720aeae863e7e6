-- Presence in large groups. When a client comes, goes or changes its status, Prosody routes a presence to each contact,
-- and a probe when it comes, online or not; it even loads the contact lists of those who are offline. Loaded with
-- groups_fast_presence.
--
-- Contacts that groups bring and that have no session are passed over: while Prosody broadcasts, the session has a view
-- of its contact list that leaves them out of loops, and of nothing else. Contacts who are online, the user's own and
-- those of other hosts get what Prosody sends. The client is not told that the others are unavailable, which it takes
-- them for anyway.
--
-- Where mod_pep is loaded, it has a use for presence to a contact that is offline: it tells the client what the contact
-- has published, and notes whom to tell of news. Such presence is not passed over but put off: it is routed in slices,
-- or as soon as the contact binds a session.

local monotonic = require "util.time".monotonic;
local st = require "util.stanza";

local for_each = module:require "each";

local core_post_stanza = prosody.core_post_stanza;
local bare_sessions = prosody.bare_sessions;
local getmetatable, next, pairs, setmetatable = getmetatable, next, pairs, setmetatable;
local pcall, traceback, xpcall = pcall, debug.traceback, xpcall;

local host = module.host;
local host_session = prosody.hosts[host];

-- How long a slice of what was put off may take, and how long the server is left alone after it, in seconds.
local slice_time = 0.002;
local slice_pause = 0.01;

-- Returns the list that this is a view of, or the list itself.
local function whole(roster)
	local view = getmetatable(roster);
	return view and view.whole or roster;
end

-- Returns a view of a list that leaves some contacts out of loops.
local function without(roster, absent)
	local present = {};
	for jid, item in pairs(roster) do
		if not absent[jid] then present[jid] = item; end
	end
	return setmetatable({}, {
		whole = roster;
		__index = roster;
		__newindex = roster;
		__pairs = function () return next, present, nil; end;
	});
end

-- `hook`: as module:hook, for an object with events, and what throws keeps nothing from Prosody. `put_off_collector`:
-- that of rosters.lib.lua.
return function (handle, spawn, hook, put_off_collector)
	-- Returns the contacts to pass over: a set of JIDs, and the same as an array.
	local function find_absent(username, roster)
		local jids, set, list = handle:contacts_of(username), {}, {};
		for i = 1, #jids do
			local jid = jids[i];
			local item = not bare_sessions[jid] and roster[jid];
			if item and item.subscription == "both" and not item.ask and item.persist ~= false then
				set[jid] = true;
				list[#list + 1] = jid;
			end
		end
		return set, list;
	end

	-- Presence that was put off

	-- In order of time: { session =, stanza = or nil for what the session's presence is then, contacts = array of JIDs,
	-- done = how many of them were looked at, open = set of those that have not been told }
	local put_off = {};
	local is_working = false;

	local function is_over(job)
		return not job.stanza and not job.session.presence or job.done == #job.contacts;
	end

	local function tell(job, jid)
		job.open[jid] = nil;
		local stanza = job.stanza or job.session.presence;
		if not stanza then return; end
		for_each({ jid }, "route presence to", function ()
			stanza.attr.to = jid;
			core_post_stanza(job.session, stanza, true);
		end);
		stanza.attr.to = nil;
	end

	local function work(ends)
		while put_off[1] and monotonic() < ends do
			local job = put_off[1];
			if is_over(job) then
				table.remove(put_off, 1);
			else
				job.done = job.done + 1;
				local jid = job.contacts[job.done];
				if job.open[jid] then tell(job, jid); end
			end
		end
	end

	local function plan_work()
		if is_working or not put_off[1] then return; end
		is_working = true;
		module:add_timer(slice_pause, function ()
			spawn(function ()
				local ok, err = xpcall(work, traceback, monotonic() + slice_time);
				if not ok then module:log("error", "Could not route presence: %s", err); end
				is_working = false;
				plan_work();
			end);
		end);
	end

	-- Stands for a session that may be gone by then.
	local function stand_in(session)
		return {
			type = session.type, username = session.username, host = host, resource = session.resource,
			full_jid = session.full_jid, log = session.log, send = function () return true; end,
		};
	end

	local function put_off_presence(session, stanza, contacts, open)
		local job = { session = session, stanza = stanza, contacts = contacts, done = 0, open = open };
		put_off[#put_off + 1] = job;
		plan_work();
	end

	-- Drops what was put off of a session's presence. Takes the contacts that have not been told of it out of `open`.
	local function drop_put_off(session, open)
		for i = #put_off, 1, -1 do
			local job = put_off[i];
			if job.session == session then
				for jid in pairs(job.open) do open[jid] = nil; end
				table.remove(put_off, i);
			end
		end
	end

	-- What mod_pep looks at in presence.
	local function get_features(stanza)
		local caps = stanza and not stanza.attr.type and stanza:get_child("c", "http://jabber.org/protocol/caps");
		return caps and tostring(caps) or nil;
	end

	local function on_passed_over(session, gone, stanza, before, set, list)
		local now = get_features(stanza);
		if now == before or not host_session.modules.pep then return; end
		if stanza.attr.type then
			drop_put_off(session, set);
			if next(set) then put_off_presence(gone, stanza, list, set); end
		elseif session.presence then
			drop_put_off(session, {});
			put_off_presence(session, nil, list, set);
		end
	end

	-- Views

	local function finish(session, roster, view, ok, ...)
		if session.roster == view then session.roster = roster; end
		if not ok then error((...), 0); end
		return ...;
	end

	local function broadcast(fire, name, event)
		local session, stanza = event.origin, event.stanza;
		put_off_collector();
		local roster = whole(session.roster);
		local ok, set, list = pcall(find_absent, session.username, roster);
		if not ok then module:log("error", "Could not tell who is offline: %s", set); end
		if not ok or not list[1] then return fire(name, event); end
		local before, gone = get_features(session.presence), stanza.attr.type and stand_in(session);
		local view = without(roster, set);
		session.roster = view;
		local result = finish(session, roster, view, pcall(fire, name, event));
		on_passed_over(session, gone, gone and st.clone(stanza) or stanza, before, set, list);
		return result;
	end

	local function is_broadcast(session, attr)
		return not attr.to and (not attr.type or attr.type == "unavailable") and session.roster and session.username;
	end

	-- Wraps one event: a wrapper that stays would make each presence to each contact slower.
	local function wrap(fire, name, event)
		module:unhook_object_event(host_session.events.wrappers, "presence/bare", wrap);
		if not is_broadcast(event.origin, event.stanza.attr) then return fire(name, event); end
		return broadcast(fire, name, event);
	end

	-- Comes right before the event. If another module stops it, the next one takes the wrapper off.
	hook(host_session, "pre-presence/bare", function (event)
		if is_broadcast(event.origin, event.stanza.attr) then
			module:wrap_event("presence/bare", wrap);
		end
	end, -1000);

	-- A session may end while its presence is broadcast.
	hook(host_session, "resource-unbind", function (event)
		local session = event.session;
		session.roster = whole(session.roster);
	end, 1000);

	hook(host_session, "resource-bind", function (event)
		local jid = event.session.username.."@"..host;
		for _, job in ipairs { table.unpack(put_off) } do
			if job.open[jid] then tell(job, jid); end
		end
	end);

	-- For the end of the module: routes all that was put off.
	return function () work(math.huge); end;
end
