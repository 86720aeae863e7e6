-- Effects on rooms. The chat host is looked up each time: it may be activated late, reloaded, or gone.

local array = require "util.array";
local jid_bare = require "util.jid".bare;
local jid_prep = require "util.jid".prep;
local new_id = require "util.id".short;
local st = require "util.stanza";

local muc_host = module:get_option_string("groups_muc_host");
local has_random_ids = module:get_option_string("groups_chat_ids", "readable") == "random";

local for_each = module:require "each";

local effects = {};

local function get_muc()
	local session = muc_host and prosody.hosts[muc_host];
	local muc = session and session.modules and session.modules.muc;
	return muc and muc.get_room_from_jid and muc or nil, "the chat host is not there";
end

-- Returns a room that is neither missing nor destroyed. `context` may have one that is being made.
local function get_room(muc, jid, context)
	local room = context and context.room or muc.get_room_from_jid(jid);
	if room and not (room._data and room._data.destroyed) then
		return room;
	end
end

-- Returns the effect `act(room, ...)`, which answers `missing` where there is no such room.
local function on_room(missing, act)
	return function (_, jid, ...)
		local muc, err = get_muc();
		if not muc then return nil, err; end
		local room = get_room(muc, jid);
		if not room then return missing, "there is no such room"; end
		return act(room, ...);
	end
end

function effects.has_muc()
	return get_muc() ~= nil;
end

-- Saves a room. One that is only being made is saved later.
local function save_room(room)
	if not rawget(room, "save") then return true; end
	local ok, err = room:save(true);
	if ok then return true; end -- on SQL a second value comes with success, too
	return nil, err and tostring(err) or "the room cannot be saved";
end

effects.save_room = on_room(true, save_room);

-- The settings that keep others out, and let members in.
local function set_up(room)
	room:set_public(false);
	room:set_persistent(true);
	room:set_members_only(true);
	room:set_allow_member_invites(false);
	room:set_password(nil);
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

local function discard(muc, room)
	keep_busy(room.jid, function ()
		muc.forget_room(room);
		muc.delete_room(room);
	end);
end

-- Makes a room under the readable id `node`, with an ending where that is taken, or under any.
function effects.create_room(_, name, node)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	local room, ok;
	local nodes = { new_id() };
	if node ~= "" and not has_random_ids then
		nodes = { node, node.."-"..new_id():gsub("%W", ""):sub(1, 4), new_id() };
	end
	for _, tried in ipairs(nodes) do
		local jid = jid_prep(tried.."@"..muc_host);
		if jid and not busy[jid] then room, err = keep_busy(jid, muc.create_room, jid); end
		if room then break; end
	end
	if not room then return nil, err or "no further room is allowed"; end
	set_up(room);
	room:set_moderated(false);
	room:set_whois("anyone");
	room:set_name(name);
	ok, err = save_room(room);
	if ok then return room.jid; end
	discard(muc, room);
	return nil, err;
end

function effects.discard_room(_, jid)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	local room = muc.get_room_from_jid(jid);
	if room then discard(muc, room); end
	return true;
end

effects.destroy_room = on_room(true, function (room)
	local ok, err = keep_busy(room.jid, room.destroy, room);
	return ok ~= false, err or "another module forbids it";
end);

effects.rename_room = on_room(nil, function (room, name)
	room:set_name(name);
	return save_room(room);
end);

function effects.find_rooms(_, jids)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	return array.map(jids, function (jid) return get_room(muc, jid) ~= nil; end);
end

-- Completes a chat as get_group_chats() lists it. `chat.name`: what it is called without a room.
function effects.describe_room(chat)
	local muc = get_muc();
	local room = muc and get_room(muc, chat.jid);
	chat.name = room and room:get_name() or chat.name;
	chat.deleted = muc and not room or nil;
	return chat;
end

-- Rooms whose affiliations are being set: `changed` has by whom, and whether anything has changed. Handlers may wait,
-- so that several coroutines may set affiliations in one room, and one may never come back.
local batches = setmetatable({}, { __mode = "k" });

local function get_batch(room)
	local batch = batches[room];
	if not batch then
		local save, changed = room.save, setmetatable({}, { __mode = "k" });
		batch = { own_save = rawget(room, "save"), changed = changed };
		function batch.save(...)
			local thread = coroutine.running();
			if changed[thread] == nil then return save(...); end
			changed[thread] = true;
			return true;
		end
		batches[room], room.save = batch, batch.save;
	end
	return batch;
end

-- Whether this coroutine is setting affiliations in a room.
function effects.is_in_batch(room)
	local batch = batches[room];
	return batch ~= nil and batch.changed[coroutine.running()] ~= nil;
end

-- Calls `act()`. A room is saved at each change; here, once, at the end of the outermost batch of this coroutine, or
-- `later`, by the caller.
local function in_batch(room, act, later)
	if effects.is_in_batch(room) then
		act();
		return true;
	end
	local thread, batch = coroutine.running(), get_batch(room);
	local changed = batch.changed;
	changed[thread] = false;
	act();
	local to_be_saved = changed[thread];
	changed[thread] = nil;
	if next(changed) == nil and room.save == batch.save then
		room.save, batches[room] = batch.own_save, nil;
	end
	if to_be_saved and not later then return save_room(room); end
	return true;
end

-- Makes members of those of `comers` who have none, and takes the affiliation of `leavers` away, but no ban
-- given by hand. Returns who was refused, and who of the comers is banned. `later`: the caller saves the room.
local function set_affiliations(room, comers, leavers, later)
	local refused, banned = {}, {};
	local function refuse(jid)
		refused[#refused + 1] = jid;
	end
	local function set(jid, affiliation)
		if not room:set_affiliation(true, jid, affiliation) then refuse(jid); end
	end
	local ok, err = in_batch(room, function ()
		for_each(comers, "set the affiliation of", function (jid)
			local affiliation = room:get_affiliation(jid) or "none";
			if affiliation == "outcast" then banned[#banned + 1] = jid; end
			if affiliation == "none" then set(jid, "member"); end
		end, refuse);
		for_each(leavers, "set the affiliation of", function (jid)
			local affiliation = room:get_affiliation(jid) or "none";
			if affiliation ~= "none" and affiliation ~= "outcast" then set(jid, nil); end
		end, refuse);
	end, later);
	if not ok then return nil, err; end
	return refused, banned;
end

effects.affiliate = on_room(nil, function (room, users, later)
	return set_affiliations(room, users, {}, later);
end);

effects.disaffiliate = on_room({}, function (room, users, later)
	return set_affiliations(room, {}, users, later);
end);

-- Returns who is a member of the room, and none of these users.
local function list_strangers(room, users)
	local is_known, strangers = {}, {};
	for _, jid in ipairs(users) do is_known[jid] = true; end
	for jid in room:each_affiliation("member") do
		if not is_known[jid] then strangers[#strangers + 1] = jid; end
	end
	return strangers;
end

-- What align_room() would change.
effects.compare_room = on_room(nil, function (room, users, enforce)
	local differing = enforce and list_strangers(room, users) or {};
	for _, jid in ipairs(users) do
		if (room:get_affiliation(jid) or "none") == "none" then differing[#differing + 1] = jid; end
	end
	return differing;
end);

local settings = array { "members_only", "hidden", "persistent", "allow_member_invites", "password" };

function effects.inspect_rooms(_, jids)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	return array.map(jids, function (jid)
		local room = get_room(muc, jid);
		if not room then return false; end
		local function is_on(setting) return room["get_"..setting](room); end
		return array.filter(array(settings), is_on):concat(" ");
	end);
end

function effects.set_up_room(context, jid, name, users)
	local muc, err = get_muc();
	if not muc then return nil, err; end
	local room = get_room(muc, jid, context);
	if not room then return nil, "there is no such room"; end
	if name then
		set_up(room); -- first of all: what fails below must not leave an open room
		room:set_moderated(false);
		room:set_whois("anyone");
		room:set_name(name);
		if context and context.stanza then
			room:set_affiliation(true, jid_bare(context.stanza.attr.from), nil);
		end
		room._data.locked = nil; -- nobody is to configure it first
	end
	-- Before strangers are put out.
	local refused;
	refused, err = set_affiliations(room, users, {});
	if not refused then return nil, err; end
	set_up(room);
	local ok;
	ok, err = save_room(room);
	if not ok then return nil, err; end
	return refused;
end

effects.align_room = on_room(nil, function (room, users, enforce)
	return set_affiliations(room, users, enforce and list_strangers(room, users) or {});
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
