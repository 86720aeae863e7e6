-- A storage driver for tests: internal storage, but every call waits first, as drivers do that talk to another machine.
-- So each call made from where Prosody can wait yields, and whoever cannot stand that is found out.
--
-- `prosody.spec_waiting`, from inside the server:
--   delay      seconds that a call waits, 0.002 at first
--   waited     number of calls that have waited; `unwaited`, number of those made where waiting is impossible (a timer)
--   hold(what) calls that match stay held: what = { store =, method =, username = }, absent fields match all
--   held()     number of calls held now
--   release()  lets them go on, and holds no more

local async = require "util.async";
local timer = require "util.timer";
local storagemanager = require "core.storagemanager";

local control = prosody.spec_waiting;

if not control then
	local rule;
	local queue = {};
	control = { delay = 0.002; waited = 0; unwaited = 0 };
	prosody.spec_waiting = control;

	function control.hold(what)
		rule = what or {};
	end

	function control.held()
		return #queue;
	end

	function control.release()
		local released = queue;
		rule, queue = nil, {};
		for _, done in ipairs(released) do
			done();
		end
	end

	function control.wait(call)
		if not async.ready() then
			control.unwaited = control.unwaited + 1;
			return;
		end
		local wait, done = async.waiter();
		if rule and (not rule.store or rule.store == call.store) and (not rule.method or rule.method == call.method)
		and (not rule.username or rule.username == call.username) then
			queue[#queue + 1] = done;
		else
			timer.add_task(control.delay, function () done(); end);
		end
		wait();
		control.waited = control.waited + 1;
	end
end

local host = module.host;
local below = storagemanager.load_driver(host, "internal");

local keyval = {};

for _, method in ipairs { "get", "set", "users" } do
	keyval[method] = function (self, username, ...)
		control.wait({ store = self.name; method = method; username = username });
		return self.inner[method](self.inner, username, ...);
	end
end

local driver = {};

-- Only keyval, so that Prosody makes every map itself, out of two calls that wait.
function driver:open(name, typ) -- luacheck: ignore 212/self
	if typ and typ ~= "keyval" then
		return nil, "unsupported-store";
	end
	return setmetatable({ name = name; inner = below:open(name, "keyval") }, { __index = keyval });
end

function driver:stores(username) -- luacheck: ignore 212/self
	return below:stores(username);
end

function driver:purge(username) -- luacheck: ignore 212/self
	control.wait({ method = "purge"; username = username });
	return below:purge(username);
end

module:provides("storage", driver);
