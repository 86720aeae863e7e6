//! When Lua's collector is put off.
//!
//! In the midst of a save or of pushes it would visit all memory, which takes as long as they do, and nobody is served
//! meanwhile. When much garbage is left, it goes on.

/// How much garbage may be left because the collector was put off, in kilobytes, beside half of what is in use.
const MOST_GARBAGE: f64 = 8192.0;

/// For how long it is put off where nobody waits, in seconds: it collects the garbage of several rosters in one go.
const IN_BACKGROUND: f64 = 0.02;

/// For how long it is put off where clients are served, in seconds: it waits for the turn of the event loop that begins
/// with it, or an add's two.
const WHILE_SERVING: f64 = 0.01;

/// What is known of Lua's collector.
#[derive(Debug)]
pub struct Collector {
    /// A measure of what is in use without garbage, in kilobytes.
    in_use: f64,
    /// The period for which it is put off.
    period: Option<Period>,
    periods: u64,
}

#[derive(Debug)]
struct Period {
    number: u64,
    /// The most memory that may be in use until it ends, in kilobytes.
    most: f64,
    /// How long it was last said to be, in seconds.
    seconds: f64,
}

/// What to do about the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pause {
    /// Whether it is to run from now on, if that changes.
    pub runs: Option<bool>,
    /// In how many seconds to end which period.
    pub ends: Option<(f64, u64)>,
}

impl Default for Collector {
    fn default() -> Self {
        Collector { in_use: f64::INFINITY, period: None, periods: 0 }
    }
}

impl Collector {
    /// Puts the collector off, where clients are served or where nobody waits. `memory`: what is in use, in kilobytes.
    pub fn put_off(&mut self, serving: bool, memory: f64, runs: bool) -> Pause {
        let mut pause = Pause::default();
        match &self.period {
            Some(period) => pause.runs = (memory > period.most).then_some(true),
            None => {
                self.in_use = memory.min(self.in_use * 1.01);
                if memory >= self.in_use * 1.5 + MOST_GARBAGE || !runs {
                    return pause;
                }
                pause.runs = Some(false);
                self.periods += 1;
                let most = memory + MOST_GARBAGE;
                self.period = Some(Period { number: self.periods, most, seconds: f64::INFINITY });
            }
        }
        let seconds = if serving { WHILE_SERVING } else { IN_BACKGROUND };
        if let Some(period) = self.period.as_mut().filter(|period| seconds < period.seconds) {
            period.seconds = seconds;
            pause.ends = Some((seconds, period.number));
        }
        pause
    }

    /// Ends a period, unless it is over. Returns whether the collector is to run again.
    pub fn end(&mut self, number: u64) -> bool {
        self.period.take_if(|period| period.number == number).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Option<bool> = Some(false);
    const GO_ON: Option<bool> = Some(true);

    #[test]
    fn the_collector_stops_once_and_goes_on_when_the_period_ends() {
        let mut collector = Collector::default();
        let pause = collector.put_off(false, 1000.0, true);
        assert_eq!(pause, Pause { runs: STOP, ends: Some((IN_BACKGROUND, 1)) });
        assert_eq!(collector.put_off(false, 1100.0, false), Pause::default());
        assert!(collector.end(1) && !collector.end(1));
        assert_eq!(collector.put_off(false, 1000.0, true).ends, Some((IN_BACKGROUND, 2)));
        assert!(!collector.end(1), "that one is over");
    }

    #[test]
    fn clients_that_are_served_shorten_a_period() {
        let mut collector = Collector::default();
        collector.put_off(false, 1000.0, true);
        assert_eq!(collector.put_off(true, 1000.0, false), Pause { runs: None, ends: Some((WHILE_SERVING, 1)) });
        assert_eq!(collector.put_off(false, 1000.0, false), Pause::default());
    }

    #[test]
    fn the_collector_goes_on_when_much_garbage_is_left() {
        let mut collector = Collector::default();
        collector.put_off(true, 1000.0, true);
        assert_eq!(collector.put_off(true, 1000.0 + MOST_GARBAGE + 1.0, false).runs, GO_ON);
        assert!(collector.end(1));
        assert_eq!(collector.put_off(true, 2000.0 + MOST_GARBAGE, true), Pause::default(), "it is to work now");
        assert_eq!(collector.put_off(true, 1200.0, true).runs, STOP);
    }

    #[test]
    fn a_collector_that_somebody_else_has_stopped_is_left_alone() {
        assert_eq!(Collector::default().put_off(true, 1000.0, false), Pause::default());
    }
}
