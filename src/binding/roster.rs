//! Contact lists across the border: plans and changes to the shim, what it found to the engine.

use mlua::prelude::*;

use super::convert;
use super::operation::Host;
use crate::engine::{
    Change, Comparison, Cover, Edit, Fact, Fate, Item, ItemStep, Labels, Name, Naming, OwnEdit, Plan, PushVersions,
    Rename, Replaced, Subscription, TakenIn, Text, Tie, Version,
};

// Of plans and changes, only what says something is set: an add has one of each for every roster, and half of its time
// goes into making tables.

/// A plan: its fields by name, but for the sections, which are flat: `size, brings, labels, names or false` for each.
pub(super) fn plan(lua: &Lua, plan: &Plan, host: &Host) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 2)?;
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
    match plan.naming {
        Naming::None => {}
        Naming::Username => table.raw_set("naming", "username")?,
        Naming::Nickname => table.raw_set("naming", "nickname")?,
    }
    if plan.virtual_contacts {
        table.raw_set("virtual_contacts", true)?;
        table.raw_set("digest", plan.digest)?;
    }
    if plan.reads_edits {
        table.raw_set("reads_edits", true)?;
    }
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

/// A change: an array of edits, and the other fields by name; `provenance` is false if there is to be none any more.
pub(super) fn change(lua: &Lua, change: &Change) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(change.edits.len(), 4)?;
    for edit in &change.edits {
        table.raw_push(contact_edit(lua, edit)?)?;
    }
    if !change.answered.is_empty() {
        table.raw_set("answered", lua.create_sequence_from(change.answered.iter().copied())?)?;
    }
    if let Some(text) = &change.provenance {
        table.raw_set("provenance", provenance(lua, text)?)?;
    }
    set_some(&table, "version", change.version)?;
    set_some(&table, "digest", change.digest)?;
    set_some(&table, "unsaved", change.unsaved.then_some(true))?;
    set_some(&table, "stamp", change.stamp)?;
    Ok(table)
}

fn set_some(table: &LuaTable, key: &str, value: Option<impl IntoLua>) -> LuaResult<()> {
    value.map_or(Ok(()), |value| table.raw_set(key, value))
}

fn set_labels(lua: &Lua, table: &LuaTable, key: &str, list: &Labels) -> LuaResult<()> {
    if list.is_empty() { Ok(()) } else { table.raw_set(key, labels(lua, list)?) }
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
    let table = lua.create_table_with_capacity(0, 4)?;
    match &step.fate {
        Fate::Keep => {}
        Fate::Remove => table.raw_set("fate", "remove")?,
        Fate::Alter { subscription, ask, name, add, drop } => {
            table.raw_set("fate", "alter")?;
            set_some(&table, "subscription", subscription.map(Subscription::as_str))?;
            set_some(&table, "ask", *ask)?;
            set_some(&table, "name", (*name != Rename::Keep).then_some(*name == Rename::Give))?;
            set_labels(lua, &table, "add", add)?;
            set_labels(lua, &table, "drop", drop)?;
        }
    }
    match &step.cover {
        Cover::Keep => {}
        Cover::Lift => table.raw_set("lift", true)?,
        Cover::Show { labels: shown, groups, subscription, ask } => {
            table.raw_set("labels", labels(lua, shown)?)?;
            if groups != shown {
                table.raw_set("groups", labels(lua, groups)?)?;
            }
            let lesser = Some(*subscription).filter(|&subscription| subscription != Subscription::Both);
            set_some(&table, "shown_subscription", lesser.map(Subscription::as_str))?;
            set_some(&table, "shown_ask", ask.then_some("subscribe"))?;
        }
    }
    match &step.edit {
        None => {}
        Some(None) => table.raw_set("edit", false)?,
        Some(Some(kept)) => table.raw_set("edit", own_edit(lua, kept)?)?,
    }
    Ok(table)
}

/// What a user has made of a virtual contact, as it is stored.
fn own_edit(lua: &Lua, edit: &OwnEdit) -> LuaResult<LuaTable> {
    let table = lua.create_table_with_capacity(0, 2)?;
    set_some(&table, "name", edit.name.as_deref())?;
    if !edit.groups.is_empty() {
        let groups = lua.create_table_with_capacity(0, edit.groups.len())?;
        for group in &edit.groups {
            groups.raw_set(group.as_str(), true)?;
        }
        table.raw_set("groups", groups)?;
    }
    Ok(table)
}

/// What the shim found: facts, the provenance, the version, and three booleans.
pub(super) fn comparison(mut next: impl FnMut() -> LuaValue) -> Option<Comparison> {
    let (facts, text, version) = (facts(&next())?, stored_text(&next()), next());
    let is_absent = |fact: &Fact| *fact == Fact { number: fact.number, ..Fact::default() };
    let (absent, facts): (Vec<_>, _) = facts.into_iter().partition(is_absent);
    Some(Comparison {
        absent: absent.into_iter().map(|fact| fact.number).collect(),
        facts,
        provenance: text.map(|text| Text(text.into())),
        version: read_version(&version),
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

/// Values of an array, one after the other.
struct Flat<'a> {
    values: &'a LuaTable,
    next: i64,
}

impl Flat<'_> {
    fn next(&mut self) -> Option<LuaValue> {
        self.next += 1;
        self.values.raw_get(self.next).ok()
    }

    /// An item: subscription, whether there is a request, name or false, and roster groups, with NUL between them. What
    /// is of another type counts as not there.
    fn item(&mut self) -> Option<Item> {
        Some(Item {
            subscription: match self.next()? {
                LuaValue::String(text) => Subscription::parse(&text.as_bytes()),
                _ => Subscription::None,
            },
            ask: convert::truth(&self.next()?),
            name: self.next()?.as_string().map(|name| name.to_string_lossy()),
            groups: split_labels(self.next()?.as_string()?),
        })
    }
}

fn split_labels(text: &LuaString) -> Labels {
    let text = text.as_bytes();
    let labels = text.split(|&byte| byte == 0).filter(|label| !label.is_empty());
    labels.map(|label| String::from_utf8_lossy(label).into_owned()).collect()
}

/// What there is of contacts: for each, its number with five bits behind it, and the items that the bits tell of.
fn facts(flat: &LuaValue) -> Option<Vec<Fact>> {
    let mut flat = Flat { values: flat.as_table()?, next: 0 };
    let mut all = Vec::new();
    while let Some(code) = flat.next()?.as_u32() {
        let has = |bit: u32| code & bit != 0;
        all.push(Fact {
            number: code / 32,
            item: if has(1) { Some(flat.item()?) } else { None },
            below: if has(2) { Some(flat.item()?) } else { None },
            edit: if has(4) { flat.item().map(|Item { name, groups, .. }| OwnEdit { name, groups }) } else { None },
            covered: has(8),
            pending: has(16),
        });
    }
    Some(all)
}

/// Items that bear labels, by username: JIDs and items in the same order. Those of other hosts are left out.
pub(super) fn bearers(jids: &LuaValue, items: &LuaValue, host: &str) -> Option<Vec<(String, Item)>> {
    let mut items = Flat { values: items.as_table()?, next: 0 };
    let mut bearers = Vec::new();
    for jid in jids.as_table()?.sequence_values::<LuaString>() {
        let (jid, item) = (jid.ok()?.to_string_lossy(), items.item()?);
        if let Some((username, jid_host)) = jid.split_once('@')
            && jid_host == host
        {
            bearers.push((username.to_owned(), item));
        }
    }
    Some(bearers)
}

/// `native.take_in(jid, labels, name, facts, digest)`: what a change of a virtual contact comes to, as a step, the name
/// to be shown, and the new digest.
pub(super) fn take_in(
    lua: &Lua,
    (jid, shown, name, found, digest): (LuaString, Vec<LuaString>, LuaValue, LuaValue, u32),
) -> LuaResult<LuaMultiValue> {
    let Fact { item, below, edit, .. } = facts(&found).and_then(|mut facts| facts.pop()).unwrap_or_default();
    let labels = shown.iter().map(LuaString::to_string_lossy).collect();
    let name = name.as_string().map(LuaString::to_string_lossy);
    let replaced = Replaced { labels, name, item, below, edit };
    let TakenIn { step: taken, name, digest } = crate::engine::take_in(&jid.to_string_lossy(), digest, &replaced);
    (step(lua, &taken)?, name, digest).into_lua_multi(lua)
}

/// `native.read_edits(record)`: what is as it should be of a record of virtual contacts, and whether anything is not.
pub(super) fn read_edits(lua: &Lua, record: LuaValue) -> LuaResult<(LuaTable, bool)> {
    let (edits, damaged) = crate::engine::read_edits(convert::from_lua(&record).as_ref());
    let table = lua.create_table_with_capacity(0, edits.len())?;
    for (jid, edit) in &edits {
        table.raw_set(jid.as_str(), own_edit(lua, edit)?)?;
    }
    Ok((table, damaged))
}

/// The item of a contact that a client edits, and the roster groups that it gives it.
pub(super) fn edited(item: &LuaValue, groups: Option<&LuaString>) -> (Option<Item>, Option<Labels>) {
    let item = item.as_table().and_then(|values| Flat { values, next: 0 }.item());
    (item, groups.map(split_labels))
}

/// A version as it is in a roster's metadata.
pub(super) fn read_version(value: &LuaValue) -> Version {
    let number = match value {
        LuaValue::Boolean(true) => return Version::Fixed,
        LuaValue::String(text) => text.to_string_lossy().parse().ok(),
        LuaValue::Integer(number) => u64::try_from(*number).ok(),
        LuaValue::Number(number) => Some(*number as u64),
        _ => None,
    };
    number.map_or(Version::Unset, Version::Number)
}

fn version(lua: &Lua, version: Version) -> LuaResult<LuaValue> {
    match version {
        Version::Unset => Ok(LuaValue::Nil),
        Version::Number(number) => number.into_lua(lua),
        Version::Fixed => Ok(LuaValue::Boolean(true)),
    }
}

/// Puts the functions on versions into the library's table.
pub(super) fn add_versions(lua: &Lua, exports: &LuaTable) -> LuaResult<()> {
    let before_save = |lua: &Lua, stored: LuaValue| version(lua, read_version(&stored).before_save());
    exports.raw_set("version_before_save", lua.create_function(before_save)?)?;
    let raised = |lua: &Lua, stored: LuaValue| version(lua, read_version(&stored).raised());
    exports.raw_set("raised_version", lua.create_function(raised)?)?;
    let shown = |lua: &Lua, (stored, digest): (LuaValue, u32)| version(lua, read_version(&stored).shown(digest));
    exports.raw_set("shown_version", lua.create_function(shown)?)?;
    let to_push = |lua: &Lua, (served, is_shown, last): (LuaValue, bool, bool)| {
        let PushVersions { early, late, counted } = read_version(&served).to_push(is_shown, last);
        Ok((version(lua, early)?, version(lua, late)?, counted))
    };
    exports.raw_set("versions_to_push", lua.create_function(to_push)?)
}

/// The username of a text.
pub(super) fn username(text: &LuaString) -> Name {
    Name::raw(&text.as_bytes())
}
