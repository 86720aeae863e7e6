//! Contact lists across the border: plans and changes to the shim, what it found to the engine.

use std::collections::BTreeMap;

use mlua::prelude::*;

use super::convert;
use super::operation::Host;
use crate::engine::{
    Change, Comparison, Cover, Edit, Fact, Fate, Item, ItemStep, Labels, Name, Naming, OwnEdit, Plan, Rename, Replaced,
    Subscription, Text, Tie,
};

/// What an item is of a contact, in the last two bits of its number: the constants of `contacts.lib.lua`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Item,
    Below,
    Edit,
    Shown,
}

/// A plan: its fields by name, but for the sections, which are flat: `size, brings, labels, names or false` for each.
pub(super) fn plan(lua: &Lua, plan: &Plan, host: &Host) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 5)?;
    table.raw_set("contacts", host.last_lists.jids(lua, &plan.contacts, &host.name)?)?;
    let sections = lua.create_table_with_capacity(plan.sections.len() * 4, 0)?;
    for section in &plan.sections {
        sections.raw_push(section.contacts)?;
        sections.raw_push(section.tie == Tie::Bring)?;
        sections.raw_push(labels(lua, &section.groups.iter().map(|(_, label)| label.clone()).collect())?)?;
        match section.names.is_empty() {
            true => sections.raw_push(false)?,
            false => sections.raw_push(optional_texts(lua, &section.names)?)?,
        }
    }
    table.raw_set("sections", sections)?;
    let naming = match plan.naming {
        Naming::None => None,
        Naming::Username => Some("username"),
        Naming::Nickname => Some("nickname"),
    };
    table.raw_set("naming", naming)?;
    table.raw_set("virtual_contacts", plan.virtual_contacts)?;
    table.raw_set("digest", plan.digest)?;
    table.raw_set("reads_edits", plan.reads_edits)?;
    Ok(table)
}

fn optional_texts(lua: &Lua, texts: &[Option<String>]) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(texts.len(), 0)?;
    for text in texts {
        match text {
            Some(text) => table.raw_push(lua.create_string(text)?)?,
            None => table.raw_push(false)?,
        }
    }
    Ok(table)
}

pub(super) fn labels(lua: &Lua, labels: &Labels) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(labels.len(), 0)?;
    for label in labels {
        table.raw_push(lua.create_string(label)?)?;
    }
    Ok(table)
}

/// A change: its fields by name; `provenance` is false if there is to be none any more.
pub(super) fn change(lua: &Lua, change: &Change) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 7)?;
    let edits = lua.create_table_with_capacity(change.edits.len(), 0)?;
    for edit in &change.edits {
        edits.raw_push(contact_edit(lua, edit)?)?;
    }
    table.raw_set("edits", edits)?;
    table.raw_set("answered", lua.create_sequence_from(change.answered.iter().copied())?)?;
    table.raw_set("provenance", change.provenance.as_ref().map(|text| provenance(lua, text)).transpose()?)?;
    table.raw_set("version", change.version)?;
    table.raw_set("digest", change.digest)?;
    table.raw_set("unsaved", change.unsaved)?;
    table.raw_set("stamp", change.stamp)?;
    Ok(table)
}

/// A provenance to be stored, or false for none.
pub(super) fn provenance(lua: &Lua, text: &Option<String>) -> LuaResult<LuaValue> {
    match text {
        Some(text) => lua.create_string(text).map(LuaValue::String),
        None => Ok(LuaValue::Boolean(false)),
    }
}

fn contact_edit(lua: &Lua, edit: &Edit) -> LuaResult<LuaTable> {
    let table = step(lua, &edit.step)?;
    let contacts = lua.create_table_with_capacity(edit.contacts.len(), 0)?;
    for &number in &edit.contacts {
        contacts.raw_push(number)?;
    }
    table.raw_set("contacts", contacts)?;
    if !edit.names.is_empty() {
        table.raw_set("names", optional_texts(lua, &edit.names)?)?;
    }
    Ok(table)
}

/// A step: `fate` is `"remove"`, `"alter"` or nil; `labels` are those of a virtual item, and `groups` its roster groups
/// if there are others among them; `lift` takes it away; `edit` is false if nothing is kept of the user's.
fn step(lua: &Lua, step: &ItemStep) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 8)?;
    match &step.fate {
        Fate::Keep => {}
        Fate::Remove => table.raw_set("fate", "remove")?,
        Fate::Alter { subscription, ask, name, add, drop } => {
            table.raw_set("fate", "alter")?;
            table.raw_set("subscription", subscription.map(Subscription::as_str))?;
            table.raw_set("ask", *ask)?;
            table.raw_set("name", (*name != Rename::Keep).then_some(*name == Rename::Give))?;
            table.raw_set("add", labels(lua, add)?)?;
            table.raw_set("drop", labels(lua, drop)?)?;
        }
    }
    match &step.cover {
        Cover::Keep => {}
        Cover::Lift => table.raw_set("lift", true)?,
        Cover::Show { labels: shown, groups } => {
            table.raw_set("labels", labels(lua, shown)?)?;
            if groups != shown {
                table.raw_set("groups", labels(lua, groups)?)?;
            }
        }
    }
    match &step.edit {
        None => {}
        Some(None) => table.raw_set("edit", false)?,
        Some(Some(OwnEdit { name, groups })) => {
            let edit = lua.create_table()?;
            edit.raw_set("name", name.as_deref())?;
            if !groups.is_empty() {
                edit.raw_set("groups", labels(lua, groups)?)?;
            }
            table.raw_set("edit", edit)?;
        }
    }
    Ok(table)
}

/// What the shim found: arrays of numbers, facts, numbers and numbers, the provenance, the version, and three booleans.
pub(super) fn comparison(mut next: impl FnMut() -> LuaValue) -> Option<Comparison> {
    let absent = convert::numbers(&next())?;
    let mut facts: BTreeMap<u32, Fact> = BTreeMap::new();
    for (number, layer, item) in layers(&next())? {
        let fact = facts.entry(number).or_insert(Fact { number, ..Fact::default() });
        match layer {
            Layer::Item => fact.item = Some(item),
            Layer::Below => fact.below = Some(item),
            _ => fact.edit = Some(OwnEdit { name: item.name, groups: item.groups }),
        }
    }
    for number in convert::numbers(&next())? {
        facts.entry(number).or_insert(Fact { number, ..Fact::default() }).covered = true;
    }
    for number in convert::numbers(&next())? {
        facts.entry(number).or_insert(Fact { number, ..Fact::default() }).pending = true;
    }
    let text = stored_text(&next());
    let version = next();
    Some(Comparison {
        absent,
        facts: facts.into_values().collect(),
        provenance: text.map(|text| Text(text.into())),
        version: convert::version(&version),
        fixed_version: matches!(version, LuaValue::Boolean(true)),
        unsaved: convert::truth(&next()),
        fresh: convert::truth(&next()),
        online: convert::truth(&next()),
    })
}

/// A provenance as it is stored: a text, or a table, as version 1.0.0 stored it. Anything else is a damaged one.
pub(super) fn stored_text(value: &LuaValue) -> Option<Vec<u8>> {
    match value {
        LuaValue::Nil => None,
        LuaValue::Table(_) => {
            Some(convert::from_lua(value).and_then(|table| table.to_json()).unwrap_or_default().into())
        }
        value => Some(convert::bytes(value).unwrap_or_default()),
    }
}

/// Items, flat: number and layer in one, subscription, whether there is a request, name or false, and roster groups,
/// with NUL between them. What is of another type counts as not there.
fn layers(flat: &LuaValue) -> Option<Vec<(u32, Layer, Item)>> {
    let flat = flat.as_table()?;
    let mut all = Vec::new();
    for at in (1..=flat.raw_len()).step_by(5) {
        let value = |offset: usize| flat.raw_get::<LuaValue>(at + offset).ok();
        let code = value(0)?.as_u32()?;
        let layer = [Layer::Item, Layer::Below, Layer::Edit, Layer::Shown][code as usize % 4];
        let groups = value(4)?;
        let groups = groups.as_string()?.as_bytes();
        let groups = groups.split(|&byte| byte == 0).filter(|group| !group.is_empty());
        let item = Item {
            subscription: value(1)?
                .as_string()
                .map_or(Subscription::None, |text| Subscription::parse(&text.as_bytes())),
            ask: convert::truth(&value(2)?),
            name: value(3)?.as_string().map(|name| name.to_string_lossy()),
            groups: groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect(),
        };
        all.push((code / 4, layer, item));
    }
    Some(all)
}

/// Items that bear labels, by username: JIDs and facts in the same order. Those of other hosts are left out.
pub(super) fn bearers(jids: &LuaValue, facts: &LuaValue, host: &str) -> Option<Vec<(String, Item)>> {
    let jids = jids.as_table()?.sequence_values::<LuaString>().collect::<LuaResult<Vec<_>>>().ok()?;
    let items = layers(facts)?.into_iter().map(|(_, _, item)| item);
    let local = |jid: LuaString| {
        let jid = jid.to_string_lossy();
        let (username, jid_host) = jid.split_once('@')?;
        (jid_host == host).then(|| username.to_owned())
    };
    Some(jids.into_iter().zip(items).filter_map(|(jid, item)| Some((local(jid)?, item))).collect())
}

/// `native.take_in(labels, facts)`: what a change of a virtual contact comes to, as a step, the name to be shown, the
/// subscription if it is not `both`, and the request.
pub(super) fn take_in(lua: &Lua, (shown_labels, facts): (LuaTable, LuaValue)) -> LuaResult<LuaMultiValue> {
    let shown_labels = shown_labels.sequence_values::<LuaString>();
    let mut replaced = Replaced {
        labels: shown_labels.map(|label| label.map(|label| label.to_string_lossy())).collect::<LuaResult<_>>()?,
        ..Replaced::default()
    };
    for (_, layer, item) in layers(&facts).unwrap_or_default() {
        match layer {
            Layer::Item => replaced.item = item,
            Layer::Below => replaced.below = Some(item),
            Layer::Edit => replaced.edit = Some(OwnEdit { name: item.name, groups: item.groups }),
            Layer::Shown => replaced.name = item.name,
        }
    }
    let (taken, shown) = crate::engine::take_in(&replaced);
    let subscription = (shown.subscription != Subscription::Both).then(|| shown.subscription.as_str());
    (step(lua, &taken)?, shown.name, subscription, shown.ask.then_some("subscribe")).into_lua_multi(lua)
}

/// The item of a contact that a client edits, and the roster groups that it gives it.
pub(super) fn edited(facts: &LuaValue, groups: Option<&LuaString>) -> (Option<Item>, Option<Labels>) {
    let item = layers(facts).unwrap_or_default().pop().map(|(_, _, item)| item);
    let labels = groups.map(|groups| {
        let groups = groups.as_bytes();
        let groups = groups.split(|&byte| byte == 0).filter(|group| !group.is_empty());
        groups.map(|group| String::from_utf8_lossy(group).into_owned()).collect()
    });
    (item, labels)
}

/// The username of a text.
pub(super) fn username(text: &LuaString) -> Name {
    Name::raw(&text.as_bytes())
}
