-- Histories that chance has found, each with what it had wrong once: see spec/support/soak.lua.

local harness = require "spec.support.harness";
local soak = require "spec.support.soak";

local function comes_out_well(mode, history)
	history[#history + 1] = { "check" };
	assert.is_nil(soak.replay(mode, history));
end

describe("histories with Prosody "..harness.version, function ()
	it("leave two friends whose friendship began with a new account, over a kill", function ()
		comes_out_well("permanent", {
			{ "register", "bob" }, { "register", "dora" }, { "create", "g", "Family" }, { "add", "g", "dora" },
			{ "add", "g", "bob" }, { "unregister", "dora" }, { "register", "dora" }, { "login", "dora", 2 },
			{ "login", "bob", 1 }, { "befriend", "dora", "bob" }, { "kill" } });
	end);

	it("give a new account nothing of the former one's subscription, whatever the groups are called", function ()
		comes_out_well("removing", {
			{ "register", "ann" }, { "register", "bob" }, { "login", "bob", 2 }, { "login", "ann", 2 },
			{ "request", "bob", "ann" }, { "approve", "ann", "bob" }, { "create", "h", "Family" },
			{ "create", "k", "Work" }, { "rename", "k", "Family" }, { "add_delayed", "h", "ann" },
			{ "add", "h", "bob" }, { "logout", "ann" }, { "unregister", "bob" }, { "add", "k", "bob" },
			{ "register", "bob" }, { "kill" }, { "add", "k", "ann" }, { "load", "ann" }, { "remove", "k", "ann" } });
	end);

	it("keep a request where a list waits for a sync", function ()
		comes_out_well("removing", {
			{ "enrol", "ann" }, { "create", "g", "Work" }, { "register", "erin" }, { "add", "g", "erin" },
			{ "login", "ann", 1 }, { "request", "ann", "erin" }, { "logout", "ann" }, { "login", "erin", 1 },
			{ "add_delayed", "g", "ann" }, { "login", "ann", 2 }, { "remove", "g", "ann" } });
	end);

	it("give up who has left a group since a kill, and had been noted as one who may leave", function ()
		comes_out_well("removing", {
			{ "register", "dora" }, { "create", "g", "Choir" }, { "add", "g", "carl" }, { "create", "h", "Work" },
			{ "add", "h", "carl" }, { "login", "dora", 1 }, { "register", "erin" }, { "add", "g", "erin" },
			{ "remove", "h", "carl" }, { "kill" }, { "login", "dora", 2 }, { "add", "g", "dora" },
			{ "remove", "g", "dora" } });
	end);

	it("give a new account no friend of the former one, whose list had that through groups only", function ()
		comes_out_well("permanent", {
			{ "enrol", "carl" }, { "enrol", "dora" }, { "create", "g", "Work" }, { "add", "g", "carl" },
			{ "add", "g", "dora" }, { "login", "dora", 2 }, { "switch", { removes = false } }, { "login", "carl", 2 },
			{ "remove", "g", "carl" }, { "take_off", "dora", "carl" }, { "befriend", "carl", "dora" },
			{ "unregister", "carl" }, { "enrol", "carl" } });
	end);

	it("show a client who comes back when contacts are virtual again", function ()
		comes_out_well("both", {
			{ "register", "dora" }, { "create", "g", "Choir" }, { "add", "g", "erin" }, { "add_delayed", "g", "dora" },
			{ "enrol", "erin" }, { "login", "dora", 1 }, { "switch", { mode = "permanent" } },
			{ "remove", "g", "erin" }, { "switch", { mode = "virtual" } }, { "add", "g", "erin" } });
	end);

	it("take the label of a group off a contact that was left as it is for a session", function ()
		comes_out_well("both", {
			{ "register", "carl" }, { "enrol", "dora" }, { "create", "g", "Work" }, { "add", "g", "carl" },
			{ "create", "h", "Choir" }, { "add", "h", "carl" }, { "login", "dora", 2 }, { "add_delayed", "g", "dora" },
			{ "switch", { mode = "permanent" } }, { "register", "erin" }, { "add", "h", "dora" },
			{ "cancel", "dora", "carl" }, { "add", "h", "erin" }, { "switch", { mode = "virtual" } },
			{ "remove", "h", "carl" }, { "logout", "dora" }, { "login", "dora", 1 } });
	end);

	it("complete a list whose counterpart was completed in the background after a kill", function ()
		comes_out_well("keeping", {
			{ "enrol", "dora" }, { "enrol", "erin" }, { "create", "h", "Family" }, { "add", "h", "dora" },
			{ "add", "h", "erin" }, { "login", "dora", 1 }, { "check" }, { "create", "g", "Work" },
			{ "add", "g", "dora" }, { "cancel", "dora", "erin" }, { "kill" }, { "pause", 150 },
			{ "login", "dora", 1 } });
	end);

	it("take a roster group of the user's for the user's, whatever another group is called", function ()
		comes_out_well("both", {
			{ "switch", { mode = "permanent" } }, { "register", "bob" }, { "enrol", "carl" },
			{ "create", "h", "Choir" }, { "add", "h", "carl" }, { "login", "bob", 1 }, { "login", "carl", 1 },
			{ "add", "h", "bob" }, { "label", "bob", "carl", "Work" }, { "create", "k", "Work" },
			{ "add_delayed", "k", "bob" }, { "remove", "h", "bob" }, { "add", "k", "carl" },
			{ "add_delayed", "k", "carl" }, { "add", "h", "bob" }, { "switch", { mode = "virtual" } } });
	end);

	it("give a list another version when what its user had made of a virtual contact goes with the account", function ()
		comes_out_well("virtual", {
			{ "register", "ann" }, { "register", "carl" }, { "create", "g", "Work" }, { "add", "g", "ann" },
			{ "login", "ann", 1 }, { "add", "g", "carl" }, { "name", "ann", "carl", "Chum" }, { "logout", "ann" },
			{ "unregister", "carl" }, { "register", "carl" }, { "add_delayed", "g", "carl" }, { "login", "ann", 1 } });
	end);

	it("part a member who is back from one who has left since, whatever the option says by then", function ()
		comes_out_well("permanent", {
			{ "enrol", "dora" }, { "register", "erin" }, { "create", "g", "Work" }, { "add", "g", "erin" },
			{ "add", "g", "dora" }, { "check" }, { "remove", "g", "dora" }, { "switch", { removes = false } },
			{ "remove", "g", "erin" }, { "add", "g", "dora" } });
	end);

	it("give a new account no friend of the former one whose list is read again before it is saved", function ()
		comes_out_well("both", {
			{ "enrol", "ann" }, { "enrol", "dora" }, { "create", "g", "Choir" }, { "login", "dora", 2 },
			{ "login", "ann", 2 }, { "switch", { mode = "permanent" } }, { "add", "g", "ann" },
			{ "befriend", "ann", "dora" }, { "add", "g", "dora" }, { "logout", "dora" }, { "unregister", "ann" },
			{ "enrol", "ann" }, { "evict", "dora" } });
	end);

	it("leave a friend alone whom a group of the same name brings others", function ()
		comes_out_well("virtual", {
			{ "register", "ann" }, { "register", "bob" }, { "register", "carl" }, { "register", "dora" },
			{ "enrol", "erin" }, { "create", "g", "Work" }, { "add", "g", "ann" }, { "add", "g", "bob" },
			{ "add", "g", "carl" }, { "add", "g", "dora" }, { "create", "h", "Work" }, { "add", "h", "bob" },
			{ "add", "h", "carl" }, { "add", "h", "dora" }, { "add", "h", "erin" }, { "login", "ann", 1 },
			{ "login", "erin", 2 }, { "befriend", "erin", "ann" } });
	end);

	it("keep a label that a user has put on a virtual contact, and a group that is deleted gave others", function ()
		comes_out_well("both", {
			{ "register", "bob" }, { "register", "dora" }, { "enrol", "erin" }, { "create", "h", "Family" },
			{ "add", "h", "bob" }, { "add", "h", "erin" }, { "login", "erin", 1 }, { "label", "erin", "bob", "Work" },
			{ "create", "g", "Work" }, { "add", "g", "dora" }, { "add", "g", "erin" },
			{ "switch", { mode = "permanent" } }, { "delete", "g" } });
	end);

	it("keep a request where a list waits for its turn in the background", function ()
		comes_out_well("removing", {
			{ "register", "ann" }, { "register", "dora" }, { "register", "erin" }, { "create", "k", "Choir" },
			{ "add", "k", "erin" }, { "login", "ann", 1 }, { "login", "erin", 1 }, { "request", "erin", "ann" },
			{ "add_delayed", "k", "ann" }, { "add", "k", "dora" }, { "logout", "erin" }, { "login", "erin", 1 },
			{ "logout", "erin" }, { "remove", "k", "erin" } });
	end);

	it("leave nothing in storage of a contact that was changed for a session in which contacts became virtual", function ()
		comes_out_well("both", {
			{ "switch", { mode = "permanent" } }, { "register", "carl" }, { "register", "dora" },
			{ "create", "h", "Family" }, { "add", "h", "carl" }, { "add", "h", "dora" }, { "create", "g", "Work" },
			{ "add", "g", "carl" }, { "login", "dora", 2 }, { "cancel", "dora", "carl" },
			{ "switch", { mode = "virtual" } }, { "add", "g", "dora" }, { "check" }, { "logout", "dora" },
			{ "delete", "h" }, { "login", "dora", 2 } });
	end);

	it("take a group's label off a friend whose account is gone, and who had taken the user off", function ()
		comes_out_well("keeping", {
			{ "enrol", "bob" }, { "enrol", "dora" }, { "register", "erin" }, { "login", "bob", 1 },
			{ "login", "dora", 1 }, { "create", "k", "Family" }, { "add", "k", "erin" }, { "add", "k", "bob" },
			{ "befriend", "bob", "dora" }, { "add", "k", "dora" }, { "remove", "k", "bob" },
			{ "take_off", "dora", "bob" }, { "check" }, { "unregister", "dora" } });
	end);

	it("show a client what is there when contacts are stored again, and a friend was cancelled and made anew", function ()
		comes_out_well("both", {
			{ "enrol", "bob" }, { "register", "carl" }, { "create", "h", "Work" }, { "add", "h", "carl" },
			{ "login", "bob", 1 }, { "login", "carl", 1 }, { "add", "h", "bob" }, { "cancel", "carl", "bob" },
			{ "remove", "h", "carl" }, { "befriend", "carl", "bob" }, { "add", "h", "carl" },
			{ "switch", { mode = "permanent" } } });
	end);

	it("give a new account no name that the former one had as a virtual contact", function ()
		comes_out_well("both", {
			{ "register", "ann" }, { "enrol", "erin" }, { "create", "g", "Choir" }, { "create", "h", "Choir" },
			{ "add", "h", "ann" }, { "add", "h", "erin" }, { "login", "ann", 1 }, { "name", "ann", "erin", "Chum" },
			{ "kill" }, { "unregister", "erin" }, { "register", "erin" }, { "switch", { mode = "permanent" } },
			{ "add", "g", "ann" }, { "add", "g", "erin" } });
	end);

	it("give up who had been half a contact and without a label, also where a kill comes before the save", function ()
		comes_out_well("removing", {
			{ "register", "ann" }, { "register", "bob" }, { "register", "erin" }, { "create", "g", "Choir" },
			{ "add", "g", "ann" }, { "add", "g", "bob" }, { "add", "g", "erin" }, { "login", "bob", 1 }, { "pause", 150 },
			{ "cancel", "bob", "ann" }, { "label", "bob", "ann", "Mine" }, { "unlabel", "bob", "ann", "Choir" },
			{ "pause", 150 }, { "remove", "g", "bob" }, { "name", "bob", "erin", "Pal" }, { "kill" } });
	end);

	it("keep a request from before the groups that is asked once more at a login, over a kill before the save", function ()
		comes_out_well("removing", {
			{ "register", "ann" }, { "enrol", "bob" }, { "enrol", "dora" }, { "create", "g", "Family" },
			{ "login", "bob", 1 }, { "add", "g", "ann" }, { "request", "bob", "dora" }, { "add", "g", "dora" },
			{ "name", "bob", "ann", "Pal" }, { "logout", "bob" }, { "add", "g", "bob" }, { "remove", "g", "ann" },
			{ "check" }, { "remove", "g", "bob" }, { "login", "bob", 1 }, { "unname", "bob", "ann" }, { "kill" },
			{ "add", "g", "bob" }, { "login", "ann", 2 }, { "delete", "g" } });
	end);

	it("keep a contact of the user's own that groups let go of and brought again before a kill and the save", function ()
		comes_out_well("removing", {
			{ "enrol", "ann" }, { "enrol", "bob" }, { "enrol", "carl" }, { "login", "ann", 1 }, { "login", "bob", 1 },
			{ "name", "ann", "bob", "Pal" }, { "unname", "ann", "bob" }, { "create", "g", "Family" }, { "add", "g", "ann" },
			{ "add", "g", "bob" }, { "check" }, { "remove", "g", "ann" }, { "name", "ann", "carl", "Pal" },
			{ "add", "g", "ann" }, { "kill" }, { "add", "g", "carl" }, { "login", "ann", 1 }, { "check" },
			{ "remove", "g", "ann" } });
	end);
end);
