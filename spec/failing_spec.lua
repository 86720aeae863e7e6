-- Storage that fails: each call of each function once. The documented error, memory and storage in agreement, and doing
-- it again succeeds.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

if harness.storage ~= "internal" then return; end -- the driver is the same for all

describe("storage that fails, with Prosody "..harness.version, function ()
	local server;

	setup(function ()
		server = world.new { storage = "failing" };
		server:create_user("alice", "bob", "carl");
	end);

	teardown(function ()
		server:destroy();
	end);

	local function fail(rule)
		server:eval("prosody.spec_failing.fail(...) return true", rule);
	end

	local function clear()
		server:eval("prosody.spec_failing.clear() return true");
	end

	after_each(clear);

	-- What Lua source does with storage, in the stores of the module and of chats: { "store.method key", … }.
	local count_calls = [[
		local calls = {};
		for _, call in ipairs(prosody.spec_failing.calls) do
			if call.store ~= "roster" and call.store ~= "accounts" then
				calls[#calls + 1] = { store = call.store; method = call.method };
			end
		end
		return calls;]];

	-- Memory and storage of a group, as text.
	local agreement = [[
		local id = ...;
		local sm, serialize = require "core.storagemanager", require "util.serialization".new({ preset = "oneline";
			table_iterator = require "util.iterators".sorted_pairs });
		local info, members = sm.open(host, "group_info", "keyval"):get(id), sm.open(host, "groups", "keyval"):get(id);
		return { serialize(groups.get_info(id) or false), serialize(info or false), serialize(groups.get_members(id)),
			serialize(members or {}) };]];

	local function agree(id, what)
		local found = server:eval(agreement, id);
		assert.equal(found[2], found[1], what);
		assert.equal(found[4], found[3], what);
		return table.concat(found);
	end

	-- Also what waits for a sync.
	local function settle(id)
		server:call("sync", id);
		world.settle(server);
	end

	-- Each case: Lua source that prepares a group `id`, and the call.
	local cases = {
		{ "create"; ""; "groups.create({ name = 'G' }, false, id)" };
		{ "create with a chat"; ""; "groups.create({ name = 'G' }, true, id)" };
		{ "set_info"; "groups.create({ name = 'G' }, true, id)"; "groups.set_info(id, { name = 'H' })" };
		{ "delete"; "groups.create({ name = 'G' }, true, id) groups.add_member(id, 'alice') groups.add_member(id, 'bob')";
			"groups.delete(id)" };
		{ "add_member"; "groups.create({ name = 'G' }, true, id) groups.add_member(id, 'alice')";
			"groups.add_member(id, 'bob')" };
		{ "add_member delayed"; "groups.create({ name = 'G' }, false, id)"; "groups.add_member(id, 'bob', true)" };
		{ "remove_member"; "groups.create({ name = 'G' }, true, id) groups.add_member(id, 'alice')";
			"groups.remove_member(id, 'alice')" };
		{ "add_group_chat"; "groups.create({ name = 'G' }, true, id) groups.add_member(id, 'alice')";
			"groups.add_group_chat(id, 'Chat')" };
		{ "remove_group_chat"; "groups.create({ name = 'G' }, true, id) groups.add_member(id, 'alice')";
			"groups.remove_group_chat(id, (groups.get_info(id).muc_jid or '@'):match('^[^@]*'))" };
	};

	local with_id = "local id = ...; ";

	for _, case in ipairs(cases) do
		local name, prepare, act = table.unpack(case);
		for _, kind in ipairs { "answers an error", "throws" } do
			it(("is survived by %s, when a call %s"):format(name, kind), function ()
				-- What would be done without a failure?
				local id = world.name("g");
				server:eval(with_id..prepare.." return true", id);
				settle(id);
				server:eval("prosody.spec_failing.forget() return true");
				assert.truthy(server:eval(with_id.."return "..act, id));
				local calls = server:eval(count_calls);
				assert.is_true(#calls > 0);
				settle(id);
				for i, call in ipairs(calls) do
					local nth = 1;
					for j = 1, i - 1 do
						if calls[j].store == call.store and calls[j].method == call.method then nth = nth + 1; end
					end
					id = world.name("g");
					server:eval(with_id..prepare.." return true", id);
					settle(id);
					local before = agree(id);
					local what = ("%s: call %d, %s.%s"):format(name, i, call.store, call.method);
					fail { store = call.store; method = call.method; nth = nth; throw = kind == "throws" };
					local result = table.pack(server:eval(with_id.."return "..act, id));
					clear();
					local after = agree(id, what);
					if not result[1] then
						assert.same({ nil, "internal-server-error", n = 2 }, result, what);
						assert.equal(before, after, what);
						assert.truthy(server:eval(with_id.."return "..act, id), what);
						agree(id, what);
						settle(id);
					else
						-- Only chats may go without.
						assert.truthy(call.store == "config" or call.store == "state" or call.store == "persistent", what);
					end
				end
			end);
		end
	end

	it("leaves no room behind when a group with a chat cannot be stored", function ()
		local rooms = [[
			local n = 0;
			for _ in hosts["groups.localhost"].modules.muc.each_room() do n = n + 1; end
			return n]];
		local before = server:eval(rooms);
		fail { store = "group_info"; method = "set" };
		assert.same({ nil, "internal-server-error" }, { server:call("create", { name = "G" }, true, "roomless") });
		assert.is_false(server:call("exists", "roomless"));
		assert.equal(before, server:eval(rooms));
		server:call("create", { name = "Other" }, false, "other");
		clear();
		server:call("create", { name = "Other" }, false, "other");
		before = server:eval(rooms);
		fail { store = "group_info"; method = "set" };
		assert.same({ nil, "internal-server-error" }, { server:call("add_group_chat", "other", "Chat") });
		assert.equal(before, server:eval(rooms));
		assert.same({ name = "Other" }, server:call("get_info", "other"));
	end);

	it("lets no group be created when the room cannot be stored", function ()
		fail { store = "config"; method = "set" };
		assert.same({ nil, "internal-server-error" }, { server:call("create", { name = "G" }, true, "unsaved") });
		assert.is_false(server:call("exists", "unsaved"));
		assert.is_nil(server:stored("group_info", "unsaved"));
	end);

	it("lets the marker be stored before the group", function ()
		server:call("create", { name = "G" }, false, "order");
		world.settle(server);
		server:eval("prosody.spec_failing.forget() return true");
		server:call("add_member", "order", "alice");
		local order = {};
		for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
			if call.method == "set" then order[#order + 1] = call.store; end
		end
		assert.same({ "groups_internal", "groups" }, order);
		-- And once per burst.
		server:eval([[
			prosody.spec_failing.forget();
			groups.add_member("order", "bob");
			groups.add_member("order", "carl");
			return true]]);
		order = {};
		for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
			if call.method == "set" and call.store ~= "roster" then order[#order + 1] = call.store; end
		end
		assert.same({ "groups", "groups" }, order);
		world.settle(server);
	end);

	-- A server killed in between would forget contact lists.
	it("lets the marker be stored before the groups of a restored snapshot", function ()
		server:call("create", { name = "G" }, false, "restored");
		server:call("add_member", "restored", "alice");
		server:call("add_member", "restored", "bob");
		world.settle(server);
		server:eval("prosody.spec_blob = groups.snapshot() return groups.delete('restored')");
		world.settle(server);
		server:eval("prosody.spec_failing.forget() return groups.restore(prosody.spec_blob)");
		local first;
		for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
			if call.method == "set" and not first then first = call.store; end
		end
		assert.equal("groups_internal", first);
	end);

	it("is not asked when there is nothing to do", function ()
		server:call("create", { name = "G" }, false, "calm");
		server:call("add_member", "calm", "alice");
		server:call("add_member", "calm", "bob");
		world.settle(server);
		server:eval([[
			prosody.spec_failing.forget();
			groups.sync("calm");
			groups.add_member("calm", "alice");
			groups.remove_member("calm", "nobody");
			groups.get_info("calm"); groups.exists("calm"); groups.get_members("calm"); groups.get_user_groups("alice");
			groups.get_group_chats("calm"); groups.emit_member_events("calm"); groups.set_info("calm", { name = "G" });
			for _ in groups.groups() do end
			return true]]);
		assert.same({}, server:eval("return prosody.spec_failing.calls"));
	end);

	it("is read at most once for each contact list in a sync of all", function ()
		local members = world.names(10);
		server:create_user(table.unpack(members));
		server:call("create", { name = "G" }, false, "ten");
		for _, member in ipairs(members) do server:call("add_member", "ten", member, true); end
		server:eval("prosody.spec_failing.forget() return true");
		server:call("sync", "ten");
		world.settle(server);
		local counts = {};
		for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
			if call.store == "roster" then
				counts[call.username] = (counts[call.username] or "")..call.method.." ";
			end
		end
		local expected = {};
		for _, member in ipairs(members) do expected[member] = "get set "; end
		assert.same(expected, counts);
	end);

	it("asks nothing of settled contact lists at the next start", function ()
		world.settle(server);
		server:restart();
		server:call("create", { name = "New" }, false, world.name("g"));
		for _, call in ipairs(server:eval("return prosody.spec_failing.calls")) do
			assert.not_equal("roster", call.store);
		end
	end);

	it("is told of in words, not as the engine has it inside", function ()
		local text = server:log_text();
		assert.truthy(text:find("\terror\t", 1, true));
		assert.falsy(text:find("Failed%s?%("));
	end);
end);

describe("storage that fails, with virtual contact lists and Prosody "..harness.version, function ()
	local server;

	setup(function ()
		server = world.new { storage = "failing"; host_options = { groups_roster_mode = "virtual" } };
	end);

	teardown(function ()
		server:destroy();
	end);

	for _, store in ipairs { "roster", "groups_contacts" } do
		it("leaves a contact as the user has made it when it cannot be taken off in the store "..store, function ()
			local a, b = world.accounts(server, 2);
			world.group(server, "G", { a, b });
			world.login(server, a);
			world.edit(server, a, b, "Pal", "G");
			local kept = { [b.."@localhost"] = { name = "Pal" } };
			assert.same(kept, server:stored("groups_contacts", a));
			server:eval("prosody.spec_failing.fail(...) return true", { store = store; method = "set" });
			-- An edit first: its record is open when the contact is taken off.
			if store == "groups_contacts" then
				assert.has_error(function () world.edit(server, a, b, "Bobby", "G"); end);
			end
			world.take_off(server, a, b);
			server:eval("prosody.spec_failing.clear() return true");
			assert.same({ [b] = "both" }, world.in_memory(server, a));
			-- It is virtual as before: nothing of it gets into the list that is stored.
			server:eval([[
				local rm = require "core.rostermanager";
				return assert(rm.save_roster(..., host, rm.load_roster(..., host)))]], a);
			assert.is_nil(world.contact_of(server, a, b));
			assert.same(kept, server:stored("groups_contacts", a));
			world.take_off(server, a, b);
			assert.same({}, world.in_memory(server, a));
			assert.is_nil(server:stored("groups_contacts", a));
		end);
	end
end);
