-- What specs of mod_groups_internal have in common: conditions to wait for, and looks at state.

local json = require "dkjson";

local harness = require "spec.support.harness";

local world = {};

world.wait_until = harness.wait_until;

-- A server with the module, clients and a chat host, started. Settings as for harness.new.
function world.new(settings)
	settings = settings or {};
	local modules = { "spec_clients", table.unpack(settings.modules or { "groups_internal" }) };
	settings.modules = modules;
	local server = harness.new(settings);
	if settings.accounts then
		-- Made by a server without the module, so that it finds them there.
		settings.modules = {};
		server:start();
		server:create_user(table.unpack(settings.accounts));
		server:stop();
		settings.modules = modules;
	end
	return server:start();
end

-- The record of open work, as it is in storage.
function world.marker(server)
	return server:stored("groups_internal");
end

local open_work = [[
	local marker = require "core.storagemanager".open(host, "groups_internal", "keyval"):get(nil);
	return marker and not (marker.everything or marker.unsettled or marker.withdrawals or marker.partings
		or marker.rooms) and true or false;]];

-- Waits until all work on contact lists and rooms is in storage, and the record of it says so.
function world.settle(server, timeout)
	return server:wait_for(open_work, "all contact lists are settled", timeout or 10);
end

-- Is all work in storage at this moment?
function world.is_settled(server)
	return server:eval(open_work);
end

-- The stored contact list of a user as { [username or JID] = "subscription,ask,name,group,group" }, or nil.
function world.contacts(server, username)
	return server:eval([[
		local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(...);
		if not roster then return nil; end
		local contacts = {};
		for jid, item in pairs(roster) do
			if jid and jid ~= "pending" then
				local groups = {};
				for group in pairs(item.groups or {}) do groups[#groups + 1] = group; end
				table.sort(groups);
				contacts[(jid:gsub("@localhost$", ""))] = table.concat({ item.subscription, item.ask or "", item.name or "",
					table.unpack(groups) }, ",");
			end
		end
		return contacts;]], username);
end

-- What `contacts` says of a contact that one group has brought.
function world.both(...)
	return table.concat({ "both", "", "", ... }, ",");
end

-- What a full contact list looks like: every other member, with these labels.
function world.mutual(username, members, ...)
	local contacts = {};
	for _, member in ipairs(members) do
		if member ~= username then
			contacts[member] = world.both(...);
		end
	end
	return contacts;
end

-- The part of a stored roster that is about the list itself.
function world.metadata(server, username)
	return server:eval([[
		local roster = require "core.storagemanager".open(host, "roster", "keyval"):get(...);
		return roster and roster[false];]], username);
end

-- Writes a roster behind everybody's back. `metadata` is kept under the key false.
function world.store_roster(server, username, items, metadata)
	return server:eval([[
		local username, items, metadata = ...;
		items[false] = metadata or {};
		return assert(require "core.storagemanager".open(host, "roster", "keyval"):set(username, items));]],
		username, items, metadata);
end

-- What is stored beside a user's roster of where its contacts come from, or nil.
function world.provenance(server, username)
	local metadata = world.metadata(server, username);
	return metadata and metadata.groups_internal and json.decode(metadata.groups_internal);
end

-- The contact list in memory without a load: of a session, or a cached one; as `contacts`.
function world.in_memory(server, username)
	return server:eval([[
		local username = ...;
		local user = hosts[host].sessions[username];
		local cache = hosts[host].roster_cache;
		local roster = user and user.roster or cache and cache:get(username.."@"..host);
		if not roster then return nil; end
		local contacts = {};
		for jid, item in pairs(roster) do
			if jid then contacts[(jid:gsub("@localhost$", ""))] = item.subscription; end
		end
		return contacts;]], username);
end

-- The members of a group, in the order of their names.
function world.members(server, id)
	local names = {};
	for name in pairs(server:call("get_members", id)) do names[#names + 1] = name; end
	table.sort(names);
	return names;
end

-- A name that no other spec on the same server uses.
local count = 0;
function world.name(prefix)
	count = count + 1;
	return ("%s%d"):format(prefix or "user", count);
end

function world.names(n, prefix)
	local names = {};
	for i = 1, n do names[i] = world.name(prefix); end
	return names;
end

function world.login(server, ...)
	for _, username in ipairs { ... } do
		server:eval("prosody.spec_clients.login(...) return true", username);
	end
end

function world.logout(server, ...)
	for _, username in ipairs { ... } do
		server:eval("prosody.spec_clients.logout(prosody.spec_clients.session(...)) return true", username);
	end
end

function world.forget(server)
	server:eval("prosody.spec_clients.forget() return true");
end

-- Contact list pushes that a user's client has received, by username or JID.
function world.pushes(server, username)
	local pushes = {};
	for _, item in ipairs(server:eval("return prosody.spec_clients.pushes(...)", username)) do
		local name = item.jid:gsub("@localhost$", "");
		assert(not pushes[name], name.." was pushed twice");
		pushes[name] = item;
	end
	return pushes;
end

-- What a user's client sends to change its contact list: the item of a contact with this name (or nil) and these
-- groups.
function world.edit(server, username, contact, name, ...)
	server:eval([[
		local st, username, contact, name = require "util.stanza", ...;
		local set = st.iq({ type = "set", id = "edit" }):tag("query", { xmlns = "jabber:iq:roster" })
			:tag("item", { xmlns = "jabber:iq:roster", jid = contact, name = name });
		for i = 4, select("#", ...) do set:text_tag("group", (select(i, ...)), { xmlns = "jabber:iq:roster" }); end
		local session = prosody.spec_clients.session(username);
		local n = #session.received;
		prosody.spec_clients.send(session, set);
		for i = n + 1, #session.received do
			assert(session.received[i].attr.type ~= "error", tostring(session.received[i]));
		end
		return true]], username, contact.."@localhost", name, ...);
end

-- A user's client takes a contact off its list.
function world.take_off(server, username, contact)
	server:eval([[
		local st, username, contact = require "util.stanza", ...;
		prosody.spec_clients.send(prosody.spec_clients.session(username), st.iq({ type = "set", id = "remove" })
			:tag("query", { xmlns = "jabber:iq:roster" })
			:tag("item", { xmlns = "jabber:iq:roster", jid = contact, subscription = "remove" }));
		return true]], username, contact.."@localhost");
end

-- Presence that a user's client has received, in order: { "username or JID:type", … }
function world.presences(server, username)
	local seen = {};
	for _, presence in ipairs(server:eval("return prosody.spec_clients.presences(...)", username)) do
		seen[#seen + 1] = presence.from:gsub("@localhost$", "")..":"..presence.type;
	end
	return seen;
end

-- Gives options of the host other values and has the module reloaded.
function world.set_options(server, options)
	local all = server.settings.host_options or {};
	server.settings.host_options = all;
	for name, value in pairs(options) do all[name] = value; end
	server:write_config();
	server:eval([[
		prosody.reload_config();
		return assert(require "core.modulemanager".reload(host, "groups_internal")) ~= nil]]);
end

-- The contact list that a client of a user who logs in is given: as `contacts`, and its version. With `version`, the
-- client has the list of that version: nil says that it is told so.
function world.fetch(server, username, version)
	return table.unpack(server:eval([[
		local st, clients, username, version = require "util.stanza", prosody.spec_clients, ...;
		local session = clients.bind(username, "fetch");
		session.received = {};
		clients.send(session, st.iq({ type = "get", id = "fetch" })
			:tag("query", { xmlns = "jabber:iq:roster", ver = version }));
		local query = session.received[1]:get_child("query", "jabber:iq:roster");
		local contacts = query and {};
		for item in query and query:childtags("item") or function () end do
			local groups = {};
			for group in item:childtags("group") do groups[#groups + 1] = group:get_text(); end
			table.sort(groups);
			contacts[(item.attr.jid:gsub("@localhost$", ""))] = table.concat({ item.attr.subscription, item.attr.ask or "",
				item.attr.name or "", table.unpack(groups) }, ",");
		end
		clients.logout(session);
		return { contacts, query and tostring(query.attr.ver) }]], username, version));
end

function world.reload(server)
	assert(server:eval([[return require "core.modulemanager".reload(host, "groups_internal") ~= nil]]));
end

-- How often each user's contact list has been written since `forget`.
function world.writes(server)
	local counts = {};
	for _, write in ipairs(server:eval("return prosody.spec_clients.writes")) do
		counts[write.username] = (counts[write.username] or 0) + 1;
	end
	return counts;
end

-- A group with these members, settled. Returns its id.
function world.group(server, name, members, with_chat)
	local id = assert(server:call("create", { name = name }, with_chat or false));
	for _, member in ipairs(members) do
		assert(server:call("add_member", id, member));
	end
	world.settle(server);
	return id;
end

-- Makes accounts of names that no other spec uses, and returns the names.
function world.accounts(server, n)
	local names = world.names(n);
	server:create_user(table.unpack(names));
	return table.unpack(names);
end

function world.logout_all(server)
	server:eval([[
		for _, user in pairs(hosts[host].sessions) do
			for _, session in pairs(user.sessions) do prosody.spec_clients.logout(session); end
		end
		return true]]);
end

-- What storage has of one contact, as `contacts`.
function world.contact_of(server, user, contact)
	return (world.contacts(server, user) or {})[contact];
end

-- What counts of the provenance beside a user's list. Labels that a group had before are left out: the next save is
-- without them.
function world.known(server, user)
	local provenance = world.provenance(server, user) or {};
	local labels;
	for id, given in pairs(provenance.labels or {}) do
		labels = labels or {};
		labels[id] = type(given) == "table" and given[1] or given;
	end
	return { labels = labels; notes = provenance.notes; names = provenance.names };
end

-- Takes members out of a group, and waits until everything is in storage.
function world.remove_members(server, id, ...)
	for _, member in ipairs { ... } do
		assert(server:call("remove_member", id, member));
	end
	world.settle(server);
end

-- Kilobytes of Lua's memory, and of the process.
function world.memory(server)
	return table.unpack(server:eval([[
		for _ = 1, 3 do collectgarbage(); end
		local file = assert(io.open("/proc/self/statm"));
		local pages = tonumber(file:read("l"):match("^%d+ (%d+)"));
		file:close();
		return { collectgarbage("count"), pages * 4 }]]));
end

return world;
