//! What the engine asks of Prosody, and what it is told in return.
//!
//! An operation never touches Prosody: it hands out one [`Effect`] after the other and is resumed with a [`Reply`] to
//! each. The shim has one small function for each effect. Both types are plain data that a test can compare.

use crate::engine::state::info::Info;
use crate::engine::state::marker::Marker;
use crate::engine::state::name::Name;
use crate::engine::state::stored::StoredMembers;
use crate::engine::state::value::{Text, Value};

/// One thing for Prosody to do. The reply that belongs to each is named in its description; any effect may also be
/// answered with [`Reply::Failed`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Wait until another operation gives up its turn, or a second at most. `Done`, or `Failed` where the caller cannot wait.
    Wait,
    /// Let the waiting operations look again. `Done`.
    Wake,
    /// Write a line to the log. `Done`.
    Log(Level, String),
    /// Make a new group id. `Text`.
    NewId,

    /// List the ids in the store `group_info`. `Names`.
    ListGroups,
    /// Read a group from both stores. `Record`.
    ReadGroup(Name),
    /// Write or remove a record of `group_info`. `Done`.
    StoreInfo(Name, Option<Info>),
    /// Write or remove a whole record of `groups`. `Done`.
    StoreMembers(Name, Option<Vec<(Name, Value)>>),
    /// Write or remove one member of a record of `groups`. `Done`.
    StoreMember(Name, Name, Option<Value>),
    /// Read the marker. `Value`, of nothing if there never was one.
    ReadMarker,
    /// Write the marker. `Done`.
    StoreMarker(Marker),

    /// Create and save a room of this name on the chat host. `Text`: its JID.
    CreateRoom(Box<[u8]>),
    /// Remove a room without a trace: it was made for something that did not come about. `Done`.
    DiscardRoom(Box<[u8]>),
    /// Destroy a room, which tells those in it. `Done`; a missing room is no failure.
    DestroyRoom(Box<[u8]>),
    /// Give a room another name. `Done`.
    RenameRoom(Box<[u8]>, Box<[u8]>),
    /// Which of these rooms are there? `Flags`, or `Failed` when the chat host cannot say.
    FindRooms(Vec<Box<[u8]>>),
    /// Make users members of a room, unless they have an affiliation already, and save it once. `Names`: the refused.
    Affiliate(Box<[u8]>, Vec<Name>),
    /// Take the affiliation of users to a room away, and save it once. `Names`: the refused.
    Disaffiliate(Box<[u8]>, Vec<Name>),
    /// Make users members of a room who have no affiliation, and save it once. With `true`, take the affiliation `member` of
    /// everybody else away. `Room`.
    AlignRoom(Box<[u8]>, Vec<Name>, bool),
    /// Invite users to a room. `Done`.
    Invite(Box<[u8]>, Vec<Name>),

    /// Tell other modules. `Done`.
    Fire(Event),

    /// Which of these users have an account? `Flags`; "no" may as well mean that nobody knows.
    FindAccounts(Vec<Name>),
    /// The nicknames that these users have published. `Texts`.
    FindNicknames(Vec<Name>),
    /// List all accounts of the host. `Names`.
    ListAccounts,
    /// Has a user's roster, in memory or else in storage, an item of this contact? `Flags`: one.
    HasContact(Name, Name),
    /// List the users whose rosters are in memory. `Names`, or `Failed` if it would be more than this many.
    ListRosters(usize),
    /// Which of these users' rosters are in memory? `Flags`.
    FindRosters(Vec<Name>),
    /// Bring a roster into memory. `Loaded`, or `Broken`.
    LoadRoster(Name),
    /// Does a roster in memory bear this stamp, and has it kept its version since it was given it? Then it holds what it
    /// should, for whoever changes a roster saves it, which makes a new version. `Flags`: one.
    CheckStamp(Name, u64),
    /// Compare a roster in memory with what it should hold, and change what differs. `Changes`, `Absent` if it is not in
    /// memory, `Unread` if the user's edits have to be read first, or `Broken`.
    Reconcile(Name, Plan),
    /// Read what a user has made of virtual contacts, for a roster in memory. `Done`.
    ReadEdits(Name),
    /// Forget what users have made of a virtual contact whose account is gone. `Done`.
    ForgetEdits(Name),
    /// Save a roster: all of it, or the one contact that changed. `Saved`, `Unsaved`, `Broken`, or `Absent` if nobody knows
    /// the account.
    SaveRoster(Name, Option<Name>),
    /// Take a roster out of Prosody's cache. `Done`.
    ReleaseRoster(Name),
    /// Push contacts of a user, as the roster has them, to the user's clients. `Pushed`.
    Push(Push),
    /// Send a user's presence to these users. `Done`.
    SendPresence(Name, Vec<Name>),
    /// Tell these users that a user is unavailable, if the user is online. `Done`.
    SendUnavailable(Name, Vec<Name>),
    /// Take these contacts out of the roster of an account that is going away, with all others that groups ever brought, and
    /// tell them it is unavailable. `Names`: the others.
    Depart(Name, Vec<Name>),
}

/// Log levels of Prosody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Someone must act.
    Error,
    /// Something was off and has been handled.
    Warn,
    /// The rest.
    Debug,
}

/// The answer to an [`Effect`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It is done. Also what a new operation is started with.
    Done,
    /// It could not be done, for this reason.
    Failed(String),
    /// A string.
    Text(Box<[u8]>),
    /// A list of names.
    Names(Vec<Name>),
    /// A yes or no for each thing asked about, in order.
    Flags(Vec<bool>),
    /// A text for each thing asked about, in order, where there is one.
    Texts(Vec<Option<Text>>),
    /// A value from a store, if there is one.
    Value(Option<Value>),
    /// A group as it is stored, as far as it is.
    Record {
        /// The record in `group_info`.
        info: Option<Value>,
        /// The record in `groups`.
        members: Option<StoredMembers>,
    },
    /// A room's affiliations were looked after.
    Room {
        /// Whose affiliation another module would not have changed.
        refused: Vec<Name>,
        /// Who is banned.
        banned: Vec<Name>,
    },
    /// A roster is in memory. True if it was there before.
    Loaded(bool),
    /// What reconciling a roster changed.
    Changes(Changes),
    /// The roster is not in memory, or its account is not known.
    Absent,
    /// What the user has made of virtual contacts has not been read.
    Unread,
    /// Prosody could not read the roster and has marked it broken.
    Broken,
    /// A roster is in storage as it is in memory.
    Saved,
    /// The pushes are sent; the version that the roster has now.
    Pushed(u64),
    /// A roster could not be saved, for this reason; the version that it has in memory now.
    Unsaved(String, u64),
}

/// What a roster should hold, and what of it must go.
///
/// Contacts are numbered through all sections, in order, and then through `withdrawn`; [`Changes`] speaks of them by
/// number, from 1.
///
/// # Provenance
///
/// Whether a contact came with a group is told from a record in the roster's metadata. Clients' edits leave it alone, and the
/// Lua module does not look at it. It holds
/// - *labels*: for each group, the labels that this roster's contacts were given for it, the newest first. Those before it are
///   forgotten when the roster is in storage and no contact bears them, one that was left behind for good included;
/// - *notes* on contacts that are exceptions from the rule below;
/// - the *names* that contacts were given.
///
/// The rule: an item that bears one of the labels given for its groups was *brought* by them; any other is the user's *own*.
/// Exceptions are noted
/// - when a group brings a contact that is the user's own: its subscription and its request as they were. Where they have
///   changed since, somebody else did it, and the note takes the change in;
/// - when a label is given for the first time: for each item that bears it already, that it is the user's choice;
/// - when a client's edit takes all given labels off an item: that it was brought all the same;
/// - when a contact is given up, but stays: that it is the user's own from now on.
///
/// A contact that is given up keeps its note until the save that has it so in storage: a client's edit of another contact stores
/// metadata without the item, and the same is to be done once more then. What stays of the note is the user's choice of labels, for
/// as long as they are given. A client that adds a contact anew makes it the user's own, and takes back a choice by taking the label off.
///
/// All this fails safe: where storage drops metadata, nothing counts as brought. With `adopt`, a roster without provenance is
/// taken to be the Lua module's work: whatever bears a label of its groups counts as brought.
///
/// # What counts as a difference
///
/// Here and nowhere else. A contact in a section with groups differs if
/// - it has no item: it gets one with subscription `both` (if the section is not `verified`, it is reported as missing
///   instead); or
/// - its subscription is not `both`, or it has an `ask`: it becomes `both`, without `ask`; or
/// - one of the groups' labels is not among its item's groups: it is added; or
/// - an earlier label of these groups, or any label of the groups `left`, is among them, is not to stay on account of
///   another, and is not the user's choice: it goes; or
/// - its item has no name, or one that it was given, and [`Naming`] gives it one; or
/// - the roster's metadata holds a pending request from it: the request goes, which is stored but not pushed.
///
/// So is what is known of a group's label, where another group has given the same one: no item may tell of it.
///
/// A contact in a section without groups is given up. It differs if its item was brought, or is noted as the user's own:
/// labels of the groups `left` go, but for the user's choice, and
/// - an own one goes back to the subscription and the request that are noted, unless somebody has changed them since;
/// - a brought one to which the user has given a name or a group of the user's own stays with subscription `none`;
/// - any other brought one goes.
///
/// A withdrawn contact, whose account is gone, differs if it has an item or a pending request. All labels that groups have
/// given go; an item that is the user's own, or that the user has named or put into a group, stays with subscription
/// `none` and without `ask`, as Prosody would have it; any other goes. Without provenance, only a name tells that it is the user's own.
///
/// The owner of the roster may be among the contacts of a section, and is passed over.
///
/// # Virtual contacts
///
/// With `virtual_contacts`, contacts are laid over the items that are in storage, and are never stored themselves. A contact in a
/// section with groups differs if what is shown is not an item with subscription `both`, all labels of the groups, and the name and
/// the groups that the user has given it. Below it stays the item of the user's own, if there is one; what else the user has
/// made of it, a name and groups, is kept apart (the *edits*). A contact that is given up or withdrawn is shown as the item below it, or
/// not at all. What is found in storage of the time before is cleared away by the rules above, as if the contact were given up.
///
/// The version that clients are told is made of the stored one and of `digest`.
///
/// A roster in which nothing differs keeps its version, and nothing is stored. One that changes takes the next version,
/// but at least `version`, before anything is pushed; where `version` is `true`, as other modules set it, it stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The contacts, by the groups that they are, or were, shared through.
    pub sections: Vec<Section>,
    /// Contacts whose accounts are gone.
    pub withdrawn: Vec<Name>,
    /// Where contacts without a name get one from.
    pub naming: Naming,
    /// Groups that have no more to do with this roster: what is known of their labels is forgotten when it has been saved.
    pub forgotten: Vec<Name>,
    /// Nothing is left out: earlier labels of the groups in the plan are on none of the items afterwards.
    pub whole: bool,
    /// A roster without provenance is the Lua module's work.
    pub adopt: bool,
    /// Contacts are virtual.
    pub virtual_contacts: bool,
    /// What of the shown contacts comes from groups, in a number of 27 bits; zero where nothing does.
    pub digest: u32,
    /// What users have made of virtual contacts is to be read first, with [`Effect::ReadEdits`].
    pub reads_edits: bool,
    /// The lowest version that a changed roster may take.
    pub version: u64,
    /// What the roster is settled as of, if nothing is missing in the end: see [`Effect::CheckStamp`].
    pub stamp: Option<u64>,
}

impl Plan {
    /// Whether there is nothing that a roster could differ in.
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.withdrawn.is_empty()
    }
}

/// Contacts that are shared through the same groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Whether the contacts are known to have accounts. A contact that may have none is not put into a roster.
    pub verified: bool,
    /// The groups that are shared with the contacts, and their labels. With none, the contacts are given up.
    pub groups: Vec<(Name, Box<[u8]>)>,
    /// Groups that are not shared with them any more, and take back what they have brought.
    pub left: Vec<Name>,
    /// The labels of those of them that there still are, for rosters that are the Lua module's work.
    pub left_labels: Vec<Box<[u8]>>,
    /// The usernames of the contacts.
    pub contacts: Vec<Name>,
    /// With [`Naming::Nickname`], the contacts' names, as far as they are known.
    pub names: Vec<Option<Text>>,
}

/// Where a contact without a name gets one from (`groups_contact_name`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// It gets none.
    #[default]
    None,
    /// Its username.
    Username,
    /// The nickname that the user has published, or else the username.
    Nickname,
}

/// Pushes to one user's clients.
///
/// A client keeps the version of the last push it got, and asks with it at its next login for what is new. One that is cut
/// off between the pushes of one change must not be told that it has everything. So only the last push that is open for
/// a user carries a version that the roster is served with: a new one. Those before carry the number below the
/// roster's own, which is behind for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    /// Whose clients.
    pub user: Name,
    /// The contacts. None, with `last`, gives the roster a new version all the same.
    pub contacts: Vec<Name>,
    /// Nothing more is open for this user.
    pub last: bool,
}

/// What [`Effect::Reconcile`] found, by the numbers of [`Plan`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Contacts whose item changed: they are pushed.
    pub changed: Vec<u32>,
    /// Contacts among the changed whose presence the user can see only from now on.
    pub gained: Vec<u32>,
    /// Contacts among the changed whose presence the user can see no longer.
    pub lost: Vec<u32>,
    /// Contacts without an item that were not verified.
    pub missing: Vec<u32>,
    /// Contacts without a name whose nickname is not known.
    pub unnamed: Vec<u32>,
    /// Whether something changed that is stored but not pushed.
    pub quiet: bool,
    /// Whether nothing changed that is to be stored: the contacts are virtual.
    pub shown_only: bool,
    /// The version the roster has now, if it changed.
    pub version: u64,
    /// Whether the user has a session that may be told.
    pub online: bool,
}

/// An event on the module's host. The group's record is the state after the change.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `group-user-added`
    UserAdded {
        /// The group.
        id: Name,
        /// The username.
        user: Name,
        /// The group's record.
        info: Info,
    },
    /// `group-user-removed`
    UserRemoved {
        /// The group.
        id: Name,
        /// The username.
        user: Name,
        /// The group's record.
        info: Info,
    },
    /// `group-created`
    Created {
        /// The group.
        id: Name,
        /// The group's record.
        info: Info,
    },
    /// `group-updated`
    Updated {
        /// The group.
        id: Name,
        /// The group's record.
        info: Info,
        /// The record as it was before.
        old: Info,
    },
    /// `group-deleted`
    Deleted {
        /// The group.
        id: Name,
        /// The record as it was at last.
        info: Info,
    },
    /// `group-chat-added`
    ChatAdded {
        /// The group.
        id: Name,
        /// The group's record.
        info: Info,
        /// The chat's room.
        jid: Box<[u8]>,
        /// The chat's name.
        name: Box<[u8]>,
    },
    /// `group-chat-renamed`
    ChatRenamed {
        /// The group.
        id: Name,
        /// The group's record.
        info: Info,
        /// The chat's room.
        jid: Box<[u8]>,
        /// The chat's name.
        name: Box<[u8]>,
        /// The name it had before.
        old_name: Box<[u8]>,
    },
    /// `group-chat-removed`
    ChatRemoved {
        /// The group.
        id: Name,
        /// The group's record.
        info: Info,
        /// The chat's room.
        jid: Box<[u8]>,
    },
}
