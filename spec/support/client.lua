-- A client over TCP, for specs that are about what comes in from the network.
--
--	local client = require "spec.support.client".login(server, "alice");
--	client:ask("<iq type='get' id='x'>…</iq>");  -- sends it; returns all that came until everything was answered
--	client:close();

local socket = require "socket";

local client_mt = {};
client_mt.__index = client_mt;

local client = {};

local header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='%s' "
	.."version='1.0'>";

-- Takes in what has come, for a moment at the most.
function client_mt:receive()
	socket.select({ self.conn }, nil, 0.05);
	local text, err, part = self.conn:receive(65536);
	text = text or part;
	if err == "closed" then error("the server has closed the connection: "..text:sub(-1000), 0); end
	return text;
end

function client_mt:send(text)
	local sent = 0;
	while sent < #text do
		local done, err, last = self.conn:send(text, sent + 1);
		if err == "closed" then error("the server has closed the connection", 2); end
		sent = done or last;
		-- A server that cannot get rid of its answers reads no more, or ends it.
		if not done then self.buffer = self.buffer..self:receive(); end
	end
end

-- The longest text that a pattern is for.
local longest = 1000;

-- Reads until the text has `pattern`; returns all that has come up to then.
function client_mt:read(pattern)
	local came = socket.gettime();
	local parts, recent = {}, self.buffer;
	while true do
		local _, last = recent:find(pattern);
		if last then
			self.buffer = recent:sub(last + 1);
			parts[#parts + 1] = recent:sub(1, last);
			return table.concat(parts);
		end
		-- What is looked at again next time.
		parts[#parts + 1], recent = recent:sub(1, -longest - 1), recent:sub(-longest);
		local text = self:receive();
		recent = recent..text;
		if text ~= "" then came = socket.gettime(); end
		if socket.gettime() > came + 60 then error("no "..pattern.." in "..recent:sub(-longest), 2); end
	end
end

-- Sends text. Returns what has come until the server had worked on all of it: it answers in order.
function client_mt:ask(text)
	self.count = self.count + 1;
	local id = "last"..self.count;
	self:send(text..("<iq type='get' id='%s' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>"):format(id, self.host));
	return self:read(("<iq[^>]- id=['\"]%s['\"][^>]*>"):format(id));
end

function client_mt:close()
	self.conn:close();
end

-- A connection whose stream is open. `host`: "localhost", if none is given.
function client.connect(server, host)
	local conn = assert(socket.connect("127.0.0.1", server.c2s_port));
	conn:settimeout(0);
	local self = setmetatable({ conn = conn; buffer = ""; count = 0; host = host or "localhost" }, client_mt);
	self:send(header:format(self.host));
	self:read("</stream:features>");
	return self;
end

-- A client that has logged in, asked for its contact list, and sent presence.
function client.login(server, username, resource, host)
	local self = client.connect(server, host);
	local secret = require "mime".b64("\0"..username.."\0secret");
	self:send(("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>"):format(secret));
	self:read("<success[^>]*>");
	self:send(header:format(self.host));
	self:read("</stream:features>");
	self:ask(("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%s</resource></bind></iq>"
		.."<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>"):format(resource or "spec"));
	return self;
end

return client;
