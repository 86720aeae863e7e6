std = "lua54"
codes = true
max_line_length = 120
exclude_files = { "target" }

-- What Prosody puts into the environment of every module.
local hook = { read_only = false }
local prosody = {
	module = {
		other_fields = true,
		fields = {
			add_host = hook,
			command = hook,
			environment = { read_only = false, other_fields = true },
			load = hook,
			ready = hook,
			restore = hook,
			save = hook,
			unload = hook,
		},
	},
	prosody = { other_fields = true, read_only = false },
	hosts = { other_fields = true },
}

-- A module's functions for others are its globals: defined here, and used (131) elsewhere.
files["lua"] = { read_globals = prosody, allow_defined_top = true, ignore = { "131" } }
files["spec/support/plugins"] = { read_globals = prosody, allow_defined_top = true, ignore = { "131" } }
files["spec/support/demo"] = { read_globals = prosody }
files["tests"] = { read_globals = prosody }

files["spec/**/*_spec.lua"] = { std = "lua54+busted" }
files["spec/**/*_root.lua"] = { std = "lua54+busted" }
