-- Effects on rooms. The chat host is looked up each time: it may be activated late, reloaded, or gone.

local jid_node = require "util.jid".node;
local jid_prep = require "util.jid".prep;
local new_id = require "util.id".short;
local st = require "util.stanza";

local muc_host = module:get_option_string("groups_muc_host");
local no_muc = "the chat host is not there";

local for_each = module:require "each";

local effects = {};

local function get_muc()
	local session = muc_host and prosody.hosts[muc_host];
	local muc = session and session.modules and session.modules.muc;
	return muc and muc.get_room_from_jid and muc;
end

-- Returns a room that is neither missing nor destroyed.
local function get_room(muc, jid)
	local room = muc.get_room_from_jid(jid);
	if room and not (room._data and room._data.destroyed) then
		return room;
	end
end

function effects.has_muc()
	return get_muc() ~= nil and get_muc() ~= false;
end

local function discard(muc, room)
	muc.forget_room(room);
	muc.delete_room(room);
end

function effects.create_room(_, name)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room, err = muc.create_room(jid_prep(new_id().."@"..muc_host));
	if not room then return nil, err and tostring(err) or "no further room is allowed"; end
	room:set_public(false);
	room:set_persistent(true);
	room:set_members_only(true);
	room:set_allow_member_invites(false);
	room:set_moderated(false);
	room:set_whois("anyone");
	room:set_name(name);
	local ok;
	ok, err = room:save(true);
	if not ok then
		discard(muc, room);
		return nil, err and tostring(err) or "the room cannot be saved";
	end
	return room.jid;
end

function effects.discard_room(_, jid)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = muc.get_room_from_jid(jid);
	if room then
		discard(muc, room);
	end
	return true;
end

function effects.destroy_room(_, jid)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = get_room(muc, jid);
	if not room then return true; end
	local ok, err = room:destroy();
	if ok == false then return nil, err and tostring(err) or "another module forbids it"; end
	return true;
end

function effects.rename_room(_, jid, name)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = get_room(muc, jid);
	if not room then return nil, "there is no such room"; end
	room:set_name(name);
	local ok, err = room:save(true);
	if not ok then return nil, tostring(err); end
	return true;
end

function effects.find_rooms(_, jids)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local found = {};
	for i, jid in ipairs(jids) do
		found[i] = get_room(muc, jid) ~= nil;
	end
	return found;
end

-- Returns a chat as get_group_chats() lists it.
function effects.describe_room(jid, group_name)
	local muc = get_muc();
	local room = muc and get_room(muc, jid);
	return {
		id = jid_node(jid);
		jid = jid;
		name = room and room:get_name() or group_name;
		deleted = muc and not room or nil;
	};
end

-- Rooms whose affiliations are being set, and by whom: handlers may wait, so that several coroutines may set
-- affiliations in one room, and one may never come back.
local batches = setmetatable({}, { __mode = "k" });

-- From here on, what this coroutine saves of the room is put off to the end of the batch. Returns the batch.
local function begin_batch(room)
	local batch = batches[room];
	if not batch then
		local save, depth, changed = room.save, setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" });
		batch = { own_save = rawget(room, "save"); depth = depth; changed = changed };
		batches[room] = batch;
		function batch.save(...)
			local thread = coroutine.running();
			if not depth[thread] then return save(...); end
			changed[thread] = true;
			return true;
		end
		room.save = batch.save;
	end
	local thread = coroutine.running();
	batch.depth[thread] = (batch.depth[thread] or 0) + 1;
	return batch;
end

-- Whether this coroutine is setting affiliations in a room.
function effects.is_in_batch(room)
	local batch = batches[room];
	return batch ~= nil and batch.depth[coroutine.running()] ~= nil;
end

-- Returns whether the room is to be saved.
local function end_batch(room, batch)
	local thread = coroutine.running();
	local depth = batch.depth[thread] - 1;
	if depth > 0 then
		batch.depth[thread] = depth;
		return false;
	end
	local changed = batch.changed[thread];
	batch.depth[thread], batch.changed[thread] = nil, nil;
	if next(batch.depth) == nil and room.save == batch.save then
		room.save = batch.own_save;
		batches[room] = nil;
	end
	return changed;
end

-- Sets an affiliation where `applies(current)` holds. A room is saved at each change; here, once. Returns who was
-- refused.
local function set_affiliations(room, jids, affiliation, applies)
	local refused, batch = {}, begin_batch(room);
	local function refuse(jid)
		refused[#refused + 1] = jid;
	end
	for_each(jids, "set the affiliation of", function (jid)
		if applies(room:get_affiliation(jid)) and not room:set_affiliation(true, jid, affiliation) then
			refuse(jid);
		end
	end, refuse);
	if end_batch(room, batch) then
		local saved, save_err = room:save(true);
		if not saved then -- on SQL a second value comes with success, too
			return nil, tostring(save_err);
		end
	end
	return refused;
end

local function is_unaffiliated(affiliation)
	return affiliation == nil or affiliation == "none";
end

-- A ban given by hand stays.
local function can_be_taken(affiliation)
	return not is_unaffiliated(affiliation) and affiliation ~= "outcast";
end

function effects.affiliate(_, jid, users)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = get_room(muc, jid);
	if not room then return nil, "there is no such room"; end
	return set_affiliations(room, users, "member", is_unaffiliated);
end

function effects.disaffiliate(_, jid, users)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = get_room(muc, jid);
	if not room then return {}; end
	return set_affiliations(room, users, nil, can_be_taken);
end

-- What align_room() would change.
function effects.compare_room(_, jid, users, enforce)
	local muc = get_muc();
	local room = muc and get_room(muc, jid);
	if not room then return nil, "there is no such room"; end
	local differing, is_member = {}, {};
	for _, user_jid in ipairs(users) do
		is_member[user_jid] = true;
		if is_unaffiliated(room:get_affiliation(user_jid)) then differing[#differing + 1] = user_jid; end
	end
	for user_jid in room:each_affiliation("member") do
		if enforce and not is_member[user_jid] then differing[#differing + 1] = user_jid; end
	end
	return differing;
end

function effects.align_room(_, jid, users, enforce)
	local muc = get_muc();
	if not muc then return nil, no_muc; end
	local room = get_room(muc, jid);
	if not room then return nil, "there is no such room"; end
	local banned, is_member = {}, {};
	for _, user_jid in ipairs(users) do
		is_member[user_jid] = true;
		if room:get_affiliation(user_jid) == "outcast" then
			banned[#banned + 1] = user_jid;
		end
	end
	local refused, err = set_affiliations(room, users, "member", is_unaffiliated);
	if not refused then return nil, err; end
	if enforce then
		local strangers = {};
		for user_jid in room:each_affiliation("member") do
			if not is_member[user_jid] then
				strangers[#strangers + 1] = user_jid;
			end
		end
		local kept;
		kept, err = set_affiliations(room, strangers, nil, can_be_taken);
		if not kept then return nil, err; end
		for _, user_jid in ipairs(kept) do
			refused[#refused + 1] = user_jid;
		end
	end
	return refused, banned;
end

function effects.invite(_, room_jid, users)
	for_each(users, "invite", function (user_jid)
		local invitation = st.message({ from = room_jid, to = user_jid })
			:tag("x", { xmlns = "jabber:x:conference", jid = room_jid }):up();
		module:send(invitation);
	end);
	return true;
end

return effects;
