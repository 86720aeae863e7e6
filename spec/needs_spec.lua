-- What users of groups ask for, one by one, as they would see it.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("what users ask for, with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	local function call(...) return server:call(...); end

	-- Makes accounts of names that no other spec uses.
	local function accounts(n)
		local names = world.names(n);
		server:create_user(table.unpack(names));
		return table.unpack(names);
	end

	local function jid(name) return name.."@localhost"; end

	local function affiliation(room, user)
		return server:eval([[
			local room, user = ...;
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(room):get_affiliation(user)]], room, jid(user));
	end

	local function set_affiliation(room, user, value)
		server:eval([[
			local room, user, value = ...;
			return assert(hosts["groups.localhost"].modules.muc.get_room_from_jid(room):set_affiliation(true, user, value))]],
			room, jid(user), value);
	end

	local function room_name(room)
		return server:eval([[return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):get_name()]], room);
	end

	before_each(function ()
		server = world.new { host_options = { groups_remove_contacts = true } };
	end);

	after_each(function ()
		server:destroy();
	end);

	it("1: contacts that came with a group go when the group goes, contacts of one's own stay", function ()
		local a, b, c, d = accounts(4);
		world.store_roster(server, a, { [jid(b)] = { subscription = "both"; groups = {} } });
		world.store_roster(server, b, { [jid(a)] = { subscription = "both"; groups = {} } });
		local id = world.group(server, "Family", { a, b, c, d });
		world.login(server, a);
		world.edit(server, a, d, "Dad", "Family");
		world.forget(server);
		call("delete", id);
		assert.equal("remove", world.pushes(server, a)[c].subscription);
		world.settle(server);
		assert.same({ [b] = "both,,"; [d] = "none,,Dad" }, world.contacts(server, a));
		assert.same({ [a] = "both,," }, world.contacts(server, b));
		assert.same({}, world.contacts(server, c));
		assert.same({}, world.contacts(server, d));
	end);

	it("2: no re-login to see each other", function ()
		local a, b, c = accounts(3);
		world.login(server, a, b);
		local id = world.group(server, "Family", { a, c });
		world.forget(server);
		call("add_member", id, b);
		assert.equal("both", world.pushes(server, a)[b].subscription);
		assert.equal("both", world.pushes(server, b)[a].subscription);
		assert.same({ b..":available" }, world.presences(server, a));
		assert.same({ a..":available" }, world.presences(server, b));
		-- And whoever comes online from then on is seen.
		world.forget(server);
		world.login(server, c);
		assert.same({ c..":available" }, world.presences(server, a));
		assert.same({ c..":available" }, world.presences(server, b));
		-- Nor to see each other no more.
		world.forget(server);
		call("remove_member", id, b);
		assert.same({ b..":unavailable" }, world.presences(server, a));
		assert.same({ [c] = "both" }, world.in_memory(server, a));
	end);

	it("3: a renamed group renames its label and its chat", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Family", { a, b }, true);
		local room = call("get_info", id).muc_jid;
		assert.equal("Family", room_name(room));
		world.login(server, a);
		world.forget(server);
		server:eval([[
			prosody.spec_renamed = {};
			module:hook("group-chat-renamed", function (event)
				prosody.spec_renamed = { event.group_id or event.id, event.muc and event.muc.name or event.name };
			end);
			return true]]);
		call("set_info", id, { name = "The Smiths" });
		assert.equal("The Smiths", room_name(room));
		assert.same({ "The Smiths" }, world.pushes(server, a)[b].groups);
		assert.same({ id, "The Smiths" }, server:eval("return prosody.spec_renamed"));
		world.settle(server);
		assert.same({ [b] = world.both("The Smiths") }, world.contacts(server, a));
		assert.same({ [a] = world.both("The Smiths") }, world.contacts(server, b));
		server:restart();
		assert.equal("The Smiths", room_name(room));
	end);

	it("4: deleted accounts leave no ghosts, in groups, chats or contact lists", function ()
		local a, b, ghost = accounts(3);
		local id = world.group(server, "Family", { a, b, ghost }, true);
		call("add_group_chat", id, "Kitchen");
		local rooms = call("get_info", id).mucs;
		world.login(server, a);
		for _, room in ipairs(rooms) do assert.equal("member", affiliation(room, ghost)); end
		server:delete_user(ghost);
		world.settle(server);
		for _, room in ipairs(rooms) do assert.is_nil(affiliation(room, ghost)); end
		-- No store says its name any more: neither of the groups, nor of the chats, nor of the users.
		assert.same({}, server:eval([[
			local ghost = ...;
			local sm = require "core.storagemanager";
			local serialize = require "util.serialization".new("compact");
			local found = {};
			local function search(on, store, key)
				local data = sm.open(on, store, "keyval"):get(key);
				if data ~= nil and serialize(data):find(ghost, 1, true) then
					found[#found + 1] = on.."/"..store.."/"..tostring(key);
				end
			end
			for _, store in ipairs { "groups", "group_info", "roster", "accounts" } do
				local names = {};
				for name in sm.open(host, store, "keyval"):users() do names[#names + 1] = name; end
				for _, name in ipairs(names) do
					if name == ghost then found[#found + 1] = store.."/"..name; end
					search(host, store, name);
				end
			end
			search(host, "groups_internal", nil);
			local names = {};
			for name in sm.open("groups.localhost", "config", "keyval"):users() do names[#names + 1] = name; end
			for _, name in ipairs(names) do search("groups.localhost", "config", name); end
			assert(#names > 0);
			return found]], ghost));
		assert.same({ [b] = "both" }, world.in_memory(server, a));
		assert.same({}, call("check"));
	end);

	it("5: membership and chat affiliation never drift apart; reconcile them", function ()
		local a, b, c = accounts(3);
		local id = world.group(server, "Family", { a, b }, true);
		local room = call("get_info", id).muc_jid;
		assert.equal("member", affiliation(room, a));
		call("add_member", id, c);
		assert.equal("member", affiliation(room, c));
		call("remove_member", id, c);
		assert.is_nil(affiliation(room, c));
		-- Somebody is at the room by hand: one loses what the group gives, another is made more than that.
		set_affiliation(room, a, nil);
		set_affiliation(room, b, "owner");
		call("sync", id);
		assert.equal("member", affiliation(room, a));
		assert.equal("owner", affiliation(room, b));
		-- The same while the module is not there: when the room is there again, it is as it should be.
		server.settings.modules = {};
		server:restart();
		set_affiliation(room, a, nil);
		server:eval([[return hosts["groups.localhost"].modules.muc.get_room_from_jid(...):save(true)]], room);
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:restart();
		server:wait_for([[
			local room, user = ...;
			return hosts["groups.localhost"].modules.muc.get_room_from_jid(room):get_affiliation(user) == "member"]],
			"the member is back", 10, room, jid(a));
		assert.equal("owner", affiliation(room, b));
	end);

	it("10: own names for contacts survive; names by default from the profile", function ()
		server.settings.modules = { "pep", "vcard4", "spec_clients", "groups_internal" };
		server.settings.host_options.groups_contact_name = "nickname";
		server:restart();
		local a, b, c = accounts(3);
		for user, nickname in pairs { [b] = "Bobby"; [c] = "Caro" } do
			server:eval([[
				local st, user, nickname = require "util.stanza", ...;
				local item = st.stanza("item", { xmlns = "http://jabber.org/protocol/pubsub", id = "current" })
					:tag("vcard", { xmlns = "urn:ietf:params:xml:ns:vcard-4.0" })
					:tag("nickname"):text_tag("text", nickname):reset();
				return assert(hosts[host].modules.pep.get_pep_service(user):publish("urn:xmpp:vcard4", true, "current", item))]],
				user, nickname);
		end
		local id = world.group(server, "Family", { a, b, c });
		assert.same({ [b] = "both,,Bobby,Family"; [c] = "both,,Caro,Family" }, world.contacts(server, a));
		world.login(server, a);
		world.edit(server, a, b, "My brother", "Family");
		world.logout(server, a);
		server:restart();
		call("set_info", id, { name = "Smiths" });
		call("remove_member", id, b);
		call("add_member", id, b);
		call("sync", id);
		world.settle(server);
		assert.same({ [b] = "both,,My brother,Smiths"; [c] = "both,,Caro,Smiths" }, world.contacts(server, a));
	end);

	it("12: one bad JID must not break a group", function ()
		local a, b = accounts(2);
		local id = world.group(server, "Family", { a });
		for _, bad in ipairs { "b c", "x@y", "a/b", "", ("n"):rep(1024), "nul\0", "bad\255utf8", "<&>\"'" } do
			assert.same({ nil, "bad-request" }, { call("add_member", id, bad) });
		end
		-- As an earlier module stored whatever it was given.
		server:eval([[
			local id, is_utf8_only = ...;
			local mm, sm = require "core.modulemanager", require "core.storagemanager";
			mm.unload(host, "groups_internal");
			local store = sm.open(host, "groups", "keyval");
			local members = store:get(id);
			for _, bad in ipairs { "b c", "x@y", "a/b", "UPPER", "no account", not is_utf8_only and "bad\255utf8" or nil } do
				members[bad] = {};
			end
			assert(store:set(id, members));
			mm.load(host, "groups_internal");
			return true]], id, harness.storage == "postgresql");
		world.login(server, a);
		world.forget(server);
		assert.is_true(call("add_member", id, b));
		assert.equal("both", world.pushes(server, a)[b].subscription);
		call("sync", id);
		world.settle(server);
		assert.same({ [b] = world.both("Family") }, world.contacts(server, a));
		assert.same({ [a] = world.both("Family") }, world.contacts(server, b));
		assert.is_true(call("remove_member", id, "b c"));
		assert.is_true(call("set_info", id, { name = "Smiths" }));
		assert.is_true(call("remove_member", id, b));
		world.settle(server);
		assert.same({}, world.contacts(server, a));
		assert.is_true(call("delete", id));
	end);

	it("13: any character in a group's name", function ()
		local a, b = accounts(2);
		world.login(server, a);
		for _, name in ipairs { "two words", "🎉 ünï 🐈", "<&> 'single' \"double\"", "a/b@c#d%s", "شبكة", "\\n" } do
			world.forget(server);
			local id = world.group(server, name, { a, b }, true);
			assert.same({ name }, world.pushes(server, a)[b].groups);
			assert.equal(name, call("get_info", id).name);
			assert.equal(name, room_name(call("get_info", id).muc_jid));
			assert.same({ [a] = world.both(name) }, world.contacts(server, b));
			server:restart();
			assert.equal(name, call("get_info", id).name);
			world.login(server, a);
			assert.same({ [b] = "both" }, world.in_memory(server, a));
			call("delete", id);
			world.settle(server);
			assert.same({}, world.contacts(server, b));
		end
	end);

	it("15: storage that survives going back a version", function ()
		local a, b, c, d = accounts(4);
		world.store_roster(server, a, { [jid(c)] = { subscription = "to"; name = "Caro"; groups = { Friends = true } } });
		world.store_roster(server, c, { [jid(a)] = { subscription = "from"; groups = {} } });
		local id = world.group(server, "Old", { a, b, c }, true);
		call("set_info", id, { name = "Family" });
		world.settle(server);
		local room = call("get_info", id).muc_jid;
		-- What the earlier module reads is as that module writes it, and nothing else is in there.
		assert.same({ name = "Family"; muc_jid = room }, server:stored("group_info", id));
		assert.same({ [a] = {}; [b] = {}; [c] = {} }, server:stored("groups", id));
		for _, user in ipairs { a, b, c } do
			for _, item in pairs(server:stored_roster(user)) do
				for field in pairs(item) do assert.truthy(({ subscription = true; groups = true; name = true })[field], field); end
			end
		end
		assert.equal("both,,Caro,Family,Friends", world.contacts(server, a)[c]);
		-- Back to it: it takes a member out, adds one, and clients edit what they like.
		server.settings.modules = { "spec_clients" };
		server:restart();
		server:eval([[
			local id, a, b, d = ...;
			local groups = require "core.storagemanager".open(host, "groups", "map");
			assert(groups:set(id, b, nil) and groups:set(id, d, {}));
			local rm = require "core.rostermanager";
			local roster = rm.load_roster(a, host);
			roster[d.."@"..host] = { subscription = "both", groups = { Family = true } };
			return rm.save_roster(a, host, roster)]], id, a, b, d);
		world.login(server, a);
		world.edit(server, a, c, "Carolyn", "Family", "Friends");
		world.logout(server, a);
		-- And forth again: nothing is lost, and what was the user's own before is still known to be.
		server.settings.modules = { "spec_clients", "groups_internal" };
		server:restart();
		assert.same({ [a] = {}; [c] = {}; [d] = {} }, call("get_members", id));
		call("add_member", id, d);
		call("sync", id);
		world.settle(server);
		assert.equal("both,,Carolyn,Family,Friends", world.contacts(server, a)[c]);
		assert.equal(world.both("Family"), world.contacts(server, a)[d]);
		call("remove_member", id, c);
		world.settle(server);
		assert.equal("to,,Carolyn,Friends", world.contacts(server, a)[c]);
		assert.equal("from,,", world.contacts(server, c)[a]);
	end);
end);
