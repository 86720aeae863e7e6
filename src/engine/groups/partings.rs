//! Partings begin here: when members leave a group, the contacts that it has brought are given up on both sides.

use std::collections::BTreeSet;

use crate::engine::contacts::plan::Scope;
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::{Error, Name, State};

impl Call {
    /// Notes the parting of these members in the marker before they leave the group. The caller has the group's turn.
    ///
    /// Where the option says that contacts stay, that holds for those who leave now. Partings of those who left before
    /// go on.
    pub(crate) async fn note_parting(&self, id: &Name, leavers: Vec<UserKey>) -> Result<(), Error> {
        let Some(&last) = leavers.last() else { return Ok(()) };
        let takes_back = {
            let mut state = self.state();
            let takes_back = state.options.remove_contacts || state.options.virtual_contacts;
            if takes_back {
                // If they do not leave after all, it is struck.
                state.partings.note(id, leavers.iter().copied());
            } else {
                state.partings.note_stayed(id, leavers.iter().copied());
            }
            state.work.news |= state.partings.is_open(id);
            if !state.stores_contacts() {
                return Ok(());
            }
            if takes_back && !state.marks_leaving(id, &leavers) {
                let State { directory, partings, .. } = &mut *state;
                partings.note_ahead(directory, id, last);
            }
            takes_back
        };
        let noted = |state: &State| {
            if takes_back { state.marks_leaving(id, &leavers) } else { state.marks_staying(id, &leavers) }
        };
        let stored = self.take_turn_and_store_marker(noted).await;
        let Err(reason) = stored else { return Ok(()) };
        self.refuse_unmarked(&reason).await
    }

    /// Queues the rosters in memory that a parting concerns, after [`State::begin_parting`]. `leaver`: the member that
    /// left, if it was one only.
    pub(crate) async fn part(&self, id: &Name, leaver: Option<UserKey>) {
        let concerned: Vec<_> = {
            let state = self.state();
            state.partings.concerned(&state.directory, id).into_iter().collect()
        };
        let scope = |owner| leaver.filter(|&leaver| leaver != owner).map_or(Scope::All, Scope::Contact);
        let loaded = self.queue_loaded(concerned.clone(), scope).await;
        let mut state = self.state();
        if !state.stores_contacts() {
            // Virtual contacts are in memory or nowhere.
            let offline = concerned.into_iter().filter(|user| !loaded.contains(user));
            offline.for_each(|user| state.partings.forget_roster(user));
        }
    }
}

impl State {
    /// Whether the marker in storage has all these as leavers of a group.
    fn marks_leaving(&self, id: &Name, users: &[UserKey]) -> bool {
        users.iter().all(|&user| self.lists(self.marker.partings.get(id), user))
    }

    /// Whether the marker in storage has all these as users who leave a group and keep its contacts.
    fn marks_staying(&self, id: &Name, users: &[UserKey]) -> bool {
        let (leaving, staying) = (self.marker.partings.get(id), self.marker.stayed.get(id));
        let is_open = self.partings.is_open(id);
        users.iter().all(|&user| !self.lists(leaving, user) && (!is_open || self.lists(staying, user)))
    }

    fn lists(&self, names: Option<&BTreeSet<Name>>, user: UserKey) -> bool {
        names.is_some_and(|names| names.contains(&self.directory.user_name(user)))
    }

    /// Begins the parting of members who have left a group: queues every roster that it concerns. The caller has the
    /// group's turn, without which the parting would look done.
    pub(crate) fn begin_parting(&mut self, id: &Name, now: f64) {
        let stores = self.stores_contacts();
        let State { directory, partings, work, .. } = self;
        let concerned = partings.concerned(directory, id);
        partings.review_all(concerned.iter().copied());
        if stores {
            work.enqueue(concerned, now);
        }
    }
}
