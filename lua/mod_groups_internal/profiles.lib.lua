-- Effects on what users have published of themselves.

local host = module.host;
local host_session = prosody.hosts[host];

local xmlns_vcard4 = "urn:ietf:params:xml:ns:vcard-4.0";
local vcard4_node = "urn:xmpp:vcard4";
local xmlns_nick = "http://jabber.org/protocol/nick"; -- XEP-0172; its node has the same name

local effects = {};

local function last_item(service, node)
	local ok, id, item = service:get_last_item(node, true);
	return ok and id and item;
end

-- Returns the nickname of a vCard, or else the one published by itself (XEP-0172), or nil.
local function find_nickname(username)
	local pep = host_session.modules.pep;
	local service = pep and pep.get_pep_service and pep.get_pep_service(username);
	if not service then return nil; end
	local item = last_item(service, vcard4_node);
	local vcard = item and item:get_child("vcard", xmlns_vcard4);
	local field = vcard and vcard:get_child("nickname");
	local nickname = field and field:get_child_text("text");
	if nickname and nickname:find("%S") then return nickname; end
	item = last_item(service, xmlns_nick);
	return item and item:get_child_text("nick", xmlns_nick);
end

function effects.find_nicknames(_, usernames)
	local found = {};
	for i, username in ipairs(usernames) do
		local ok, nickname = pcall(find_nickname, username);
		if not ok then
			module:log("debug", "The nickname of %s cannot be read: %s", username, nickname);
		end
		found[i] = ok and nickname or false;
	end
	return found;
end

-- Calls `act(username)` whenever a user has published another nickname, or taken it back.
function effects.watch_nicknames(act)
	module:handle_items("pep-service", function (event)
		local service = event.item.service;
		local username = event.item.jid:match("^[^@]+");
		local function changed(change)
			if change.node == vcard4_node or change.node == xmlns_nick then act(username); end
		end
		for _, event_name in ipairs { "item-published", "item-retracted", "node-purged", "node-deleted" } do
			module:hook_object_event(service.events, event_name, changed);
		end
	end, function () end, true);
end

return effects;
