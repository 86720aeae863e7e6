//! When Lua's collector is put off.
//!
//! In the midst of a save or of pushes it would visit all memory, which takes as long as they do, and nobody is served
//! meanwhile. When much garbage is left, it goes on.
//!
//! Lua forgets, when its collector goes on, that it was to rest until there is more garbage: it would begin at once, and
//! visit all memory after each change and each login. So it is told to rest as long as there is little.

/// How much garbage may be left because the collector was put off, in kilobytes, beside half of what is in use.
const MOST_GARBAGE: f64 = 8192.0;

/// From how much garbage on it need not rest, in kilobytes, beside the twentieth of what is in use that Prosody has it
/// wait for.
const LITTLE_GARBAGE: f64 = 512.0;

/// For how long it is put off where nobody waits, in seconds: it collects the garbage of several rosters in one go.
const IN_BACKGROUND: f64 = 0.02;

/// For how long it is put off where clients are served, in seconds: it waits for the turn of the event loop that begins
/// with it, or an add's two.
const WHILE_SERVING: f64 = 0.01;

/// For how long it may be put off again and again: what is left by then, it collects almost in one go.
const LONGEST: f64 = 0.03;

/// What is known of Lua's collector.
#[derive(Debug)]
pub struct Collector {
    /// A measure of what is in use without garbage, in kilobytes.
    in_use: f64,
    /// The period for which it is put off.
    period: Option<Period>,
    periods: u64,
    /// Much garbage was left: it is not put off again before that is collected.
    is_behind: bool,
}

#[derive(Debug)]
struct Period {
    number: u64,
    /// The most memory that may be in use until it ends, in kilobytes.
    most: f64,
    /// When it ends, unless it is put off again, and when at the latest, in seconds.
    until: f64,
    at_the_latest: f64,
}

/// What to do about the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pause {
    /// Whether it is to run from now on, if that changes.
    pub runs: Option<bool>,
    /// In how many seconds to ask whether which period is over.
    pub ends: Option<(f64, u64)>,
    /// For how much more garbage it rests once it runs, in kilobytes.
    pub rests: Option<u32>,
}

impl Default for Collector {
    fn default() -> Self {
        Collector { in_use: f64::INFINITY, period: None, periods: 0, is_behind: false }
    }
}

impl Collector {
    /// Puts the collector off, where clients are served or where nobody waits. `again`: also if it is put off already.
    /// `memory`: what is in use, in kilobytes. `now`: in seconds.
    pub fn put_off(&mut self, serving: bool, again: bool, memory: f64, runs: bool, now: f64) -> Pause {
        let seconds = if serving { WHILE_SERVING } else { IN_BACKGROUND };
        if let Some(period) = &mut self.period {
            if again {
                period.until = (now + seconds).min(period.at_the_latest);
            }
            if memory <= period.most {
                return Pause::default();
            }
            (self.period, self.is_behind) = (None, true);
            return Pause { runs: Some(true), ..Pause::default() };
        }
        self.in_use = memory.min(self.in_use * 1.01);
        let spare = if self.is_behind { 0.0 } else { MOST_GARBAGE };
        if memory >= self.in_use * 1.5 + spare || !runs {
            return Pause::default();
        }
        self.is_behind = false;
        self.periods += 1;
        let number = self.periods;
        let (most, until, at_the_latest) = (memory + MOST_GARBAGE, now + seconds, now + LONGEST);
        self.period = Some(Period { number, most, until, at_the_latest });
        Pause { runs: Some(false), ends: Some((seconds, number)), rests: None }
    }

    /// Ends a period whose time is over: the collector is to run again. Otherwise in how many seconds to ask again;
    /// nothing for a period that has ended already. `memory`: what is in use, in kilobytes.
    pub fn end(&mut self, number: u64, memory: f64, now: f64) -> Pause {
        let Some(period) = self.period.take_if(|period| period.number == number) else { return Pause::default() };
        if period.until > now {
            let ends = Some((period.until - now, number));
            self.period = Some(period);
            return Pause { ends, ..Pause::default() };
        }
        let rest = self.in_use * 1.05 + LITTLE_GARBAGE - memory;
        Pause { runs: Some(true), ends: None, rests: (rest >= 1.0).then_some(rest as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Option<bool> = Some(false);
    const GO_ON: Pause = Pause { runs: Some(true), ends: None, rests: None };
    const MUCH: f64 = 2000.0;

    #[test]
    fn the_collector_stops_once_and_goes_on_when_the_period_ends() {
        let mut collector = Collector::default();
        let pause = collector.put_off(false, false, 1000.0, true, 7.0);
        assert_eq!(pause, Pause { runs: STOP, ends: Some((IN_BACKGROUND, 1)), rests: None });
        assert_eq!(collector.put_off(false, false, 1100.0, false, 7.0), Pause::default());
        assert_eq!(collector.end(1, MUCH, 7.0 + IN_BACKGROUND), GO_ON);
        assert_eq!(collector.end(1, MUCH, 8.0), Pause::default());
        assert_eq!(collector.put_off(false, false, 1000.0, true, 8.0).ends, Some((IN_BACKGROUND, 2)));
        assert_eq!(collector.end(1, MUCH, 9.0), Pause::default(), "that one is over");
    }

    #[test]
    fn a_period_lasts_as_long_as_the_collector_is_put_off_again() {
        let mut collector = Collector::default();
        collector.put_off(true, true, 1000.0, true, 7.0);
        assert_eq!(collector.put_off(true, true, 1100.0, false, 7.006), Pause::default());
        assert_eq!(collector.put_off(true, false, 1100.0, false, 7.009), Pause::default());
        let pause = collector.end(1, MUCH, 7.01);
        assert!(pause.runs.is_none() && pause.ends.is_some_and(|(seconds, _)| (seconds - 0.006).abs() < 1e-6));
        assert_eq!(collector.end(1, MUCH, 7.016 + 1e-6), GO_ON);
        collector.put_off(true, true, 1000.0, true, 8.0);
        assert_eq!(collector.put_off(true, true, 1000.0, false, 8.0 + LONGEST - 0.001), Pause::default());
        assert_eq!(collector.end(2, MUCH, 8.0 + LONGEST), GO_ON, "but not for ever");
    }

    #[test]
    fn the_collector_rests_while_there_is_little_garbage() {
        let mut collector = Collector::default();
        let mut rest_after = |before, after| {
            let number = collector.put_off(true, true, before, true, 7.0).ends.map_or(0, |(_, number)| number);
            collector.end(number, after, 8.0).rests
        };
        assert_eq!(rest_after(10_000.0, 10_500.0), Some(512));
        assert_eq!(rest_after(10_500.0, 11_000.0), Some(117), "it is a hundredth more that may be in use now");
        assert_eq!(rest_after(11_000.0, 11_500.0), None);
    }

    #[test]
    fn the_collector_goes_on_when_much_garbage_is_left_and_is_put_off_again_once_that_is_collected() {
        let mut collector = Collector::default();
        collector.put_off(true, true, 1000.0, true, 7.0);
        assert_eq!(collector.put_off(true, true, 1000.0 + MOST_GARBAGE + 1.0, false, 7.0), GO_ON);
        assert_eq!(collector.end(1, MUCH, 8.0), Pause::default());
        assert_eq!(collector.put_off(true, true, 1600.0, true, 8.0), Pause::default(), "it is to work now");
        assert_eq!(collector.put_off(true, true, 1400.0, true, 8.0).runs, STOP);
    }

    #[test]
    fn a_collector_that_somebody_else_has_stopped_is_left_alone() {
        assert_eq!(Collector::default().put_off(true, true, 1000.0, false, 7.0), Pause::default());
    }
}
