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
//! `add_member("family", "ann")` in Lua asks the binding for an operation. Nothing has happened yet. The shim resumes it; it runs
//! up to the first thing that Prosody has to do and hands that out as an [`engine::Effect`]: read a record, store the
//! marker, store the members, set an affiliation, fire an event, compare a roster, push a contact. The shim does it in plain
//! Lua, which may wait as long as it likes, and resumes the operation with the [`engine::Reply`]. At last the operation
//! ends with what the caller gets.
//!
//! So no Rust frame is ever on the stack while Prosody's code runs. It could not be: Prosody's storage, authentication and
//! event handlers may yield, and a yield across a native frame is an error. It also makes the engine a state machine that tests
//! can drive through every interleaving and every failure without a server.
//!
//! # Where things are
//!
//! - [`engine`]: everything that is decided, and the tests of it. Begin with [`engine::Effect`], then [`engine::Engine`].
//! - `binding`: the only place that knows mlua: the library's entry, the handles, and the conversion of values and errors.
//! - `lua/mod_groups_internal`: options, hooks, timers, and one small function for each effect.
//!
//! # Contact lists
//!
//! A roster is never edited pair by pair. The engine knows what it should hold ([`engine::Plan`], which also says what
//! counts as a difference); one function of the shim compares and changes it in memory. That happens at once for rosters in
//! memory (within a budget), on load for those that are read from storage, and in the background for the rest, where
//! changes are also saved, once for however many there were. The [`engine::Marker`] in storage tells which groups have
//! open work; it is written before the first store of an operation, so that a killed server finishes the work at its next
//! start.
//!
//! What a group has brought can be taken back, and its label follow its name, since a roster tells what is the user's own: by its
//! *provenance*, explained at [`engine::Plan`]. Who has left a group and is still to be taken out of rosters is noted in the marker as a
//! *parting*. Both are looked at where everything else is: when a roster is reconciled.
//!
//! With virtual contacts, reconciling lays what groups bring over a roster in memory instead, and storage is not told: nothing
//! is unsettled then, no background work is done, and leaving a group is a matter of the rosters in memory. When the option is
//! switched, every group is unsettled once, and rosters are converted as they are gone through.
//!
//! # Choices that are not obvious
//!
//! - **Versions of pushes.** Roster versions promise a client that it has everything up to a number. Pushes of one change
//!   are spread over turns of the event loop, so only the last one of a user carries a number that the roster is served
//!   with ([`engine::Push`]).
//! - **Stamps.** A bind compares the whole roster, unless nothing that it follows from has changed since it was last
//!   compared, and its own version has not either ([`engine::Effect::CheckStamp`]). So a settled user's login costs
//!   the same in one group and in a thousand.
//! - **Names of effects** cross the border as text. A number would save some 50 ns of an effect's 500, and cost a table to be
//!   kept in step.
//! - **Absence is never believed for long.** Only `user-deleted` takes contacts away. A member whose account nobody knows
//!   is listed in the marker, and looked for again at a sync, at the next start, and when the user appears. What proves that
//!   an account was deleted while the server was down is said at [`engine::Engine::check`].
//! - **Affiliations** are set outside the group's turn, for other modules' handlers may call back. Whoever has set one looks
//!   whether membership is still what it was, and goes on until the two agree.
//! - **Provenance stores the exception, not the rule**: a mark on each contact would double what a large group takes, so what bears a
//!   label that its group has given counts as brought, and what a user had or did is noted. A note is stored no later than the change it
//!   is about, and goes after it.
//! - **Partings name only who left.** Whose rosters are still to be gone through is known in memory; after a crash all of the
//!   group's are, which is safe to do twice. A list in the marker would be written anew with every removal.
//! - **The version of a virtual list** is made of the stored version and a number for each of the user's groups, so that it is the same
//!   after a restart and another one whenever the list is ([`engine::Plan`]). It is even; pushes that are not the last carry odd ones.
//! - **Lua's collector**, as Prosody sets it, goes through 4 MB of memory at a time, for some 7 ms, and through all of it whenever that
//!   has grown by a twentieth: a save of a large roster or a few dozen pushes have it run in their midst, and take twice as long. So
//!   it is put off for 10 ms, which is what an add takes, and for 20 ms where nobody waits, unless it has been left much already;
//!   and a turn of ours that it begins with is the shorter for it ([`engine::Operation::since`]).
//! - **Tables built for Lua** are kept where the next call will want nearly the same: a group's record while members are added
//!   one by one, the list of a group's members while they log in one after the other.

#[cfg(any(feature = "lua54", feature = "lua53", feature = "lua52"))]
mod binding;
pub mod engine;

#[cfg(test)]
mod tests {
    #[test]
    fn the_shim_expects_the_version_of_this_library() {
        let shim = include_str!("../lua/mod_groups_internal/mod_groups_internal.lua");
        let expected = format!("local VERSION = \"{}\";", env!("CARGO_PKG_VERSION"));
        assert!(shim.contains(&expected), "{expected} is not in the shim");
    }
}
