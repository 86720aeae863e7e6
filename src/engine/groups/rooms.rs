//! Rooms and membership: affiliations are reconciled, as contact lists are.
//!
//! Each member of a group has at least the affiliation `member` in each of the group's rooms. It is given when a member
//! or a chat is added; here, it is reconciled later: when a room is read from storage, and at a `sync`, if anything has
//! happened to the room since. What was given by hand, a higher affiliation or a ban, stays.

use std::collections::BTreeSet;

use crate::engine::effect::{Effect, Level, Reply};
use crate::engine::operation::Call;
use crate::engine::{Answer, Engine, Name, Operation};

impl Engine {
    /// Aligns the affiliations of a room that has been read from storage (`muc-room-restored`), if it is a group's.
    pub fn room_restored(&self, jid: &[u8]) -> Operation {
        let jid: Box<[u8]> = jid.into();
        self.start(move |call| async move {
            call.ready().await?;
            let id = {
                let mut state = call.state();
                state.aligned.remove(&jid);
                state.directory.groups().find(|(_, group)| group.info.has_room(&jid)).map(|(_, group)| group.id.clone())
            };
            if let Some(id) = id {
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
    pub(crate) fn member_names(&self, id: &Name) -> BTreeSet<Name> {
        let group = self.directory.find(id).map(|(_, group)| group);
        group.into_iter().flat_map(|group| group.members()).map(|user| self.directory.user_name(user)).collect()
    }
}
