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

/// How much of the memory in use a slice visits at the least, in kilobytes. Where slices come to no end, for Lua's
/// collector works by generations, this tells when to stop.
const LEAST_SLICE: f64 = 64.0;

/// Decides when Lua's collector works. All memory is in kilobytes.
#[derive(Debug)]
pub struct Collector {
    /// What is in use without garbage, as far as is known.
    in_use: f64,
    /// The period in which Lua's collector is stopped.
    period: Option<Period>,
}

#[derive(Debug)]
struct Period {
    /// The most memory that may be in use meanwhile.
    most: f64,
    /// How many slices are left, once it collects.
    slices: Option<u32>,
}

/// What to do about Lua's collector while Prosody is busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PutOff {
    /// Nothing: it is stopped already, or somebody else has stopped it.
    Nothing,
    /// Stop it, and ask [`Collector::step`] in a later turn of the event loop.
    Stop,
    /// Collect all garbage now, and note what is left.
    Collect,
}

/// What to do about it between turns of the event loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Collect for a slice, note what is left if that has ended a collection, and ask again in the next turn.
    Collect,
    /// Let it work as it likes, after it has rested for so many kilobytes of garbage.
    Restart(u32),
}

impl Default for Collector {
    fn default() -> Self {
        Collector { in_use: f64::INFINITY, period: None }
    }
}

impl Collector {
    /// Puts the collector off. `memory`: what is in use. `runs`: whether Lua's collector runs.
    pub fn put_off(&mut self, memory: f64, runs: bool) -> PutOff {
        self.in_use = self.in_use.min(memory);
        match &self.period {
            Some(period) if memory > period.most => PutOff::Collect,
            None if runs => {
                let most = memory.max(self.in_use * 1.5) + MOST_GARBAGE;
                self.period = Some(Period { most, slices: None });
                PutOff::Stop
            }
            _ => PutOff::Nothing,
        }
    }

    /// Notes what is in use after a collection.
    pub fn note_collection(&mut self, memory: f64) {
        self.in_use = memory;
        if let Some(period) = &mut self.period {
            *period = Period { most: memory * 1.5 + MOST_GARBAGE, slices: Some(0) };
        }
    }

    /// Says what to do next after [`PutOff::Stop`], or the last step. `memory`: what is in use.
    pub fn step(&mut self, memory: f64) -> Step {
        let little = self.in_use * 1.05 + LITTLE_GARBAGE;
        if let Some(period) = &mut self.period {
            let left = period.slices.unwrap_or(if memory < little { 0 } else { (memory / LEAST_SLICE) as u32 });
            period.slices = left.checked_sub(1);
            // Slices may be too short for what else makes garbage.
            if left > 0 && memory <= period.most {
                return Step::Collect;
            }
        }
        self.period = None;
        Step::Restart((little - memory).max(1.0) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A collector that is put off for the first time.
    fn stopped(memory: f64) -> Collector {
        let mut collector = Collector::default();
        assert_eq!(collector.put_off(memory, true), PutOff::Stop);
        collector
    }

    #[test]
    fn the_collector_stops_once_and_rests_where_there_is_little_garbage() {
        let mut collector = stopped(10_000.0);
        assert_eq!(collector.put_off(10_100.0, false), PutOff::Nothing);
        assert_eq!(collector.step(10_500.0), Step::Restart(LITTLE_GARBAGE as u32));
        assert_eq!(collector.put_off(10_500.0, true), PutOff::Stop);
        assert_eq!(collector.step(11_000.0), Step::Restart(LITTLE_GARBAGE as u32 - 500), "it has rested already");
    }

    #[test]
    fn what_garbage_there_is_is_collected_in_slices() {
        let mut collector = stopped(10_000.0);
        assert_eq!(collector.step(20_000.0), Step::Collect);
        assert_eq!(collector.put_off(18_000.0, false), PutOff::Nothing, "it is stopped, but for the slices");
        assert_eq!(collector.step(18_000.0), Step::Collect);
        collector.note_collection(12_000.0);
        assert_eq!(collector.step(12_000.0), Step::Restart(600 + LITTLE_GARBAGE as u32));
        assert_eq!(collector.put_off(12_000.0, true), PutOff::Stop);
    }

    #[test]
    fn slices_are_given_up_where_there_is_more_garbage_all_the_same() {
        let mut collector = stopped(10_000.0);
        assert_eq!(collector.step(15_000.0 + MOST_GARBAGE), Step::Collect);
        assert_eq!(collector.step(15_001.0 + MOST_GARBAGE), Step::Restart(1));
        assert_eq!(collector.put_off(20_000.0, true), PutOff::Stop);
    }

    #[test]
    fn slices_that_come_to_no_end_are_given_up() {
        let mut collector = stopped(1_000.0);
        let slices = (0..).take_while(|_| collector.step(6_400.0) == Step::Collect).count();
        assert_eq!(slices, 100, "6,400 kB of at least 64");
        assert_eq!(collector.put_off(6_400.0, true), PutOff::Stop);
    }

    #[test]
    fn much_garbage_is_collected_at_once_and_more_is_left_where_more_is_in_use() {
        let mut collector = stopped(1_000.0);
        assert_eq!(collector.put_off(1_500.0 + MOST_GARBAGE, false), PutOff::Nothing);
        assert_eq!(collector.put_off(1_501.0 + MOST_GARBAGE, false), PutOff::Collect);
        collector.note_collection(8_000.0);
        assert_eq!(collector.put_off(12_000.0 + MOST_GARBAGE, false), PutOff::Nothing);
        assert_eq!(collector.put_off(12_001.0 + MOST_GARBAGE, false), PutOff::Collect);
        collector.note_collection(8_000.0);
        assert_eq!(collector.step(9_000.0), Step::Restart(LITTLE_GARBAGE as u32 - 600), "there is no need of slices");
    }

    #[test]
    fn a_collector_that_somebody_else_has_stopped_is_left_alone() {
        assert_eq!(Collector::default().put_off(1_000.0, false), PutOff::Nothing);
    }
}
