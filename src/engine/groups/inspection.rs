//! What `check` compares with storage, rooms and contact lists: it writes nothing. `repair` does what is done anyway.

use std::collections::{BTreeMap, HashSet};

use crate::engine::contacts::plan::Scope;
use crate::engine::contacts::provenance::Provenance;
use crate::engine::contacts::rules::{decide, new_labels};
use crate::engine::effect::{Effect, Level, Plan, Reply};
use crate::engine::groups::affiliations::align;
use crate::engine::groups::audit::Problem;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Call, Error, Info, Name, Value};

impl Call {
    /// Finds the groups that storage has and memory does not.
    pub(crate) async fn find_unknown_groups(&self, problems: &mut Vec<Problem>) -> Result<(), Error> {
        let ids = match self.perform(Effect::ListGroups).await {
            Reply::Names(ids) => ids,
            other => {
                let text = "The groups in storage cannot be listed, so it cannot be said whether memory knows them";
                self.log(Level::Error, format!("{text}: {}", other.reason())).await;
                return Err(Error::Internal);
            }
        };
        for id in ids {
            if self.state().directory.find(&id).is_some() {
                continue;
            }
            // One that is being created or deleted is in storage only for a moment.
            let turn = self.turn(Place::Group(id.clone())).await?;
            let is_known = self.state().directory.find(&id).is_some();
            let reply = self.perform(Effect::ReadGroup(id.clone())).await;
            self.end(turn).await;
            if !is_known && matches!(reply, Reply::Record { info: Some(_), .. }) {
                problems.push(Problem::GroupUnknown { id });
            }
        }
        Ok(())
    }

    /// Finds what of these groups is otherwise in storage and rooms. `misspelt`: members that are no accounts, which
    /// rooms need not know.
    pub(crate) async fn inspect_groups(
        &self,
        ids: &[Name],
        misspelt: &HashSet<Name>,
        problems: &mut Vec<Problem>,
    ) -> Result<(), Error> {
        for id in ids {
            self.pause().await;
            if self.record_differs(id).await? {
                problems.push(Problem::RecordDiffers { id: id.clone() });
            }
            let Ok((_, info)) = self.find(id) else { continue };
            if !self.lets_members_in(id) {
                continue;
            }
            for jid in info.rooms() {
                let (jids, enforce) = {
                    let state = self.state();
                    let members = state.member_names(id);
                    let members = members.iter().filter(|name| !misspelt.contains(*name));
                    (state.jids(members), state.options.enforce_affiliations)
                };
                // A room that is gone is a problem of its own.
                let Ok((users, others)) = self.read_affiliations(&jid, jids, enforce).await else { continue };
                let users: Vec<_> = align(&users, others).into_iter().map(|shift| shift.jid).collect();
                if !users.is_empty() {
                    problems.push(Problem::AffiliationsDiffer { id: id.clone(), jid, users });
                }
            }
        }
        Ok(())
    }

    /// Whether storage has a group otherwise than memory. Nobody changes the group meanwhile.
    async fn record_differs(&self, id: &Name) -> Result<bool, Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let reply = self.perform(Effect::ReadGroup(id.clone())).await;
        let differs = {
            let state = self.state();
            match (state.directory.find(id), reply) {
                (Some((key, group)), Reply::Record { info, members }) => {
                    let mut stored: Vec<_> = members.iter().flat_map(|members| members.iter()).collect();
                    let mut known: Vec<(Name, Value)> = state.directory.record(key);
                    stored.sort_unstable();
                    known.sort_unstable();
                    info.map(Info::from_value).as_ref() != Some(&group.info) || stored != known
                }
                _ => false,
            }
        };
        self.end(turn).await;
        Ok(differs)
    }

    /// Stores a group as memory has it.
    pub(crate) async fn store_anew(&self, id: &Name) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let known = {
            let state = self.state();
            state.directory.find(id).map(|(key, group)| (group.info.clone(), state.directory.record(key)))
        };
        let mut stored = Ok(());
        if let Some((info, members)) = known {
            for effect in [Effect::StoreInfo(id.clone(), Some(info)), Effect::StoreMembers(id.clone(), Some(members))] {
                stored = stored.and(self.done(effect).await);
            }
        }
        self.end(turn).await;
        let Err(reason) = stored else { return Ok(()) };
        self.log(Level::Error, format!("Group {id} cannot be stored as memory has it: {reason}")).await;
        Err(Error::Internal)
    }

    /// Finds the members whose contact lists are not as they should be, though no work on them is open, and what they
    /// have of deleted accounts. Virtual contacts are in no list that could be wrong.
    pub(crate) async fn inspect_contacts(
        &self,
        users: &[UserKey],
        accounts: &HashSet<Name>,
        problems: &mut Vec<Problem>,
    ) {
        let mut suspects: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for (done, &user) in users.iter().enumerate() {
            self.state().unchecked = users.len() - done;
            self.pause().await;
            let (name, skip) = {
                let state = self.state();
                let open = &state.unsettled;
                let skip = !state.stores_contacts()
                    || open.everything
                    || state.directory.groups_of(user).iter().any(|key| open.groups.contains_key(key))
                    || state.work.is_open(user);
                (state.directory.user_name(user), skip)
            };
            if skip {
                continue;
            }
            let Reply::Loaded(kept) = self.perform(Effect::LoadRoster(name.clone())).await else { continue };
            let (differs, brought) = self.inspect_roster(user, &name).await;
            if !kept {
                self.perform(Effect::ReleaseRoster(name.clone())).await;
            }
            for contact in brought.into_iter().filter(|contact| !accounts.contains(contact)) {
                suspects.entry(contact).or_default().push(name.clone());
            }
            if differs {
                problems.push(Problem::ContactsDiffer { user: name });
            }
        }
        self.state().unchecked = 0;
        problems.extend(self.find_left_over(suspects).await);
    }

    /// Whether a roster in memory is otherwise than it should be, and the contacts that groups have brought into it.
    async fn inspect_roster(&self, user: UserKey, name: &Name) -> (bool, Vec<Name>) {
        let host = self.state().host.clone();
        let planned = self.state().plan(user, Scope::All, false, self.now());
        let Some(planned) = planned else { return Default::default() };
        // Nothing leaves the roster for that.
        let plan = Plan { whole: false, ..planned.plan.clone() };
        let reply = self.perform(Effect::Compare(name.clone(), plan)).await;
        let Reply::Compared(found) = reply else { return Default::default() };
        let provenance = found.provenance.as_ref().map(|text| Provenance::parse(&text.0, &host));
        let provenance = provenance.and_then(Result::ok);
        let brought = match &provenance {
            Some(provenance) => self.find_tied(name, provenance).await.1,
            None => Vec::new(),
        };
        let labels = new_labels(&planned.plan, provenance.as_ref());
        let bearers = self.find_bearers(name, labels).await;
        let decision = decide(&planned.plan, &found, provenance, &bearers);
        let missing = planned.resolve(&decision.missing);
        (!decision.change.edits.is_empty() || self.any_has_account(&missing).await, brought)
    }

    /// Finds out which of these contacts, who are not in the list of accounts, are deleted accounts in no group. Only
    /// accounts become contacts, so each was one; a member without an account is a problem of its own.
    async fn find_left_over(&self, mut suspects: BTreeMap<Name, Vec<Name>>) -> Vec<Problem> {
        suspects.retain(|name, _| {
            let state = self.state();
            state.directory.find_user(name).is_none_or(|user| state.directory.groups_of(user).is_empty())
        });
        if suspects.is_empty() {
            return Vec::new();
        }
        let reply = self.perform(Effect::FindAccounts(suspects.keys().cloned().collect())).await;
        let Reply::Flags(found) = reply else { return Vec::new() };
        let gone = suspects.into_iter().zip(found).filter(|(_, found)| !found);
        gone.map(|((user, owners), _)| Problem::AccountLeftOver { user, owners }).collect()
    }
}
