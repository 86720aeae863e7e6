//! A fake host and the means to drive the engine through it: to the end, into failures, and several operations at once.

#![allow(dead_code, unused_imports)]

pub mod cases;
pub mod chance;
pub mod check;
pub mod drive;
pub mod host;
pub mod people;
pub mod roster;

use groups_internal_native::engine::{Answer, Effect, Engine, Error, Event, Name, Operation, Options, Reply, Step};

pub use chance::config;
pub use drive::{Outcome, Strike, Together, can_wait};
pub use host::Host;
pub use roster::{Item, Roster, Table};

/// No operation of these tests takes more effects.
const LONGEST: usize = 3000;

/// No burst of these tests needs more turns of background work.
const MOST_TURNS: usize = 2000;

/// Minutes of the calendar.
pub const EPOCH: u64 = 29_000_000;

pub fn n(name: &str) -> Name {
    Name::from(name)
}

pub fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| n(name)).collect()
}

pub fn given(text: &str) -> Option<&[u8]> {
    Some(text.as_bytes())
}

/// Gathers what fails in many trials, so that one run tells of all.
#[derive(Default)]
pub struct Trials {
    pub tried: usize,
    failures: Vec<String>,
}

impl Trials {
    pub fn attempt(&mut self, what: &str, trial: impl FnOnce()) {
        self.tried += 1;
        if let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(trial)) {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            self.failures.push(format!("{what}\n    {}", text.unwrap_or_default()));
        }
    }

    pub fn judge(self) {
        assert!(self.tried > 0, "nothing was tried");
        let Trials { tried, failures } = self;
        assert!(failures.is_empty(), "{} of {tried} failed:\n{}", failures.len(), failures.join("\n"));
    }
}

/// A host with an engine that works for it.
pub struct World {
    pub engine: Engine,
    pub host: Host,
    pub options: Options,
    /// Minutes of the calendar since [`EPOCH`].
    pub minutes: u64,
}

impl World {
    /// A host without groups whose engine has been started, with these accounts.
    pub fn new(accounts: &[&str]) -> World {
        World::with(Options { chats: true, row_writes: false, ..Options::default() }, accounts)
    }

    /// The same, on storage that writes single rows.
    pub fn on_rows(accounts: &[&str]) -> World {
        World::with(Options { chats: true, row_writes: true, ..Options::default() }, accounts)
    }

    pub fn with(options: Options, accounts: &[&str]) -> World {
        let mut world = World::stopped(options, accounts);
        world.start();
        world
    }

    /// A host whose engine has not been started.
    pub fn stopped(options: Options, accounts: &[&str]) -> World {
        let host = Host { accounts: accounts.iter().map(|user| n(user)).collect(), tick: 1e-5, ..Host::default() };
        World { engine: Engine::new("localhost", options), host, options, minutes: 0 }
    }

    /// A settled group `g`, named G, of these members, who all have accounts.
    pub fn with_group(members: &[&str]) -> World {
        World::new(members).and_group("g", "G", members)
    }

    pub fn and_group(mut self, id: &str, name: &str, members: &[&str]) -> World {
        self.create(id, name).expect("a group can be created");
        for member in members {
            self.add(id, member).expect("a member can be added");
        }
        self.settle();
        self.host.forget();
        self
    }

    /// What the shim does when the module is loaded.
    pub fn start(&mut self) {
        self.run(self.engine.load(EPOCH + self.minutes, "")).expect("storage can be read");
    }

    /// The server is killed and started again: what was in memory is gone.
    pub fn crash(&mut self) {
        self.kill();
        self.start();
    }

    pub fn kill(&mut self) {
        self.host.vanished.clear();
        self.host.sessions.clear();
        self.host.interested.clear();
        self.host.cache.clear();
        self.host.rooms.values_mut().for_each(|room| room.members.clone_from(&room.saved));
        self.engine = Engine::new("localhost", self.options);
    }

    /// Drives an operation to its end.
    pub fn run(&mut self, operation: Operation) -> Result<Answer, Error> {
        self.run_in(operation, None)
    }

    /// The same for a hook that was given a roster.
    pub fn run_in(&mut self, mut operation: Operation, context: Option<&Table>) -> Result<Answer, Error> {
        let mut reply = Reply::Done;
        for _ in 0..LONGEST {
            match operation.resume(self.host.now, reply) {
                Step::Effect(effect) => reply = self.host.perform(&effect, context),
                Step::Done(result) => return result,
                Step::Panicked(place) => panic!("panicked: {place}"),
            }
        }
        panic!("an operation does not end; last: {:?}", &self.host.trace[self.host.trace.len() - 20..]);
    }

    /// Works as the engine asks for until nothing is left.
    pub fn settle(&mut self) {
        self.settle_within(f64::INFINITY);
        assert_eq!(self.engine.next_work(self.host.now), None, "work is left");
    }

    /// Works as the engine asks for, for so many seconds at most.
    pub fn settle_within(&mut self, seconds: f64) {
        let ends = self.host.now + seconds;
        for _ in 0..MOST_TURNS {
            let Some(delay) = self.engine.next_work(self.host.now) else { return };
            if self.host.now + delay > ends {
                self.host.now = ends;
                return;
            }
            self.host.now += delay;
            self.run(self.engine.work()).expect("work does not fail");
        }
        let last = &self.host.trace[self.host.trace.len().saturating_sub(12)..];
        panic!("work does not come to an end; last: {last:#?}");
    }

    pub fn create(&mut self, id: &str, name: &str) -> Result<Answer, Error> {
        self.run(self.engine.create(given(name), false, Some(given(id))))
    }

    pub fn create_with_chat(&mut self, id: &str, name: &str) -> Result<Answer, Error> {
        self.run(self.engine.create(given(name), true, Some(given(id))))
    }

    pub fn add(&mut self, id: &str, user: &str) -> Result<Answer, Error> {
        self.run(self.engine.add_member(given(id), given(user), false))
    }

    pub fn add_delayed(&mut self, id: &str, user: &str) -> Result<Answer, Error> {
        self.run(self.engine.add_member(given(id), given(user), true))
    }

    pub fn remove(&mut self, id: &str, user: &str) -> Result<Answer, Error> {
        self.run(self.engine.remove_member(given(id), given(user)))
    }

    pub fn rename(&mut self, id: &str, name: &str) -> Result<Answer, Error> {
        self.run(self.engine.set_info(given(id), given(name)))
    }

    pub fn delete(&mut self, id: &str) -> Result<Answer, Error> {
        self.run(self.engine.delete(given(id)))
    }

    pub fn sync(&mut self, id: &str) {
        assert_eq!(self.run(self.engine.sync(given(id))), Ok(Answer::Done));
    }

    pub fn add_chat(&mut self, id: &str, name: &str) -> Result<Answer, Error> {
        self.run(self.engine.add_group_chat(given(id), given(name)))
    }

    pub fn remove_chat(&mut self, id: &str, room: &str) -> Result<Answer, Error> {
        self.run(self.engine.remove_group_chat(given(id), given(room)))
    }

    pub fn members(&self, id: &str) -> Vec<String> {
        let mut members: Vec<_> = self.engine.members(id.as_bytes()).iter().map(|(user, _)| user.to_string()).collect();
        members.sort();
        members
    }

    /// The contact as storage has it.
    pub fn stored(&self, user: &str, contact: &str) -> Option<Item> {
        self.host.stored.get(&n(user))?.items.get(&n(contact)).cloned()
    }

    /// The contact as the user's session has it.
    pub fn shown(&self, user: &str, contact: &str) -> Option<Item> {
        self.host.sessions.get(&n(user))?.borrow().items.get(&n(contact)).cloned()
    }
}

impl Host {
    /// Forgets what was recorded so far.
    pub fn forget(&mut self) {
        self.trace.clear();
        self.events.clear();
        self.log.clear();
    }

    /// The numbers of the effects for which this holds.
    pub fn places(&self, what: impl Fn(&Effect) -> bool) -> Vec<usize> {
        self.trace.iter().enumerate().filter(|(_, effect)| what(effect)).map(|(place, _)| place).collect()
    }

    pub fn count(&self, what: impl Fn(&Effect) -> bool) -> usize {
        self.places(what).len()
    }

    pub fn saves(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::SaveRoster(..)))
    }

    /// Who was pushed which contact, in order.
    pub fn pushes(&self) -> Vec<(String, String)> {
        let pushes = self.trace.iter().filter_map(|effect| match effect {
            Effect::Push(push) => Some(push),
            _ => None,
        });
        pushes.flat_map(|p| p.contacts.iter().map(|c| (p.user.to_string(), c.to_string()))).collect()
    }

    /// Whose presence was sent to whom, in order.
    pub fn presences(&self) -> Vec<(String, String)> {
        let sent = self.trace.iter().filter_map(|effect| match effect {
            Effect::SendPresence(from, to) => Some((from, to)),
            _ => None,
        });
        sent.flat_map(|(from, to)| to.iter().map(|to| (from.to_string(), to.to_string()))).collect()
    }

    /// The warnings and errors of the log.
    pub fn complaints(&self) -> Vec<&str> {
        use groups_internal_native::engine::Level;
        self.log
            .iter()
            .filter(|(level, _)| matches!(level, Level::Error | Level::Warn))
            .map(|(_, text)| text.as_str())
            .collect()
    }

    /// The events as `+group`, `=group`, `-group`, `+user`, `-user`, `+chat`, `=chat`, `-chat`; `=` is for a change.
    pub fn told(&self) -> Vec<String> {
        let words = |event: &Event| match event {
            Event::Created { .. } => vec!["+group".to_owned()],
            Event::Updated { .. } => vec!["=group".to_owned()],
            Event::Deleted { .. } => vec!["-group".to_owned()],
            Event::ChatRenamed { .. } => vec!["=chat".to_owned()],
            Event::UsersAdded { users, .. } => users.iter().map(|user| format!("+{user}")).collect(),
            Event::UsersRemoved { users, .. } => users.iter().map(|user| format!("-{user}")).collect(),
            Event::ChatAdded { .. } => vec!["+chat".to_owned()],
            Event::ChatRemoved { .. } => vec!["-chat".to_owned()],
        };
        self.events.iter().flat_map(words).collect()
    }

    pub fn stores_nothing(&self) -> bool {
        self.count(is_store) == 0
    }
}

/// Which affiliations an effect sets, as `user: from to`.
pub fn sets(effect: &Effect) -> Vec<String> {
    let Effect::SetAffiliations(_, shifts) = effect else { return Vec::new() };
    shifts.iter().map(|shift| format!("{}: {} {}", host::user(&shift.jid), shift.from, shift.to)).collect()
}

/// An effect that changes what other calls, or the next start, will see.
pub fn is_store(effect: &Effect) -> bool {
    use Effect::{
        ConfigureRoom, CreateRoom, DestroyRoom, Fire, SaveRoster, StoreInfo, StoreMarker, StoreMember, StoreMembers,
    };
    matches!(
        effect,
        StoreInfo(..)
            | StoreMembers(..)
            | StoreMember(..)
            | StoreMarker(_)
            | CreateRoom(_)
            | DestroyRoom(_)
            | ConfigureRoom(..)
            | SaveRoster(..)
            | Fire(_)
    )
}
