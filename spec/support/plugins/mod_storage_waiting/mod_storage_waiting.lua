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

local map = { remove = {} };

function map:get(username, key)
	local data, err = keyval.get(self, username);
	if data == nil then return nil, err; end
	return data[key];
end

function map:set_keys(username, changes)
	control.wait({ store = self.name; method = "set"; username = username });
	local data, err = self.inner:get(username);
	if data == nil and err then return nil, err; end
	data = data or {};
	for key, value in pairs(changes) do
		if value == map.remove then value = nil; end
		data[key] = value;
	end
	return self.inner:set(username, data);
end

function map:set(username, key, value)
	if value == nil then value = map.remove; end
	return self:set_keys(username, { [key] = value });
end

local types = { keyval = keyval };
-- Without these, Prosody makes every map itself, out of two calls that wait. Of two changes at the same time, one may
-- be lost then.
if module:get_option_boolean("spec_waiting_maps") then types.map = map; end

local driver = {};

function driver:open(name, typ) -- luacheck: ignore 212/self
	local methods = types[typ or "keyval"];
	if not methods then return nil, "unsupported-store"; end
	return setmetatable({ name = name; inner = below:open(name, "keyval") }, { __index = methods });
end

function driver:stores(username) -- luacheck: ignore 212/self
	return below:stores(username);
end

function driver:purge(username) -- luacheck: ignore 212/self
	control.wait({ method = "purge"; username = username });
	return below:purge(username);
end

module:provides("storage", driver);
