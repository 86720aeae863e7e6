-- An ordinary user as an attacker: what one does to one's own list, nickname and client harms nobody else.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("a hostile member, "..title, function ()
		local server, id;

		local function call(...) return server:call(...); end
		local function fetched(user) return (world.fetch(server, user)); end

		setup(function ()
			server = world.new { host_options = { groups_roster_mode = mode; groups_remove_contacts = true } };
			server:create_user("eve", "ann", "bob", "stranger");
		end);

		teardown(function () server:destroy(); end);

		before_each(function ()
			id = world.group(server, "G", { "eve", "ann", "bob" });
			world.login(server, "eve", "ann");
		end);

		after_each(function ()
			world.logout_all(server);
			call("delete", id);
			world.settle(server);
		end);

		-- Runs Lua source inside the server, with `send(stanza)` as the client of eve.
		local function as_eve(source, ...)
			return server:eval([[
				local st, session = require "util.stanza", prosody.spec_clients.session("eve");
				session.received = {};
				local function send(stanza) prosody.spec_clients.send(session, stanza); end
				local function item(jid, name, subscription)
					return st.iq({ type = "set", id = "edit" }):tag("query", { xmlns = "jabber:iq:roster" })
						:tag("item", { xmlns = "jabber:iq:roster", jid = jid, name = name, subscription = subscription });
				end
				]]..source, ...);
		end

		local others = { eve = world.both("G"); bob = world.both("G") };

		local function assert_others_are_unharmed()
			assert.same(others, fetched("ann"));
			assert.same({ eve = world.both("G"); ann = world.both("G") }, fetched("bob"));
			assert.same({}, fetched("stranger"));
		end

		it("with a thousand labels and one of 10 kB on a contact labels nobody else's", function ()
			as_eve([[
				local set = item("ann@localhost", "A");
				for i = 1, 1000 do set:text_tag("group", "Label "..i, { xmlns = "jabber:iq:roster" }); end
				set:text_tag("group", ("x"):rep(10000), { xmlns = "jabber:iq:roster" });
				send(set);
				send(item("bob@localhost", ("n"):rep(10000)));
				return true]]);
			world.settle(server);
			assert_others_are_unharmed();
			call("set_info", id, { name = "H" });
			world.settle(server);
			assert.equal(world.both("H"), fetched("ann").eve);
			-- All of it is the user's; what the group has brought goes. What was made of a virtual contact goes with it.
			assert(call("remove_member", id, "eve"));
			world.settle(server);
			local left = fetched("eve");
			if mode == "virtual" then
				assert.same({}, left);
			else
				assert.truthy(left.ann:find("^none,,A,"));
				assert.falsy((left.ann..","):find(",H,", 1, true));
			end
			assert.same({ bob = world.both("H") }, fetched("ann"));
			call("set_info", id, { name = "G" });
			assert(call("add_member", id, "eve"));
			world.settle(server);
			assert.equal(world.both("G"), fetched("ann").eve);
		end);

		it("that takes a contact off and puts it back in a loop ends with what the group brings", function ()
			as_eve([[
				for i = 1, 100 do
					send(item("ann@localhost", nil, "remove"));
					send(item("ann@localhost", "Again "..i));
				end
				send(item("ann@localhost", nil, "remove"));
				return true]]);
			world.settle(server);
			world.logout_all(server);
			assert.equal(world.both("G"), fetched("eve").ann);
			world.settle(server);
			assert_others_are_unharmed();
		end);

		it("with a storm of requests and five thousand contacts holds nobody up, and stays in the group", function ()
			as_eve([[
				local rm, roster = require "core.rostermanager", session.roster;
				for i = 1, 5000 do
					roster["own"..i.."@example.org"] = { subscription = "none", groups = {} };
				end
				assert(rm.save_roster("eve", host, roster));
				for _ = 1, 20 do
					send(st.iq({ type = "get", id = "get" }):tag("query", { xmlns = "jabber:iq:roster" }));
				end
				return true]]);
			call("set_info", id, { name = "H" });
			world.settle(server, 30);
			call("set_info", id, { name = "G" });
			world.settle(server, 30);
			assert_others_are_unharmed();
			assert.equal(world.both("G"), fetched("eve").ann);
			server:eval([[
				local roster = require "core.rostermanager".load_roster("eve", host);
				for i = 1, 5000 do roster["own"..i.."@example.org"] = nil; end
				return assert(require "core.rostermanager".save_roster("eve", host, roster))]]);
		end);

		it("that is none yet learns nothing of a group, and is in nobody's list", function ()
			world.login(server, "stranger");
			world.forget(server);
			server:eval([[
				local st, session = require "util.stanza", prosody.spec_clients.session("stranger");
				for _, kind in ipairs { "subscribe", "subscribed", "probe", "unsubscribed" } do
					prosody.spec_clients.send(session, st.presence({ type = kind, to = "ann@localhost" }));
				end
				prosody.spec_clients.send(session, st.iq({ type = "set", id = "x" })
					:tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = "ann@localhost", subscription = "both" })
					:text_tag("group", "G", { xmlns = "jabber:iq:roster" }));
				return true]]);
			world.settle(server);
			assert.same(others, fetched("ann"));
			for _, presence in ipairs(world.presences(server, "stranger")) do
				assert.falsy(presence:find("ann:available", 1, true) or presence:find("bob", 1, true), presence);
			end
			local list = fetched("stranger");
			assert.is_nil(list.bob);
			assert.truthy(list.ann:find("^none"), list.ann);
			server:eval([[
				local st, session = require "util.stanza", prosody.spec_clients.session("stranger");
				prosody.spec_clients.send(session, st.iq({ type = "set", id = "y" })
					:tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = "ann@localhost", subscription = "remove" }));
				return true]]);
		end);

		it("gains no ownership of a group's room, and no account under a group's id takes the group along", function ()
			assert(call("create", { name = "Rooms" }, true, "rooms"));
			assert(call("add_member", "rooms", "eve"));
			local jid = call("get_info", "rooms").muc_jid;
			as_eve([[
				local jid = ...;
				send(st.presence({ to = jid.."/eve" }):tag("x", { xmlns = "http://jabber.org/protocol/muc" }));
				for _, wanted in ipairs { "owner", "admin" } do
					send(st.iq({ type = "set", to = jid, id = "grab" })
						:tag("query", { xmlns = "http://jabber.org/protocol/muc#admin" })
						:tag("item", { jid = "eve@localhost", affiliation = wanted }));
				end
				send(st.iq({ type = "set", to = jid, id = "destroy" })
					:tag("query", { xmlns = "http://jabber.org/protocol/muc#owner" }):tag("destroy"));
				return true]], jid);
			assert.equal("member", server:eval([[
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):get_affiliation("eve@localhost")]], jid));
			server:create_user("rooms");
			server:delete_user("rooms");
			world.settle(server);
			assert.same({ eve = {} }, call("get_members", "rooms"));
			server:wait_for([[
				return require "core.storagemanager".open(host, "groups", "keyval"):get("rooms") ~= nil]],
				"the group is in storage");
			assert.same({}, call("check"));
			call("delete", "rooms");
		end);
	end);
end
