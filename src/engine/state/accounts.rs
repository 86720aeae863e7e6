//! What is known of accounts.
//!
//! Only a deletion says that an account is gone. Any other negative answer means that nobody knows of it: a directory
//! that is down answers so for everybody.

use std::collections::BTreeSet;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::engine::State;
use crate::engine::effect::{Effect, Reply};
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;

/// How long it is believed that an account does not exist, in seconds, unless something says otherwise. Asking costs a
/// storage or network call for each of a group's missing members at each login.
const ABSENCE_BELIEVED: f64 = 60.0;

/// Which accounts are known to exist.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    present: FxHashSet<UserKey>,
    /// With the time until which it is believed.
    absent: FxHashMap<UserKey, f64>,
    /// Deleted, whatever anyone answers: a session may outlive its account for a moment.
    deleted: FxHashSet<UserKey>,
    /// Members without an account, as far as is known.
    pub(crate) awaiting: BTreeSet<UserKey>,
    /// Those of them who had an account before. With virtual contacts, no roster in storage tells of it.
    pub(crate) lost: BTreeSet<UserKey>,
    /// Grows with every change that can bring a contact into a plan.
    pub(crate) changes: u64,
}

impl Accounts {
    pub(crate) fn is_present(&self, user: UserKey) -> bool {
        self.present.contains(&user)
    }

    pub(crate) fn is_deleted(&self, user: UserKey) -> bool {
        self.deleted.contains(&user)
    }

    pub(crate) fn is_absent(&self, user: UserKey, now: f64) -> bool {
        self.deleted.contains(&user) || self.absent.get(&user).is_some_and(|&until| now < until)
    }

    /// Whether the account was deleted, or was asked for in vain, however long ago. Whom the marker awaits may have one by
    /// now.
    pub(crate) fn is_missing(&self, user: UserKey) -> bool {
        self.deleted.contains(&user) || self.absent.contains_key(&user)
    }

    /// Takes in what Prosody answered when asked for the account.
    pub(crate) fn learn(&mut self, user: UserKey, present: bool, now: f64) {
        if self.deleted.contains(&user) {
            return;
        }
        if present {
            self.changes += u64::from(self.present.insert(user));
            self.absent.remove(&user);
        } else {
            self.absent.insert(user, now + ABSENCE_BELIEVED);
        }
    }

    /// Notes that the account exists: it has been made, or used.
    pub(crate) fn appear(&mut self, user: UserKey) {
        self.doubt(user);
        self.changes += u64::from(self.present.insert(user));
    }

    /// Notes that the account has been deleted.
    pub(crate) fn delete(&mut self, user: UserKey) {
        self.present.remove(&user);
        self.absent.remove(&user);
        self.deleted.insert(user);
        self.changes += 1;
    }

    /// Forgets that an account is known.
    pub(crate) fn forget(&mut self, user: UserKey) {
        self.present.remove(&user);
    }

    /// Forgets that an account was not found, or was deleted: it is asked for when it is next needed.
    pub(crate) fn doubt(&mut self, user: UserKey) {
        let left_out = self.deleted.remove(&user) | self.absent.remove(&user).is_some();
        self.changes += u64::from(left_out);
    }
}

impl Call {
    /// Whether a user has an account. Only a yes is certain.
    pub(crate) async fn has_account(&self, user: UserKey) -> bool {
        let now = self.now();
        {
            let mut state = self.state();
            if state.accounts.is_present(user) {
                return true;
            }
            if state.accounts.is_absent(user, now) {
                state.await_account(user);
                return false;
            }
        }
        self.ask_accounts(&[user]).await
    }

    /// Whether any of these users has an account. Those of whom it is not known are asked for.
    pub(crate) async fn any_has_account(&self, users: &[UserKey]) -> bool {
        let unknown: Vec<_> = {
            let state = self.state();
            users.iter().copied().filter(|&user| !state.accounts.is_present(user)).collect()
        };
        let found = !unknown.is_empty() && self.ask_accounts(&unknown).await;
        found || unknown.len() < users.len()
    }

    /// Asks which users have accounts; true if any has.
    pub(crate) async fn ask_accounts(&self, users: &[UserKey]) -> bool {
        let names = self.state().directory.names(users);
        let reply = self.perform(Effect::FindAccounts(names)).await;
        let now = self.now();
        let mut state = self.state();
        let Reply::Flags(flags) = reply else {
            users.iter().for_each(|&user| state.await_account(user));
            return false;
        };
        for (&user, &present) in users.iter().zip(&flags) {
            state.accounts.learn(user, present, now);
            if !present {
                state.await_account(user);
            } else if state.accounts.awaiting.contains(&user) {
                // Other rosters lack it as well: settling its own roster queues them.
                state.work.enqueue([user], now);
            }
        }
        flags.contains(&true)
    }
}

impl State {
    /// Notes that an account that was known is not found any more: it was deleted without an event, or the directory is
    /// down.
    pub(crate) fn lose_sight(&mut self, user: UserKey) {
        self.accounts.forget(user);
        self.await_account(user);
    }

    /// Notes that nobody knows of this account. A member's account is asked for again at the next sync; its first use
    /// is noticed as well.
    fn await_account(&mut self, user: UserKey) {
        if !self.directory.groups_of(user).is_empty() && self.accounts.awaiting.insert(user) {
            self.work.news = true;
            if !self.stores_contacts() {
                self.accounts.lost.insert(user);
            }
        }
    }
}
