//! A Prosody made of maps: stores, accounts, rosters, rooms, and a record of all that was done.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use groups_internal_native::engine::{
    Effect, Event, Level, Name, Plan, Push, Reply, StoredMembers, Text, Value, Version,
};

use super::roster::{Edits, Item, Items, Roster, Table};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    pub name: Vec<u8>,
    pub members: BTreeSet<Name>,
    /// The members as storage has them.
    pub saved: BTreeSet<Name>,
    pub destroyed: bool,
    /// Somebody has let others in.
    pub opened: bool,
    /// Who has made it anew.
    pub owner: Option<Name>,
}

impl Room {
    fn save(&mut self) {
        self.saved.clone_from(&self.members);
    }
}

/// A client that keeps its roster between sessions and asks for what is new by version.
#[derive(Clone, Debug, Default)]
pub struct Device {
    pub items: Items,
    pub version: Option<u64>,
}

#[derive(Default)]
pub struct Host {
    pub infos: BTreeMap<Name, Value>,
    pub members: BTreeMap<Name, BTreeMap<Name, Value>>,
    pub marker: Option<Value>,
    pub accounts: BTreeSet<Name>,
    /// Whose roster must not hold whom: members at the time when an account was deleted, until it is made again.
    pub gone: BTreeSet<(Name, Name)>,
    /// Accounts that are gone without a word to the engine, which knew them.
    pub vanished: BTreeSet<Name>,
    /// Contacts that were brought, relabelled or subscribed to though no account of that name was known.
    pub strangers: BTreeSet<Name>,
    /// What users made of their contacts themselves.
    pub own: BTreeMap<(Name, Name), Item>,
    /// Answers "no such account" for everybody.
    pub directory_down: bool,
    pub stored: BTreeMap<Name, Roster>,
    /// Users whose rosters storage cannot read.
    pub unreadable: BTreeSet<Name>,
    pub sessions: BTreeMap<Name, Table>,
    /// Users whose clients have asked for the roster: only they are pushed anything.
    pub interested: BTreeSet<Name>,
    pub cache: BTreeMap<Name, Table>,
    /// Users whose rosters are made good at their next login only, for a client has taken contacts off.
    pub spared: BTreeSet<Name>,
    pub rooms: BTreeMap<Vec<u8>, Room>,
    /// Users whom room rules do not let in.
    pub unwelcome: BTreeSet<Name>,
    /// Stores that refuse everything.
    pub down: BTreeSet<&'static str>,
    pub log: Vec<(Level, String)>,
    pub events: Vec<Event>,
    /// All effects performed, in order.
    pub trace: Vec<Effect>,
    pub devices: BTreeMap<Name, Device>,
    /// Every content that a client was given under a version.
    pub seen: BTreeMap<(Name, u64), Items>,
    /// Contents that met a version that stood for another one.
    pub reused: Vec<(Name, u64)>,
    pub now: f64,
    /// What users have published of themselves.
    pub nicknames: BTreeMap<Name, String>,
    /// What users have made of virtual contacts.
    pub edits: BTreeMap<Name, Edits>,
    /// Who is banned from every room.
    pub banned: BTreeSet<Name>,
    /// How often a roster was changed.
    pub changed: usize,
    /// The plan that was compared last, and how many were.
    pub compared: (Plan, usize),
    /// How long each effect takes.
    pub tick: f64,
    pub next_id: u32,
    pub next_room: u32,
    /// What the shell shows.
    pub status: String,
}

fn failed() -> Reply {
    Reply::Failed("the test says so".to_owned())
}

/// Which switch of `down` an effect obeys.
pub fn area(effect: &Effect) -> &'static str {
    match effect {
        Effect::ListGroups | Effect::ReadGroup(_) => "read",
        Effect::StoreInfo(..) => "info",
        Effect::StoreMembers(..) | Effect::StoreMember(..) => "members",
        Effect::ReadMarker | Effect::StoreMarker(_) => "marker",
        Effect::CreateRoom(_)
        | Effect::DiscardRoom(_)
        | Effect::DestroyRoom(_)
        | Effect::ConfigureRoom(..)
        | Effect::InspectRooms(..)
        | Effect::ReadAffiliations(..)
        | Effect::SetAffiliations(..)
        | Effect::SaveRoom(_) => "chats",
        Effect::SaveRoster(..) => "save",
        Effect::LoadRoster(_) => "load",
        Effect::ListAccounts => "accounts",
        _ => "",
    }
}

/// The bare JID of a user.
fn jid(user: &Name) -> Name {
    Name::from(format!("{user}@localhost").as_str())
}

/// The username of a bare JID.
pub fn user(jid: &Name) -> Name {
    Name::from(jid.to_string().trim_end_matches("@localhost"))
}

impl Host {
    /// Does what the engine asks for. `context` is the roster that a hook was given.
    pub fn perform(&mut self, effect: &Effect, context: Option<&Table>) -> Reply {
        self.now += self.tick;
        self.trace.push(effect.clone());
        if self.down.contains(area(effect)) {
            return self.fail(effect);
        }
        match effect {
            Effect::Wait => {
                self.now += 1.0;
                Reply::Done
            }
            Effect::Log(level, text) => {
                self.log.push((*level, text.clone()));
                Reply::Done
            }
            Effect::ShowStatus(_, text) => {
                self.status.clone_from(text);
                Reply::Done
            }
            Effect::NewId => {
                self.next_id += 1;
                Reply::Text(format!("id{}", self.next_id).into_bytes().into())
            }
            Effect::Fire(event) => {
                self.events.push(event.clone());
                Reply::Done
            }
            Effect::Wake | Effect::Invite(..) | Effect::SendPresence(..) | Effect::SendUnavailable(..) => Reply::Done,
            _ => self
                .perform_store(effect)
                .or_else(|| self.perform_room(effect))
                .or_else(|| self.perform_roster(effect, context))
                .unwrap_or_else(failed),
        }
    }

    /// What an effect that fails answers. Prosody takes a new version before it saves.
    pub fn fail(&mut self, effect: &Effect) -> Reply {
        if let Effect::SaveRoster(user, ..) = effect {
            let Some(table) = self.loaded(user) else { return failed() };
            let mut roster = table.borrow_mut();
            roster.bump();
            return Reply::Unsaved("the test says so".to_owned(), roster.version.unwrap_or(0));
        }
        failed()
    }

    fn perform_store(&mut self, effect: &Effect) -> Option<Reply> {
        match effect {
            Effect::ListGroups => return Some(Reply::Names(self.infos.keys().cloned().collect())),
            Effect::ReadGroup(id) => {
                let members = self
                    .members
                    .get(id)
                    .map(|members| StoredMembers::new(Box::default(), members.clone().into_iter().collect()));
                return Some(Reply::Record { info: self.infos.get(id).cloned(), members });
            }
            Effect::ReadMarker => return Some(Reply::Value(self.marker.clone())),
            Effect::StoreInfo(id, Some(info)) => {
                self.infos.insert(id.clone(), info.to_value());
            }
            Effect::StoreInfo(id, None) => {
                self.infos.remove(id);
            }
            Effect::StoreMembers(id, Some(members)) => {
                self.members.insert(id.clone(), members.iter().cloned().collect());
            }
            Effect::StoreMembers(id, None) => {
                self.members.remove(id);
            }
            Effect::StoreMember(id, user, data) => {
                let record = self.members.entry(id.clone()).or_default();
                match data {
                    Some(data) => record.insert(user.clone(), data.clone()),
                    None => record.remove(user),
                };
                if record.is_empty() {
                    self.members.remove(id);
                }
            }
            Effect::StoreMarker(marker) => self.marker = Some(marker.to_value()),
            _ => return None,
        }
        Some(Reply::Done)
    }

    fn perform_room(&mut self, effect: &Effect) -> Option<Reply> {
        match effect {
            Effect::CreateRoom(_) => {
                self.next_room += 1;
                let jid = format!("room{}@chats", self.next_room).into_bytes();
                self.rooms.insert(jid.clone(), Room { opened: true, ..Room::default() });
                return Some(Reply::Text(jid.into()));
            }
            Effect::DiscardRoom(jid) => {
                self.rooms.remove(&**jid);
            }
            Effect::DestroyRoom(jid) => {
                if let Some(room) = self.rooms.get_mut(&**jid) {
                    room.destroyed = true;
                }
            }
            Effect::ConfigureRoom(jid, settings) => {
                let Some(room) = self.room(jid) else { return Some(failed()) };
                if let Some(Value::Text(Text(name))) = settings.get("name") {
                    room.name = name.to_vec();
                }
                if settings.get("members_only") == Some(&Value::Bool(true)) {
                    room.opened = false;
                }
            }
            Effect::InspectRooms(jids, names) => {
                let mut settings = |jid: &[u8]| {
                    let is_open = self.room(jid)?.opened;
                    let is_on =
                        |name: &&str| ["hidden", "persistent"].contains(name) || *name == "members_only" && !is_open;
                    let on: Vec<_> = names.iter().copied().filter(|name| is_on(name)).collect();
                    Some(Text(on.join(" ").into_bytes().into()))
                };
                return Some(Reply::Texts(jids.iter().map(|jid| settings(jid)).collect()));
            }
            Effect::ReadAffiliations(room, jids, with_members) => {
                if self.room(room).is_none() {
                    return Some(Reply::Absent);
                }
                let held = jids.iter().map(|jid| self.affiliation(room, &user(jid)).to_owned()).collect();
                let members = self.rooms[&room[..]].members.iter().filter(|_| *with_members).map(jid).collect();
                return Some(Reply::Affiliations { held, members });
            }
            Effect::SetAffiliations(room, shifts) => {
                self.room(room)?;
                let mut refused = Vec::new();
                for shift in shifts {
                    let user = user(&shift.jid);
                    if self.affiliation(room, &user) != shift.from {
                        continue;
                    }
                    let is_refused = shift.to == "member" && self.unwelcome.contains(&user);
                    let room = self.room(room)?;
                    match shift.to {
                        _ if is_refused => refused.push(shift.jid.clone()),
                        "member" => drop(room.members.insert(user.clone())),
                        _ => drop(room.members.remove(&user)),
                    }
                    room.owner.take_if(|owner| *owner == user && !is_refused);
                }
                return Some(Reply::Names(refused));
            }
            Effect::SaveRoom(jid) => {
                if let Some(room) = self.rooms.get_mut(&**jid) {
                    room.save();
                }
            }
            _ => return None,
        }
        Some(Reply::Done)
    }

    /// A room that is neither missing nor destroyed.
    fn room(&mut self, jid: &[u8]) -> Option<&mut Room> {
        self.rooms.get_mut(jid).filter(|room| !room.destroyed)
    }

    fn affiliation(&self, room: &[u8], user: &Name) -> &'static str {
        let Some(room) = self.rooms.get(room) else { return "none" };
        match user {
            _ if self.banned.contains(user) => "outcast",
            _ if room.owner.as_ref() == Some(user) => "owner",
            _ if room.members.contains(user) => "member",
            _ => "none",
        }
    }

    fn perform_roster(&mut self, effect: &Effect, context: Option<&Table>) -> Option<Reply> {
        Some(match effect {
            Effect::ListAccounts => Reply::Names(self.accounts.iter().cloned().collect()),
            Effect::FindAccounts(users) => Reply::Flags(users.iter().map(|user| self.has_account(user)).collect()),
            Effect::ListRosters(limit) => {
                let names: BTreeSet<_> = self.sessions.keys().chain(self.cache.keys()).cloned().collect();
                if names.len() > *limit {
                    return Some(Reply::Failed("there are more".to_owned()));
                }
                Reply::Names(names.into_iter().collect())
            }
            Effect::FindRosters(users) => Reply::Flags(users.iter().map(|user| self.loaded(user).is_some()).collect()),
            Effect::LoadRoster(user) => {
                let kept = self.loaded(user).is_some();
                if self.load(user).borrow().broken { Reply::Broken } else { Reply::Loaded(kept) }
            }
            Effect::CheckStamp(user, stamp) => {
                let table = self.loaded(user);
                let bears = table.is_some_and(|table| {
                    let roster = table.borrow();
                    roster.stamp == Some((*stamp, roster.version)) && !roster.virtual_version
                });
                Reply::Flags(vec![bears])
            }
            Effect::Compare(user, plan) => {
                let table = context.cloned().or_else(|| self.loaded(user));
                let Some(table) = table else { return Some(Reply::Absent) };
                if table.borrow().broken {
                    return Some(Reply::Broken);
                }
                if plan.reads_edits && table.borrow().edits.is_none() {
                    return Some(Reply::Unread);
                }
                // What the shim leaves out makes no difference.
                self.compared.1 += 1;
                self.compared.0.clone_from(plan);
                let everything = self.compared.1.is_multiple_of(2);
                Reply::Compared(table.borrow_mut().compare(user, plan, everything, self.interested.contains(user)))
            }
            Effect::FindBearers(user, labels) => {
                let table = context.cloned().or_else(|| self.loaded(user))?;
                Reply::Items(table.borrow().find_bearers(labels))
            }
            Effect::Change(user, change) => {
                let table = context.cloned().or_else(|| self.loaded(user))?;
                let before = table.borrow().clone();
                table.borrow_mut().change(&self.compared.0, change);
                self.changed += usize::from(!change.edits.is_empty());
                self.note_change(&before, &table.borrow());
                Reply::Done
            }
            Effect::SaveRoster(user, only, provenance) => {
                let table = self.load(user);
                let before = (table.borrow().provenance.clone(), table.borrow().unsaved);
                let version = table.borrow().version.filter(|_| table.borrow().overlay.is_none());
                {
                    let mut roster = table.borrow_mut();
                    roster.provenance = provenance.clone().unwrap_or(roster.provenance.take());
                    roster.unsaved = false;
                    // Ours does not raise the version: what is saved has been pushed under it.
                    roster.version = version.map(|version| version.saturating_sub(1)).or(roster.version);
                }
                let reply = self.save(user, only.as_ref());
                if reply != Reply::Saved {
                    let mut roster = table.borrow_mut();
                    (roster.provenance, roster.unsaved) = before;
                    roster.version = roster.version.max(version);
                }
                reply
            }
            Effect::FindNicknames(users) => {
                let nickname = |user| self.nicknames.get(user).map(|name: &String| Text(name.as_bytes().into()));
                Reply::Texts(users.iter().map(nickname).collect())
            }
            Effect::ReadEdits(user) => {
                let edits = self.edits.get(user).cloned().unwrap_or_default();
                if let Some(table) = context.cloned().or_else(|| self.loaded(user)) {
                    table.borrow_mut().edits.get_or_insert(edits);
                }
                Reply::Done
            }
            Effect::FindEditors(contact) => {
                let stored = self.edits.iter().filter(|(_, edits)| edits.contains_key(contact)).map(|(user, _)| user);
                let tables = self.sessions.iter().chain(&self.cache);
                let has =
                    |table: &Table| table.borrow().edits.as_ref().is_some_and(|edits| edits.contains_key(contact));
                let loaded = tables.filter(|(_, table)| has(table)).map(|(user, _)| user);
                Reply::Names(stored.chain(loaded).cloned().collect())
            }
            Effect::ReleaseRoster(user) => {
                self.cache.remove(user);
                Reply::Done
            }
            Effect::Push(push) => self.push(push),
            Effect::Depart(user, contacts) => {
                let table = self.load(user);
                let mut roster = table.borrow_mut();
                roster.leave();
                roster.items.retain(|contact, _| !contacts.contains(contact));
                roster.pending.retain(|contact| !contacts.contains(contact));
                Reply::Done
            }
            _ => return None,
        })
    }

    pub fn has_account(&self, user: &Name) -> bool {
        !self.directory_down && self.accounts.contains(user)
    }

    /// Notes contacts that are brought, given a label or subscribed to though no account is known.
    fn note_change(&mut self, before: &Roster, after: &Roster) {
        for (contact, item) in &after.items {
            let known = before.items.get(contact);
            let touched = known.is_none_or(|known| {
                item.subscription == "both" && known.subscription != "both" || !item.groups.is_subset(&known.groups)
            });
            if touched && !self.accounts.contains(contact) && !self.vanished.contains(contact) {
                self.strangers.insert(contact.clone());
            }
        }
    }

    /// The roster that is in memory.
    pub fn loaded(&self, user: &Name) -> Option<Table> {
        self.sessions.get(user).or_else(|| self.cache.get(user)).cloned()
    }

    /// What storage has of a roster, or a broken one.
    pub fn read(&self, user: &Name) -> Roster {
        if self.unreadable.contains(user) {
            return Roster { broken: true, ..Roster::default() };
        }
        self.stored.get(user).cloned().unwrap_or_default()
    }

    /// `load_roster` where no hook is to be told.
    fn load(&mut self, user: &Name) -> Table {
        if let Some(table) = self.loaded(user) {
            return table;
        }
        let table = Rc::new(RefCell::new(self.read(user)));
        self.cache.insert(user.clone(), Rc::clone(&table));
        table
    }

    /// `save_roster`: it asks for the account first, and takes a new version.
    pub fn save(&mut self, user: &Name, only: Option<&Name>) -> Reply {
        let table = self.load(user);
        let mut roster = table.borrow_mut();
        if roster.broken {
            return Reply::Broken;
        }
        if !self.has_account(user) {
            return Reply::Absent;
        }
        roster.bump();
        self.edits.extend(roster.edits.iter().map(|edits| (user.clone(), edits.clone())));
        let Some(only) = only else {
            self.stored.insert(user.clone(), roster.stored());
            return Reply::Saved;
        };
        let stored = self.stored.entry(user.clone()).or_default();
        stored.version = roster.stored_version();
        stored.pending = roster.pending.clone();
        stored.provenance = roster.provenance.clone();
        stored.unsaved = roster.unsaved;
        match roster.stored_item(only) {
            Some(item) => stored.items.insert(only.clone(), item),
            None => stored.items.remove(only),
        };
        Reply::Saved
    }

    /// Only the last push of a change carries the version that the roster has afterwards.
    fn push(&mut self, push: &Push) -> Reply {
        let Some(table) = self.loaded(&push.user) else { return Reply::Absent };
        let mut roster = table.borrow_mut();
        let versions = roster.counted(roster.version).to_push(roster.overlay.is_some(), push.last);
        let told = |version: Version| (version.number() > 0).then(|| version.number());
        let (before, after) = (told(versions.early), told(versions.late));
        roster.version = after.or(roster.version);
        roster.unsaved |= push.last && versions.counted.is_some();
        roster.changed |= roster.unsaved;
        if self.interested.contains(&push.user) {
            let device = self.devices.entry(push.user.clone()).or_default();
            for contact in &push.contacts {
                match roster.items.get(contact) {
                    Some(item) => device.items.insert(contact.clone(), item.clone()),
                    None => device.items.remove(contact),
                };
                device.version = before;
            }
            if push.last && !push.contacts.is_empty() {
                device.version = after;
            }
        }
        let roster = roster.clone();
        if push.last && self.interested.contains(&push.user) {
            self.note_seen(&push.user, &roster);
        }
        Reply::Pushed(versions.counted.unwrap_or(0))
    }

    /// A client may have this content under this version from now on.
    pub fn note_seen(&mut self, user: &Name, roster: &Roster) {
        if roster.virtual_version || roster.broken {
            return;
        }
        let version = roster.served_version();
        if version == 1 && !roster.items.is_empty() {
            // Prosody serves the empty roster as 1, and gives its own first save that number. Ours must not.
            assert!(roster.items.values().all(|item| item.subscription != "both"), "ours is served as 1: {roster:?}");
            return;
        }
        let known = self.seen.entry((user.clone(), version)).or_insert_with(|| roster.items.clone());
        if *known != roster.items {
            self.reused.push((user.clone(), version));
        }
    }
}
