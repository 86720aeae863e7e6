//! A cache of tables that were handed out and are likely to be wanted again.

use std::cell::RefCell;
use std::collections::VecDeque;

use mlua::prelude::*;

use super::convert;
use crate::engine::{Name, Value};

/// How many members a record may differ in to be changed rather than built.
const FEW: usize = 8;

/// Members added to a group one by one are one record each time, with one entry more. Building the table takes longer
/// than storing it, so the last one is changed instead, as long as Lua's collector has not taken it.
#[derive(Default)]
pub(super) struct LastRecord(RefCell<Option<Record>>);

struct Record {
    id: Name,
    members: Vec<(Name, Value)>,
    /// Holds the table, weakly, at 1.
    holder: LuaTable,
}

impl LastRecord {
    /// A group's record as a table.
    pub(super) fn table(&self, lua: &Lua, id: &Name, members: &[(Name, Value)]) -> LuaResult<LuaTable> {
        let mut last = self.0.borrow_mut();
        if let Some(record) = last.take_if(|record| record.id == *id)
            && let Some(table) = record.holder.raw_get::<Option<LuaTable>>(1)?
            && change(lua, &table, &record.members, members)?
        {
            *last = Some(Record { members: members.to_vec(), ..record });
            return Ok(table);
        }
        let table = convert::members(lua, members)?;
        let holder = weak(lua, &table)?;
        *last = Some(Record { id: id.clone(), members: members.to_vec(), holder });
        Ok(table)
    }
}

fn weak(lua: &Lua, table: &LuaTable) -> LuaResult<LuaTable> {
    let holder = lua.create_table()?;
    let metatable = lua.create_table()?;
    metatable.raw_set("__mode", "v")?;
    holder.set_metatable(Some(metatable))?;
    holder.raw_set(1, table)?;
    Ok(holder)
}

/// Makes the table of the members in `before` that of those in `after`. False, and nothing done, if too many differ.
fn change(lua: &Lua, table: &LuaTable, before: &[(Name, Value)], after: &[(Name, Value)]) -> LuaResult<bool> {
    let same = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let (before, after) = (&before[same..], &after[same..]);
    let same = before.iter().rev().zip(after.iter().rev()).take_while(|(old, new)| old == new).count();
    let (gone, come) = (&before[..before.len() - same], &after[..after.len() - same]);
    if gone.len() + come.len() > FEW {
        return Ok(false);
    }
    for (user, _) in gone {
        table.raw_set(convert::name(lua, user)?, LuaValue::Nil)?;
    }
    for (user, data) in come {
        table.raw_set(convert::name(lua, user)?, convert::to_lua(lua, data)?)?;
    }
    Ok(true)
}

/// From how many names on a list is kept, and how many lists.
const LONG: usize = 64;
const LISTS: usize = 4;

/// When many members of a group log in, one after the other, each has the same contacts.
#[derive(Default)]
pub(super) struct LastLists(RefCell<VecDeque<(Vec<Name>, LuaTable)>>);

impl LastLists {
    /// The bare JIDs of users of a host. The table is not to be changed.
    pub(super) fn jids(&self, lua: &Lua, names: &[Name], host: &str) -> LuaResult<LuaTable> {
        if names.len() < LONG {
            return convert::jids(lua, names, host);
        }
        let mut lists = self.0.borrow_mut();
        if let Some((_, table)) = lists.iter().find(|(listed, _)| listed == names) {
            return Ok(table.clone());
        }
        let table = convert::jids(lua, names, host)?;
        lists.truncate(LISTS - 1);
        lists.push_front((names.to_vec(), table.clone()));
        Ok(table)
    }
}
