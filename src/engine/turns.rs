//! Turns: the store steps of one group, or of the marker, one operation after the other.
//!
//! A turn is a ticket in a queue. Giving it up sets a flag on the ticket and locks nothing, so that an operation that
//! is dropped half-way, even by Lua's collector, passes its turn on as well.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::engine::effect::{Effect, Reply};
use crate::engine::operation::Call;
use crate::engine::{Error, Name};

/// How long an operation waits for its turn before it gives up, in seconds.
pub(crate) const PATIENCE: f64 = 30.0;

/// What operations take turns at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// The records of a group, by id: a group that is being created has no key yet.
    Group(Name),
    /// Setting many affiliations in a group's rooms, in several turns of the event loop.
    Rooms(Name),
    /// The marker.
    Marker,
    /// One roster: our own loads and saves of it.
    Roster(Name),
    /// The background work.
    Background,
    /// Reading storage.
    Start,
    /// Restoring all groups.
    Restore,
}

type Ticket = Arc<AtomicBool>;

/// The queues. A place without a queue is free.
#[derive(Default)]
pub(crate) struct Turns(HashMap<Place, VecDeque<Ticket>>);

impl Turns {
    /// Whether an operation has the turn at a place, or waits for it.
    pub(crate) fn is_taken(&mut self, place: &Place) -> bool {
        let Some(queue) = self.0.get_mut(place) else {
            return false;
        };
        queue.retain(|ticket| !ticket.load(Ordering::Relaxed));
        let taken = !queue.is_empty();
        if !taken {
            self.0.remove(place);
        }
        taken
    }

    fn join(&mut self, place: &Place) -> Turn {
        let ticket = Ticket::default();
        self.0.entry(place.clone()).or_default().push_back(Arc::clone(&ticket));
        Turn { place: place.clone(), ticket }
    }

    fn is_first(&mut self, turn: &Turn) -> bool {
        let taken = self.is_taken(&turn.place);
        taken && self.0.get(&turn.place).and_then(VecDeque::front).is_some_and(|first| Arc::ptr_eq(first, &turn.ticket))
    }
}

/// A turn taken. Dropping it gives it up.
pub(crate) struct Turn {
    place: Place,
    ticket: Ticket,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.ticket.store(true, Ordering::Relaxed);
    }
}

impl Call {
    /// Takes the turn at a place, waiting for those before.
    pub(crate) async fn turn(&self, place: Place) -> Result<Turn, Error> {
        let turn = self.state().turns.join(&place);
        let patience_ends = self.now() + PATIENCE;
        while !self.state().turns.is_first(&turn) {
            if self.now() > patience_ends || self.perform(Effect::Wait).await != Reply::Done {
                return Err(Error::Internal);
            }
        }
        Ok(turn)
    }

    /// Takes the turn at a place if it is free.
    pub(crate) fn try_turn(&self, place: Place) -> Option<Turn> {
        let mut state = self.state();
        if state.turns.is_taken(&place) { None } else { Some(state.turns.join(&place)) }
    }

    /// Gives a turn up and wakes those who wait for it.
    pub(crate) async fn end(&self, turn: Turn) {
        let place = turn.place.clone();
        drop(turn);
        let awaited = self.state().turns.is_taken(&place);
        if awaited {
            self.perform(Effect::Wake).await;
        }
    }
}
