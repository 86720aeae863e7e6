-- Invitations that name a group: whoever makes an account with one is a member from the first login on.

local client = require "spec.support.client";
local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("invitations with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	-- Makes an invitation to these groups, as an operator does, and returns its token.
	local function invite(...)
		local arguments = harness.version == "13" and { "shell", "invite", "create_account", "localhost" }
			or { "mod_invites", "generate", "localhost" };
		for _, group in ipairs { ... } do
			table.insert(arguments, "--group");
			table.insert(arguments, group);
		end
		local output, errors = server:prosodyctl(table.unpack(arguments));
		return output:match("preauth=([^;%s]+)") or error(output..errors);
	end

	-- Makes an account as a client does that was given this token.
	local function register(username, token)
		local conn = client.connect(server);
		conn:send(("<iq type='set' id='token'><preauth xmlns='urn:xmpp:pars:0' token='%s'/></iq>"):format(token));
		conn:read("<iq[^>]-type='result'");
		conn:send(("<iq type='set' id='account'><query xmlns='jabber:iq:register'><username>%s</username>"
			.."<password>secret</password></query></iq>"):format(username));
		conn:read("<iq[^>]-type='result'");
		conn:close();
	end

	setup(function ()
		server = world.new {
			global_modules = { "disco", "roster", "saslauth", "admin_shell", "register_ibr", "invites", "invites_register",
				"invites_groups" };
			options = { allow_registration = true };
		};
		server:create_user("ann", "bob");
		world.group(server, "Family", { "ann" }, true);
	end);

	teardown(function ()
		server:destroy();
	end);

	it("make a new account a member of their groups at once, which those who are online see", function ()
		local family = server:call("get_user_groups", "ann")[1];
		local work = world.group(server, "Work", { "bob" });
		world.login(server, "ann");
		world.forget(server);
		register("cleo", invite(family, work));
		assert.same({ "ann", "cleo" }, world.members(server, family));
		assert.same({ "bob", "cleo" }, world.members(server, work));
		assert.equal("both", world.pushes(server, "ann").cleo.subscription);
		assert.same({ ann = world.both("Family"), bob = world.both("Work") }, (world.fetch(server, "cleo")));
		world.settle(server);
		assert.equal(world.both("Family"), world.contact_of(server, "ann", "cleo"));
		assert.equal(world.both("Work"), world.contact_of(server, "bob", "cleo"));
	end);

	it("to a group that is gone make an account all the same", function ()
		register("dora", invite("gone"));
		assert.same({}, server:call("get_user_groups", "dora"));
		assert.same({}, (world.fetch(server, "dora")));
	end);
end);
