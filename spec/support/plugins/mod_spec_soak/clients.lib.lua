-- Clients without a network: sessions made and bound as by mod_c2s, and devices that keep a contact list with its
-- version while they are away, as clients with roster versioning do.

local new_id = require "util.id".short;
local sessionmanager = require "core.sessionmanager";
local st = require "util.stanza";
local jid_bare, jid_node = require "util.jid".bare, require "util.jid".node;

local host = module.host;
local xmlns_roster = "jabber:iq:roster";

local clients = {};

local function read_item(element)
	local groups = {};
	for label in element:childtags("group") do groups[label:get_text()] = true; end
	return { sub = element.attr.subscription; ask = element.attr.ask and true or nil; name = element.attr.name;
		groups = groups };
end

-- An item of a roster of Prosody's, in the same form.
function clients.look(item)
	local groups = {};
	for label in pairs(item.groups or {}) do groups[label] = true; end
	return { sub = item.subscription; ask = item.ask and true or nil; name = item.name; groups = groups };
end

-- The contacts of a roster of Prosody's, by JID.
function clients.look_all(roster)
	local items = {};
	for jid, item in pairs(roster or {}) do
		if jid and jid ~= "pending" then items[jid] = clients.look(item); end
	end
	return items;
end

function clients.is_same(one, other)
	if one.sub ~= other.sub or one.ask ~= other.ask or one.name ~= other.name then return false; end
	for label in pairs(one.groups) do
		if not other.groups[label] then return false; end
	end
	for label in pairs(other.groups) do
		if not one.groups[label] then return false; end
	end
	return true;
end

-- Prosody calls a list that was never changed 1, and so it calls the list after the first change: an empty one is not
-- kept as 1. On 0.12 it is a number.
local function take_version(device, ver)
	ver = ver and tostring(ver);
	device.ver = (ver ~= "1" or next(device.items)) and ver or nil;
end

local function hear(client, stanza)
	if stanza.name == "presence" then
		local kind = stanza.attr.type;
		local from = jid_bare(stanza.attr.from);
		if from ~= client.jid and (kind == nil or kind == "unavailable") then
			client.presence[from] = kind or "available";
		end
		return;
	end
	if stanza.name ~= "iq" then return; end
	local query = stanza:get_child("query", xmlns_roster);
	if stanza.attr.type == "set" and query then
		for element in query:childtags("item") do
			local jid = element.attr.jid;
			client.device.items[jid] = element.attr.subscription ~= "remove" and read_item(element) or nil;
		end
		take_version(client.device, query.attr.ver);
		client.pushes = client.pushes + 1;
	elseif stanza.attr.type == "result" and stanza.attr.id == "roster" then
		client.answer = query and "full" or "short";
		if query then
			client.device.items = {};
			for element in query:childtags("item") do
				client.device.items[element.attr.jid] = read_item(element);
			end
			take_version(client.device, query.attr.ver);
		end
	elseif stanza.attr.type == "error" then
		client.refused = stanza;
	end
end

-- Ends a session; the device keeps what it has.
function clients.logout(client)
	if not client.session.destroyed then
		sessionmanager.destroy_session(client.session);
	end
end

-- Binds a session for a device, { items =, ver = }, which fetches the contact list and sends presence.
function clients.login(username, device, resource)
	local client = { jid = username.."@"..host; device = device; presence = {}; pushes = 0 };
	local session = {
		type = "c2s_unauthed";
		host = host;
		id = "soak"..new_id();
		log = module._log;
	};
	client.session = session;
	function session.send(stanza)
		if st.is_stanza(stanza) then hear(client, stanza); end
		return true;
	end
	session.rawsend = session.send;
	function session.close() clients.logout(client); end
	assert(sessionmanager.make_authenticated(session, username));
	local ok, _, _, text = sessionmanager.bind_resource(session, resource);
	assert(ok, text);
	clients.send(client, st.iq({ type = "get", id = "roster" })
		:tag("query", { xmlns = xmlns_roster; ver = device.ver or "" }));
	assert(client.answer, "no contact list was given");
	return client;
end

function clients.send(client, stanza)
	prosody.core_process_stanza(client.session, stanza);
end

function clients.appear(client)
	clients.send(client, st.presence());
end

local function change_roster(client, item)
	client.refused = nil;
	clients.send(client, st.iq({ type = "set", id = "edit" }):tag("query", { xmlns = xmlns_roster }):add_child(item));
	return not client.refused, client.refused and tostring(client.refused);
end

-- Sends an item as the client has it, or a new one, with something changed.
function clients.edit(client, jid, change)
	local shown = client.device.items[jid] or { groups = {} };
	local name = shown.name;
	if change.name then name = change.name; elseif change.unname then name = nil; end
	local item = st.stanza("item", { xmlns = xmlns_roster; jid = jid; name = name });
	for label in pairs(shown.groups) do
		if label ~= change.unlabel and label ~= change.label then item:text_tag("group", label, { xmlns = xmlns_roster }); end
	end
	if change.label then item:text_tag("group", change.label, { xmlns = xmlns_roster }); end
	return change_roster(client, item);
end

function clients.take_off(client, jid)
	return change_roster(client, st.stanza("item", { xmlns = xmlns_roster; jid = jid; subscription = "remove" }));
end

-- Sends presence of a type to a contact.
function clients.present(client, kind, jid)
	clients.send(client, st.presence({ type = kind; to = jid }));
end

clients.username = jid_node;

return clients;
