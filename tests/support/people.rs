//! What people and Prosody itself do: logging in and out, editing contacts, deleting accounts.

use std::cell::RefCell;
use std::rc::Rc;

use groups_internal_native::engine::Name;

use super::host::{Device, Host};
use super::roster::{Item, Table};
use super::{World, n};
use groups_internal_native::engine::{Replaced, TakenIn, take_in};

impl World {
    /// A user logs in with a client that knows a version of the roster. Prosody lets nobody in whose roster it cannot
    /// read, but does with a broken one that it has in its cache.
    pub fn login(&mut self, user: &str) {
        let user = n(user);
        assert!(self.host.accounts.contains(&user), "only accounts can log in");
        if !self.host.sessions.contains_key(&user) {
            let cached = self.host.cache.get(&user).cloned();
            let table = cached.clone().unwrap_or_else(|| Rc::new(RefCell::new(self.host.read(&user))));
            if cached.is_none() && table.borrow().broken {
                return;
            }
            self.host.sessions.insert(user.clone(), Rc::clone(&table));
            if cached.is_none() {
                let unsaved = table.borrow().unsaved;
                self.run_in(self.engine.roster_loaded(user.clone(), unsaved), Some(&table)).ok();
            }
        }
        self.run(self.engine.user_appeared(user.clone())).ok();
        let table = Rc::clone(&self.host.sessions[&user]);
        self.serve(&user.to_string(), &table);
    }

    /// The client asks for the roster; if it has this version, it gets the short answer.
    fn serve(&mut self, user: &str, table: &Table) {
        let roster = table.borrow().clone();
        if roster.broken {
            return;
        }
        self.host.interested.insert(n(user));
        self.host.note_seen(&n(user), &roster);
        let device = self.host.devices.entry(n(user)).or_default();
        if roster.virtual_version || device.version != Some(roster.served_version()) {
            *device = Device { items: roster.items, version: Some(roster.version.unwrap_or(1)) };
        }
    }

    /// The user's last session ends. What Prosody has not in its cache is gone.
    pub fn logout(&mut self, user: &str) {
        if let Some(table) = self.host.sessions.remove(&n(user)) {
            self.host.interested.remove(&n(user));
            if self.engine.is_unsaved(&n(user)) && !table.borrow().broken {
                self.host.cache.insert(n(user), table);
            }
            self.run(self.engine.user_left(n(user))).ok();
        }
    }

    /// Prosody makes room in its cache.
    pub fn evict(&mut self, user: &str) {
        self.host.cache.remove(&n(user));
    }

    /// Storage gets a roster that a client of long ago, or another module, has made.
    pub fn store_item(&mut self, user: &str, contact: &str, item: Item) {
        let roster = self.host.stored.entry(n(user)).or_default();
        roster.items.insert(n(contact), item);
        roster.bump();
    }

    /// Someone who is online edits one contact: Prosody saves that item, and tells the client.
    pub fn edit(&mut self, user: &str, contact: &str, edit: impl FnOnce(Option<Item>) -> Option<Item>) {
        let Some(table) = self.host.sessions.get(&n(user)).cloned() else { return };
        let (user, contact) = (n(user), n(contact));
        {
            let mut roster = table.borrow_mut();
            let before = roster.items.get(&contact).cloned();
            let cover = roster.overlay.as_ref().and_then(|overlay| overlay.covers.get(&contact)).cloned();
            let edited = edit(before.clone());
            let provenance = roster.provenance.as_ref().map(|text| text.as_bytes());
            let groups = edited.as_ref().map(|item| &item.groups);
            let noted = match (&cover, groups) {
                (None, _) => {
                    self.engine.note_edit(provenance, &contact, before.as_ref().map(Item::facts).as_ref(), groups)
                }
                (Some((labels, Some(below))), Some(groups)) => {
                    self.engine.note_virtual_edit(provenance, &contact, &below.facts(), labels, groups)
                }
                _ => None,
            };
            roster.provenance = noted.unwrap_or(roster.provenance.take());
            match (edited, cover) {
                (item, Some((labels, below))) => {
                    let edit = roster.edits.as_ref().and_then(|edits| edits.get(&contact)).cloned();
                    let name = before.and_then(|before| before.name);
                    let (item, below) = (item.as_ref().map(Item::facts), below.as_ref().map(Item::facts));
                    let replaced = Replaced { labels, name, item, below, edit };
                    let digest = roster.digest();
                    let TakenIn { step, name, digest } = take_in(&contact.to_string(), digest, &replaced);
                    roster.take_step(&contact, &step, name);
                    roster.show(digest);
                }
                (Some(item), None) => drop(roster.items.insert(contact.clone(), item)),
                (None, None) => drop(roster.items.remove(&contact)),
            }
        }
        self.host.save(&user, Some(&contact));
        let roster = table.borrow().clone();
        self.host.note_seen(&user, &roster);
        let device = self.host.devices.entry(user).or_default();
        match roster.items.get(&contact) {
            Some(item) => device.items.insert(contact, item.clone()),
            None => device.items.remove(&contact),
        };
        device.version = roster.version;
    }

    /// The withdrawal of a deleted account is still open for some rosters.
    fn is_being_withdrawn(&self, contact: &Name) -> bool {
        let withdrawals = self.host.marker.as_ref().and_then(|marker| marker.get("withdrawals"));
        withdrawals.is_some_and(|open| open.text_keys().any(|name| name == contact.as_bytes()))
    }

    /// Online, and Prosody would store what the user changes.
    fn can_edit(&self, user: &str) -> bool {
        let online = self.host.sessions.get(&n(user)).is_some_and(|table| !table.borrow().broken);
        online && self.host.has_account(&n(user))
    }

    /// A user gives a contact a name and a group of the user's own; a contact that was none becomes one.
    pub fn name_contact(&mut self, user: &str, contact: &str, name: &str) {
        let (owner, named) = (n(user), n(contact));
        if owner == named || !self.can_edit(user) || self.is_being_withdrawn(&named) {
            return;
        }
        self.edit(user, contact, |item| {
            let item = item.unwrap_or_else(|| Item { ask: true, ..Item::new("none") });
            Some(item.called(name).labelled("Own"))
        });
        self.host.gone.remove(&(owner.clone(), named.clone()));
        self.host.own.insert((owner, named), Item::new("none").called(name).labelled("Own"));
    }

    /// A client takes a contact off the list, which ends the subscriptions of both sides.
    pub fn take_off(&mut self, user: &str, contact: &str) {
        if !self.can_edit(user) {
            return;
        }
        // It comes back with the next login, here and there.
        self.host.spared.extend([n(user), n(contact)]);
        self.engine.spare_contact(&n(user), &n(contact));
        self.edit(user, contact, |_| None);
        self.host.own.remove(&(n(user), n(contact)));
        let Some(table) = self.host.loaded(&n(contact)) else { return };
        if let Some(item) = table.borrow_mut().items.get_mut(&n(user)) {
            item.subscription = "none";
        }
        self.host.save(&n(contact), Some(&n(user)));
        let roster = table.borrow().clone();
        if self.host.sessions.contains_key(&n(contact)) {
            self.host.note_seen(&n(contact), &roster);
            self.host.devices.insert(n(contact), Device { version: roster.version, items: roster.items });
        }
    }

    pub fn register(&mut self, user: &str) {
        self.host.accounts.insert(n(user));
        self.host.vanished.remove(&n(user));
        self.host.gone.retain(|(_, gone)| *gone != n(user));
        self.run(self.engine.user_appeared(n(user))).ok();
    }

    /// An account is deleted: the event, the purge, and the time until it is surely over.
    pub fn delete_account(&mut self, user: &str) {
        self.host.lose_account(user);
        self.host.vanished.remove(&n(user));
        self.run(self.engine.account_deleted(n(user))).ok();
        self.purge(user);
        let ends = self.host.now + 10.0;
        if self.engine.exists(user.as_bytes()) {
            self.settle_within(10.1);
        }
        self.host.now = self.host.now.max(ends);
    }

    /// Prosody removes all records under the name of a deleted account.
    pub fn purge(&mut self, user: &str) {
        let user = n(user);
        self.host.sessions.remove(&user);
        self.host.interested.remove(&user);
        self.host.cache.remove(&user);
        self.host.stored.remove(&user);
        self.host.infos.remove(&user);
        self.host.members.remove(&user);
        self.host.devices.remove(&user);
        self.host.seen.retain(|(owner, _), _| *owner != user);
    }
}

impl Host {
    /// The account is gone; nobody has been told.
    pub fn lose_account(&mut self, user: &str) {
        let user = n(user);
        self.accounts.remove(&user);
        self.vanished.insert(user.clone());
        let groups = self.members.values().filter(|members| members.contains_key(&user));
        let others = groups.flat_map(|members| members.keys()).filter(|member| **member != user);
        self.gone.extend(others.map(|member| (member.clone(), user.clone())));
        self.gone.retain(|(owner, _)| *owner != user);
        self.own.retain(|(owner, contact), _| *owner != user && *contact != user);
    }
}
