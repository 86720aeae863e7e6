-- Chance that can be repeated: a small generator whose state is a number, and so can be stored.

local random = {};

-- A generator of its own for each number of a run.
function random.new(seed, number)
	local state = { at = (seed * 1000003 + number * 7919 + 12345) & 0xffffffffffff };
	for _ = 1, 8 do random.int(state, 2); end
	return state;
end

-- 1 to n.
function random.int(state, n)
	state.at = (state.at * 25214903917 + 11) & 0xffffffffffff;
	return (state.at >> 17) % n + 1;
end

function random.pick(state, list)
	return list[random.int(state, #list)];
end

-- True in so many of a hundred cases.
function random.chance(state, percent)
	return random.int(state, 100) <= percent;
end

return random;
