-- The ground that the other specs stand on: a real Prosody that can be started, asked, broken and stopped.

local harness = require "spec.support.harness";

local function file_text(path)
	local file = io.open(path);
	if not file then return nil; end
	local text = file:read("a");
	file:close();
	return text;
end

describe("the harness with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	setup(function ()
		server = harness.new { modules = {} };
		server:start();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("runs the version that is asked for", function ()
		assert.equal(harness.version, (server:eval("return prosody.version"):match("^0%.%d+")
			or server:eval("return prosody.version"):match("^%d+")));
	end);

	it("gives results back, nil among them, and takes arguments", function ()
		assert.same({ 1, nil, "x\n\0ü", { a = { true } }, n = 4 },
			table.pack(server:eval("local a, b, c, d = ...; return a, b, c, d", 1, nil, "x\n\0ü", { a = { true } })));
		assert.equal(0, select("#", server:eval("")));
	end);

	it("throws what is thrown inside", function ()
		assert.has_error(function () server:eval("error('no luck', 0)"); end);
		local ok, err = server:try_eval("error('no luck')");
		assert.is_false(ok);
		assert.truthy(err:find("control:1: no luck", 1, true));
	end);

	it("lets the code inside wait, and runs others meanwhile", function ()
		local slow = server:begin([[
			local async, timer = require "util.async", require "util.timer";
			local wait, done = async.waiter();
			timer.add_task(0.05, function () done(); end);
			wait();
			return "late"]]);
		assert.equal("early", server:eval("return 'early'"));
		assert.is_false(slow:done());
		assert.equal("late", slow:await());
	end);

	it("reads and writes stores, and they outlast a kill", function ()
		assert.is_nil(server:stored("groups", "none"));
		server:store("groups", "friends", { alice = {}; bob = {} });
		server:create_user("alice");
		server:kill();
		assert.is_false(server:running());
		server:start();
		assert.same({ alice = {}; bob = {} }, server:stored("groups", "friends"));
		assert.same({}, server:stored("groups", "friends", "alice"));
		assert.is_true(server:eval([[return require "core.usermanager".user_exists("alice", host)]]));
		server:delete_user("alice");
		assert.falsy(server:eval([[return require "core.usermanager".user_exists("alice", host)]]));
	end);

	it("has a chat host", function ()
		assert.is_true(server:eval([[return hosts["groups.localhost"].modules.muc ~= nil]]));
	end);

	it("stops cleanly and starts again with other settings", function ()
		local mark = server:log_mark();
		server.settings.host_options = { spec_answer = { 42, text = "ja" } };
		server:restart();
		assert.same({ 42, "ja" }, { server:eval([[
			local answer = module:get_option("spec_answer");
			return answer[1], answer.text]]) });
		assert.truthy(server:log_text(mark):find("Shutdown complete", 1, true)
			or server:wait_for_log("[Ss]hutting down", mark));
	end);

	it("says why a server does not start", function ()
		local broken = harness.new { modules = {}; config = "this is no configuration" };
		finally(function () broken:destroy(); end);
		local ok, err = pcall(broken.start, broken);
		assert.is_false(ok);
		assert.truthy(err:find("Prosody did not start", 1, true));
		assert.truthy(err:find("syntax error", 1, true), err);
	end);

	it("takes the server along when the spec dies", function ()
		local orphan = harness.new { modules = {} };
		finally(function () orphan:destroy(); end);
		orphan:start();
		local pid = orphan.pid;
		orphan.keeper:close(); -- as the end of this process would do
		orphan.keeper = nil;
		assert.is_nil(file_text("/proc/"..pid.."/stat"));
	end);
end);

describe("storage that waits, with Prosody "..harness.version, function ()
	local server;

	setup(function ()
		server = harness.new { modules = {}; storage = "waiting" };
		server:start();
	end);

	teardown(function ()
		server:destroy();
	end);

	it("waits in every call, also of maps", function ()
		local before = server:eval("return prosody.spec_waiting.waited");
		server:store("groups", "friends", { alice = {} });
		assert.same({}, server:stored("groups", "friends", "alice"));
		assert.equal(before + 2, server:eval("return prosody.spec_waiting.waited"));
	end);

	it("holds calls until they are released", function ()
		server:eval([[prosody.spec_waiting.hold({ store = "groups"; method = "get"; username = "friends" })]]);
		local held = server:begin([[return require "core.storagemanager".open(host, "groups", "keyval"):get("friends")]]);
		server:wait_for("return prosody.spec_waiting.held() == 1");
		assert.is_nil(server:stored("groups", "others"));
		assert.is_false(held:done());
		server:eval("prosody.spec_waiting.release()");
		assert.same({ alice = {} }, held:await());
	end);

	it("lists and purges", function ()
		assert.same({ "friends" }, server:eval([[
			local names = {};
			for name in require "core.storagemanager".open(host, "groups", "keyval"):users() do names[#names + 1] = name; end
			return names]]));
		server:eval([[return require "core.storagemanager".purge("friends", host)]]);
		assert.is_nil(server:stored("groups", "friends"));
	end);
end);

describe("storage that fails, with Prosody "..harness.version, function ()
	local server;

	setup(function ()
		server = harness.new { modules = {}; storage = "failing" };
		server:start();
	end);

	teardown(function ()
		server:destroy();
	end);

	before_each(function ()
		server:eval("prosody.spec_failing.clear(); prosody.spec_failing.forget()");
	end);

	local set = [[
		local sm = require "core.storagemanager";
		return sm.open(host, "groups", "keyval"):set(...)]];

	it("works unless it is told to fail", function ()
		assert.is_true(server:eval(set, "friends", { alice = {} }));
		assert.same({ alice = {} }, server:stored("groups", "friends"));
		assert.same({ { store = "groups"; method = "set"; username = "friends" };
			{ store = "groups"; method = "get"; username = "friends" } }, server:eval("return prosody.spec_failing.calls"));
	end);

	it("fails the calls that match, and the n-th only", function ()
		server:eval([[
			prosody.spec_failing.fail({ store = "groups"; method = "set"; username = "friends"; nth = 2; error = "full" })]]);
		assert.is_true(server:eval(set, "friends", { bob = {} }));
		assert.is_true(server:eval(set, "others", { bob = {} }));
		assert.same({ nil, "full" }, { server:eval(set, "friends", {}) });
		assert.is_true(server:eval(set, "friends", { carol = {} }));
		assert.same({ carol = {} }, server:stored("groups", "friends"));
	end);

	it("can throw, and fail after the work is done", function ()
		server:eval([[prosody.spec_failing.fail({ method = "get"; throw = true })]]);
		server:eval([[prosody.spec_failing.fail({ method = "set"; after = true })]]);
		assert.is_false((server:try_eval([[require "core.storagemanager".open(host, "groups", "keyval"):get("friends")]])));
		assert.same({ nil, "failed on demand" }, { server:eval(set, "friends", { dora = {} }) });
		server:eval("prosody.spec_failing.clear()");
		assert.same({ dora = {} }, server:stored("groups", "friends"));
	end);
end);
