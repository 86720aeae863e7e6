//! Values across the border.

use mlua::prelude::*;

use crate::engine::{Details, Error, Event, Info, Name, Problem, Text, Value, node};
use crate::import::Import;

/// How deep a stored table may be nested.
const MAX_DEPTH: usize = 32;

/// An argument as the engine takes it: the bytes of a string, or nothing.
pub(super) fn bytes(value: &LuaValue) -> Option<Vec<u8>> {
    value.as_string().map(|text| text.as_bytes().to_vec())
}

/// The name in a group's record that a caller made. Reading it may throw.
pub(super) fn name_in(record: &LuaValue) -> LuaResult<Option<Vec<u8>>> {
    match record.as_table() {
        Some(record) => record.get("name").map(|name| bytes(&name)),
        None => Ok(None),
    }
}

/// A reason as modules give it: a text, or a table with a way to become one.
pub(super) fn reason(value: &LuaValue) -> String {
    match value {
        LuaValue::Nil => None,
        LuaValue::String(text) => Some(text.to_string_lossy()),
        other => other.to_string().ok(),
    }
    .unwrap_or_else(|| "no reason given".to_owned())
}

/// What is false in Lua is false here.
pub(super) fn truth(value: &LuaValue) -> bool {
    !matches!(value, LuaValue::Nil | LuaValue::Boolean(false))
}

/// The username of a text.
pub(super) fn username(text: &LuaString) -> Name {
    Name::raw(&text.as_bytes())
}

pub(super) fn string(lua: &Lua, bytes: &[u8]) -> LuaResult<LuaValue> {
    lua.create_string(bytes).map(LuaValue::String)
}

pub(super) fn name(lua: &Lua, name: &Name) -> LuaResult<LuaValue> {
    string(lua, name.as_bytes())
}

/// A list of strings.
pub(super) fn list(lua: &Lua, items: &mut dyn ExactSizeIterator<Item = &[u8]>) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(items.len(), 0)?;
    for item in items {
        table.raw_push(lua.create_string(item)?)?;
    }
    Ok(table)
}

pub(super) fn list_of(lua: &Lua, words: &[&'static str]) -> LuaResult<LuaTable> {
    list(lua, &mut words.iter().map(|word| word.as_bytes()))
}

pub(super) fn names(lua: &Lua, names: &[Name]) -> LuaResult<LuaTable> {
    list(lua, &mut names.iter().map(Name::as_bytes))
}

/// The bare JID of a user of a host.
pub(super) fn jid(lua: &Lua, name: &Name, host: &str) -> LuaResult<LuaValue> {
    string(lua, &[name.as_bytes(), b"@", host.as_bytes()].concat())
}

/// The bare JIDs of users of a host.
pub(super) fn jids(lua: &Lua, names: &[Name], host: &str) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(names.len(), 0)?;
    for name in names {
        table.raw_push(jid(lua, name, host)?)?;
    }
    Ok(table)
}

/// What an import has read.
pub(super) fn import(lua: &Lua, import: Import) -> LuaResult<LuaTable> {
    let groups = lua.create_table_with_capacity(import.groups.len(), 0)?;
    for group in import.groups {
        let chats = lua.create_table_with_capacity(group.chats.len(), 0)?;
        for chat in group.chats {
            let table = lua.create_table()?;
            table.raw_set("jid", chat.jid)?;
            table.raw_set("name", chat.name)?;
            table.raw_set("default", chat.default)?;
            chats.raw_push(table)?;
        }
        let table = lua.create_table()?;
        table.raw_set("id", group.id)?;
        table.raw_set("has_id", group.has_id)?;
        table.raw_set("name", group.name)?;
        table.raw_set("description", group.description)?;
        table.raw_set("chat_membership", group.chat_membership)?;
        table.raw_set("chats", chats)?;
        table.raw_set("members", group.members)?;
        groups.raw_push(table)?;
    }
    let table = lua.create_table()?;
    table.raw_set("groups", groups)?;
    table.raw_set("left_out", import.left_out)?;
    Ok(table)
}

/// A stored value as Lua has it.
pub(super) fn to_lua(lua: &Lua, value: &Value) -> LuaResult<LuaValue> {
    Ok(match value {
        Value::Bool(b) => LuaValue::Boolean(*b),
        Value::Integer(i) => i.into_lua(lua)?,
        Value::Number(bits) => LuaValue::Number(f64::from_bits(*bits)),
        Value::Text(Text(bytes)) => string(lua, bytes)?,
        Value::Table(entries) => {
            let table = lua.create_table_with_capacity(0, entries.len())?;
            for (key, value) in entries {
                table.raw_set(to_lua(lua, key)?, to_lua(lua, value)?)?;
            }
            LuaValue::Table(table)
        }
    })
}

/// A value as storage can hold it; nothing for what it cannot (functions and the like), or if it is nested too deep.
pub(super) fn from_lua(value: &LuaValue) -> Option<Value> {
    from_lua_at(value, 0)
}

fn from_lua_at(value: &LuaValue, depth: usize) -> Option<Value> {
    match value {
        LuaValue::Boolean(b) => Some(Value::Bool(*b)),
        LuaValue::Integer(i) => Some(Value::Integer(*i)),
        LuaValue::Number(n) => Some(Value::Number(n.to_bits())),
        LuaValue::String(text) => Some(Value::text(&text.as_bytes())),
        LuaValue::Table(table) if depth < MAX_DEPTH => {
            let mut entries = Vec::new();
            for pair in table.pairs::<LuaValue, LuaValue>() {
                let (key, value) = pair.ok()?;
                if let (Some(key), Some(value)) = (from_lua_at(&key, depth + 1), from_lua_at(&value, depth + 1)) {
                    entries.push((key, value));
                }
            }
            Some(Value::table(entries))
        }
        _ => None,
    }
}

/// A record of the store `groups`, as it is stored.
pub(super) fn members(lua: &Lua, members: &[(Name, Value)]) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, members.len())?;
    for (user, data) in members {
        table.raw_set(lua.create_string(user.as_bytes())?, to_lua(lua, data)?)?;
    }
    Ok(table)
}

/// What of a record of the store `groups` is not read in one piece, which is much faster than entry by entry. What has
/// no name for a key is no member.
pub(super) fn from_members(table: &LuaTable) -> LuaResult<Vec<(Name, Value)>> {
    let mut members = Vec::new();
    table.for_each(|user: LuaValue, data: LuaValue| {
        if let (Some(user), Some(data)) = (user.as_string(), from_lua(&data)) {
            members.push((Name::raw(&user.as_bytes()), data));
        }
        Ok(())
    })?;
    members.sort_unstable();
    Ok(members)
}

/// A group's record as callers see it: without the fields of other modules.
pub(super) fn info(lua: &Lua, info: &Info) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 3)?;
    if !info.name.is_empty() {
        table.raw_set("name", lua.create_string(&info.name)?)?;
    }
    if let Some(jid) = &info.muc_jid {
        table.raw_set("muc_jid", lua.create_string(jid)?)?;
    }
    if let Some(mucs) = &info.mucs {
        table.raw_set("mucs", list(lua, &mut mucs.iter().map(AsRef::as_ref))?)?;
    }
    if let Some(text) = &info.description {
        table.raw_set("description", lua.create_string(text)?)?;
    }
    if info.chats_apart {
        table.raw_set("chat_membership", false)?;
    }
    Ok(table)
}

/// What a caller says of a group beside its name: a table with `description` and `chat_membership`, or nothing.
pub(super) fn details(value: &LuaValue) -> Result<Details, Error> {
    let Some(table) = value.as_table() else { return Ok(Details::default()) };
    let field = |key: &str| table.raw_get::<LuaValue>(key).map_err(|_| Error::BadRequest);
    let chat_membership = match field("chat_membership")? {
        LuaValue::Nil => None,
        LuaValue::Boolean(let_in) => Some(let_in),
        _ => return Err(Error::BadRequest),
    };
    match field("description")? {
        LuaValue::Nil => Details::given(None, chat_membership),
        LuaValue::String(text) => Details::given(Some(&text.as_bytes()), chat_membership),
        _ => Err(Error::BadRequest),
    }
}

/// A list of what callers mean as strings; nothing for what is no list. A table with other keys is none: taken for an
/// empty one, it would empty a group.
pub(super) fn given_list(value: &LuaValue) -> Option<Vec<Option<Vec<u8>>>> {
    let table = value.as_table()?;
    let items: Vec<_> = (1..=table.raw_len()).map(|i| table.raw_get(i).ok().and_then(|item| bytes(&item))).collect();
    let mut entries = 0;
    table
        .for_each(|_: LuaValue, _: LuaValue| {
            entries += 1;
            Ok(())
        })
        .ok()?;
    (entries == items.len()).then_some(items)
}

/// What was found wrong, each with what it concerns; `problem` says what it is.
pub(super) fn problems(lua: &Lua, problems: &[Problem]) -> LuaResult<LuaTable> {
    let list = lua.create_table_with_capacity(problems.len(), 0)?;
    for problem in problems {
        let entry = lua.create_table()?;
        match problem {
            Problem::AccountMissing { user, groups } => {
                entry.raw_set("problem", "account-missing")?;
                entry.raw_set("user", name(lua, user)?)?;
                entry.raw_set("groups", names(lua, groups)?)?;
            }
            Problem::AccountLeftOver { user, owners } => {
                entry.raw_set("problem", "account-left-over")?;
                entry.raw_set("user", name(lua, user)?)?;
                entry.raw_set("owners", names(lua, owners)?)?;
            }
            Problem::ChatMissing { id, jid } => {
                entry.raw_set("problem", "chat-missing")?;
                entry.raw_set("group_id", name(lua, id)?)?;
                entry.raw_set("jid", lua.create_string(jid)?)?;
            }
            Problem::ChatChanged { id, jid, settings } => {
                entry.raw_set("problem", "chat-changed")?;
                entry.raw_set("group_id", name(lua, id)?)?;
                entry.raw_set("jid", lua.create_string(jid)?)?;
                entry.raw_set("settings", list_of(lua, settings)?)?;
            }
            Problem::MemberMisspelt { user, account, groups } => {
                entry.raw_set("problem", "member-misspelt")?;
                entry.raw_set("user", name(lua, user)?)?;
                entry.raw_set("account", name(lua, account)?)?;
                entry.raw_set("groups", names(lua, groups)?)?;
            }
            Problem::NameMissing { id } => {
                entry.raw_set("problem", "name-missing")?;
                entry.raw_set("group_id", name(lua, id)?)?;
            }
            Problem::GroupUnknown { id } => {
                entry.raw_set("problem", "group-unknown")?;
                entry.raw_set("group_id", name(lua, id)?)?;
            }
            Problem::RecordDiffers { id } => {
                entry.raw_set("problem", "record-differs")?;
                entry.raw_set("group_id", name(lua, id)?)?;
            }
            Problem::AffiliationsDiffer { id, jid, users } => {
                entry.raw_set("problem", "affiliations-differ")?;
                entry.raw_set("group_id", name(lua, id)?)?;
                entry.raw_set("jid", lua.create_string(jid)?)?;
                entry.raw_set("jids", names(lua, users)?)?;
            }
            Problem::ContactsDiffer { user } => {
                entry.raw_set("problem", "contacts-differ")?;
                entry.raw_set("user", name(lua, user)?)?;
            }
        }
        list.raw_push(entry)?;
    }
    Ok(list)
}

fn put_group(lua: &Lua, payload: &LuaTable, id: &Name, record: &Info) -> LuaResult<()> {
    payload.raw_set("group_id", name(lua, id)?)?;
    payload.raw_set("group_info", info(lua, record)?)
}

/// A chat as functions and events name it.
pub(super) fn chat(lua: &Lua, jid: &[u8], title: &[u8]) -> LuaResult<LuaTable> {
    let chat = lua.create_table()?;
    chat.raw_set("jid", lua.create_string(jid)?)?;
    chat.raw_set("name", lua.create_string(title)?)?;
    Ok(chat)
}

/// The chats of a group, `{ id, jid, name }` each, named after the group.
pub(super) fn chats(lua: &Lua, info: &Info) -> LuaResult<LuaTable> {
    let list = lua.create_table()?;
    for jid in info.rooms() {
        let chat = chat(lua, &jid, &info.name)?;
        chat.raw_set("id", lua.create_string(node(&jid))?)?;
        list.raw_push(chat)?;
    }
    Ok(list)
}

/// An event as the shim fires it: the name and the payload. One for several users: the name, the group's record for
/// each of them, the group's id and the users. Lua makes tables of one form faster.
pub(super) fn event(lua: &Lua, event: &Event) -> LuaResult<Vec<LuaValue>> {
    let payload = lua.create_table_with_capacity(0, 4)?;
    let event_name = match event {
        Event::UsersAdded { id, users, info: record } | Event::UsersRemoved { id, users, info: record } => {
            for _ in users {
                payload.raw_push(info(lua, record)?)?;
            }
            let added = matches!(event, Event::UsersAdded { .. });
            let event_name = if added { "group-user-added" } else { "group-user-removed" };
            let users = names(lua, users).map(LuaValue::Table)?;
            return Ok(vec![string(lua, event_name.as_bytes())?, LuaValue::Table(payload), name(lua, id)?, users]);
        }
        Event::Created { id, info: record } | Event::Deleted { id, info: record } => {
            put_group(lua, &payload, id, record)?;
            if matches!(event, Event::Created { .. }) { "group-created" } else { "group-deleted" }
        }
        Event::Updated { id, info: record, old } => {
            put_group(lua, &payload, id, record)?;
            payload.raw_set("old_info", info(lua, old)?)?;
            "group-updated"
        }
        Event::ChatAdded { id, info: record, jid, name: title } => {
            put_group(lua, &payload, id, record)?;
            payload.raw_set("muc", chat(lua, jid, title)?)?;
            "group-chat-added"
        }
        Event::ChatRenamed { id, info: record, jid, name: title, old_name } => {
            put_group(lua, &payload, id, record)?;
            payload.raw_set("muc", chat(lua, jid, title)?)?;
            payload.raw_set("old_name", lua.create_string(old_name)?)?;
            "group-chat-renamed"
        }
        Event::ChatRemoved { id, info: record, jid } => {
            let muc = lua.create_table()?;
            muc.raw_set("id", lua.create_string(node(jid))?)?;
            muc.raw_set("jid", lua.create_string(jid)?)?;
            put_group(lua, &payload, id, record)?;
            payload.raw_set("muc", muc)?;
            "group-chat-removed"
        }
    };
    Ok(vec![string(lua, event_name.as_bytes())?, LuaValue::Table(payload)])
}
