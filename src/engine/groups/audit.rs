//! `check` and `repair`: finds what has become wrong without an event, and mends it.
//!
//! An account that was deleted while the server was down stays a member: no event was fired. That its account cannot be
//! found does not prove it, since a directory may be down, and a member may be added before the account is made. Three
//! things together do: the list of all accounts can be had and does not name it, asking for it says no, and another
//! member, who is in that list, has it as a contact, which only accounts become. With virtual contacts, the last is
//! told from the marker instead, which lists the members whose accounts are yet to be made. A directory that is down
//! lists nobody, and so proves nothing.

use std::collections::HashSet;

use rustc_hash::FxHashSet;

use crate::engine::effect::{Effect, Level, Plan, Reply, Section, Tie};
use crate::engine::groups::rooms::changed_settings;
use crate::engine::operation::Call;
use crate::engine::state::directory::UserKey;
use crate::engine::turns::Place;
use crate::engine::{Answer, Details, Engine, Error, Name, Operation, State, Text, display_name};

/// How many other members' contact lists are searched for a missing account.
const WITNESSES: usize = 3;

/// How many accounts are asked for before others have their turn.
const ACCOUNTS_AT_ONCE: usize = 32;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// A member's account has been deleted.
    AccountMissing {
        /// The username.
        user: Name,
        /// The groups that have it as a member.
        groups: Vec<Name>,
    },
    /// A deleted account is in no group any more, and still in contact lists into which groups had brought it.
    AccountLeftOver {
        /// The username.
        user: Name,
        /// Whose contact lists.
        owners: Vec<Name>,
    },
    /// A chat's room is gone.
    ChatMissing {
        /// The group.
        id: Name,
        /// The room's JID.
        jid: Box<[u8]>,
    },
    /// Somebody has changed settings of a chat's room that keep others out.
    ChatChanged {
        /// The group.
        id: Name,
        /// The room's JID.
        jid: Box<[u8]>,
        /// The settings that are not as the group's.
        settings: Vec<&'static str>,
    },
    /// Members are stored under a name that is no account's, but would be in the form in which XMPP compares names.
    MemberMisspelt {
        /// The name as it is stored.
        user: Name,
        /// The name in that form.
        account: Name,
        /// The groups.
        groups: Vec<Name>,
    },
    /// A group's record has no name.
    NameMissing {
        /// The group.
        id: Name,
    },
    /// Storage has a group that memory does not know.
    GroupUnknown {
        /// The group.
        id: Name,
    },
    /// Storage has a group otherwise than memory.
    RecordDiffers {
        /// The group.
        id: Name,
    },
    /// Users have another affiliation to a room than the group gives them.
    AffiliationsDiffer {
        /// The group.
        id: Name,
        /// The room's JID.
        jid: Box<[u8]>,
        /// Their JIDs.
        users: Vec<Name>,
    },
    /// A contact list is not as the groups have it.
    ContactsDiffer {
        /// The username.
        user: Name,
    },
}

impl Engine {
    /// Reports what is wrong, and changes nothing. [`Answer::Problems`].
    ///
    /// # Errors
    /// [`Error::Internal`] if accounts cannot be listed.
    pub fn check(&self) -> Operation {
        self.start(move |call| async move {
            call.ready().await?;
            Ok(Answer::Problems(call.find_problems().await?))
        })
    }

    /// Mends what [`Engine::check`] reports, and answers with what it was: deleted accounts leave groups, chats and
    /// contact lists; chats without a room leave their groups; rooms get their settings again; members get the names of
    /// their accounts, and groups without a name their ids for one; groups that only storage has are taken in; storage
    /// and rooms become as memory has them, and contact lists do so in the background.
    ///
    /// # Errors
    /// [`Error::Internal`] if accounts cannot be listed, or something could not be mended: the log says what. The rest
    /// is mended all the same.
    pub fn repair(&self) -> Operation {
        self.start(move |call| async move {
            call.ready().await?;
            let problems = call.find_problems().await?;
            let mut mended = Ok(());
            for problem in &problems {
                match call.mend(problem).await {
                    // It was deleted meanwhile.
                    Ok(()) | Err(Error::GroupNotFound) => {}
                    failed => mended = failed,
                }
            }
            mended.map(|()| Answer::Problems(problems))
        })
    }
}

impl Call {
    /// Mends one problem, unless it is none any more: finding them all may have taken long.
    async fn mend(&self, problem: &Problem) -> Result<(), Error> {
        match problem {
            Problem::AccountMissing { user: name, .. } => {
                if self.is_gone(name).await {
                    self.delete_account(name.clone()).await;
                    // Its records were purged long ago.
                    self.restore_purged(name.clone(), true).await.ok();
                }
            }
            Problem::AccountLeftOver { user: name, owners } => {
                if self.is_gone(name).await {
                    self.withdraw_everywhere(name, owners.clone()).await;
                }
            }
            Problem::ChatMissing { id, jid } => self.drop_chat(id, jid).await?,
            Problem::ChatChanged { id, jid, .. } => self.set_up_room(id, jid, None).await,
            Problem::MemberMisspelt { user, account, groups } => {
                for id in groups {
                    self.respell_member(id, user, account).await?;
                }
            }
            Problem::NameMissing { id } => {
                if let Ok(name) = display_name(id.as_bytes()) {
                    self.change_info(id, name, &Details::default()).await?;
                }
            }
            Problem::GroupUnknown { id } => self.take_in_stored(id).await?,
            Problem::RecordDiffers { id } => self.store_anew(id).await?,
            Problem::AffiliationsDiffer { id, jid, .. } => self.align_room(id, jid).await,
            Problem::ContactsDiffer { user } => {
                let now = self.now();
                let mut state = self.state();
                if let Some(user) = state.directory.find_user(user) {
                    state.work.enqueue([user], now);
                }
            }
        }
        Ok(())
    }

    /// Whether an account is gone, whatever was known of it: it may have been deleted without an event.
    async fn is_gone(&self, name: &Name) -> bool {
        let user = {
            let mut state = self.state();
            let user = state.directory.intern(name);
            state.accounts.forget(user);
            state.accounts.doubt(user);
            user
        };
        !self.has_account(user).await
    }

    async fn find_problems(&self) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let accounts = self.list_accounts().await?;
        for user in self.find_vanished(&accounts).await {
            let (name, groups) = {
                let state = self.state();
                let groups = state.directory.groups_of(user).iter();
                let groups = groups.filter_map(|&key| Some(state.directory.group(key)?.id.clone())).collect();
                (state.directory.user_name(user), groups)
            };
            match Name::username(name.as_bytes()) {
                Ok(account) if account != name => {
                    problems.push(Problem::MemberMisspelt { user: name, account, groups });
                }
                _ if self.was_seen(user, &accounts).await => {
                    problems.push(Problem::AccountMissing { user: name, groups });
                }
                _ => {}
            }
        }
        let groups: Vec<_> = {
            let state = self.state();
            state.directory.groups().map(|(_, group)| (group.id.clone(), group.info.rooms())).collect()
        };
        {
            let state = self.state();
            let nameless = state.directory.groups().filter(|(_, group)| group.info.name.is_empty());
            problems.extend(nameless.map(|(_, group)| Problem::NameMissing { id: group.id.clone() }));
        }
        let ids: Vec<_> = groups.iter().map(|(id, _)| id.clone()).collect();
        for (id, rooms) in groups.into_iter().filter(|(_, rooms)| !rooms.is_empty()) {
            self.pause().await;
            if let Some(found) = self.inspect_rooms(&rooms).await {
                problems.extend(rooms.into_iter().zip(found).filter_map(|(jid, has)| {
                    let Some(Text(has)) = has else { return Some(Problem::ChatMissing { id: id.clone(), jid }) };
                    let settings = changed_settings(&has);
                    (!settings.is_empty()).then(|| Problem::ChatChanged { id: id.clone(), jid, settings })
                }));
            }
        }
        let misspelt = problems.iter().filter_map(|problem| match problem {
            Problem::MemberMisspelt { user, .. } => Some(user.clone()),
            _ => None,
        });
        let misspelt = misspelt.collect();
        self.find_unknown_groups(&mut problems).await?;
        self.inspect_groups(&ids, &misspelt, &mut problems).await?;
        let users: Vec<_> = {
            let state = self.state();
            state.directory.members().filter(|&user| accounts.contains(&state.directory.user_name(user))).collect()
        };
        self.inspect_contacts(&users, &accounts, &mut problems).await;
        Ok(problems)
    }

    async fn list_accounts(&self) -> Result<HashSet<Name>, Error> {
        match self.perform(Effect::ListAccounts).await {
            Reply::Names(names) => Ok(names.into_iter().collect()),
            other => {
                let text = "Accounts cannot be listed, so it cannot be said which members have none any more";
                self.log(Level::Error, format!("{text}: {}", other.reason())).await;
                Err(Error::Internal)
            }
        }
    }

    /// Members whose accounts are neither listed nor found.
    async fn find_vanished(&self, accounts: &HashSet<Name>) -> Vec<UserKey> {
        let (users, names): (Vec<_>, Vec<_>) = {
            let state = self.state();
            let missing =
                state.directory.members().filter(|&user| !accounts.contains(&state.directory.user_name(user)));
            missing.map(|user| (user, state.directory.user_name(user))).unzip()
        };
        let mut vanished = Vec::new();
        for (users, names) in users.chunks(ACCOUNTS_AT_ONCE).zip(names.chunks(ACCOUNTS_AT_ONCE)) {
            self.pause().await;
            let Reply::Flags(found) = self.perform(Effect::FindAccounts(names.to_vec())).await else {
                return Vec::new();
            };
            vanished.extend(users.iter().zip(found).filter(|(_, found)| !found).map(|(&user, _)| user));
        }
        vanished
    }

    /// Whether this account existed once: another member with an account has it as a contact. With virtual contacts,
    /// the marker lists the members whose accounts nobody has ever known.
    async fn was_seen(&self, user: UserKey, accounts: &HashSet<Name>) -> bool {
        let (name, others): (_, Vec<_>) = {
            let state = self.state();
            let groups = state.directory.groups_of(user).iter().filter_map(|&key| state.directory.group(key));
            let others: FxHashSet<_> =
                groups.flat_map(|group| group.members()).filter(|&other| other != user).collect();
            let mut others: Vec<_> = others.into_iter().collect();
            others.sort_unstable();
            (state.directory.user_name(user), others)
        };
        let owners = self.state().directory.names(&others);
        {
            let State { unsettled, accounts: known, .. } = &*self.state();
            if unsettled.virtual_only && (known.lost.contains(&user) || !known.awaiting.contains(&user)) {
                return owners.iter().any(|owner| accounts.contains(owner));
            }
        }
        for owner in owners.into_iter().filter(|owner| accounts.contains(owner)).take(WITNESSES) {
            if self.has_contact(owner, &name).await {
                return true;
            }
        }
        false
    }

    /// Whether a user's roster, in memory or else in storage, has an item of this contact.
    async fn has_contact(&self, owner: Name, contact: &Name) -> bool {
        self.pause().await;
        let Reply::Loaded(kept) = self.perform(Effect::LoadRoster(owner.clone())).await else { return false };
        let section = Section { tie: Tie::GiveUp, contacts: 1, ..Section::default() };
        let plan = Plan { contacts: vec![contact.clone()], sections: vec![section], ..Plan::default() };
        let reply = self.perform(Effect::Compare(owner.clone(), plan)).await;
        if !kept {
            self.perform(Effect::ReleaseRoster(owner)).await;
        }
        matches!(reply, Reply::Compared(found) if found.facts.iter().any(|fact| fact.item.is_some()))
    }

    async fn drop_chat(&self, id: &Name, jid: &[u8]) -> Result<(), Error> {
        let turn = self.turn(Place::Group(id.clone())).await?;
        let stored = match self.find(id) {
            Ok((key, info)) if info.has_room(jid) => {
                if self.find_rooms(&[jid.into()]).await == Ok(vec![true]) {
                    // It was made anew meanwhile.
                    self.end(turn).await;
                    return Ok(());
                }
                let info = info.without_rooms(|other| other == jid);
                self.store_info(id, key, info.clone()).await.map(|()| Some(info))
            }
            _ => Ok(None),
        };
        self.end(turn).await;
        if let Some(info) = stored? {
            self.close_room(id, jid.into(), info).await;
        }
        Ok(())
    }
}
