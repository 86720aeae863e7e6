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
    Answer, Comparison, Effect, Error, Level, Name, Operation, Plan, Reply, Step, StoredMembers, Text,
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
                let is_known = !roster.is_settled()? && known.as_u32() == Some(plan.digest);
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

/// The name of an effect and its arguments.
fn effect_values(lua: &Lua, effect: &Effect, host: &Host) -> LuaResult<LuaMultiValue> {
    let text = |bytes: &[u8]| convert::string(lua, bytes);
    let name = |name: &Name| convert::name(lua, name);
    let names = |names: &[Name]| convert::names(lua, names);
    let jids = |names: &[Name]| convert::jids(lua, names, &host.name);
    match effect {
        Effect::Wait => "wait".into_lua_multi(lua),
        Effect::Wake => "wake".into_lua_multi(lua),
        Effect::Log(level, line) => ("log", level_name(*level), line.as_str()).into_lua_multi(lua),
        Effect::ShowStatus(level, text) => ("show_status", level_name(*level), text.as_str()).into_lua_multi(lua),
        Effect::NewId => "new_id".into_lua_multi(lua),
        Effect::ListGroups => "list_groups".into_lua_multi(lua),
        Effect::ReadGroup(id) => ("read_group", name(id)?).into_lua_multi(lua),
        Effect::StoreInfo(id, info) => {
            let record = info.as_ref().map(|info| convert::to_lua(lua, &info.to_value())).transpose()?;
            ("store_info", name(id)?, record).into_lua_multi(lua)
        }
        Effect::StoreMembers(id, members) => {
            let record = members.as_ref().map(|members| host.last_record.table(lua, id, members)).transpose()?;
            ("store_members", name(id)?, record).into_lua_multi(lua)
        }
        Effect::StoreMember(id, user, data) => {
            let data = data.as_ref().map(|data| convert::to_lua(lua, data)).transpose()?;
            ("store_member", name(id)?, name(user)?, data).into_lua_multi(lua)
        }
        Effect::ReadMarker => "read_marker".into_lua_multi(lua),
        Effect::StoreMarker(marker) => {
            // Under the host's own key.
            ("store_marker", LuaValue::Nil, convert::to_lua(lua, &marker.to_value())?).into_lua_multi(lua)
        }
        Effect::CreateRoom(nodes) => {
            ("create_room", convert::list(lua, nodes.iter().map(String::as_bytes))?).into_lua_multi(lua)
        }
        Effect::DiscardRoom(jid) => ("discard_room", text(jid)?).into_lua_multi(lua),
        Effect::DestroyRoom(jid) => ("destroy_room", text(jid)?).into_lua_multi(lua),
        Effect::ConfigureRoom(jid, settings) => {
            ("configure_room", text(jid)?, convert::to_lua(lua, settings)?).into_lua_multi(lua)
        }
        Effect::InspectRooms(rooms, settings) => {
            let rooms = convert::list(lua, rooms.iter().map(AsRef::as_ref))?;
            ("inspect_rooms", rooms, convert::list_of(lua, settings)?).into_lua_multi(lua)
        }
        Effect::ReadAffiliations(room, jids, with_members) => {
            ("read_affiliations", text(room)?, names(jids)?, *with_members).into_lua_multi(lua)
        }
        Effect::SetAffiliations(room, shifts) => {
            let jids = convert::list(lua, shifts.iter().map(|shift| shift.jid.as_bytes()))?;
            let from = convert::list(lua, shifts.iter().map(|shift| shift.from.as_bytes()))?;
            let to = convert::list(lua, shifts.iter().map(|shift| shift.to.as_bytes()))?;
            ("set_affiliations", text(room)?, jids, from, to).into_lua_multi(lua)
        }
        Effect::SaveRoom(room) => ("save_room", text(room)?).into_lua_multi(lua),
        Effect::Invite(room, group, users) => ("invite", text(room)?, jids(users)?, group.as_str()).into_lua_multi(lua),
        Effect::Fire(event) => {
            let mut values = convert::event(lua, event)?;
            values.push_front("fire".into_lua(lua)?);
            Ok(values)
        }
        Effect::FindAccounts(users) => ("find_accounts", names(users)?).into_lua_multi(lua),
        Effect::FindNicknames(users) => ("find_nicknames", names(users)?).into_lua_multi(lua),
        Effect::ListAccounts => "list_accounts".into_lua_multi(lua),
        Effect::ListRosters(limit) => ("list_rosters", *limit).into_lua_multi(lua),
        Effect::FindRosters(users) => ("find_rosters", names(users)?).into_lua_multi(lua),
        Effect::LoadRoster(user) => ("load_roster", name(user)?).into_lua_multi(lua),
        Effect::CheckStamp(user, _) => ("find_roster", name(user)?).into_lua_multi(lua),
        Effect::Compare(user, _) => ("compare", name(user)?).into_lua_multi(lua),
        Effect::FindBearers(..) | Effect::Change(..) => Ok(LuaMultiValue::new()),
        Effect::SaveRoster(user, only, provenance) => {
            let only = only.as_ref().map(|contact| jids(std::slice::from_ref(contact))?.raw_get::<LuaValue>(1));
            let provenance = match provenance {
                Some(Some(text)) => lua.create_string(text).map(LuaValue::String)?,
                Some(None) => LuaValue::Boolean(false),
                None => LuaValue::Nil,
            };
            ("save_roster", name(user)?, only.transpose()?, provenance).into_lua_multi(lua)
        }
        Effect::ReadEdits(user) => ("read_edits", name(user)?).into_lua_multi(lua),
        Effect::FindEditors(user) => ("find_editors", name(user)?).into_lua_multi(lua),
        Effect::ReleaseRoster(user) => ("release_roster", name(user)?).into_lua_multi(lua),
        Effect::Push(push) => ("push", name(&push.user)?, jids(&push.contacts)?, push.last).into_lua_multi(lua),
        Effect::SendPresence(user, others) => ("send_presence", name(user)?, jids(others)?).into_lua_multi(lua),
        Effect::SendUnavailable(user, others, gone) => {
            ("send_presence", name(user)?, jids(others)?, true, *gone).into_lua_multi(lua)
        }
        Effect::Depart(user, contacts) => ("depart", name(user)?, jids(contacts)?).into_lua_multi(lua),
    }
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
