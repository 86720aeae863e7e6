-- The HTTP API through which portals manage groups, as a portal sees it.

local json = require "dkjson";
local http = require "socket.http";
local ltn12 = require "ltn12";

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("the admin HTTP API with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server, port;

	-- Sends a request. Returns the status, and the body as text.
	local function request(method, path, body)
		local text = body and json.encode(body) or "";
		local out = {};
		local _, status = assert(http.request {
			method = method, url = ("http://127.0.0.1:%d/admin_api%s"):format(port, path);
			headers = { host = "localhost", ["content-type"] = "application/json", ["content-length"] = #text };
			source = ltn12.source.string(text), sink = ltn12.sink.table(out);
		});
		return status, table.concat(out);
	end

	-- What a request that succeeds brings.
	local function get(path)
		local status, text = request("GET", path);
		assert.equal(200, status, text);
		return json.decode(text), text;
	end

	setup(function ()
		port = harness.free_port();
		server = world.new {
			modules = { "groups_internal", "spec_admin_api" };
			options = { http_ports = { port }; http_interfaces = { "127.0.0.1" } };
		};
		server:create_user("ann", "bob");
	end);

	teardown(function ()
		server:destroy();
	end);

	it("makes, lists, shows, renames and deletes groups", function ()
		assert.equal("[]", select(2, get("/groups")));
		local status, text = request("POST", "/groups", { name = "Family", create_muc = true });
		assert.equal(200, status);
		local id = json.decode(text).id;
		local chat = server:call("get_info", id).muc_jid;
		local family = { id = id, name = "Family", members = {}, chats = {
			{ id = chat:match("^[^@]+"), jid = chat, name = "Family" } } };
		assert.same({ family }, (get("/groups")));
		assert.same(family, (get("/groups/"..id)));
		assert.equal(204, request("PUT", "/groups/"..id, { name = "Kin" }));
		local kin = get("/groups/"..id);
		assert.equal("Kin", kin.name);
		assert.equal("Kin", kin.chats[1].name);
		assert.equal(204, request("DELETE", "/groups/"..id));
		assert.equal("[]", select(2, get("/groups")));
	end);

	it("adds and removes members, who are keys of an object also where there are none", function ()
		local id = assert(server:call("create", { name = "Team" }, false));
		assert.matches('"members":{}', select(2, get("/groups/"..id)), 1, true);
		assert.equal(204, request("PUT", ("/groups/%s/members/ann"):format(id)));
		assert.equal(204, request("PUT", ("/groups/%s/members/bob"):format(id)));
		assert.same({ ann = {}, bob = {} }, get("/groups/"..id).members);
		assert.same({ id }, (get("/users/bob/groups")));
		world.settle(server);
		assert.equal(world.both("Team"), world.contact_of(server, "ann", "bob"));
		assert.equal(204, request("DELETE", ("/groups/%s/members/bob"):format(id)));
		assert.same({ ann = {} }, get("/groups/"..id).members);
		assert.same({}, (get("/users/bob/groups")));
	end);

	it("adds and removes chats", function ()
		local id = assert(server:call("create", { name = "Club" }, false));
		local status, text = request("POST", ("/groups/%s/chats"):format(id), { name = "Kitchen" });
		assert.equal(200, status);
		local chat = json.decode(text);
		assert.equal("Kitchen", chat.name);
		local node = chat.jid:match("^[^@]+");
		assert.same({ { id = node, jid = chat.jid, name = "Kitchen" } }, get("/groups/"..id).chats);
		assert.equal(204, request("DELETE", ("/groups/%s/chats/%s"):format(id, node)));
		assert.matches('"chats":[]', select(2, get("/groups/"..id)), 1, true);
	end);

	it("answers with the codes that portals know when something cannot be", function ()
		assert.equal(400, request("POST", "/groups", { create_muc = true }));
		assert.equal(400, request("POST", "/groups"));
		local id = assert(server:call("create", { name = "Codes" }, false));
		assert.equal(400, request("PUT", "/groups/"..id, { name = "" }));
		assert.equal(400, request("PUT", ("/groups/%s/members/b%%20b"):format(id)));
		assert.equal(400, request("POST", ("/groups/%s/chats"):format(id), {}));
		for _, path in ipairs { "/groups/none", "/groups/none/members/ann" } do
			assert.equal(404, request("PUT", path, { name = "None" }));
			assert.equal(404, request("DELETE", path));
		end
		assert.equal(404, request("GET", "/groups/none"));
		assert.equal(404, request("POST", "/groups/none/chats", { name = "None" }));
	end);

	it("works on after the module was reloaded", function ()
		local id = assert(server:call("create", { name = "After" }, false));
		world.reload(server);
		assert.equal("After", get("/groups/"..id).name);
		assert.equal(204, request("DELETE", "/groups/"..id));
	end);
end);
