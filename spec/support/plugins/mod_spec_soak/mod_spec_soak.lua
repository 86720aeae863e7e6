-- Plays histories in many small worlds at once, in this server, and compares what comes of them with a reference.
--
-- `prosody.spec_soak`, for spec/support/soak.lua:
--   open(seed, first, last, rules)  makes worlds with these numbers
--   avoid(kinds)      leaves kinds of operations out
--   play(count)       plays so many operations of chance in each world, all at once, and waits for it
--   replay(ops)       plays given operations in the one world
--   note(op)          something has happened to the whole server
--   compare()         array of { world =, found = { sentence, … } } of the worlds that are not as the reference says
--   retire(number)    ends a world; returns its history
--   failures()        worlds that ended in the midst of an operation
--   counts()          how much was done: { kind = times }
--   store() and wake(text)   all of it as text, and from it, for another process

local async = require "util.async";
local serialization = require "util.serialization";
local timer = require "util.timer";

local worlds = module:require "worlds";
local operations = worlds.operations;

local soak = {};
prosody.spec_soak = soak;

local state = { worlds = {}; failures = {}; done = {}; skipped = 0; changed = 0 };
-- The longest that worlds may take for what they are given to do, in seconds.
local patience = 25;

function soak.avoid(kinds)
	local avoided = {};
	for _, kind in ipairs(kinds) do avoided[kind] = true; end
	operations.avoid(avoided);
	return true;
end

function soak.open(seed, first, last, rules)
	for number = first, last do
		local world = worlds.new(seed, number, rules);
		world.waiting = operations.opening(world.chance);
		state.worlds[#state.worlds + 1] = world;
	end
	return true;
end

local function end_world(number)
	for i, world in ipairs(state.worlds) do
		if world.number == number then
			for kind, times in pairs(world.done) do state.done[kind] = (state.done[kind] or 0) + times; end
			state.skipped = state.skipped + world.skipped;
			local history = world.history;
			world.history = {};
			table.remove(state.worlds, i);
			world:leave();
			state.changed = state.changed + world.changed;
			return history;
		end
	end
end

-- Has each world play what `next_op` gives, until that is nothing; waits for all of them.
local function play_all(next_op)
	local open, finished = {}, false;
	local wait, done = async.waiter();
	local count = 0;
	local function finish()
		if not finished then
			finished = true;
			done();
		end
	end
	local function leave(world, difference)
		if not open[world] then return; end
		open[world], count = nil, count - 1;
		if difference then
			state.failures[#state.failures + 1] = { world = world.number; found = { difference } };
		end
		if count == 0 then finish(); end
	end
	local all = { table.unpack(state.worlds) };
	for _, world in ipairs(all) do open[world], count = true, count + 1; end
	if count == 0 then return; end
	for _, world in ipairs(all) do
		async.runner(function ()
			local ok, err = xpcall(function ()
				local n = 0;
				while true do
					n = n + 1;
					local op = next_op(world, n);
					if not op then break; end
					world:play(op);
				end
			end, function (err)
				if type(err) == "table" then return err.difference; end
				return debug.traceback(tostring(err));
			end);
			leave(world, not ok and err or nil);
		end):run(true);
	end
	local too_long = timer.add_task(patience, function ()
		for world in pairs(open) do
			leave(world, "it takes too long: "..operations.describe(world.history[#world.history]));
		end
	end);
	wait();
	timer.stop(too_long);
end

function soak.play(count)
	play_all(function (world, n)
		if world.waiting then
			local op = table.remove(world.waiting, 1);
			if op then return op; end
			world.waiting = nil;
		end
		return n <= count and operations.choose(world.chance, world.model) or nil;
	end);
	return true;
end

function soak.replay(ops)
	for _, world in ipairs(state.worlds) do world.waiting = nil; end
	play_all(function (_, n) return ops[n]; end);
	return true;
end

function soak.note(op)
	for _, world in ipairs(state.worlds) do world:note(op); end
	return true;
end

function soak.compare()
	local found = {};
	for _, world in ipairs(state.worlds) do
		local differences = world:compare();
		if differences[1] then found[#found + 1] = { world = world.number; found = differences }; end
	end
	return found;
end

function soak.retire(number)
	return end_world(number);
end

function soak.retire_all()
	while state.worlds[1] do end_world(state.worlds[1].number); end
	return true;
end

function soak.failures()
	local failures = state.failures;
	state.failures = {};
	return failures;
end

function soak.counts()
	local done, skipped, changed = {}, state.skipped, state.changed;
	for kind, times in pairs(state.done) do done[kind] = times; end
	for _, world in ipairs(state.worlds) do
		skipped, changed = skipped + world.skipped, changed + world.changed;
		for kind, times in pairs(world.done) do done[kind] = (done[kind] or 0) + times; end
	end
	return { done = done; skipped = skipped; changed = changed; worlds = #state.worlds };
end

function soak.describe(ops)
	local sentences = {};
	for i, op in ipairs(ops) do sentences[i] = operations.describe(op); end
	return sentences;
end

function soak.store()
	local stored = { worlds = {}; failures = state.failures; done = state.done; skipped = state.skipped;
		changed = state.changed };
	for i, world in ipairs(state.worlds) do
		local copy = {};
		for key, value in pairs(world) do
			if key ~= "clients" then copy[key] = value; end
		end
		stored.worlds[i] = copy;
	end
	return serialization.serialize(stored, { preset = "oneline"; fatal = true; multiref = true });
end

function soak.wake(text)
	state = assert(serialization.deserialize(text));
	for _, world in ipairs(state.worlds) do worlds.wake(world); end
	return true;
end
