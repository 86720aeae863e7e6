-- The reference, continued: what a contact list and presence may look like, and how they differ from what they are.

local model = module:require "subscriptions";

-- What a contact may be without groups: an array of alternatives, or nil for anything. An alternative is false for
-- none, or
-- { sub = or "any", ask = true, nil or "may", names = { [name] = true } or "any", unnamed =,
--   labels = { [label] = true or "may" }, fuzzy = }.
function model:own_alternatives(owner, contact)
	local pair = self:pair(owner, contact);
	if pair.vague then return nil; end
	if not pair.sub then return { false }; end
	local labels = {};
	for label, how in pairs(pair.labels) do labels[label] = how; end
	for label, from in pairs(pair.kept) do labels[label] = labels[label] or (from == "may" and "may" or true); end
	local item = { sub = pair.sub; ask = pair.ask; labels = labels; fuzzy = pair.fuzzy; names = {} };
	if pair.name then
		item.names[pair.name] = true;
	else
		item.unnamed = true;
		if self.named then item.names[contact] = true; end -- what was given may stay
	end
	return pair.maybe_gone and { item, false } or { item };
end

local function brought(self, owner, contact, ids)
	local pair = self:pair(owner, contact);
	local labels = {};
	for label, how in pairs(pair.labels) do labels[label] = how; end
	for label, from in pairs(pair.kept) do labels[label] = labels[label] or (from == "may" and "may" or true); end
	for label in pairs(pair.ghosts or {}) do labels[label] = labels[label] or "may"; end
	for _, id in ipairs(ids) do
		local group = self.groups[id];
		if not self:is_sure(id, owner, contact) then
			for name in pairs(group.names) do labels[name] = labels[name] or "may"; end
		elseif pair.loose_labels then
			labels[group.name] = labels[group.name] or "may";
		else
			labels[group.name] = true;
		end
	end
	local item = { sub = "both"; labels = labels; fuzzy = pair.fuzzy; names = {} };
	if pair.name then
		item.names[pair.name] = true;
	else
		local given = self.rules.naming == "username";
		if given or self.named then item.names[contact] = true; end
		item.unnamed = not given or pair.loose_name or pair.given_open or pair.sub ~= nil;
	end
	return item;
end

function model:alternatives(owner, contact)
	local ids = self:shared(owner, contact);
	local own = self:own_alternatives(owner, contact);
	if not ids[1] then return own; end
	local pair, item = self:pair(owner, contact), brought(self, owner, contact, ids);
	local online = self:is_online(owner);
	if pair.off == "gone" then
		-- Not before the next session; and with that it may be there already.
		return online and { false } or { false, item };
	elseif pair.off == "part" then
		local part = brought(self, owner, contact, ids);
		part.sub = pair.off_sub;
		-- Nor are labels looked at in this session.
		for _, id in ipairs(ids) do
			for name in pairs(self.groups[id].names) do part.labels[name] = pair.labels[name] or "may"; end
		end
		-- A reload of the module brings virtual contacts back.
		return online and self.rules.mode ~= "virtual" and { part } or { part, item };
	elseif pair.off == "any" or pair.loose then
		item.sub = "any";
		for _, id in ipairs(ids) do
			for name in pairs(self.groups[id].names) do item.labels[name] = "may"; end
		end
		for label in pairs(item.labels) do item.labels[label] = "may"; end
		item.ask = "may";
		item.unnamed = true;
		return { item, false };
	elseif self:is_surely_shared(owner, contact) then
		return { item };
	elseif not own then
		return nil;
	end
	own[#own + 1] = item;
	return own;
end

local function fits(item, expected)
	if not item or not expected then return not item and not expected; end
	if expected.sub ~= "any" and item.sub ~= expected.sub then return false; end
	if expected.ask ~= "may" and (item.ask and true or nil) ~= (expected.ask or nil) then return false; end
	if not expected.fuzzy then
		if item.name and not expected.names[item.name] or not item.name and not expected.unnamed then return false; end
		for label in pairs(item.groups) do
			if not expected.labels[label] then return false; end
		end
	end
	for label, how in pairs(expected.labels) do
		if how == true and not item.groups[label] and not expected.fuzzy then return false; end
	end
	return true;
end

local function list(set)
	local names = {};
	for name, how in pairs(set) do names[#names + 1] = how == "may" and name.."?" or name; end
	table.sort(names);
	return table.concat(names, "+");
end

-- An item, { sub =, ask =, name =, groups = }, in few words.
local function describe(item)
	if not item then return "nothing"; end
	return ("%s%s %s [%s]"):format(item.sub, item.ask and "(asked)" or "", item.name or "-", list(item.groups));
end
model.describe = describe;

local function describe_expected(item)
	if not item then return "nothing"; end
	local name = list(item.names);
	if item.unnamed then name = name == "" and "-" or name.." or -"; end
	return ("%s%s %s [%s]"):format(item.sub, item.ask and (item.ask == "may" and "(asked?)" or "(asked)") or "",
		item.fuzzy and "any name" or name, item.fuzzy and "any" or list(item.labels));
end

-- Returns nil, or how an item differs from all that it may be.
function model.difference(item, alternatives)
	if not alternatives then return nil; end
	local wanted = {};
	for i, expected in ipairs(alternatives) do
		if fits(item, expected) then return nil; end
		wanted[i] = describe_expected(expected);
	end
	return ("%s instead of %s"):format(describe(item), table.concat(wanted, ", or "));
end

-- May, or must, the owner see the contact? true, false, or nil for either.
local function sees(alternatives, way)
	if not alternatives then return nil; end
	local answer;
	for i, item in ipairs(alternatives) do
		local yes = item and (item.sub == "both" or item.sub == way) or false;
		if item and item.sub == "any" then return nil; end
		if i > 1 and yes ~= answer then return nil; end
		answer = yes;
	end
	return answer;
end

-- Must the owner's client have the contact online? true, false, or nil where that is left open: what a client is told
-- when its user, or the other, takes a contact off or cancels is Prosody's affair, until the next session.
function model:presence(owner, contact)
	if not self:is_online(contact) then
		if self.dirty[owner][contact] or self.unclear[owner][contact] then return nil; end
		return false;
	end
	if self:pair(owner, contact).unheard then return nil; end
	local to = sees(self:alternatives(owner, contact), "to");
	local from = sees(self:alternatives(contact, owner), "from");
	if to and from then return true; end
	if self.dirty[owner][contact] or self.unclear[owner][contact] or to == nil or from == nil then return nil; end
	if not to and not from then return false; end
	return nil;
end

return model;
