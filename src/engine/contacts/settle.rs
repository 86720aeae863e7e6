//! Settling: loads rosters, reconciles them and saves them, in the background, at logout and before an unload.

use crate::engine::contacts::plan::Scope;
use crate::engine::contacts::provenance::Provenance;
use crate::engine::contacts::work::Unsaved;
use crate::engine::effect::{Effect, Level, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Answer, Engine, Labels, Name, Operation, Phase, State};

/// How long one turn of the event loop is used for what clients wait for, in seconds, with all that the operation did
/// before. A client's request may wait for two turns; between two the event loop is idle for a millisecond.
const URGENT_BUDGET: f64 = 0.005;

/// The least of that time, in seconds: an operation that has waited for storage does not know when its turn began.
const LEAST_BUDGET: f64 = 0.003;

/// After how long background work ends its turn, in seconds. The save that was begun by then may take longer.
const BACKGROUND_BUDGET: f64 = 0.001;

/// How long background work rests, in parts of the time it took.
const REST: f64 = 1.0;

/// The longest rest, in seconds: work that took longer has waited for storage, and held nothing up meanwhile.
const LONGEST_REST: f64 = 1.0;

/// When a roster that failed is tried again, in seconds; the pause doubles up to the longest.
const FIRST_PAUSE: f64 = 10.0;
const LONGEST_PAUSE: f64 = 600.0;

/// When a roster that another operation is settling is tried again, in seconds.
const BUSY_PAUSE: f64 = 1.0;

/// How a roster is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In one go.
    Now,
    /// In several turns of the event loop, if it takes long.
    InTurns,
}

impl Engine {
    /// Does a slice of the open work: on rosters, for the most part. [`Engine::next_work`] tells when to do the next.
    pub fn work(&self) -> Operation {
        self.start(|call| async move {
            let retry_at = call.state().start.retry_at;
            if retry_at.is_some_and(|time| time <= call.now()) {
                // What failed has been logged.
                call.start().await.ok();
            }
            if call.state().phase != Phase::Ready {
                return Ok(Answer::Done);
            }
            call.restore_endangered().await;
            call.align_restored().await;
            call.state().work.credit.renew();
            call.settle_urgent().await;
            call.finish_deletions().await;
            call.read_again().await;
            call.settle_background().await;
            Ok(Answer::Done)
        })
    }

    /// In how many seconds [`Engine::work`] is to be called, if at all.
    pub fn next_work(&self, now: f64) -> Option<f64> {
        let mut state = self.0.state.lock();
        let work = if state.phase == Phase::Ready { state.next_work(now) } else { None };
        let next = work.into_iter().chain(state.start.retry_at).reduce(f64::min)?;
        Some((next - now).max(0.0))
    }

    /// Reconciles the rosters of two users in memory, if they are queued: the one is about to subscribe to the other,
    /// or the like. What groups have let go before is not to be taken for what the two make of it now. It is saved
    /// first: the note that groups have let go is forgotten now, and Prosody saves the contact only if it changes. If
    /// one of them has still to withdraw the former account of the other, that is struck off the marker: the next start
    /// must not withdraw the new one.
    pub fn subscription_changing(&self, username: Name, contact: Name) -> Operation {
        self.start(move |call| async move {
            let mut is_withdrawn = false;
            for (name, other) in [(&username, &contact), (&contact, &username)] {
                let (user, queued, withdraws) = {
                    let mut state = call.state();
                    let Some(user) = state.directory.find_user(name) else { continue };
                    let other = state.directory.find_user(other);
                    let withdraws = state.withdrawals.of(user).any(|gone| Some(gone) == other);
                    (user, state.work.urgent.take(user), withdraws)
                };
                if let Some(scope) = queued {
                    call.reconcile_urgent(user, scope).await;
                }
                let saves = {
                    let work = &call.state().work;
                    work.is_unsaved(user) && !work.is_put_off(user)
                };
                if withdraws || saves {
                    call.settle(user, Pace::Now).await;
                }
                is_withdrawn |= withdraws;
            }
            if is_withdrawn {
                call.clear_marker().await;
            }
            Ok(Answer::Done)
        })
    }

    /// Saves the rooms and rosters that have changes of this module in memory only: before an unload, or before the
    /// server stops. After `seconds` the rest is left to the marker.
    pub fn flush(&self, seconds: f64) -> Operation {
        self.start(move |call| async move {
            let ends = call.now() + seconds;
            call.save_all_rooms(ends).await;
            let unsaved = call.state().work.unsaved();
            for user in unsaved {
                if call.now() < ends {
                    call.settle(user, Pace::Now).await;
                }
            }
            call.clear_marker().await;
            Ok(Answer::Done)
        })
    }
}

impl Call {
    /// Does what cannot wait, up to the budget of this turn of the event loop: rosters in memory, then who is not seen
    /// any more, then pushes, then presence. The order is what keeps a client from hearing of someone it does not know.
    ///
    /// Of many calls in one turn, the first ones do it all. What later ones leave piles up for the next turn, which
    /// reconciles each roster once: else a user who is added to many groups would be told of all of them each time.
    pub(crate) async fn settle_urgent(&self) {
        let began = self.now();
        let left = self.state().work.credit.left(URGENT_BUDGET, began);
        let ends = (self.began() + URGENT_BUDGET).max(began + LEAST_BUDGET).min(began + left);
        self.settle_urgent_until(ends).await;
        let used = self.now() - began;
        self.state().work.credit.note_use(used);
    }

    async fn settle_urgent_until(&self, ends: f64) {
        while self.now() < ends {
            let next = self.state().work.urgent.pop();
            if let Some((user, scope)) = next {
                self.reconcile_urgent(user, scope).await;
                continue;
            }
            let next = {
                let State { outbox, directory, .. } = &mut *self.state();
                outbox.take(directory)
            };
            let Some((effect, pushed)) = next else {
                return self.state().outbox.note_told();
            };
            let reply = self.perform(effect).await;
            if let Some(user) = pushed {
                self.note_pushed(user, reply);
            }
        }
    }

    async fn reconcile_urgent(&self, user: UserKey, scope: Scope) {
        // Prosody caches rosters of users who do not exist, too.
        if self.has_account(user).await {
            self.reconcile(user, scope, false).await;
        }
    }

    fn note_pushed(&self, user: UserKey, reply: Reply) {
        let versions = &mut self.state().versions;
        match reply {
            Reply::Pushed(version) => versions.note(user, version),
            _ => versions.outdate(user),
        }
    }

    /// Sends a user's pushes, before the roster is saved: the last one takes a new version, which is to be in storage.
    async fn push_all(&self, user: UserKey) {
        loop {
            let next = {
                let State { outbox, directory, .. } = &mut *self.state();
                outbox.take_push(directory, user)
            };
            let Some(effect) = next else { return };
            let reply = self.perform(effect).await;
            self.note_pushed(user, reply);
        }
    }

    /// Settles rosters, one at a time, until the budget is used up.
    async fn settle_background(&self) {
        let began = self.began();
        // Urgent work may start this slice before the burst is over.
        if self.now() < self.state().work.due {
            return;
        }
        let Some(turn) = self.try_turn(Place::Background) else {
            return;
        };
        while self.now() < began + BACKGROUND_BUDGET && self.state().is_calm() {
            if self.save_next_room().await {
                continue;
            }
            let next = self.state().next_background(self.now());
            if let Some(user) = next {
                if !self.fetch(user).await {
                    self.settle(user, Pace::InTurns).await;
                }
                continue;
            }
            if self.state().work.news {
                let pause = self.clear_marker().await;
                self.state().work.due = self.now() + pause;
            }
            break;
        }
        self.rest_after(began);
        self.end(turn).await;
    }

    /// Reads a roster from storage, for the next turn to settle it: either takes as long as the roster is large. False
    /// if the roster need not be read, and can be settled now.
    async fn fetch(&self, user: UserKey) -> bool {
        if self.state().work.is_fetched(user) {
            return false;
        }
        // First of all: if this operation dies, this is what keeps the roster open.
        self.state().work.take_in_hand(user);
        if !self.has_account(user).await {
            return false;
        }
        let name = self.state().directory.user_name(user);
        match self.load_roster(user, &name).await {
            Reply::Loaded(false) => {
                self.state().work.note_fetched(user);
                return true;
            }
            Reply::Loaded(true) => return false,
            Reply::Failed(reason) => self.fail(user, &reason).await,
            _ => self.fail_broken(user, name).await,
        }
        self.state().work.let_go(user);
        true
    }

    /// Loads a roster that is not in memory.
    async fn load_roster(&self, user: UserKey, name: &Name) -> Reply {
        let reply = self.perform(Effect::LoadRoster(name.clone())).await;
        if reply == Reply::Loaded(false) {
            self.state().withdrawals.note_read(user);
        }
        reply
    }

    /// Leaves the server its share of the time.
    fn rest_after(&self, began: f64) {
        let now = self.now();
        let due = &mut self.state().work.due;
        *due = due.max(now + ((now - began) * REST).min(LONGEST_REST));
    }

    /// Loads a roster, reconciles it and saves what changed.
    pub(crate) async fn settle(&self, user: UserKey, pace: Pace) {
        let name = self.state().directory.user_name(user);
        let Some(turn) = self.try_turn(Place::Roster(name.clone())) else {
            let now = self.now();
            return self.state().work.leave_to_other(user, BUSY_PAUSE, now);
        };
        let fetched = self.state().work.is_fetched(user);
        self.state().work.take_in_hand(user);
        if self.has_account(user).await {
            if self.state().accounts.awaiting.contains(&user) {
                self.arrive(user).await;
                self.state().work.take_in_hand(user);
            }
            self.settle_stored(user, name, fetched, Scope::All, pace).await;
        } else if self.state().removals(user).is_empty() {
            self.leave_open(user);
        } else {
            self.settle_stored(user, name, fetched, Scope::Removals, pace).await;
        }
        {
            let mut state = self.state();
            state.work.let_go(user);
            state.work.news = true;
        }
        if self.state().condition.failing > 0 {
            self.show_failing().await;
        }
        self.end(turn).await;
    }

    /// Leaves a roster whose account nobody knows to the next sync or login.
    fn leave_open(&self, user: UserKey) {
        let now = self.now();
        let mut state = self.state();
        state.work.forgive(user);
        if !state.removals(user).is_empty() {
            state.work.postpone(user, LONGEST_PAUSE, now);
        }
    }

    /// `fetched`: the roster is in memory because the background work has read it.
    async fn settle_stored(&self, user: UserKey, name: Name, fetched: bool, scope: Scope, pace: Pace) {
        let kept = match self.load_roster(user, &name).await {
            Reply::Loaded(kept) => kept && !fetched,
            Reply::Failed(reason) => return self.fail(user, &reason).await,
            _ => return self.fail_broken(user, name).await,
        };
        // Before the plan is made: what is added during the comparison is work for the next time.
        let removed = self.state().removals(user);
        let was_unsaved = self.state().work.is_unsaved(user);
        let Some(reconciled) = self.reconcile(user, scope, true).await else {
            let now = self.now();
            return self.state().work.try_again(user, BUSY_PAUSE, now);
        };
        if pace == Pace::InTurns && !was_unsaved && self.now() > self.began() + BACKGROUND_BUDGET {
            let work = &mut self.state().work;
            if work.is_unsaved(user) {
                // Changing a large roster takes as long as saving it: that is for the next turn.
                if !kept {
                    work.note_fetched(user);
                }
                return;
            }
        }
        self.push_all(user).await;
        if !self.save(user, &name, reconciled.provenance).await {
            return;
        }
        {
            let mut state = self.state();
            state.work.note_settled(user);
            state.withdrawals.note_done(user, &removed.withdrawn);
            state.partings.note_reviewed(user, removed.review);
        }
        if !kept {
            self.perform(Effect::ReleaseRoster(name)).await;
        }
    }

    /// Saves what changed in a roster in memory. False if that failed.
    async fn save(&self, user: UserKey, name: &Name, provenance: Option<Provenance>) -> bool {
        let (changed, only) = {
            let mut state = self.state();
            let changed = state.work.begin_save(user);
            let only = match changed {
                Some(Unsaved::Contact(contact)) if state.options.row_writes => Some(state.directory.user_name(contact)),
                _ => None,
            };
            (changed, only)
        };
        if changed.is_none() {
            return true;
        }
        let remembered = self.settle_provenance(user, name, provenance).await;
        match self.perform(Effect::SaveRoster(name.clone(), only, remembered)).await {
            Reply::Saved => return true,
            Reply::Absent => {
                self.state().lose_sight(user);
                self.leave_open(user);
            }
            Reply::Unsaved(reason, version) => self.fail_to_save(user, &reason, version).await,
            Reply::Failed(reason) => self.fail_to_save(user, &reason, 0).await,
            _ => self.fail_broken(user, name.clone()).await,
        }
        false
    }

    /// What a roster needs to remember once it is in storage as it is in memory, if that is less than now.
    async fn settle_provenance(
        &self,
        user: UserKey,
        name: &Name,
        provenance: Option<Provenance>,
    ) -> Option<Option<String>> {
        let mut provenance = provenance?;
        let current = {
            let state = self.state();
            let brought = if state.options.virtual_contacts { &[] } else { state.directory.groups_of(user) };
            let id = |&key| Some(state.directory.group(key)?.id.to_string());
            brought.iter().filter_map(id).collect()
        };
        let outdated = provenance.outdated(&current);
        if outdated.is_empty() && provenance.released().next().is_none() {
            return None;
        }
        let bearers = self.find_bearers(name, outdated).await;
        let borne = bearers.into_iter().flat_map(|(_, item)| item.groups).collect();
        let doubtful = self.state().uncompared(user, provenance.released());
        provenance.forget(&current, &borne, &doubtful);
        Some(provenance.to_text())
    }

    pub(crate) async fn fail_broken(&self, user: UserKey, name: Name) {
        self.perform(Effect::ReleaseRoster(name)).await;
        self.fail(user, "Prosody could not read it").await;
    }

    async fn fail_to_save(&self, user: UserKey, reason: &str, version: u64) {
        {
            let mut state = self.state();
            state.work.note_lost_save(user);
            state.versions.note(user, version);
        }
        self.fail(user, reason).await;
    }

    /// Leaves a roster alone for a while, with one warning.
    pub(crate) async fn fail(&self, user: UserKey, reason: &str) {
        let (name, first) = {
            let now = self.now();
            let mut state = self.state();
            (state.directory.user_name(user), state.work.note_failure(user, FIRST_PAUSE, LONGEST_PAUSE, now))
        };
        if first {
            let text = "is left as it is and tried again later; check the user's record in the store `roster`";
            self.log(Level::Warn, format!("The contact list of {name} {text}: {reason}")).await;
        }
        self.show_failing().await;
    }
}

impl State {
    /// Those of these contacts whom groups bring a user, and of whom no account is known.
    fn uncompared<'c>(&self, user: UserKey, contacts: impl Iterator<Item = &'c str>) -> Labels {
        let State { directory, accounts, .. } = self;
        let is_uncompared =
            |&contact: &UserKey| !accounts.is_present(contact) && directory.share_a_group(user, contact);
        let contacts = contacts.filter_map(|contact| directory.find_user(&Name::from(contact)));
        contacts.filter(is_uncompared).map(|contact| directory.user_name(contact).to_string()).collect()
    }

    /// When there is something to do, in seconds.
    fn next_work(&mut self, now: f64) -> Option<f64> {
        if !self.is_calm() || !self.restored_rooms.is_empty() {
            return Some(now);
        }
        let purges = self.deletions.next_purge();
        if self.turns.is_taken(&Place::Background) {
            return purges;
        }
        let deletions = (!self.deletions.open.is_empty()).then_some(self.deletions.due);
        let rooms = self.room_saves.next_time().map(|time| time.max(self.work.due));
        let rereading = (!self.unreadable.is_empty()).then_some(self.rereading.due);
        let times = [self.work.next_time(now, BUSY_PAUSE), deletions, rooms, rereading, purges];
        times.into_iter().flatten().reduce(f64::min)
    }

    /// Nothing is to be done before the next background work.
    fn is_calm(&self) -> bool {
        self.work.urgent.is_empty() && self.outbox.is_empty()
    }

    /// Notes that a user's last session has ended.
    pub(crate) fn note_departure(&mut self, user: UserKey) {
        if !self.is_calm() {
            self.outbox.note_gone(user);
        }
    }

    /// The next roster for the background work. None while no roster may be changed.
    fn next_background(&mut self, now: f64) -> Option<UserKey> {
        if !self.versions.are_ready() {
            return None;
        }
        let State { directory, work, turns, versions, .. } = self;
        let may_change = |user| versions.floor(user).is_some();
        work.next(now, may_change, |user| !turns.is_taken(&Place::Roster(directory.user_name(user))))
    }
}
