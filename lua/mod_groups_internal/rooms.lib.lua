-- Effects on rooms. The chat host is looked up each time: it may be activated late, reloaded, or gone.

local array = require "util.array";
local jid_prep = require "util.jid".prep;
local st = require "util.stanza";

local muc_host = module:get_option_string("groups_muc_host");

local for_each = module:require "each";

local effects = {};

local function get_muc()
	local session = muc_host and prosody.hosts[muc_host];
	local muc = session and session.modules and session.modules.muc;
	return muc and muc.get_room_from_jid and muc or nil, ("%q, which is no active chat host"):format(muc_host);
end

-- Returns a room that is neither missing nor destroyed. `context` may have one that is being made.
local function get_room(muc, jid, context)
	local room = context and context.room or muc.get_room_from_jid(jid);
	if room and not (room._data and room._data.destroyed) then return room; end
end

-- Returns the effect `act(room, ...)`, which answers `missing` where there is no such room.
local function on_room(missing, act)
	return function (context, jid, ...)
		local muc, err = get_muc();
		if not muc then return nil, err; end
		local room = get_room(muc, jid, context);
		if not room then return missing, "there is no such room"; end
		return act(room, ...);
	end
end

-- JIDs of rooms that are being made or taken away. Where storage waits, Prosody would make such a room once more
-- meanwhile, and take the new one away with the old one.
local busy = {};

local function end_busy(jid, ok, ...)
	busy[jid] = nil;
	if not ok then error((...), 0); end
	return ...;
end

local function keep_busy(jid, act, ...)
	busy[jid] = true;
	return end_busy(jid, pcall(act, ...));
end

function effects.create_room(_, nodes)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	for _, node in ipairs(nodes) do
		local room;
		local jid = jid_prep(node.."@"..muc_host);
		if jid and not busy[jid] then room, err = keep_busy(jid, muc.create_room, jid); end
		if room then return room.jid; end
	end
	return nil, err or "no further room is allowed";
end

effects.discard_room = on_room(true, function (room)
	local muc = get_muc();
	keep_busy(room.jid, function ()
		muc.forget_room(room);
		muc.delete_room(room);
	end);
	return true;
end);

effects.destroy_room = on_room(true, function (room)
	local ok, err = keep_busy(room.jid, room.destroy, room);
	return ok ~= false, err or "another module forbids it";
end);

effects.configure_room = on_room(nil, function (room, settings)
	for name, value in pairs(settings) do
		room["set_"..name](room, value or nil);
	end
	room._data.locked = nil;
	return true;
end);

function effects.inspect_rooms(_, jids, settings)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	return array.map(jids, function (jid)
		local room = get_room(muc, jid);
		if not room then return false; end
		local function is_on(name) return room["get_"..name](room); end
		return array.filter(array(settings), is_on):concat(" ");
	end);
end

-- Completes a chat as get_group_chats() lists it. `chat.name`: what it is called without a room.
function effects.describe_room(chat)
	local muc = get_muc();
	local room = muc and get_room(muc, chat.jid);
	chat.name = room and room:get_name() or chat.name;
	chat.deleted = muc and not room or nil;
	return chat;
end

effects.save_room = on_room(true, function (room)
	if not rawget(room, "save") then return true; end -- one that is only being made
	local ok, err = room:save(true);
	if ok then return true; end -- on SQL a second value comes with success, too
	return nil, err and tostring(err) or "the room cannot be saved";
end);

local function get_affiliation(room, jid)
	return room:get_affiliation(jid) or "none";
end

effects.read_affiliations = on_room("absent", function (room, jids, with_members)
	local members = {};
	if with_members then
		for jid in room:each_affiliation("member") do members[#members + 1] = jid; end
	end
	return members, array.map(jids, function (jid) return get_affiliation(room, jid); end):concat(" ");
end);

-- Rooms whose affiliations are being set, and by which coroutines. Handlers may wait, so that there may be several, and
-- one may never come back.
local batches = setmetatable({}, { __mode = "k" });

-- Whether this coroutine is setting affiliations in a room.
function effects.is_in_batch(room)
	local batch = batches[room];
	return batch ~= nil and batch.threads[coroutine.running()] ~= nil;
end

-- Calls `act()`, which must not throw. A room is saved at each change; not at those of this coroutine.
local function without_saves(room, act)
	if effects.is_in_batch(room) then return act(); end
	local thread, batch = coroutine.running(), batches[room];
	if not batch then
		local save, threads = room.save, setmetatable({}, { __mode = "k" });
		batch = { own_save = rawget(room, "save"), threads = threads };
		function batch.save(...)
			return threads[coroutine.running()] or save(...);
		end
		batches[room], room.save = batch, batch.save;
	end
	batch.threads[thread] = true;
	act();
	batch.threads[thread] = nil;
	if next(batch.threads) == nil and room.save == batch.save then
		room.save, batches[room] = batch.own_save, nil;
	end
end

effects.set_affiliations = on_room(nil, function (room, jids, from, to)
	local refused = {};
	local function refuse(jid) refused[#refused + 1] = jid; end
	without_saves(room, function ()
		for_each(jids, "set the affiliation of", function (jid, i)
			if get_affiliation(room, jid) == from[i] and not room:set_affiliation(true, jid, to[i]) then refuse(jid); end
		end, refuse);
	end);
	return refused;
end);

-- Invites as rooms pass invitations on (XEP-0045, section 7.8.2) and as XEP-0249 has it: clients know one or the other.
function effects.invite(_, room_jid, users, group_name)
	local muc = get_muc();
	local room = muc and get_room(muc, room_jid);
	local name = room and room:get_name() or group_name;
	local reason = ("You are a member of %s. This is the chat %s."):format(group_name, name);
	for_each(users, "invite", function (user_jid)
		module:send(st.message({ from = room_jid, to = user_jid })
			:tag("x", { xmlns = "http://jabber.org/protocol/muc#user" })
			:tag("invite", { from = module.host }):text_tag("reason", reason):up():up()
			:tag("x", { xmlns = "jabber:x:conference", jid = room_jid, reason = reason }):up());
	end);
	return true;
end

return effects;
