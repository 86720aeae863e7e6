-- Returns a loop in which one bad item does not stop the others: names in storage may be anything, and stanzas refuse
-- some.

local traceback = debug.traceback;

-- Calls `act(item, i)` for each item. What throws is logged, and handed to `on_error(item)` if there is one.
return function (items, what, act, on_error)
	for i = 1, #items do
		local item = items[i];
		local ok, err = xpcall(act, traceback, item, i);
		if not ok then
			module:log("error", "Could not %s %s: %s", what, item, err);
			if on_error then on_error(item); end
		end
	end
end
