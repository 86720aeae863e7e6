//! What the shim asks of rosters: around saves and pushes, for storage, and when an account goes.

use mlua::prelude::*;

use super::item::is_passing;
use super::{Roster, version_value};
use crate::binding::convert;
use crate::engine::PushVersions;

/// `native.begin_save(roster, provenance)`: what a save of a roster changes in its metadata beforehand, and `undo()`
/// takes back where the save fails; and the roster to be saved. `provenance`: the one to be stored, false for none, or
/// nil for the one that is there.
struct Save {
    roster: Roster,
    version: LuaValue,
    lowered: LuaValue,
    known: LuaValue,
    provenance: LuaValue,
}

fn begin_save(lua: &Lua, (items, provenance): (LuaTable, LuaValue)) -> LuaResult<(Option<Save>, Option<LuaTable>)> {
    let Some(roster) = Roster::of(lua, items)? else { return Ok((None, None)) };
    let (version, known): (LuaValue, LuaValue) =
        (roster.metadata.raw_get("version")?, roster.metadata.raw_get("groups_internal")?);
    let lowered = match roster.is_shown() {
        true => version.clone(),
        false => version_value(lua, roster.version()?.before_save())?,
    };
    let provenance = match provenance {
        LuaValue::Nil => known.clone(),
        LuaValue::Boolean(_) => LuaValue::Nil,
        text => text,
    };
    roster.metadata.raw_set("version", &lowered)?;
    roster.metadata.raw_set("groups_internal", &provenance)?;
    roster.metadata.raw_set("groups_unsaved", LuaValue::Nil)?;
    let items = if roster.is_shown() { roster.items.clone() } else { without_passing(lua, &roster.items)? };
    Ok((Some(Save { roster, version, lowered, known, provenance }), Some(items)))
}

/// A roster without contacts that other modules bring at each load, which a save of the whole would store.
fn without_passing(lua: &Lua, roster: &LuaTable) -> LuaResult<LuaTable> {
    let mut any = false;
    roster.for_each(|_: LuaValue, item: LuaValue| {
        any |= item.as_table().map(is_passing).transpose()?.unwrap_or_default();
        Ok(())
    })?;
    if !any {
        return Ok(roster.clone());
    }
    let kept = lua.create_table()?;
    roster.for_each(|jid: LuaValue, item: LuaValue| match &item {
        LuaValue::Table(contact) if is_passing(contact)? => Ok(()),
        _ => kept.raw_set(jid, item),
    })?;
    Ok(kept)
}

impl Save {
    /// Returns the version that the roster has then, if it is one of storage.
    fn undo(&self) -> LuaResult<Option<LuaValue>> {
        let metadata = &self.roster.metadata;
        metadata.raw_set("groups_unsaved", true)?;
        // Whatever has come in between stays.
        if metadata.raw_get::<LuaValue>("groups_internal")? == self.provenance {
            metadata.raw_set("groups_internal", &self.known)?;
        }
        if metadata.raw_get::<LuaValue>("version")? == self.lowered {
            metadata.raw_set("version", &self.version)?;
        }
        if self.roster.is_shown() { Ok(None) } else { metadata.raw_get("version").map(Some) }
    }
}

impl LuaUserData for Save {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("undo", |_, this, ()| this.undo());
    }
}

/// `native.begin_push(roster, is_last)`: gives a roster the version of all pushes but the last one of a change. Returns
/// that of the last one, which the roster is to have from then on, and its number if that is to be in storage.
fn begin_push(lua: &Lua, (items, last): (LuaTable, bool)) -> LuaResult<(LuaValue, Option<u64>)> {
    let Some(roster) = Roster::of(lua, items)? else { return Ok((LuaValue::Nil, None)) };
    let PushVersions { early, late, counted } = roster.version()?.to_push(roster.is_shown(), last);
    roster.metadata.raw_set("version", version_value(lua, early)?)?;
    if last && counted.is_some() {
        roster.note_unsaved()?;
    }
    Ok((version_value(lua, late)?, counted))
}

/// `native.to_store(items, removed)`: what storage is to have of a roster's items, with the metadata under `false`; nil
/// if they are to be stored as they are. `removed` stands for an item that goes; without it, the items are the roster.
/// With it, they are some of the roster's as they were once: storage is to have them as they are now.
fn to_store(lua: &Lua, (items, removed): (LuaTable, LuaValue)) -> LuaResult<Option<LuaTable>> {
    let Some(roster) = Roster::showing(&items)? else { return Ok(None) };
    let Some(layers) = roster.layers.as_ref().filter(|_| removed != LuaValue::Nil || roster.items == items) else {
        return Ok(None);
    };
    let stored = lua.create_table()?;
    for pair in items.pairs::<LuaValue, LuaValue>() {
        let (LuaValue::String(jid), _) = pair? else { continue };
        let mut item: LuaValue = roster.items.raw_get(&jid)?;
        if let Some(kind) = layers.kind(&jid)?
            && !item.is_nil()
        {
            if !roster.is_untouched(layers, &jid, &kind)? {
                roster.take_in(lua, layers, &jid)?;
            }
            item = layers.below.raw_get(&jid)?;
        }
        let is_passing = match &item {
            LuaValue::Table(item) => is_passing(item)?,
            item => item.is_nil(),
        };
        stored.raw_set(jid, if is_passing { removed.clone() } else { item })?;
    }
    // Prosody raises the version that clients are shown; storage gets its own.
    roster.state.raw_set("stored_version", version_value(lua, roster.stored_version()?.raised())?)?;
    roster.show_version(lua)?;
    let metadata = lua.create_table()?;
    for pair in roster.metadata.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair?;
        metadata.raw_set(key, value)?;
    }
    metadata.raw_set("version", roster.state.raw_get::<LuaValue>("stored_version")?)?;
    stored.raw_set(false, metadata)?;
    Ok(Some(stored))
}

/// `native.note_removals(items, removed)`: takes in that virtual contacts were removed, once storage has been told. One
/// that could not be removed is in the roster again.
fn note_removals(lua: &Lua, (items, removed): (LuaTable, LuaValue)) -> LuaResult<()> {
    let Some(roster) = Roster::showing(&items)? else { return Ok(()) };
    let Some(layers) = &roster.layers else { return Ok(()) };
    for pair in items.pairs::<LuaValue, LuaValue>() {
        if let (LuaValue::String(jid), item) = pair?
            && item == removed
            && roster.covers(&jid)?
        {
            roster.take_in(lua, layers, &jid)?;
        }
    }
    roster.show_version(lua)
}

/// `native.is_virtual(item)`: whether a value is a virtual item, which storage is not to have.
fn is_virtual(_: &Lua, item: LuaValue) -> LuaResult<bool> {
    let kind = item.as_table().and_then(|item| item.metatable());
    kind.map_or(Ok(false), |kind| kind.raw_get::<LuaValue>("labels").map(|labels| convert::truth(&labels)))
}

/// `native.depart(roster, jids)`: takes contacts out of the roster of an account that is going away, with all virtual
/// ones. Returns those that were in it.
fn depart(lua: &Lua, (items, jids): (LuaTable, Vec<LuaString>)) -> LuaResult<Vec<LuaString>> {
    let Some(mut roster) = Roster::of(lua, items)? else { return Ok(Vec::new()) };
    let mut gone = roster.leave(lua)?;
    for jid in jids {
        if roster.items.raw_get::<LuaValue>(&jid)? != LuaValue::Nil {
            gone.push(jid.clone());
        }
        roster.items.raw_set(&jid, LuaValue::Nil)?;
        if let Some(pending) = &roster.pending {
            pending.raw_set(jid, LuaValue::Nil)?;
        }
    }
    Ok(gone)
}

/// Puts the functions on rosters into the library's table.
pub(in crate::binding) fn add_functions(lua: &Lua, exports: &LuaTable) -> LuaResult<()> {
    exports.raw_set("begin_save", lua.create_function(begin_save)?)?;
    exports.raw_set("begin_push", lua.create_function(begin_push)?)?;
    exports.raw_set("to_store", lua.create_function(to_store)?)?;
    exports.raw_set("note_removals", lua.create_function(note_removals)?)?;
    exports.raw_set("is_virtual", lua.create_function(is_virtual)?)?;
    exports.raw_set("depart", lua.create_function(depart)?)
}
