-- The reference, continued: accounts that are made and deleted, sessions, and what a killed server leaves.

local model = module:require "model";

local clear, is_marked, key = model.clear, model.is_marked, model.key;

-- With `heard`, the server fires an event for it; otherwise members with this account count from its first session on.
function model:register(user, heard)
	self:change_sharing(function ()
		self.users[user].account, self.users[user].unheard = true, true;
		for _, group in pairs(self.groups) do self:be_unsure(group, user); end
	end);
	if heard then self:appear(user); end
end

-- The account counts: for itself, and for those with whom it shares groups.
function model:appear(user)
	self.users[user].unheard = nil;
	for id, group in pairs(self.groups) do
		if group.members[user] then self:be_sure(id, user); end
	end
	self:settle_pending();
end

-- The account leaves groups, and the lists that it was in through groups only. In others it stays without subscription.
function model:delete_account(user)
	local brought = {};
	for _, owner in ipairs(self.order) do brought[owner] = self:is_shared(owner, user); end
	self:change_sharing(function ()
		self.users[user] = {};
		for _, group in pairs(self.groups) do group.members[user], group.waiting[user] = nil, nil; end
		return user;
	end);
	for _, owner in ipairs(self.order) do
		local pair = self:pair(owner, user);
		local marked = is_marked(pair, self.slow);
		self.pending[owner][user] = nil;
		-- Where it is not known what was left behind, it is not known either that it goes.
		for label in pairs(pair.kept) do pair.kept[label] = pair.vague and "may" or nil; end
		pair.off, pair.loose, pair.loose_labels, pair.kept_once = nil, nil, nil, nil;
		if pair.vague or pair.converting then
			pair.vague, pair.fuzzy = true, pair.fuzzy or pair.converting or marked or nil;
		elseif pair.sub and pair.born ~= true then
			-- A request of an account that is gone is of no account.
			pair.sub, pair.ask = "none", pair.ask and "may" or nil;
			-- Where the item may be gone, what the owner has made of the contact may have been kept apart: it goes then.
			pair.fuzzy = pair.fuzzy or pair.maybe_gone;
			pair.maybe_gone = pair.maybe_gone or pair.born == "may" or nil;
		elseif self.rules.mode ~= "virtual" and marked and (brought[owner] or pair.sub) or pair.sub and marked then
			pair.sub, pair.ask, pair.maybe_gone = "none", nil, marked == "may" or nil;
			pair.released, pair.lapsed = self:is_online(owner), not self:is_online(owner) or nil;
		else
			clear(pair);
		end
		pair.born = nil;
		self.pairs[user][owner] = { labels = {}; kept = {} };
		self.dirty[user][owner] = nil;
	end
	self.pending[user] = {};
end

-- A session begins: the list is complete in it, and what was taken off is there again, for the other, too.
function model:login(user, device)
	self.users[user].online = device;
	for _, contact in ipairs(self.order) do
		local pair, other = self:pair(user, contact), self:pair(contact, user);
		pair.unheard, other.unheard = nil, nil;
		if (pair.off or pair.spared) and other.loose and not pair.forgotten then other.loose, other.coming = nil, true; end
		pair.forgotten = nil;
		pair.returned = pair.off or pair.spared or pair.loose;
		pair.off, pair.off_sub, pair.spared, pair.loose, pair.ghosts = nil, nil, nil, nil, nil;
		pair.loose_labels, pair.loose_name = nil, nil;
		self.dirty[user][contact], self.unclear[user][contact] = nil, nil;
	end
	if self.users[user].unheard then self:appear(user); end
	for _, group in pairs(self.groups) do
		for member in pairs(group.members) do
			if group.members[user] and self:is_known(member) then group.sure[key(user, member)] = true; end
		end
	end
	self:settle_pending();
	self:note_one_sided();
	for _, contact in ipairs(self.order) do
		-- Prosody asks once more for what was asked for.
		if self:pair(user, contact).ask and not self:is_shared(user, contact) and self:has_account(contact) then
			self.pending[contact][user] = self.pending[contact][user] or self:pair(user, contact).ask;
		end
	end
end

function model:logout(user)
	self.users[user].online = nil;
end

-- The server dies, and comes back.
function model:die()
	for _, user in ipairs(self.order) do self:logout(user); end
	for _, group in pairs(self.groups) do
		for pair, where in pairs(group.reached) do
			if where == "memory" then group.reached[pair] = nil; end
		end
	end
	for owner, of_owner in pairs(self.pairs) do
		for contact, pair in pairs(of_owner) do
			if pair.released then
				pair.released, pair.lapsed = nil, true;
				if self:is_shared(owner, contact) then pair.maybe_gone, pair.lapsed = true, nil; end
			end
			if pair.fresh then
				pair.vague = true;
				for label in pairs(pair.kept) do pair.kept[label] = "may"; end
			end
			-- Who was in a group of that name at the same time is not known any more.
			for label in pairs(pair.kept) do
				if self.leaving[label] then pair.vague = true; end
			end
			for label in pairs(pair.earlier or {}) do pair.kept[label] = pair.kept[label] or "may"; end
			pair.earlier = nil;
			-- It was taken off and made anew: nothing tells any more that the other's list lacks its user.
			if pair.spared and pair.sub then pair.forgotten = true; end
			-- It is back with the next session, whether or not it was stored in this one.
			if pair.returned then pair.loose, pair.returned = true, nil; end
		end
	end
end

return model;
