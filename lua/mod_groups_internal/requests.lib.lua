-- Answers requests for contact lists with virtual contacts (RFC 6121, section 2.1.4). Loaded where there are such.
--
-- mod_roster makes an element of each contact for each user. Of a virtual contact all members are told the same, unless
-- they have changed it: such an element is made once, and is part of all answers.

local cache = require "util.cache";
local st = require "util.stanza";

local getmetatable, next, pairs, rawget, tonumber = getmetatable, next, pairs, rawget, tonumber;

local host_session = prosody.hosts[module.host];

local function make_element(jid, item)
	local element = st.stanza("item", { jid = jid, subscription = item.subscription, ask = item.ask, name = item.name });
	for group in pairs(item.groups) do
		element:text_tag("group", group);
	end
	return element;
end

-- Returns the kind of a virtual contact that nothing but its name tells from others of its kind.
local function get_plain_kind(item)
	local field = next(item);
	if field == nil or field == "name" and next(item, field) == nil then
		return getmetatable(item);
	end
end

-- Elements by kind and JID. A kind goes with the last item that is of it, unless it is one of the last that somebody
-- has asked for: members who log in one after the other find the elements, too.
local shared = setmetatable({}, { __mode = "k" });
local latest = cache.new(16);

local function get_shared(kind, jid, item)
	local elements = shared[kind] or {};
	shared[kind] = elements;
	local element = elements[jid];
	if not element or element.attr.name ~= rawget(item, "name") then
		-- Not of the item itself: reading its groups would give it some of its own.
		element = make_element(jid, setmetatable({ name = item.name }, kind));
		elements[jid] = element;
	end
	return element;
end

-- Notes which elements were used, and forgets those of contacts who have left.
local function note_use(used)
	for kind, count in pairs(used) do
		latest:set(kind, true);
		local made = 0;
		for _ in pairs(shared[kind]) do made = made + 1; end
		if made > 2 * count then shared[kind] = nil; end
	end
end

-- `hook`: as module:hook, for an object with events, and what throws keeps nothing from Prosody. `put_off_collector`:
-- that of rosters.lib.lua.
return function (hook, put_off_collector)
	hook(host_session, "iq/self/jabber:iq:roster:query", function (event)
		local session, stanza = event.origin, event.stanza;
		local roster = session.roster;
		local state = roster and roster[false] and getmetatable(roster[false]);
		if stanza.attr.type ~= "get" or not (state and state.shown) then return; end
		local version = tonumber(roster[false].version or 1);
		if not version or tonumber(stanza.tags[1].attr.ver) == version then return; end
		put_off_collector();
		local answer, used = st.reply(stanza):query("jabber:iq:roster"), {};
		local query, n = answer.tags[1], 0;
		local elements = query.tags;
		query.attr.ver = tostring(version);
		for jid, item in pairs(roster) do
			if jid then
				local kind, element = get_plain_kind(item), nil;
				if kind then
					used[kind] = (used[kind] or 0) + 1;
					element = get_shared(kind, jid, item);
				end
				-- As add_child() does it, which looks for the end each time.
				n = n + 1;
				elements[n] = element or make_element(jid, item);
				query[n] = elements[n];
			end
		end
		note_use(used);
		session.send(answer);
		session.interested = true;
		return true;
	end, 1);
end
