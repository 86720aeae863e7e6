-- The addresses of new chats where nobody is to guess them.

local harness = require "spec.support.harness";
local world = require "spec.support.world";

describe("groups_chat_ids = random, with Prosody "..harness.version.." and storage "..harness.storage, function ()
	local server;

	setup(function ()
		server = world.new { host_options = { groups_chat_ids = "random" } };
	end);

	teardown(function ()
		server:destroy();
	end);

	it("gives new chats addresses that tell nothing of their names", function ()
		assert(server:call("create", { name = "Book Club" }, true, "g"));
		local first = server:call("get_info", "g").muc_jid:match("^[^@]+");
		local second = assert(server:call("add_group_chat", "g", "Book Club")).jid:match("^[^@]+");
		for _, node in ipairs { first, second } do
			assert.matches("^[%w_-]+$", node);
			assert.is_nil(node:find("book", 1, true));
		end
		assert.not_equal(first, second);
	end);
end);
