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
use crate::engine::operation::Call;
use crate::engine::{Answer, Engine, Name, Operation};

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

/// A readable id for the room of a chat of this name: its letters and digits, in lower case, with hyphens between words.
/// Empty if there are none.
pub fn room_node(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let node: String = words.collect::<Vec<_>>().join("-").chars().take(LONGEST_NODE).collect();
    node.trim_end_matches('-').to_owned()
}

impl Engine {
    /// Sets up a room that somebody has made anew (`muc-room-pre-create`), if it is a group's.
    pub fn room_made(&self, jid: &[u8]) -> Operation {
        let jid: Box<[u8]> = jid.into();
        self.start(move |call| async move {
            call.ready().await?;
            let group = call.state().group_of_room(&jid);
            if let Some((id, name)) = group {
                let room = String::from_utf8_lossy(&jid);
                let text = "was gone and has been made anew: it is set up as the group's";
                call.log(Level::Warn, format!("Room {room} of group {id} {text}")).await;
                call.set_up_room(&id, &jid, Some(name)).await;
            }
            Ok(Answer::Done)
        })
    }

    /// Whether this is the room of a group's chat.
    pub fn is_chat(&self, jid: &[u8]) -> bool {
        self.open_state().is_some_and(|state| state.group_of_room(jid).is_some())
    }

    /// Aligns the affiliations of a room that has been read from storage (`muc-room-restored`), if it is a group's.
    pub fn room_restored(&self, jid: &[u8]) -> Operation {
        let jid: Box<[u8]> = jid.into();
        self.start(move |call| async move {
            call.ready().await?;
            let group = {
                let mut state = call.state();
                state.aligned.remove(&jid);
                state.group_of_room(&jid)
            };
            if let Some((id, _)) = group {
                call.align_room(&id, &jid).await;
            }
            Ok(Answer::Done)
        })
    }

    /// Notes that somebody else has set an affiliation in a room: the next `sync` of its group aligns the room.
    pub fn room_touched(&self, jid: &[u8]) {
        self.0.state.lock().aligned.remove(jid);
    }
}

impl Call {
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

    /// Gives a room of a group the group's members and settings; with a name, it was made anew.
    pub(crate) async fn set_up_room(&self, id: &Name, jid: &[u8], name: Option<Box<[u8]>>) {
        let members = if self.lets_members_in(id) { self.state().member_names(id) } else { BTreeSet::new() };
        let effect = Effect::SetUpRoom(jid.into(), name, members.iter().cloned().collect());
        match self.perform(effect).await {
            Reply::Names(refused) if refused.is_empty() => {
                self.state().aligned.insert(jid.into());
            }
            Reply::Names(_) => {} // the next sync tries again, and says who
            other => {
                let room = String::from_utf8_lossy(jid);
                let text = "cannot be given the group's settings; repair() tries again";
                self.log(Level::Error, format!("Room {room} of group {id} {text}: {}", other.reason())).await;
            }
        }
        self.recheck_room(id, jid, &members).await;
    }

    pub(crate) async fn align_room(&self, id: &Name, jid: &[u8]) {
        if !self.lets_members_in(id) {
            return;
        }
        let members = self.state().member_names(id);
        let enforce = self.state().options.enforce_affiliations;
        let reply = self.perform(Effect::AlignRoom(jid.into(), members.iter().cloned().collect(), enforce)).await;
        let room = String::from_utf8_lossy(jid);
        match reply {
            Reply::Room { refused, banned } => {
                if !refused.is_empty() {
                    let text = "could not be brought in line with the group, another module forbids it; \
                                the next sync tries again";
                    self.log(
                        Level::Warn,
                        format!("Affiliations to room {room} of group {id} {text}: {}", list(&refused)),
                    )
                    .await;
                }
                if !banned.is_empty() {
                    let text = "are banned from its room by hand, which stays as it is";
                    self.log(Level::Warn, format!("Members of group {id} {text}: room {room}, {}", list(&banned)))
                        .await;
                }
                self.recheck_room(id, jid, &members).await;
                if refused.is_empty() {
                    self.state().aligned.insert(jid.into());
                }
            }
            Reply::Failed(reason) => {
                let text = "cannot be brought in line with the group now, the next sync tries again";
                self.log(Level::Debug, format!("Affiliations to room {room} of group {id} {text}: {reason}")).await;
            }
            _ => {}
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

fn list(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")
}

impl crate::engine::State {
    /// The group that has a chat with this room: its id and name.
    fn group_of_room(&self, jid: &[u8]) -> Option<(Name, Box<[u8]>)> {
        let (_, group) = self.directory.groups().find(|(_, group)| group.info.has_room(jid))?;
        Some((group.id.clone(), group.info.name.clone()))
    }

    pub(crate) fn member_names(&self, id: &Name) -> BTreeSet<Name> {
        let group = self.directory.find(id).map(|(_, group)| group);
        group.into_iter().flat_map(|group| group.members()).map(|user| self.directory.user_name(user)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::room_node;

    #[test]
    fn the_id_of_a_room_is_made_of_the_words_of_its_name() {
        assert_eq!(room_node(b"Book Club"), "book-club");
        assert_eq!(room_node("Chœur: « Été » 2026!".as_bytes()), "chœur-été-2026");
        assert_eq!(room_node(b" / @ "), "");
        assert_eq!(room_node("a ".repeat(40).as_bytes()).chars().count(), 39);
    }
}
