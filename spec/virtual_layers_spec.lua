-- Virtual contacts: what users make of them while groups bring them, and what is left when groups give them up.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function jid(name) return name.."@localhost"; end

-- What may happen between two steps.
local interruptions = {
	{ "nothing"; function () end };
	{ "a reload"; function () world.reload(server); end };
	{ "a restart"; function () server:restart(); end };
};

describe("a virtual contact that its user has named or grouped, "..title, function ()
	setup(function () server = world.new { host_options = { groups_roster_mode = "virtual" } }; end);
	teardown(function () server:destroy(); end);
	after_each(function () world.logout_all(server); end);

	-- What a client makes of the contact, and what the user's own is then, as in `world.contacts`.
	local edits = {
		{ "Bobby"; { "G" }; "Bobby" };
		{ nil; { "G", "Friends" }; ",Friends" };
		{ "Bobby"; { "Friends" }; "Bobby,Friends" };
	};

	-- What storage has of the contact before.
	local below = { false, "none", "to", "from", "both" };

	local ways = {
		{ "loses the contacts"; "for _, contact in ipairs(contacts) do assert(groups.remove_member(id, contact)) end" };
		{ "loses the user"; "assert(groups.remove_member(id, user))" };
		{ "is deleted"; "assert(groups.delete(id))" };
	};

	local come = [[
		local id, user, contacts = ...;
		if not groups.exists(id) then assert(groups.create({ name = "G" }, false, id)); end
		for _, name in ipairs { user, table.unpack(contacts) } do assert(groups.add_member(id, name)); end
		return true]];

	-- A session that outlasts a reload goes on. A second one of the same resource would end it.
	local function be_online(user)
		if not server:eval("return hosts[host].sessions[...] ~= nil", user) then world.login(server, user); end
	end

	local function go(source, id, user, contacts)
		server:eval("local id, user, contacts = ...; "..source.." return true", id, user, contacts);
	end

	for _, interruption in ipairs(interruptions) do
		local what, interrupt = table.unpack(interruption);
		for _, way in ipairs(ways) do
			for _, online in ipairs { false, true } do
				local when = ("with %s after each step, when the group %s and the user is %s"):format(what, way[1],
					online and "online" or "offline");

				it("shows the user's own item again, or goes, and comes back as it was, "..when, function ()
					local user = accounts(1);
					local id, contacts, own, left, brought, all = world.name("group"), {}, {}, {}, {}, {};
					for _, edit in ipairs(edits) do
						local name, groups, layer = table.unpack(edit, 1, 3);
						for _, subscription in ipairs(below) do
							local contact = accounts(1);
							contacts[#contacts + 1] = contact;
							all[contact] = { name, groups };
							if subscription then
								own[jid(contact)] = { subscription = subscription; name = "Own"; groups = { Mine = true } };
								left[contact] = ("%s,,%s"):format(subscription, layer);
							end
							brought[contact] = ("both,,%s,G"):format(layer);
						end
					end
					world.store_roster(server, user, own, { version = 7 });

					-- The list that a client is given, and the one in storage.
					local function is(shown, stored)
						interrupt();
						if online then
							be_online(user);
							local subscriptions = {};
							for contact, item in pairs(shown) do subscriptions[contact] = item:match("^[^,]*"); end
							assert.same(subscriptions, world.in_memory(server, user));
						end
						assert.same(shown, (world.fetch(server, user)));
						assert.same(stored, world.contacts(server, user) or {});
					end

					server:eval(come, id, user, contacts);
					interrupt();
					be_online(user);
					for contact, edit in pairs(all) do
						world.edit(server, user, contact, edit[1], table.unpack(edit[2]));
					end
					if not online then world.logout_all(server); end
					is(brought, left);
					for _ = 1, 2 do
						go(way[2], id, user, contacts);
						is(left, left);
						server:eval(come, id, user, contacts);
						is(brought, left);
					end
				end);

				it("is forgotten when the user takes name and groups back, "..when, function ()
					local user, contact, other = accounts(3);
					world.store_roster(server, user, {
						[jid(other)] = { subscription = "to"; name = "Own"; groups = { Mine = true } };
					});
					local id, contacts = world.name("group"), { contact, other };
					server:eval(come, id, user, contacts);
					for _, edit in ipairs { { "Bobby", "G", "Friends" }, { nil, "G" } } do
						be_online(user);
						for _, name in ipairs(contacts) do world.edit(server, user, name, table.unpack(edit, 1, 3)); end
						if not online then world.logout_all(server); end
						interrupt();
					end
					go(way[2], id, user, contacts);
					interrupt();
					assert.same({ [other] = "to,," }, (world.fetch(server, user)));
					server:eval(come, id, user, contacts);
					interrupt();
					assert.same({ [contact] = world.both("G"); [other] = world.both("G") }, (world.fetch(server, user)));
					assert.is_nil(server:stored("groups_contacts", user));
				end);
			end
		end
	end
end);

describe("a virtual contact that is changed in place, "..title, function ()
	setup(function () server = world.new { host_options = { groups_roster_mode = "virtual" } }; end);
	teardown(function () server:destroy(); end);
	after_each(function () world.logout_all(server); end);

	local g, secret = world.both("G"), world.both("G", "Secret");

	-- How other modules change items, of the list of `user`.
	local write = [[
		local user, jid, how = ...;
		local rm = require "core.rostermanager";
		local roster = rm.load_roster(user, host);
		local item = roster[jid];
		if how == "all of it" then
			-- As mod_groups does when a list is loaded.
			item.subscription = "both";
			item.name = "Agent";
			item.groups = item.groups or {};
			item.persist = false;
		end
		item.groups.Secret = true;
		if how == "saved" then assert(rm.save_roster(user, host, roster, jid)); end
		return true]];

	-- Of the list in memory, as in `world.contacts`.
	local function in_memory(user)
		return server:eval([[
			local contacts = {};
			for jid, item in pairs(require "core.rostermanager".load_roster(..., host)) do
				if jid then
					local groups = {};
					for group in pairs(item.groups) do groups[#groups + 1] = group; end
					table.sort(groups);
					contacts[(jid:gsub("@localhost$", ""))] = table.concat({ item.subscription, item.ask or "", item.name or "",
						table.unpack(groups) }, ",");
				end
			end
			return contacts;]], user);
	end

	for _, online in ipairs { false, true } do
		for _, how in ipairs { "its groups", "all of it", "saved" } do
			local when = ("%s, by writing to %s"):format(online and "all online" or "nobody online",
				how == "saved" and "its groups and saving it" or how);

			it("is labelled for nobody else, who joins later included, "..when, function ()
				local a, b, c, d = accounts(4);
				local id = world.group(server, "G", { a, b, c });
				if online then world.login(server, a, b, c); end
				local members = { a, b, c };
				for _, user in ipairs(members) do assert.same(world.mutual(user, members, "G"), in_memory(user)); end
				world.forget(server);
				server:eval(write, a, jid(b), how);
				local changed = how == "all of it" and "both,,Agent,G,Secret" or secret;
				assert.same({ [b] = changed; [c] = g }, in_memory(a));

				local function are_untouched(...)
					local all = { a, b, c, ... };
					for _, user in ipairs(all) do
						local contacts = world.mutual(user, all, "G");
						if user ~= a then
							assert.same(contacts, in_memory(user));
							assert.same(contacts, (world.fetch(server, user)));
						else
							contacts[b] = nil;
							for contact, item in pairs(contacts) do assert.equal(item, in_memory(a)[contact]); end
						end
					end
				end

				are_untouched();
				call("add_member", id, d);
				if online then
					world.login(server, d);
					for _, user in ipairs { a, b, c } do
						assert.same({ "G" }, world.pushes(server, user)[d].groups);
					end
				end
				are_untouched(d);
				-- Where it was saved, it is the user's from then on.
				local saved = how == "saved";
				assert.same(saved and { [jid(b)] = { groups = { Secret = true } } } or nil, server:stored("groups_contacts", a));
				if saved then assert.equal(secret, in_memory(a)[b]); end
				for _, user in ipairs { a, b, c, d } do assert.same({}, world.contacts(server, user) or {}); end
				server:restart();
				are_untouched(d);
				if saved then assert.equal(secret, (world.fetch(server, a))[b]); end
			end);
		end
	end

	it("is labelled for nobody else in lists that are loaded later, or anew", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		server:eval(write, a, jid(b), "its groups");
		assert.same({ [a] = g; [b] = g }, (world.fetch(server, c)));
		assert.same({ [a] = g; [c] = g }, (world.fetch(server, b)));
		call("remove_member", id, b);
		call("add_member", id, b);
		assert.same({ [a] = g; [b] = g }, (world.fetch(server, c)));
		assert.same({ [a] = g; [c] = g }, (world.fetch(server, b)));
		call("set_info", id, { name = "H" });
		assert.same({ [a] = world.both("H"); [b] = world.both("H") }, (world.fetch(server, c)));
	end);

	it("keeps what mod_roster_command has made of it", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "G", { a, b, c });
		-- As its command `rename` does.
		server:eval([[
			local user, jid = ...;
			local rm = require "core.rostermanager";
			local roster = rm.load_roster(user, host);
			roster[jid].name = "Agent";
			roster[jid].groups = {};
			roster[jid].groups.Secret = true;
			return assert(rm.save_roster(user, host, roster))]], a, jid(b));
		call("remove_member", id, c);
		assert.equal("both,,Agent,G,Secret", (world.fetch(server, a))[b]);
		server:restart();
		assert.equal("both,,Agent,G,Secret", (world.fetch(server, a))[b]);
	end);

	it("is put by its user into a roster group that its group was called once, and stays there", function ()
		local user, contact, other = accounts(3);
		local id = world.group(server, "G", { user, contact });
		local noted = ('{"labels":{"%s":"Earlier"},"notes":{"%s":{"labels":{"Earlier":true}}}}'):format(id, other);
		world.store_roster(server, user, {
			[jid(contact)] = { subscription = "to"; groups = {} };
			[jid(other)] = { subscription = "none"; groups = { Earlier = true } };
		}, { version = 7; groups_internal = noted });
		world.login(server, user);
		world.edit(server, user, contact, nil, "G", "Earlier");
		world.logout(server, user);
		for _ = 1, 2 do
			assert.equal("both,,,Earlier,G", (world.fetch(server, user))[contact]);
			assert.equal("to,,,Earlier", world.contacts(server, user)[contact]);
			server:restart();
		end
	end);
end);
