-- Random histories in a real Prosody: drives spec/support/plugins/mod_spec_soak, which plays them and knows the
-- reference, and does what is done to a whole server: reloads, kills, switched options.
--
--	local soak = require "spec.support.soak";
--	local outcome = soak.run { seed = 1, operations = 10000, mode = "permanent", storage = "internal" };
--	outcome.failures     array of { text =, certain = }: each with its shortest history, as far as it could be found
--	                     in time; `certain` if it went wrong again when that was played
--	outcome.counts       what was done: { kind = times }
--
-- A history of one world is a plain list of operations, those of the whole server among them. What fails is played
-- again in a world of its own, with fresh names and without a part of it, until no part can be spared.

local socket = require "socket";
local harness = require "spec.support.harness";
local world = require "spec.support.world";

local soak = {};

-- Operations of one world between two things that happen to the server.
local stretch = 10;
-- So many worlds play the same when a history is shrunk.
local copies = 5;
-- How long a comparison waits for what is to come, in seconds: for work that is said to be done, and for work that is
-- not. Shrinking is in haste: work that is not done by then is no failure.
local thorough = { moment = 0.4; patience = 20 };
local hasty = { moment = 0.1; patience = 4; forgives = true };
local whole_server = { reload = true; kill = true; restart = true; switch = true; check = true };

-- --- chance: which of the things that happen to a server, in an order that the seed says ---------------------------

local function chooser(seed)
	local at = (seed * 69069 + 1) & 0xffffffff;
	return function (n)
		at = (at * 1664525 + 1013904223) & 0xffffffff;
		return (at >> 12) % n + 1;
	end
end

local modes = {
	-- Contacts that are stored, and go with the group. Both options are switched at times.
	permanent = { rules = { mode = "permanent"; removes = true; naming = "none" };
		switches = { { removes = false }, { removes = true }, { naming = "username" }, { naming = "none" } } };
	-- The same, with nothing switched: less is left open.
	removing = { rules = { mode = "permanent"; removes = true; naming = "none" }; switches = {} };
	keeping = { rules = { mode = "permanent"; removes = false; naming = "username" }; switches = {} };
	virtual = { rules = { mode = "virtual"; removes = true; naming = "none" }; switches = {} };
	-- Contacts that are stored at times.
	both = { rules = { mode = "virtual"; removes = true; naming = "none" };
		switches = { { mode = "permanent" }, { mode = "virtual" } } };
};
soak.modes = modes;

local function options_of(rules)
	return { groups_remove_contacts = rules.removes; groups_contact_name = rules.naming; groups_roster_mode = rules.mode;
		-- What Prosody itself loses is not what this is about.
		spec_waiting_maps = true };
end

-- --- one server ----------------------------------------------------------------------------------------------------

local run_mt = {};
run_mt.__index = run_mt;

local function eval(self, source, ...)
	return self.server:eval("local soak = prosody.spec_soak; "..source, ...);
end

local function take_failures(self)
	for _, failure in ipairs(eval(self, "return soak.failures()")) do
		failure.history = eval(self, "return soak.retire(...)", failure.world);
		failure.rules = self.began_with;
		self.failures[#self.failures + 1] = failure;
	end
end

-- Gives options these values, in the configuration and with a reload of the module.
local function set_rules(self, rules)
	local same = true;
	for name, value in pairs(rules) do
		same = same and self.rules[name] == value;
		self.rules[name] = value;
	end
	if not same then world.set_options(self.server, options_of(self.rules)); end
end

-- What a process is told that has just started.
local function prepare(self, server)
	if self.without then server:eval("return prosody.spec_soak.avoid(...)", self.without); end
	if self.storage == "waiting" then
		server:eval("prosody.spec_waiting.delay = 0.0005 return true");
	elseif self.storage == "sql" then
		-- What a killed process has written is there all the same, and the disk is not what this is about.
		server:eval([[
			for _, engine in pairs(module:shared("/*/sql/connections")) do engine:execute("PRAGMA synchronous=OFF"); end
			return true]]);
	end
end

local function end_server(self, how)
	local text = eval(self, "return soak.store()");
	if how == "kill" then
		self.server:kill();
	else
		self.server:stop();
	end
	self.server:start();
	prepare(self, self.server);
	eval(self, "return soak.wake(...)", text);
end

-- Waits until all work is done as far as the module says, or for a moment where it waits for something; returns what
-- differs.
local function compare(self)
	local began, calm = socket.gettime(), 0;
	while true do
		local elapsed, status = socket.gettime() - began, self.server:call("status");
		-- A group that waits for a sync is open for good, and lists of unknown accounts are tried again for good.
		local settled = status.unsettled == 0 and (status.delayed > 0 or world.is_settled(self.server))
			or elapsed > 2 and status.unsettled == status.failing;
		calm = settled and calm + 1 or 0;
		-- Comparing takes time that the work needs.
		local late = elapsed > self.pace.patience;
		if settled or late then
			local found = eval(self, "return soak.compare()");
			-- What it says was perhaps not yet true when it was looked at.
			if #found == 0 or calm > 1 and elapsed > self.pace.moment then return found; end
			if late then
				if self.pace.forgives then return {}; end
				for _, failure in ipairs(found) do failure.found[#failure.found + 1] = "and there is work that is not done"; end
				return found;
			end
		end
		socket.sleep(0.03);
	end
end

-- Does what happens to a whole server, and tells all worlds.
local function do_whole(self, op)
	local kind = op[1];
	if kind == "reload" then
		self.server:eval([[return assert(require "core.modulemanager".reload(host, "groups_internal")) ~= nil]]);
		-- Where storage takes long, the module is not there yet, and clients show what their lists lack.
		local deadline, calm = socket.gettime() + self.pace.patience, 0;
		while (self.storage == "waiting" or self.storage == "postgresql") and calm < 3 and socket.gettime() < deadline do
			calm = self.server:call("status").unsettled == 0 and calm + 1 or 0;
			socket.sleep(0.01);
		end
	elseif kind == "switch" then
		set_rules(self, op[2]);
	elseif kind == "kill" or kind == "restart" then
		end_server(self, kind);
	elseif kind == "check" then
		self.checks = self.checks + 1;
		for _, failure in ipairs(compare(self)) do
			failure.history = eval(self, "return soak.retire(...)", failure.world);
			failure.history[#failure.history + 1] = op;
			failure.rules = self.began_with;
			self.failures[#self.failures + 1] = failure;
		end
	end
	eval(self, "return soak.note(...)", op);
	take_failures(self);
end

local function new_server(self)
	local server = harness.new {
		modules = { "spec_soak", "groups_internal" };
		muc = false;
		storage = self.storage ~= harness.storage and self.storage or nil;
		host_options = options_of(self.rules);
	};
	-- A log of everything would take longer than what it is about.
	server.settings.options = { log = { [os.getenv("SOAK_LOG") or "warn"] = server.folder.."/prosody.log" } };
	server:start();
	prepare(self, server);
	return server;
end

-- --- shrinking -----------------------------------------------------------------------------------------------------

-- Plays a history in a few worlds of its own, so that the server has something to do; returns what went wrong, or nil.
local function try(self, history, rules)
	local first = self.number + 1;
	self.number = self.number + copies;
	self.failures = {};
	set_rules(self, rules);
	self.began_with = rules;
	eval(self, "return soak.open(...)", self.seed, first, self.number, rules);
	local part = {};
	local function play()
		if part[1] then eval(self, "return soak.replay(...)", part); end
		part = {};
		take_failures(self);
		return self.failures[1] ~= nil;
	end
	for _, op in ipairs(history) do
		if whole_server[op[1]] then
			if play() then break; end
			do_whole(self, op);
			if self.failures[1] then break; end
		else
			part[#part + 1] = op;
		end
	end
	play();
	eval(self, "return soak.retire_all()");
	return self.failures[1];
end

local function without(history, is_spared)
	local shorter = {};
	for i, op in ipairs(history) do
		if not is_spared(op, i) then shorter[#shorter + 1] = op; end
	end
	return shorter;
end

-- All that has this word in it: a user, a group, or a kind of operation.
local function mentions(word)
	return function (op)
		for _, part in ipairs(op) do
			if part == word then return true; end
		end
		return false;
	end
end

-- Leaves out all that is of one user, group or kind, and then ever smaller parts, as long as it goes wrong without
-- them.
local function shrink(self, failure, deadline)
	local rules = failure.rules;
	local history, found = failure.history, false;
	self.pace = hasty;
	-- What depends on time does not go wrong each time.
	for _ = 1, 3 do
		local failed = try(self, history, rules);
		if failed then
			-- Without what was not possible after all.
			history, found = failed.history, true;
			break;
		end
	end
	if not found then
		self.pace = thorough;
		return history, nil;
	end
	local function attempt(shorter)
		local again = #shorter < #history and shorter[1] and socket.gettime() < deadline and try(self, shorter, rules);
		if again then history = again.history; end
		return again;
	end
	local words, known = { "kill", "restart", "reload", "pause" }, { check = true; login = true; register = true };
	for _, op in ipairs(history) do
		for _, part in ipairs(op) do
			if type(part) == "string" and not known[part] then
				known[part] = true;
				words[#words + 1] = part;
			end
		end
	end
	attempt(without(history, function (op, i) return op[1] == "check" and i < #history; end));
	for _, word in ipairs(words) do attempt(without(history, mentions(word))); end
	local size = math.max(1, #history // 2);
	while size >= 1 and socket.gettime() < deadline do
		local spared, at = false, 1;
		while at <= #history do
			if attempt(without(history, function (_, i) return i >= at and i < at + size; end)) then
				spared = true;
			else
				at = at + size;
			end
		end
		if size == 1 and not spared then break; end
		if not spared or size > #history then size = math.max(1, math.min(size, #history) // 2); end
	end
	self.pace = thorough;
	-- Less was waited for the work to be done: what is told has been seen with all the time there is.
	local certain = try(self, history, rules);
	if certain then return certain.history, certain.found; end
	return failure.history, nil;
end

local function tell(self, failure, history, found)
	local rules = {};
	for name, value in pairs(failure.rules) do rules[#rules + 1] = name.." = "..tostring(value); end
	table.sort(rules);
	local lines = { ("seed %d, Prosody %s, storage %s, mode %s (%s), world %d:"):format(self.seed, harness.version,
		self.storage, self.mode, table.concat(rules, ", "), failure.world) };
	for _, sentence in ipairs(eval(self, "return soak.describe(...)", history)) do
		lines[#lines + 1] = "  "..sentence;
	end
	lines[#lines + 1] = found and "then" or "then, which did not happen when that was played again:";
	lines[#lines + 1] = "  "..table.concat(found or failure.found, "\n  ");
	return table.concat(lines, "\n");
end

-- --- a run ---------------------------------------------------------------------------------------------------------

-- What happens to the server between two stretches. Every other time everything is compared; in between, all else has
-- its turn, in an order that the seed says.
local function choose_whole(self, n)
	if n % 2 == 0 then return { "check" }; end
	-- These two are in each run, however short.
	if n == 1 then return { "reload" }; end
	if n == 3 and self.kills then return { "kill" }; end
	if not self.turns or not self.turns[1] then
		self.turns = { { "reload" }, { "reload" } };
		if self.kills then
			self.turns[#self.turns + 1] = { "kill" };
			self.turns[#self.turns + 1] = { "restart" };
		end
		for _, rules in ipairs(modes[self.mode].switches) do self.turns[#self.turns + 1] = { "switch", rules }; end
	end
	return table.remove(self.turns, self.int(#self.turns));
end

local function new_run(settings)
	local self = setmetatable({
		seed = settings.seed; mode = settings.mode; storage = settings.storage or harness.storage;
		without = settings.without; kills = settings.kills ~= false; pace = thorough;
		rules = {}; failures = {}; number = 0; checks = 0; wholes = {};
	}, run_mt);
	self.int = chooser(self.seed);
	for name, value in pairs(modes[self.mode].rules) do self.rules[name] = value; end
	return self;
end

-- Settings: seed, operations, mode; and optionally storage, worlds (at once), kills (false: none), without (kinds of
-- operations), most (failures after which it is enough), shrink (seconds for each), report (how many are shrunk).
function soak.run(settings)
	local self = new_run(settings);
	self.server = new_server(self);
	local ok, outcome = xpcall(soak.drive, debug.traceback, self, settings);
	local log = self.server:log_text();
	self.server:destroy();
	if not ok then error(outcome.."\n"..log:sub(-3000), 0); end
	outcome.log_errors = {};
	for line in log:gmatch("[^\n]+") do
		-- Nor is anything off that the module would have to tell of: storage works.
		if line:find("\terror\t", 1, true) or line:find("groups_internal\twarn", 1, true) then
			outcome.log_errors[#outcome.log_errors + 1] = line;
		end
	end
	return outcome;
end

local function total(self)
	local counts, sum = eval(self, "return soak.counts()"), 0;
	for _, times in pairs(counts.done) do sum = sum + times; end
	return sum, counts;
end

function soak.drive(self, settings)
	local at_once = settings.worlds or 30;
	local began = socket.gettime();
	local sum, counts, n = 0, nil, 0;
	while sum < settings.operations and #self.failures < (settings.most or 10) do
		n = n + 1;
		-- Worlds live for so many stretches, and give way to new ones, all at the same time.
		if n % 16 == 1 then
			eval(self, "return soak.retire_all()");
			self.began_with = {};
			for name, value in pairs(self.rules) do self.began_with[name] = value; end
			eval(self, "return soak.open(...)", self.seed, self.number + 1, self.number + at_once, self.began_with);
			self.number = self.number + at_once;
		end
		eval(self, "return soak.play(...)", stretch);
		take_failures(self);
		local op = choose_whole(self, n);
		self.wholes[op[1]] = (self.wholes[op[1]] or 0) + 1;
		do_whole(self, op);
		sum, counts = total(self);
	end
	do_whole(self, { "check" });
	local seconds = socket.gettime() - began;
	eval(self, "return soak.retire_all()");
	for kind, times in pairs(self.wholes) do counts.done[kind] = times; end
	local failures, checks = self.failures, self.checks;
	local told = {};
	for i, failure in ipairs(failures) do
		if i > (settings.report or 3) then break; end
		local seconds_left = settings.shrink or 40;
		local history, found = failure.history, nil;
		if seconds_left > 0 then history, found = shrink(self, failure, socket.gettime() + seconds_left); end
		told[i] = { text = tell(self, failure, history, found); history = history; certain = found ~= nil };
	end
	return { failures = told; failed = #failures; counts = counts.done; skipped = counts.skipped; changed = counts.changed;
		operations = sum; checks = checks; seconds = seconds };
end

-- Plays one history, a list of operations such as { "add", "g", "ann" } and { "kill" }, in a few worlds. Returns nil,
-- or how it comes out otherwise than the reference says.
function soak.replay(mode, history)
	local self = new_run { seed = 1; mode = mode };
	self.server = new_server(self);
	local ok, failed = xpcall(try, debug.traceback, self, history, modes[mode].rules);
	self.server:destroy();
	if not ok then error(failed, 0); end
	return failed and table.concat(failed.found, "\n");
end

-- What a run has done, in a few lines.
function soak.summary(outcome)
	local kinds = {};
	for kind, times in pairs(outcome.counts) do kinds[#kinds + 1] = ("%s %d"):format(kind, times); end
	table.sort(kinds);
	return ("%d operations in %.0f s, %d a second; %d contact list pushes; everything was compared %d times\n%s"):format(
		outcome.operations, outcome.seconds, outcome.operations // outcome.seconds, outcome.changed, outcome.checks,
		table.concat(kinds, ", "));
end

return soak;
