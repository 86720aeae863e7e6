//! Rosters in memory: Prosody's tables, compared and changed. Nothing is decided here: the engine says what the usual
//! form of contacts is, and what becomes of those that do not have it. See [`Plan`] and [`Change`].
//!
//! What is known of a roster is kept in a metatable of its metadata, the *state*: there it lasts as long as the roster,
//! is never stored, and costs Lua's collector less than a weak table. It holds
//! - `stamp` and `version`: what the roster was settled as of, and the version that it had then;
//! - `changed`: it was changed since it was read from storage;
//! - `edits`, once they are read: `{ [jid] = { name =, groups = } }`, what the user has made of virtual contacts;
//!   `edits_changed`;
//! - where contacts are virtual, `roster`: the roster; `stored_version`; `digest`; and what [`Layers`] have.

mod exports;
mod item;
mod layers;

use std::collections::HashSet;

use mlua::prelude::*;

use super::convert;
use crate::engine::{
    Change, Comparison, Cover, Engine, Fact, Fate, Item, ItemStep, Labels, Name, Naming, OwnEdit, Plan, Replaced,
    Subscription, TakenIn, Text, Tie, Version,
};
pub(super) use exports::add_functions;
use item::{alter, is_called, is_passing, is_plain, kind_labels, kind_of, own_edit, read_item, set_of, set_some};
use layers::{Base, Layers};

/// A roster, with what is read of it again and again.
pub(super) struct Roster {
    items: LuaTable,
    metadata: LuaTable,
    state: LuaTable,
    layers: Option<Layers>,
    edits: Option<LuaTable>,
    pending: Option<LuaTable>,
}

/// Makes the JIDs of contacts.
struct Jids<'a> {
    lua: &'a Lua,
    host: &'a str,
    buffer: Vec<u8>,
}

impl Jids<'_> {
    fn of(&mut self, name: &Name) -> LuaResult<LuaString> {
        self.buffer.clear();
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.push(b'@');
        self.buffer.extend_from_slice(self.host.as_bytes());
        self.lua.create_string(&self.buffer)
    }
}

impl Roster {
    /// A roster that Prosody has read; none if it could not.
    pub(super) fn of(lua: &Lua, items: LuaTable) -> LuaResult<Option<Roster>> {
        // While presence is sent, sessions have a view of their roster.
        let items = match items.metatable() {
            Some(view) => view.raw_get::<Option<LuaTable>>("whole")?.unwrap_or(items),
            None => items,
        };
        let LuaValue::Table(metadata) = items.raw_get(false)? else { return Ok(None) };
        if convert::truth(&metadata.raw_get("broken")?) {
            return Ok(None);
        }
        let state = match metadata.metatable() {
            Some(state) => state,
            None => {
                let state = lua.create_table()?;
                metadata.set_metatable(Some(state.clone()))?;
                state
            }
        };
        Roster::with_state(items, metadata, state).map(Some)
    }

    /// The roster to which items belong, some or all, if contacts are shown in it.
    fn showing(items: &LuaTable) -> LuaResult<Option<Roster>> {
        let LuaValue::Table(metadata) = items.raw_get(false)? else { return Ok(None) };
        let Some(state) = metadata.metatable() else { return Ok(None) };
        match state.raw_get("roster")? {
            Some(items) => Roster::with_state(items, metadata, state).map(Some),
            None => Ok(None),
        }
    }

    fn with_state(items: LuaTable, metadata: LuaTable, state: LuaTable) -> LuaResult<Roster> {
        let layers = Layers::of(&state)?;
        let (edits, pending) = (state.raw_get("edits")?, metadata.raw_get::<LuaValue>("pending")?);
        Ok(Roster { items, state, layers, edits, pending: pending.as_table().cloned(), metadata })
    }

    fn version(&self) -> LuaResult<Version> {
        self.metadata.raw_get("version").map(|version| read_version(&version))
    }

    fn stored_version(&self) -> LuaResult<Version> {
        match self.layers {
            Some(_) => self.state.raw_get("stored_version").map(|version| read_version(&version)),
            None => self.version(),
        }
    }

    fn provenance(&self) -> LuaResult<Option<Vec<u8>>> {
        Ok(match self.metadata.raw_get("groups_internal")? {
            LuaValue::Nil => None,
            // As version 1.0.0 stored it.
            table @ LuaValue::Table(_) => {
                Some(convert::from_lua(&table).and_then(|table| table.to_json()).unwrap_or_default().into())
            }
            // What is no text is damaged.
            value => Some(convert::bytes(&value).unwrap_or_default()),
        })
    }

    fn set_provenance(&self, text: Option<&str>) -> LuaResult<()> {
        self.metadata.raw_set("groups_internal", text)
    }

    /// Whether this stamp is on the roster, and the roster has not been saved by anybody since.
    pub(super) fn has_stamp(&self, stamp: u64) -> LuaResult<bool> {
        let version = self.state.raw_get::<LuaValue>("version")?;
        Ok(self.state.raw_get::<Option<u64>>("stamp")? == Some(stamp)
            && version == self.metadata.raw_get::<LuaValue>("version")?)
    }

    /// Whether nothing was settled in the roster since it was read, or since its virtual contacts left it.
    pub(super) fn is_new(&self) -> LuaResult<bool> {
        Ok(self.layers.is_none() && self.state.raw_get::<LuaValue>("stamp")? == LuaValue::Nil)
    }

    /// Whether clients are shown what groups bring.
    pub(super) fn is_shown(&self) -> bool {
        self.layers.is_some()
    }

    // Comparing

    /// Whether what the user has made of virtual contacts is to be read first.
    pub(super) fn is_unread(&self, plan: &Plan) -> bool {
        plan.reads_edits && self.edits.is_none()
    }

    /// What the roster has of a plan's contacts. The owner is passed over, and so are contacts that another module
    /// brings at each load and never stores: they are neither the user's nor a group's.
    ///
    /// Most contacts have the usual form. They are left out without more than a look at them.
    ///
    /// Virtual contacts leave a roster whose contacts are to be stored from now on.
    pub(super) fn compare(
        &mut self,
        lua: &Lua,
        host: &str,
        owner: &Name,
        plan: &Plan,
        get_kind: &LuaFunction,
    ) -> LuaResult<Comparison> {
        let mut found = Comparison {
            provenance: self.provenance()?.map(|text| Text(text.into())),
            version: self.stored_version()?,
            unsaved: convert::truth(&self.metadata.raw_get("groups_unsaved")?),
            fresh: !convert::truth(&self.state.raw_get("changed")?),
            ..Comparison::default()
        };
        let mut jids = Jids { lua, host, buffer: Vec::new() };
        let mut contacts = plan.contacts.iter().zip(1..);
        for section in &plan.sections {
            let labels: Labels = section.groups.iter().map(|(_, label)| label.clone()).collect();
            let brings = section.tie == Tie::Bring;
            let kind = if plan.virtual_contacts && brings { Some(kind_of(lua, get_kind, &labels)?) } else { None };
            for (place, (contact, number)) in contacts.by_ref().take(section.contacts).enumerate() {
                if contact == owner {
                    continue;
                }
                let jid = jids.of(contact)?;
                let item: LuaValue = self.items.raw_get(&jid)?;
                let name = match plan.naming {
                    Naming::None => None,
                    Naming::Username => Some(Some(contact.as_bytes())),
                    Naming::Nickname => {
                        Some(section.names.get(place).and_then(|name| name.as_deref()).map(str::as_bytes))
                    }
                };
                if let LuaValue::Table(item) = &item {
                    let is_usual = section.has_usual_form()
                        && is_plain(item, &labels, kind.as_ref())?
                        && is_called(item, name)?
                        && !self.is_pending(&jid)?;
                    if is_usual || self.is_passing(&jid, item)? {
                        continue;
                    }
                }
                let item = self.take_in_unsaved(lua, &jid, item)?;
                let fact = self.fact(number, &jid, item.as_table())?;
                if fact != (Fact { number, ..Fact::default() }) {
                    found.facts.push(fact);
                } else if brings {
                    found.absent.push(number);
                }
            }
        }
        if plan.uncovers() && self.layers.is_some() {
            found.uncovered = self.uncover(lua, plan)?;
        }
        Ok(found)
    }

    /// Takes virtual items out. Returns the contacts that were shown and are not in the plan.
    fn uncover(&mut self, lua: &Lua, plan: &Plan) -> LuaResult<Vec<(Name, Fact)>> {
        let planned: HashSet<_> = plan.contacts.iter().collect();
        let mut uncovered = Vec::new();
        for jid in self.layers.iter().map(Layers::all).collect::<LuaResult<Vec<_>>>()?.concat() {
            let name = Name::raw(jid.as_bytes().split(|&byte| byte == b'@').next().unwrap_or_default());
            if !planned.contains(&name) {
                let item = self.take_in_unsaved(lua, &jid, self.items.raw_get(&jid)?)?;
                uncovered.push((name, self.fact(0, &jid, item.as_table())?));
            }
        }
        self.lift_all()?;
        Ok(uncovered)
    }

    fn is_pending(&self, jid: &LuaString) -> LuaResult<bool> {
        match &self.pending {
            Some(pending) => Ok(convert::truth(&pending.raw_get(jid)?)),
            None => Ok(false),
        }
    }

    /// Whether another module brings a contact at each load and never stores it.
    fn is_passing(&self, jid: &LuaString, item: &LuaTable) -> LuaResult<bool> {
        Ok(is_passing(item)? && !self.covers(jid)?)
    }

    fn covers(&self, jid: &LuaString) -> LuaResult<bool> {
        match &self.layers {
            Some(layers) => Ok(layers.kind(jid)?.is_some()),
            None => Ok(false),
        }
    }

    fn fact(&self, number: u32, jid: &LuaString, item: Option<&LuaTable>) -> LuaResult<Fact> {
        let read = |table: LuaValue| table.as_table().map(read_item).transpose();
        let edit = match &self.edits {
            Some(edits) => read(edits.raw_get(jid)?)?,
            None => None,
        };
        let below = match &self.layers {
            Some(layers) => read(layers.below.raw_get(jid)?)?,
            None => None,
        };
        Ok(Fact {
            number,
            item: item.map(read_item).transpose()?,
            covered: self.covers(jid)?,
            below,
            edit: edit.map(|Item { name, groups, .. }| OwnEdit { name, groups }),
            pending: self.is_pending(jid)?,
        })
    }

    /// The stored items of users of this host that are in one of these roster groups, by username.
    pub(super) fn find_bearers(&self, host: &str, labels: &Labels) -> LuaResult<Vec<(String, Item)>> {
        let mut bearers = Vec::new();
        self.items.for_each(|jid: LuaValue, item: LuaValue| {
            let Some(jid) = jid.as_string() else { return Ok(()) };
            let item = match &self.layers {
                Some(layers) if self.covers(jid)? => layers.below.raw_get(jid)?,
                _ => item,
            };
            let Some(item) = item.as_table() else { return Ok(()) };
            let LuaValue::Table(groups) = item.raw_get("groups")? else { return Ok(()) };
            let mut bears = false;
            for label in labels {
                bears = bears || convert::truth(&groups.raw_get(label.as_str())?);
            }
            let jid = jid.to_string_lossy();
            if let Some((username, jid_host)) = jid.split_once('@')
                && bears
                && jid_host == host
                && !is_passing(item)?
            {
                bearers.push((username.to_owned(), read_item(item)?));
            }
            Ok(())
        })?;
        Ok(bearers)
    }

    // Changing

    /// Does what a change says.
    pub(super) fn change(
        &mut self,
        lua: &Lua,
        host: &str,
        owner: &Name,
        plan: &Plan,
        change: &Change,
        get_kind: &LuaFunction,
    ) -> LuaResult<()> {
        let mut jids = Jids { lua, host, buffer: Vec::new() };
        let contact = |number: u32| plan.contacts.get((number as usize).wrapping_sub(1));
        let mut common = None;
        if change.digest.is_some() && self.layers.is_none() {
            self.state.raw_set("roster", &self.items)?;
            self.state.raw_set("stored_version", self.metadata.raw_get::<LuaValue>("version")?)?;
            self.layers = Some(Layers::begin(lua, &self.state)?);
            let plain = change.edits.iter().filter(|edit| edit.names.is_empty() && edit.step.cover.is_plain());
            if let Some(edit) = plain.max_by_key(|edit| edit.contacts.len())
                && let Cover::Show { labels, .. } = &edit.step.cover
            {
                let contacts: Vec<_> = edit.contacts.iter().filter_map(|&number| contact(number)).collect();
                let kind = kind_of(lua, get_kind, labels)?;
                common = Base::find(lua, &mut jids, &kind, &contacts, owner)?.map(|base| (edit, base));
            }
        }
        for edit in &change.edits {
            let base = common.as_ref().filter(|(common, _)| std::ptr::eq(*common, edit)).map(|(_, base)| base);
            let kind = match &edit.step.cover {
                Cover::Show { labels, .. } => Some(kind_of(lua, get_kind, labels)?),
                _ => None,
            };
            let names = edit.names.iter().map(Option::as_deref).chain(std::iter::repeat(None));
            for (contact, name) in edit.contacts.iter().filter_map(|&number| contact(number)).zip(names) {
                self.take_step(lua, &jids.of(contact)?, &edit.step, (kind.as_ref(), base), name)?;
            }
        }
        if let (Some((_, base)), Some(layers)) = (common, &mut self.layers) {
            layers.take_base(&self.state, &self.items, &jids.of(owner)?, base)?;
        }
        if let Some(pending) = &self.pending {
            for contact in change.answered.iter().filter_map(|&number| contact(number)) {
                pending.raw_set(jids.of(contact)?, LuaValue::Nil)?;
            }
        }
        if let Some(text) = &change.provenance {
            self.set_provenance(text.as_deref())?;
        }
        let of_version =
            if self.layers.is_some() { (&self.state, "stored_version") } else { (&self.metadata, "version") };
        set_some(of_version.0, of_version.1, change.version)?;
        set_some(&self.state, "digest", change.digest)?;
        self.show_version(lua)?;
        if change.unsaved {
            self.note_unsaved()?;
        }
        if let Some(stamp) = change.stamp {
            self.state.raw_set("stamp", stamp)?;
            let version = self.version()?;
            // One that another module has made up is no number, and never the same as this.
            let version = if version == Version::Fixed { LuaValue::Nil } else { version_value(lua, version)? };
            self.state.raw_set("version", version)?;
        }
        Ok(())
    }

    fn note_unsaved(&self) -> LuaResult<()> {
        self.metadata.raw_set("groups_unsaved", true)?;
        self.state.raw_set("changed", true)
    }

    /// Shows the version of a roster with virtual contacts.
    fn show_version(&self, lua: &Lua) -> LuaResult<()> {
        if self.layers.is_none() {
            return Ok(());
        }
        let digest = self.digest()?;
        self.metadata.raw_set("version", version_value(lua, self.stored_version()?.shown(digest))?)
    }

    /// Does what a step says for one contact. `kind`: that of the virtual item, if one is shown, with the base that the
    /// roster is about to have for such.
    fn take_step(
        &self,
        lua: &Lua,
        jid: &LuaString,
        step: &ItemStep,
        (kind, base): (Option<&LuaTable>, Option<&Base>),
        name: Option<&str>,
    ) -> LuaResult<()> {
        let covering = match &self.layers {
            Some(layers) if self.covers(jid)? => Some(layers),
            _ => None,
        };
        let stored: LuaValue = covering.map_or(&self.items, |layers| &layers.below).raw_get(jid)?;
        let stored = match &step.fate {
            Fate::Keep => stored,
            Fate::Remove => LuaValue::Nil,
            Fate::Alter { .. } => LuaValue::Table(alter(lua, stored, &step.fate, name)?),
        };
        match (&step.cover, &self.layers, kind) {
            (Cover::Show { labels, groups, subscription, ask }, Some(layers), Some(kind)) => {
                let lesser = Some(*subscription).filter(|&subscription| subscription != Subscription::Both);
                let is_empty = name.is_none() && step.cover.is_plain();
                let item = lua.create_table_with_capacity(0, if is_empty { 0 } else { 2 })?;
                set_some(&item, "name", name)?;
                if groups != labels {
                    item.raw_set("groups", set_of(lua, groups)?)?;
                }
                set_some(&item, "subscription", lesser.map(Subscription::as_str))?;
                set_some(&item, "ask", ask.then_some("subscribe"))?;
                item.set_metatable(Some(kind.clone()))?;
                layers.show(jid, &item, base)?;
                if covering.is_some() || stored != LuaValue::Nil {
                    layers.below.raw_set(jid, stored)?;
                }
                if covering.is_some() || name.is_some() {
                    layers.names.raw_set(jid, name)?;
                }
                self.items.raw_set(jid, item)?;
            }
            (Cover::Keep, _, _) => covering.map_or(&self.items, |layers| &layers.below).raw_set(jid, stored)?,
            _ => {
                if let Some(layers) = covering {
                    layers.lift(jid)?;
                }
                self.items.raw_set(jid, stored)?;
            }
        }
        if let (Some(edit), Some(edits)) = (&step.edit, &self.edits) {
            edits.raw_set(jid, edit.as_ref().map(|edit| own_edit(lua, edit)).transpose()?)?;
            self.state.raw_set("edits_changed", true)?;
        }
        Ok(())
    }

    // Virtual contacts

    /// Takes over what a user has made of virtual contacts, as it is stored, unless that was read meanwhile. True if
    /// something in it is damaged, and dropped.
    pub(super) fn take_edits(&self, lua: &Lua, record: &LuaValue) -> LuaResult<bool> {
        let (read, damaged) = crate::engine::read_edits(convert::from_lua(record).as_ref());
        // Two operations may have found that they are to be read.
        if self.state.raw_get::<LuaValue>("edits")? == LuaValue::Nil {
            let edits = lua.create_table_with_capacity(0, read.len())?;
            for (jid, edit) in &read {
                edits.raw_set(jid.as_str(), own_edit(lua, edit)?)?;
            }
            self.state.raw_set("edits", edits)?;
        }
        Ok(damaged)
    }

    /// Takes in what somebody has made of a virtual item: replaced it, changed it in place, or removed it.
    fn take_in(&self, lua: &Lua, layers: &Layers, jid: &LuaString) -> LuaResult<()> {
        self.take_in_if(lua, layers, jid, |_| true)
    }

    /// The same, if what comes of it is wanted.
    fn take_in_if(
        &self,
        lua: &Lua,
        layers: &Layers,
        jid: &LuaString,
        is_wanted: fn(&ItemStep) -> bool,
    ) -> LuaResult<()> {
        let Some(kind) = layers.kind(jid)? else { return Ok(()) };
        let item: LuaValue = self.items.raw_get(jid)?;
        let Fact { item, below, edit, .. } = self.fact(0, jid, item.as_table())?;
        let name = layers.names.raw_get::<Option<LuaString>>(jid)?.map(|name| name.to_string_lossy());
        let replaced = Replaced { labels: kind_labels(&kind)?, name, item, below, edit };
        let digest = self.digest()?;
        let TakenIn { step, name, digest } = crate::engine::take_in(&jid.to_string_lossy(), digest, &replaced);
        if !is_wanted(&step) {
            return Ok(());
        }
        self.take_step(lua, jid, &step, (Some(&kind), None), name.as_deref())?;
        self.state.raw_set("digest", digest)
    }

    /// Takes in what somebody has made of a virtual item and is about to save: where storage waits, that may not be
    /// there yet. Returns the item that is there then. A removal is taken in once it is stored.
    fn take_in_unsaved(&self, lua: &Lua, jid: &LuaString, item: LuaValue) -> LuaResult<LuaValue> {
        let (Some(layers), true) = (&self.layers, item.is_table()) else { return Ok(item) };
        match layers.kind(jid)? {
            Some(kind) if !self.is_untouched(layers, jid, &kind)? => {
                self.take_in_if(lua, layers, jid, ItemStep::alters_own)?;
                self.items.raw_get(jid)
            }
            _ => Ok(item),
        }
    }

    /// Whether a contact is still shown with the virtual item of this kind as it was made.
    fn is_untouched(&self, layers: &Layers, jid: &LuaString, kind: &LuaTable) -> LuaResult<bool> {
        let LuaValue::Table(item) = self.items.raw_get(jid)? else { return Ok(false) };
        let has_groups = item.raw_get::<LuaValue>("groups")? != LuaValue::Nil;
        let labels = if has_groups { kind_labels(kind)? } else { Labels::new() };
        Ok(layers.has(jid, &item)?
            && item.raw_get::<LuaValue>("name")? == layers.names.raw_get::<LuaValue>(jid)?
            && is_plain(&item, &labels, Some(kind))?)
    }

    /// Takes virtual items out: the roster is then as storage has it. Returns the contacts that were shown.
    fn lift_all(&mut self) -> LuaResult<Vec<LuaString>> {
        let Some(layers) = self.layers.take() else { return Ok(Vec::new()) };
        let shown = layers.all()?;
        for jid in &shown {
            self.items.raw_set(jid, layers.below.raw_get::<LuaValue>(jid)?)?;
        }
        self.metadata.raw_set("version", self.state.raw_get::<LuaValue>("stored_version")?)?;
        for field in ["roster", "stored_version", "digest"].iter().chain(Layers::FIELDS) {
            self.state.raw_set(*field, LuaValue::Nil)?;
        }
        Ok(shown)
    }

    /// The same, and all that is known of the roster goes, but for whether it was changed.
    pub(super) fn leave(&mut self, lua: &Lua) -> LuaResult<Vec<LuaString>> {
        let shown = self.lift_all()?;
        let state = lua.create_table()?;
        state.raw_set("changed", self.state.raw_get::<LuaValue>("changed")?)?;
        self.metadata.set_metatable(Some(state))?;
        Ok(shown)
    }

    /// The number for what groups bring. Zero stands for nothing, and also for a roster without virtual contacts.
    pub(super) fn digest(&self) -> LuaResult<u32> {
        Ok(self.state.raw_get::<Option<u32>>("digest")?.unwrap_or_default())
    }

    // What the user does

    /// What the engine makes of an item that a client is about to replace, or to add, or to remove if `groups` is none.
    pub(super) fn note_edit(&self, engine: &Engine, jid: LuaString, groups: Option<&Labels>) -> LuaResult<()> {
        let item: LuaValue = self.items.raw_get(&jid)?;
        let kind = item.as_table().and_then(LuaTable::metatable);
        let stored = match &self.layers {
            Some(layers) if kind.is_some() => layers.below.raw_get(&jid)?,
            _ => item,
        };
        let stored = stored.as_table().map(read_item).transpose()?;
        let jid = jid.to_string_lossy();
        let Some((username, _)) = jid.split_once('@') else { return Ok(()) };
        let (contact, known) = (Name::raw(username.as_bytes()), self.provenance()?);
        let known = known.as_deref();
        let revised = match (kind, stored, groups) {
            (None, stored, _) => engine.note_edit(known, &contact, stored.as_ref(), groups),
            (Some(kind), Some(below), Some(groups)) => {
                engine.note_virtual_edit(known, &contact, &below, &kind_labels(&kind)?, groups)
            }
            _ => None,
        };
        revised.map_or(Ok(()), |text| self.set_provenance(text.as_deref()))
    }

    /// What the engine makes of a subscription that is about to change.
    pub(super) fn note_subscription(&self, engine: &Engine, contact: &Name) -> LuaResult<()> {
        let known = self.provenance()?;
        let revised = engine.note_subscription(known.as_deref(), contact);
        revised.map_or(Ok(()), |text| self.set_provenance(text.as_deref()))
    }
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

fn version_value(lua: &Lua, version: Version) -> LuaResult<LuaValue> {
    match version {
        Version::Unset => Ok(LuaValue::Nil),
        Version::Number(number) => number.into_lua(lua),
        Version::Fixed => Ok(LuaValue::Boolean(true)),
    }
}
