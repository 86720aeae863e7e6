//! A host's engine in Lua's hands.

use std::rc::Rc;

use mlua::prelude::*;

use super::convert::{self, username};
use super::kept::{LastLists, LastRecord};
use super::operation::{Host, Returns, Running};
use super::roster::Roster;
use crate::engine::{Engine, Error, Given, GivenInfo, Operation, Value};

/// `handle`: look-ups that answer at once, and functions that start an operation.
pub(super) struct Handle {
    engine: Engine,
    host: Rc<Host>,
}

impl Handle {
    pub(super) fn new(engine: Engine, host: String) -> Handle {
        Handle {
            engine,
            host: Rc::new(Host { name: host, last_record: LastRecord::default(), last_lists: LastLists::default() }),
        }
    }

    fn run(&self, lua: &Lua, operation: Operation) -> LuaResult<LuaValue> {
        self.run_returning(lua, operation, Returns::Truth)
    }

    fn run_returning(&self, lua: &Lua, operation: Operation, returns: Returns) -> LuaResult<LuaValue> {
        Running::new(operation, returns, Rc::clone(&self.host)).into_lua(lua)
    }
}

impl Handle {
    /// Starts an operation on a group and a list of users.
    fn bulk(
        &self,
        lua: &Lua,
        id: &LuaValue,
        users: &LuaValue,
        start: impl FnOnce(&Engine, Given, Option<&[Given]>) -> Operation,
    ) -> LuaResult<LuaValue> {
        let (id, users) = (convert::bytes(id), convert::given_list(users));
        let users: Option<Vec<_>> = users.as_ref().map(|list| list.iter().map(Option::as_deref).collect());
        self.run(lua, start(&self.engine, id.as_deref(), users.as_deref()))
    }
}

impl LuaUserData for Handle {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        add_lookups(methods);
        add_changes(methods);
        add_rosters(methods);
        add(methods, "close", |_, this, ()| {
            super::close(&this.host.name);
            Ok(LuaValue::Nil)
        });
    }
}

/// Adds a method. It goes by a pointer: those that take and return the same types share the code around them, of which
/// each closure would have a copy.
fn add<A: FromLuaMulti + 'static, R: IntoLuaMulti + 'static>(
    methods: &mut impl LuaUserDataMethods<Handle>,
    name: &str,
    method: fn(&Lua, &Handle, A) -> LuaResult<R>,
) {
    methods.add_method(name, method);
}

fn add_lookups<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    add(methods, "is_loading", |_, this, ()| Ok(LuaValue::Boolean(this.engine.is_loading())));
    add(methods, "exists", |_, this, id: LuaValue| {
        Ok(LuaValue::Boolean(convert::bytes(&id).is_some_and(|id| this.engine.exists(&id))))
    });
    add(methods, "get_info", |lua, this, id: LuaValue| {
        let info = convert::bytes(&id).and_then(|id| this.engine.info(&id));
        info.map(|info| convert::info(lua, &info)).transpose()?.into_lua(lua)
    });
    add(methods, "get_members", |lua, this, id: LuaValue| {
        let mut members = convert::bytes(&id).map_or_else(Vec::new, |id| this.engine.members(&id));
        // Callers are promised tables.
        members.iter_mut().filter(|(_, data)| !matches!(data, Value::Table(_))).for_each(|m| m.1 = Value::empty());
        convert::members(lua, &members).map(LuaValue::Table)
    });
    add(methods, "get_user_groups", |lua, this, username: LuaValue| {
        let ids = convert::bytes(&username).map_or_else(Vec::new, |name| this.engine.groups_of(&name));
        convert::names(lua, &ids).map(LuaValue::Table)
    });
    add(methods, "chats", |lua, this, id: LuaValue| {
        let info = convert::bytes(&id).and_then(|id| this.engine.info(&id));
        info.map(|info| convert::chats(lua, &info)).transpose()?.into_lua(lua)
    });
    add(methods, "groups", |lua, this, ()| {
        let groups = this.engine.groups();
        let table = lua.create_table_with_capacity(0, groups.len())?;
        for (id, info) in &groups {
            table.raw_set(convert::name(lua, id)?, convert::info(lua, info)?)?;
        }
        Ok(LuaValue::Table(table))
    });
    add(methods, "status", |lua, this, ()| {
        let status = this.engine.status();
        let table = lua.create_table()?;
        table.raw_set("groups", status.groups)?;
        table.raw_set("memberships", status.memberships)?;
        table.raw_set("unsettled", status.unsettled)?;
        table.raw_set("failing", status.failing)?;
        table.raw_set("delayed", status.delayed)?;
        table.raw_set("unchecked", status.unchecked)?;
        Ok(LuaValue::Table(table))
    });
    add(methods, "snapshot", |lua, this, ()| convert::string(lua, &this.engine.snapshot()));
}

fn add_changes<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    add(methods, "load", |lua, this, (epoch, setup): (u64, String)| this.run(lua, this.engine.load(epoch, &setup)));
    add(methods, "check_chat_host", |lua, this, ()| this.run(lua, this.engine.check_chat_host()));
    add(methods, "tell_of_update", |lua, this, ()| this.run(lua, this.engine.tell_of_update()));
    add(methods, "create", |lua, this, (info, chat, id): (LuaValue, LuaValue, LuaValue)| {
        let Ok(name) = convert::name_in(&info) else {
            return (LuaValue::Nil, Error::BadRequest.as_str()).into_lua_multi(lua);
        };
        let id_bytes = convert::bytes(&id);
        let id = convert::truth(&id).then_some(id_bytes.as_deref());
        let given = GivenInfo { name: name.as_deref(), details: convert::details(&info) };
        let operation = this.engine.create(given, convert::truth(&chat), id);
        this.run(lua, operation)?.into_lua_multi(lua)
    });
    add(methods, "set_info", |lua, this, (id, info): (LuaValue, LuaValue)| {
        let (id, name) = (convert::bytes(&id), convert::name_in(&info).ok().flatten());
        let given = GivenInfo { name: name.as_deref(), details: convert::details(&info) };
        this.run(lua, this.engine.set_info(id.as_deref(), given))
    });
    add(methods, "check", |lua, this, ()| this.run(lua, this.engine.check()));
    add(methods, "repair", |lua, this, ()| this.run(lua, this.engine.repair()));
    add(methods, "delete", |lua, this, id: LuaValue| this.run(lua, this.engine.delete(convert::bytes(&id).as_deref())));
    add(methods, "add_member", |lua, this, (id, user, delayed): (LuaValue, LuaValue, LuaValue)| {
        let (id, user) = (convert::bytes(&id), convert::bytes(&user));
        this.run(lua, this.engine.add_member(id.as_deref(), user.as_deref(), convert::truth(&delayed)))
    });
    add(methods, "remove_member", |lua, this, (id, user): (LuaValue, LuaValue)| {
        let (id, user) = (convert::bytes(&id), convert::bytes(&user));
        this.run(lua, this.engine.remove_member(id.as_deref(), user.as_deref()))
    });
    add(methods, "add_members", |lua, this, (id, users, delayed): (LuaValue, LuaValue, LuaValue)| {
        let delayed = convert::truth(&delayed);
        this.bulk(lua, &id, &users, |engine, id, users| engine.add_members(id, users, delayed))
    });
    add(methods, "remove_members", |lua, this, (id, users): (LuaValue, LuaValue)| {
        this.bulk(lua, &id, &users, Engine::remove_members)
    });
    add(methods, "set_members", |lua, this, (id, users): (LuaValue, LuaValue)| {
        this.bulk(lua, &id, &users, Engine::set_members)
    });
    add(methods, "add_group_chat", |lua, this, (id, name): (LuaValue, LuaValue)| {
        let (id, name) = (convert::bytes(&id), convert::bytes(&name));
        this.run(lua, this.engine.add_group_chat(id.as_deref(), name.as_deref()))
    });
    add(methods, "remove_group_chat", |lua, this, (id, room): (LuaValue, LuaValue)| {
        let (id, room) = (convert::bytes(&id), convert::bytes(&room));
        this.run(lua, this.engine.remove_group_chat(id.as_deref(), room.as_deref()))
    });
    add(methods, "emit_member_events", |lua, this, id: LuaValue| {
        let operation = this.engine.emit_member_events(convert::bytes(&id).as_deref());
        this.run_returning(lua, operation, Returns::Falsehood)
    });
    add(methods, "restore", |lua, this, blob: LuaValue| {
        match this.engine.restore(&convert::bytes(&blob).unwrap_or_default()) {
            Ok(operation) => this.run(lua, operation)?.into_lua_multi(lua),
            Err(error) => (LuaValue::Nil, error.to_string()).into_lua_multi(lua),
        }
    });
}

fn add_rosters<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    add(methods, "sync", |lua, this, id: LuaValue| {
        this.run_returning(lua, this.engine.sync(convert::bytes(&id).as_deref()), Returns::Nothing)
    });
    add(methods, "roster_loaded", |lua, this, (user, unsaved): (LuaString, LuaValue)| {
        this.run(lua, this.engine.roster_loaded(username(&user), convert::truth(&unsaved)))
    });
    add(methods, "user_appeared", |lua, this, user: LuaString| {
        this.run(lua, this.engine.user_appeared(username(&user)))
    });
    add(methods, "contacts_of", |lua, this, user: LuaString| {
        this.host.last_lists.jids(lua, &this.engine.contacts_of(&username(&user)), &this.host.name).map(LuaValue::Table)
    });
    add(methods, "is_unsaved", |_, this, user: LuaString| {
        Ok(LuaValue::Boolean(this.engine.is_unsaved(&username(&user))))
    });
    add(methods, "user_left", |lua, this, user: LuaString| this.run(lua, this.engine.user_left(username(&user))));
    add(methods, "subscription_changing", |lua, this, (user, contact): (LuaString, LuaString)| {
        this.run(lua, this.engine.subscription_changing(username(&user), username(&contact)))
    });
    add(methods, "may_lack", |_, this, (user, contact): (LuaString, LuaString)| {
        Ok(LuaValue::Boolean(this.engine.may_lack(&username(&user), &username(&contact))))
    });
    add(methods, "spare_contact", |_, this, (user, contact): (LuaString, LuaString)| {
        this.engine.spare_contact(&username(&user), &username(&contact));
        Ok(LuaValue::Nil)
    });
    add(methods, "note_edit", |lua, this, (items, jid, groups): (LuaTable, LuaString, Option<Vec<LuaString>>)| {
        let groups = groups.map(|groups| groups.iter().map(|group| group.to_string_lossy()).collect());
        if let Some(roster) = Roster::of(lua, items)? {
            roster.note_edit(&this.engine, jid, groups.as_ref())?;
        }
        Ok(LuaValue::Nil)
    });
    add(methods, "note_subscription", |lua, this, (items, contact): (LuaTable, LuaString)| {
        if let Some(roster) = Roster::of(lua, items)? {
            roster.note_subscription(&this.engine, &username(&contact))?;
        }
        Ok(LuaValue::Nil)
    });
    // Takes virtual items out of a roster. Returns the digest of what was shown, or nil for nothing.
    add(methods, "leave_roster", |lua, _, items: LuaTable| {
        let Some(mut roster) = Roster::of(lua, items)? else { return Ok(LuaValue::Nil) };
        let digest = roster.digest()?;
        roster.leave(lua)?;
        Some(digest).filter(|&digest| digest != 0).into_lua(lua)
    });
    add(methods, "nickname_changed", |lua, this, user: LuaString| {
        this.run(lua, this.engine.nickname_changed(username(&user)))
    });
    add(methods, "account_deleted", |lua, this, user: LuaString| {
        this.run(lua, this.engine.account_deleted(username(&user)))
    });
    add(methods, "room_restored", |_, this, jid: LuaString| {
        this.engine.room_restored(&jid.as_bytes());
        Ok(LuaValue::Nil)
    });
    add(methods, "room_made", |lua, this, (jid, maker): (LuaString, LuaValue)| {
        this.run(lua, this.engine.room_made(&jid.as_bytes(), convert::bytes(&maker).as_deref()))
    });
    add(methods, "room_touched", |_, this, jid: LuaString| {
        this.engine.room_touched(&jid.as_bytes());
        Ok(LuaValue::Nil)
    });
    add(methods, "flush", |lua, this, seconds: f64| this.run(lua, this.engine.flush(seconds)));
    add(methods, "work", |lua, this, began: f64| this.run(lua, this.engine.work().since(began)));
    add(methods, "next_work", |lua, this, now: f64| this.engine.next_work(now).into_lua(lua));
}
