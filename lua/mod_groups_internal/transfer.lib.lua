-- Groups out to JSON, and in from JSON and from other programs. The library reads the texts; here is compared what they
-- say with what there is, and added what is missing.

local array = require "util.array";
local async = require "util.async";
local keys = require "util.iterators".keys;
local encode = require "util.json".encode;
local new_id = require "util.id".short;
local monotonic = require "util.time".monotonic;
local add_task = require "util.timer".add_task;
local native = require "groups_internal_native";

-- How long others wait for their turn, in seconds.
local turn = 0.005;

-- Others have their turn for so long, in seconds.
local function sleep(seconds)
	local wait, done = async.waiter();
	add_task(seconds, done);
	wait();
end

-- Returns a function to be called often, which gives others their turn when it is time.
local function new_pacer()
	local since = monotonic();
	return function ()
		if monotonic() - since < turn or not async.ready() then return; end
		sleep(0);
		since = monotonic();
	end;
end

local function sorted_keys(map)
	return array.collect(keys(map)):sort();
end

-- An array with an item on each line, for version control.
local function write_array(out, indent, name, items, last)
	out[#out + 1] = ("%s%s: [%s"):format(indent, encode(name), #items == 0 and (last and "]" or "],") or "");
	for i, item in ipairs(items) do
		out[#out + 1] = ("%s  %s%s"):format(indent, item, i < #items and "," or "");
	end
	if #items > 0 then out[#out + 1] = indent..(last and "]" or "],"); end
end

local function write_group(out, groups, id)
	local info, indent = groups.get_info(id), "      ";
	out[#out + 1] = "    {";
	local function field(name, value)
		if value ~= nil then out[#out + 1] = ("%s%s: %s,"):format(indent, encode(name), encode(value)); end
	end
	field("id", id);
	field("name", info.name ~= "" and info.name or id);
	field("description", info.description);
	field("chat_membership", info.chat_membership);
	local chats, members = {}, sorted_keys(groups.get_members(id));
	for _, chat in ipairs(groups.get_group_chats(id)) do
		if not chat.deleted then
			chats[#chats + 1] = ('{ "jid": %s, "name": %s%s }'):format(encode(chat.jid), encode(chat.name),
				chat.jid == info.muc_jid and ', "default": true' or "");
		end
	end
	table.sort(chats);
	for i, user in ipairs(members) do members[i] = encode(user); end
	write_array(out, indent, "chats", chats);
	write_array(out, indent, "members", members, true);
	out[#out + 1] = "    },";
end

-- Returns groups as JSON, in the order of their ids.
local function export(groups, host, group_id, on_progress)
	if group_id ~= nil and not groups.exists(group_id) then return nil, "group-not-found"; end
	local ids = group_id and { group_id } or sorted_keys(groups.groups());
	local out = { "{", ('  "format": %s,'):format(encode(native.export_format)), ('  "host": %s,'):format(encode(host)) };
	out[#out + 1] = '  "groups": [';
	local pace = new_pacer();
	for i, id in ipairs(ids) do
		-- One that was deleted meanwhile is left out, and no comma with it: the last one is known to have none.
		if groups.exists(id) then write_group(out, groups, id); end
		if on_progress then on_progress(i, #ids); end
		pace();
	end
	if out[#out] == "    }," then out[#out] = "    }"; end
	out[#out + 1] = "  ]";
	out[#out + 1] = "}\n";
	return table.concat(out, "\n");
end

-- Writes a file by rename: whoever reads it meanwhile has the old one or the new one.
local function write_file(path, text)
	-- Nobody else can have put a link there.
	local new = ("%s.%s.new"):format(path, new_id());
	local file, err = io.open(new, "wb");
	if not file then return nil, err; end
	local ok;
	ok, err = file:write(text);
	local closed, close_err = file:close();
	if ok and closed then
		ok, err = os.rename(new, path);
		if ok then return true; end
	end
	os.remove(new);
	return nil, err or close_err;
end

-- Finds the group that a source means: by its id, or where it has none by its name. `taken`: the ids of other sources.
local function find(groups, source, by_name, taken)
	if source.has_id then return source.id, groups.get_info(source.id); end
	local ids = by_name[source.name];
	if ids and #ids > 1 then
		return nil, ("%d groups have the name %q"):format(#ids, source.name);
	end
	if ids then return ids[1], groups.get_info(ids[1]); end
	local id, n = source.id, 2;
	while groups.exists(id) or taken[id] do
		id, n = ("%s-%d"):format(source.id, n), n + 1;
	end
	taken[id] = true;
	return id;
end

-- What is to be done for one group: functions with what they do in words.
local function plan(groups, source, id, info)
	local steps = {};
	local function step(text, act) steps[#steps + 1] = { text = ("%s: %s"):format(id, text), act = act }; end

	local has_default = info and info.muc_jid ~= nil;
	local made = {}; -- the chats that there are, by name and JID
	if not info then
		for _, chat in ipairs(source.chats) do
			if chat.default and not has_default then
				has_default = true;
				made[chat.jid] = true;
			end
		end
		local record = {
			name = source.name, description = source.description;
			chat_membership = source.chat_membership;
		};
		step(("create %q%s"):format(source.name, has_default and " with a chat" or ""), function ()
			return groups.create(record, has_default, id);
		end);
	else
		for _, chat in ipairs(groups.get_group_chats(id)) do made[chat.jid], made[chat.name] = true, true; end
		local record, differs = { name = info.name }, false;
		if source.has_id and source.name ~= info.name then
			record.name, differs = source.name, true;
		end
		if source.description and source.description ~= (info.description or "") then
			record.description, differs = source.description, true;
		end
		if source.chat_membership ~= nil and source.chat_membership ~= (info.chat_membership ~= false) then
			record.chat_membership, differs = source.chat_membership, true;
		end
		if differs then
			step("change name or description", function () return groups.set_info(id, record); end);
		end
	end

	local members, missing = info and groups.get_members(id) or {}, {};
	for _, user in ipairs(source.members) do
		if not members[user] then missing[#missing + 1] = user; end
	end
	if #missing > 0 then
		step(#missing == 1 and "add "..missing[1] or ("add %d members"):format(#missing), function ()
			return groups.add_members(id, missing);
		end);
	end

	for _, chat in ipairs(source.chats) do
		-- A default chat goes by its group's name, also by a new one.
		if not made[chat.jid] and not made[chat.name] and not (chat.default and has_default) then
			made[chat.name] = true;
			step(("add the chat %q"):format(chat.name), function ()
				return groups.add_group_chat(id, chat.name);
			end);
		end
	end
	return steps;
end

-- Adds what a text has and the host lacks. Returns { changes, left_out }: what was done, or would be, in words.
local function import(groups, host, text, dry_run, on_progress)
	if type(text) ~= "string" then return nil, "bad-request"; end
	local read, err = native.read_groups(text, host);
	if not read then return nil, err; end
	local by_name, pace = {}, new_pacer();
	for id, info in pairs(groups.groups()) do
		by_name[info.name] = by_name[info.name] or {};
		table.insert(by_name[info.name], id);
	end
	-- All are found before anything changes.
	local found, taken = {}, {};
	for _, source in ipairs(read.groups) do
		if source.has_id then taken[source.id] = true; end
	end
	for i, source in ipairs(read.groups) do
		local id, info = find(groups, source, by_name, taken);
		pace();
		if not id then return nil, info; end
		found[i] = id;
	end
	local changes = {};
	for i, source in ipairs(read.groups) do
		local id = found[i];
		for _, step in ipairs(plan(groups, source, id, groups.get_info(id))) do
			changes[#changes + 1] = step.text;
			if not dry_run then
				local ok, failure = step.act();
				pace();
				if not ok then
					return nil, ("stopped at %s (%s); what came before is done, and importing again goes on"):format(step.text,
						failure);
				end
			end
		end
		if on_progress then on_progress(i, #read.groups); end
		pace();
	end
	return { changes = changes, left_out = read.left_out };
end

return {
	sleep = sleep; new_pacer = new_pacer; sorted_keys = sorted_keys; export = export; import = import;
	write_file = write_file;
};
