//! What is shown in a roster with virtual contacts instead of stored items, and what that hides.
//!
//! The members of a group are shown much the same contacts, so most of what says which these are is shared: the *base*,
//! which the kind of their items has. It is a table `{ [jid] = true, count }`, and need not fit a roster exactly.

use std::cell::Cell;

use mlua::prelude::*;

use super::Jids;
use crate::engine::Name;

/// How many contacts of one kind are enough for a base.
const ENOUGH: usize = 3;

/// How many contacts are looked for in a base, to see whether it fits.
const SAMPLES: usize = 16;

pub(super) struct Layers {
    /// `{ [jid] = the virtual item }`, and `false` for what is in the base and not shown.
    shown: LuaTable,
    /// The kind of what is in the base and shown, and the base.
    common: Option<(LuaTable, LuaTable)>,
    /// `{ [jid] = the stored item }`.
    pub(super) below: LuaTable,
    /// `{ [jid] = its name }`.
    pub(super) names: LuaTable,
}

/// A base for a roster in which contacts of its kind are about to be shown.
pub(super) struct Base {
    kind: LuaTable,
    base: LuaTable,
    /// How many of those that are shown are in it.
    used: Cell<i64>,
}

impl Base {
    /// The base for a roster's contacts of one kind; none if these are few. The owner, whom all others are shown, is
    /// in it.
    pub(super) fn find(
        lua: &Lua,
        jids: &mut Jids,
        kind: &LuaTable,
        contacts: &[&Name],
        owner: &Name,
    ) -> LuaResult<Option<Base>> {
        if contacts.len() < ENOUGH {
            return Ok(None);
        }
        let (kind, used) = (kind.clone(), Cell::new(0));
        if let Some(base) = kind.raw_get::<Option<LuaTable>>("base")?
            && fits(&base, jids, contacts)?
        {
            return Ok(Some(Base { kind, base, used }));
        }
        let base = lua.create_table_with_capacity(1, contacts.len() + 1)?;
        for contact in contacts.iter().chain([&owner]) {
            base.raw_set(jids.of(contact)?, true)?;
        }
        base.raw_set(1, contacts.len() + 1)?;
        kind.raw_set("base", &base)?;
        Ok(Some(Base { kind, base, used }))
    }

    fn has(&self, jid: &LuaString) -> LuaResult<bool> {
        self.base.contains_key(jid)
    }
}

/// Whether a base has about as many contacts, and most of some of them.
fn fits(base: &LuaTable, jids: &mut Jids, contacts: &[&Name]) -> LuaResult<bool> {
    let (count, size) = (contacts.len(), base.raw_get::<usize>(1)?);
    if size.abs_diff(count + 1) > count / 8 + 1 {
        return Ok(false);
    }
    let (mut sampled, mut known) = (0, 0);
    for contact in contacts.iter().step_by((count / SAMPLES).max(1)) {
        sampled += 1;
        known += usize::from(base.contains_key(jids.of(contact)?)?);
    }
    Ok(known + sampled / 8 + 1 >= sampled)
}

impl Layers {
    /// What they have in a roster's state.
    pub(super) const FIELDS: &[&str] = &["shown", "below", "names", "kind", "base"];

    /// Those in a roster's state, if contacts are shown in it.
    pub(super) fn of(state: &LuaTable) -> LuaResult<Option<Layers>> {
        let Some(shown) = state.raw_get("shown")? else { return Ok(None) };
        let base: Option<LuaTable> = state.raw_get("base")?;
        let common = base.map(|base| Ok::<_, LuaError>((state.raw_get("kind")?, base))).transpose()?;
        Ok(Some(Layers { shown, common, below: state.raw_get("below")?, names: state.raw_get("names")? }))
    }

    /// Puts new ones into a roster's state.
    pub(super) fn begin(lua: &Lua, state: &LuaTable) -> LuaResult<Layers> {
        for field in ["shown", "below", "names"] {
            state.raw_set(field, lua.create_table()?)?;
        }
        Ok(Layers {
            shown: state.raw_get("shown")?,
            common: None,
            below: state.raw_get("below")?,
            names: state.raw_get("names")?,
        })
    }

    /// The kind of the virtual item that a contact is shown with, if it is.
    pub(super) fn kind(&self, jid: &LuaString) -> LuaResult<Option<LuaTable>> {
        match (self.shown.raw_get(jid)?, &self.common) {
            (LuaValue::Table(item), _) => Ok(item.metatable()),
            (LuaValue::Nil, Some((kind, base))) => Ok(base.contains_key(jid)?.then(|| kind.clone())),
            _ => Ok(None),
        }
    }

    /// Whether this is the virtual item that a contact is shown with.
    pub(super) fn has(&self, jid: &LuaString, item: &LuaTable) -> LuaResult<bool> {
        Ok(match self.shown.raw_get(jid)? {
            LuaValue::Table(shown) => shown == *item,
            _ => item.metatable().is_some() && item.metatable() == self.kind(jid)?,
        })
    }

    /// Notes that a contact is shown with this item. `base`: the one that the roster is about to have.
    pub(super) fn show(&self, jid: &LuaString, item: &LuaTable, base: Option<&Base>) -> LuaResult<()> {
        match base {
            Some(base) if base.has(jid)? => {
                base.used.set(base.used.get() + 1);
                Ok(())
            }
            _ => self.shown.raw_set(jid, item),
        }
    }

    /// Notes that a contact is shown no more.
    pub(super) fn lift(&self, jid: &LuaString) -> LuaResult<()> {
        let is_common = match &self.common {
            Some((_, base)) => base.contains_key(jid)?,
            None => false,
        };
        self.shown.raw_set(jid, is_common.then_some(false))?;
        self.below.raw_set(jid, LuaValue::Nil)?;
        self.names.raw_set(jid, LuaValue::Nil)
    }

    /// Takes a base for what is shown. All of its kind that are in it are.
    pub(super) fn take_base(
        &mut self,
        state: &LuaTable,
        items: &LuaTable,
        owner: &LuaString,
        base: Base,
    ) -> LuaResult<()> {
        let Base { kind, base, used } = base;
        let others = base.raw_get::<i64>(1)? - used.get() - i64::from(base.contains_key(owner)?);
        self.shown.raw_set(owner, false)?;
        if others > 0 {
            base.for_each(|jid: LuaValue, _: LuaValue| {
                let Some(jid) = jid.as_string() else { return Ok(()) };
                let item: LuaValue = items.raw_get(jid)?;
                let is_shown = item.as_table().is_some_and(|item| item.metatable().as_ref() == Some(&kind));
                if !is_shown && self.shown.raw_get::<LuaValue>(jid)? == LuaValue::Nil {
                    self.shown.raw_set(jid, false)?;
                }
                Ok(())
            })?;
        }
        state.raw_set("kind", &kind)?;
        state.raw_set("base", &base)?;
        self.common = Some((kind, base));
        Ok(())
    }

    /// All contacts that are shown.
    pub(super) fn all(&self) -> LuaResult<Vec<LuaString>> {
        let mut all = Vec::new();
        self.shown.for_each(|jid: LuaString, item: LuaValue| {
            all.extend(item.is_table().then_some(jid));
            Ok(())
        })?;
        if let Some((_, base)) = &self.common {
            base.for_each(|jid: LuaValue, _: LuaValue| {
                if let Some(jid) = jid.as_string()
                    && self.shown.raw_get::<LuaValue>(jid)? == LuaValue::Nil
                {
                    all.push(jid.clone());
                }
                Ok(())
            })?;
        }
        Ok(all)
    }
}
