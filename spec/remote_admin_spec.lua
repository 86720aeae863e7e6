-- An admin who is a user of another server: two servers, connected over TCP as servers are, and a client of the other.

local mime = require "mime";
local socket = require "socket";

local harness = require "spec.support.harness";

describe("an admin of another server, with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, other;

	local function new_server(host, settings, routes, port)
		return harness.new {
			modules = {};
			muc = false;
			global_modules = { "disco", "roster", "saslauth", "dialback", "s2s", "spec_routes" };
			hosts = { [host] = settings };
			options = {
				modules_disabled = {}; s2s_ports = { port }; s2s_direct_tls_ports = {}; spec_routes = routes;
				s2s_require_encryption = false; s2s_secure_auth = false;
			};
		};
	end

	-- A client that is logged in at the other server. Returns a function that sends stanzas and waits for an answer.
	local function login(username)
		local conn = assert(socket.connect("127.0.0.1", other.c2s_port));
		conn:settimeout(20);
		local function ask(text, answer)
			assert(conn:send(text));
			local got = "";
			while not got:find(answer) do
				local byte, err = conn:receive(1);
				got = got..assert(byte, err);
			end
			return got;
		end
		local open = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
			.."to='remote.example' version='1.0'>";
		ask(open, "</stream:features>");
		ask(("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>"):format(
			(mime.b64("\0"..username.."\0secret"))), "<success");
		ask(open, "</stream:features>");
		ask("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "</iq>");
		return ask, conn;
	end

	local function command(ask, name, session, form)
		return ask(("<iq type='set' id='c' to='groups.example'><command xmlns='http://jabber.org/protocol/commands' "
			.."node='groups_internal:%s'%s>%s</command></iq>"):format(name,
			session and (" sessionid='%s'"):format(session) or "", form or ""), "</iq>");
	end

	setup(function ()
		local here, there = harness.free_port(), harness.free_port();
		server = new_server("groups.example", {
			modules = { "groups_internal" };
			options = { groups_adhoc = true; admins = { "chief@remote.example" } };
		}, { ["remote.example"] = there }, here);
		other = new_server("remote.example", {}, { ["groups.example"] = here }, there);
		server:start();
		other:start();
		other:eval([[
			for _, name in ipairs { "chief", "guest" } do
				assert(require "core.usermanager".create_user(name, "secret", "remote.example"));
			end
			return true]]);
	end);

	teardown(function ()
		server:destroy();
		other:destroy();
	end);

	it("makes a group by a form, and another user of that server is refused", function ()
		local ask, conn = login("chief");
		local form = command(ask, "create");
		assert.matches("jabber:x:data", form);
		local session = form:match("sessionid=['\"]([^'\"]+)");
		local done = command(ask, "create", session, "<x xmlns='jabber:x:data' type='submit'>"
			.."<field var='name'><value>Crew</value></field><field var='id'><value>crew</value></field></x>");
		assert.matches("created the group", done);
		assert.is_true(server:eval([[return hosts["groups.example"].modules.groups_internal.exists("crew")]]));
		assert.matches("Crew", command(ask, "list"));
		conn:close();
		ask, conn = login("guest");
		assert.matches("<forbidden", command(ask, "list"));
		conn:close();
	end);
end);
