-- The reference: what users are promised of groups and contact lists, and nothing of how the module keeps that promise.
--
-- For each ordered pair of owner and contact it has what is the owner's own: the item that there would be without
-- groups, and the name and the groups that the owner has given the contact. On top of that, groups bring the contact
-- as long as the two share one. All of it is plain data, so that it can be kept while the server is killed.
--
-- A pair, all fields optional:
--   sub, ask     the owner's own item: there is one if there is a subscription. `ask` may be "may": that is left open
--   name         what the owner calls the contact
--   labels       the owner's own groups for it: { [label] = true or "may" }
--   kept         labels of groups that have left the contact behind for good: { [label] = group id, or "may" }
--   born         the item is there only since groups have left it behind
--   off          until the owner's next session: "gone", taken off the list; "part", the subscription is cut down
--                to `off_sub`; "any", changed in ways that are left open
--   spared       the contact was taken off the list or cancelled in this session: groups do not bring it back in it
--   forgotten    it was spared and made anew before the server was killed: nothing tells of the other's list
--   loose        the other has taken the owner off or cancelled in a group's despite: what groups bring may be there
--                or not, until the next session of either
--   coming       it is there again, as soon as the background gets to it
--   ghosts       labels of groups that have let go meanwhile may be there, until then
--   loose_labels, loose_name   the same of labels and of the name that is given, until the owner's next session
--   maybe_gone   the item may be there or not
--   fading       labels that groups have taken back, perhaps not yet in storage
--   earlier      names of groups that have left their labels behind: what is stored may have them still
--   returned     it was off, spared or loose in the session before, and is back in this one
--   converting   contacts are stored, or are not any more, and perhaps not yet in this list
--   fresh        groups have just left it behind for good, which is perhaps not stored
--   released     groups have let go of it, and what the owner has made of it stays; that is perhaps not stored
--   lapsed       the same of a list that is not in memory: a group that brings it again may have had it all along
--   unheard      what the owner hears of the contact's presence is left open, until the next session of either
-- What is left open for good is in these:
--   vague        what the item is when no group brings it:
--                - contacts were left behind for good while something of them was still loose, or before all
--                  lists had them;
--                - a contact that was left behind for good, was brought again, and then let go by the other rule;
--   fuzzy        name and own groups of a virtual contact for which the user has made an item as well.

local model = {};
local mt = { __index = model };

-- Gives back its functions to a model that was stored, and what two tables had in common.
function model.wake(state)
	for id, group in pairs(state.groups) do group.names = state.names[id]; end
	return setmetatable(state, mt);
end

-- `rules`: removes, naming ("none" or "username"), mode ("permanent" or "virtual"). `slow`: storage waits.
function model.new(users, rules, slow)
	local self = model.wake({ order = users; users = {}; groups = {}; names = {}; pairs = {}; pending = {}; dirty = {};
		unclear = {}; leaving = {}; rules = {} });
	for name, value in pairs(rules) do self.rules[name] = value; end
	self.slow = slow;
	self.named = rules.naming ~= "none";
	for _, user in ipairs(users) do
		self.users[user] = {};
		self.pairs[user], self.pending[user], self.dirty[user], self.unclear[user] = {}, {}, {}, {};
		for _, contact in ipairs(users) do
			self.pairs[user][contact] = { labels = {}; kept = {} };
		end
	end
	return self;
end

function model:pair(owner, contact)
	return self.pairs[owner][contact];
end

function model:has_account(user)
	return self.users[user].account == true;
end

function model:is_online(user)
	return self.users[user].online ~= nil;
end

local function key(owner, contact)
	return owner..">"..contact;
end
model.key = key;

-- The ids of the groups that bring this contact to this owner, whether or not the list has it yet.
function model:shared(owner, contact)
	local ids = {};
	if owner ~= contact and self:has_account(owner) and self:has_account(contact) then
		for id, group in pairs(self.groups) do
			if group.members[owner] and group.members[contact] then ids[#ids + 1] = id; end
		end
	end
	return ids;
end

function model:is_shared(owner, contact)
	return self:shared(owner, contact)[1] ~= nil;
end

-- Must the list have what this group brings? Not before sync() where a member was added with delay, and not before
-- something is heard of an account.
function model:is_sure(id, owner, contact)
	return self.groups[id].sure[key(owner, contact)] == true;
end

-- Lists of those who are online have at once what groups bring, unless storage waits, and with `everybody` all have it.
function model:reach(everybody)
	if everybody then
		self.leaving = {};
		self:settle_pending(true);
	end
	for _, of_owner in pairs(everybody and self.pairs or {}) do
		for _, pair in pairs(of_owner) do
			pair.coming, pair.fresh, pair.returned, pair.converting = nil, nil, nil, nil;
			pair.fading, pair.earlier, pair.released, pair.lapsed = nil, nil, nil, nil;
		end
	end
	for _, group in pairs(self.groups) do
		for pair in pairs(group.sure) do
			if everybody then
				group.reached[pair] = "stored";
			elseif not self.slow and self:is_online(pair:match("^%a+")) then
				group.reached[pair] = group.reached[pair] or "memory";
			end
		end
	end
end

-- Have both lists what this group brings, or only will they?
function model:has_reached(id, owner, contact)
	local group = self.groups[id];
	local there, back = key(owner, contact), key(contact, owner);
	return group.sure[there] and group.sure[back] and group.reached[there] and group.reached[back];
end

function model:is_surely_shared(owner, contact)
	for _, id in ipairs(self:shared(owner, contact)) do
		if self:is_sure(id, owner, contact) then return true; end
	end
	return false;
end

local function clear(pair)
	for _, field in ipairs { "sub", "ask", "name", "born", "maybe_gone", "vague", "kept_once" } do pair[field] = nil; end
	pair.labels, pair.kept = {}, {};
end
model.clear = clear;

-- Has the owner made something of the contact? "may": that is left open.
local function is_marked(pair, slow)
	if pair.fuzzy then return "may"; end
	if pair.name then return true; end
	local marked = false;
	for _, how in pairs(pair.labels) do
		if how == true then return true; end
		marked = "may";
	end
	return slow and next(pair.kept) and "may" or marked;
end
model.is_marked = is_marked;

-- Another group has begun to bring this contact. Requests between the two are settled as soon as the lists have it.
function model:bring(id, owner, contact)
	local pair = self:pair(owner, contact);
	if self.pending[owner][contact] then self.pending[owner][contact] = "may"; end
	if pair.spared and not pair.off then
		pair.off, pair.loose = "any", true;
	end
	if pair.lapsed then pair.maybe_gone, pair.lapsed = true, nil; end
	for label, from in pairs(pair.kept) do
		if from == id then pair.kept[label] = "may"; end
	end
	-- One list may have lacked the other when it was left behind: Prosody knows of one direction only.
	if pair.vague then pair.unheard, self:pair(contact, owner).unheard = true, true; end
	self:loosen_labels(id, owner, contact);
end

-- The earlier names of a group that brings a contact go, also where another group of such a name has left one behind.
function model:loosen_labels(id, owner, contact)
	local pair = self:pair(owner, contact);
	for name in pairs(self.groups[id].names) do
		if pair.kept[name] then pair.kept[name] = "may"; end
	end
end

-- No group brings this contact any more. `was`: what the last ones were, { [id] = { name =, sure = } }.
function model:part(owner, contact, was)
	local pair = self:pair(owner, contact);
	local sure = false;
	for _, group in pairs(was) do sure = sure or group.sure; end
	if pair.converting then
		pair.vague, pair.kept_once = true, true;
	elseif self.rules.mode == "virtual" then
		-- The own item shows again. Name and groups are kept for when the contact comes back.
		if pair.kept_once then pair.vague = true; end
	elseif self.rules.removes then
		self:fade(pair, was);
		local marked = is_marked(pair, self.slow);
		if pair.kept_once or pair.vague then
			pair.vague = true;
		elseif pair.sub then -- luacheck: ignore 542
			-- It goes back to what it was.
		elseif marked then
			pair.sub, pair.ask, pair.maybe_gone = "none", nil, marked == "may" or nil;
			pair.released, pair.lapsed = self:is_online(owner), not self:is_online(owner) or nil;
		else
			clear(pair);
		end
	elseif pair.off or pair.loose or pair.coming or not sure or self:has_fading_label(pair, was)
		or pair.fading and pair.loose_labels then
		pair.vague, pair.kept_once = true, true;
		for _, group in pairs(was) do
			for name in pairs(group.names) do pair.kept[name] = pair.kept[name] or "may"; end
		end
		self:pair(contact, owner).vague, self:pair(contact, owner).kept_once = true, true;
	else
		pair.born = pair.born or not pair.sub or pair.maybe_gone and "may" or nil;
		pair.sub, pair.ask, pair.maybe_gone, pair.kept_once, pair.fresh = "both", nil, nil, true, true;
		pair.earlier = pair.earlier or {};
		for id, group in pairs(was) do
			for name in pairs(group.names) do pair.earlier[name] = true; end
			-- Where storage waits, the list may not have followed the name yet.
			for name in pairs(self.slow and group.names or {}) do pair.kept[name] = pair.kept[name] or "may"; end
			pair.kept[group.name] = group.sure and not pair.loose_labels and not self.slow and id or "may";
		end
	end
	pair.off, pair.loose, pair.loose_labels, pair.ghosts = nil, nil, nil, nil;
end

function model:fade(pair, was) -- luacheck: ignore 212/self
	pair.fading = pair.fading or {};
	for _, group in pairs(was) do
		for name in pairs(group.names) do pair.fading[name] = true; end
	end
end

-- Has a group that is called like one of these just taken its label back?
function model:has_fading_label(pair, was) -- luacheck: ignore 212/self
	for _, group in pairs(was) do
		if pair.fading and pair.fading[group.name] then return true; end
	end
	return false;
end

-- A group among several has let go of a contact. Whether its label stays where contacts are permanent is left open.
function model:lose_label(owner, contact, was)
	local pair = self:pair(owner, contact);
	if pair.off or pair.loose then
		pair.ghosts = pair.ghosts or {};
		for _, group in pairs(was) do
			for name in pairs(group.names) do pair.ghosts[name] = true; end
		end
	end
	if self.rules.mode ~= "virtual" and self.rules.removes then self:fade(pair, was); end
	if self.rules.mode == "virtual" or self.rules.removes then return; end
	for _, group in pairs(was) do
		-- A list that nobody has looked at since may have another that the group had.
		local is_looked_at = group.sure and not pair.off and not pair.loose;
		for name in pairs(is_looked_at and { [group.name] = true } or group.names) do
			pair.kept[name], pair.kept_once = pair.kept[name] or "may", true;
		end
		pair.earlier = pair.earlier or {};
		for name in pairs(group.names) do pair.earlier[name] = true; end
	end
end

-- Where one of two may have the other before sync() and not the other way round, what they hear of each other is left
-- open for the session.
function model:note_one_sided()
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			if self:is_shared(owner, contact)
			and not (self:is_surely_shared(owner, contact) and self:is_surely_shared(contact, owner)) then
				self.unclear[owner][contact] = true;
			end
		end
	end
end

-- What this group and those that others share bring to all pairs of these users, for `change` to be made.
function model:change_sharing(change)
	local before = {};
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			local groups = {};
			for _, id in ipairs(self:shared(owner, contact)) do
				groups[id] = { name = self.groups[id].name; sure = self:has_reached(id, owner, contact);
					names = self.groups[id].names };
			end
			before[key(owner, contact)] = groups;
		end
	end
	local skipped = change();
	self:note_one_sided();
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			local had, lost, has = before[key(owner, contact)], {}, {};
			for _, id in ipairs(self:shared(owner, contact)) do has[id] = true; end
			for id, group in pairs(had) do
				if not has[id] then lost[id] = group; end
			end
			if next(lost) and owner ~= skipped and contact ~= skipped then
				if next(has) then self:lose_label(owner, contact, lost); else self:part(owner, contact, lost); end
			end
			for id in pairs(has) do
				if not had[id] then self:bring(id, owner, contact); end
			end
		end
	end
end

-- --- groups: each answers what the function of the module is to answer ---------------------------------------------

function model:create(id, name)
	if self.groups[id] then return nil, "conflict"; end
	-- A label that a former group of this id has left behind may count as an earlier name of this one.
	local names = self.names[id] or {};
	names[name], self.names[id] = true, names;
	self.groups[id] = { name = name; names = names; members = {}; sure = {}; reached = {}; waiting = {} };
	return id;
end

function model:rename(id, name)
	local group = self.groups[id];
	if not group then return nil, "group-not-found"; end
	if group.name ~= name then group.reached = {}; end
	group.name, group.names[name] = name, true;
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			-- A list that is not saved yet may have it that a group of this name lets go of the contact.
			local fading = self:pair(owner, contact).fading;
			if fading then fading[name] = true; end
			if fading or group.members[owner] and group.members[contact] then self:loosen_labels(id, owner, contact); end
		end
	end
	return true;
end

function model:delete(id)
	if not self.groups[id] then return nil, "group-not-found"; end
	for name in pairs(self.groups[id].names) do self.leaving[name] = true; end
	self:change_sharing(function () self.groups[id] = nil; end);
	return true;
end

-- Is there an account, and has the server heard of it?
function model:is_known(user)
	return self:has_account(user) and not self.users[user].unheard;
end

-- No list has yet what the group brings to and of this user.
function model:be_unsure(group, user)
	for member in pairs(self.users) do
		group.sure[key(user, member)], group.sure[key(member, user)] = nil, nil;
		group.reached[key(user, member)], group.reached[key(member, user)] = nil, nil;
	end
end

-- Lists must have what the group brings to and of this user, but for members who wait for sync().
function model:be_sure(id, user)
	local group = self.groups[id];
	for member in pairs(group.members) do
		if self:is_known(member) and self:is_known(user) and not group.waiting[member] and not group.waiting[user] then
			group.sure[key(user, member)], group.sure[key(member, user)] = true, true;
		end
	end
end

-- Requests between users whom groups surely bring to each other are settled: with `everybody` in all lists.
function model:settle_pending(everybody)
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			if self.pending[owner][contact] and self:is_surely_shared(owner, contact) then
				self.pending[owner][contact] = not everybody and "may" or nil;
			end
		end
	end
end

function model:add(id, user, delayed)
	local group = self.groups[id];
	if not group then return nil, "group-not-found"; end
	self:change_sharing(function ()
		if not group.members[user] then
			self:be_unsure(group, user);
		end
		group.members[user] = true;
		if delayed then
			group.waiting[user] = true;
		else
			group.waiting[user] = nil;
			self.users[user].unheard = nil;
			self:be_sure(id, user);
		end
	end);
	self:settle_pending();
	return true;
end

function model:remove(id, user)
	local group = self.groups[id];
	if not group then return nil, "group-not-found"; end
	self:change_sharing(function () group.members[user], group.waiting[user] = nil, nil; end);
	for name in pairs(group.names) do self.leaving[name] = true; end
	-- Who was left behind for good in this group before it lets go by the other rule may go or stay.
	for _, contact in ipairs(self.rules.mode == "permanent" and self.rules.removes and self.order or {}) do
		for _, from in pairs(self:pair(user, contact).kept) do
			if from == id then self:pair(user, contact).vague, self:pair(contact, user).vague = true, true; end
		end
	end
	return true;
end

function model:sync(id)
	local group = self.groups[id];
	if not group then return; end
	for member in pairs(group.members) do self.users[member].unheard = nil; end
	group.waiting = {};
	for member in pairs(group.members) do
		self:be_sure(id, member);
	end
	self:settle_pending();
end

-- --- options --------------------------------------------------------------------------------------------------------

-- Options have other values from now on; what has happened stays.
function model:switch(rules)
	local before = self.rules;
	self.rules = {};
	for name, value in pairs(before) do self.rules[name] = value; end
	for name, value in pairs(rules) do self.rules[name] = value; end
	if self.rules.naming ~= "none" then self.named = true; end
	for _, owner in ipairs(self.order) do
		for _, contact in ipairs(self.order) do
			local pair = self:pair(owner, contact);
			-- Names that are given, or were, may come with any look at the list.
			if self.rules.naming ~= before.naming then pair.given_open = true; end
			if self.rules.mode ~= before.mode then self:convert(owner, contact, pair); end
		end
	end
end

-- Contacts are stored from now on, or are not any more.
function model:convert(owner, contact, pair)
	local is_shared = self:is_shared(owner, contact);
	if is_shared and (pair.kept_once or pair.off or pair.loose or not self:is_surely_shared(owner, contact)) then
		pair.vague = true;
	end
	pair.converting = is_shared or nil;
	-- What was changed for the session may be whole again.
	if pair.off then pair.off, pair.loose = "any", true; end
	-- Of names and groups kept for a contact that is away, nothing is said where contacts are stored.
	if not is_shared and not pair.sub and (pair.name or next(pair.labels)) then pair.fuzzy = true; end
end

return model;
