//! Reconciliation: bringing rosters to what they should hold, at once, on load, and in the background.
//!
//! All three stages go through [`Call::reconcile`]; nothing else writes contacts.

use crate::engine::contacts::plan::{Planned, Scope};
use crate::engine::contacts::rosters::Unsaved;
use crate::engine::effect::{Changes, Effect, Level, Push, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Answer, Engine, Name, Operation, Phase, State, Text, display_name};

/// How long one turn of the event loop is used for what clients wait for, in seconds, with all that the operation did
/// before. It is what the save of a large roster takes; between two turns the event loop is idle for a millisecond.
const URGENT_BUDGET: f64 = 0.008;

/// How long it is used for that at the least: an operation that has waited for storage does not know when its turn began.
const LEAST_BUDGET: f64 = 0.003;

/// After how long background work ends its turn, in seconds. The save that was begun by then may take longer.
const BACKGROUND_BUDGET: f64 = 0.001;

/// How long background work rests, in parts of the time it took.
const REST: f64 = 1.0;

/// When a roster that failed is tried again, in seconds; the pause doubles up to the longest.
const FIRST_PAUSE: f64 = 10.0;
const LONGEST_PAUSE: f64 = 600.0;

/// When a roster that another operation is at is looked at again, in seconds.
const BUSY_PAUSE: f64 = 1.0;

/// How a roster is brought up to date in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// In one go.
    Now,
    /// In several turns of the event loop, if it takes long.
    InTurns,
}

/// How many nicknames are asked for in one go: each may be read from storage.
const NICKNAMES_AT_ONCE: usize = 32;

impl Engine {
    /// Does a slice of the work on rosters that is open. [`Engine::next_work`] tells when to do the next.
    pub fn work(&self) -> Operation {
        self.start(|call| async move {
            call.ready().await?;
            call.settle_urgent().await;
            call.finish_departures().await;
            call.settle_background().await;
            Ok(Answer::Done)
        })
    }

    /// In how many seconds [`Engine::work`] is to be called, if at all.
    pub fn next_work(&self, now: f64) -> Option<f64> {
        let mut state = self.0.state.lock();
        if state.phase != Phase::Ready {
            return None;
        }
        if !state.rosters.is_calm() {
            return Some(0.0);
        }
        if state.turns.is_taken(&Place::Background) {
            return None;
        }
        if !state.rosters.background.is_empty() || state.rosters.news || state.rosters.fetched.is_some() {
            return Some((state.rosters.due - now).max(0.0));
        }
        if !state.rosters.in_hand.is_empty() {
            return Some(BUSY_PAUSE);
        }
        let rosters = &state.rosters;
        let departures = (!rosters.departures.is_empty()).then_some(rosters.departures_due);
        let retried = rosters.failing.values().map(|failure| failure.retry_at.max(rosters.due));
        let next = retried.chain(departures).reduce(f64::min)?;
        Some((next - now).max(0.0))
    }

    /// Saves the rosters that have changes of ours in memory only: before an unload, or before the server stops. After
    /// `seconds` the rest is left to the marker.
    pub fn flush(&self, seconds: f64) -> Operation {
        self.start(move |call| async move {
            let ends = call.now() + seconds;
            let mut unsaved: Vec<_> = call.state().rosters.unsaved.keys().copied().collect();
            unsaved.sort_unstable();
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
    /// Does what cannot wait, up to the budget of this turn of the event loop: rosters in memory, then who is
    /// not seen any more, then pushes, then presence. The order is what keeps a client from hearing of someone it does not know.
    pub(crate) async fn settle_urgent(&self) {
        let ends = (self.began() + URGENT_BUDGET).max(self.now() + LEAST_BUDGET);
        while self.now() < ends {
            let next = self.state().rosters.urgent.pop_front();
            if let Some((user, scope)) = next {
                // Prosody caches rosters of users who do not exist, too.
                if self.has_account(user).await {
                    self.reconcile(user, scope).await;
                }
                continue;
            }
            let next = self.state().take_announcement();
            let Some((effect, user)) = next else { return };
            if let Reply::Pushed(version) = self.perform(effect).await {
                self.state().rosters.note_version(user, version);
            }
        }
    }

    /// Brings rosters up to date in storage, one at a time, until the budget is used up.
    async fn settle_background(&self) {
        let began = self.began();
        // What is urgent may have called before the burst is over.
        if self.now() < self.state().rosters.due {
            return;
        }
        let Some(turn) = self.try_turn(Place::Background) else {
            return;
        };
        while self.now() < began + BACKGROUND_BUDGET && self.state().rosters.is_calm() {
            let next = self.state().next_background(self.now());
            if let Some(user) = next {
                if !self.fetch(user).await {
                    self.settle(user, Pace::InTurns).await;
                }
                continue;
            }
            if self.state().rosters.news {
                let pause = self.clear_marker().await;
                self.state().rosters.due = self.now() + pause;
            }
            break;
        }
        self.rest_after(began);
        self.end(turn).await;
    }

    /// Reads a roster from storage, for the next turn to settle it: either takes as long as the roster is large. False if
    /// there is no need to, and it can be settled now.
    async fn fetch(&self, user: UserKey) -> bool {
        if self.state().rosters.fetched == Some(user) {
            return false;
        }
        // First of all: it is on no other list now, should this operation die.
        self.state().rosters.take_in_hand(user);
        if !self.has_account(user).await {
            return false;
        }
        let name = self.state().directory.user_name(user);
        match self.perform(Effect::LoadRoster(name.clone())).await {
            Reply::Loaded(false) => {
                self.state().rosters.fetched = Some(user);
                return true;
            }
            Reply::Loaded(true) => return false,
            Reply::Failed(reason) => self.fail(user, &reason).await,
            _ => self.fail_broken(user, name).await,
        }
        self.state().rosters.let_go(user);
        true
    }

    /// Leaves the server its share of the time.
    fn rest_after(&self, began: f64) {
        let now = self.now();
        let due = &mut self.state().rosters.due;
        *due = due.max(now + (now - began) * REST);
    }

    /// Loads a roster, reconciles it and saves what changed.
    pub(crate) async fn settle(&self, user: UserKey, pace: Pace) {
        let name = self.state().directory.user_name(user);
        let fetched = self.state().rosters.take_fetched(user);
        let Some(turn) = self.try_turn(Place::Roster(name.clone())) else {
            let now = self.now();
            return self.state().rosters.postpone(user, BUSY_PAUSE, now);
        };
        self.state().rosters.take_in_hand(user);
        if self.has_account(user).await {
            if self.state().rosters.awaiting.contains(&user) {
                self.arrive(user).await;
                self.state().rosters.take_in_hand(user);
            }
            self.settle_stored(user, name, fetched, Scope::All, pace).await;
        } else if self.state().rosters.removals(user).is_empty() {
            self.leave_open(user);
        } else {
            self.settle_stored(user, name, fetched, Scope::Removals, pace).await;
        }
        self.state().rosters.let_go(user);
        self.end(turn).await;
    }

    /// Leaves a roster whose account nobody knows to the next sync or login.
    fn leave_open(&self, user: UserKey) {
        let now = self.now();
        let rosters = &mut self.state().rosters;
        rosters.failing.remove(&user);
        if !rosters.removals(user).is_empty() {
            rosters.postpone(user, LONGEST_PAUSE, now);
        }
    }

    /// `fetched`: the roster is in memory because the background work has read it.
    async fn settle_stored(&self, user: UserKey, name: Name, fetched: bool, scope: Scope, pace: Pace) {
        let kept = match self.perform(Effect::LoadRoster(name.clone())).await {
            Reply::Loaded(kept) => kept && !fetched,
            Reply::Failed(reason) => return self.fail(user, &reason).await,
            _ => return self.fail_broken(user, name).await,
        };
        // Before the plan is made: what is added while the roster is compared has not been dealt with.
        let removed = self.state().rosters.removals(user);
        let was_unsaved = self.state().rosters.unsaved.contains_key(&user);
        if !self.reconcile(user, scope).await {
            let now = self.now();
            let rosters = &mut self.state().rosters;
            if !rosters.background.contains(&user) && !rosters.failing.contains_key(&user) {
                rosters.postpone(user, BUSY_PAUSE, now);
            }
            return;
        }
        if pace == Pace::InTurns && !was_unsaved && self.now() > self.began() + BACKGROUND_BUDGET {
            let rosters = &mut self.state().rosters;
            if rosters.unsaved.contains_key(&user) {
                // Changing a large roster takes as long as saving it: that is for the next turn.
                if !kept {
                    rosters.fetched = Some(user);
                }
                return;
            }
        }
        let (changed, only) = {
            let mut state = self.state();
            let changed = state.rosters.take_unsaved(user);
            let only = match changed {
                Some(Unsaved::Contact(contact)) if state.options.row_writes => Some(state.directory.user_name(contact)),
                _ => None,
            };
            (changed, only)
        };
        if changed.is_some() {
            match self.perform(Effect::SaveRoster(name.clone(), only)).await {
                Reply::Saved => {}
                Reply::Absent => {
                    self.state().lose_sight(user);
                    return self.leave_open(user);
                }
                Reply::Unsaved(reason, version) => {
                    return self.fail_to_save(user, &reason, version).await;
                }
                Reply::Failed(reason) => return self.fail_to_save(user, &reason, 0).await,
                _ => return self.fail_broken(user, name).await,
            }
        }
        self.state().rosters.note_settled(user, &removed);
        if !kept {
            self.perform(Effect::ReleaseRoster(name)).await;
        }
    }

    /// Compares a roster in memory with what it should hold, and has it changed where it differs. False if the roster is
    /// not in memory, or cannot be dealt with for now.
    pub(crate) async fn reconcile(&self, user: UserKey, scope: Scope) -> bool {
        let doubtful = self.state().doubtful(user, self.now());
        if !doubtful.is_empty() {
            self.ask_accounts(&doubtful).await;
        }
        // Again, when contacts are missing or have no name: it is known then who of them has an account, and what they are called.
        // The version of a virtual list is made of all that groups bring.
        let all = self.state().options.virtual_contacts && scope != Scope::Removals;
        let scope = if all { Scope::All } else { scope };
        let mut asked = false;
        for split in [false, true, true] {
            let planned = self.state().plan(user, scope, split, self.now());
            let Some(planned) = planned else {
                let now = self.now();
                self.state().rosters.enqueue([user], now);
                return false;
            };
            if planned.plan.is_empty() {
                return true;
            }
            let name = self.state().directory.user_name(user);
            let review = self.state().rosters.partings.review(user);
            let mut reply = self.perform(Effect::Reconcile(name.clone(), planned.plan.clone())).await;
            if reply == Reply::Unread {
                reply = match self.perform(Effect::ReadEdits(name.clone())).await {
                    Reply::Done => self.perform(Effect::Reconcile(name.clone(), planned.plan.clone())).await,
                    failed => failed,
                };
            }
            if !self.state().stores_contacts() && matches!(reply, Reply::Changes(_) | Reply::Absent) {
                self.state().rosters.partings.note_reviewed(user, review);
            }
            let changes = match reply {
                Reply::Changes(changes) => changes,
                Reply::Broken => {
                    self.fail_broken(user, name).await;
                    return false;
                }
                Reply::Failed(reason) => {
                    self.fail(user, &reason).await;
                    return false;
                }
                _ => return false,
            };
            let now = self.now();
            self.state().note_changes(user, &planned, &changes, now);
            let missing = planned.resolve(&changes.missing);
            let unnamed = planned.resolve(&changes.unnamed);
            let ask = !unnamed.is_empty() && !asked;
            if ask {
                asked = true;
                self.ask_nicknames(&unnamed[..unnamed.len().min(NICKNAMES_AT_ONCE)]).await;
            } else if !unnamed.is_empty() {
                let now = self.now();
                self.state().rosters.enqueue([user], now);
            }
            let found = !missing.is_empty() && self.any_has_account(&missing).await;
            if !found && !ask {
                return true;
            }
        }
        true
    }

    /// Asks what users are called.
    pub(crate) async fn ask_nicknames(&self, users: &[UserKey]) {
        let names = self.state().directory.names(users);
        let reply = self.perform(Effect::FindNicknames(names)).await;
        let mut state = self.state();
        let found = if let Reply::Texts(texts) = reply { texts } else { Vec::new() };
        let is_name = |text: &Text| display_name(&text.0).is_ok();
        let found = found.into_iter().map(|text| text.filter(is_name)).chain(std::iter::repeat(None));
        users.iter().zip(found).for_each(|(&user, nickname)| state.nicknames.learn(user, nickname));
    }

    async fn fail_broken(&self, user: UserKey, name: Name) {
        self.perform(Effect::ReleaseRoster(name)).await;
        self.fail(user, "Prosody could not read it").await;
    }

    async fn fail_to_save(&self, user: UserKey, reason: &str, version: u64) {
        {
            let rosters = &mut self.state().rosters;
            rosters.unsaved.insert(user, Unsaved::All);
            rosters.note_version(user, version);
        }
        self.fail(user, reason).await;
    }

    /// Leaves a roster alone for a while, with one warning.
    async fn fail(&self, user: UserKey, reason: &str) {
        let (name, first) = {
            let now = self.now();
            let mut state = self.state();
            let rosters = &mut state.rosters;
            let pause = rosters.failing.get(&user).map_or(FIRST_PAUSE, |f| (f.pause * 2.0).min(LONGEST_PAUSE));
            rosters.postpone(user, pause, now);
            (state.directory.user_name(user), state.rosters.warned.insert(user))
        };
        if first {
            let text = "is left as it is and tried again later; check the user's record in the store `roster`";
            self.log(Level::Warn, format!("The contact list of {name} {text}: {reason}")).await;
        }
    }
}

impl State {
    /// The next roster for the background work: one that failed a while ago, or one that is due. None while no roster may
    /// be changed.
    fn next_background(&mut self, now: f64) -> Option<UserKey> {
        let rosters = &mut self.rosters;
        rosters.generation?;
        rosters.begin();
        if rosters.fetched.is_some() {
            return rosters.fetched;
        }
        let retried = rosters.failing.iter_mut().find(|(_, failure)| failure.retry_at <= now);
        if let Some((&user, failure)) = retried {
            // It stays listed, for the pause is to grow should it fail again.
            failure.retry_at = now + failure.pause;
            return Some(user);
        }
        while let Some(user) = rosters.background.pop_first() {
            if !rosters.failing.contains_key(&user) {
                return Some(user);
            }
        }
        let State { directory, rosters, turns, .. } = self;
        let abandoned = |user: &UserKey| !turns.is_taken(&Place::Roster(directory.user_name(*user)));
        rosters.in_hand.iter().copied().find(abandoned)
    }

    fn note_changes(&mut self, user: UserKey, planned: &Planned, changes: &Changes, now: f64) {
        let changed = planned.resolve(&changes.changed);
        if changed.is_empty() && !changes.quiet {
            return;
        }
        if !changes.shown_only {
            let stored = if changes.quiet { &[][..] } else { &changed };
            self.rosters.note_unsaved(user, stored, changes.version, now);
            self.doubt_counterparts(user, &changed, now);
        }
        if !changes.online {
            return;
        }
        for contact in planned.resolve(&changes.lost) {
            self.rosters.absences.add(contact, [user]);
        }
        if !changed.is_empty() {
            self.rosters.pushes.add(user, changed);
        }
        for contact in planned.resolve(&changes.gained) {
            self.rosters.presences.add(contact, [user]);
        }
    }

    /// In groups that are settled, nothing is left to change, unless somebody else was at it: a user has taken a contact off
    /// the list, and Prosody has told the contact's roster, which has to be mended as well.
    fn doubt_counterparts(&mut self, user: UserKey, changed: &[UserKey], now: f64) {
        let unsettled = self.directory.groups_of(user).iter().any(|group| self.rosters.unsettled.contains_key(group));
        if !unsettled && !self.rosters.in_hand.contains(&user) {
            self.doubt_contacts(user, changed, now);
        }
    }

    /// Has the rosters of contacts that groups bring a user gone through.
    pub(crate) fn doubt_contacts(&mut self, user: UserKey, contacts: &[UserKey], now: f64) {
        let State { directory, rosters, .. } = self;
        let brought = |contact: &UserKey| directory.share_a_group(user, *contact);
        let doubted: Vec<_> = contacts.iter().copied().filter(brought).collect();
        if doubted.is_empty() {
            return;
        }
        for &group in directory.groups_of(user) {
            if doubted.iter().any(|&contact| directory.is_member(group, contact)) {
                rosters.unsettled.entry(group).or_insert(false);
            }
        }
        rosters.enqueue(doubted, now);
    }

    /// The next announcement to a client, a few at a time.
    fn take_announcement(&mut self) -> Option<(Effect, UserKey)> {
        let State { directory, rosters, .. } = self;
        if let Some((user, others, _)) = rosters.absences.take() {
            return Some((Effect::SendUnavailable(directory.user_name(user), directory.names(&others)), user));
        }
        if let Some((user, contacts, last)) = rosters.pushes.take() {
            let push = Push { user: directory.user_name(user), contacts: directory.names(&contacts), last };
            return Some((Effect::Push(push), user));
        }
        if let Some((user, others, _)) = rosters.presences.take() {
            return Some((Effect::SendPresence(directory.user_name(user), directory.names(&others)), user));
        }
        let (room, users, _) = rosters.invites.take()?;
        let user = *users.first()?;
        Some((Effect::Invite(room, directory.names(&users)), user))
    }
}
