-- What check() finds and repair() mends, each made by hand.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("check and repair with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- This is found, found again, mended, and found no more.
	local function finds(problem)
		assert.same({ problem }, call("check"));
		assert.same({ problem }, call("check"));
		assert.same({ problem }, call("repair"));
		world.settle(server);
		server:wait_for("return groups.status().unsettled == 0", "nothing is open");
		assert.same({}, call("check"));
	end

	setup(function ()
		server = world.new();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("see a stored group that differs from the one in memory", function ()
		local a, b = world.accounts(server, 2);
		local id = world.group(server, "Stored", { a, b });
		local members = server:stored("groups", id);
		server:store("groups", id, { [a] = {} });
		finds({ problem = "record-differs"; group_id = id });
		assert.same(members, server:stored("groups", id));
		server:store("group_info", id, { name = "Other" });
		finds({ problem = "record-differs"; group_id = id });
		assert.equal("Stored", server:stored("group_info", id).name);
	end);

	it("see what contact lists keep of an account that was deleted behind the module's back", function ()
		local a, b, c = world.accounts(server, 3);
		local id = world.group(server, "Former", { a, b, c });
		world.remove_members(server, id, c);
		assert.same({}, call("check"));
		server:store("accounts", c, nil);
		local problem = { problem = "account-left-over"; user = c; owners = { a, b } };
		finds(problem);
		assert.same({ [b] = world.both("Former") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Former") }, world.contacts(server, b));
	end);

	it("see affiliations that are not there", function ()
		local a, b = world.accounts(server, 2);
		local id = world.group(server, "Room", { a, b }, true);
		local jid = call("get_info", id).muc_jid;
		server:eval([[
			local jid, user = ...;
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(jid):set_affiliation(true, user, "none")]],
			jid, b.."@localhost");
		finds({ problem = "affiliations-differ"; group_id = id; jid = jid; jids = { b.."@localhost" } });
		assert.equal("member", server:eval([[
			local jid, user = ...;
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(jid):get_affiliation(user)]],
			jid, b.."@localhost"));
	end);

	it("see a stored contact list that lacks a contact, and write nothing to say so", function ()
		local a, b, c = world.accounts(server, 3);
		world.group(server, "Lists", { a, b, c });
		server:eval("hosts[host].roster_cache:set((...)..\"@\"..host, nil) return true", a);
		local other = { subscription = "both"; groups = { Lists = true } };
		world.store_roster(server, a, { [c.."@localhost"] = other }, world.metadata(server, a));
		world.forget(server);
		assert.same({ { problem = "contacts-differ"; user = a } }, call("check"));
		assert.same({}, world.writes(server));
		finds({ problem = "contacts-differ"; user = a });
		assert.equal(world.both("Lists"), world.contact_of(server, a, b));
	end);
end);
