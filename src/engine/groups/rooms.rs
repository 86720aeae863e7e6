//! Rooms and membership: affiliations are reconciled, as contact lists are.
//!
//! Each member of a group has at least the affiliation `member` in each of the group's rooms. It is given when a member
//! or a chat is added; here, it is reconciled later: when a room is read from storage, and at a `sync`, if anything has
//! happened to the room since. What was given by hand, a higher affiliation or a ban, stays.
//!
//! A room that is gone may be made anew by whoever knows its JID, and Prosody makes that one its owner and the room an
//! open one. It is set up as the group's before anybody is in it.

use std::collections::BTreeSet;

use crate::engine::effect::{Effect, Level, Reply};
use crate::engine::groups::affiliations::{align, banned, take_over};
use crate::engine::operation::Call;
use crate::engine::state::filled;
use crate::engine::{Answer, Engine, Name, Operation, Text, Value};

/// The settings of a group's room, by the names that Prosody has for them, and whether they are on.
const SETTINGS: [(&str, bool); 5] = [
    ("members_only", true),
    ("hidden", true),
    ("persistent", true),
    ("allow_member_invites", false),
    ("password", false), // it would keep members out
];

/// The settings in which a room differs from a group's, given the names of those that are on.
pub(crate) fn changed_settings(has: &[u8]) -> Vec<&'static str> {
    let is_on = |name: &str| has.split(|&byte| byte == b' ').any(|word| word == name.as_bytes());
    SETTINGS.iter().filter(|&&(name, wanted)| is_on(name) != wanted).map(|&(name, _)| name).collect()
}

/// The longest id of a room that is made of a name, in characters.
const LONGEST_NODE: usize = 40;

/// The settings of a new room for a chat of this name.
pub(crate) fn settings_named(name: &[u8]) -> Value {
    let more = [("moderated", Value::Bool(false)), ("whois", Value::text(b"anyone")), ("name", Value::text(name))];
    settings_and(more.into())
}

fn settings_and(more: Vec<(&str, Value)>) -> Value {
    let settings = SETTINGS.iter().map(|&(name, wanted)| (name, Value::Bool(wanted)));
    Value::table(settings.chain(more).map(|(name, value)| (Value::text(name.as_bytes()), value)).collect())
}

/// The ids under which a room for a chat of this name may be made, the best first: a readable one, the same with an
/// ending, and one that says nothing, `id`. That is the only one if they are to be `random`.
pub(crate) fn room_nodes(name: &[u8], id: &[u8], random: bool) -> Vec<String> {
    let id = String::from_utf8_lossy(id).into_owned();
    let node = room_node(name);
    if random || node.is_empty() {
        return vec![id];
    }
    let ending: String = id.chars().filter(char::is_ascii_alphanumeric).take(4).collect();
    vec![node.clone(), format!("{node}-{ending}"), id]
}

/// A readable id for the room of a chat of this name: its letters and digits, in lower case, with hyphens between
/// words. Empty if there are none.
fn room_node(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let node: String = words.collect::<Vec<_>>().join("-").chars().take(LONGEST_NODE).collect();
    node.trim_end_matches('-').to_owned()
}

impl Engine {
    /// Sets up a room that was made anew, if it is a group's: by whom (`muc-room-pre-create`), a bare JID, or by
    /// another module (`muc-room-created`), which is before the chat host has the room: it is saved later.
    pub fn room_made(&self, jid: &[u8], maker: Option<&[u8]>) -> Operation {
        let jid: Box<[u8]> = jid.into();
        let maker = maker.map(Name::raw);
        self.start(move |call| async move {
            call.ready().await?;
            let group = call.state().group_of_room(&jid);
            if let Some((id, name)) = group {
                let room = String::from_utf8_lossy(&jid);
                let text = "was gone and has been made anew: it is set up as the group's";
                call.log(Level::Warn, format!("Room {room} of group {id} {text}")).await;
                let is_tracked = maker.is_some();
                call.set_up_room(&id, &jid, Some((name, maker))).await;
                if !is_tracked {
                    call.state().room_saves.note(&id, vec![jid], &[]);
                }
            }
            Ok(Answer::Done)
        })
    }

    /// Notes that a room has been read from storage (`muc-room-restored`), perhaps in the midst of an effect: it is
    /// aligned later, if it is a group's.
    pub fn room_restored(&self, jid: &[u8]) {
        let mut state = self.0.state.lock();
        state.aligned.remove(jid);
        state.restored_rooms.insert(jid.into());
    }

    /// Notes that somebody else has set an affiliation in a room: the next `sync` of its group aligns the room.
    pub fn room_touched(&self, jid: &[u8]) {
        self.0.state.lock().aligned.remove(jid);
    }
}

impl Call {
    /// Aligns the affiliations of a room that was read from storage.
    pub(crate) async fn align_restored(&self) {
        let room = {
            let mut state = self.state();
            state.restored_rooms.pop_first().map(|jid| (state.group_of_room(&jid), jid))
        };
        if let Some((Some((id, _)), jid)) = room {
            self.align_room(&id, &jid).await;
        }
    }

    /// Aligns the rooms of a group to which something may have happened.
    pub(crate) async fn align_rooms(&self, id: &Name) {
        let Ok((_, info)) = self.find(id) else { return };
        for jid in info.rooms() {
            let aligned = self.state().aligned.contains(&jid);
            if !aligned {
                self.align_room(id, &jid).await;
            }
        }
    }

    /// Gives a room of a group the group's members and settings. `made`: it was made anew, for a chat of this name, by
    /// this JID.
    pub(crate) async fn set_up_room(&self, id: &Name, jid: &[u8], made: Option<(Box<[u8]>, Option<Name>)>) {
        let members = if self.lets_members_in(id) { self.state().member_names(id) } else { BTreeSet::new() };
        match self.give_room(jid, &members, made).await {
            Ok(refused) if refused.is_empty() => {
                self.state().aligned.insert(jid.into());
            }
            Ok(_) => {} // the next sync tries again, and says who
            Err(reason) => {
                let room = String::from_utf8_lossy(jid);
                let text = "cannot be given the group's settings; repair() tries again";
                self.log(Level::Error, format!("Room {room} of group {id} {text}: {reason}")).await;
            }
        }
        self.recheck_room(id, jid, &members).await;
    }

    /// Returns who was refused, or why it failed.
    async fn give_room(
        &self,
        jid: &[u8],
        members: &BTreeSet<Name>,
        made: Option<(Box<[u8]>, Option<Name>)>,
    ) -> Result<Vec<Name>, String> {
        let is_new = made.is_some();
        let (name, maker) = made.unwrap_or_default();
        if is_new {
            // First of all: what fails below must not leave an open room.
            self.done(Effect::ConfigureRoom(jid.into(), settings_named(&name))).await?;
        }
        let jids = self.state().jids(members).into_iter().chain(maker).collect();
        let (found, _) = self.read_affiliations(jid, jids, false).await.map_err(|reply| reply.reason().to_owned())?;
        let (users, maker) = found.split_at(members.len());
        let shifts = take_over(users, maker.first());
        let mut refused = Vec::new();
        if !shifts.is_empty() {
            let set = self.perform(Effect::SetAffiliations(jid.into(), shifts)).await;
            let Reply::Names(names) = set else { return Err(set.reason().to_owned()) };
            refused = names;
        }
        if !is_new {
            // Last of all: whoever has no affiliation is put out.
            self.done(Effect::ConfigureRoom(jid.into(), settings_and(Vec::new()))).await?;
        }
        self.done(Effect::SaveRoom(jid.into())).await?;
        Ok(refused)
    }

    pub(crate) async fn align_room(&self, id: &Name, jid: &[u8]) {
        if !self.lets_members_in(id) {
            return;
        }
        let members = self.state().member_names(id);
        let (jids, enforce) = {
            let state = self.state();
            (state.jids(&members), state.options.enforce_affiliations)
        };
        let room = String::from_utf8_lossy(jid);
        let (set, banned) = match self.read_affiliations(jid, jids, enforce).await {
            Ok((users, others)) => (self.set_affiliations(id, jid, align(&users, others)).await, banned(&users)),
            Err(other) => (Err(other.reason().to_owned()), Vec::new()),
        };
        let refused = match set {
            Ok(refused) => refused,
            Err(reason) => {
                let text = "cannot be brought in line with the group now, the next sync tries again";
                self.log(Level::Debug, format!("Affiliations to room {room} of group {id} {text}: {reason}")).await;
                return;
            }
        };
        if !refused.is_empty() {
            let text = "could not be brought in line with the group, another module forbids it; \
                        the next sync tries again";
            self.log(Level::Warn, format!("Affiliations to room {room} of group {id} {text}: {}", list(&refused)))
                .await;
        }
        if !banned.is_empty() {
            let text = "are banned from its room by hand, which stays as it is";
            self.log(Level::Warn, format!("Members of group {id} {text}: room {room}, {}", list(&banned))).await;
        }
        self.recheck_room(id, jid, &members).await;
        if refused.is_empty() {
            self.state().aligned.insert(jid.into());
        }
    }

    /// Gives a room another name.
    pub(crate) async fn rename_room(&self, room: &[u8], name: &[u8]) -> Result<(), String> {
        let settings = Value::table(vec![(Value::text(b"name"), Value::text(name))]);
        self.done(Effect::ConfigureRoom(room.into(), settings)).await?;
        self.done(Effect::SaveRoom(room.into())).await
    }

    /// Which of a group's settings are on in these rooms: their names, and nothing for a room that is not there.
    /// Nothing at all if the chat host cannot say.
    pub(crate) async fn inspect_rooms(&self, rooms: &[Box<[u8]>]) -> Option<Vec<Option<Text>>> {
        let settings = SETTINGS.iter().map(|&(name, _)| name).collect();
        match self.perform(Effect::InspectRooms(rooms.to_vec(), settings)).await {
            Reply::Texts(found) if found.len() == rooms.len() => Some(found),
            _ => None,
        }
    }

    /// Which of these rooms are there. Nothing if the chat host cannot say.
    pub(crate) async fn find_rooms(&self, rooms: &[Box<[u8]>]) -> Result<Vec<bool>, String> {
        match self.perform(Effect::InspectRooms(rooms.to_vec(), Vec::new())).await {
            Reply::Texts(found) if found.len() == rooms.len() => Ok(found.iter().map(Option::is_some).collect()),
            other => Err(other.reason().to_owned()),
        }
    }

    /// Aligns the affiliations of those who joined or left while those of `members` were set.
    pub(crate) async fn recheck_room(&self, id: &Name, jid: &[u8], members: &BTreeSet<Name>) {
        let now = self.state().member_names(id);
        for name in now.symmetric_difference(members) {
            self.align_affiliation(id, jid, name).await;
        }
    }
}

/// Names for the log.
pub(crate) fn list(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

impl crate::engine::State {
    /// The group that has a chat with this room: its id and name.
    pub(crate) fn group_of_room(&self, jid: &[u8]) -> Option<(Name, Box<[u8]>)> {
        let (_, group) = self.directory.groups().find(|(_, group)| group.info.has_room(jid))?;
        Some((group.id.clone(), group.info.name.clone()))
    }

    pub(crate) fn member_names(&self, id: &Name) -> BTreeSet<Name> {
        let group = self.directory.find(id).map(|(_, group)| group);
        let members = group.into_iter().flat_map(|group| group.members());
        filled(members.map(|user| self.directory.user_name(user)))
    }
}

#[cfg(test)]
mod tests {
    use super::{room_node, room_nodes};

    #[test]
    fn the_id_of_a_room_is_made_of_the_words_of_its_name() {
        assert_eq!(room_node(b"Book Club"), "book-club");
        assert_eq!(room_node("Chœur: « Été » 2026!".as_bytes()), "chœur-été-2026");
        assert_eq!(room_node(b" / @ "), "");
        assert_eq!(room_node("a ".repeat(40).as_bytes()).chars().count(), 39);
    }
    #[test]
    fn a_room_gets_a_readable_id_or_one_with_an_ending_or_one_that_says_nothing() {
        assert_eq!(room_nodes(b"Chess", b"a-B_3cDe", false), ["chess", "chess-aB3c", "a-B_3cDe"]);
        assert_eq!(room_nodes(b"Chess", b"a-B_3cDe", true), ["a-B_3cDe"]);
        assert_eq!(room_nodes(b"!", b"a-B_3cDe", false), ["a-B_3cDe"]);
    }
}
