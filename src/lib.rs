//! Groups for Prosody, decided in Rust and carried out in Lua.
//!
//! ```text
//! Prosody ── hooks, callers ──▶ lua/ shim ──▶ binding ──▶ engine (state, operations, reconciliation)
//!    ▲                             │  ◀── effect ──┘          no Lua type in here
//!    └── stores, rosters, MUC, ────┘ ─── reply ──▶
//!        presence, events
//! ```
//!
//! # The life of one call
//!
//! `add_member("family", "ann")` in Lua asks the binding for an operation. Nothing has happened yet. The shim resumes
//! it; it runs up to the first thing that Prosody has to do and hands that out as an [`engine::Effect`]: read a record,
//! store the marker, store the members, set an affiliation, fire an event, compare a roster, push a contact. The shim
//! does it in plain Lua, which may wait as long as it likes, and resumes the operation with the [`engine::Reply`]. At
//! last the operation ends with what the caller gets.
//!
//! So no Rust frame is ever on the stack while Prosody's code runs. It could not be: Prosody's storage, authentication
//! and event handlers may yield, and a yield across a native frame is an error. It also makes the engine a state
//! machine that tests can drive through every interleaving and every failure without a server.
//!
//! # Where things are
//!
//! - [`engine`]: everything that is decided. Begin with [`engine::Effect`], then [`engine::Engine`], whose module lists
//!   all others.
//!   - the machine, in `src/engine` itself: effects, operations, turns, the start;
//!   - `src/engine/state`: what is known of groups and accounts, and the forms in which it is stored;
//!   - `src/engine/groups`: operations on groups: members, chats, deleted accounts, the audit;
//!   - `src/engine/contacts`: contact lists: plans, the rules for one contact, open work, versions, pushes.
//! - `src/binding`: the only place that knows mlua: the library's entry, the handles, the conversion of values and
//!   errors, and rosters as Lua has them.
//! - [`import`]: groups as other programs write them, read. It knows nothing of the engine's state.
//! - `lua/mod_groups_internal`: options, hooks, timers, and one small function for each effect. Beside them are the
//!   companions, which use the module as other modules do: the shell (`shell`, `commands`), forms, metrics, transfer.
//! - `tests`: scenarios through the engine's interface, with a host that fails, dies and interleaves as they say.
//!   `tests/bench` measures live servers, `tests/bench/scale` the engine alone.
//! - `spec`: the built library in a real Prosody.
//!
//! # Contact lists
//!
//! A roster is never edited pair by pair. The engine says what it should hold, in an [`engine::Plan`], and *reconciles*
//! it: it is compared and changed in memory. That happens at once for rosters in memory (within a budget), on load for
//! those that are read from storage, and in the background for the rest, where changes are also saved, once for however
//! many there were. Reconciling a roster takes one crossing, in which the shim hands over Prosody's table:
//!
//! 1. *Compare.* The binding looks at each contact in the plan ([`engine::Effect::Compare`]). It leaves out what has
//!    the usual form, and never decides. It reads the facts of the others ([`engine::Reply::Compared`]).
//! 2. *Decide.* The rules of one contact are in `rules.rs` (permanent contacts), `overlay.rs` (virtual contacts) and
//!    `provenance.rs`: they say whether the contact is brought, given up, named or withdrawn, and what is noted.
//! 3. *Change.* The binding carries out the edits in the table ([`engine::Effect::Change`]). Nothing waits in between.
//!
//! Comparing in Lua takes half as long where all is settled: 0.5 ms less of a login to a list of 1,000. Handing plans,
//! facts and changes over takes more where something is missing, and needs their forms to be written twice.
//!
//! What a group has brought can be given up, and its label follows its name, because the roster remembers which
//! contacts are the user's own: its *provenance*. It is one JSON text in the roster's metadata, which only Rust reads.
//! Who has left a group is noted in the marker as a *parting* until every roster concerned is settled, and whose
//! account is deleted as a *withdrawal*. Both take effect when a roster is reconciled.
//!
//! The [`engine::Marker`] in storage tells which groups have open work. It is written before the first store of an
//! operation, so that after a crash the next start finishes the work.
//!
//! With virtual contacts, reconciling lays what groups bring over a roster in memory, and storage is not told. Nothing
//! is unsettled then, no background work is done, and a parting concerns rosters in memory only. When the option is
//! switched, every group is unsettled once, and each roster is converted when it is reconciled. Until then it shows what
//! it did, so that clients are pushed what differs from what they have.
//!
//! # Versions of rosters
//!
//! A roster version promises a client that it has everything up to a number, so a number never stands for two contents.
//! What is saved, pushed and shown is said by [`engine::Version`].
//!
//! - **A change** takes a number above all that an earlier start can have handed out.
//! - **Pushes** of one change are spread over turns of the event loop. Only the last one of a user carries a number
//!   that the roster is served with ([`engine::Push`]). The last pushes precede a save, so that their number is stored.
//! - **A doubtful version** is replaced when the roster is read, before anybody sees it. Three things make it doubtful:
//!   the metadata say that it stands for changes that are not in storage (`groups_unsaved`); it was saved by a start
//!   that ended with work open ([`engine::Marker::doubtful_before`]); or there was nobody to take the last pushes.
//! - **A virtual list** has a version made of the stored one and a number for each of the user's groups. It is the same
//!   after a restart, and another one whenever the list is ([`engine::virtual_version`]). It is even; pushes that are
//!   not the last carry odd ones.
//!
//! # Choices that are not obvious
//!
//! - **Stamps.** A bind compares the whole roster, unless nothing that it follows from has changed since it was last
//!   compared, and its own version has not either ([`engine::Effect::CheckStamp`]). So a settled user's login costs the
//!   same in one group and in a thousand.
//! - **Names of effects** cross the border as text. A number would save some 50 ns of an effect's 500, and cost a table
//!   to be kept in step.
//! - **Absence is never believed for long.** Only `user-deleted` takes contacts away. A member whose account nobody
//!   knows is listed in the marker, and looked for again at a sync, at the next start, and when the user appears. What
//!   proves that an account was deleted while the server was down is said at [`engine::Engine::check`].
//! - **Affiliations** are set outside the group's turn, for other modules' handlers may call back. Afterwards,
//!   membership is read again, and the affiliation is set again until the two agree.
//! - **Provenance stores the exception, not the rule.** A mark on each contact would double what a large group takes.
//!   So what bears a label that its group has given counts as brought, and what a user had or did is noted. A note is
//!   stored no later than the change it is about, and goes after it.
//! - **Partings name only who left.** Which rosters still have to be settled is known in memory. After a crash, all
//!   rosters of the group are settled again, which does no harm. A list in the marker would be written anew with every
//!   removal.
//! - **Saves of rooms** wait for the end of a burst. A save may wait only while the marker in storage names the group;
//!   then a start after a crash aligns the group's rooms. Where too many groups wait, a room is saved in the call.
//! - **Many unsettled groups** are not listed in the marker: beyond 64 it says that all are. So adding a user to a
//!   thousand groups does not write a list of them a thousand times. A crash then costs a comparison of all rosters.
//! - **Lua's collector**, as Prosody sets it, visits 4 MB of memory at a time, for some 7 ms, and all of it whenever it
//!   has grown by a twentieth. A save of a large roster, a few dozen pushes or affiliations, or a contact list that is
//!   sent start it in their midst, and take twice as long; of the time in which 300 members log in at once, it takes
//!   two thirds. So the shim puts it off for 10 ms, which is what an add takes, and then runs it in slices of a
//!   millisecond, or in one go where much garbage is left ([`engine::Collector`]). A turn that it begins with is the
//!   shorter for it ([`engine::Operation::since`]).
//! - **Tables built for Lua** are kept where the next call will want nearly the same: a group's record while members
//!   are added one by one, the list of a group's members while they log in one after the other.

#[cfg(any(feature = "lua54", feature = "lua53", feature = "lua52"))]
mod binding;
pub mod engine;
pub mod import;

#[cfg(test)]
mod tests {
    #[test]
    fn the_shim_expects_the_version_of_this_library() {
        let shim = include_str!("../lua/mod_groups_internal/mod_groups_internal.lua");
        let expected = format!("local VERSION = \"{}\";", env!("CARGO_PKG_VERSION"));
        assert!(shim.contains(&expected), "{expected} is not in the shim");
    }
}
