-- Clients without a network, for specs that look at what Prosody sends them: sessions made and bound as by mod_c2s,
-- whose stanzas are kept. And a record of what is written to the stores of contact lists.
--
-- `prosody.spec_clients`, from inside the server:
--   login(username, resource)   binds a session, fetches the contact list, and sends presence; returns the session
--   bind(username, resource)    only binds it
--   send(session, stanza)       sends a stanza as the client
--   logout(session)             ends it
--   session(username)           the user's one session, or the last bound of several that are there
--   forget()                    empties what all clients have received, and `writes`
--   forget_sessions()           forgets all clients
--   pushes(username)            contact list pushes received since:
--                               array of { jid =, subscription =, ask =, name =, ver =, groups = }
--   presences(username)         presence received since: array of { from = bare JID, type = or "available" }
--   writes                      array of { username =, jid = or nil for the whole list }, of this host's contact lists

local new_id = require "util.id".short;
local sessionmanager = require "core.sessionmanager";
local st = require "util.stanza";
local jid_bare = require "util.jid".bare;

local host = module.host;
local clients = { writes = {} };
local sessions = {};
prosody.spec_clients = clients;

local function process(session, stanza)
	prosody.core_process_stanza(session, stanza);
end

function clients.bind(username, resource)
	local session = {
		type = "c2s_unauthed";
		host = host;
		id = "spec"..new_id();
		log = module._log or require "util.logger".init("spec_client");
		received = {};
	};
	function session.send(stanza)
		if st.is_stanza(stanza) then
			session.received[#session.received + 1] = st.clone(stanza);
		end
		return true;
	end
	session.rawsend = session.send;
	function session.close()
		clients.logout(session);
	end
	assert(sessionmanager.make_authenticated(session, username));
	session.previous, sessions[username] = sessions[username], session;
	local ok, _, _, text = sessionmanager.bind_resource(session, resource or "spec");
	assert(ok, text);
	return session;
end

function clients.send(session, stanza)
	process(session, stanza);
end

function clients.login(username, resource)
	local session = clients.bind(username, resource);
	process(session, st.iq({ type = "get", id = "roster" }):tag("query", { xmlns = "jabber:iq:roster" }));
	process(session, st.presence());
	return session;
end

function clients.logout(session)
	local username, previous = session.username, session.previous;
	sessionmanager.destroy_session(session);
	if sessions[username] == session and previous and previous.full_jid and not previous.destroyed then
		sessions[username] = previous;
	end
end

function clients.session(username)
	return sessions[username];
end

function clients.forget()
	for _, session in pairs(sessions) do
		session.received = {};
	end
	clients.writes = {};
end

function clients.forget_sessions()
	sessions = {};
	clients.forget();
end

function clients.pushes(username)
	local found = {};
	for _, stanza in ipairs(sessions[username].received) do
		local query = stanza.name == "iq" and stanza.attr.type == "set" and stanza:get_child("query", "jabber:iq:roster");
		for item in query and query:childtags("item") or function () end do
			local groups = {};
			for group in item:childtags("group") do
				groups[#groups + 1] = group:get_text();
			end
			table.sort(groups);
			found[#found + 1] = {
				jid = item.attr.jid; subscription = item.attr.subscription; ask = item.attr.ask; name = item.attr.name;
				ver = query.attr.ver; groups = groups;
			};
		end
	end
	return found;
end

function clients.presences(username)
	local found = {};
	for _, stanza in ipairs(sessions[username].received) do
		if stanza.name == "presence" then
			found[#found + 1] = { from = jid_bare(stanza.attr.from); type = stanza.attr.type or "available" };
		end
	end
	return found;
end

module:hook("store-opened", function (event)
	if event.store_name ~= "roster" then return; end
	local store, set, set_keys = event.store, event.store.set, event.store.set_keys;
	if event.store_type == "map" then
		function store.set_keys(self, username, data)
			for jid in pairs(data) do
				if jid then
					clients.writes[#clients.writes + 1] = { username = username; jid = jid };
				end
			end
			return set_keys(self, username, data);
		end
	else
		function store.set(self, username, data)
			clients.writes[#clients.writes + 1] = { username = username };
			return set(self, username, data);
		end
	end
end);
