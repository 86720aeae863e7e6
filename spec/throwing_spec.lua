-- Hostile calls and events: nothing of ours throws into Prosody or a caller.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("with "..title, function ()
		local server;

		setup(function ()
			server = world.new { host_options = { groups_roster_mode = mode } };
			server:create_user("ann", "bob");
			world.group(server, "G", { "ann", "bob" });
			world.login(server, "ann");
		end);

		teardown(function () server:destroy(); end);

		it("events of contacts that are no text pass by, and the account is deleted all the same", function ()
			local mark = server:log_mark();
			-- Prosody's own handlers may throw.
			assert.same({}, server:eval([[
				local ours = {};
				for _, jid in ipairs { 7, true, {}, "", "@", "\255", "a@b/c", false } do
					local event = { username = "ann", jid = jid or nil, item = {}, roster = {} };
					local _, err = xpcall(function () module:fire_event("roster-item-removed", event); end, debug.traceback);
					if tostring(err):find("groups_internal", 1, true) then ours[#ours + 1] = err; end
				end
				return ours]]));
			server:create_user("odd");
			world.store_roster(server, "odd", { ["x@localhost"] = { subscription = "both", groups = {} } });
			server:eval([[
				local roster = require "core.rostermanager".load_roster("odd", host);
				roster[7] = { subscription = "none", groups = {} };
				return true]]);
			server:eval("return pcall(require 'core.usermanager'.delete_user, 'odd', host) and true");
			for line in server:log_text(mark):gmatch("[^\n]+") do
				assert.falsy(line:find("mod_groups_internal", 1, true), line);
			end
		end);

		it("an error in a hook is logged once, with what to do, and does not get to who fired the event", function ()
			local mark = server:log_mark();
			assert.is_true(server:eval([[
				for _ = 1, 2 do module:fire_event("roster-load", { username = "ann" }); end
				return true]]));
			local _, times = server:log_text(mark):gsub("The hook on roster%-load failed", "");
			assert.equal(1, times);
			assert.truthy(server:log_text(mark):find("restart Prosody if it goes on", 1, true));
		end);

		it("a strange roster query gets Prosody's answer", function ()
			for _, source in ipairs {
				[[:tag("item", { xmlns = ns })]], [[:tag("item", { xmlns = ns, jid = "" })]],
				[[:tag("item", { xmlns = ns, jid = "@@" })]], [[:tag("item", { xmlns = ns, jid = ("x"):rep(5000).."@localhost" })]],
				[[:tag("item", { xmlns = ns, jid = "bob@localhost", subscription = "strange" }):tag("group", { xmlns = ns })]],
				[[:tag("item", { xmlns = ns, jid = "bob@localhost/r" })]], "",
			} do
				local answer = server:eval(([[
					local st, ns = require "util.stanza", "jabber:iq:roster";
					local session = prosody.spec_clients.session("ann");
					session.received = {};
					local set = st.iq({ type = "set", id = "odd" }):tag("query", { xmlns = ns })%s;
					prosody.spec_clients.send(session, set);
					for _, stanza in ipairs(session.received) do
						if stanza.attr.id == "odd" then return stanza.attr.type; end
					end
					return "none"]]):format(source));
				assert.truthy(answer == "result" or answer == "error", source..": "..answer);
			end
		end);

		it("an info that throws when it is read is a bad request", function ()
			local throwing = "setmetatable({}, { __index = function () error('on purpose') end })";
			assert.same({ "bad-request" }, { server:eval("return (select(2, groups.create("..throwing..")))") });
			local id = server:eval("return (next(groups.groups()))");
			assert.same({ "bad-request" },
				{ server:eval("return (select(2, groups.set_info(..., "..throwing..")))", id) });
		end);

		it("an environment that is kept after an unload knows no group, and changes none", function ()
			assert.same({
				false, 0, 0, 0, true, "internal-server-error", "internal-server-error", "internal-server-error",
			}, server:eval([[
				local modulemanager = require "core.modulemanager";
				local kept, id = groups, (next(groups.groups()));
				assert(modulemanager.unload(host, "groups_internal"));
				local function count(t) local n = 0; for _ in pairs(t) do n = n + 1; end return n; end
				local found = { kept.exists(id), count(kept.get_members(id)), count(kept.get_user_groups("ann")),
					count(kept.groups()), kept.get_info(id) == nil,
					(select(2, kept.create({ name = "New" }))), (select(2, kept.add_member(id, "ann"))),
					(select(2, kept.delete(id))) };
				assert(modulemanager.load(host, "groups_internal"));
				return found]]));
		end);
	end);
end

describe("on a component with Prosody "..harness.version.." and storage "..harness.storage, function ()
	it("the module refuses to load, with one line", function ()
		local chats = { "muc", modules = { "groups_internal" } };
		local server = harness.new { modules = {}; components = { ["chat.example"] = chats } };
		finally(function () server:destroy(); end);
		server:start();
		assert.is_false(server:eval([[
			return require "core.modulemanager".is_loaded("chat.example", "groups_internal") or false]]));
		local _, count = server:log_text():gsub("groups_internal is for the accounts of a VirtualHost", "");
		assert.equal(1, count);
		assert.falsy(server:log_text():find("stack traceback", 1, true));
	end);
end);
