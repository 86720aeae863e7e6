//! Reconciliation: one roster in memory is compared with what it should hold, and changed where it differs.
//!
//! A load, a change of membership and the background work all call [`Call::reconcile`]. Nothing else writes contacts.

use crate::engine::contacts::plan::{Planned, Scope};
use crate::engine::contacts::provenance::Provenance;
use crate::engine::contacts::rules::{Decision, decide, new_labels};
use crate::engine::effect::{Comparison, Effect, Level, Reply, Tie};
use crate::engine::operation::Call;
use crate::engine::state::directory::{GroupKey, UserKey};
use crate::engine::state::name::nickname;
use crate::engine::{Item, Name, State};

/// How many nicknames are asked for in one go: each may be read from storage.
const NICKNAMES_AT_ONCE: usize = 32;

/// The outcome of a reconciliation: the roster in memory holds what it should.
pub(crate) struct Reconciled {
    /// Its provenance, if the roster was compared.
    pub(crate) provenance: Option<Provenance>,
}

/// What became of an attempt to reconcile.
enum Attempt {
    Done(Box<Decision>),
    /// What the user has made of virtual contacts was read first. Storage may have waited, and the plan may be old.
    Read,
    /// The roster is not in memory, or cannot be reconciled now.
    Impossible,
}

impl Call {
    /// Reconciles a roster in memory. `None` if it is not there, or cannot be reconciled now. A roster from which
    /// groups take nothing and to which they bring nothing is compared only if it `must` be.
    pub(crate) async fn reconcile(&self, user: UserKey, scope: Scope, must: bool) -> Option<Reconciled> {
        let doubtful = self.state().doubtful(user, self.now());
        if !doubtful.is_empty() {
            self.ask_accounts(&doubtful).await;
        }
        // The version of a virtual list is made of all that groups bring.
        let all = self.state().options.virtual_contacts && scope != Scope::Removals;
        let scope = if all { Scope::All } else { scope };
        // It may show contacts that are not virtual any more.
        let must = must || self.state().unsettled.was_virtual && !all;
        let mut reconciled = Reconciled { provenance: None };
        let mut asked = false;
        // Again where contacts are missing or have no name, once their accounts and nicknames have been asked for.
        for split in [false, true, true] {
            let (planned, decision) = loop {
                let planned = self.state().plan(user, scope, split, self.now());
                let Some(planned) = planned else {
                    let now = self.now();
                    self.state().work.enqueue([user], now);
                    return None;
                };
                if planned.plan.contacts.is_empty() && !must {
                    return Some(reconciled);
                }
                match self.attempt(user, &planned).await {
                    Attempt::Done(decision) => break (planned, decision),
                    Attempt::Read => {}
                    Attempt::Impossible => return None,
                }
            };
            let missing = planned.resolve(&decision.missing);
            let unnamed = planned.resolve(&decision.unnamed);
            reconciled.provenance = Some(decision.provenance);
            let ask = !unnamed.is_empty() && !asked;
            if ask {
                asked = true;
                self.ask_nicknames(&unnamed[..unnamed.len().min(NICKNAMES_AT_ONCE)]).await;
            } else if !unnamed.is_empty() {
                let now = self.now();
                self.state().work.enqueue([user], now);
            }
            let found = !missing.is_empty() && self.any_has_account(&missing).await;
            if !found && !ask {
                break;
            }
        }
        Some(reconciled)
    }

    async fn attempt(&self, user: UserKey, planned: &Planned) -> Attempt {
        let name = self.state().directory.user_name(user);
        let review = self.state().partings.review(user);
        let mut reply = self.perform(Effect::Compare(name.clone(), planned.plan.clone())).await;
        if reply == Reply::Unread {
            reply = match self.perform(Effect::ReadEdits(name.clone())).await {
                Reply::Done => return Attempt::Read,
                Reply::Damaged => {
                    let text = "what the user has made of virtual contacts is damaged in the store groups_contacts";
                    self.warn_of_damage(user, &name, text, "what is wrong there is dropped").await;
                    return Attempt::Read;
                }
                failed => failed,
            };
        }
        if !self.state().stores_contacts() && matches!(reply, Reply::Compared(_) | Reply::Absent) {
            self.state().partings.note_reviewed(user, review);
        }
        match reply {
            Reply::Compared(found) => self.change(user, name, planned, &found).await,
            Reply::Broken => {
                self.fail_broken(user, name).await;
                Attempt::Impossible
            }
            Reply::Failed(reason) => {
                self.fail(user, &reason).await;
                Attempt::Impossible
            }
            _ => Attempt::Impossible,
        }
    }

    /// Decides what becomes of a roster that was compared, and changes it. Nothing here waits, so that what
    /// was found still holds.
    async fn change(&self, user: UserKey, name: Name, planned: &Planned, found: &Comparison) -> Attempt {
        let host = self.state().host.clone();
        let provenance = found.provenance.as_ref().map(|text| Provenance::parse(&text.0, &host));
        let (provenance, damage) = match provenance.transpose() {
            Ok(provenance) => (provenance, None),
            Err(damage) => (None, Some(damage)),
        };
        let labels = new_labels(&planned.plan, provenance.as_ref());
        let bearers = self.find_bearers(&name, labels.clone()).await;
        let mut decision = decide(&planned.plan, found, provenance, &bearers);
        if damage.is_some() {
            decision.change.provenance = Some(decision.provenance.to_text());
        }
        if decision.change != Default::default() {
            let change = decision.change.clone();
            if let Reply::Failed(reason) = self.perform(Effect::Change(name.clone(), change)).await {
                self.fail(user, &reason).await;
                return Attempt::Impossible;
            }
        }
        let now = self.now();
        self.state().note_decision(user, planned, &decision, found, now);
        if let Some(damage) = damage {
            let text = "what it remembers of groups is damaged and is dropped; nothing is taken back on its account";
            self.warn_of_damage(user, &name, text, &damage.to_string()).await;
        }
        Attempt::Done(Box::new(decision))
    }

    /// Tells the log, once, that something stored with a roster is damaged.
    async fn warn_of_damage(&self, user: UserKey, name: &Name, text: &'static str, detail: &str) {
        if self.state().work.warn_of_damage(user, text) {
            self.log(Level::Warn, format!("The contact list of {name}: {text} ({detail})")).await;
        }
    }

    /// The items of a roster in memory that bear any of these labels.
    pub(crate) async fn find_bearers(&self, name: &Name, labels: crate::engine::Labels) -> Vec<(String, Item)> {
        if labels.is_empty() {
            return Vec::new();
        }
        match self.perform(Effect::FindBearers(name.clone(), labels)).await {
            Reply::Items(items) => items,
            _ => Vec::new(),
        }
    }

    /// Asks what users are called.
    pub(crate) async fn ask_nicknames(&self, users: &[UserKey]) {
        let names = self.state().directory.names(users);
        let reply = self.perform(Effect::FindNicknames(names)).await;
        let mut state = self.state();
        let found = if let Reply::Texts(texts) = reply { texts } else { Vec::new() };
        let found = found.into_iter().map(|text| nickname(&text?.0));
        users.iter().zip(found.chain(std::iter::repeat(None))).for_each(|(&user, nickname)| {
            state.nicknames.learn(user, nickname);
        });
    }
}

impl State {
    /// Notes what was changed in a roster in memory: what is to be saved, and what clients are to be told.
    fn note_decision(&mut self, user: UserKey, planned: &Planned, decision: &Decision, found: &Comparison, now: f64) {
        let mut changed = planned.resolve(&decision.changed);
        let mut contacts = &planned.contacts[..];
        for section in &planned.plan.sections {
            let (here, later) = contacts.split_at(section.contacts);
            let is_brought = section.tie == Tie::Bring && section.verified;
            let is_replaced = section.anew && is_brought;
            if is_replaced {
                here.iter().for_each(|&contact| self.withdrawals.note_replaced(user, contact));
            }
            if is_replaced || section.tie == Tie::Withdraw {
                here.iter().for_each(|&contact| self.withdrawals.note_compared(user, contact));
            }
            contacts = later;
        }
        if decision.change.unsaved {
            let stored = if found.is_torn(&planned.plan) { Vec::new() } else { planned.resolve(&decision.stored) };
            self.work.note_unsaved(user, &stored, now);
            self.versions.note(user, decision.change.version.unwrap_or_default());
            self.doubt_counterparts(user, &changed, planned.resolve(&decision.regained), now);
        }
        if !found.online {
            return;
        }
        for contact in planned.resolve(&decision.lost) {
            self.outbox.note_absence(user, contact);
        }
        // The contact's list may keep the user: it was left behind there by another group.
        for contact in planned.resolve(&decision.shut) {
            self.outbox.note_absence(contact, user);
        }
        for (contact, fact) in &found.uncovered {
            let Some(contact) = self.directory.find_user(contact) else { continue };
            changed.push(contact);
            let (shown, stored) = (fact.item.as_ref(), fact.below.as_ref());
            if shown.is_some_and(Item::sees) && !stored.is_some_and(Item::sees) {
                self.outbox.note_absence(user, contact);
            }
            if shown.is_some_and(Item::is_seen) && !stored.is_some_and(Item::is_seen) {
                self.outbox.note_absence(contact, user);
            }
        }
        if !changed.is_empty() {
            self.outbox.pushes.add(user, changed);
        }
        for contact in planned.resolve(&decision.gained) {
            self.outbox.presences.add_once(contact, user);
            // Where lists wait for a sync, the contact may have had the user for long.
            if self.unsettled.one_sided {
                self.outbox.presences.add_once(user, contact);
            }
        }
        for contact in planned.resolve(&decision.opened) {
            self.outbox.presences.add_once(user, contact);
        }
    }

    /// Queues the rosters of contacts that somebody else has changed: a user has taken a contact off the list, or ended a
    /// subscription, and Prosody has changed the contact's roster too, which has to be reconciled as well. That is so of
    /// those that get back what groups had brought, and of all where no shared group is unsettled.
    fn doubt_counterparts(&mut self, user: UserKey, changed: &[UserKey], regained: Vec<UserKey>, now: f64) {
        let State { directory, unsettled, .. } = &*self;
        let open = |group: &GroupKey| unsettled.groups.contains_key(group) && directory.is_member(*group, user);
        let settled = |contact: &UserKey| !directory.groups_of(*contact).iter().any(open);
        let doubted: Vec<_> = changed.iter().copied().filter(settled).chain(regained).collect();
        self.doubt_contacts(user, &doubted, now);
    }

    /// Queues the rosters of contacts that groups bring a user: they may lack the user.
    pub(crate) fn doubt_contacts(&mut self, user: UserKey, contacts: &[UserKey], now: f64) {
        let State { directory, unsettled, work, .. } = self;
        let brought = |contact: &UserKey| directory.share_a_group(user, *contact);
        let doubted: Vec<_> = contacts.iter().copied().filter(brought).collect();
        if doubted.is_empty() {
            return;
        }
        for &group in directory.groups_of(user) {
            if doubted.iter().any(|&contact| directory.is_member(group, contact)) {
                unsettled.groups.entry(group).or_insert(false);
            }
        }
        work.enqueue(doubted, now);
    }
}
