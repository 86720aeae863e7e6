-- The reference, continued: what users make of their contacts themselves, in their lists and with requests for
-- subscription. Where no group brings the contact, this is RFC 6121, as every server does it.

local model = module:require "accounts";

local gains = { to = { none = "to"; from = "both" }; from = { none = "from"; to = "both" } };
local losses = { to = { to = "none"; both = "from" }; from = { from = "none"; both = "to" } };

local function gain(pair, way)
	pair.sub = gains[way][pair.sub] or pair.sub;
end

local function lose(pair, way)
	pair.sub = losses[way][pair.sub] or pair.sub;
end

-- The user has an item of the contact from now on.
local function make_own(self, pair)
	if pair.sub and not pair.maybe_gone then return; end
	-- What was kept for a virtual contact, and what is now there, may be either.
	if self.rules.mode == "virtual" and (pair.name or next(pair.labels)) then pair.fuzzy = true; end
	pair.sub, pair.born, pair.maybe_gone = pair.sub or "none", nil, nil;
end

-- A client sends an item, as it is shown with something changed. `shown`: the item that it has now, or nil.
function model:edit(owner, contact, change, shown)
	local pair = self:pair(owner, contact);
	if not shown then
		-- Whatever it may have been: there is none, and the item is new.
		if pair.vague then
			pair.sub = nil;
			-- What was kept of a virtual contact may come back with it.
			if pair.name or next(pair.labels) then pair.fuzzy = true; end
		end
		local was_own = pair.sub and not pair.maybe_gone;
		make_own(self, pair);
		if not pair.fuzzy then pair.name, pair.labels, pair.kept = nil, {}, {}; end
		pair.ask, pair.vague, pair.kept_once = nil, nil, nil;
		if self:is_shared(owner, contact) then
			pair.off, pair.loose, pair.spared = "any", true, true;
			-- Where storage waits, groups may have brought it before the edit came, and the client heard of it later.
			if self.slow and not was_own then pair.maybe_gone, pair.fuzzy = true, true; end
		end
	end
	-- It was being taken from the client that changed it, and may have been made anew by that.
	if shown and self.slow and not pair.sub and not self:is_shared(owner, contact) then
		pair.sub, pair.maybe_gone, pair.fuzzy = "none", true, true;
	end
	-- Where storage waits, a label that was being changed may have been sent back as it was, and count as the user's.
	if shown and self.slow then
		for _, id in ipairs(self:shared(owner, contact)) do
			for name in pairs(self.groups[id].names) do pair.kept[name] = pair.kept[name] or "may"; end
		end
	end
	-- What is virtual is made anew with an edit, and may be whole then.
	if self.rules.mode == "virtual" and pair.off == "part" then pair.off, pair.loose = "any", true; end
	if change.name then
		pair.name = change.name;
	elseif change.unname then
		pair.name, pair.loose_name = nil, true;
	elseif change.label and not (shown and shown.groups[change.label]) then
		pair.labels[change.label] = true;
	elseif change.unlabel then
		pair.labels[change.unlabel], pair.kept[change.unlabel] = nil, nil;
		if self:is_shared(owner, contact) then pair.loose_labels = true; end
	end
end

local function turn_vague(pair, other)
	if pair.vague or other.vague then pair.vague, other.vague = true, true; end
end

-- The other has ended something in a group's despite: what the contact's list has of it then is left open.
local function loosen(self, contact, pair)
	pair.loose = true;
	if pair.off == "gone" and not self:is_online(contact) then pair.off = "any"; end
end

-- The owner has ended one direction of what groups bring. What is still being brought may lack the other, too.
local function cut_down(self, pair, sub)
	pair.off, pair.off_sub = (pair.coming or self.slow) and "any" or "part", sub;
end

-- The owner takes the contact off the list.
function model:take_off(owner, contact)
	local pair, other = self:pair(owner, contact), self:pair(contact, owner);
	self.dirty[owner][contact], self.dirty[contact][owner] = true, true;
	if pair.vague then other.vague = true; end
	pair.spared = pair.spared or self:is_shared(owner, contact) or nil;
	if self:is_shared(owner, contact) then
		if other.sub then other.sub = "none"; end
		other.ask = other.ask and "may";
		loosen(self, contact, other);
		-- One that groups have still to bring was the owner's own, and they bring it.
		pair.off = self:is_surely_shared(owner, contact) and "gone" or "any";
		pair.loose = nil;
		if other.off == "part" then other.off = "any"; end
	else
		local hears = pair.sub == "both" or pair.sub == "from" or self.pending[owner][contact];
		if hears then
			lose(other, "to");
			other.ask = hears == "may" and other.ask and "may" or nil;
		end
		if pair.sub == "both" or pair.sub == "to" or pair.ask then
			self.pending[contact][owner] = nil;
			lose(other, "from");
		end
	end
	local fuzzy = pair.fuzzy;
	model.clear(pair);
	pair.fuzzy = fuzzy;
end

function model:has_seen(owner, contact)
	local pair = self:pair(owner, contact);
	return pair.sub == "both" or pair.sub == "from";
end

-- Asked by a client, or once more by the server when the session begins.
function model:request(owner, contact)
	local pair, other = self:pair(owner, contact), self:pair(contact, owner);
	if self:is_shared(owner, contact) then
		-- Where storage waits, the list may have lacked the contact.
		if self.slow then pair.vague, other.vague = true, true; end
		return;
	end
	turn_vague(pair, other);
	make_own(self, pair);
	if pair.sub == "none" or pair.sub == "from" then pair.ask = true; end
	if self:has_seen(contact, owner) then
		if pair.ask then gain(pair, "to"); end
		pair.ask = nil;
	else
		self.pending[contact][owner] = true;
		-- The former account of that name may still be on its way out of the list.
		if pair.ask and self.users[contact].unheard then pair.ask = "may"; end
	end
end

-- The contact says yes to the owner.
function model:approve(contact, owner)
	local pair, other = self:pair(owner, contact), self:pair(contact, owner);
	if self:is_shared(owner, contact) then return; end
	turn_vague(pair, other);
	make_own(self, other);
	self.pending[contact][owner] = nil;
	gain(other, "from");
	if pair.ask then gain(pair, "to"); end
	pair.ask = nil;
	-- What groups have left behind, and the users have made their own, may go with an account all the same.
	for _, one in ipairs { pair, other } do one.born = one.born and next(one.kept) and "may" or nil; end
end

-- The owner wants to see the contact no more.
function model:unsubscribe(owner, contact)
	local pair, other = self:pair(owner, contact), self:pair(contact, owner);
	self.dirty[owner][contact], self.dirty[contact][owner] = true, true;
	turn_vague(pair, other);
	pair.spared = pair.spared or self:is_shared(owner, contact) or nil;
	lose(pair, "to");
	lose(other, "from");
	if self:is_shared(owner, contact) then
		loosen(self, contact, other);
		cut_down(self, pair, "from");
		pair.ask = pair.ask and "may";
	else
		pair.ask, self.pending[contact][owner] = nil, nil;
	end
end

-- The owner is to be seen by the contact no more, or says no to it.
function model:cancel(owner, contact)
	local pair, other = self:pair(owner, contact), self:pair(contact, owner);
	self.dirty[owner][contact], self.dirty[contact][owner] = true, true;
	turn_vague(pair, other);
	pair.spared = pair.spared or self:is_shared(owner, contact) or nil;
	local had_any = self:has_seen(owner, contact) or self.pending[owner][contact];
	lose(pair, "from");
	lose(other, "to");
	if self:is_shared(owner, contact) then
		other.ask = other.ask and "may";
		loosen(self, contact, other);
		cut_down(self, pair, "to");
	else
		self.pending[owner][contact] = nil;
		if had_any then other.ask = had_any == "may" and other.ask and "may" or nil; end
	end
end

return model;
