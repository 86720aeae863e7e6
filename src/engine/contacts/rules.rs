//! The rules for one contact: how it is brought, relabelled, named, given up and withdrawn.
//!
//! [`decide`] compares what is found of a roster with what a [`Plan`] says it should hold, and answers with the edits
//! that make it so and with the provenance as it is then. Whoever holds the roster decides nothing: contacts that have
//! the usual form already are left out, and the edits are carried out. A second time changes nothing.
//!
//! What counts as brought is said at [`super::provenance`]. The rules for virtual contacts are in [`super::overlay`].

use std::collections::HashMap;

use super::item::{Cover, Edit, Fact, Fate, Item, Labels, OwnEdit, Rename, Step, Subscription};
use super::overlay;
use super::provenance::{Note, Provenance};
use super::versions::Version;
use crate::engine::effect::{Change, Comparison, Naming, Plan, Section, Tie};

/// What becomes of a roster.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    /// What is done to the roster.
    pub(crate) change: Change,
    /// The provenance as it is then.
    pub(crate) provenance: Provenance,
    /// Contacts whose item clients see changed: they are pushed. By the plan's numbers, like those below.
    pub(crate) changed: Vec<u32>,
    /// Contacts whose presence the user can see only from now on.
    pub(crate) gained: Vec<u32>,
    /// Contacts that can see the user's presence only from now on.
    pub(crate) opened: Vec<u32>,
    /// Contacts that groups held before, and that somebody has removed or cancelled since: their rosters may lack the user
    /// as well.
    pub(crate) regained: Vec<u32>,
    /// Contacts whose presence the user can see no longer.
    pub(crate) lost: Vec<u32>,
    /// Contacts that can see the user's presence no longer.
    pub(crate) shut: Vec<u32>,
    /// Contacts that are not as they should be, and of whom no account is known.
    pub(crate) missing: Vec<u32>,
    /// Contacts without a name whose nickname is not known.
    pub(crate) unnamed: Vec<u32>,
    /// Stored items that change.
    pub(crate) stored: Vec<u32>,
    /// Something beside items changes that is stored.
    pub(crate) quiet: bool,
}

/// The labels that groups are about to give a roster's contacts for the first time: which items bear them already has
/// to be known first.
pub(crate) fn new_labels(plan: &Plan, provenance: Option<&Provenance>) -> Labels {
    let empty = Provenance::default();
    let known = provenance.unwrap_or(&empty);
    if plan.virtual_contacts || plan.adopt && provenance.is_none() {
        return Labels::new();
    }
    let brings = plan.sections.iter().filter(|section| section.tie == Tie::Bring);
    let groups = brings.flat_map(|section| &section.groups);
    let new = groups.filter(|(id, label)| known.given_for(id).first() != Some(label));
    new.filter(|(_, label)| !known.is_given_by_others(label, &[])).map(|(_, label)| label.clone()).collect()
}

/// Decides what becomes of a roster. `provenance`: none if the roster has none. `bearers`: the items that bear
/// [`new_labels`].
pub(crate) fn decide(
    plan: &Plan,
    found: &Comparison,
    provenance: Option<Provenance>,
    bearers: &[(String, Item)],
) -> Decision {
    let mut judge = Judge::new(plan, provenance, found.fresh);
    let before = judge.provenance.clone();
    judge.give_labels(bearers);
    let all = in_order(found);
    let (mut rest, mut first) = (&all[..], 0);
    for section in &plan.sections {
        let last = first + section.contacts as u32;
        let (here, later) = rest.split_at(rest.partition_point(|&(number, _)| number <= last));
        judge.judge_section(section, first, here);
        (rest, first) = (later, last);
    }
    judge.reclaim_usual();
    judge.conclude(found, &before)
}

/// The contacts that were found and those of which nothing is there, in the order of their numbers.
fn in_order(found: &Comparison) -> Vec<(u32, Option<&Fact>)> {
    let mut facts = found.facts.iter().peekable();
    let mut all = Vec::with_capacity(found.absent.len() + found.facts.len());
    for &number in &found.absent {
        while let Some(fact) = facts.next_if(|fact| fact.number < number) {
            all.push((fact.number, Some(fact)));
        }
        all.push((number, None));
    }
    all.extend(facts.map(|fact| (fact.number, Some(fact))));
    all
}

pub(super) struct Judge<'a> {
    pub(super) plan: &'a Plan,
    pub(super) provenance: Provenance,
    /// The roster had a provenance.
    known: bool,
    /// It has none, and what bears a label of its groups is the Lua module's work.
    adopts: bool,
    /// The items are as storage has them.
    fresh: bool,
    /// All labels that were given before.
    given: Labels,
    steps: HashMap<(Step, bool), usize>,
    decision: Decision,
}

/// What a section's contacts have in common.
pub(super) struct Common<'a> {
    pub(super) section: &'a Section,
    first: u32,
    /// The labels of the groups that bring them.
    pub(super) labels: Labels,
    /// The labels that were given for these groups, and for those that were left.
    pub(super) given: Labels,
}

/// What storage has of a contact, and what clients see of it.
pub(super) struct Outcome {
    pub(super) stored: Option<Item>,
    pub(super) shown: Option<Item>,
    pub(super) cover: Cover,
    pub(super) edit: Option<OwnEdit>,
}

impl Outcome {
    /// Clients see what storage has.
    pub(super) fn stored(stored: Option<Item>, edit: Option<OwnEdit>) -> Outcome {
        Outcome { shown: stored.clone(), stored, cover: Cover::Keep, edit }
    }

    /// The same, and what the user made of the contact when it was virtual is kept.
    pub(super) fn plain(stored: Option<Item>, fact: &Fact) -> Outcome {
        Outcome::stored(stored, fact.edit.clone())
    }
}

impl Section {
    /// A contact's item as it is but for a crash.
    pub(super) fn as_ended(&self, item: &Item) -> Item {
        match self.ended {
            true => Item { subscription: Subscription::None, ask: false, ..item.clone() },
            false => item.clone(),
        }
    }
}

impl Common<'_> {
    /// What the user made of the contact when it was virtual. It goes with the contact's account.
    pub(super) fn edit_of<'f>(&self, fact: &'f Fact) -> Option<&'f OwnEdit> {
        fact.edit.as_ref().filter(|_| !self.section.anew)
    }
}

impl<'a> Judge<'a> {
    fn new(plan: &'a Plan, provenance: Option<Provenance>, fresh: bool) -> Judge<'a> {
        let known = provenance.is_some();
        let adopts = plan.adopt && !known;
        let provenance = provenance.unwrap_or_default();
        let mut given = provenance.given();
        if adopts {
            let labels = plan.sections.iter().flat_map(|section| section.groups.iter().map(|(_, label)| label));
            given.extend(labels.chain(plan.sections.iter().flat_map(|section| &section.left_labels)).cloned());
        }
        Judge { plan, provenance, known, adopts, fresh, given, steps: HashMap::new(), decision: Decision::default() }
    }

    /// Notes the labels that contacts are given. Where a label is given for the first time, an item that bears it
    /// already does so by the user's choice.
    fn give_labels(&mut self, bearers: &[(String, Item)]) {
        let new = new_labels(self.plan, self.known.then_some(&self.provenance));
        for (contact, item) in bearers {
            for label in item.groups.intersection(&new) {
                self.provenance.note_choice(contact, Some(item), label, &self.given);
            }
        }
        if self.plan.virtual_contacts {
            return;
        }
        for section in self.plan.sections.iter().filter(|section| section.tie == Tie::Bring) {
            for (id, label) in &section.groups {
                if self.provenance.given_for(id).first() != Some(label) {
                    self.provenance.give_label(id, label);
                }
            }
        }
    }

    /// `first`: the number before the section's own.
    fn judge_section(&mut self, section: &Section, first: u32, found: &[(u32, Option<&Fact>)]) {
        let labels: Labels = section.groups.iter().map(|(_, label)| label.clone()).collect();
        let ids = section.groups.iter().map(|(id, _)| id).chain(&section.left);
        let mut given: Labels = ids.flat_map(|id| self.provenance.given_for(id)).cloned().collect();
        if self.adopts {
            given.extend(labels.iter().chain(&section.left_labels).cloned());
        }
        if section.anew {
            given.extend(self.given.iter().cloned());
        }
        let common = Common { section, first, labels, given };
        // Those that have no item take the same step, but for the name.
        let mut usual = [None; 2];
        for &(number, fact) in found.iter().filter(|(_, fact)| fact.is_some() || section.tie == Tie::Bring) {
            let contact = self.plan.contacts[number as usize - 1].to_string();
            let name = self.name_for(&common, number, &contact);
            if section.tie == Tie::Bring && !section.verified {
                let name = name.as_deref();
                let usual = fact.is_some_and(|fact| fact.is_usual(self.plan, section, &common.labels, name));
                if !usual {
                    self.decision.missing.push(number);
                    if let Some(item) = fact.and_then(Fact::stored) {
                        self.reclaim(&common, &section.as_ended(item), &contact);
                    }
                }
                continue;
            }
            let usual = &mut usual[usize::from(name.is_some())];
            match (fact, *usual) {
                (Some(fact), _) => drop(self.judge(&common, fact, &contact, name)),
                (None, Some(place)) => self.put_likewise(place, number, &contact, name),
                (None, None) => *usual = self.judge(&common, &Fact { number, ..Fact::default() }, &contact, name),
            }
        }
    }

    /// Decides on one contact. Returns the place of its step.
    fn judge(&mut self, common: &Common, fact: &Fact, contact: &str, name: Option<String>) -> Option<usize> {
        let tie = common.section.tie;
        let outcome = match (self.plan.virtual_contacts, tie) {
            (false, Tie::Bring) => self.bring(common, fact, contact, name.as_deref()),
            (false, Tie::GiveUp) => Outcome::plain(self.give_up(&common.given, fact.stored(), contact), fact),
            (false, Tie::Withdraw) => Outcome::stored(self.withdraw(common.section, fact.stored(), contact), None),
            (false, Tie::Spare) => Outcome::plain(self.spare(common, fact.stored(), contact), fact),
            (true, Tie::Spare) => overlay::spare(self, common, fact, contact),
            (true, Tie::Bring) => overlay::bring(self, common, fact, contact, name.as_deref()),
            (true, Tie::GiveUp) => overlay::give_up(self, common, fact, contact),
            (true, Tie::Withdraw) => overlay::withdraw(self, common, fact, contact),
        };
        let nameless = outcome.shown.as_ref().is_some_and(|item| item.name.is_none());
        if tie == Tie::Bring && self.plan.naming == Naming::Nickname && name.is_none() && nameless {
            self.decision.unnamed.push(fact.number);
        }
        // A request of a withdrawn contact may be the next account's.
        if fact.pending && (tie == Tie::Bring || tie == Tie::Withdraw && !common.section.verified) {
            self.decision.change.answered.push(fact.number);
            self.decision.quiet = true;
        }
        self.take_step(tie, fact, outcome)
    }

    /// The name that a contact gets if it has none of the user's own, as far as it is known.
    fn name_for(&self, common: &Common, number: u32, contact: &str) -> Option<String> {
        match self.plan.naming {
            Naming::None => None,
            Naming::Username => Some(contact.to_owned()),
            Naming::Nickname => common.section.names.get((number - common.first) as usize - 1)?.clone(),
        }
        .filter(|_| common.section.tie == Tie::Bring)
    }

    /// Brings a contact of which nothing is there, like one before it.
    fn put_likewise(&mut self, place: usize, number: u32, contact: &str, name: Option<String>) {
        if !self.plan.virtual_contacts {
            self.note_put(number, contact, name.as_deref());
            self.decision.stored.push(number);
        }
        self.decision.changed.push(number);
        self.decision.gained.push(number);
        let unnamed = self.plan.naming == Naming::Nickname && name.is_none();
        self.decision.unnamed.extend(unnamed.then_some(number));
        let edit = &mut self.decision.change.edits[place];
        edit.contacts.push(number);
        edit.names.extend(name.map(Some));
    }

    /// Compares a contact with what is to become of it. Returns the place of its step, if it takes one.
    fn take_step(&mut self, tie: Tie, fact: &Fact, outcome: Outcome) -> Option<usize> {
        let Outcome { stored, shown, cover, edit } = outcome;
        let decision = &mut self.decision;
        let (before, after) = (fact.item.as_ref(), shown.as_ref());
        if before != after {
            decision.changed.push(fact.number);
            let saw = before.is_some_and(Item::sees);
            let sees = after.is_some_and(Item::sees);
            decision.gained.extend((sees && !saw).then_some(fact.number));
            let was_seen = before.is_some_and(Item::is_seen);
            let is_seen = after.is_some_and(Item::is_seen);
            let opens = before.is_some() && !was_seen && is_seen;
            decision.opened.extend((tie == Tie::Bring && opens).then_some(fact.number));
            decision.lost.extend((tie == Tie::GiveUp && saw && !sees).then_some(fact.number));
            decision.shut.extend((tie == Tie::GiveUp && was_seen && !is_seen).then_some(fact.number));
        }
        let fate = Fate::between(fact.stored(), stored.as_ref());
        if fate != Fate::Keep {
            decision.stored.push(fact.number);
        }
        let name = match (&cover, &fate) {
            (Cover::Show { .. }, _) => shown.and_then(|item| item.name),
            (_, Fate::Alter { name: Rename::Give, .. }) => stored.and_then(|item| item.name),
            _ => None,
        };
        let edit = (edit != fact.edit).then_some(edit);
        // A version stands for what the user has made of contacts as well, and that is stored apart.
        decision.quiet |= edit.is_some();
        let step = Step { fate, cover, edit };
        if step == Step::default() {
            return None;
        }
        let edits = &mut decision.change.edits;
        let place = match self.steps.get(&(step.clone(), name.is_some())) {
            Some(&place) => place,
            None => {
                // What one user's edits say of a contact is a table in Lua, which no two contacts may have in common.
                if !matches!(step.edit, Some(Some(_))) {
                    self.steps.insert((step.clone(), name.is_some()), edits.len());
                }
                edits.push(Edit { step, ..Edit::default() });
                edits.len() - 1
            }
        };
        edits[place].contacts.push(fact.number);
        edits[place].names.extend(name.map(Some));
        Some(place)
    }

    /// Notes that a contact is put into the roster anew.
    fn note_put(&mut self, number: u32, contact: &str, name: Option<&str>) {
        let removed = self.provenance.put(contact);
        self.decision.regained.extend(removed.then_some(number));
        if let Some(name) = name {
            self.provenance.give_name(contact, name);
        }
    }

    /// Brings a contact that is stored: with subscription `both`, no request, and the labels of its groups.
    ///
    /// What the user has put on it stays, a name and roster groups. Labels that these groups gave before go, but for
    /// those that are the user's choice. If the contact is the user's own, a note says what it was. Where the
    /// subscription is less than `both` later on, somebody has ended it, and the note says so.
    fn bring(&mut self, common: &Common, fact: &Fact, contact: &str, name: Option<&str>) -> Outcome {
        let mut item = match fact.stored() {
            Some(item) => {
                let item = &common.section.as_ended(item);
                let bears = self.reclaim(common, item, contact);
                self.provenance.confirm(contact);
                let was_held = bears || self.provenance.note(contact).is_some();
                // A new account's roster is reconciled anyway.
                let is_less = item.subscription != Subscription::Both && !common.section.anew;
                self.decision.regained.extend((was_held && is_less).then_some(fact.number));
                self.note_own(item, contact);
                item.clone()
            }
            None => {
                self.note_put(fact.number, contact, None);
                Item::default()
            }
        };
        let chosen = self.provenance.chosen(contact);
        item.subscription = Subscription::Both;
        item.ask = false;
        item.groups.retain(|label| !common.given.contains(label) || chosen.contains(label));
        item.groups.extend(common.labels.iter().cloned());
        if let Some(edit) = common.edit_of(fact) {
            // It was virtual before: what the user made of it goes with it into storage.
            item.name = item.name.or_else(|| edit.name.clone());
            item.groups.extend(edit.groups.iter().cloned());
            for label in edit.groups.intersection(&self.provenance.given()) {
                self.provenance.note_choice(contact, Some(&item), label, &common.labels);
            }
        }
        if let Some(name) = name
            && item.name.as_deref() != Some(name)
            && !self.provenance.is_named(contact, item.name.as_deref())
        {
            self.provenance.give_name(contact, name);
            item.name = Some(name.to_owned());
        }
        Outcome::stored(Some(item), None)
    }

    /// Notes what a contact of the user's own was before groups brought it.
    fn note_own(&mut self, item: &Item, contact: &str) {
        let note = self.provenance.note(contact);
        let own = match note {
            None => !item.bears_any(&self.given),
            Some(note) => !note.brought,
        };
        if own {
            let note = note.cloned().unwrap_or_default();
            let subscription = note.subscription.unwrap_or(Subscription::Both).common(item.subscription);
            let subscription = Some(subscription).filter(|&subscription| subscription != Subscription::Both);
            let ask = item.ask || note.ask && item.sees();
            self.provenance.set_note(contact, Some(Note { subscription, ask, ..note }));
        }
    }

    /// Gives a contact up that groups bring no more. The labels that were `given` for them go, but for the user's
    /// choice, and
    /// - a contact that another group has left behind keeps the rest;
    /// - one of the user's own goes back to the subscription and the request that are noted, less what somebody has
    ///   ended since;
    /// - a brought one to which the user has given a name or a roster group stays with subscription `none`;
    /// - any other brought one goes.
    ///
    /// A name that this module has given goes as well. What has been given up is the user's from then on. It is given
    /// up again only if storage turns out to have it as it was: it bears a label still, or is as [`Note::predated_by`] says.
    pub(super) fn give_up(&mut self, given: &Labels, stored: Option<&Item>, contact: &str) -> Option<Item> {
        let before = stored?;
        let note = self.provenance.note(contact).cloned();
        let chosen = self.provenance.chosen(contact);
        let goes = |label: &&String| given.contains(*label) && !chosen.contains(*label);
        let bears = before.groups.iter().any(|label| goes(&label));
        let brought = match &note {
            None if !bears => return Some(before.clone()),
            None => true,
            Some(note) if self.is_settled(note, before, bears) => return Some(before.clone()),
            Some(note) => note.brought,
        };
        let mut item = before.clone();
        item.groups.retain(|label| !goes(&label));
        let left_behind = |label: &String| self.given.contains(label) && !chosen.contains(label);
        if item.groups.iter().any(left_behind) {
            return Some(item);
        }
        let named = self.provenance.is_named(contact, item.name.as_deref());
        let own = note.unwrap_or_default();
        if brought && item.groups.is_empty() && !named {
            if own.brought || self.provenance.has_name(contact) {
                self.provenance.set_note(contact, Some(Note { brought: true, released: true, ..own }));
            }
            return None;
        }
        if brought {
            item.subscription = Subscription::None;
            item.ask = false;
        } else {
            item.subscription = own.subscription.unwrap_or(Subscription::Both).common(before.subscription);
            item.ask = before.ask || own.ask && before.sees();
        }
        if !named {
            item.name = None;
        }
        self.provenance.set_note(contact, Some(Note { brought, released: true, ..own }));
        Some(item)
    }

    /// Whether an item is as it was when groups gave it up, or as its user has made it since: what the note says of it
    /// is done.
    fn is_settled(&self, note: &Note, item: &Item, bears: bool) -> bool {
        note.released && !bears && !(self.fresh && note.predated_by(item))
    }

    /// Takes the labels of groups that were left off a contact that is as its user has made it for the session. Where
    /// these are all that it bears, a note says that it was brought.
    pub(super) fn spare(&mut self, common: &Common, stored: Option<&Item>, contact: &str) -> Option<Item> {
        let mut item = stored?.clone();
        let chosen = self.provenance.chosen(contact);
        let given = |id: &String, label: &String| self.provenance.given_for(id).contains(label);
        let Section { left, groups, .. } = common.section;
        item.groups.retain(|label| {
            let goes = left.iter().any(|id| given(id, label)) && !groups.iter().any(|(id, _)| given(id, label));
            !goes || chosen.contains(label)
        });
        let bore = stored.is_some_and(|item| item.bears_any(&self.given));
        if bore && !item.bears_any(&self.given) && self.provenance.note(contact).is_none() {
            self.provenance.set_note(contact, Some(Note { brought: true, ..Note::default() }));
        }
        Some(item)
    }

    /// Withdraws a contact whose account is gone. All labels that were ever given go, but for the user's choice. One of
    /// the user's own, or that the user has named or put into a roster group, stays with subscription `none`, as
    /// Prosody would have it; any other goes. Without provenance, what bears a label of the user's groups and has
    /// subscription `both` counts as brought.
    ///
    /// Where there is a new account of that name, the user's own contact goes back to the subscription that is noted:
    /// Prosody has ended that to the former one, and the two may have befriended each other since, unless nobody has
    /// seen the roster since a crash.
    pub(super) fn withdraw(&mut self, section: &Section, stored: Option<&Item>, contact: &str) -> Option<Item> {
        let before = stored?;
        let note = self.provenance.note(contact).cloned();
        let chosen = self.provenance.chosen(contact);
        let both = before.subscription == Subscription::Both;
        let given = |label: &String| {
            if self.known { self.given.contains(label) } else { both && section.left_labels.contains(label) }
        };
        let goes = |label: &&String| given(label) && !chosen.contains(*label);
        let bears = before.groups.iter().any(|label| goes(&label));
        let mut item = section.as_ended(before);
        if note.is_none() && !bears {
            return Some(item);
        }
        let own = note.as_ref().is_some_and(|note| !note.brought);
        item.groups.retain(|label| !goes(&label));
        let named = self.provenance.is_named(contact, item.name.as_deref());
        let least =
            note.as_ref().filter(|note| !self.is_settled(note, before, bears)).and_then(|note| note.subscription);
        if note.is_some() || self.provenance.has_name(contact) {
            let brought = !own;
            self.provenance.set_note(contact, Some(Note { brought, released: true, ..note.unwrap_or_default() }));
        }
        if !(own || named || self.known && !item.groups.is_empty()) {
            return None;
        }
        if own && section.verified {
            item.subscription = least.unwrap_or(Subscription::Both).common(item.subscription);
        } else {
            item.subscription = Subscription::None;
            item.ask = false;
        }
        if !named {
            item.name = None;
        }
        Some(item)
    }

    /// Takes back the note that a contact was given up, where groups bring it again and its `item` is as it was brought:
    /// it was given up in memory only. It does not matter whether there is an account. True if it bears a label that was
    /// given.
    fn reclaim(&mut self, common: &Common, item: &Item, contact: &str) -> bool {
        let chosen = self.provenance.chosen(contact);
        let bears = item.groups.iter().any(|label| common.given.contains(label) && !chosen.contains(label));
        self.provenance.reclaim(contact, |note| bears || note.predated_by(item));
        bears
    }

    /// The same for contacts that have the usual form.
    fn reclaim_usual(&mut self) {
        if self.plan.virtual_contacts || self.provenance.released().next().is_none() {
            return;
        }
        let mut contacts = (1..).zip(&self.plan.contacts);
        for section in &self.plan.sections {
            for (number, contact) in contacts.by_ref().take(section.contacts) {
                if section.tie == Tie::Bring && self.decision.missing.binary_search(&number).is_err() {
                    self.provenance.reclaim(&contact.to_string(), |_| true);
                }
            }
        }
    }

    /// Takes the next version if anything changes that is stored: a number never stands for two contents.
    fn conclude(mut self, found: &Comparison, before: &Provenance) -> Decision {
        let provenance_changed = self.provenance != *before;
        let decision = &mut self.decision;
        decision.quiet |= self.known && provenance_changed || self.adopts && self.provenance != Provenance::default();
        let is_fixed = found.version == Version::Fixed;
        decision.quiet |= found.is_torn(self.plan) && !is_fixed;
        // They are pushed, and the last push takes a version that is to be stored.
        decision.quiet |= !found.uncovered.is_empty();
        let stores = decision.quiet || !decision.stored.is_empty();
        let change = &mut decision.change;
        change.unsaved = stores;
        change.provenance = provenance_changed.then(|| self.provenance.to_text());
        if self.plan.virtual_contacts {
            change.digest = Some(self.plan.digest);
        }
        let next = (found.version.number() + 1).max(self.plan.version);
        change.version = (stores && !is_fixed).then_some(next);
        if decision.missing.is_empty() && decision.unnamed.is_empty() {
            change.stamp = self.plan.stamp;
        }
        decision.provenance = self.provenance;
        self.decision
    }
}
