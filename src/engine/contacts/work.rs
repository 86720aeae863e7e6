//! Open work on rosters: which are queued, in work, failing or unsaved.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::{FxHashMap, FxHashSet};

use super::plan::Scope;
use crate::engine::state::directory::UserKey;
use crate::engine::state::filled;

/// How long background work waits for more of the same burst, in seconds.
const QUIET: f64 = 0.05;

/// How long background work waits at the most while bursts go on, in seconds.
const PATIENCE: f64 = 2.0;

/// An in-memory roster's changes that are not in storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsaved {
    /// Only this contact changed.
    Contact(UserKey),
    /// More than that did.
    All,
}

/// Where one roster is on its way into storage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Stage {
    /// No work is open for it.
    #[default]
    Idle,
    /// It waits for the background work.
    Queued,
    /// The background work has read it from storage in its last turn, to settle it in the next.
    Fetched,
    /// An operation is settling it. It stays here if the operation dies.
    InHand,
    /// It could not be read or saved, or its account is not known: it is tried again at this time, in seconds.
    Failing(f64),
}

/// What is open for one roster.
#[derive(Clone, Debug, Default, PartialEq)]
struct Open {
    stage: Stage,
    /// It is to be settled once more after the operation that is settling it.
    again: bool,
    /// Its changes that are in memory only.
    unsaved: Option<Unsaved>,
    /// An operation is saving it. This stays set if the operation dies: nobody knows then what is in storage.
    saving: bool,
    /// How long it rested after it failed last, in seconds: the next pause is longer.
    pause: Option<f64>,
    /// The log has warned of it.
    warned: bool,
}

/// Rosters in memory to be reconciled at once, first come, first served, each once.
#[derive(Debug, Default)]
pub(crate) struct Urgent {
    order: VecDeque<UserKey>,
    scopes: FxHashMap<UserKey, Scope>,
}

impl Urgent {
    /// Queues a roster. If it is queued already, it keeps its place.
    pub(crate) fn add(&mut self, user: UserKey, scope: Scope) {
        if let Some(queued) = self.scopes.get_mut(&user) {
            *queued = queued.and(scope);
            return;
        }
        self.scopes.insert(user, scope);
        self.order.push_back(user);
    }

    pub(crate) fn pop(&mut self) -> Option<(UserKey, Scope)> {
        let user = self.order.pop_front()?;
        Some((user, self.scopes.remove(&user)?))
    }

    /// Takes a roster out of its turn.
    pub(crate) fn take(&mut self, user: UserKey) -> Option<Scope> {
        let scope = self.scopes.get(&user).copied();
        self.remove(user);
        scope
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn remove(&mut self, user: UserKey) {
        if self.scopes.remove(&user).is_some() {
            self.order.retain(|&other| other != user);
        }
    }
}

/// The time that operations may use for what clients wait for, in the turns of the event loop that they are called in.
/// It is used up by a caller that makes many calls in one turn, and comes back with time.
#[derive(Debug, Default)]
pub(crate) struct Credit {
    used: f64,
    seen: f64,
}

impl Credit {
    /// Which part of the time that passes comes back.
    const RETURN: f64 = 0.25;

    /// The most that counts as used, in seconds: an operation that has waited for storage has not held anything up.
    const MOST_USED: f64 = 0.05;

    /// How much of `all` is left, in seconds.
    pub(crate) fn left(&mut self, all: f64, now: f64) -> f64 {
        self.used = (self.used - (now - self.seen).max(0.0) * Self::RETURN).max(0.0);
        self.seen = now;
        all - self.used
    }

    pub(crate) fn note_use(&mut self, seconds: f64) {
        self.used = (self.used + seconds.max(0.0)).min(Self::MOST_USED);
    }

    /// Gives all back: a new turn of the event loop has begun.
    pub(crate) fn renew(&mut self) {
        self.used = 0.0;
    }
}

/// The open work on all rosters. What of it must survive a crash is in the marker; the rest follows from it.
#[derive(Debug, Default)]
pub(crate) struct Work {
    open: BTreeMap<UserKey, Open>,
    /// Those that are queued, for they may be many.
    queued: BTreeSet<UserKey>,
    /// The one that is fetched.
    fetched: Option<UserKey>,
    /// Of whose damage the log was told, and of which.
    damaged: FxHashSet<(UserKey, &'static str)>,
    /// Rosters in memory to be reconciled at once, in turn.
    pub(crate) urgent: Urgent,
    /// How much time callers' operations still have for that.
    pub(crate) credit: Credit,
    /// Something has happened since the settled groups were last struck off the marker.
    pub(crate) news: bool,
    /// When the background work goes on, in seconds.
    pub(crate) due: f64,
    burst_began: Option<f64>,
}

impl Work {
    fn set_stage(&mut self, user: UserKey, stage: Stage) {
        let open = self.open.entry(user).or_default();
        open.stage = stage;
        if stage == Stage::Queued {
            self.queued.insert(user);
        } else {
            self.queued.remove(&user);
        }
        if stage == Stage::Fetched {
            self.fetched = Some(user);
        } else {
            self.fetched.take_if(|fetched| *fetched == user);
        }
        if *open == Open::default() {
            self.open.remove(&user);
        }
    }

    fn stage(&self, user: UserKey) -> Stage {
        self.open.get(&user).map_or(Stage::Idle, |open| open.stage)
    }

    /// Queues rosters for the background work. One that fails is tried again anyway.
    pub(crate) fn enqueue(&mut self, users: impl IntoIterator<Item = UserKey>, now: f64) {
        for user in users {
            match self.stage(user) {
                Stage::Idle => self.set_stage(user, Stage::Queued),
                Stage::Fetched | Stage::InHand => self.open.entry(user).or_default().again = true,
                Stage::Queued | Stage::Failing(_) => {}
            }
        }
        self.news = true;
        self.expect_more(now);
    }

    /// Puts the background work off: more of the same burst may come.
    pub(crate) fn expect_more(&mut self, now: f64) {
        let began = *self.burst_began.get_or_insert(now);
        self.due = self.due.max((now + QUIET).min(began + PATIENCE));
    }

    /// The next roster for the background work: one that failed a while ago, or one that is queued and that
    /// `may_change` tells of, or one whose operation died, as `abandoned` tells.
    pub(crate) fn next(
        &mut self,
        now: f64,
        mut may_change: impl FnMut(UserKey) -> bool,
        mut abandoned: impl FnMut(UserKey) -> bool,
    ) -> Option<UserKey> {
        self.burst_began = None;
        let due = |open: &Open| matches!(open.stage, Stage::Failing(retry_at) if retry_at <= now);
        let retried = || self.open.iter().find(|(_, open)| due(open)).map(|(&user, _)| user);
        let queued = || self.queued.iter().copied().find(|&user| may_change(user));
        let left = || self.in_hand().find(|&user| abandoned(user));
        self.fetched.or_else(retried).or_else(queued).or_else(left)
    }

    fn in_hand(&self) -> impl Iterator<Item = UserKey> {
        self.open.iter().filter(|(_, open)| open.stage == Stage::InHand).map(|(&user, _)| user)
    }

    /// When the background work has something to do, in seconds: now, or when a roster that failed is tried again, or
    /// after `busy_pause` when operations are settling all that is open.
    pub(crate) fn next_time(&self, now: f64, busy_pause: f64) -> Option<f64> {
        if !self.queued.is_empty() || self.fetched.is_some() || self.news {
            return Some(self.due);
        }
        let time = |open: &Open| match open.stage {
            Stage::InHand => Some(now + busy_pause),
            Stage::Failing(retry_at) => Some(retry_at.max(self.due)),
            _ => None,
        };
        self.open.values().filter_map(time).reduce(f64::min)
    }

    /// Rosters that storage may not have as they should be.
    pub(crate) fn busy(&self) -> BTreeSet<UserKey> {
        let busy = |open: &Open| open.stage != Stage::Idle || open.unsaved.is_some();
        let open = self.open.iter().filter(|(_, open)| busy(open)).map(|(&user, _)| user);
        filled(open.chain(self.urgent.order.iter().copied()))
    }

    /// Whether there is anything to do about a roster.
    pub(crate) fn is_open(&self, user: UserKey) -> bool {
        self.open.contains_key(&user) || self.urgent.scopes.contains_key(&user)
    }

    /// How many rosters are tried again later, because they failed.
    pub(crate) fn failing(&self) -> usize {
        self.open.values().filter(|open| matches!(open.stage, Stage::Failing(_))).count()
    }

    /// Notes that an operation begins to settle a roster.
    pub(crate) fn take_in_hand(&mut self, user: UserKey) {
        self.set_stage(user, Stage::InHand);
        self.open.entry(user).or_default().again = false;
    }

    pub(crate) fn is_in_hand(&self, user: UserKey) -> bool {
        matches!(self.stage(user), Stage::InHand | Stage::Fetched)
    }

    /// Notes that the background work has read a roster that it will settle in its next turn.
    pub(crate) fn note_fetched(&mut self, user: UserKey) {
        self.set_stage(user, Stage::Fetched);
    }

    pub(crate) fn is_fetched(&self, user: UserKey) -> bool {
        self.fetched == Some(user)
    }

    /// Ends an operation's work on a roster. What changed meanwhile is work for the next one.
    pub(crate) fn let_go(&mut self, user: UserKey) {
        let open = self.open.entry(user).or_default();
        let again = std::mem::take(&mut open.again) || open.unsaved.is_some();
        match open.stage {
            Stage::InHand if again => self.set_stage(user, Stage::Queued),
            Stage::InHand => self.set_stage(user, Stage::Idle),
            stage => self.set_stage(user, stage),
        }
    }

    /// Puts a roster off that cannot be settled now: it is tried again after a `pause` in seconds.
    pub(crate) fn postpone(&mut self, user: UserKey, pause: f64, now: f64) {
        self.set_stage(user, Stage::Failing(now + pause));
    }

    /// Puts a roster off of which another operation has the turn. One that it has in hand is settled once more then.
    pub(crate) fn leave_to_other(&mut self, user: UserKey, pause: f64, now: f64) {
        match self.stage(user) {
            Stage::InHand => self.open.entry(user).or_default().again = true,
            _ => self.postpone(user, pause, now),
        }
    }

    /// Tries a roster again after a `pause` in seconds, unless it is to be settled once more anyway.
    pub(crate) fn try_again(&mut self, user: UserKey, pause: f64, now: f64) {
        let again = self.open.get(&user).is_some_and(|open| open.again);
        if !again && self.stage(user) == Stage::InHand {
            self.postpone(user, pause, now);
        }
    }

    /// Forgets that a roster failed: the next pause is the first one again.
    pub(crate) fn forgive(&mut self, user: UserKey) {
        if let Some(open) = self.open.get_mut(&user) {
            (open.pause, open.warned) = (None, false);
        }
    }

    /// How many rosters cannot be read or saved.
    pub(crate) fn warned(&self) -> usize {
        self.open.values().filter(|open| open.warned).count()
    }

    /// Whether the log is to be told that something stored with a roster is damaged: once.
    pub(crate) fn warn_of_damage(&mut self, user: UserKey, what: &'static str) -> bool {
        self.damaged.insert((user, what))
    }

    /// Notes that a roster failed: it is tried again after `first` seconds, and then after twice as long each time, up
    /// to `longest`. Returns whether the log is to be told.
    pub(crate) fn note_failure(&mut self, user: UserKey, first: f64, longest: f64, now: f64) -> bool {
        let open = self.open.entry(user).or_default();
        let pause = open.pause.map_or(first, |pause| (pause * 2.0).min(longest));
        open.pause = Some(pause);
        let news = !std::mem::replace(&mut open.warned, true);
        self.postpone(user, pause, now);
        news
    }

    /// Notes what changed in a roster in memory.
    pub(crate) fn note_unsaved(&mut self, user: UserKey, changed: &[UserKey], now: f64) {
        let open = self.open.entry(user).or_default();
        let only = match (changed, open.unsaved) {
            (&[contact], None) => Unsaved::Contact(contact),
            (&[contact], Some(Unsaved::Contact(other))) if other == contact => Unsaved::Contact(contact),
            _ => Unsaved::All,
        };
        open.unsaved = Some(only);
        if !self.is_in_hand(user) {
            self.enqueue([user], now);
        }
    }

    pub(crate) fn is_unsaved(&self, user: UserKey) -> bool {
        self.open.get(&user).is_some_and(|open| open.unsaved.is_some())
    }

    /// Whether a roster failed, and is tried again later.
    pub(crate) fn is_put_off(&self, user: UserKey) -> bool {
        matches!(self.stage(user), Stage::Failing(_))
    }

    /// Rosters with changes in memory only.
    pub(crate) fn unsaved(&self) -> Vec<UserKey> {
        self.open.iter().filter(|(_, open)| open.unsaved.is_some()).map(|(&user, _)| user).collect()
    }

    /// What is to be saved of a roster: all of it, if an operation that was saving it died.
    pub(crate) fn begin_save(&mut self, user: UserKey) -> Option<Unsaved> {
        let open = self.open.get_mut(&user)?;
        let changed = open.unsaved.take();
        let changed = if open.saving { Some(Unsaved::All) } else { changed };
        open.saving = changed.is_some();
        changed
    }

    /// Notes that a roster could not be saved.
    pub(crate) fn note_lost_save(&mut self, user: UserKey) {
        self.open.entry(user).or_default().unsaved = Some(Unsaved::All);
    }

    /// Notes that a roster is settled in storage. It may have changed again during the save.
    pub(crate) fn note_settled(&mut self, user: UserKey) {
        if let Some(open) = self.open.get_mut(&user) {
            (open.saving, open.pause, open.warned) = (false, None, false);
            if let Stage::Failing(_) = open.stage {
                self.set_stage(user, Stage::Idle);
            }
        }
    }

    /// Forgets all work on a roster that is gone.
    pub(crate) fn drop_roster(&mut self, user: UserKey) {
        self.open.remove(&user);
        self.queued.remove(&user);
        self.fetched.take_if(|fetched| *fetched == user);
        self.urgent.remove(user);
    }
}
