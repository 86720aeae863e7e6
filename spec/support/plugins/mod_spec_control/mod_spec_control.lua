-- Lets a test or a benchmark run Lua inside a running Prosody.
--
-- A request on the TCP port `spec_control_port` (127.0.0.1) is "LENGTH\nSOURCE"; SOURCE is a Lua chunk that is run in
-- an async context with `module`, `host` and `groups` (the environment of mod_groups_internal, or nil) in scope.
-- The answer is "LENGTH\nJSON": {"ok":true,"result":[...],"n":N} or {"ok":false,"error":"..."}.
-- A nil in the results is JSON null. For tests only: it runs whatever it is sent.

local async = require "util.async";
local json = require "util.json";
local server = require "net.server";

local port = module:get_option_number("spec_control_port");
local buffers = {};

local function encode(ok, ...)
	if not ok then
		return json.encode({ ok = false; error = tostring((...)) });
	end
	local n, result = select("#", ...), {};
	for i = 1, n do
		local value = select(i, ...);
		if value == nil then value = json.null; end
		result[i] = value;
	end
	local encodable, text = pcall(json.encode, { ok = true; result = json.array and json.array(result) or result; n = n });
	if not encodable then
		return json.encode({ ok = false; error = "result cannot be encoded: "..tostring(text) });
	end
	return text;
end

local function run(source)
	local env = setmetatable({
		module = module;
		host = module.host;
		groups = prosody.hosts[module.host].modules.groups_internal;
	}, { __index = _G });
	local chunk, err = load(source, "=control", "t", env);
	if not chunk then
		return encode(false, err);
	end
	return encode(xpcall(chunk, debug.traceback));
end

local function serve(conn, source)
	local runner = async.runner(function (text)
		local answer = run(text);
		if buffers[conn] then
			conn:write(#answer.."\n"..answer);
		end
	end);
	runner:run(source);
end

local listener = {};

function listener.onconnect(conn)
	buffers[conn] = "";
end

function listener.onincoming(conn, data)
	local buffer = buffers[conn]..data;
	while true do
		local header, rest = buffer:match("^(%d+)\n()");
		local length = tonumber(header);
		if not length or #buffer < rest + length - 1 then break; end
		local source = buffer:sub(rest, rest + length - 1);
		buffer = buffer:sub(rest + length);
		buffers[conn] = buffer;
		serve(conn, source);
	end
	buffers[conn] = buffer;
end

function listener.ondisconnect(conn)
	buffers[conn] = nil;
end

local handle = assert(server.addserver("127.0.0.1", port, listener, "*a"));

function module.unload()
	handle:close();
	for conn in pairs(buffers) do
		conn:close();
	end
end

