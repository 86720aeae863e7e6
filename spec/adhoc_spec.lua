-- Commands for admins in an XMPP client.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("ad-hoc commands with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	-- Sends a command as a user of this host, or of another one, and returns { status, note, result, fields, error }.
	-- `values` fills its form: name to text, or to an array of texts.
	local function command(from, name, values)
		return server:eval([[
			local from, name, values = ...;
			local st, clients = require "util.stanza", prosody.spec_clients;
			local username = from:match("^(.*)@localhost$");
			local session = username and clients.session(username);
			if not session then
				session = { type = "s2sin", hosts = { ["remote.example"] = { authed = true } }, received = {} };
				session.from_host, session.to_host = "remote.example", host;
				session.log = require "util.logger".init("remote");
				function session.send(stanza) table.insert(session.received, st.clone(stanza)); return true; end
			end
			local node = "groups_internal:"..name;
			local function send(form)
				session.received = {};
				local iq = st.iq({ type = "set", id = "c", to = host, from = username and session.full_jid or from.."/r" })
					:tag("command", { xmlns = "http://jabber.org/protocol/commands", node = node,
						sessionid = session.command, action = "execute" });
				if form then iq:add_child(form); end
				clients.send(session, iq);
				return session.received[1];
			end
			session.command = nil;
			local reply = send();
			local tag = reply:get_child("command", "http://jabber.org/protocol/commands");
			local answer = {};
			if reply.attr.type == "error" then
				answer.error = select(2, reply:get_error());
				return answer;
			end
			if tag.attr.status == "executing" then
				answer.fields = {};
				for field in tag:get_child("x", "jabber:x:data"):childtags("field") do
					table.insert(answer.fields, field.attr.var..":"..field.attr.type);
				end
				session.command = tag.attr.sessionid;
				local form = st.stanza("x", { xmlns = "jabber:x:data", type = "submit" });
				for var, value in pairs(values or {}) do
					form:tag("field", { var = var });
					for _, text in ipairs(type(value) == "table" and value or { value }) do form:text_tag("value", text); end
					form:up();
				end
				tag = send(form):get_child("command", "http://jabber.org/protocol/commands");
			end
			answer.status = tag.attr.status;
			local note = tag:get_child("note");
			answer.note = note and note.attr.type..": "..note:get_text();
			local x = tag:get_child("x", "jabber:x:data");
			if x then
				answer.result = {};
				for value in x:get_child("field"):childtags("value") do table.insert(answer.result, value:get_text()); end
			end
			return answer]], from, name, values);
	end

	local function as_admin(...) return command("boss@localhost", ...); end

	setup(function ()
		server = world.new {
			options = { admins = { "boss@localhost", "chief@remote.example" } };
			host_options = { groups_adhoc = true };
		};
		server:create_user("boss", "ann", "bob");
		world.login(server, "boss", "ann");
	end);

	teardown(function ()
		server:destroy();
	end);

	it("make, fill, show, rename, empty and delete a group", function ()
		local answer = as_admin("create", { name = "Family", chat = "1", id = "family" });
		assert.same({ "name:text-single", "chat:boolean", "id:text-single" }, answer.fields);
		assert.equal('info: created the group "Family" on localhost, its id is family', answer.note);
		assert.is_string(server:call("get_info", "family").muc_jid);
		answer = as_admin("add_member", { group = "family", users = { "ann@localhost", "bob@localhost" } });
		assert.same({ "group:list-single", "users:jid-multi" }, answer.fields);
		assert.equal('info: added 2 users to "Family"', answer.note);
		assert.same({ "ann", "bob" }, world.members(server, "family"));
		assert.matches("^family +| Family", as_admin("list").result[2]);
		assert.equal("Id:          family", as_admin("show", { group = "family" }).result[1]);
		assert.equal('info: "Family" is now "Kin"', as_admin("rename", { group = "family", name = "Kin" }).note);
		assert.matches('^info: added the chat "Books" to "Kin": ', as_admin("add_chat",
			{ group = "family", name = "Books" }).note);
		assert.matches("say that you are sure$", as_admin("remove_chat", { group = "family", chat = "Books" }).note);
		assert.matches("^info: removed the chat", as_admin("remove_chat",
			{ group = "family", chat = "Books", sure = "true" }).note);
		assert.equal('info: removed ann from "Kin"',
			as_admin("remove_member", { group = "family", users = "ann@localhost" }).note);
		assert.matches("^error: This would delete .*\nnothing has changed; say that you are sure$",
			as_admin("delete", { group = "family" }).note);
		assert.is_true(server:call("exists", "family"));
		assert.matches("^info: deleted the group", as_admin("delete", { group = "family", sure = "1" }).note);
		assert.is_false(server:call("exists", "family"));
	end);

	-- Form, what is filled in, and what the answer begins with.
	local refused = {
		{ "show", {}, "Group: " };
		{ "create", {}, "Name: " };
		{ "create", { name = "Crew", id = "crew" }, 'the id "crew" is taken on localhost' };
		{ "create", { name = "Crew", id = "a b@c" }, "a name or an id is not valid: " };
		{ "rename", { group = "crew" }, "Name: " };
		{ "rename", { name = "Kin" }, "Group: " };
		{ "delete", {}, "Group: " };
		{ "delete", { group = "crew", sure = "0" }, "This would delete" };
		{ "add_member", { group = "crew" }, "Users, by JID: " };
		{ "add_member", { users = { "ann@localhost" } }, "Group: " };
		{ "add_member", { group = "crew", users = { "ann@localhost", "eve@elsewhere.example" } },
			"eve@elsewhere.example is not an account of localhost" };
		{ "add_member", { group = "crew", users = { "@@" } }, "Users, by JID: " };
		{ "remove_member", { group = "crew" }, "Users, by JID: " };
		{ "remove_member", { users = { "bob@localhost" } }, "Group: " };
		{ "remove_member", { group = "crew", users = { "eve@elsewhere.example" } },
			"eve@elsewhere.example is not an account of localhost" };
		{ "add_chat", { group = "crew" }, "Name: " };
		{ "add_chat", { name = "Books" }, "Group: " };
		{ "remove_chat", { group = "crew" }, "Chat, by name or JID: " };
		{ "remove_chat", { chat = "Talk" }, "Group: " };
		{ "remove_chat", { group = "crew", chat = "Books", sure = "1" }, 'no chat "Books" in "Crew"; there are: ' };
		{ "remove_chat", { group = "crew", chat = "Talk" }, "This would destroy" };
	};

	it("say what is wrong, and change nothing then", function ()
		assert.equal('error: no group "none" on localhost; there are none', as_admin("show", { group = "none" }).note);
		server:call("create", { name = "Crew" }, false, "crew");
		server:call("add_group_chat", "crew", "Talk");
		server:call("add_member", "crew", "bob");
		local function state()
			local info = server:call("get_info", "crew");
			return { info, world.members(server, "crew"), server:call("status").groups };
		end
		local before = state();
		for _, form in ipairs { "show", "rename", "delete", "add_member", "remove_member", "add_chat", "remove_chat" } do
			local values = { group = "none", name = "Kin", users = { "ann@localhost" }, chat = "Talk", sure = "1" };
			assert.equal('error: no group "none" on localhost; there are: crew', as_admin(form, values).note);
		end
		for _, case in ipairs(refused) do
			local form, values, text = table.unpack(case);
			local note = tostring(as_admin(form, values).note);
			assert(note:sub(1, 7 + #text) == "error: "..text, form..": "..note);
			assert.same(before, state());
		end
		server:call("delete", "crew");
	end);

	it("are for admins, also those of another server, and for nobody else", function ()
		assert.equal("forbidden", command("ann@localhost", "list").error);
		assert.equal("forbidden", command("nobody@remote.example", "list").error);
		assert.equal("completed", command("chief@remote.example", "list").status);
		assert.equal("completed", as_admin("list").status);
	end);

	it("are not there without the option", function ()
		world.set_options(server, { groups_adhoc = false });
		assert.equal("service-unavailable", as_admin("list").error);
	end);
end);
