-- Tells by the outcome of effects whether storage is well, for the module's status.

-- How often it is looked whether contact lists that failed are well again, in seconds.
local look_again = 1;

return function (effects, handle, show)
	local is_looking;

	local function look()
		local failing = handle:status().failing;
		show("lists", failing > 0 and ("Contact lists cannot be read or stored: %d (see log)"):format(failing) or nil);
		is_looking = failing > 0;
		return is_looking and look_again or nil;
	end

	local function watch(name, note)
		local perform = effects[name];
		local function noted(ok, ...)
			note(ok);
			return ok, ...;
		end
		effects[name] = function (...) return noted(perform(...)); end
	end

	for _, name in ipairs { "store_info", "store_member", "store_members" } do
		watch(name, function (ok) show("records", not ok and "Groups cannot be stored (see log)" or nil); end);
	end
	for _, name in ipairs { "load_roster", "save_roster" } do
		watch(name, function (ok)
			if ok == true or is_looking then return; end -- it may be "broken", too
			is_looking = true;
			module:add_timer(look_again, look);
		end);
	end
end
