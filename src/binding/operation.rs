//! Operations in Lua's hands: effects out, replies in.
//!
//! `operation:resume(now, ...)` returns the name of the next effect and its arguments, or nil and what the caller gets:
//! a result, or `nil, "error"`, or `nil, "bad-request", place` where an entry of a list is at fault. The values after
//! `now` are what the shim's function for the last effect returned: `nil, "reason"` if it failed, otherwise what
//! [`Expected`] says. An operation that panicked ends with an error in the log.
//!
//! What is done to a roster that was compared needs nothing of Prosody's, and is done here.

use std::rc::Rc;
use std::time::Instant;

use mlua::prelude::*;

use super::convert;
use super::kept::{LastLists, LastRecord};
use super::roster::{Roster, read_version};
use crate::engine::{
    Answer, Comparison, Effect, Error, Level, Name, Operation, Plan, Reply, Step, StoredMembers, Text, Value,
};

/// What the shim's function for an effect returns when it has succeeded.
#[derive(Clone, Copy)]
enum Expected {
    /// Anything true.
    Done,
    /// A string.
    Text,
    /// An array of strings.
    Names,
    /// An array of booleans.
    Flags,
    /// An array of strings and falses.
    Texts,
    /// `true`, and a value or nil.
    Value,
    /// `true`, the record of `group_info` or nil, and the record of `groups` or nils: the names of members for whom the
    /// empty table is stored, each followed by NUL, and a table of the others.
    Record,
    /// `true` and whether the roster was in memory before; or `"broken"`.
    Loaded,
    /// A roster, or `"absent"`.
    Stamp,
    /// A roster, whether the user has clients that may be told, the digest of what they show already, if it was read
    /// after they did, and the function that makes kinds: see [`Roster`]. Or `"absent"`.
    Comparison,
    /// `true`, and the record of `groups_contacts` or nil.
    Edits,
    /// `true` and a version or nil.
    Pushed,
    /// An array of strings, and words in one string; or `"absent"`.
    Affiliations,
    /// `true`; `nil`, a reason and a version; or `"broken"`.
    Saved,
}

/// `operation`
pub(super) struct Running {
    operation: Option<Operation>,
    /// What the shim is doing.
    effect: Effect,
    compared: Option<Compared>,
    returns: Returns,
    host: Rc<Host>,
}

/// The roster that was compared last. Nothing comes between that and its change.
struct Compared {
    user: Name,
    roster: Roster,
    plan: Plan,
    get_kind: LuaFunction,
}

/// What the caller of an operation gets that does not answer.
#[derive(Clone, Copy)]
pub(super) enum Returns {
    /// `true`; or nil and the error.
    Truth,
    /// `true`; or `false` and the error.
    Falsehood,
    /// Nothing.
    Nothing,
}

/// What the operations of a handle share.
pub(super) struct Host {
    /// The host's name.
    pub(super) name: String,
    /// The record of `groups` stored last.
    pub(super) last_record: LastRecord,
    /// The long lists of contacts handed out last.
    pub(super) last_lists: LastLists,
}

impl Running {
    pub(super) fn new(operation: Operation, returns: Returns, host: Rc<Host>) -> Running {
        Running { operation: Some(operation), effect: Effect::Wake, compared: None, returns, host }
    }

    fn resume(&mut self, lua: &Lua, now: f64, values: LuaMultiValue) -> LuaResult<LuaMultiValue> {
        let began = Instant::now();
        let mut reply = self.read_reply(lua, values);
        loop {
            let step = match &mut self.operation {
                Some(operation) => operation.resume(now + began.elapsed().as_secs_f64(), reply),
                None => Step::Done(Err(Error::Internal)),
            };
            match step {
                Step::Effect(effect) => {
                    self.effect = effect;
                    match self.perform(lua) {
                        Some(done) => reply = done.unwrap_or_else(|error| Reply::Failed(error.to_string())),
                        None => return effect_values(lua, &self.effect, &self.host),
                    }
                }
                Step::Done(result) => {
                    self.operation = None;
                    return match (self.returns, result) {
                        (Returns::Nothing, _) => LuaValue::Nil.into_lua_multi(lua),
                        (Returns::Falsehood, Err(error)) => (LuaValue::Nil, false, error.as_str()).into_lua_multi(lua),
                        (_, result) => result_values(lua, result),
                    };
                }
                Step::Panicked(place) => {
                    (self.operation, self.effect) = (None, Effect::Wake);
                    let line = format!("An operation failed by a bug in groups_internal_native.so: {place}");
                    return ("log", level_name(Level::Error), line).into_lua_multi(lua);
                }
            }
        }
    }

    /// Carries out an effect on the roster that was compared. None for all others.
    fn perform(&mut self, lua: &Lua) -> Option<LuaResult<Reply>> {
        let host = &self.host.name;
        match (&self.effect, &mut self.compared) {
            (Effect::FindBearers(of, labels), Some(Compared { user, roster, .. })) if of == user => {
                Some(roster.find_bearers(host, labels).map(Reply::Items))
            }
            (Effect::Change(of, change), Some(Compared { user, roster, plan, get_kind })) if of == user => {
                Some(roster.change(lua, host, user, plan, change, get_kind).map(|()| Reply::Done))
            }
            (Effect::FindBearers(..) | Effect::Change(..), _) => {
                Some(Ok(Reply::Failed("the contact list was not compared".to_owned())))
            }
            _ => None,
        }
    }

    /// Reads what the shim's function returned. What is not as expected counts as a failure.
    fn read_reply(&mut self, lua: &Lua, values: LuaMultiValue) -> Reply {
        let expected = expected(&self.effect);
        let mut values = values.into_iter();
        let first = values.next().unwrap_or(LuaValue::Nil);
        if !convert::truth(&first) {
            let reason = convert::reason(&values.next().unwrap_or(LuaValue::Nil));
            return match (expected, values.next()) {
                (Expected::Saved, version) => {
                    Reply::Unsaved(reason, version.as_ref().map_or(0, |version| read_version(version).number()))
                }
                _ => Reply::Failed(reason),
            };
        }
        if let Some(word) = first.as_string().filter(|_| !matches!(expected, Expected::Text)) {
            match &*word.as_bytes() {
                b"broken" => return Reply::Broken,
                b"absent" => return Reply::Absent,
                _ => {}
            }
        }
        let reply = match expected {
            Expected::Stamp | Expected::Comparison | Expected::Edits => self.read_roster(lua, first, values),
            _ => Ok(read_success(expected, first, values)),
        };
        match reply {
            Ok(reply) => reply.unwrap_or_else(|| Reply::Failed("an answer that makes no sense".to_owned())),
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    /// Reads what the shim has of a roster.
    fn read_roster(
        &mut self,
        lua: &Lua,
        first: LuaValue,
        mut rest: impl Iterator<Item = LuaValue>,
    ) -> LuaResult<Option<Reply>> {
        let mut next = || rest.next().unwrap_or(LuaValue::Nil);
        if let (Effect::ReadEdits(_), Some(Compared { roster, .. })) = (&self.effect, &self.compared) {
            let damaged = roster.take_edits(lua, &next())?;
            return Ok(Some(if damaged { Reply::Damaged } else { Reply::Done }));
        }
        let LuaValue::Table(items) = first else { return Ok(None) };
        let Some(mut roster) = Roster::of(lua, items)? else { return Ok(Some(Reply::Broken)) };
        match &self.effect {
            Effect::CheckStamp(_, stamp) => roster.has_stamp(*stamp).map(|bears| Some(Reply::Flags(vec![bears]))),
            Effect::Compare(user, plan) => {
                let (online, known, LuaValue::Function(get_kind)) = (convert::truth(&next()), next(), next()) else {
                    return Ok(None);
                };
                let is_known = roster.is_new()? && known.as_u32() == Some(plan.digest);
                let reply = if roster.is_unread(plan) {
                    Reply::Unread
                } else {
                    let found = roster.compare(lua, &self.host.name, user, plan, &get_kind)?;
                    Reply::Compared(Comparison { online: online && !is_known, ..found })
                };
                self.compared = Some(Compared { user: user.clone(), roster, plan: plan.clone(), get_kind });
                Ok(Some(reply))
            }
            _ => Ok(None),
        }
    }
}

impl LuaUserData for Running {
    fn add_methods<M: LuaUserDataMethods<Self>>(methods: &mut M) {
        methods
            .add_method_mut("resume", |lua, this, (now, values): (f64, LuaMultiValue)| this.resume(lua, now, values));
    }
}

fn result_values(lua: &Lua, result: Result<Answer, Error>) -> LuaResult<LuaMultiValue> {
    match result {
        Ok(Answer::Done) => (LuaValue::Nil, true).into_lua_multi(lua),
        Ok(Answer::BadUsername(place)) => {
            (LuaValue::Nil, LuaValue::Nil, Error::BadRequest.as_str(), place + 1).into_lua_multi(lua)
        }
        Ok(Answer::Problems(problems)) => (LuaValue::Nil, convert::problems(lua, &problems)?).into_lua_multi(lua),
        Ok(Answer::Id(id)) => (LuaValue::Nil, convert::name(lua, &id)?).into_lua_multi(lua),
        Ok(Answer::Chat { jid, name }) => {
            let chat = convert::chat(lua, &jid, &name)?;
            (LuaValue::Nil, chat).into_lua_multi(lua)
        }
        Err(error) => (LuaValue::Nil, LuaValue::Nil, error.as_str()).into_lua_multi(lua),
    }
}

fn expected(effect: &Effect) -> Expected {
    match effect {
        Effect::NewId | Effect::CreateRoom(_) => Expected::Text,
        Effect::ListGroups
        | Effect::ListAccounts
        | Effect::ListRosters(_)
        | Effect::FindEditors(_)
        | Effect::SetAffiliations(..) => Expected::Names,
        Effect::InspectRooms(..) | Effect::FindNicknames(_) => Expected::Texts,
        Effect::FindAccounts(_) | Effect::FindRosters(_) => Expected::Flags,
        Effect::ReadAffiliations(..) => Expected::Affiliations,
        Effect::ReadMarker => Expected::Value,
        Effect::ReadGroup(_) => Expected::Record,
        Effect::LoadRoster(_) => Expected::Loaded,
        Effect::CheckStamp(..) => Expected::Stamp,
        Effect::Compare(..) => Expected::Comparison,
        Effect::ReadEdits(_) => Expected::Edits,
        Effect::SaveRoster(..) => Expected::Saved,
        Effect::Push(_) => Expected::Pushed,
        _ => Expected::Done,
    }
}

/// The name of an effect and its arguments, put together one by one: tuples would each have code of their own.
struct Values<'a> {
    lua: &'a Lua,
    host: &'a Host,
    all: LuaMultiValue,
}

impl Values<'_> {
    fn put(&mut self, value: LuaResult<LuaValue>) -> LuaResult<&mut Self> {
        self.all.push_back(value?);
        Ok(self)
    }

    /// Begins with the name of the effect.
    fn of(&mut self, effect_name: &str) -> LuaResult<&mut Self> {
        self.text(effect_name.as_bytes())
    }

    fn text(&mut self, bytes: &[u8]) -> LuaResult<&mut Self> {
        self.put(convert::string(self.lua, bytes))
    }

    fn flag(&mut self, flag: bool) -> LuaResult<&mut Self> {
        self.put(Ok(LuaValue::Boolean(flag)))
    }

    fn name(&mut self, name: &Name) -> LuaResult<&mut Self> {
        self.text(name.as_bytes())
    }

    fn names(&mut self, names: &[Name]) -> LuaResult<&mut Self> {
        self.put(convert::names(self.lua, names).map(LuaValue::Table))
    }

    fn jids(&mut self, names: &[Name]) -> LuaResult<&mut Self> {
        self.put(convert::jids(self.lua, names, &self.host.name).map(LuaValue::Table))
    }

    fn texts(&mut self, texts: &mut dyn ExactSizeIterator<Item = &[u8]>) -> LuaResult<&mut Self> {
        self.put(convert::list(self.lua, texts).map(LuaValue::Table))
    }

    /// Nil for nothing.
    fn stored(&mut self, value: Option<&Value>) -> LuaResult<&mut Self> {
        self.put(value.map_or(Ok(LuaValue::Nil), |value| convert::to_lua(self.lua, value)))
    }
}

fn effect_values(lua: &Lua, effect: &Effect, host: &Host) -> LuaResult<LuaMultiValue> {
    let mut values = Values { lua, host, all: LuaMultiValue::new() };
    match effect {
        Effect::Wait => values.of("wait")?,
        Effect::Wake => values.of("wake")?,
        Effect::Log(level, line) => values.of("log")?.text(level_name(*level).as_bytes())?.text(line.as_bytes())?,
        Effect::ShowStatus(level, line) => {
            values.of("show_status")?.text(level_name(*level).as_bytes())?.text(line.as_bytes())?
        }
        Effect::NewId => values.of("new_id")?,
        Effect::ListGroups => values.of("list_groups")?,
        Effect::ReadGroup(id) => values.of("read_group")?.name(id)?,
        Effect::StoreInfo(id, info) => {
            values.of("store_info")?.name(id)?.stored(info.as_ref().map(|info| info.to_value()).as_ref())?
        }
        Effect::StoreMembers(id, members) => {
            values.of("store_members")?.name(id)?;
            match members {
                Some(members) => values.put(host.last_record.table(lua, id, members).map(LuaValue::Table))?,
                None => values.stored(None)?,
            }
        }
        Effect::StoreMember(id, user, data) => {
            values.of("store_member")?.name(id)?.name(user)?.stored(data.as_ref())?
        }
        Effect::ReadMarker => values.of("read_marker")?,
        // Under the host's own key.
        Effect::StoreMarker(marker) => values.of("store_marker")?.stored(None)?.stored(Some(&marker.to_value()))?,
        Effect::CreateRoom(nodes) => values.of("create_room")?.texts(&mut nodes.iter().map(String::as_bytes))?,
        Effect::DiscardRoom(jid) => values.of("discard_room")?.text(jid)?,
        Effect::DestroyRoom(jid) => values.of("destroy_room")?.text(jid)?,
        Effect::ConfigureRoom(jid, settings) => values.of("configure_room")?.text(jid)?.stored(Some(settings))?,
        Effect::InspectRooms(rooms, settings) => {
            values.of("inspect_rooms")?.texts(&mut rooms.iter().map(AsRef::as_ref))?;
            values.texts(&mut settings.iter().map(|setting| setting.as_bytes()))?
        }
        Effect::ReadAffiliations(room, jids, with_members) => {
            values.of("read_affiliations")?.text(room)?.names(jids)?.flag(*with_members)?
        }
        Effect::SetAffiliations(room, shifts) => {
            values.of("set_affiliations")?.text(room)?;
            values.texts(&mut shifts.iter().map(|shift| shift.jid.as_bytes()))?;
            values.texts(&mut shifts.iter().map(|shift| shift.from.as_bytes()))?;
            values.texts(&mut shifts.iter().map(|shift| shift.to.as_bytes()))?
        }
        Effect::SaveRoom(room) => values.of("save_room")?.text(room)?,
        Effect::Invite(room, group, users) => values.of("invite")?.text(room)?.jids(users)?.text(group.as_bytes())?,
        Effect::Fire(event) => {
            values.of("fire")?;
            values.all.extend(convert::event(lua, event)?);
            &mut values
        }
        Effect::FindAccounts(users) => values.of("find_accounts")?.names(users)?,
        Effect::FindNicknames(users) => values.of("find_nicknames")?.names(users)?,
        Effect::ListAccounts => values.of("list_accounts")?,
        Effect::ListRosters(limit) => values.of("list_rosters")?.put(limit.into_lua(lua))?,
        Effect::FindRosters(users) => values.of("find_rosters")?.names(users)?,
        Effect::LoadRoster(user) => values.of("load_roster")?.name(user)?,
        Effect::CheckStamp(user, _) => values.of("find_roster")?.name(user)?,
        Effect::Compare(user, _) => values.of("compare")?.name(user)?,
        Effect::FindBearers(..) | Effect::Change(..) => &mut values,
        Effect::SaveRoster(user, only, provenance) => {
            values.of("save_roster")?.name(user)?;
            match only {
                Some(contact) => values.put(convert::jid(lua, contact, &host.name))?,
                None => values.stored(None)?,
            };
            match provenance {
                Some(Some(known)) => values.text(known.as_bytes())?,
                Some(None) => values.flag(false)?,
                None => &mut values,
            }
        }
        Effect::ReadEdits(user) => values.of("read_edits")?.name(user)?,
        Effect::FindEditors(user) => values.of("find_editors")?.name(user)?,
        Effect::ReleaseRoster(user) => values.of("release_roster")?.name(user)?,
        Effect::Push(push) => values.of("push")?.name(&push.user)?.jids(&push.contacts)?.flag(push.last)?,
        Effect::SendPresence(user, others) => values.of("send_presence")?.name(user)?.jids(others)?,
        Effect::SendUnavailable(user, others, gone) => {
            values.of("send_presence")?.name(user)?.jids(others)?.flag(true)?.flag(*gone)?
        }
        Effect::Depart(user, contacts) => values.of("depart")?.name(user)?.jids(contacts)?,
    };
    Ok(values.all)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

fn read_success(expected: Expected, first: LuaValue, mut rest: impl Iterator<Item = LuaValue>) -> Option<Reply> {
    let mut next = || rest.next().unwrap_or(LuaValue::Nil);
    Some(match expected {
        Expected::Done => Reply::Done,
        Expected::Saved => Reply::Saved,
        Expected::Text => Reply::Text(convert::bytes(&first)?.into()),
        Expected::Names => Reply::Names(names(&first)?),
        Expected::Affiliations => {
            let held = String::from_utf8(convert::bytes(&next())?).ok()?;
            let held = held.split_ascii_whitespace().map(str::to_owned).collect();
            Reply::Affiliations { held, members: names(&first)? }
        }
        Expected::Flags => Reply::Flags(first.as_table()?.sequence_values::<bool>().collect::<LuaResult<_>>().ok()?),
        Expected::Texts => {
            let texts = first.as_table()?.sequence_values::<LuaValue>();
            let texts = texts.map(|text| text.map(|text| convert::bytes(&text).map(|bytes| Text(bytes.into()))));
            Reply::Texts(texts.collect::<LuaResult<_>>().ok()?)
        }
        Expected::Value => Reply::Value(convert::from_lua(&next())),
        Expected::Record => {
            let info = convert::from_lua(&next());
            let plain = convert::bytes(&next());
            let others = next().as_table().map(convert::from_members).transpose().ok()?;
            let members = plain.map(|names| StoredMembers::new(names.into(), others.unwrap_or_default()));
            Reply::Record { info, members }
        }
        Expected::Loaded => Reply::Loaded(convert::truth(&next())),
        Expected::Pushed => Reply::Pushed(read_version(&next()).number()),
        Expected::Stamp | Expected::Comparison | Expected::Edits => return None,
    })
}

fn names(list: &LuaValue) -> Option<Vec<Name>> {
    let names = list.as_table()?.sequence_values::<LuaString>();
    names.map(|name| name.map(|name| Name::raw(&name.as_bytes()))).collect::<LuaResult<_>>().ok()
}
