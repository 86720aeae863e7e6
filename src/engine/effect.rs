//! What the engine asks of Prosody, and what it is told in return.
//!
//! An operation never touches Prosody: it hands out one [`Effect`] after the other and is resumed with a [`Reply`] to
//! each. The shim has one small function for each effect, but for those that the binding carries out by itself on a
//! roster that was compared. Both types are plain data that a test can compare.

use std::ops::Range;

use crate::engine::contacts::item::{Edit, Fact, Item, Labels};
use crate::engine::contacts::versions::Version;
use crate::engine::groups::affiliations::Shift;
use crate::engine::state::info::Info;
use crate::engine::state::marker::Marker;
use crate::engine::state::name::Name;
use crate::engine::state::stored::StoredMembers;
use crate::engine::state::value::{Text, Value};

/// One thing for Prosody to do. The reply that belongs to each is named in its description; any effect may also be
/// answered with [`Reply::Failed`].
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Wait until another operation gives up its turn, or a second at most. `Done`, or `Failed` where the caller cannot
    /// wait.
    Wait,
    /// Let the waiting operations look again. `Done`.
    Wake,
    /// Write a line to the log. `Done`.
    Log(Level, String),
    /// Show what is wrong with the module, or that nothing is. `Done`.
    ShowStatus(Level, String),
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

    /// Create a room on the chat host under the first of these ids that is free. `Text`: its JID.
    CreateRoom(Vec<String>),
    /// Remove a room without a trace: it was made for something that did not come about. `Done`.
    DiscardRoom(Box<[u8]>),
    /// Destroy a room, which tells those in it. `Done`; a missing room is no failure.
    DestroyRoom(Box<[u8]>),
    /// Give a room these settings: a table of values by the names that Prosody has for them. Nobody is to configure it
    /// first. `Done`.
    ConfigureRoom(Box<[u8]>, Value),
    /// Which of these settings are on in these rooms? `Texts`: their names, and nothing for a room that is not there.
    /// `Failed` when the chat host cannot say.
    InspectRooms(Vec<Box<[u8]>>, Vec<&'static str>),
    /// Which affiliations do these bare JIDs have to a room, and, with `true`, who are its members? `Affiliations`, or
    /// `Absent` if there is no such room.
    ReadAffiliations(Box<[u8]>, Vec<Name>, bool),
    /// Set affiliations to a room that are still as they were read. It is not saved: [`Effect::SaveRoom`] follows.
    /// `Names`: the bare JIDs of the refused.
    SetAffiliations(Box<[u8]>, Vec<Shift>),
    /// Save a room. `Done`; a missing room is no failure.
    SaveRoom(Box<[u8]>),
    /// Invite users to a room: its JID, what its group is called, and the users. `Done`.
    Invite(Box<[u8]>, String, Vec<Name>),

    /// Tell other modules. `Done`.
    Fire(Event),

    /// Which of these users have an account? `Flags`; "no" may as well mean that nobody knows.
    FindAccounts(Vec<Name>),
    /// The nicknames that these users have published. `Texts`.
    FindNicknames(Vec<Name>),
    /// List all accounts of the host. `Names`.
    ListAccounts,
    /// List the users whose rosters are in memory. `Names`, or `Failed` if it would be more than this many.
    ListRosters(usize),
    /// Which of these users' rosters are in memory? `Flags`.
    FindRosters(Vec<Name>),
    /// Bring a roster into memory. `Loaded`, or `Broken`.
    LoadRoster(Name),
    /// Does a roster in memory bear this stamp, and still have the version that it had when it was stamped? Then it
    /// holds what it should: whoever changes a roster saves it, which makes a new version. `Flags`: one.
    CheckStamp(Name, u64),
    /// Compare a roster in memory with what it should hold. `Compared`, `Absent` if it is not in memory, `Unread` if
    /// the user's edits have to be read first, or `Broken`.
    Compare(Name, Plan),
    /// Which items of the roster that was compared are in one of these roster groups? Contacts of this host only.
    /// `Items`.
    FindBearers(Name, Labels),
    /// Change a roster that was compared, and whose plan's numbers still hold: nothing has waited in between. `Done`.
    Change(Name, Change),
    /// Read what a user has made of virtual contacts, for the roster that was to be compared. `Done` or `Damaged`.
    ReadEdits(Name),
    /// Who has made something of this virtual contact? `Names`.
    FindEditors(Name),
    /// Save a roster: all of it, or the one contact that changed; with this provenance, if it is to be another one in
    /// storage than in memory so far. `Saved`, `Unsaved`, `Broken`, or `Absent` if nobody knows the account.
    SaveRoster(Name, Option<Name>, Option<Option<String>>),
    /// Take a roster out of Prosody's cache. `Done`.
    ReleaseRoster(Name),
    /// Push contacts of a user, as the roster has them, to the user's clients. `Pushed`, or `Absent` if it is not in
    /// memory.
    Push(Push),
    /// Send a user's presence to these users. `Done`.
    SendPresence(Name, Vec<Name>),
    /// Tell these users that a user is unavailable, if the user is online, or has just gone: that is the last value.
    /// `Done`.
    SendUnavailable(Name, Vec<Name>, bool),
    /// Take these contacts out of the roster of an account that is going away, with all virtual ones, and tell them it
    /// is unavailable. `Done`.
    Depart(Name, Vec<Name>),
}

/// Log levels of Prosody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Someone must act.
    Error,
    /// Something was off and has been handled.
    Warn,
    /// What whoever runs the server looks for.
    Info,
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
    /// Affiliations to a room.
    Affiliations {
        /// Those of the JIDs asked about, in order: the words that Prosody has for them.
        held: Vec<String>,
        /// The bare JIDs of its members, if they were asked for.
        members: Vec<Name>,
    },
    /// A roster is in memory. True if it was there before.
    Loaded(bool),
    /// What a roster has of a plan's contacts.
    Compared(Comparison),
    /// Items of a roster, by the contact's username.
    Items(Vec<(String, Item)>),
    /// The roster is not in memory, or its account is not known.
    Absent,
    /// What the user has made of virtual contacts has not been read.
    Unread,
    /// It is done, and what is damaged of what was read is dropped.
    Damaged,
    /// Prosody could not read the roster and has marked it broken.
    Broken,
    /// A roster is in storage as it is in memory.
    Saved,
    /// The pushes are sent; the version that the roster has now.
    Pushed(u64),
    /// A roster could not be saved, for this reason; the version that it has in memory now.
    Unsaved(String, u64),
}

impl Reply {
    /// Why an effect failed, where this is not the answer that it should have, in words for the log.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Reply::Failed(reason) => reason,
            Reply::Absent => "it is not there",
            _ => "the answer makes no sense",
        }
    }
}

/// What a roster should hold, and what of it must go. What follows from that is said in `contacts/rules.rs`.
///
/// Contacts are numbered from 1, through all sections; the owner of the roster may be among them, and is passed over. A
/// contact of a section that [has a usual form](Section::has_usual_form) has that if its item has subscription `both`,
/// no request and exactly the labels of the section's groups, is virtual if contacts are, has the name that
/// [`Plan::naming`] gives it, and if no request from the contact is pending.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The usernames of the contacts.
    pub contacts: Vec<Name>,
    /// What the contacts, in their order, have in common.
    pub sections: Vec<Section>,
    /// Where contacts without a name get one from.
    pub naming: Naming,
    /// In a roster without provenance, what bears a group's label was brought by the Lua module.
    pub adopt: bool,
    /// Contacts are virtual.
    pub virtual_contacts: bool,
    /// All contacts that groups bring or take back are in it.
    pub whole: bool,
    /// What of the shown contacts comes from groups, in a number of 27 bits; zero where nothing does.
    pub digest: u32,
    /// What users have made of virtual contacts is to be read first, with [`Effect::ReadEdits`].
    pub reads_edits: bool,
    /// The lowest version that a changed roster may take.
    pub version: u64,
    /// Versions that clients may know another content of, if the roster is read from storage with one of them.
    pub doubtful: [Range<u64>; 2],
    /// What the roster is settled as of, if nothing is missing in the end: see [`Effect::CheckStamp`].
    pub stamp: Option<u64>,
}

/// What is to become of a section's contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tie {
    /// Groups bring them.
    #[default]
    Bring,
    /// Groups bring them no more, and take back what they have brought.
    GiveUp,
    /// Groups bring them, but not in this session, for the user has changed them: only the labels of groups that were
    /// left go.
    Spare,
    /// Their accounts are gone.
    Withdraw,
}

/// Contacts that are shared through the same groups.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// What is to become of them.
    pub tie: Tie,
    /// How many contacts of the plan these are, after those of the sections before.
    pub contacts: usize,
    /// Whether they are known to have accounts. One to be brought that may have none is left as it is, and reported.
    /// One to be withdrawn that has one again is so only as far as groups had brought it.
    pub verified: bool,
    /// Prosody has ended the subscriptions to their former accounts, and any that is there is what a crash has left.
    pub ended: bool,
    /// Their accounts were deleted, and made again: of what groups gave the ones before, nothing stays.
    pub anew: bool,
    /// The groups that are shared with the contacts, and their labels.
    pub groups: Vec<(String, String)>,
    /// Groups that are not shared with them any more, and take back what they have brought.
    pub left: Vec<String>,
    /// The labels of those of them that there still are, for rosters without provenance that the Lua module has
    /// written. Of contacts whose accounts are gone, the labels of the user's groups.
    pub left_labels: Vec<String>,
    /// With [`Naming::Nickname`], the contacts' names, as far as they are known.
    pub names: Vec<Option<String>>,
}

impl Plan {
    /// Whether virtual contacts leave the roster: contacts are to be stored, and something is decided on all of them,
    /// for no account is still to be asked for.
    pub fn uncovers(&self) -> bool {
        let is_decided = |section: &Section| section.tie != Tie::Bring || section.verified;
        self.whole && !self.virtual_contacts && self.sections.iter().all(is_decided)
    }
}

impl Section {
    /// Whether there is a form of its contacts of which nothing need be told. One whose account was made again may look
    /// like that and still be the former one's.
    pub fn has_usual_form(&self) -> bool {
        self.tie == Tie::Bring && !self.anew
    }
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
/// A client keeps the version of the last push it got, and asks with it at its next login for what is new. One that is
/// cut off between the pushes of one change must not be told that it has everything. So only the last push that is open
/// for a user carries a version that the roster is served with: a new one. Those before carry the number below the
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

/// What [`Effect::Compare`] found: numbers and facts in the order of the contacts' numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Contacts to be brought of which nothing is there.
    pub absent: Vec<u32>,
    /// Contacts of which something is there, but for those to be brought that have the usual form.
    pub facts: Vec<Fact>,
    /// Virtual contacts that have left the roster and are not in the plan.
    pub uncovered: Vec<(Name, Fact)>,
    /// The roster's provenance, as it is stored.
    pub provenance: Option<Text>,
    /// The version in storage, as far as this module is concerned.
    pub version: Version,
    /// The version stands for changes of this module that storage may not have: a client's edit stores the version with
    /// one item only.
    pub unsaved: bool,
    /// Nothing of the roster was changed for groups since it was read from storage.
    pub fresh: bool,
    /// Whether the user has a session that may be told.
    pub online: bool,
}

impl Comparison {
    /// Whether clients may know another content under the roster's version, or under one that it is still to get: it
    /// was read from storage that has not all that the version stands for, or an older version than clients do.
    pub(crate) fn is_torn(&self, plan: &Plan) -> bool {
        let number = self.version.number();
        self.fresh && (self.unsaved || plan.doubtful.iter().any(|versions| versions.contains(&number)))
    }
}

/// What [`Effect::Change`] does to a roster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// What becomes of contacts.
    pub edits: Vec<Edit>,
    /// Contacts whose pending request for the user's presence goes.
    pub answered: Vec<u32>,
    /// The new provenance, or none any more, if it changes.
    pub provenance: Option<Option<String>>,
    /// The new version in storage, if it changes.
    pub version: Option<u64>,
    /// With virtual contacts, the number for what groups bring.
    pub digest: Option<u32>,
    /// Something changes that is to be stored.
    pub unsaved: bool,
    /// What the roster is settled as of.
    pub stamp: Option<u64>,
}

/// An event on the module's host. The group's record is the state after the change.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `group-user-added`, for one user after the other
    UsersAdded {
        /// The group.
        id: Name,
        /// The usernames.
        users: Vec<Name>,
        /// The group's record.
        info: Info,
    },
    /// `group-user-removed`, for one user after the other
    UsersRemoved {
        /// The group.
        id: Name,
        /// The usernames.
        users: Vec<Name>,
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
