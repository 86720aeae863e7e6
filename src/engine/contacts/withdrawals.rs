//! Withdrawals: accounts that are gone, and the contact lists that may still hold them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::state::directory::UserKey;

/// For each contact list, the accounts that are gone and that it may still hold.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals {
    /// As far as storage is concerned.
    open: BTreeMap<UserKey, BTreeSet<UserKey>>,
    /// Those of which the list in memory holds nothing any more: groups have brought the next account of that name.
    replaced: BTreeSet<(UserKey, UserKey)>,
    /// Those to which the list may still have subscriptions, until it is compared: what Prosody did in a process that
    /// was killed may be lost, and it ends none for an account whose list had the owner through groups only.
    former: BTreeSet<(UserKey, UserKey)>,
    /// Those whose subscriptions were ended in the list in memory. What is read of storage has them again, and Prosody,
    /// which found none to end, does not.
    compared: BTreeSet<(UserKey, UserKey)>,
}

impl Withdrawals {
    pub(crate) fn add(&mut self, owner: UserKey, gone: UserKey) {
        self.open.entry(owner).or_default().insert(gone);
        self.replaced.remove(&(owner, gone));
        self.compared.remove(&(owner, gone));
    }

    /// Takes up what a former process has left.
    pub(crate) fn take_up(&mut self, owner: UserKey, gone: UserKey) {
        self.add(owner, gone);
        self.former.insert((owner, gone));
    }

    /// Takes up that Prosody does not end the subscriptions between the two, if the list may hold the account.
    pub(crate) fn note_unended(&mut self, owner: UserKey, gone: UserKey) {
        if self.of(owner).any(|other| other == gone) {
            self.former.insert((owner, gone));
        }
    }

    /// Whether the list may still have subscriptions to the account. Nobody has seen it since.
    pub(crate) fn is_former(&self, owner: UserKey, gone: UserKey) -> bool {
        self.former.contains(&(owner, gone))
    }

    /// Notes that the list in memory was compared: from now on it has what users make of it.
    pub(crate) fn note_compared(&mut self, owner: UserKey, gone: UserKey) {
        self.former.remove(&(owner, gone));
        self.compared.insert((owner, gone));
    }

    /// The accounts that are gone and that a user's list may still hold in storage.
    pub(crate) fn of(&self, owner: UserKey) -> impl Iterator<Item = UserKey> {
        self.open.get(&owner).into_iter().flatten().copied()
    }

    /// Those of them that the list in memory may hold as well.
    pub(crate) fn in_memory(&self, owner: UserKey) -> impl Iterator<Item = UserKey> {
        self.of(owner).filter(move |&gone| !self.replaced.contains(&(owner, gone)))
    }

    /// Notes that groups have brought the next account of that name into the list in memory.
    pub(crate) fn note_replaced(&mut self, owner: UserKey, gone: UserKey) {
        self.replaced.insert((owner, gone));
    }

    /// Notes that a list was read from storage.
    pub(crate) fn note_read(&mut self, owner: UserKey) {
        self.replaced.retain(|&(other, _)| other != owner);
        self.former.extend(self.compared.iter().filter(|&&(other, _)| other == owner));
        self.compared.retain(|&(other, _)| other != owner);
    }

    /// Notes that a list without these accounts is in storage.
    pub(crate) fn note_done(&mut self, owner: UserKey, withdrawn: &BTreeSet<UserKey>) {
        if let Some(open) = self.open.get_mut(&owner) {
            open.retain(|gone| !withdrawn.contains(gone));
            if open.is_empty() {
                self.open.remove(&owner);
            }
        }
        for &gone in withdrawn {
            self.replaced.remove(&(owner, gone));
            self.former.remove(&(owner, gone));
            self.compared.remove(&(owner, gone));
        }
    }

    /// Forgets a list that is gone.
    pub(crate) fn forget_roster(&mut self, owner: UserKey) {
        self.open.remove(&owner);
        for set in [&mut self.replaced, &mut self.former, &mut self.compared] {
            set.retain(|&(other, _)| other != owner);
        }
    }

    /// Whose lists may still hold whom.
    pub(crate) fn all(&self) -> impl Iterator<Item = (UserKey, &BTreeSet<UserKey>)> {
        self.open.iter().map(|(&owner, gone)| (owner, gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::directory::Directory;
    use crate::engine::state::name::Name;

    fn users() -> [UserKey; 3] {
        let mut directory = Directory::default();
        ["ann", "bob", "carl"].map(|user| directory.intern(&Name::from(user)))
    }

    #[test]
    fn what_a_killed_process_has_left_is_told_from_the_rest_until_the_list_is_compared() {
        let [ann, bob, carl] = users();
        let mut withdrawals = Withdrawals::default();
        withdrawals.take_up(ann, bob);
        withdrawals.add(ann, carl);
        withdrawals.take_up(bob, carl);
        let former = |withdrawals: &Withdrawals| {
            [(ann, bob), (ann, carl), (bob, carl)].map(|(owner, gone)| withdrawals.is_former(owner, gone))
        };
        assert_eq!(former(&withdrawals), [true, false, true]);
        withdrawals.note_compared(ann, bob);
        assert_eq!(former(&withdrawals), [false, false, true]);
        assert_eq!(withdrawals.of(ann).collect::<Vec<_>>(), [bob, carl], "storage may hold both still");
        withdrawals.note_read(bob);
        assert_eq!(former(&withdrawals), [false, false, true]);
        withdrawals.note_read(ann);
        assert_eq!(former(&withdrawals), [true, false, true], "storage has the subscriptions still");
        withdrawals.note_done(ann, &[bob].into());
        withdrawals.forget_roster(bob);
        assert_eq!(former(&withdrawals), [false; 3]);
    }

    #[test]
    fn an_account_whose_subscriptions_prosody_does_not_end_counts_as_left_by_a_killed_process() {
        let [ann, bob, _] = users();
        let mut withdrawals = Withdrawals::default();
        withdrawals.note_unended(ann, bob);
        assert!(!withdrawals.is_former(ann, bob), "the list does not hold it");
        withdrawals.add(ann, bob);
        withdrawals.note_unended(ann, bob);
        assert!(withdrawals.is_former(ann, bob));
    }

    #[test]
    fn an_account_that_was_brought_anew_is_withdrawn_from_storage_and_from_what_is_read_of_it() {
        let [ann, bob, carl] = users();
        let mut withdrawals = Withdrawals::default();
        for (owner, gone) in [(ann, bob), (ann, carl), (bob, carl)] {
            withdrawals.add(owner, gone);
            withdrawals.note_replaced(owner, gone);
        }
        let in_memory =
            |withdrawals: &Withdrawals| [ann, bob].map(|owner| withdrawals.in_memory(owner).collect::<Vec<_>>());
        assert_eq!(in_memory(&withdrawals), [vec![], vec![]]);
        assert_eq!(withdrawals.of(ann).collect::<Vec<_>>(), [bob, carl]);
        withdrawals.note_done(ann, &[carl].into());
        assert_eq!(in_memory(&withdrawals), [vec![], vec![]], "the rest is as it was");
        assert_eq!(withdrawals.all().collect::<Vec<_>>(), [(ann, &[bob].into()), (bob, &[carl].into())]);
        withdrawals.note_read(ann);
        assert_eq!(in_memory(&withdrawals), [vec![bob], vec![]]);
        withdrawals.add(bob, carl);
        assert_eq!(in_memory(&withdrawals)[1], [carl], "it is gone once more");
    }
}
