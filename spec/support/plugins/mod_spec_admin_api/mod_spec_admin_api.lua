-- Stands in for the HTTP API that admin portals use: the same routes under /admin_api, and the same calls of the module
-- behind each, without the portals' log-in. What the module returns goes into JSON as it is.

local json = require "util.json";

module:depends("http");
local mod_groups = module:depends("groups_internal");

local codes = {
	["group-name-required"] = 400, ["bad-request"] = 400, ["invalid-json"] = 400;
	["group-not-found"] = 404, ["item-not-found"] = 404, ["conflict"] = 409;
	["internal-server-error"] = 500, ["service-unavailable"] = 503;
};

-- Answers with what a handler returns: a code, a text, or nil and an error.
local function answer(handler)
	return function (event, path)
		local result, err = handler(path, event.request.body and json.decode(event.request.body), event);
		return result or codes[err] or error("not an error of the API: "..tostring(err));
	end;
end

-- Answers 204 where the module says that it is done.
local function done(ok, err)
	if not ok then return nil, err; end
	return 204;
end

local function describe(id)
	return {
		id = id, name = mod_groups.get_info(id).name;
		members = mod_groups.get_members(id), chats = mod_groups.get_group_chats(id);
	};
end

local function list()
	local all = {};
	for id in mod_groups.groups() do all[#all + 1] = describe(id); end
	return json.encode_array(all);
end

local function show(id)
	if not mod_groups.get_info(id) then return nil, "group-not-found"; end
	return json.encode(describe(id));
end

local function create(_, group)
	if not group then return nil, "invalid-json"; end
	local id, err = mod_groups.create({ name = group.name }, group.create_muc and true or false);
	if not id then return nil, err; end
	return json.encode { id = id, name = mod_groups.get_info(id).name };
end

local function add_chat(path, chat)
	local id = path:match("^([^/]+)/chats$");
	if not id then return nil, "group-not-found"; end
	if not chat then return nil, "invalid-json"; end
	local added, err = mod_groups.add_group_chat(id, chat.name);
	if not added then return nil, err; end
	return json.encode(added);
end

local function change(path, update)
	local id, member = path:match("^([^/]+)/members/([^/]+)$");
	if id then return done(mod_groups.add_member(id, member)); end
	if not update then return nil, "invalid-json"; end
	local info = mod_groups.get_info(path);
	if not info then return nil, "group-not-found"; end
	info.name = update.name or info.name;
	return done(mod_groups.set_info(path, info));
end

local function remove(path)
	local id, kind, name = path:match("^([^/]+)/([^/]+)/([^/]+)$");
	if kind == "members" then return done(mod_groups.remove_member(id, name)); end
	if kind == "chats" then return done(mod_groups.remove_group_chat(id, name)); end
	if not mod_groups.exists(path) then return nil, "group-not-found"; end
	return done(mod_groups.delete(path));
end

local function groups_of(path)
	local user = path:match("^([^/]+)/groups$");
	if not user then return nil, "item-not-found"; end
	return json.encode(mod_groups.get_user_groups(user));
end

module:provides("http", {
	default_path = "/admin_api";
	route = {
		["GET /groups"] = answer(list);
		["GET /groups/*"] = answer(show);
		["POST /groups"] = answer(create);
		["POST /groups/*"] = answer(add_chat);
		["PUT /groups/*"] = answer(change);
		["DELETE /groups/*"] = answer(remove);
		["GET /users/*"] = answer(groups_of);
	};
});
