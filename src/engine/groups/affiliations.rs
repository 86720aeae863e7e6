//! The rules for affiliations to the rooms of groups, and what follows from them for one room.
//!
//! Who has none becomes a member, and who has a higher one keeps it. A ban given by hand stays, whatever membership
//! says. Other modules may have affiliations of their own, so they are the words that Prosody has for them.

use std::collections::HashSet;

use crate::engine::effect::{Effect, Reply};
use crate::engine::operation::Call;
use crate::engine::{Name, State};

const NONE: &str = "none";
const MEMBER: &str = "member";
const BANNED: &str = "outcast";

/// What is to become of an affiliation, unless it has changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// The bare JID.
    pub jid: Name,
    /// What it has now.
    pub from: String,
    /// What it is to have.
    pub to: &'static str,
}

fn shift((jid, from): &(Name, String), to: &'static str) -> Shift {
    Shift { jid: jid.clone(), from: from.clone(), to }
}

/// Lets users into a room.
pub(crate) fn let_in(users: &[(Name, String)]) -> Vec<Shift> {
    users.iter().filter(|(_, has)| has == NONE).map(|user| shift(user, MEMBER)).collect()
}

/// Puts users out of a room.
pub(crate) fn put_out(users: &[(Name, String)]) -> Vec<Shift> {
    users.iter().filter(|(_, has)| has != NONE && has != BANNED).map(|user| shift(user, NONE)).collect()
}

/// Lets users into a room, and puts those of its `members` out who are none of them.
pub(crate) fn align(users: &[(Name, String)], members: Vec<Name>) -> Vec<Shift> {
    let known: HashSet<_> = users.iter().map(|(jid, _)| jid).collect();
    let strangers = members.into_iter().filter(|jid| !known.contains(jid));
    let out = strangers.map(|jid| Shift { jid, from: MEMBER.to_owned(), to: NONE });
    let_in(users).into_iter().chain(out).collect()
}

/// Lets users into a room that was made anew, and takes what came with that from whoever made it.
pub(crate) fn take_over(users: &[(Name, String)], maker: Option<&(Name, String)>) -> Vec<Shift> {
    let is_member = |jid| users.iter().any(|(user, _)| user == jid);
    let demoted = maker.map(|maker| shift(maker, if is_member(&maker.0) { MEMBER } else { NONE }));
    let let_in = let_in(users).into_iter().filter(|user| maker.is_none_or(|(jid, _)| user.jid != *jid));
    demoted.into_iter().filter(|shift| shift.from != shift.to).chain(let_in).collect()
}

/// Those of these users who are banned.
pub(crate) fn banned(users: &[(Name, String)]) -> Vec<Name> {
    users.iter().filter(|(_, has)| has == BANNED).map(|(jid, _)| jid.clone()).collect()
}

impl State {
    /// The bare JIDs of users.
    pub(crate) fn jids<'a>(&self, users: impl IntoIterator<Item = &'a Name>) -> Vec<Name> {
        let jid = |user: &Name| Name::raw(&[user.as_bytes(), b"@", self.host.as_bytes()].concat());
        users.into_iter().map(jid).collect()
    }
}

impl Call {
    /// Reads the affiliations of these bare JIDs to a room, and, if `with_members`, who is a member of it.
    pub(crate) async fn read_affiliations(
        &self,
        room: &[u8],
        jids: Vec<Name>,
        with_members: bool,
    ) -> Result<(Vec<(Name, String)>, Vec<Name>), Reply> {
        match self.perform(Effect::ReadAffiliations(room.into(), jids.clone(), with_members)).await {
            Reply::Affiliations { held, members } if held.len() == jids.len() => {
                Ok((jids.into_iter().zip(held).collect(), members))
            }
            other => Err(other),
        }
    }

    /// Sets affiliations to a room of a group and saves it once, or has it saved later if the marker names the group.
    /// Returns the refused, or why it failed.
    pub(crate) async fn set_affiliations(
        &self,
        id: &Name,
        room: &[u8],
        shifts: Vec<Shift>,
    ) -> Result<Vec<Name>, String> {
        if shifts.is_empty() {
            return Ok(Vec::new());
        }
        // Should the operation die.
        self.put_save_off(id, room);
        let refused = match self.perform(Effect::SetAffiliations(room.into(), shifts)).await {
            Reply::Names(refused) => refused,
            other => return Err(other.reason().to_owned()),
        };
        // It may have been saved meanwhile.
        if !self.put_save_off(id, room) {
            self.done(Effect::SaveRoom(room.into())).await?;
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(users: &[(&str, &str)]) -> Vec<(Name, String)> {
        users.iter().map(|&(jid, has)| (Name::from(jid), has.to_owned())).collect()
    }

    fn told(shifts: Vec<Shift>) -> Vec<String> {
        shifts.iter().map(|shift| format!("{}: {} {}", shift.jid, shift.from, shift.to)).collect()
    }

    /// One user for each affiliation, one of them with one that another module has invented.
    fn everybody() -> Vec<(Name, String)> {
        with(&[("a", "none"), ("b", "outcast"), ("c", "member"), ("d", "admin"), ("e", "owner"), ("f", "guest")])
    }

    #[test]
    fn who_has_no_affiliation_becomes_a_member_and_who_has_one_keeps_it() {
        assert_eq!(told(let_in(&everybody())), ["a: none member"]);
    }

    #[test]
    fn who_leaves_loses_every_affiliation_but_a_ban() {
        let out = told(put_out(&everybody()));
        assert_eq!(out, ["c: member none", "d: admin none", "e: owner none", "f: guest none"]);
    }

    #[test]
    fn strangers_are_the_members_of_a_room_who_are_none_of_the_users() {
        let users = with(&[("a", "none"), ("b", "member")]);
        let members = vec![Name::from("b"), Name::from("x")];
        assert_eq!(told(align(&users, members)), ["a: none member", "x: member none"]);
    }

    #[test]
    fn whoever_made_a_room_has_no_more_of_it_than_a_member_or_a_stranger() {
        let users = with(&[("a", "owner"), ("b", "none")]);
        let maker = |jid, has| with(&[(jid, has)]).remove(0);
        assert_eq!(told(take_over(&users, Some(&maker("a", "owner")))), ["a: owner member", "b: none member"]);
        assert_eq!(told(take_over(&users, Some(&maker("x", "owner")))), ["x: owner none", "b: none member"]);
        assert_eq!(told(take_over(&users, Some(&maker("b", "none")))), ["b: none member"]);
        assert_eq!(told(take_over(&users, Some(&maker("x", "none")))), ["b: none member"]);
        assert_eq!(told(take_over(&users, None)), ["b: none member"]);
    }

    #[test]
    fn the_banned_are_those_with_a_ban() {
        assert_eq!(banned(&everybody()), [Name::from("b")]);
    }
}
