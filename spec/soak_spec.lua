-- Random histories of many small worlds at once: see spec/support/soak.lua. `make soak` runs more of them.
--
-- The environment may say: SOAK_SEED, SOAK_OPS (operations of each run), SOAK_MODE (one of those below), SOAK_STORAGE
-- (waiting), SOAK_WITHOUT (kinds of operations that are left out, with commas between).
--
-- Without SOAK_OPS it is a test among others: what went wrong once, and not when its history was played again, is
-- printed and does not count.

local harness = require "spec.support.harness";
local soak = require "spec.support.soak";

local function words(text)
	local found = {};
	for word in (text or ""):gmatch("[%a_]+") do found[#found + 1] = word; end
	return found;
end

local is_search = tonumber(os.getenv("SOAK_OPS")) ~= nil;
local seed = tonumber(os.getenv("SOAK_SEED")) or 41;
local operations = tonumber(os.getenv("SOAK_OPS")) or 2000;
local without = words(os.getenv("SOAK_WITHOUT"));
local function given(name)
	local value = os.getenv(name);
	return value ~= "" and value or nil;
end

local chosen_mode, chosen_storage = given("SOAK_MODE"), given("SOAK_STORAGE");

-- Which modes with which storage: what a storage may make wrong is the same in most modes.
local runs = { { "permanent", harness.storage }, { "virtual", harness.storage }, { "both", harness.storage } };
if harness.storage == "internal" then
	runs[#runs + 1] = { "removing", "internal" };
	runs[#runs + 1] = { "keeping", "internal" };
	runs[#runs + 1] = { "removing", "waiting" };
	runs[#runs + 1] = { "both", "waiting" };
end
if chosen_mode or chosen_storage then
	runs = {};
	for _, mode in ipairs(chosen_mode and { chosen_mode } or { "permanent", "virtual", "both" }) do
		runs[#runs + 1] = { mode, chosen_storage or harness.storage };
	end
end

local kinds = { "register", "enrol", "unregister", "login", "logout", "evict", "load", "name", "unname", "label",
	"unlabel", "take_off", "request", "approve", "befriend", "unsubscribe", "cancel", "create", "rename", "delete", "add",
	"add_delayed", "remove", "sync", "check", "reload", "kill" };

describe("random histories with Prosody "..harness.version, function ()
	for _, run in ipairs(runs) do
		local mode, storage = table.unpack(run);
		it(("come out as the reference says, mode %s, storage %s, seed %d"):format(mode, storage, seed), function ()
			local outcome = soak.run { seed = seed; operations = operations; mode = mode; storage = storage; without = without;
				report = is_search and 3 or 10 };
			if is_search then print("\n"..soak.summary(outcome)); end
			local texts, failed = {}, is_search and outcome.failed or 0;
			for _, failure in ipairs(outcome.failures) do
				texts[#texts + 1] = failure.text;
				if not is_search and failure.certain then failed = failed + 1; end
			end
			if outcome.failed > #texts then texts[#texts + 1] = ("and %d more"):format(outcome.failed - #texts); end
			local text = "\n"..table.concat(texts, "\n\n");
			assert(failed == 0, text);
			if texts[1] then print(text); end
			assert.same({}, outcome.log_errors);
			-- A run that did little says little.
			local avoided = {};
			for _, kind in ipairs(without) do avoided[kind] = true; end
			for _, kind in ipairs(kinds) do
				assert((outcome.counts[kind] or 0) > 0 or avoided[kind], kind.." never happened");
			end
			assert(outcome.changed > operations / 20, ("only %d contact lists changed"):format(outcome.changed));
		end);
	end
end);
