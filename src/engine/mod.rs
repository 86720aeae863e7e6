//! The engine: what it holds and what it promises. It knows no Lua, does no I/O and reads no clock.
//!
//! An [`Engine`] holds the groups of one host. Look-ups answer from memory. Everything else is an [`Operation`], which
//! hands out [`Effect`]s and is resumed with [`Reply`]s; see the crate's documentation for the life of one.
//!
//! Promises, each with its tests in `tests/`:
//! - State in memory changes when storage has said yes, and an operation that fails leaves the two in agreement.
//! - Operations may interleave at every effect. An update is computed from the state at the moment it is stored, in the
//!   group's turn, so that none is lost.
//! - An operation that is dropped half-way leaves a state that the next one can work with.
//! - Contact lists end as membership says, whatever fails or is killed: the [marker](Marker) is stored first.
//! - The order of everything is deterministic.
//!
//! # Modules
//!
//! The machine:
//! - `effect`: what the engine asks of Prosody, and what it is told in return; plans and changes of rosters.
//! - `operation`: operations that stop at every effect.
//! - `turns`: turns at a group, at the marker, at a roster and at the background work.
//! - `start`: reads groups and the marker from storage, and takes up open work.
//! - `condition`: what is wrong, as the module's status shows it.
//! - `error`: the errors that callers see.
//! - `collector`: when Lua's collector is put off.
//!
//! `state`, what is known:
//! - `directory`: groups and their members, indexed in both directions.
//! - `info`, `stored`, `value`: a group's record, its members' record, and plain data as stores hold them.
//! - `name`: usernames, group ids and display names, parsed once.
//! - `accounts`: which accounts are known to exist, are awaited, or are deleted.
//! - `marker`, `unsettled`: the open work in the form in which it is stored, and when it is stored and struck off.
//! - `snapshot`: all groups as one blob, and back.
//!
//! `groups`, operations by subject:
//! - `create`: creates, renames and deletes groups.
//! - `members`, `bulk`: adds members and takes them out, one or many.
//! - `partings`: notes what follows when members leave.
//! - `chats`, `rooms`: adds and removes chats; aligns rooms with membership.
//! - `affiliations`: the rules for affiliations.
//! - `room_saves`: saves rooms once for however many changes of a burst.
//! - `deletions`: deleted accounts leave their groups; a group of that name survives the purge.
//! - `audit`: `check` and `repair`.
//!
//! `contacts`, contact lists; its words are explained in its own documentation:
//! - `plan`: what a roster should hold.
//! - `reconcile`: compares one roster with its plan, and changes it.
//! - `rules`, `overlay`: the rules for one contact, permanent and virtual.
//! - `provenance`: what a roster remembers of contacts from groups.
//! - `item`: items, facts, and steps that change them.
//! - `edits`: users' own changes, as far as provenance has to know of them.
//! - `arrivals`: accounts that appear, and rosters that come into memory.
//! - `work`, `settle`: which rosters have open work; loads, reconciles and saves them.
//! - `outbox`: what clients are still to be told.
//! - `versions`, `digest`: numbers for the contents of rosters, permanent and virtual.
//! - `partings`, `withdrawals`, `spared`: why a contact is given up, withdrawn, or left out for a session.

mod collector;
mod condition;
mod contacts;
mod effect;
mod error;
mod groups;
mod operation;
mod start;
mod state;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

pub use collector::{Collector, PutOff, Step as CollectorStep};
pub use contacts::item::{Cover, Edit, Fact, Fate, Item, Labels, OwnEdit, Rename, Step as ItemStep, Subscription};
pub use contacts::overlay::{Replaced, TakenIn, read_edits, take_in, virtual_version};
pub use contacts::provenance::Provenance;
pub use contacts::versions::{PushVersions, Version};
pub use effect::{Change, Comparison, Effect, Event, Level, Naming, Plan, Push, Reply, Section, Tie};
pub use error::Error;
pub use groups::affiliations::Shift;
pub use groups::audit::Problem;
pub use groups::create::GivenInfo;
pub use operation::{Answer, Operation, Step, remember_panics};
pub use state::info::{Details, Info, node};
pub use state::marker::{Copy, Marker};
pub use state::name::{MAX_NAME_BYTES, Name, display_name};
pub use state::snapshot::SnapshotError;
pub use state::stored::StoredMembers;
pub use state::value::{Text, Value};

use condition::Condition;
use contacts::digest::Digests;
use contacts::outbox::Outbox;
use contacts::partings::Partings;
use contacts::plan::Nicknames;
use contacts::spared::Spared;
use contacts::versions::Versions;
use contacts::withdrawals::Withdrawals;
use contacts::work::Work;
use groups::deletions::Deletions;
use groups::room_saves::RoomSaves;
use operation::Call;
use start::{Rereading, Start};
use state::accounts::Accounts;
use state::directory::{Directory, GroupKey};
use state::unsettled::Unsettled;
use turns::Turns;

/// What the engine has to know of the host it works for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A chat host is configured.
    pub chats: bool,
    /// Storage can write one row of a record for less than the whole (SQL can, files cannot).
    pub row_writes: bool,
    /// Rooms are not named after their chats.
    pub random_room_ids: bool,
    /// Whoever is not a member of a group loses the affiliation `member` to its rooms.
    pub enforce_affiliations: bool,
    /// Members who leave lose the contacts that the group has brought, and the others lose them.
    pub remove_contacts: bool,
    /// Where contacts without a name get one from.
    pub naming: Naming,
    /// Contacts are put into rosters when those are loaded, and never stored.
    pub virtual_contacts: bool,
}

/// The groups of one host. Clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

/// How much there is, and how much of it is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Groups.
    pub groups: usize,
    /// Members, counted once for each of their groups.
    pub memberships: usize,
    /// Contact lists that storage may not have as they should be.
    pub unsettled: usize,
    /// Those of them that failed, and are tried again later.
    pub failing: usize,
    /// Groups that wait for a `sync`.
    pub delayed: usize,
    /// Contact lists that a `check` has still to look at.
    pub unchecked: usize,
}

/// The argument of an operation as a caller gave it: text, or something else.
pub type Given<'a> = Option<&'a [u8]>;

pub(crate) struct Shared {
    state: Mutex<State>,
    /// The bits of the time of the last resume.
    now: AtomicU64,
    closed: AtomicBool,
}

pub(crate) struct State {
    /// The host's name.
    host: Arc<str>,
    options: Options,
    condition: Condition,
    start: Start,
    phase: Phase,
    directory: Directory,
    accounts: Accounts,
    unsettled: Unsettled,
    deletions: Deletions,
    work: Work,
    outbox: Outbox,
    versions: Versions,
    withdrawals: Withdrawals,
    partings: Partings,
    spared: Spared,
    nicknames: Nicknames,
    digests: Digests,
    /// Grows when contact lists are to be otherwise for a reason that neither memberships nor accounts tell.
    changes: u64,
    /// Groups whose records could not be read: they are neither shown nor touched.
    unreadable: BTreeSet<Name>,
    rereading: Rereading,
    /// The marker as storage has it.
    marker: Marker,
    /// Records of groups that the purge of an account of their name takes along.
    copies: BTreeMap<Name, Copy>,
    /// The log says already that chats are asked for where no chat host is configured.
    told_of_chats: bool,
    /// How many contact lists a `check` has still to look at.
    unchecked: usize,
    /// Rooms whose affiliations are as membership says, as far as is known.
    aligned: HashSet<Box<[u8]>>,
    /// Rooms that were read from storage, and are to be aligned.
    restored_rooms: BTreeSet<Box<[u8]>>,
    room_saves: RoomSaves,
    turns: Turns,
}

/// How far the engine has come with reading storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Empty,
    Ready,
}

impl Shared {
    /// Takes the time in; true if the engine is closed.
    fn tick(&self, now: f64) -> bool {
        self.now.store(now.to_bits(), Ordering::Relaxed);
        self.closed.load(Ordering::Relaxed)
    }

    fn now(&self) -> f64 {
        f64::from_bits(self.now.load(Ordering::Relaxed))
    }
}

impl Engine {
    /// The engine of a host. It knows no groups yet; [`Engine::load`] reads them from storage.
    pub fn new(host: &str, options: Options) -> Engine {
        let state = State {
            host: host.into(),
            options,
            condition: Condition::default(),
            start: Start::default(),
            phase: Phase::Empty,
            directory: Directory::default(),
            accounts: Accounts::default(),
            unsettled: Unsettled::default(),
            deletions: Deletions::default(),
            work: Work::default(),
            outbox: Outbox::default(),
            versions: Versions::default(),
            withdrawals: Withdrawals::default(),
            partings: Partings::default(),
            spared: Spared::default(),
            nicknames: Nicknames::default(),
            digests: Digests::default(),
            changes: 0,
            unreadable: BTreeSet::new(),
            rereading: Rereading::default(),
            marker: Marker::default(),
            copies: BTreeMap::new(),
            told_of_chats: false,
            unchecked: 0,
            aligned: HashSet::new(),
            restored_rooms: BTreeSet::new(),
            room_saves: RoomSaves::default(),
            turns: Turns::default(),
        };
        Engine(Arc::new(Shared { state: Mutex::new(state), now: AtomicU64::new(0), closed: AtomicBool::new(false) }))
    }

    /// Takes in options that may have changed while the engine was kept.
    pub fn set_options(&self, options: Options) {
        let mut state = self.0.state.lock();
        if state.options != options {
            state.aligned.clear();
            state.changes += 1;
        }
        state.unsettled.was_virtual |= options.virtual_contacts;
        // Prosody begins with none for each load.
        state.condition = Condition::default();
        state.options = options;
    }

    /// Whether storage has been read.
    pub fn is_ready(&self) -> bool {
        self.0.state.lock().phase == Phase::Ready
    }

    /// Whether storage is being read for the first time.
    pub fn is_loading(&self) -> bool {
        let mut state = self.0.state.lock();
        state.phase == Phase::Empty && state.turns.is_taken(&turns::Place::Start)
    }

    /// Ends the engine: operations that still run answer [`Error::Internal`] at their next step.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// The state for a look-up. None of an engine that is closed: what it knows is old.
    fn open_state(&self) -> Option<MutexGuard<'_, State>> {
        (!self.0.closed.load(Ordering::Relaxed)).then(|| self.0.state.lock())
    }

    /// The record of a group.
    pub fn info(&self, id: &[u8]) -> Option<Info> {
        let state = self.open_state()?;
        state.directory.find(&Name::raw(id)).map(|(_, group)| group.info.clone())
    }

    /// Whether there is such a group.
    pub fn exists(&self, id: &[u8]) -> bool {
        self.info(id).is_some()
    }

    /// The members of a group, with what is stored for each; none for an unknown group.
    pub fn members(&self, id: &[u8]) -> Vec<(Name, Value)> {
        let Some(state) = self.open_state() else { return Vec::new() };
        state.directory.find(&Name::raw(id)).map_or_else(Vec::new, |(key, _)| state.directory.record(key))
    }

    /// The ids of the groups of a user, whose name is taken as it is stored or else as XMPP compares it.
    pub fn groups_of(&self, username: &[u8]) -> Vec<Name> {
        let Some(state) = self.open_state() else { return Vec::new() };
        let groups = |name: &Name| {
            let user = state.directory.find_user(name)?;
            let keys = state.directory.groups_of(user);
            (!keys.is_empty()).then(|| keys.iter().filter_map(|&key| state.directory.group(key)))
        };
        let normalised = || groups(&Name::username(username).ok()?);
        let ids = groups(&Name::raw(username)).or_else(normalised);
        ids.into_iter().flatten().map(|group| group.id.clone()).collect()
    }

    /// All groups, in the order in which they became known.
    pub fn groups(&self) -> Vec<(Name, Info)> {
        let Some(state) = self.open_state() else { return Vec::new() };
        state.directory.groups().map(|(_, group)| (group.id.clone(), group.info.clone())).collect()
    }

    /// How much there is, and how much of it is open.
    pub fn status(&self) -> Status {
        self.open_state().map(|state| state.status()).unwrap_or_default()
    }

    fn start<F>(&self, start: impl FnOnce(Call) -> F) -> Operation
    where
        F: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        Operation::new(&self.0, start)
    }
}

impl State {
    fn status(&self) -> Status {
        Status {
            groups: self.directory.groups().len(),
            memberships: self.directory.groups().map(|(_, group)| group.members().len()).sum(),
            unsettled: self.work.busy().len(),
            failing: self.work.failing(),
            delayed: self.unsettled.groups.values().filter(|&&delayed| delayed).count(),
            unchecked: self.unchecked,
        }
    }

    /// Whether what groups bring is to be in storage: not with virtual contacts, but for what is still to be cleared
    /// away.
    fn stores_contacts(&self) -> bool {
        !self.options.virtual_contacts || self.unsettled.everything
    }
}

impl Call {
    /// Waits until storage has been read.
    async fn ready(&self) -> Result<(), Error> {
        let patience_ends = self.now() + turns::PATIENCE;
        while self.state().phase != Phase::Ready {
            if self.now() > patience_ends || self.perform(Effect::Wait).await != Reply::Done {
                return Err(Error::Internal);
            }
        }
        Ok(())
    }

    /// The group of this id.
    fn find(&self, id: &Name) -> Result<(GroupKey, Info), Error> {
        let state = self.state();
        match state.directory.find(id) {
            Some((key, group)) => Ok((key, group.info.clone())),
            None if state.unreadable.contains(id) => Err(Error::Internal),
            None => Err(Error::GroupNotFound),
        }
    }
}
