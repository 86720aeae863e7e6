-- An admin who is a user of another server: two servers, connected over TCP as servers are, and a client of the other.

local client = require "spec.support.client";
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

	local function log_in(username) return client.login(other, username, "spec", "remote.example"); end

	local function command(admin, name, session, form)
		admin:send(("<iq type='set' id='c' to='groups.example'><command xmlns='http://jabber.org/protocol/commands' "
			.."node='groups_internal:%s'%s>%s</command></iq>"):format(name,
			session and (" sessionid='%s'"):format(session) or "", form or ""));
		return admin:read("<iq[^>]- id=['\"]c['\"][^>]*>")..admin:read("</iq>");
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
		local chief, guest = log_in("chief"), log_in("guest");
		local form = command(chief, "create");
		assert.matches("jabber:x:data", form);
		local session = form:match("sessionid=['\"]([^'\"]+)");
		local done = command(chief, "create", session, "<x xmlns='jabber:x:data' type='submit'>"
			.."<field var='name'><value>Crew</value></field><field var='id'><value>crew</value></field></x>");
		assert.matches("created the group", done);
		assert.is_true(server:eval([[return hosts["groups.example"].modules.groups_internal.exists("crew")]]));
		assert.matches("Crew", command(chief, "list"));
		assert.matches("<forbidden", command(guest, "list"));
		chief:close();
		guest:close();
	end);
end);
