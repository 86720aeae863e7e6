-- A storage driver for tests: internal storage that fails on demand.
--
-- `prosody.spec_failing`, from inside the server:
--   fail(rule)  calls that match answer nil, "error". rule = { store =, method =, username =, nth =, error =, throw =,
--               after = }: absent fields match all; `nth` fails only the n-th call that matches, counted from now;
--               `error` is the text; `throw` throws it instead; `after` does the work and only then says that it
--               failed. Methods: "get", "set", "users", and "purge", which has no store. Returns the rule; its field
--               `calls` counts the calls that matched, its field `failed` those that failed.
--   clear()     nothing fails any more
--   calls       every call since `forget()`, in order: { store =, method =, username = }
--   forget()    empties `calls`

local storagemanager = require "core.storagemanager";

local control = prosody.spec_failing;

if not control then
	local rules = {};
	control = { calls = {} };
	prosody.spec_failing = control;

	function control.fail(rule)
		rule.calls, rule.failed = 0, 0;
		rules[#rules + 1] = rule;
		return rule;
	end

	function control.clear()
		rules = {};
	end

	function control.forget()
		control.calls = {};
	end

	-- Returns the rule by which this call fails, if any does.
	function control.note(call)
		control.calls[#control.calls + 1] = call;
		local failing;
		for _, rule in ipairs(rules) do
			if (not rule.store or rule.store == call.store) and (not rule.method or rule.method == call.method)
			and (not rule.username or rule.username == call.username) then
				rule.calls = rule.calls + 1;
				if not failing and (not rule.nth or rule.nth == rule.calls) then
					rule.failed = rule.failed + 1;
					failing = rule;
				end
			end
		end
		return failing;
	end
end

local function perform(call, work)
	local rule = control.note(call);
	if not rule then
		return work();
	end
	if rule.after then
		work();
	end
	local text = rule.error or "failed on demand";
	if rule.throw then
		error(text);
	end
	return nil, text;
end

local host = module.host;
local below = storagemanager.load_driver(host, "internal");

local keyval = {};

function keyval:get(username)
	return perform({ store = self.name; method = "get"; username = username }, function ()
		return self.inner:get(username);
	end);
end

function keyval:set(username, data)
	return perform({ store = self.name; method = "set"; username = username }, function ()
		return self.inner:set(username, data);
	end);
end

function keyval:users()
	return perform({ store = self.name; method = "users" }, function ()
		return self.inner:users();
	end);
end

local driver = {};

-- Only keyval: Prosody makes every map itself, out of calls that can fail one by one.
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
	return perform({ method = "purge"; username = username }, function ()
		return below:purge(username);
	end);
end

module:provides("storage", driver);
