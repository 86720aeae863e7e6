-- An ordinary user as an attacker: what one does to one's own list, nickname and client harms nobody else.

local client = require "spec.support.client";
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

-- What comes in from the network. Sizes are for a test among others; `make soak` takes what a server may meet.
local is_search = tonumber(os.getenv("SOAK_OPS")) ~= nil;

local function roster_set(jid, name, groups, subscription)
	local labels = {};
	for i, group in ipairs(groups or {}) do labels[i] = "<group>"..group.."</group>"; end
	return ("<iq type='set' id='edit'><query xmlns='jabber:iq:roster'><item jid='%s' name='%s'%s>%s</item></query></iq>")
		:format(jid, name, subscription and " subscription='"..subscription.."'" or "", table.concat(labels));
end

for _, mode in ipairs { "permanent", "virtual" } do
	local title = ("%s contacts, Prosody %s and storage %s"):format(mode, harness.version, harness.storage);

	describe("an attacker over TCP, "..title, function ()
		local server, eve;

		local function call(...) return server:call(...); end
		local function fetched(user) return (world.fetch(server, user)); end

		local settings = {
			clock = true;
			modules = { "groups_internal", "pep" };
			global_modules = { "disco", "roster", "saslauth", "ping", "register_ibr",
				"user_account_management" };
			options = { allow_registration = true; c2s_stanza_size_limit = 4 * 1024 * 1024;
				min_seconds_between_registrations = 0 };
			host_options = { groups_roster_mode = mode; groups_remove_contacts = true; groups_contact_name = "nickname" };
		};

		setup(function ()
			server = world.new(settings);
			server:create_user("eve", "ann", "bob", "stranger");
		end);

		teardown(function () server:destroy(); end);

		after_each(function ()
			if eve then eve:close(); end
			eve = nil;
			world.logout_all(server);
			for id in pairs(call("groups")) do call("delete", id); end
			world.settle(server);
		end);

		local function one_of(group, name)
			return table.concat({ "both", "", name, group }, ",");
		end

		-- All that may be sent about a contact list.
		local function assault(attacker)
			local labels, long = {}, {};
			for i = 1, 1000 do labels[i] = "Label "..i; end
			for i = 1, 20 do long[i] = i..("x"):rep(10000); end
			for _ = 1, is_search and 20 or 1 do
				attacker:ask(roster_set("ann@localhost", "A", labels));
				attacker:ask(roster_set("bob@localhost", "B", long));
				attacker:ask(roster_set("ann@localhost", ("n"):rep(10000), long));
			end
			for i = 1, is_search and 500 or 15 do
				attacker:send(roster_set("ann@localhost", "A", nil, "remove")..roster_set("ann@localhost", "Again "..i)
					.."<presence type='subscribe' to='ann@localhost'/><presence type='unsubscribe' to='bob@localhost'/>");
			end
			attacker:ask(roster_set("bob@localhost", "B"));
			attacker:ask(("<iq type='get' id='get'><query xmlns='jabber:iq:roster'/></iq>"):rep(is_search and 5000 or 100));
			for i = 1, is_search and 5000 or 30 do attacker:send(roster_set("own"..i.."@example.org", "Own", { "G" })); end
			attacker:ask("<presence/>");
		end

		-- The longest turn of a server in the quickest of three assaults: the machine may be at other work in one of them.
		local function longest_turn(attacked, attacker)
			local quickest = math.huge;
			for _ = 1, 3 do
				attacked:eval("prosody.spec_clock.longest_turn() return true");
				assault(attacker);
				quickest = math.min(quickest, attacked:eval("return prosody.spec_clock.longest_turn()"));
			end
			return quickest;
		end

		it("harms no list but the own one, and holds the server up no longer than Prosody alone", function ()
			local id = world.group(server, "G", { "eve", "ann", "bob" });
			world.login(server, "ann");
			eve = client.login(server, "eve");
			local longest = longest_turn(server, eve);
			world.settle(server, 60);
			assert.equal(one_of("G", "bob"), fetched("ann").bob);
			assert.equal(one_of("G", "ann"), fetched("bob").ann);
			assert.equal("both,,eve,G", fetched("ann").eve);
			assert.same({}, fetched("stranger"));
			eve:close();
			server:wait_for("return hosts[host].sessions.eve == nil", "eve is gone");
			for user, name in pairs { ann = "Again "..(is_search and 500 or 15), bob = "B" } do
				assert.truthy(fetched("eve")[user]:find("^both,,"..name..","), fetched("eve")[user]:sub(1, 100));
			end
			assert(call("remove_member", id, "eve"));
			world.settle(server, 60);
			assert.same({ bob = one_of("G", "bob") }, fetched("ann"));

			local alone = harness.new { clock = true; modules = { "spec_clients" }; options = settings.options };
			finally(function () alone:destroy(); end);
			alone:start();
			alone:create_user("eve", "ann", "bob");
			for _, user in ipairs { "eve", "ann", "bob" } do
				local items = {};
				for _, other in ipairs { "eve", "ann", "bob" } do
					if other ~= user then items[other.."@localhost"] = { subscription = "both"; groups = { G = true } }; end
				end
				world.store_roster(alone, user, items, { version = 1 });
			end
			world.login(alone, "ann");
			local attacker = client.login(alone, "eve");
			local without = longest_turn(alone, attacker);
			attacker:close();
			if is_search then print(("longest turn %.0f ms, alone %.0f ms"):format(longest * 1000, without * 1000)); end
			assert(longest < without * 1.5 + 0.05, ("%.1f ms, and %.1f ms without the module"):format(longest * 1000,
				without * 1000));
		end);

		it("with a nickname of a megabyte gives others a short line of it, and none that turns text around", function ()
			world.group(server, "G", { "eve", "ann", "bob" });
			world.login(server, "ann");
			eve = client.login(server, "eve");
			local function publish(nickname)
				return eve:ask(("<iq type='set' id='nick'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
					.."<publish node='http://jabber.org/protocol/nick'><item id='current'><nick "
					.."xmlns='http://jabber.org/protocol/nick'>%s</nick></item></publish></pubsub></iq>"):format(nickname));
			end
			assert.falsy(publish(("e"):rep(1000000)):find("type='error'", 1, true));
			world.logout(server, "ann"); -- names follow with the next login
			assert.equal(one_of("G", ("e"):rep(64)), fetched("ann").eve);
			publish("E\u{202E}v\u{2066}e\u{85}\u{200B} of\n\t<![CDATA[<b>]]>x");
			local name = fetched("ann").eve:match("^both,,(.*),G$");
			assert.truthy(name:find("^Eve"), name);
			for _, character in ipairs { "\u{202E}", "\u{2066}", "\u{85}", "\u{200B}", "\n", "\t" } do
				assert.falsy(name:find(character, 1, true), name);
			end
		end);

		it("who registers an account of a group's id gets nothing of it, and takes nothing along", function ()
			assert(call("create", { name = "G" }, true, "takeover"));
			for _, user in ipairs { "ann", "bob" } do assert(call("add_member", "takeover", user)); end
			world.settle(server);
			local connection = client.connect(server);
			connection:send("<iq type='set' id='account'><query xmlns='jabber:iq:register'><username>takeover</username>"
				.."<password>secret</password></query></iq>");
			connection:read("<iq[^>]-type='result'");
			connection:close();
			eve = client.login(server, "takeover");
			assert.same({}, call("get_user_groups", "takeover"));
			assert.same({}, fetched("takeover"));
			local jid = call("get_info", "takeover").muc_jid;
			assert.truthy(eve:ask(("<presence to='%s/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>"):format(jid))
				:find("registration-required", 1, true));
			eve:send("<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>");
			server:wait_for([[return not require "core.usermanager".user_exists("takeover", host)]], "the account is gone");
			server:wait_for([[
				return require "core.storagemanager".open(host, "groups", "keyval"):get("takeover") ~= nil]],
				"the group is in storage");
			assert.same({ ann = {}; bob = {} }, call("get_members", "takeover"));
			assert.same({ ann = {}; bob = {} }, server:stored("groups", "takeover"));
			assert.same({}, call("check"));
		end);

		local function affiliation(jid, user)
			return server:eval([[
				local jid, user = ...;
				return hosts["groups.localhost"].modules.muc.get_room_from_jid(jid):get_affiliation(user.."@localhost")]],
				jid, user);
		end

		it("who has a room where a chat is going to be owns no chat, and gets nobody into the room", function ()
			eve = client.login(server, "eve");
			local theirs = "book-club@groups.localhost";
			local join = ("<presence to='%s/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>"):format(theirs);
			assert.truthy(eve:ask(join):find("affiliation='owner'", 1, true));
			assert(call("create", { name = "Book Club" }, true, "books"));
			assert(call("add_member", "books", "ann"));
			local jid = call("get_info", "books").muc_jid;
			assert.not_equal(theirs, jid);
			assert.is_nil(affiliation(jid, "eve"));
			assert.equal("member", affiliation(jid, "ann"));
			assert.is_nil(affiliation(theirs, "ann"));
			assert.truthy(eve:ask(join:gsub("to='[^']*'", "to='"..jid.."/x'")):find("registration-required", 1, true));
			-- Nor where one has been.
			assert(call("remove_group_chat", "books", (jid:match("^[^@]+"))));
			eve:ask(join:gsub("to='[^']*'", "to='"..jid.."/x'"));
			local chat = call("add_group_chat", "books", "Book Club");
			assert.is_nil(affiliation(chat.jid, "eve"));
			assert.equal("member", affiliation(chat.jid, "ann"));
			assert.same({}, call("check"));
		end);

		it("who is in no group is not told who is in one", function ()
			local id = world.group(server, "Secret", { "ann", "bob" }, true);
			local jid = call("get_info", id).muc_jid;
			world.login(server, "ann", "bob");
			eve = client.login(server, "stranger");
			local told = {};
			for _, text in ipairs {
				"<iq type='get' id='a' to='groups.localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
				"<iq type='get' id='b' to='localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
				"<iq type='get' id='c' to='%s'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
				"<iq type='get' id='d' to='%s'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
				"<iq type='get' id='e' to='%s'><query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member'/>"
					.."</query></iq>";
				"<iq type='get' id='f' to='%s'><query xmlns='http://jabber.org/protocol/muc#owner'/></iq>";
				"<presence to='%s/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
				"<message type='groupchat' to='%s'><body>hello</body></message>";
				"<presence type='probe' to='ann@localhost'/><presence type='subscribe' to='ann@localhost'/>";
				"<iq type='get' id='g' to='ann@localhost'><query xmlns='jabber:iq:roster'/></iq>";
				"<iq type='get' id='h' to='ann@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
					.."<items node='http://jabber.org/protocol/nick'/></pubsub></iq>";
				"<iq type='get' id='i'><query xmlns='jabber:iq:roster'/></iq>";
			} do
				told[#told + 1] = eve:ask((text:gsub("%%s", jid)));
			end
			told = table.concat(told);
			assert.falsy(told:find("bob", 1, true), told);
			-- It has been spoken to: by nothing but errors.
			for presence in told:gmatch("<presence[^>]*from='ann@localhost[^>]*>") do
				assert.truthy(presence:find("type='", 1, true), presence);
			end
			assert.same({ ann = "none,subscribe," }, fetched("stranger"));
			eve:ask(roster_set("ann@localhost", "", nil, "remove"));
		end);
	end);
end
