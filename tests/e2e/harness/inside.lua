-- Helpers inside Prosody, for the Lua that a test sends: stored rosters as plain data, and what is missing in them.
local inside = {}; -- luacheck: ignore 241

function inside.flat(roster)
	local flat = { items = {}; pending = {}; version = nil };
	for jid, item in pairs(roster or {}) do
		if jid then
			local labels = {};
			for label in pairs(item.groups or {}) do labels[#labels+1] = label; end
			flat.items[jid] = { subscription = item.subscription; ask = item.ask; name = item.name; groups = labels };
		else
			flat.version = tostring(item.version);
			for pending in pairs(item.pending or {}) do flat.pending[#flat.pending+1] = pending; end
		end
	end
	return flat;
end

function inside.stored(user)
	return inside.flat(module:open_store("roster"):get(user));
end

-- The roster in memory of an online user; nil when the user is offline.
function inside.live(user)
	local bare = prosody.bare_sessions[user.."@"..module.host];
	return bare and inside.flat(bare.roster);
end

-- Says what a stored roster lacks: it is complete with every contact as `both`, with all labels, and nothing pending.
function inside.lack(user, contacts, labels)
	local roster = module:open_store("roster"):get(user) or { [false] = {} };
	local pending = (roster[false] or {}).pending or {};
	for _, contact in ipairs(contacts) do
		if contact ~= user then
			local jid = contact.."@"..module.host;
			local item = roster[jid];
			if not item then return "no item "..jid; end
			if item.subscription ~= "both" then return jid.." is "..tostring(item.subscription); end
			if item.ask then return jid.." is still asked"; end
			if pending[jid] then return jid.." is still pending"; end
			for _, label in ipairs(labels) do
				if not item.groups[label] then return jid.." lacks the label "..label; end
			end
		end
	end
	if roster[user.."@"..module.host] then return "has itself as a contact"; end
	return nil;
end

-- Finds the first `limit` of these users whose stored rosters lack something: user -> what.
function inside.lacking(users, contacts, labels, limit)
	local lacking, found = {}, 0;
	for _, user in ipairs(users) do
		local lack = inside.lack(user, contacts, labels);
		if lack then
			lacking[user] = lack;
			found = found + 1;
			if found >= limit then break; end
		end
	end
	return lacking;
end
