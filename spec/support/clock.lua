-- A clock that can be put forward, in a server under test. Its configuration runs this (`clock` in the settings of
-- harness.new), before anything in Prosody looks at its watch.
--
-- `prosody.spec_clock`, from inside the server:
--   advance(seconds)  puts the clock forward: timers that are due by then run in the next turns of the event loop
--   longest_turn()    the processor time, in seconds, that the longest turn of the event loop since the last call took

-- luacheck: globals prosody

if prosody.spec_clock then return; end -- the configuration has been reloaded

local time, poll, processor_time = require "util.time", require "util.poll", os.clock;

local ahead = 0;
for _, name in ipairs { "now", "monotonic" } do
	local read = time[name];
	time[name] = function () return read() + ahead; end
end
local read_date = os.time;
os.time = function (date) -- luacheck: ignore 122/os
	return date and read_date(date) or read_date() + math.floor(ahead);
end

local longest, began = 0, nil;
local methods = debug.getmetatable(assert(poll.new())).__index;
local wait = methods.wait;
function methods.wait(...)
	if began then longest = math.max(longest, processor_time() - began); end
	local fd, readable, writable = wait(...);
	began = processor_time();
	return fd, readable, writable;
end

prosody.spec_clock = {
	advance = function (seconds)
		ahead = ahead + seconds;
	end;
	longest_turn = function ()
		local seconds = longest;
		longest = 0;
		return seconds;
	end;
};
