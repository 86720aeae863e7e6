-- Damaged records of every kind: what is wrong is dropped with one line in the log, nothing throws, no stanza is kept
-- from Prosody, and the rest works.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

-- In place of a provenance: Lua source of what is stored.
local provenances = {
	"7", "true", "'{'", "'[]'", "'7'", "{}", "{ 1, 2 }", "{ labels = 7 }", "{ labels = { g = true } }",
	"{ labels = { g = { 7 } } }", "{ notes = 'x' }", "{ notes = { bob = 5 } }", "{ notes = { bob = { labels = 7 } } }",
	"{ notes = { bob = { labels = { 'G', {} } } } }", [['{"labels":7}']], [['{"labels":{"g":7}}']],
	[['{"notes":{"bob":7}}']], "{ [{}] = {} }",
};

-- In place of what a user has made of virtual contacts.
local edits = {
	"'x'", "7", "{ 7 }", "{ ['bob@localhost'] = 7 }", "{ ['bob@localhost'] = { name = {} } }",
	"{ ['bob@localhost'] = { name = 'B', groups = 7 } }", "{ ['bob@localhost'] = { groups = { 1, 2, {} } } }",
};

-- In place of the record of open work. `g` is the group's.
local markers = {
	"'x'", "7", "{ 7 }", "{ format = 1 }", "{ format = 1, generation = 'x' }", "{ format = 1, generation = -1 }",
	"{ format = 1, generation = 5, unsettled = 7, awaiting = 'x', lost = true }",
	"{ format = 1, generation = 5, withdrawals = 7, partings = 'x', departures = true, stayed = 1, copies = 'x' }",
	"{ format = 1, generation = 5, withdrawals = { bob = 7 }, partings = { g = 'x' }, departures = { bob = true } }",
	"{ format = 1, generation = 5, copies = { g = 7 } }", "{ format = 1, generation = 5, copies = { g = { info = 7 } } }",
};

-- In place of a group's own record, and of its members.
local records = {
	"'x', {}", "7, 7", "{ name = {}, muc_jid = 7, mucs = 'x' }, { ann = 7, bob = 'x' }",
	"{ name = 'H', mucs = { 7, {}, 'x', '@@' } }, 'x'",
	"{ name = '\\255\\254' }, { 'ann', 'bob', [true] = {}, ['a@b'] = {} }",
	"{ name = ('n'):rep(5000), muc_jid = 'nowhere' }, { [''] = {}, ['\\255'] = {} }",
};

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("damaged, "..title, function ()
		local server;

		local function call(...) return server:call(...); end

		setup(function ()
			server = world.new { host_options = { groups_roster_mode = mode; groups_remove_contacts = true } };
			server:create_user("ann", "bob", "carl");
		end);

		teardown(function () server:destroy(); end);

		before_each(function ()
			world.logout_all(server);
			call("delete", "g");
			assert(call("create", { name = "G" }, false, "g"));
			for _, user in ipairs { "ann", "bob" } do assert(call("add_member", "g", user)); end
			world.settle(server);
		end);

		-- Stores what `source` evaluates to while the module is not there. Storage may refuse it.
		local function damage(source)
			return server:eval([[
				local modulemanager, storage = require "core.modulemanager", require "core.storagemanager";
				local function put(store, key, value)
					return (pcall(function () return assert(storage.open(host, store, "keyval"):set(key, value)); end));
				end
				assert(modulemanager.unload(host, "groups_internal"));
				local done = (function () ]]..source..[[ end)();
				hosts[host].roster_cache = nil;
				module:log("info", "The damage is done");
				assert(modulemanager.load(host, "groups_internal"));
				return done or false]]);
		end

		-- How many lines of the module's in the log, from `mark` on, have this level.
		local function complaints(mark, level)
			local count = 0;
			for line in server:log_text(mark):gmatch("[^\n]+") do
				if line:find("groups_internal\t"..level.."\t", 1, true) then count = count + 1; end
			end
			return count;
		end

		-- Storage may have thrown when the damage was done.
		local function assert_nothing_threw(mark, what)
			for line in server:log_text(mark):match("The damage is done(.*)"):gmatch("[^\n]+") do
				assert.falsy(line:find("traceback", 1, true), what..": "..line);
			end
		end

		-- A user's client changes an item; returns the type of the answer.
		local function edit(user, contact, name)
			return server:eval([[
				local st, user, contact, name = require "util.stanza", ...;
				local session = prosody.spec_clients.session(user);
				session.received = {};
				prosody.spec_clients.send(session, st.iq({ type = "set", id = "edit" })
					:tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = contact.."@localhost", name = name }));
				for _, stanza in ipairs(session.received) do
					if stanza.attr.id == "edit" then return stanza.attr.type; end
				end]], user, contact, name);
		end

		-- The group still brings contacts to ann, and a client's edits get an answer.
		local function assert_ann_is_served(what)
			world.login(server, "ann");
			assert.equal("result", edit("ann", "bob", "Bobby"), what);
			assert.equal("result", edit("ann", "stranger", "Stranger"), what);
			assert(call("add_member", "g", "carl"));
			world.settle(server);
			local contacts = world.fetch(server, "ann");
			assert.equal(world.both("G"), contacts.carl, what);
			assert.equal("both,,Bobby", contacts.bob:match("^both,,Bobby"), what);
			assert(call("remove_member", "g", "carl"));
			world.settle(server);
			assert.is_nil(world.fetch(server, "ann").carl, what);
			assert.equal("result", server:eval([[
				local session = prosody.spec_clients.session("ann");
				session.received = {};
				prosody.spec_clients.send(session, require "util.stanza".iq({ type = "set", id = "remove" })
					:tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = "stranger@localhost", subscription = "remove" }));
				for _, stanza in ipairs(session.received) do
					if stanza.attr.id == "remove" then return stanza.attr.type; end
				end]]), what);
		end

		it("provenance is dropped with at most one warning, and healed", function ()
			for _, value in ipairs(provenances) do
				local mark = server:log_mark();
				local done = damage(([[
					local roster = storage.open(host, "roster", "keyval"):get("ann") or {};
					roster[false] = roster[false] or { version = 1 };
					roster[false].groups_internal = %s;
					return put("roster", "ann", roster)]]):format(value));
				if done then
					assert_ann_is_served(value);
					assert_nothing_threw(mark, value);
					assert.is_true(complaints(mark, "warn") <= 1, value);
					assert.equal(0, complaints(mark, "error"), value);
					world.logout_all(server);
					world.settle(server);
					local stored = server:eval([[
						local roster = require "core.storagemanager".open(host, "roster", "keyval"):get("ann");
						local provenance = roster and roster[false] and roster[false].groups_internal;
						if type(provenance) == "table" then return next(provenance) == nil; end -- as version 1.0.0 stored none
						return provenance == nil or type(require "util.json".decode(provenance)) == "table"]]);
					assert.is_true(stored, value);
				end
			end
		end);

		if mode == "virtual" then
			it("edits of virtual contacts are dropped with at most one warning", function ()
				for _, value in ipairs(edits) do
					local mark = server:log_mark();
					if damage(("return put('groups_contacts', 'ann', %s)"):format(value)) then
						assert_ann_is_served(value);
						assert_nothing_threw(mark, value);
						assert.is_true(complaints(mark, "warn") <= 1, value);
						assert.equal(0, complaints(mark, "error"), value);
						world.logout_all(server);
					end
				end
			end);
		end

		it("record of open work is replaced with at most one warning", function ()
			for _, value in ipairs(markers) do
				local mark = server:log_mark();
				if damage(("return put('groups_internal', nil, %s)"):format(value)) then
					world.settle(server);
					assert_ann_is_served(value);
					assert_nothing_threw(mark, value);
					assert.is_true(complaints(mark, "warn") + complaints(mark, "error") <= 1, value);
					assert.same({ ann = {}; bob = {} }, call("get_members", "g"), value);
					world.logout_all(server);
				end
			end
		end);

		it("records of one group leave the others as they are, and can be asked for, mended and deleted", function ()
			for _, value in ipairs(records) do
				local mark = server:log_mark();
				damage(([[
					local info, members = %s;
					return { put("group_info", "h", info), put("groups", "h", members) }]]):format(value));
				world.settle(server);
				assert_ann_is_served(value);
				server:eval([[
					for _, name in ipairs { "get_info", "get_members", "exists", "get_group_chats", "sync", "emit_member_events" } do
						groups[name]("h");
					end
					for id in groups.groups() do groups.get_info(id); end
					assert(groups.check());
					assert(groups.repair());
					groups.delete("h");
					return true]]);
				assert.is_false(call("exists", "h"), value);
				assert_nothing_threw(mark, value);
				server:eval([[
					for _, store in ipairs { "group_info", "groups" } do
						require "core.storagemanager".open(host, store, "keyval"):set("h", nil);
					end
					return true]]);
				world.logout_all(server);
			end
		end);
	end);
end
