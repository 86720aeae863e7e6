//! Operations that are struck at one of their effects, and operations that run at the same time.

use groups_internal_native::engine::{Answer, Effect, Error, Operation, Reply, Step};

use super::{LONGEST, World};

/// What happens at an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It is not done, and says so.
    Fail,
    /// It throws: it may have done half of its work, and nothing but a reason comes back.
    Throw,
    /// The operation is dropped before it is done.
    DropBefore,
    /// The operation is dropped after it was done.
    DropAfter,
    /// The server dies before it is done.
    CrashBefore,
    /// The server dies after it was done.
    CrashAfter,
}

/// Whether Prosody may put the caller to sleep in the midst of an effect: in storage, in authentication, in other
/// modules' handlers. The others are done in one go, so nothing can come between them and their replies.
pub fn can_wait(effect: &Effect) -> bool {
    use Effect::{
        Change, CheckStamp, Compare, FindBearers, FindRosters, Invite, ListRosters, Log, NewId, Push, ReleaseRoster,
        SendPresence, SendUnavailable, Wake,
    };
    !matches!(
        effect,
        Wake | Log(..)
            | NewId
            | FindRosters(_)
            | ListRosters(_)
            | CheckStamp(..)
            | Compare(..)
            | FindBearers(..)
            | Change(..)
            | ReleaseRoster(_)
            | Push(_)
            | SendPresence(..)
            | SendUnavailable(..)
            | Invite(..)
    )
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Done(Result<Answer, Error>),
    Dropped,
    Crashed,
}

impl World {
    /// Drives an operation, striking at its effect number `at`. Nothing if it has no more than `at` effects. A server
    /// that died is not started again yet.
    pub fn run_struck(&mut self, operation: Operation, at: usize, strike: Strike) -> Option<(Outcome, Effect)> {
        let (outcome, struck) = self.run_struck_among(operation, at, strike, |_| true);
        Some((outcome, struck?))
    }

    /// The same, where only those effects count for which `counts` holds, and the operation may have fewer.
    pub fn run_struck_among(
        &mut self,
        mut operation: Operation,
        at: usize,
        strike: Strike,
        counts: fn(&Effect) -> bool,
    ) -> (Outcome, Option<Effect>) {
        let mut reply = Reply::Done;
        let mut struck = None;
        let mut place = 0;
        for _ in 0..LONGEST {
            let effect = match operation.resume(self.host.now, reply) {
                Step::Effect(effect) => effect,
                Step::Done(result) => return (Outcome::Done(result), struck),
                Step::Panicked(place) => panic!("panicked: {place}"),
            };
            let here = counts(&effect) && place == at;
            place += usize::from(counts(&effect));
            if !here {
                reply = self.host.perform(&effect, None);
                continue;
            }
            struck = Some(effect.clone());
            if matches!(strike, Strike::DropAfter | Strike::CrashAfter) {
                self.host.perform(&effect, None);
            }
            reply = match strike {
                Strike::Fail => self.host.fail(&effect),
                Strike::Throw => {
                    self.host.fail(&effect);
                    Reply::Failed("an error was thrown".to_owned())
                }
                Strike::DropBefore | Strike::DropAfter => return (Outcome::Dropped, Some(effect)),
                Strike::CrashBefore | Strike::CrashAfter => {
                    drop(operation);
                    self.kill();
                    return (Outcome::Crashed, Some(effect));
                }
            };
        }
        panic!("an operation does not end");
    }

    /// How many effects an operation has in a world like this one.
    pub fn length_of(&mut self, operation: Operation) -> usize {
        let before = self.host.trace.len();
        self.run(operation).ok();
        self.host.trace.len() - before
    }
}

/// An operation among others.
struct Task {
    operation: Operation,
    /// Handed out and not done yet.
    effect: Option<Effect>,
    reply: Option<Reply>,
    waiting: bool,
    result: Option<Result<Answer, Error>>,
}

/// Operations that run at the same time, changing over at effects.
pub struct Together {
    tasks: Vec<Task>,
}

impl Together {
    pub fn new(operations: impl IntoIterator<Item = Operation>) -> Together {
        let task = |operation| Task { operation, effect: None, reply: Some(Reply::Done), waiting: false, result: None };
        Together { tasks: operations.into_iter().map(task).collect() }
    }

    /// Which operations can go on.
    fn runnable(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|&i| self.tasks[i].result.is_none() && !self.tasks[i].waiting).collect()
    }

    /// Runs all to their ends; `choose` picks among those that can go on. With `late`, what an operation asked for is
    /// done when it is chosen next if it can wait, otherwise at once. Returns the results, and the number of seconds
    /// spent with all waiting.
    pub fn run(
        mut self,
        world: &mut World,
        late: bool,
        mut choose: impl FnMut(&[usize]) -> usize,
    ) -> (Vec<Result<Answer, Error>>, usize) {
        let mut idle = 0;
        for _ in 0..20_000 {
            let runnable = self.runnable();
            if runnable.is_empty() {
                if self.tasks.iter().all(|task| task.result.is_some()) {
                    return (self.tasks.into_iter().filter_map(|task| task.result).collect(), idle);
                }
                idle += 1;
                world.host.now += 1.0;
                self.tasks.iter_mut().for_each(|task| task.waiting = false);
                continue;
            }
            let chosen = choose(&runnable);
            self.step(world, chosen, late);
        }
        panic!("operations that run at the same time do not end");
    }

    fn step(&mut self, world: &mut World, chosen: usize, late: bool) {
        let task = &mut self.tasks[chosen];
        if let Some(effect) = task.effect.take() {
            task.reply = Some(world.host.perform(&effect, None));
            let woken = effect == Effect::Wake;
            if woken {
                self.tasks.iter_mut().for_each(|task| task.waiting = false);
            }
            if !late && can_wait(&effect) {
                return;
            }
        }
        let task = &mut self.tasks[chosen];
        let Some(reply) = task.reply.take() else { return };
        match task.operation.resume(world.host.now, reply) {
            Step::Effect(Effect::Wait) => {
                task.waiting = true;
                task.reply = Some(Reply::Done);
            }
            Step::Effect(effect) => {
                let at_once = !can_wait(&effect);
                task.effect = Some(effect);
                if at_once || !late {
                    self.step(world, chosen, late);
                }
            }
            Step::Done(result) => task.result = Some(result),
            Step::Panicked(place) => panic!("panicked: {place}"),
        }
    }
}
