-- A world: a few users and groups of their own, beside many others in the same server, with the reference for them.
-- What happens in it is done for real, then told to the reference.

local usermanager = require "core.usermanager";
local rostermanager = require "core.rostermanager";
local storagemanager = require "core.storagemanager";
local async = require "util.async";
local timer = require "util.timer";

local model = module:require "expectations";
local clients = module:require "clients";
local operations = module:require "operations";
local random = module:require "random";

local host = module.host;

local worlds = { operations = operations };
local mt = { __index = worlds };

-- Of a world that was stored: it has no clients any more.
function worlds.wake(world)
	world.clients = {};
	model.wake(world.model);
	return setmetatable(world, mt);
end

function worlds.new(seed, number, rules)
	return worlds.wake {
		number = number;
		chance = random.new(seed, number);
		model = model.new(operations.users, rules, prosody.spec_waiting ~= nil);
		devices = {};
		history = {};
		done = {};
		skipped = 0;
		changed = 0;
	};
end

function worlds:username(user) return user.."-"..self.number; end
function worlds:jid(user) return self:username(user).."@"..host; end
function worlds:group_id(id) return id.."-"..self.number; end

function worlds:device(user, n)
	local of_user = self.devices[user] or {};
	self.devices[user] = of_user;
	of_user[n] = of_user[n] or { items = {} };
	return of_user[n];
end

-- Of a contact's JID, or username, who it is in this world.
function worlds:who(name)
	local user, number = name:match("^(%a+)%-(%d+)");
	return tonumber(number) == self.number and user or nil;
end

-- What went wrong in the midst of a history. The world ends with it.
local function fail(text, ...)
	error({ difference = text:format(...) }, 0);
end

local function expect(what, wanted, wanted_err, got, err)
	if (wanted or false) ~= (got or false) or wanted_err ~= err then
		fail("%s answers %s, %s instead of %s, %s", what, tostring(got), tostring(err), tostring(wanted),
			tostring(wanted_err));
	end
end

local function groups()
	return prosody.hosts[host].modules.groups_internal;
end

local perform = {};

local function make_account(self, user)
	assert(usermanager.create_user(self:username(user), "secret", host));
end

function perform.register(self, user)
	make_account(self, user);
	self.model:register(user, false);
end

function perform.enrol(self, user)
	make_account(self, user);
	module:fire_event("user-registered", { username = self:username(user); host = host; source = "mod_spec_soak" });
	self.model:register(user, true);
end

function perform.unregister(self, user)
	local client = self.clients[user];
	assert(usermanager.delete_user(self:username(user), host));
	if client then clients.logout(client); end
	self.clients[user], self.devices[user] = nil, nil;
	self.model:delete_account(user);
end

-- The device must have what Prosody has, whether it was sent, or has the same version. Where storage waits, it may be
-- sent a moment later.
local function compare_first(self, user, client)
	local difference;
	for i = 1, self.model.slow and 21 or 1 do
		if i > 1 then perform.pause(self, 50); end
		difference = self:compare_items(client.device.items, clients.look_all(client.session.roster));
		if not difference then return; end
	end
	fail("%s logs in with version %s, is given a %s answer, and then has %s", user, tostring(client.device.ver),
		client.answer, difference);
end

function perform.login(self, user, n)
	local client = clients.login(self:username(user), self:device(user, n), "device"..n);
	self.clients[user] = client;
	compare_first(self, user, client);
	clients.appear(client);
	self.model:login(user, n);
end

function perform.logout(self, user)
	self.changed = self.changed + self.clients[user].pushes;
	clients.logout(self.clients[user]);
	self.clients[user] = nil;
	self.model:logout(user);
end

function perform.evict(self, user)
	local cache = prosody.hosts[host].roster_cache;
	if cache then cache:set(self:jid(user), nil); end
end

function perform.load(self, user)
	rostermanager.load_roster(self:username(user), host);
end

-- Does a client still have something else of a contact than groups make of it? That reaches those who are online at
-- once: within a second, for a user is no faster, and a busy server may be at other work first.
local function is_behind(self, user, contact)
	local client, jid = self.clients[user], self:jid(contact);
	local is_known = client and (self.model.slow or not self.model:pair(user, contact).coming);
	local difference;
	for i = 1, is_known and 21 or 0 do
		if i > 1 then perform.pause(self, 50); end
		difference = self:difference(user, contact, client.device.items[jid]);
		if not difference then break; end
	end
	return difference;
end

-- Where storage waits, users may be shown what is no more. They act on what they are shown, and so do those to whom
-- it happens.
local acts = { name = true; unname = true; label = true; unlabel = true; take_off = true; request = true;
	approve = true; befriend = true; unsubscribe = true; cancel = true };

local function is_early(self, kind, user, contact)
	return self.model.slow and acts[kind] and (is_behind(self, user, contact) or is_behind(self, contact, user));
end

local function edit(self, user, contact, change)
	local client, jid = self.clients[user], self:jid(contact);
	local difference = not self.model.slow and is_behind(self, user, contact);
	if difference then fail("before %s changes %s, its client has %s, for a second", user, contact, difference); end
	local shown = client.device.items[jid];
	local ok, err = clients.edit(client, jid, change);
	if not ok then fail("%s may not change %s: %s", user, contact, err); end
	self.model:edit(user, contact, change, shown);
end

function perform.name(self, user, contact, name) edit(self, user, contact, { name = name }); end
function perform.label(self, user, contact, label) edit(self, user, contact, { label = label }); end

-- Only of what the client shows.
function perform.unname(self, user, contact)
	local shown = self.clients[user].device.items[self:jid(contact)];
	if not shown or not shown.name then return "skipped"; end
	edit(self, user, contact, { unname = true });
end

function perform.unlabel(self, user, contact, label)
	local shown = self.clients[user].device.items[self:jid(contact)];
	if not shown or not shown.groups[label] then return "skipped"; end
	edit(self, user, contact, { unlabel = label });
end

function perform.take_off(self, user, contact)
	local client, jid = self.clients[user], self:jid(contact);
	if not client.device.items[jid] then return "skipped"; end
	local ok, err = clients.take_off(client, jid);
	if not ok then
		-- A group has just let go of it, and the client is about to hear of that.
		for _ = 1, 20 do
			if not client.device.items[jid] then return "skipped"; end
			perform.pause(self, 50);
		end
		fail("%s may not take %s off: %s", user, contact, err);
	end
	self.model:take_off(user, contact);
end

local function present(self, kind, user, contact)
	clients.present(self.clients[user], kind, self:jid(contact));
end

function perform.request(self, user, contact)
	present(self, "subscribe", user, contact);
	self.model:request(user, contact);
end

function perform.approve(self, user, contact)
	present(self, "subscribed", user, contact);
	self.model:approve(user, contact);
end

function perform.befriend(self, user, contact)
	for _, pair in ipairs { { user, contact }, { contact, user } } do
		local one, other = table.unpack(pair);
		perform.request(self, one, other);
		if self.model.pending[other][one] == true and self.model:pair(one, other).ask == true then
			perform.approve(self, other, one);
		end
	end
end

function perform.unsubscribe(self, user, contact)
	present(self, "unsubscribe", user, contact);
	self.model:unsubscribe(user, contact);
end

function perform.cancel(self, user, contact)
	present(self, "unsubscribed", user, contact);
	self.model:cancel(user, contact);
end

function perform.create(self, id, title)
	local full = self:group_id(id);
	local wanted, wanted_err = self.model:create(id, title);
	expect("create", wanted and full, wanted_err, groups().create({ name = title }, false, full));
end

function perform.rename(self, id, title)
	local got, err = groups().set_info(self:group_id(id), { name = title });
	local wanted, wanted_err = self.model:rename(id, title);
	expect("set_info", wanted, wanted_err, got, err);
end

function perform.delete(self, id)
	local got, err = groups().delete(self:group_id(id));
	local wanted, wanted_err = self.model:delete(id);
	expect("delete", wanted, wanted_err, got, err);
end

local function add(self, id, user, delayed)
	local got, err = groups().add_member(self:group_id(id), self:username(user), delayed);
	local wanted, wanted_err = self.model:add(id, user, delayed);
	expect("add_member", wanted, wanted_err, got, err);
end

function perform.add(self, id, user) add(self, id, user, nil); end
function perform.add_delayed(self, id, user) add(self, id, user, true); end

function perform.remove(self, id, user)
	local got, err = groups().remove_member(self:group_id(id), self:username(user));
	local wanted, wanted_err = self.model:remove(id, user);
	expect("remove_member", wanted, wanted_err, got, err);
end

function perform.sync(self, id)
	groups().sync(self:group_id(id));
	self.model:sync(id);
end

function perform.pause(_, milliseconds)
	local wait, done = async.waiter();
	timer.add_task(milliseconds / 1000, function () done(); end);
	wait();
end

-- What has happened to the whole server: all that it is in a world.
function worlds:note(op)
	local kind = op[1];
	self.history[#self.history + 1] = op;
	if kind == "check" then
		self.model:reach(true);
	elseif kind == "switch" then
		self.model:switch(op[2]);
	elseif kind == "kill" or kind == "restart" then
		self.clients = {};
		self.model:die();
	end
end

-- Ends the world: later ones find its groups and accounts no more, nor the work that these would make.
function worlds:leave()
	for _, user in ipairs(operations.users) do
		if self.clients[user] then perform.logout(self, user); end
		if self.model:has_account(user) then usermanager.delete_user(self:username(user), host); end
	end
	for _, id in ipairs(operations.groups) do groups().delete(self:group_id(id)); end
end

-- Does one operation, if it is possible. Returns whether something was done.
function worlds:play(op)
	if not operations.is_possible(self.model, op) then
		self.skipped = self.skipped + 1;
		return false;
	end
	local n = #self.history + 1;
	self.history[n] = op;
	if is_early(self, table.unpack(op, 1, 3)) or perform[op[1]](self, table.unpack(op, 2)) == "skipped" then
		table.remove(self.history, n);
		self.skipped = self.skipped + 1;
		return false;
	end
	self.model:reach(false);
	self.done[op[1]] = (self.done[op[1]] or 0) + 1;
	return true;
end

-- --- comparing ------------------------------------------------------------------------------------------------------

-- Returns nil, or how the first list differs from the second, both by JID.
function worlds:compare_items(items, others)
	for jid, item in pairs(items) do
		if not others[jid] or not clients.is_same(item, others[jid]) then
			return ("%s as %s, where Prosody has %s"):format(self:who(jid) or jid, model.describe(item),
				model.describe(others[jid]));
		end
	end
	for jid, item in pairs(others) do
		if not items[jid] then return ("no %s, where Prosody has %s"):format(self:who(jid) or jid, model.describe(item)); end
	end
end

-- The list that Prosody has in memory without reading storage, or nil.
local function in_memory(username)
	local user = prosody.hosts[host].sessions[username];
	local cache = prosody.hosts[host].roster_cache;
	return user and user.roster or cache and cache:get(username.."@"..host);
end

-- Returns nil, or how an item differs from all that the contact may be; without alternatives, as it is to be shown now.
function worlds:difference(owner, contact, item, alternatives)
	if item and item.name == self:username(contact) then
		item = { sub = item.sub; ask = item.ask; name = contact; groups = item.groups };
	end
	return model.difference(item or false, alternatives or self.model:alternatives(owner, contact));
end

local function compare_list(self, found, where, owner, items, alternatives)
	for jid, item in pairs(items) do
		if not self:who(jid) then
			found[#found + 1] = ("%s of %s has %s: %s"):format(where, owner, jid, model.describe(item));
		end
	end
	for _, contact in ipairs(operations.users) do
		local allowed;
		if contact == owner then allowed = { false }; else allowed = alternatives(contact); end
		local difference = allowed and self:difference(owner, contact, items[self:jid(contact)], allowed);
		if difference then found[#found + 1] = ("%s of %s has %s as %s"):format(where, owner, contact, difference); end
	end
end

-- Not where storage waits: mod_presence sends one stanza to one contact after the other, going through the list, and
-- each may wait; meanwhile somebody else changes the list, or sends the same stanza.
local function compare_presence(self, found, user, client)
	if prosody.spec_waiting then return; end
	for _, contact in ipairs(operations.users) do
		if contact ~= user then
			local wanted, got = self.model:presence(user, contact), client.presence[self:jid(contact)];
			if wanted ~= nil and wanted ~= (got == "available") then
				found[#found + 1] = ("%s sees %s %s, instead of %s"):format(user, contact, got or "not at all",
					wanted and "available" or "offline");
			end
		end
	end
	for jid in pairs(client.presence) do
		if not self:who(jid) then found[#found + 1] = ("%s hears of %s"):format(user, jid); end
	end
end

local function compare_user(self, found, user)
	local username, client = self:username(user), self.clients[user];
	local stored = clients.look_all(storagemanager.open(host, "roster", "keyval"):get(username));
	if not self.model:has_account(user) then
		if next(stored) then found[#found + 1] = ("%s has no account, and a contact list in storage"):format(user); end
		return;
	end
	local function alternatives(contact) return self.model:alternatives(user, contact); end
	local function own(contact) return self.model:own_alternatives(user, contact); end
	local is_virtual = self.model.rules.mode == "virtual";
	compare_list(self, found, "storage", user, stored, is_virtual and own or alternatives);
	local roster = in_memory(username);
	local memory = roster and clients.look_all(roster);
	if memory then
		compare_list(self, found, "memory", user, memory, alternatives);
		local difference = not is_virtual and self:compare_items(stored, memory);
		if difference then found[#found + 1] = ("storage of %s has %s in memory"):format(user, difference); end
	end
	if client then
		local difference = self:compare_items(client.device.items, memory or {});
		if difference then found[#found + 1] = ("the client of %s has %s"):format(user, difference); end
		compare_presence(self, found, user, client);
	end
end

local function compare_groups(self, found)
	local of_user = {};
	for _, id in ipairs(operations.groups) do
		local full, group = self:group_id(id), self.model.groups[id];
		if groups().exists(full) ~= (group ~= nil) then
			found[#found + 1] = ("group %s %s"):format(id, group and "is not there" or "is there");
		end
		local members = groups().get_members(full);
		for _, user in ipairs(operations.users) do
			local wanted, got = group and group.members[user] or false, members[self:username(user)] ~= nil;
			if wanted ~= got then
				found[#found + 1] = ("%s is %s of group %s"):format(user, got and "a member" or "no member", id);
			end
			of_user[user] = (of_user[user] or 0) + (wanted and 1 or 0);
		end
		local info = groups().get_info(full);
		if group and info and info.name ~= group.name then
			found[#found + 1] = ("group %s is named %s"):format(id, info.name);
		end
	end
	for _, user in ipairs(operations.users) do
		local ids = groups().get_user_groups(self:username(user));
		if #ids ~= of_user[user] then
			found[#found + 1] = ("%s is in %d groups, not in %d"):format(user, #ids, of_user[user]);
		end
	end
end

-- Returns all differences between what is and the reference, as sentences.
function worlds:compare()
	local found = {};
	compare_groups(self, found);
	for _, user in ipairs(operations.users) do
		compare_user(self, found, user);
	end
	return found;
end

return worlds;
