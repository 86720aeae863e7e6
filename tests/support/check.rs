//! What must hold.

use std::collections::{BTreeMap, BTreeSet};

use groups_internal_native::engine::{Info, Name};

use super::World;

impl World {
    /// Look-ups and stores say the same.
    pub fn check_agreement(&self) {
        let stored: BTreeMap<_, _> =
            self.host.infos.iter().map(|(id, record)| (id.clone(), Info::from_value(record.clone()))).collect();
        let known: BTreeMap<_, _> = self.engine.groups().into_iter().collect();
        assert_eq!(known, stored, "groups in memory and in storage");
        let mut memberships: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
        for id in known.keys() {
            let members: BTreeMap<_, _> = self.engine.members(id.as_bytes()).into_iter().collect();
            let record = self.host.members.get(id).cloned().unwrap_or_default();
            assert_eq!(members, record, "members of {id} in memory and in storage");
            for user in members.keys() {
                memberships.entry(user.clone()).or_default().insert(id.clone());
            }
        }
        for (user, groups) in memberships {
            let listed: BTreeSet<_> = self.engine.groups_of(user.as_bytes()).into_iter().collect();
            assert_eq!(listed, groups, "groups of {user}");
        }
    }

    /// Every contact that stored membership brings is in storage as it should be.
    pub fn check_contacts(&self) {
        for (id, members) in &self.host.members {
            let Some(record) = self.host.infos.get(id) else { continue };
            let info = Info::from_value(record.clone());
            let label = String::from_utf8_lossy(&info.name).into_owned();
            let present: Vec<_> = members.keys().filter(|user| self.host.accounts.contains(user)).collect();
            for user in &present {
                for contact in present.iter().filter(|contact| *contact != user) {
                    self.check_contact(user, contact, &label);
                }
            }
        }
        self.check_gone();
        self.check_own();
        self.check_decency();
    }

    fn check_contact(&self, user: &Name, contact: &Name, label: &str) {
        let roster = self.host.stored.get(user).cloned().unwrap_or_default();
        let item = roster.items.get(contact).unwrap_or_else(|| panic!("{contact} is missing in the roster of {user}"));
        assert_eq!(item.subscription, "both", "{contact} in the roster of {user}");
        assert!(!item.ask, "{contact} is asked for in the roster of {user}");
        assert!(!roster.pending.contains(contact), "{contact} is pending in the roster of {user}");
        assert!(item.groups.contains(label), "{contact} has no label {label} in the roster of {user}: {item:?}");
    }

    /// What holds at any time: no version used twice, nobody a contact of oneself, and nobody without an account a
    /// contact.
    pub fn check_decency(&self) {
        assert!(self.host.strangers.is_empty(), "contacts without an account: {:?}", self.host.strangers);
        assert_eq!(self.host.reused, [], "a version stood for two contents");
        let rosters = self.host.stored.iter().map(|(user, roster)| (user, roster.clone()));
        let sessions = self.host.sessions.iter().map(|(user, table)| (user, table.borrow().clone()));
        for (user, roster) in rosters.chain(sessions) {
            assert!(!roster.items.contains_key(user), "{user} is a contact of oneself");
        }
    }

    /// The members of each group's rooms are the group's.
    pub fn check_rooms(&self) {
        for (id, info) in self.engine.groups() {
            let members: BTreeSet<_> = self.engine.members(id.as_bytes()).into_iter().map(|(user, _)| user).collect();
            for jid in info.rooms() {
                if let Some(room) = self.host.rooms.get(&jid[..]).filter(|room| !room.destroyed) {
                    assert_eq!(room.members, members, "members of a room of {id}");
                }
            }
        }
    }

    /// Storage has the rooms as they are in memory.
    pub fn check_saved_rooms(&self) {
        for (jid, room) in self.host.rooms.iter().filter(|(_, room)| !room.destroyed) {
            assert_eq!(room.saved, room.members, "members of {} as it is stored", String::from_utf8_lossy(jid));
        }
    }

    /// No group in storage has an account that was deleted.
    pub fn check_deletions(&self) {
        for (_, gone) in &self.host.gone {
            for (id, members) in &self.host.members {
                assert!(!members.contains_key(gone), "{gone} is gone, but in group {id}");
            }
        }
    }

    /// No member's roster in storage holds an account that was deleted, unless the user gave it a name.
    fn check_gone(&self) {
        for (user, gone) in self.host.gone.iter().filter(|(user, _)| self.host.accounts.contains(user)) {
            let roster = self.host.stored.get(user).cloned().unwrap_or_default();
            let item = roster.items.get(gone);
            let kept = item.is_none_or(|item| item.subscription == "none" && !item.ask && item.name.is_some());
            assert!(kept, "{gone} is gone, but in the roster of {user}: {item:?}");
            assert!(!roster.pending.contains(gone), "{gone} is gone, but pending in the roster of {user}");
        }
    }

    /// With the option on, and where users have no contacts with subscription `both` of their own: only groups bring
    /// them, and nothing is open.
    pub fn check_taken_back(&self) {
        if !self.options.remove_contacts {
            return;
        }
        let share =
            |a: &Name, b: &Name| self.host.members.values().any(|group| group.contains_key(a) && group.contains_key(b));
        for user in &self.host.accounts {
            let items = self.host.stored.get(user).map(|roster| roster.items.clone()).unwrap_or_default();
            for (contact, item) in items.iter().filter(|(contact, _)| self.host.accounts.contains(*contact)) {
                let brought = item.subscription == "both";
                assert!(share(user, contact) || !brought, "{contact} stays in the roster of {user}: {item:?}");
            }
        }
        let open = self.host.marker.as_ref().and_then(|marker| marker.get("partings"));
        assert_eq!(open, None, "partings are open");
    }

    /// What users called their contacts, and the groups they put them into, are as they were.
    fn check_own(&self) {
        for ((user, contact), own) in &self.host.own {
            let item = self.host.stored.get(user).and_then(|roster| roster.items.get(contact));
            let item = item.unwrap_or_else(|| panic!("{user} has lost the contact {contact}"));
            assert_eq!(item.name, own.name, "name of {contact} in the roster of {user}");
            assert!(item.groups.is_superset(&own.groups), "own groups of {contact} in the roster of {user}: {item:?}");
        }
    }

    /// Clients that are online show what the server has.
    pub fn check_devices(&self) {
        for (user, table) in &self.host.sessions {
            let roster = table.borrow();
            if roster.broken {
                continue;
            }
            assert_eq!(self.host.devices[user].items, roster.items, "what the client of {user} shows");
        }
    }
}
