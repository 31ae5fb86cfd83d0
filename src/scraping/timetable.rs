//! The timetable: when each endpoint is scraped.

use core::time::Duration;

use fastrand::Rng;

use super::pace::{Cuts, Pace};
use crate::time::Timestamp;

/// When each endpoint of a list is scraped.
///
/// Time is cut into intervals, for each endpoint into its own, and endpoint `i` of `n` is due at
/// `i/n` of each: never a burst. The cuts lie at fixed moments of the clock, so a VM that takes
/// over goes on in the rhythm of the one before. An endpoint without traffic has longer intervals,
/// one that fails is left alone for a while. One scrape is under way at a time for each endpoint;
/// one that is slow or dead holds up none but itself.
#[derive(Debug, Clone)]
pub struct Timetable {
    turns: Vec<Turn>,
}

/// What is known of an endpoint's last scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastScrape {
    /// When it was answered.
    pub at: Timestamp,
    /// Whether the endpoint had traffic then.
    pub traffic: bool,
}

#[derive(Debug, Clone)]
struct Turn {
    pace: Pace,
    interval: Cuts,
    idle_interval: Cuts,
    /// When it was asked last.
    last: Option<Timestamp>,
    under_way: bool,
    /// Since when it has had traffic, as far as is known since it was asked last.
    traffic_since: Option<Timestamp>,
    /// Failures since it last answered.
    failures: u32,
    /// When it last failed, and how long it is left alone from there.
    rest: Option<(Timestamp, Duration)>,
}

impl Turn {
    fn is_due(&self, now: Timestamp) -> bool {
        if self.under_way {
            return false;
        }
        if let Some((since, rest)) = self.rest {
            return now.since(since).max(since.since(now)) >= rest;
        }
        match (self.last, self.traffic_since) {
            (None, _) => true,
            // From when its traffic was known: all that wake at once are still spread.
            (Some(last), Some(since)) => self.interval.part(last.max(since), now),
            (Some(last), None) => self.idle_interval.part(last, now),
        }
    }
}

impl Timetable {
    /// A timetable for endpoints by their paces, with what is known of each one's last scrape. Who
    /// has never answered is due at once.
    pub fn new(endpoints: impl ExactSizeIterator<Item = (Pace, Option<LastScrape>)>) -> Self {
        let count = u64::try_from(endpoints.len()).unwrap_or(u64::MAX);
        let turns = (0..)
            .zip(endpoints)
            .map(|(index, (pace, scrape)): (u64, _)| Turn {
                pace,
                interval: Cuts::new(pace.interval, index, count),
                idle_interval: Cuts::new(pace.idle_interval, index, count),
                last: scrape.map(|scrape| scrape.at),
                under_way: false,
                traffic_since: scrape.and_then(|scrape| scrape.traffic.then_some(scrape.at)),
                failures: 0,
                rest: None,
            })
            .collect();
        Self { turns }
    }

    /// The endpoints due `now`, by index. Each is under way from here until it has
    /// [answered](Self::answered) or [failed](Self::failed).
    pub fn due(&mut self, now: Timestamp) -> impl Iterator<Item = usize> {
        let turns = self.turns.iter_mut().enumerate();
        turns.filter_map(move |(index, turn)| {
            turn.is_due(now).then(|| {
                turn.last = Some(now);
                turn.under_way = true;
                turn.traffic_since = None;
                index
            })
        })
    }

    /// Takes note that requests were sent to the endpoint at `index`.
    pub fn routed(&mut self, index: usize, now: Timestamp) {
        if let Some(turn) = self.turns.get_mut(index) {
            turn.traffic_since.get_or_insert(now);
        }
    }

    /// The endpoints that have traffic, or are being asked: of them a VM that takes over does not know
    /// what this one does.
    pub fn busy(&self) -> impl Iterator<Item = usize> {
        let turns = self.turns.iter().enumerate();
        let busy = turns.filter(|(_, turn)| turn.traffic_since.is_some() || turn.under_way);
        busy.map(|(index, _)| index)
    }

    /// Ends the scrape of the endpoint at `index` with an answer, which tells whether the endpoint
    /// has traffic. One that had failed is back in its rhythm, and next asked as if it had.
    /// Returns whether it had failed.
    pub fn answered(&mut self, index: usize, traffic: bool) -> bool {
        let Some(turn) = self.turns.get_mut(index) else {
            return false;
        };
        let had_failed = turn.failures > 0;
        turn.under_way = false;
        turn.failures = 0;
        turn.rest = None;
        if traffic || had_failed {
            turn.traffic_since = turn.last;
        }
        had_failed
    }

    /// Ends the scrape of the endpoint at `index` without one. Returns whether it is the first
    /// since the endpoint last answered.
    pub fn failed(&mut self, index: usize, now: Timestamp, rng: &mut Rng) -> bool {
        let Some(turn) = self.turns.get_mut(index) else {
            return false;
        };
        turn.under_way = false;
        turn.failures = turn.failures.saturating_add(1);
        turn.rest = Some((now, turn.pace.rest(turn.failures, rng)));
        turn.failures == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: u64 = 200;
    const IDLE: u64 = 1_000;
    const MAX_BACK_OFF: u64 = 3_200;
    const TICK: u64 = 40;
    /// Ticks fall on cuts and off them.
    const STARTS: [u64; 2] = [1_000_000, 1_000_013];

    /// What an endpoint does when it is asked.
    #[derive(Clone, Copy)]
    enum Answer {
        Busy,
        Idle,
        Fails,
        Hangs,
    }
    use Answer::{Busy, Fails, Hangs, Idle};

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn pace(interval: u64, idle_interval: u64) -> Pace {
        Pace {
            interval: Duration::from_millis(interval),
            idle_interval: Duration::from_millis(idle_interval),
            max_back_off: Duration::from_millis(MAX_BACK_OFF),
        }
    }

    fn of_paces(paces: &[Pace]) -> Timetable {
        Timetable::new(paces.iter().map(|pace| (*pace, None)))
    }

    fn fresh(endpoints: usize) -> Timetable {
        of_paces(&vec![pace(INTERVAL, IDLE); endpoints])
    }

    /// Ticks from `start` for `span` milliseconds; each scrape ends at once, as `answer` says.
    /// Returns the moments each endpoint was scraped.
    fn run(
        timetable: &mut Timetable,
        (start, span): (u64, u64),
        answer: impl Fn(usize) -> Answer,
    ) -> Vec<Vec<u64>> {
        let mut rng = Rng::with_seed(start);
        let mut scrapes = vec![Vec::new(); timetable.turns.len()];
        for now in (start..start + span).step_by(TICK as usize) {
            let due: Vec<_> = timetable.due(at(now)).collect();
            for index in due {
                scrapes[index].push(now);
                match answer(index) {
                    Busy => drop(timetable.answered(index, true)),
                    Idle => drop(timetable.answered(index, false)),
                    Fails => drop(timetable.failed(index, at(now), &mut rng)),
                    Hangs => {}
                }
            }
        }
        scrapes
    }

    /// The most scrapes of any tick.
    fn most_at_once(scrapes: &[Vec<u64>]) -> usize {
        let mut moments: Vec<_> = scrapes.concat();
        moments.sort_unstable();
        let by_tick = moments.chunk_by(|a, b| a == b);
        by_tick.map(<[_]>::len).max().unwrap_or(0)
    }

    fn gaps(moments: &[u64]) -> Vec<u64> {
        moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    #[test]
    fn each_is_scraped_once_an_interval_and_spread_over_it() {
        let mut timetable = fresh(5);
        run(&mut timetable, (1_000_003, 400), |_| Busy);
        let scrapes = run(&mut timetable, (1_000_403, 2_000), |_| Busy);
        for times in &scrapes {
            assert_eq!(times.len(), 10, "{scrapes:?}");
        }
        let firsts: Vec<_> = scrapes.iter().map(|times| times[0] % 200).collect();
        assert_eq!(firsts, [3, 43, 83, 123, 163]);
    }

    #[test]
    fn each_has_a_pace_of_its_own() {
        let paces = [(200, 1_000), (400, 400), (1_000, 5_000)].map(|(i, idle)| pace(i, idle));
        for (answer, expected) in [(Busy, [100, 50, 20]), (Idle, [20, 50, 4])] {
            let mut timetable = of_paces(&paces);
            run(&mut timetable, (1_000_000, 10_000), |_| answer);
            let scrapes = run(&mut timetable, (1_010_000, 20_000), |_| answer);
            let counts: Vec<_> = scrapes.iter().map(Vec::len).collect();
            assert_eq!(counts, expected);
        }
    }

    #[test]
    fn the_first_scrape_is_at_once() {
        let due: Vec<_> = fresh(3).due(at(123)).collect();
        assert_eq!(due, [0, 1, 2]);
    }

    #[test]
    fn never_a_burst() {
        for start in STARTS {
            let mut timetable = fresh(100);
            let in_step = |scrapes: &[Vec<u64>], intervals: usize, case: &str| {
                // Of 100 endpoints, 20 fall into each tick of 40 ms in 200; ticks off the cuts
                // may catch one more.
                let most = most_at_once(scrapes);
                assert!(most <= 100 / intervals + 1, "{case}: {most} at once");
            };
            run(&mut timetable, (start, 400), |_| Busy);
            let start = start + 400;
            let busy = run(&mut timetable, (start, 2_000), |_| Busy);
            in_step(&busy, 5, "busy");

            run(&mut timetable, (start + 2_000, 1_000), |_| Idle);
            let idle = run(&mut timetable, (start + 3_000, 3_000), |_| Idle);
            in_step(&idle, 25, "idle");

            for index in 0..100 {
                timetable.routed(index, at(start + 6_000));
            }
            let woken = run(&mut timetable, (start + 6_000, INTERVAL + TICK), |_| Busy);
            let late = woken.iter().filter(|times| times.is_empty()).count();
            assert_eq!(late, 0, "each within an interval");
            in_step(&woken, 5, "all woken at once");
        }
    }

    #[test]
    fn one_without_traffic_is_scraped_once_an_idle_interval() {
        for start in STARTS {
            let mut timetable = fresh(3);
            run(&mut timetable, (start, 3_000), |_| Idle);
            let scrapes = run(&mut timetable, (start + 3_000, 10_000), |_| Idle);
            for times in &scrapes {
                assert_eq!(times.len(), 10, "{scrapes:?}");
            }
        }
    }

    #[test]
    fn one_that_gets_requests_is_scraped_within_an_interval() {
        for start in STARTS {
            let mut timetable = fresh(4);
            run(&mut timetable, (start, 3_000), |_| Idle);
            let start = start + 3_000;
            timetable.routed(2, at(start));
            let scrapes = run(&mut timetable, (start, 5_000), |_| Idle);
            assert!(scrapes[2][0] <= start + 200 + TICK, "{scrapes:?}");
            // A scrape that reads no traffic makes it idle again.
            assert_eq!(scrapes[2].len(), 6, "{scrapes:?}");

            // Requests of every tick keep it in the rhythm of traffic, though none is seen running.
            let mut times = Vec::new();
            for now in (start + 5_000..start + 7_000).step_by(TICK as usize) {
                timetable.routed(2, at(now));
                times.extend(run(&mut timetable, (now, TICK), |_| Idle).swap_remove(2));
            }
            assert_eq!(times.len(), 10, "{times:?}");
        }
    }

    #[test]
    fn requests_sent_while_it_is_asked_count_for_the_next_scrape() {
        let mut timetable = fresh(1);
        assert_eq!(timetable.due(at(1_000_000)).count(), 1);
        timetable.routed(0, at(1_000_010));
        timetable.answered(0, false);
        assert_eq!(timetable.due(at(1_000_160)).count(), 0);
        assert_eq!(timetable.due(at(1_000_200)).count(), 1);
    }

    #[test]
    fn one_that_hangs_or_fails_holds_up_none_but_itself() {
        let scrapes = run(&mut fresh(3), (1_000_000, 20_000), |index| match index {
            0 => Hangs,
            1 => Fails,
            _ => Busy,
        });
        assert_eq!(scrapes[0].len(), 1);
        assert!((100..=101).contains(&scrapes[2].len()), "{:?}", scrapes[2]);
    }

    #[test]
    fn one_that_fails_is_left_alone_longer_and_longer() {
        let mut lasts = Vec::new();
        for start in 0..50 {
            let scrapes = run(&mut fresh(1), (start * 1_013, 20_000), |_| Fails);
            let gaps = gaps(&scrapes[0]);
            for (gap, step) in gaps.iter().zip([400, 800, 1_600, 3_200, 3_200, 3_200]) {
                let drawn = step / 2..=step + TICK;
                assert!(drawn.contains(gap), "{gap} of {step}: {gaps:?}");
            }
            lasts.push(gaps[3]);
        }
        lasts.sort_unstable();
        assert!(lasts[0] < 2_000 && lasts[49] > 2_800, "spread: {lasts:?}");
    }

    #[test]
    fn one_that_answers_again_is_back_in_rhythm() {
        for answer in [Busy, Idle] {
            let mut timetable = fresh(1);
            let mut rng = Rng::with_seed(1);
            run(&mut timetable, (1_000_000, 20_000), |_| Fails);
            assert!(
                !timetable.failed(0, at(1_020_000), &mut rng),
                "failing still is no news"
            );
            let mut timetable_of_one_answer = timetable.clone();
            assert!(timetable.answered(0, true), "answering again is");
            assert!(!timetable.answered(0, true));
            assert!(
                timetable.failed(0, at(1_020_000), &mut rng),
                "so is failing"
            );

            // With traffic or without, the scrape after the first answer is an interval later.
            let scrapes = run(&mut timetable_of_one_answer, (1_030_000, 2_000), |_| answer);
            let gap = gaps(&scrapes[0])[0];
            assert_eq!(gap, INTERVAL, "{scrapes:?}");
        }
    }

    #[test]
    fn a_successor_goes_on_in_the_rhythm() {
        let scrape = |at, traffic| {
            let at = Timestamp::from_millis(at);
            (pace(INTERVAL, IDLE), Some(LastScrape { at, traffic }))
        };
        let mut timetable = Timetable::new(
            [
                scrape(1_010, true),
                (pace(INTERVAL, IDLE), None),
                scrape(1_010, false),
            ]
            .into_iter(),
        );
        for (now, due, why) in [
            (1_150, vec![1], "the first was scraped within this interval"),
            (1_200, vec![0], "its next interval"),
            (1_665, vec![], "both are under way"),
            (1_667, vec![2], "two thirds of the idle interval"),
        ] {
            assert_eq!(timetable.due(at(now)).collect::<Vec<_>>(), due, "{why}");
        }
    }

    #[test]
    fn what_a_successor_does_not_know_is_told() {
        let mut timetable = fresh(4);
        assert_eq!(timetable.due(at(1_000_000)).count(), 4);
        assert!(timetable.busy().eq(0..4), "all are being asked");
        for (index, traffic) in [(0, false), (1, true), (2, false)] {
            timetable.answered(index, traffic);
        }
        timetable.routed(2, at(1_000_010));
        assert!(timetable.busy().eq(1..4), "the first has nothing to do");

        let idle = LastScrape {
            at: at(1_000_000),
            traffic: false,
        };
        let known = [(pace(INTERVAL, IDLE), Some(idle)); 4];
        let mut successor = Timetable::new(known.into_iter());
        for index in timetable.busy() {
            successor.routed(index, at(1_000_020));
        }
        assert!(successor.due(at(1_000_220)).eq(1..4));
    }

    #[test]
    fn a_clock_set_back_stops_nobody() {
        let mut timetable = fresh(3);
        let answers = |index| [Busy, Idle, Fails][index];
        run(&mut timetable, (9_000_000, 5_000), answers);
        timetable.routed(1, at(9_005_000));
        let scrapes = run(&mut timetable, (1_000_000, 20_000), answers);
        assert!((100..=101).contains(&scrapes[0].len()), "{scrapes:?}");
        assert!((20..=22).contains(&scrapes[1].len()), "{scrapes:?}");
        assert!((6..=14).contains(&scrapes[2].len()), "{scrapes:?}");
    }
}
