//! When Lua's collector works.
//!
//! As Prosody sets it, it visits 4 MB of memory at a time, and begins anew when memory has grown by a twentieth. In the
//! midst of a save or of pushes it would visit all memory, which takes as long as they do, and nobody is served
//! meanwhile. So it is put off, and afterwards collects in short slices between turns of the event loop. Where much
//! garbage is left because there are no such turns, as when hundreds log in at once, it collects that in one go.
//!
//! Lua forgets, when its collector goes on, that it was to rest until there is more garbage: it would begin at once,
//! and visit all memory after each change and each login. So it is told to rest as long as there is little.

/// How much garbage may be left because the collector is put off, in kilobytes, beside half of what is in use.
const MOST_GARBAGE: f64 = 8192.0;

/// From how much garbage on it need not rest, in kilobytes, beside the twentieth of what is in use that Prosody has it
/// wait for.
const LITTLE_GARBAGE: f64 = 2048.0;

/// How much memory a slice can be expected to visit at the least, in kilobytes. Slices come to no end where Lua's
/// collector works by generations: then this tells when to stop.
const LEAST_SLICE: f64 = 256.0;

/// Decides when Lua's collector works. All memory is in kilobytes.
///
/// The collector is never stopped. It is told to rest until more memory is in use than there should be, so that it goes
/// on by itself where nobody asks for it.
#[derive(Debug)]
pub struct Collector {
    /// What is in use without garbage, as far as is known.
    in_use: f64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Lua's collector works as it likes.
    Free,
    PutOff,
    /// It is put off but for slices, of which so many may follow.
    InSlices(u32),
}

/// What to do about Lua's collector while Prosody is busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PutOff {
    /// Nothing: somebody else has stopped it.
    Nothing,
    /// Let it rest for [`Collector::limit`], and ask [`Collector::step`] in a later turn of the event loop.
    Begin,
    /// Let it rest for [`Collector::limit`].
    Rest,
    /// Collect all garbage now, note what is left, and let it rest for [`Collector::limit`].
    Collect,
}

/// What to do about it between turns of the event loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Collect for a slice, note what is left if that has ended a collection, let it rest for [`Collector::limit`], and
    /// ask again in the next turn.
    Slice,
    /// Let it rest for so many kilobytes of garbage, and then work as it likes.
    End(u32),
}

impl Default for Collector {
    fn default() -> Self {
        Collector { in_use: f64::INFINITY, state: State::Free }
    }
}

impl Collector {
    /// Puts the collector off. `memory`: what is in use. `runs`: whether Lua's collector runs.
    pub fn put_off(&mut self, memory: f64, runs: bool) -> PutOff {
        if !runs {
            return PutOff::Nothing;
        }
        self.in_use = self.in_use.min(memory);
        if self.state == State::Free {
            self.state = State::PutOff;
            return PutOff::Begin;
        }
        if memory > self.most() { PutOff::Collect } else { PutOff::Rest }
    }

    /// The most memory that may be in use while the collector is put off.
    fn most(&self) -> f64 {
        self.in_use * 1.5 + MOST_GARBAGE
    }

    /// For how much more memory Lua's collector rests until it works by itself. `memory`: what is in use.
    pub fn limit(&self, memory: f64) -> u32 {
        kilobytes(self.most() + MOST_GARBAGE - memory)
    }

    /// Notes what is in use after a collection.
    pub fn note_collection(&mut self, memory: f64) {
        self.in_use = memory;
        if self.state != State::Free {
            self.state = State::InSlices(0);
        }
    }

    /// Says what to do next after [`PutOff::Begin`] or a slice. `memory`: what is in use.
    pub fn step(&mut self, memory: f64) -> Step {
        let left = match self.state {
            State::InSlices(left) => left.saturating_sub(1),
            _ if memory < self.little() => 0,
            _ => (memory / LEAST_SLICE) as u32,
        };
        if left > 0 {
            self.state = State::InSlices(left);
            return Step::Slice;
        }
        if self.state == State::InSlices(1) {
            // They have come to no end, and would not the next time.
            self.in_use = memory;
        }
        self.state = State::Free;
        Step::End(kilobytes(self.little() - memory))
    }

    /// With less in use, there is little garbage.
    fn little(&self) -> f64 {
        self.in_use * 1.05 + LITTLE_GARBAGE
    }
}

/// A pause of the collector as Lua takes it.
fn kilobytes(pause: f64) -> u32 {
    pause.max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LITTLE: u32 = LITTLE_GARBAGE as u32;
    const MOST: u32 = MOST_GARBAGE as u32;

    /// A collector that is put off for the first time.
    fn begun(memory: f64) -> Collector {
        let mut collector = Collector::default();
        assert_eq!(collector.put_off(memory, true), PutOff::Begin);
        collector
    }

    #[test]
    fn the_collector_rests_where_there_is_little_garbage() {
        let mut collector = begun(10_000.0);
        assert_eq!(collector.put_off(10_100.0, true), PutOff::Rest);
        assert_eq!(collector.step(10_500.0), Step::End(LITTLE));
        assert_eq!(collector.put_off(10_500.0, true), PutOff::Begin);
        assert_eq!(collector.step(11_000.0), Step::End(LITTLE - 500), "it has rested already");
        assert_eq!(collector.put_off(9_000.0, true), PutOff::Begin, "Lua has collected meanwhile");
        assert_eq!(collector.step(10_000.0), Step::End(LITTLE - 550));
    }

    #[test]
    fn what_garbage_there_is_is_collected_in_slices() {
        let mut collector = begun(10_000.0);
        assert_eq!(collector.step(20_000.0), Step::Slice);
        assert_eq!(collector.put_off(18_000.0, true), PutOff::Rest, "but for the slices");
        assert_eq!(collector.step(18_000.0), Step::Slice);
        collector.note_collection(12_000.0);
        assert_eq!(collector.step(12_000.0), Step::End(600 + LITTLE));
        assert_eq!(collector.put_off(12_000.0, true), PutOff::Begin);
    }

    #[test]
    fn slices_that_come_to_no_end_are_given_up_and_do_not_begin_anew() {
        let mut collector = begun(1_000.0);
        let slices = (0..).take_while(|_| collector.step(25_600.0) == Step::Slice).count();
        assert_eq!(slices, 100, "25,600 kB of at least 256");
        assert_eq!(collector.put_off(25_600.0, true), PutOff::Begin);
        assert_eq!(collector.step(25_600.0), Step::End(1280 + LITTLE));
    }

    #[test]
    fn much_garbage_is_collected_at_once_and_more_is_left_where_more_is_in_use() {
        let mut collector = begun(1_000.0);
        assert_eq!(collector.put_off(1_500.0 + MOST_GARBAGE, true), PutOff::Rest);
        assert_eq!(collector.put_off(1_501.0 + MOST_GARBAGE, true), PutOff::Collect);
        collector.note_collection(8_000.0);
        assert_eq!(collector.put_off(12_000.0 + MOST_GARBAGE, true), PutOff::Rest);
        assert_eq!(collector.step(9_000.0), Step::End(LITTLE - 600), "there is no need of slices");
    }

    #[test]
    fn slices_end_with_a_collection_in_one_go() {
        let mut collector = begun(1_000.0);
        assert_eq!(collector.step(9_000.0), Step::Slice);
        assert_eq!(collector.put_off(10_000.0, true), PutOff::Collect);
        collector.note_collection(2_000.0);
        assert_eq!(collector.step(2_000.0), Step::End(100 + LITTLE));
    }

    #[test]
    fn lua_collects_by_itself_where_nobody_asks_for_it() {
        let mut collector = begun(1_000.0);
        assert_eq!(collector.limit(1_000.0), 500 + 2 * MOST);
        collector.put_off(5_500.0, true);
        assert_eq!(collector.limit(5_500.0), 2 * MOST - 4_000);
        assert_eq!(collector.limit(50_000.0), 1);
    }

    #[test]
    fn a_collector_that_somebody_else_has_stopped_is_left_alone() {
        assert_eq!(Collector::default().put_off(1_000.0, false), PutOff::Nothing);
    }
}
