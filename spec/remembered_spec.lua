-- What contact lists remember: the labels that their contacts came with, and what a version stands for.

local json = require "dkjson";

local harness = require "spec.support.harness";
local world = require "spec.support.world";

local title = ("with Prosody %s and storage %s"):format(harness.version, harness.storage);

local server;

local function call(...) return server:call(...); end
local function accounts(n) return world.accounts(server, n); end
local function contact_of(...) return world.contact_of(server, ...); end
local function jid(name) return name.."@localhost"; end

describe("an account that is deleted, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);
	after_each(function () world.logout_all(server); end);

	local interruptions = {
		{ "with nothing in between"; function () end };
		{ "though the module is reloaded"; function () world.reload(server); end };
		{ "though the server is restarted"; function () server:restart(); end };
	};

	for _, interruption in ipairs(interruptions) do
		local when, interrupt = table.unpack(interruption);
		for _, rename in ipairs { false, true } do
			it(("goes from the list of who had it of a group before and has it of another, %s%s"):format(when,
				rename and ", and the first group is renamed" or ""), function ()
				local a, c, d = accounts(3);
				local first = world.group(server, "First", { a, c, d });
				world.remove_members(server, first, c);
				if rename then call("set_info", first, { name = "Renamed" }); end
				interrupt();
				world.group(server, "Second", { a, c });
				assert.equal(world.both("First", "Second"), contact_of(c, a));
				interrupt();
				world.login(server, c);
				world.forget(server);
				server:delete_user(a);
				assert.equal("remove", world.pushes(server, c)[a].subscription);
				world.settle(server);
				assert.same({ [d] = world.both("First") }, world.contacts(server, c));
				assert.same({ [d] = world.both("First") }, (world.fetch(server, c)));
				assert.is_nil(contact_of(d, a));
			end);
		end
	end
end);

describe("labels that a group has borne, "..title, function ()
	setup(function () server = world.new(); end);
	teardown(function () server:destroy(); end);
	after_each(function () world.logout_all(server); end);

	-- The names are in no order of the alphabet.
	local names = { "Middle", "Zulu", "Alpha", "Yankee", "Bravo" };

	for _, online in ipairs { false, true } do
		it("are kept as long as contacts bear them, the newest first, "..(online and "online" or "offline"), function ()
			local a, stays = accounts(2);
			local leavers = { accounts(#names) };
			local id = world.group(server, names[1], { a, stays, table.unpack(leavers) });
			if online then world.login(server, a); end
			local expected, contacts = {}, {};
			for i, name in ipairs(names) do
				if i > 1 then
					call("set_info", id, { name = name });
					world.settle(server);
				end
				table.insert(expected, 1, name);
				contacts[leavers[i]] = world.both(name);
				-- Contacts are permanent: this one bears the label for good.
				world.remove_members(server, id, leavers[i]);
				local labels = world.provenance(server, a).labels[id];
				assert.same(#expected > 1 and expected or name, labels);
			end
			contacts[stays] = world.both(names[#names]);
			assert.same(contacts, world.contacts(server, a));

			-- A name that comes back is the newest.
			call("set_info", id, { name = "Zulu" });
			world.settle(server);
			expected = { "Zulu", "Bravo", "Yankee", "Alpha", "Middle" };
			assert.same(expected, world.provenance(server, a).labels[id]);
			server:restart();
			call("set_info", id, { name = "Mike" });
			world.settle(server);
			assert.same({ "Mike", table.unpack(expected) }, world.provenance(server, a).labels[id]);
		end);
	end
end);

for _, option in ipairs {
	{ "the options as they are"; {} };
	{ "groups_remove_contacts"; { groups_remove_contacts = true } };
	{ "virtual lists"; { groups_roster_mode = "virtual" } };
} do
	describe(("a client that knows a version, with %s, %s"):format(option[1], title), function ()
		setup(function () server = world.new { host_options = option[2] }; end);
		teardown(function () server:destroy(); end);
		after_each(function () world.logout_all(server); end);

		-- Puts into the log what a client has of its list, as in `world.contacts`, and the version that it was told last.
		-- There it can be read when the server has been killed.
		local take_down = [[
			local function take_down(session)
				local contacts, version = {}, nil;
				for _, stanza in ipairs(session.received) do
					local query = stanza.name == "iq" and stanza:get_child("query", "jabber:iq:roster");
					if query then version = query.attr.ver; end
					for item in query and query:childtags("item") or function () end do
						local groups = {};
						for group in item:childtags("group") do groups[#groups + 1] = group:get_text(); end
						table.sort(groups);
						contacts[(item.attr.jid:gsub("@localhost$", ""))] = item.attr.subscription ~= "remove"
							and table.concat({ item.attr.subscription, item.attr.ask or "", item.attr.name or "",
								table.unpack(groups) }, ",") or nil;
					end
				end
				prosody.log("info", "spec: told %s", require "util.json".encode({ contacts = contacts, version = version }));
			end ]];

		local changes = {
			{ "removed from the group"; "groups.remove_member(id, a)" };
			{ "in a group that is deleted"; "groups.delete(id)" };
			{ "left in the group"; "true" };
		};

		local function told_the_truth(edits_own, change, killed)
			local a, b, c, own = accounts(4);
			world.store_roster(server, a, { [jid(own)] = { subscription = "none"; groups = {} } }, { version = 7 });
			local id = world.group(server, "G", { a, b });
			world.login(server, a);
			local mark = server:log_mark();
			server:try_eval(take_down..([[
				local id, a, c, edited, pid = ...;
				local st, clients = require "util.stanza", prosody.spec_clients;
				local session = clients.session(a);
				-- In memory only. The edit stores one item, and the version.
				assert(groups.add_member(id, c));
				clients.send(session, st.iq({ type = "set", id = "edit" }):tag("query", { xmlns = "jabber:iq:roster" })
					:tag("item", { xmlns = "jabber:iq:roster", jid = edited, name = "Edited" })
					:text_tag("group", "Pals", { xmlns = "jabber:iq:roster" }));
				assert(%s);
				take_down(session);
				if pid then os.execute("kill -9 "..pid); end
				clients.logout(session);
				return true]]):format(change), id, a, c, jid(edits_own and own or b), killed and server.pid or nil);
			if killed then
				server:kill();
				server:start();
			end
			local told = json.decode(server:log_text(mark):match("spec: told ([^\n]*)"));
			for _, when in ipairs { "at once", "when all is saved" } do
				local answer = world.fetch(server, a, told.version);
				local actual = world.fetch(server, a);
				assert.same(actual, answer or told.contacts, when);
				world.settle(server);
			end
		end

		for _, change in ipairs(changes) do
			for _, killed in ipairs { false, true } do
				for _, edits_own in ipairs { true, false } do
					it(("is told that its list has not changed only if so: %s, %s, after an edit of a contact of %s"):format(
						change[1], killed and "cut off by a kill" or "logged out",
						edits_own and "the user's own" or "the group"), function ()
						told_the_truth(edits_own, change[2], killed);
					end);
				end
			end
		end
	end);
end
