//! Items of rosters as Lua has them.
//!
//! Virtual items of the same labels have a metatable in common, their *kind*, which the shim makes. It has `labels`.

use mlua::prelude::*;

use crate::binding::convert;
use crate::engine::{Fate, Item, Labels, OwnEdit, Rename, Subscription};

/// Whether another module brings a contact at each load and never stores it.
pub(super) fn is_passing(item: &LuaTable) -> LuaResult<bool> {
    Ok(item.raw_get::<LuaValue>("persist")? == LuaValue::Boolean(false))
}

/// Whether an item has the subscription, the labels and the metatable of the usual form.
pub(super) fn is_plain(item: &LuaTable, labels: &Labels, kind: Option<&LuaTable>) -> LuaResult<bool> {
    if item.metatable().as_ref() != kind {
        return Ok(false);
    }
    let is_both = match item.raw_get("subscription")? {
        LuaValue::String(text) => text.as_bytes() == b"both",
        value => value == LuaValue::Nil && kind.is_some(),
    };
    if !is_both || convert::truth(&item.raw_get("ask")?) {
        return Ok(false);
    }
    let groups = match item.raw_get("groups")? {
        LuaValue::Table(groups) => groups,
        value => return Ok(value == LuaValue::Nil && kind.is_some()),
    };
    let (mut count, mut others) = (0, false);
    groups.for_each(|label: LuaValue, is_set: bool| {
        let is_label = label.as_string().is_some_and(|label| {
            let label = label.as_bytes();
            std::str::from_utf8(&label).is_ok_and(|label| labels.contains(label))
        });
        others |= !is_label || !is_set;
        count += 1;
        Ok(())
    })?;
    Ok(!others && count == labels.len())
}

/// Whether an item has the name that it is to have: one, or any; or whether that does not matter.
pub(super) fn is_called(item: &LuaTable, name: Option<Option<&[u8]>>) -> LuaResult<bool> {
    let Some(name) = name else { return Ok(true) };
    let given: LuaValue = item.raw_get("name")?;
    Ok(match name {
        Some(name) => given.as_string().is_some_and(|given| given.as_bytes() == name),
        None => convert::truth(&given),
    })
}

/// An item. What is of another type than it should be counts as not there.
pub(super) fn read_item(item: &LuaTable) -> LuaResult<Item> {
    let kind = item.metatable();
    let subscription = match item.raw_get("subscription")? {
        LuaValue::String(text) => Subscription::parse(&text.as_bytes()),
        LuaValue::Nil if kind.is_some() => Subscription::Both,
        _ => Subscription::None,
    };
    let mut labels = Labels::new();
    match (item.raw_get("groups")?, &kind) {
        (LuaValue::Table(groups), _) => {
            for pair in groups.pairs::<LuaValue, LuaValue>() {
                labels.extend(pair?.0.as_string().map(|label| label.to_string_lossy()));
            }
        }
        (LuaValue::Nil, Some(kind)) => labels = kind_labels(kind)?,
        _ => {}
    }
    labels.remove("");
    let name: LuaValue = item.raw_get("name")?;
    Ok(Item {
        subscription,
        ask: item.raw_get::<LuaValue>("ask")? != LuaValue::Nil,
        name: name.as_string().map(LuaString::to_string_lossy),
        groups: labels,
    })
}

pub(super) fn kind_of(lua: &Lua, get_kind: &LuaFunction, labels: &Labels) -> LuaResult<LuaTable> {
    get_kind.call(convert::list(lua, &mut labels.iter().map(String::as_bytes))?)
}

pub(super) fn kind_labels(kind: &LuaTable) -> LuaResult<Labels> {
    match kind.raw_get::<Option<LuaTable>>("labels")? {
        Some(labels) => labels.sequence_values::<LuaString>().map(|label| Ok(label?.to_string_lossy())).collect(),
        None => Ok(Labels::new()),
    }
}

/// Changes an item, or makes it.
pub(super) fn alter(lua: &Lua, item: LuaValue, fate: &Fate, given: Option<&str>) -> LuaResult<LuaTable> {
    let item = match item {
        LuaValue::Table(item) => item,
        _ => lua.create_table_with_capacity(0, 3)?,
    };
    let Fate::Alter { subscription, ask, name, add, drop } = fate else { return Ok(item) };
    let groups = match item.raw_get("groups")? {
        LuaValue::Table(groups) => groups,
        _ => {
            let groups = lua.create_table_with_capacity(0, add.len())?;
            item.raw_set("groups", &groups)?;
            groups
        }
    };
    set_some(&item, "subscription", subscription.map(Subscription::as_str))?;
    if let Some(ask) = ask {
        item.raw_set("ask", ask.then_some("subscribe"))?;
    }
    match name {
        Rename::Keep => {}
        Rename::Clear => item.raw_set("name", LuaValue::Nil)?,
        Rename::Give => item.raw_set("name", given)?,
    }
    for label in drop {
        groups.raw_set(label.as_str(), LuaValue::Nil)?;
    }
    for label in add {
        groups.raw_set(label.as_str(), true)?;
    }
    Ok(item)
}

pub(super) fn set_some(table: &LuaTable, key: &str, value: Option<impl IntoLua>) -> LuaResult<()> {
    value.map_or(Ok(()), |value| table.raw_set(key, value))
}

pub(super) fn set_of(lua: &Lua, labels: &Labels) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, labels.len())?;
    for label in labels {
        table.raw_set(label.as_str(), true)?;
    }
    Ok(table)
}

/// What a user has made of a virtual contact, as it is stored.
pub(super) fn own_edit(lua: &Lua, edit: &OwnEdit) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 2)?;
    set_some(&table, "name", edit.name.as_deref())?;
    if !edit.groups.is_empty() {
        table.raw_set("groups", set_of(lua, &edit.groups)?)?;
    }
    Ok(table)
}
