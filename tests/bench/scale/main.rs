//! One host's groups on paper: a day of a million accounts, with the engine alone.
//!
//! `cargo bench --no-default-features` plays the day twice: with virtual contact lists, and at a tenth of the size with
//! stored ones. A Prosody made of maps answers the engine, and counts what the real one would have to do. Only the
//! engine's time is measured. The outcome is printed, and drawn to `target/bench/scale.svg`. `SCALE=20` divides all
//! sizes by 20.

// A measurement that cannot be made ends with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod host;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use groups_internal_native::engine::{Engine, Name, Operation, Options, Reply, Step};
use plotters::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use host::{Host, Left};

#[global_allocator]
static HEAP: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// A minute of the calendar.
const EPOCH: u64 = 29_000_000;

const HOURS: usize = 24;

/// The hours that begin with a kill of the server.
const KILLS: [usize; 3] = [6, 12, 18];

/// What happens: its name, and how often a day with 1,000 accounts.
const KINDS: [(&str, f64); 9] = [
    ("login", 500.0),
    ("logout", 450.0),
    ("join", 50.0),
    ("leave", 50.0),
    ("rename", 5.0),
    ("create", 1.0),
    ("delete", 1.0),
    ("start", 0.0),
    ("background", 0.0),
];
const LOGIN: usize = 0;
const LOGOUT: usize = 1;
const JOIN: usize = 2;
const LEAVE: usize = 3;
const RENAME: usize = 4;
const CREATE: usize = 5;
const DELETE: usize = 6;
const START: usize = 7;
const BACKGROUND: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    times: u32,
    engine: Duration,
    left: Left,
}

struct Day {
    title: String,
    engine: Engine,
    options: Options,
    host: Host,
    random: fastrand::Rng,
    hour: usize,
    tallies: [[Tally; KINDS.len()]; HOURS],
}

impl Day {
    /// Runs an operation to its end.
    fn run(&mut self, kind: usize, operation: impl FnOnce(&Engine) -> Operation) {
        let mut began = Instant::now();
        let mut operation = operation(&self.engine);
        let mut tally = Tally { times: 1, ..Tally::default() };
        self.host.left = Left::default();
        let mut reply = Reply::Done;
        loop {
            let step = operation.resume(self.host.now, reply);
            tally.engine += began.elapsed();
            reply = match step {
                Step::Effect(effect) => self.host.perform(effect),
                Step::Done(result) => {
                    break drop(result.unwrap_or_else(|error| panic!("{}: {error:?}", KINDS[kind].0)));
                }
                Step::Panicked(place) => panic!("{}: {place}", KINDS[kind].0),
            };
            began = Instant::now();
        }
        let sum = &mut self.tallies[self.hour][kind];
        sum.times += tally.times;
        sum.engine += tally.engine;
        sum.left += self.host.left;
    }

    /// Does the background work that is due within so many seconds.
    fn work(&mut self, seconds: f64) {
        let ends = self.host.now + seconds;
        while let Some(delay) = self.engine.next_work(self.host.now).filter(|delay| self.host.now + delay <= ends) {
            self.host.now += delay;
            self.run(BACKGROUND, |engine| engine.work());
        }
        self.host.now = self.host.now.max(ends);
    }

    fn start(&mut self) {
        let minute = EPOCH + (self.host.now / 60.0) as u64;
        self.run(START, |engine| engine.load(minute, ""));
    }

    /// The server is killed and started again; clients come back within a minute.
    fn kill(&mut self) {
        let online: Vec<_> = self.host.online.iter().copied().collect();
        self.host.kill();
        self.engine = Engine::new("localhost", self.options);
        self.host.now += 60.0;
        self.start();
        for user in &online {
            self.login(*user);
            self.work(60.0 / online.len() as f64);
        }
    }

    fn login(&mut self, user: u32) {
        let name = self.host.accounts[user as usize].clone();
        if let Some(unsaved) = self.host.begin_session(user) {
            self.run(LOGIN, |engine| engine.roster_loaded(name.clone(), unsaved));
            self.tallies[self.hour][LOGIN].times -= 1;
        }
        self.run(LOGIN, |engine| engine.user_appeared(name));
        self.host.online.insert(user);
    }

    fn logout(&mut self) {
        let Some(&user) = self.host.online.get_index(self.random.usize(..self.host.online.len().max(1))) else {
            return;
        };
        let name = self.host.accounts[user as usize].clone();
        self.host.end_session(user, self.engine.is_unsaved(&name));
        self.run(LOGOUT, |engine| engine.user_left(name));
    }

    /// A random group that has members.
    fn group(&mut self) -> Name {
        let place = self.random.usize(..self.host.members.len());
        self.host.members.get_index(place).map(|(id, _)| id.clone()).expect("there are groups")
    }

    fn account(&mut self) -> Name {
        self.host.accounts[self.random.usize(..self.host.accounts.len())].clone()
    }

    fn happen(&mut self, kind: usize) {
        let (group, user) = (self.group(), self.account());
        let id = Some(group.as_bytes());
        match kind {
            LOGIN => self.login(self.host.number(&user)),
            LOGOUT => self.logout(),
            JOIN => self.run(kind, |engine| engine.add_member(id, Some(user.as_bytes()), false)),
            LEAVE => {
                let members = &self.host.members[&group];
                let member = members.get_index(self.random.usize(..members.len().max(1))).cloned();
                let Some(member) = member else { return };
                self.run(kind, |engine| engine.remove_member(id, Some(member.as_bytes())));
            }
            RENAME => {
                let name = format!("Renamed at {}", self.host.now);
                self.run(kind, |engine| engine.set_info(id, Some(name.as_bytes())));
            }
            CREATE => {
                let name = format!("Made at {}", self.host.now);
                self.run(kind, |engine| engine.create(Some(name.as_bytes()), false, None));
            }
            DELETE => self.run(kind, |engine| engine.delete(id)),
            _ => {}
        }
    }

    /// Plays the day with so many accounts. Returns it with the bytes that the engine keeps for a membership.
    fn play(options: Options, accounts: u32, groups: usize, largest: f64) -> (Day, f64) {
        let mut day = Day {
            title: String::new(),
            engine: Engine::new("localhost", options),
            options,
            host: Host::new(options, accounts),
            random: fastrand::Rng::with_seed(1),
            hour: 0,
            tallies: Default::default(),
        };
        // There are no groups yet: storage gets its marker.
        day.start();
        day.work(60.0);
        day.host.populate(groups, largest, &mut day.random);
        day.engine = Engine::new("localhost", options);
        day.tallies = Default::default();
        let heap = Region::new(HEAP);
        day.start();
        let change = heap.change();
        let status = day.engine.status();
        assert_eq!(status.unsettled, 0, "the contact lists that storage has are not as they should be");
        let each = (change.bytes_allocated as f64 - change.bytes_deallocated as f64) / status.memberships as f64;
        let kind = if options.virtual_contacts { "virtual" } else { "stored" };
        let members = status.memberships;
        day.title = format!("{accounts} accounts, {groups} groups, {members} memberships, {kind} contact lists");
        for hour in 0..HOURS {
            day.hour = hour;
            if KILLS.contains(&hour) {
                day.kill();
            }
            let often = |each: f64| (each * f64::from(accounts) / 1e3 / HOURS as f64) as usize;
            let mut kinds: Vec<_> =
                (0..START).flat_map(|kind| std::iter::repeat_n(kind, often(KINDS[kind].1))).collect();
            day.random.shuffle(&mut kinds);
            let pause = 3600.0 / kinds.len() as f64;
            for kind in kinds {
                day.happen(kind);
                day.work(pause);
            }
        }
        day.work(600.0);
        assert_eq!(day.engine.status().unsettled, 0, "work is left at the end of the day");
        (day, each)
    }

    /// Prints what the engine took for each kind, and what was left for Prosody.
    fn report(&self, bytes: f64) {
        println!("\n{}; {bytes:.0} bytes of memory for each membership\n", self.title);
        println!("| | times | engine, µs | records | lists saved | pushes | presences |");
        println!("|---|---|---|---|---|---|---|");
        let mut whole = Duration::ZERO;
        for (kind, (name, _)) in KINDS.iter().enumerate() {
            let mut sum = Tally::default();
            for tally in self.tallies.iter().map(|hour| hour[kind]) {
                sum.times += tally.times;
                sum.engine += tally.engine;
                sum.left += tally.left;
            }
            whole += sum.engine;
            let times = f64::from(sum.times.max(1));
            let each = |count: usize| count as f64 / times;
            let Left { records, saves, pushes, presences } = sum.left;
            println!(
                "| {name} | {} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} |",
                sum.times,
                sum.engine.as_secs_f64() * 1e6 / times,
                each(records),
                each(saves),
                each(pushes),
                each(presences)
            );
        }
        println!("\nIn all, the engine works for {:.1} s of the day.", whole.as_secs_f64());
    }

    /// Draws what an operation of each kind takes of the engine, hour by hour.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, plotters::coord::Shift>) -> Result<(), Box<dyn Error + '_>>
    where
        B::ErrorType: 'static,
    {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(35)
            .y_label_area_size(60)
            .build_cartesian_2d(0..HOURS, (1.0..1e4).log_scale())?;
        chart.configure_mesh().x_desc("hour (killed at 6, 12, 18)").y_desc("engine, µs each").draw()?;
        for (kind, (name, _)) in KINDS.iter().enumerate().filter(|&(kind, _)| kind != START) {
            let style = Palette99::pick(kind).stroke_width(2);
            let hours = self.tallies.iter().map(|hour| hour[kind]).enumerate().filter(|(_, tally)| tally.times > 0);
            let points = hours.map(|(hour, tally)| (hour, tally.engine.as_secs_f64() * 1e6 / f64::from(tally.times)));
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .draw()?;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let scale = std::env::var("SCALE").map_or(Ok(1), |text| text.parse::<u32>())?;
    let stored = Options { remove_contacts: true, ..Options::default() };
    let virtual_lists = Options { virtual_contacts: true, ..stored };
    let days = [
        Day::play(virtual_lists, 1_000_000 / scale, 100_000 / scale as usize, 2_000.0),
        Day::play(stored, 100_000 / scale, 10_000 / scale as usize, 500.0),
    ];
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench/scale.svg");
    std::fs::create_dir_all(file.parent().ok_or("the folder has no name")?)?;
    let image = SVGBackend::new(&file, (900, 900)).into_drawing_area();
    image.fill(&WHITE)?;
    for ((day, bytes), area) in days.iter().zip(image.split_evenly((2, 1))) {
        day.report(*bytes);
        day.draw(&area).map_err(|error| error.to_string())?;
    }
    image.present()?;
    println!("\nDrawn to {}", file.display());
    Ok(())
}
