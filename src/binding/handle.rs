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

    fn run(&self, operation: Operation) -> LuaResult<Running> {
        self.run_returning(operation, Returns::Truth)
    }

    fn run_returning(&self, operation: Operation, returns: Returns) -> LuaResult<Running> {
        Ok(Running::new(operation, returns, Rc::clone(&self.host)))
    }
}

impl Handle {
    /// Starts an operation on a group and a list of users.
    fn bulk(
        &self,
        id: &LuaValue,
        users: &LuaValue,
        start: impl FnOnce(&Engine, Given, Option<&[Given]>) -> Operation,
    ) -> LuaResult<Running> {
        let (id, users) = (convert::bytes(id), convert::given_list(users));
        let users: Option<Vec<_>> = users.as_ref().map(|list| list.iter().map(Option::as_deref).collect());
        self.run(start(&self.engine, id.as_deref(), users.as_deref()))
    }
}

impl LuaUserData for Handle {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        add_lookups(methods);
        add_changes(methods);
        add_rosters(methods);
        methods.add_method("close", |_, this, ()| {
            super::close(&this.host.name);
            Ok(())
        });
    }
}

fn add_lookups<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    methods.add_method("is_loading", |_, this, ()| Ok(this.engine.is_loading()));
    methods.add_method("exists", |_, this, id: LuaValue| {
        Ok(convert::bytes(&id).is_some_and(|id| this.engine.exists(&id)))
    });
    methods.add_method("get_info", |lua, this, id: LuaValue| {
        let info = convert::bytes(&id).and_then(|id| this.engine.info(&id));
        info.map(|info| convert::info(lua, &info)).transpose()
    });
    methods.add_method("get_members", |lua, this, id: LuaValue| {
        let mut members = convert::bytes(&id).map_or_else(Vec::new, |id| this.engine.members(&id));
        // Callers are promised tables.
        members.iter_mut().filter(|(_, data)| !matches!(data, Value::Table(_))).for_each(|m| m.1 = Value::empty());
        convert::members(lua, &members)
    });
    methods.add_method("get_user_groups", |lua, this, username: LuaValue| {
        let ids = convert::bytes(&username).map_or_else(Vec::new, |name| this.engine.groups_of(&name));
        convert::names(lua, &ids)
    });
    methods.add_method("chats", |lua, this, id: LuaValue| {
        let info = convert::bytes(&id).and_then(|id| this.engine.info(&id));
        info.map(|info| convert::chats(lua, &info)).transpose()
    });
    methods.add_method("groups", |lua, this, ()| {
        let groups = this.engine.groups();
        let table = lua.create_table_with_capacity(0, groups.len())?;
        for (id, info) in &groups {
            table.raw_set(convert::name(lua, id)?, convert::info(lua, info)?)?;
        }
        Ok(table)
    });
    methods.add_method("status", |lua, this, ()| {
        let status = this.engine.status();
        let table = lua.create_table()?;
        table.raw_set("groups", status.groups)?;
        table.raw_set("memberships", status.memberships)?;
        table.raw_set("unsettled", status.unsettled)?;
        table.raw_set("failing", status.failing)?;
        table.raw_set("delayed", status.delayed)?;
        table.raw_set("unchecked", status.unchecked)?;
        Ok(table)
    });
    methods.add_method("snapshot", |lua, this, ()| lua.create_string(this.engine.snapshot()));
}

fn add_changes<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    methods.add_method("load", |_, this, (epoch, setup): (u64, String)| this.run(this.engine.load(epoch, &setup)));
    methods.add_method("check_chat_host", |_, this, ()| this.run(this.engine.check_chat_host()));
    methods.add_method("tell_of_update", |_, this, ()| this.run(this.engine.tell_of_update()));
    methods.add_method("create", |lua, this, (info, chat, id): (LuaValue, LuaValue, LuaValue)| {
        let Ok(name) = convert::name_in(&info) else {
            return (LuaValue::Nil, Error::BadRequest.as_str()).into_lua_multi(lua);
        };
        let id_bytes = convert::bytes(&id);
        let id = convert::truth(&id).then_some(id_bytes.as_deref());
        let given = GivenInfo { name: name.as_deref(), details: convert::details(&info) };
        let operation = this.engine.create(given, convert::truth(&chat), id);
        this.run(operation)?.into_lua_multi(lua)
    });
    methods.add_method("set_info", |_, this, (id, info): (LuaValue, LuaValue)| {
        let (id, name) = (convert::bytes(&id), convert::name_in(&info).ok().flatten());
        let given = GivenInfo { name: name.as_deref(), details: convert::details(&info) };
        this.run(this.engine.set_info(id.as_deref(), given))
    });
    methods.add_method("check", |_, this, ()| this.run(this.engine.check()));
    methods.add_method("repair", |_, this, ()| this.run(this.engine.repair()));
    methods.add_method("delete", |_, this, id: LuaValue| this.run(this.engine.delete(convert::bytes(&id).as_deref())));
    methods.add_method("add_member", |_, this, (id, user, delayed): (LuaValue, LuaValue, LuaValue)| {
        let (id, user) = (convert::bytes(&id), convert::bytes(&user));
        this.run(this.engine.add_member(id.as_deref(), user.as_deref(), convert::truth(&delayed)))
    });
    methods.add_method("remove_member", |_, this, (id, user): (LuaValue, LuaValue)| {
        let (id, user) = (convert::bytes(&id), convert::bytes(&user));
        this.run(this.engine.remove_member(id.as_deref(), user.as_deref()))
    });
    methods.add_method("add_members", |_, this, (id, users, delayed): (LuaValue, LuaValue, LuaValue)| {
        let delayed = convert::truth(&delayed);
        this.bulk(&id, &users, |engine, id, users| engine.add_members(id, users, delayed))
    });
    methods.add_method("remove_members", |_, this, (id, users): (LuaValue, LuaValue)| {
        this.bulk(&id, &users, Engine::remove_members)
    });
    methods.add_method("set_members", |_, this, (id, users): (LuaValue, LuaValue)| {
        this.bulk(&id, &users, Engine::set_members)
    });
    methods.add_method("add_group_chat", |_, this, (id, name): (LuaValue, LuaValue)| {
        let (id, name) = (convert::bytes(&id), convert::bytes(&name));
        this.run(this.engine.add_group_chat(id.as_deref(), name.as_deref()))
    });
    methods.add_method("remove_group_chat", |_, this, (id, room): (LuaValue, LuaValue)| {
        let (id, room) = (convert::bytes(&id), convert::bytes(&room));
        this.run(this.engine.remove_group_chat(id.as_deref(), room.as_deref()))
    });
    methods.add_method("emit_member_events", |_, this, id: LuaValue| {
        let operation = this.engine.emit_member_events(convert::bytes(&id).as_deref());
        this.run_returning(operation, Returns::Falsehood)
    });
    methods.add_method("restore", |lua, this, blob: LuaValue| {
        match this.engine.restore(&convert::bytes(&blob).unwrap_or_default()) {
            Ok(operation) => this.run(operation)?.into_lua_multi(lua),
            Err(error) => (LuaValue::Nil, error.to_string()).into_lua_multi(lua),
        }
    });
}

fn add_rosters<M: LuaUserDataMethods<Handle>>(methods: &mut M) {
    methods.add_method("sync", |_, this, id: LuaValue| {
        this.run_returning(this.engine.sync(convert::bytes(&id).as_deref()), Returns::Nothing)
    });
    methods.add_method("roster_loaded", |_, this, (user, unsaved): (LuaString, bool)| {
        this.run(this.engine.roster_loaded(username(&user), unsaved))
    });
    methods
        .add_method("user_appeared", |_, this, user: LuaString| this.run(this.engine.user_appeared(username(&user))));
    methods.add_method("contacts_of", |lua, this, user: LuaString| {
        this.host.last_lists.jids(lua, &this.engine.contacts_of(&username(&user)), &this.host.name)
    });
    methods.add_method("is_unsaved", |_, this, user: LuaString| Ok(this.engine.is_unsaved(&username(&user))));
    methods.add_method("user_left", |_, this, user: LuaString| this.run(this.engine.user_left(username(&user))));
    methods.add_method("roster_changing", |_, this, user: LuaString| {
        this.run(this.engine.roster_changing(username(&user)))
    });
    methods.add_method("subscription_changing", |_, this, (user, contact): (LuaString, LuaString)| {
        this.run(this.engine.subscription_changing(username(&user), username(&contact)))
    });
    methods.add_method("may_lack", |_, this, (user, contact): (LuaString, LuaString)| {
        Ok(this.engine.may_lack(&username(&user), &username(&contact)))
    });
    methods.add_method("spare_contact", |_, this, (user, contact): (LuaString, LuaString)| {
        this.engine.spare_contact(&username(&user), &username(&contact));
        Ok(())
    });
    methods.add_method(
        "note_edit",
        |lua, this, (items, jid, groups): (LuaTable, LuaString, Option<Vec<LuaString>>)| {
            let Some(roster) = Roster::of(lua, items)? else { return Ok(()) };
            let groups = groups.map(|groups| groups.iter().map(|group| group.to_string_lossy()).collect());
            roster.note_edit(&this.engine, jid, groups.as_ref())
        },
    );
    methods.add_method("note_subscription", |lua, this, (items, contact): (LuaTable, LuaString)| {
        let Some(roster) = Roster::of(lua, items)? else { return Ok(()) };
        roster.note_subscription(&this.engine, &username(&contact))
    });
    // Takes virtual items out of a roster. Returns the digest of what was shown, or nil for nothing.
    methods.add_method("leave_roster", |lua, _, items: LuaTable| {
        let Some(mut roster) = Roster::of(lua, items)? else { return Ok(None) };
        let digest = roster.digest()?;
        roster.leave(lua)?;
        Ok(Some(digest).filter(|&digest| digest != 0))
    });
    methods.add_method("nickname_changed", |_, this, user: LuaString| {
        this.run(this.engine.nickname_changed(username(&user)))
    });
    methods.add_method("account_deleted", |_, this, user: LuaString| {
        this.run(this.engine.account_deleted(username(&user)))
    });
    methods.add_method("room_restored", |_, this, jid: LuaString| {
        this.engine.room_restored(&jid.as_bytes());
        Ok(())
    });
    methods.add_method("room_made", |_, this, (jid, maker): (LuaString, LuaValue)| {
        this.run(this.engine.room_made(&jid.as_bytes(), convert::bytes(&maker).as_deref()))
    });
    methods.add_method("room_touched", |_, this, jid: LuaString| {
        this.engine.room_touched(&jid.as_bytes());
        Ok(())
    });
    methods.add_method("flush", |_, this, seconds: f64| this.run(this.engine.flush(seconds)));
    methods.add_method("work", |_, this, began: f64| this.run(this.engine.work().since(began)));
    methods.add_method("next_work", |_, this, now: f64| Ok(this.engine.next_work(now)));
}
