//! Operations that can be stopped at every effect and resumed with its reply.
//!
//! An operation is an `async fn` that awaits effects; no runtime drives it but [`Operation::resume`]. Its future is
//! `Send`, which the compiler uses for us: a guard of the engine's lock held across an await, or a Lua value in the
//! engine, does not compile.

use std::cell::Cell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::{Mutex, MutexGuard};

use crate::engine::effect::{Effect, Event, Level, Reply};
use crate::engine::{Error, Shared, State};

/// How long a long operation keeps the turn of the event loop, in seconds.
const LONG_TURN: f64 = 0.003;

/// What an operation wants when it stops.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// The next thing to do; resume with the reply.
    Effect(Effect),
    /// The operation has ended.
    Done(Result<Answer, Error>),
    /// A bug: the operation panicked there and has ended.
    Panicked(String),
}

/// What a finished operation returns.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done.
    Done,
    /// Nothing is done: this entry of the list of usernames, counted from 0, cannot be one.
    BadUsername(usize),
    /// What was found wrong.
    Problems(Vec<crate::engine::Problem>),
    /// The id of a new group.
    Id(crate::engine::Name),
    /// A new chat.
    Chat {
        /// The room's JID.
        jid: Box<[u8]>,
        /// The chat's name.
        name: Box<[u8]>,
    },
}

type Work = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// A running operation. Dropping it half-way is allowed: what it has stored stays, its turn passes on.
pub struct Operation {
    work: Option<Work>,
    shared: Arc<Shared>,
    slot: Arc<Slot>,
}

impl Operation {
    pub(crate) fn new<F>(shared: &Arc<Shared>, start: impl FnOnce(Call) -> F) -> Operation
    where
        F: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        let slot = Arc::new(Slot::default());
        let call = Call { shared: Arc::clone(shared), slot: Arc::clone(&slot) };
        Operation { work: Some(Box::pin(start(call))), shared: Arc::clone(shared), slot }
    }

    /// Says when the turn of the event loop began that the operation is begun in, which may have been a while before
    /// its first resume: Lua's collector takes its time at any moment.
    #[must_use]
    pub fn since(self, began: f64) -> Operation {
        self.slot.lock().began = Some(began);
        self
    }

    /// Runs the operation up to its next effect, or to its end.
    ///
    /// `now` is a monotonic time in seconds. The first call of an operation takes [`Reply::Done`]. Resuming an
    /// operation that has ended, or whose engine was closed, answers [`Error::Internal`].
    pub fn resume(&mut self, now: f64, reply: Reply) -> Step {
        let Some(mut work) = self.work.take() else {
            return Step::Done(Err(Error::Internal));
        };
        if self.shared.tick(now) {
            return Step::Done(Err(Error::Internal));
        }
        {
            let mut exchange = self.slot.lock();
            exchange.reply = Some(reply);
            exchange.began.get_or_insert(now);
        }
        let mut context = Context::from_waker(Waker::noop());
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(result)) => Step::Done(result),
            Ok(Poll::Pending) => match self.slot.lock().effect.take() {
                Some(effect) => {
                    self.work = Some(work);
                    Step::Effect(effect)
                }
                None => Step::Panicked("an operation waits for something that is no effect".into()),
            },
            Err(payload) => Step::Panicked(describe(payload.as_ref())),
        }
    }
}

/// Where an effect waits for the shim, and the reply for the operation.
#[derive(Default)]
struct Slot(Mutex<Exchange>);

#[derive(Default)]
struct Exchange {
    effect: Option<Effect>,
    reply: Option<Reply>,
    began: Option<f64>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock()
    }
}

/// An operation's way to the engine's state and to Prosody.
pub(crate) struct Call {
    pub(crate) shared: Arc<Shared>,
    slot: Arc<Slot>,
}

impl Call {
    /// The engine's state, until the guard is dropped: before the next await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Hands an effect out to the shim, and waits for the reply. To be awaited at once: the effect waits in the slot,
    /// and no operation has to keep it.
    pub(crate) fn perform(&self, effect: Effect) -> Exchanged<'_> {
        self.slot.lock().effect = Some(effect);
        Exchanged(&self.slot)
    }

    /// Hands out an effect that either succeeds or fails, and waits for the outcome.
    pub(crate) fn done(&self, effect: Effect) -> impl Future<Output = Result<(), String>> {
        let stores = matches!(effect, Effect::StoreInfo(..) | Effect::StoreMembers(..) | Effect::StoreMember(..));
        let reply = self.perform(effect);
        async move {
            let outcome = match reply.await {
                Reply::Failed(reason) => Err(reason),
                _ => Ok(()),
            };
            if stores {
                self.note_condition(|condition| condition.unstored = outcome.is_err()).await;
            }
            outcome
        }
    }

    /// Tells other modules. The shim logs a handler that throws; the operation goes on.
    pub(crate) fn fire(&self, event: Event) -> Exchanged<'_> {
        self.perform(Effect::Fire(event))
    }

    /// Writes a line to Prosody's log.
    pub(crate) fn log(&self, level: Level, text: String) -> Exchanged<'_> {
        self.perform(Effect::Log(level, text))
    }

    /// The time of the last resume, in seconds.
    pub(crate) fn now(&self) -> f64 {
        self.shared.now()
    }

    /// Lets others have a turn of the event loop, if this operation has kept it for a while and its caller can wait.
    pub(crate) async fn breathe(&self) {
        if self.now() - self.began() < LONG_TURN {
            return;
        }
        if self.pause().await {
            self.slot.lock().began = Some(self.now());
        }
    }

    /// Lets others have a turn of the event loop. False if the caller cannot wait.
    pub(crate) async fn pause(&self) -> bool {
        self.perform(Effect::Wake).await;
        self.perform(Effect::Wait).await == Reply::Done
    }

    /// The time of the operation's first resume, or of the beginning of its turn, in seconds.
    pub(crate) fn began(&self) -> f64 {
        self.slot.lock().began.unwrap_or_else(|| self.now())
    }
}

/// The reply to an effect that was handed out.
#[must_use]
pub(crate) struct Exchanged<'a>(&'a Slot);

impl Future for Exchanged<'_> {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Reply> {
        let mut exchange = self.0.lock();
        if exchange.effect.is_some() {
            return Poll::Pending;
        }
        exchange.reply.take().map_or(Poll::Pending, Poll::Ready)
    }
}

thread_local! {
    static LAST_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// Makes panics of this thread remember where they happened instead of printing it, for [`Step::Panicked`] to tell.
///
/// The hook is the library's own: a library loaded into Prosody has its own copy of Rust's runtime.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|info| LAST_PANIC.set(Some(info.to_string()))));
}

fn describe(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    LAST_PANIC
        .take()
        .or(text)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic of an unknown kind".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Options};

    #[test]
    #[allow(clippy::panic)]
    fn a_panic_ends_its_operation_and_says_where_it_happened() {
        remember_panics();
        let engine = Engine::new("localhost", Options::default());
        let mut operation = engine.start(|call| async move {
            call.perform(Effect::Wake).await;
            panic!("out of cheese");
        });
        assert_eq!(operation.resume(0.0, Reply::Done), Step::Effect(Effect::Wake));
        let Step::Panicked(place) = operation.resume(0.0, Reply::Done) else { panic!("no panic was reported") };
        assert!(place.contains("operation.rs") && place.contains("out of cheese"), "{place}");
        assert_eq!(operation.resume(0.0, Reply::Done), Step::Done(Err(Error::Internal)));
        assert!(!engine.exists(b"x"), "the engine works on");
    }

    #[test]
    fn a_closed_engine_ends_its_operations_at_their_next_step() {
        let engine = Engine::new("localhost", Options::default());
        let mut operation = engine.start(|call| async move {
            call.perform(Effect::Wake).await;
            Ok(Answer::Done)
        });
        assert_eq!(operation.resume(0.0, Reply::Done), Step::Effect(Effect::Wake));
        engine.close();
        assert_eq!(operation.resume(0.0, Reply::Done), Step::Done(Err(Error::Internal)));
    }
}
