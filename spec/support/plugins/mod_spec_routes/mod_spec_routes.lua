-- Servers of a test find each other by port, without DNS: spec_routes = { ["remote.example"] = port }.

local basic = require "net.resolvers.basic";
local service = require "net.resolvers.service";

local routes, find = module:get_option("spec_routes", {}), service.new;

function service.new(name, kind, ...)
	local port = routes[name];
	if not port then return find(name, kind, ...); end
	if kind == "xmpp-server" then return basic.new("127.0.0.1", port, "tcp"); end
	return { next = function (_, answer) answer(nil); end };
end
