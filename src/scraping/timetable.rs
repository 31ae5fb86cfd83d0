//! The timetable: when each endpoint is scraped.

use core::time::Duration;

use crate::time::{Timestamp, millis};

/// An endpoint that fails is asked again after 2, 4, 8 and at most this many intervals: often
/// enough to see it come back, seldom enough not to matter if it never does.
const MAX_BACK_OFF: u64 = 16;

/// When each endpoint of a list is scraped.
///
/// Time is cut into intervals, and endpoint `i` of `n` is due at `i/n` of each: never a burst.
/// The cuts lie at fixed moments of the clock, so a VM that takes over goes on in the rhythm of
/// the one before. One scrape is under way at a time for each endpoint; one that is slow or dead
/// holds up none but itself.
#[derive(Debug, Clone)]
pub struct Timetable {
    interval: u64,
    turns: Vec<Turn>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Where in an interval it is due, in milliseconds.
    offset: u64,
    /// The interval of its last scrape.
    last: Option<u64>,
    under_way: bool,
    /// Failures since it last answered.
    failures: u32,
}

impl Turn {
    const fn interval_at(&self, now: Timestamp, interval: u64) -> u64 {
        now.as_millis().saturating_sub(self.offset) / interval
    }

    fn is_due(&self, current: u64) -> bool {
        let wait = (1_u64 << self.failures.min(63)).min(MAX_BACK_OFF);
        !self.under_way && self.last.is_none_or(|last| current.abs_diff(last) >= wait)
    }
}

impl Timetable {
    /// A timetable for as many endpoints as `scraped_at` has: when each last answered, `None` if
    /// it never has and so is due at once. `interval` is at least a millisecond.
    pub fn new(
        interval: Duration,
        scraped_at: impl ExactSizeIterator<Item = Option<Timestamp>>,
    ) -> Self {
        let interval = millis(interval).max(1);
        let endpoints = u64::try_from(scraped_at.len()).unwrap_or(u64::MAX).max(1);
        let turns = (0..)
            .zip(scraped_at)
            .map(|(at, scraped_at): (u64, _)| {
                let mut turn = Turn {
                    offset: interval.saturating_mul(at) / endpoints,
                    last: None,
                    under_way: false,
                    failures: 0,
                };
                turn.last = scraped_at.map(|then| turn.interval_at(then, interval));
                turn
            })
            .collect();
        Self { interval, turns }
    }

    /// The endpoints due `now`, by index. Each is counted as under way from here until it is
    /// [settled](Self::settle).
    pub fn due(&mut self, now: Timestamp) -> impl Iterator<Item = usize> {
        let interval = self.interval;
        self.turns
            .iter_mut()
            .enumerate()
            .filter_map(move |(index, turn)| {
                let current = turn.interval_at(now, interval);
                turn.is_due(current).then(|| {
                    turn.last = Some(current);
                    turn.under_way = true;
                    index
                })
            })
    }

    /// Ends the scrape of the endpoint at `index`: whether it answered decides when it is due
    /// next. Tells whether that is news: the first failure, or the first answer after one.
    pub fn settle(&mut self, index: usize, answered: bool) -> bool {
        let Some(turn) = self.turns.get_mut(index) else {
            return false;
        };
        let news = answered == (turn.failures > 0);
        turn.under_way = false;
        turn.failures = if answered {
            0
        } else {
            turn.failures.saturating_add(1)
        };
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(200);

    fn fresh(endpoints: usize) -> Timetable {
        Timetable::new(INTERVAL, vec![None; endpoints].into_iter())
    }

    /// Runs from `start` for `span` milliseconds in ticks of 40 ms; each scrape ends as `answers`
    /// says, at once. Returns the moments each endpoint was scraped.
    fn run(
        timetable: &mut Timetable,
        (start, span): (u64, u64),
        answers: impl Fn(usize) -> Option<bool>,
    ) -> Vec<Vec<u64>> {
        let mut scrapes = vec![Vec::new(); timetable.turns.len()];
        for now in (start..start + span).step_by(40) {
            let due: Vec<_> = timetable.due(Timestamp::from_millis(now)).collect();
            for index in due {
                scrapes[index].push(now);
                if let Some(answered) = answers(index) {
                    timetable.settle(index, answered);
                }
            }
        }
        scrapes
    }

    #[test]
    fn each_is_scraped_once_an_interval_and_spread_over_it() {
        let mut timetable = fresh(5);
        run(&mut timetable, (1_000_003, 400), |_| Some(true));
        let scrapes = run(&mut timetable, (1_000_403, 2_000), |_| Some(true));
        for times in &scrapes {
            assert_eq!(times.len(), 10, "{scrapes:?}");
        }
        let firsts: Vec<_> = scrapes.iter().map(|times| times[0] % 200).collect();
        assert_eq!(firsts, [3, 43, 83, 123, 163]);
    }

    #[test]
    fn the_first_scrape_is_at_once() {
        let due: Vec<_> = fresh(3).due(Timestamp::from_millis(123)).collect();
        assert_eq!(due, [0, 1, 2]);
    }

    #[test]
    fn one_that_hangs_or_fails_holds_up_none_but_itself() {
        let scrapes = run(&mut fresh(3), (0, 20_000), |index| match index {
            0 => None,
            1 => Some(false),
            _ => Some(true),
        });
        assert_eq!(scrapes[0].len(), 1);
        // After 2, 4, 8 and 16 intervals, and every 16 from there.
        assert_eq!(scrapes[1].len(), 9, "{:?}", scrapes[1]);
        assert_eq!(scrapes[2].len(), 100);
    }

    #[test]
    fn one_that_answers_again_is_back_in_rhythm() {
        let mut timetable = fresh(1);
        run(&mut timetable, (0, 20_000), |_| Some(false));
        assert!(!timetable.settle(0, false), "failing still is no news");
        assert!(timetable.settle(0, true), "answering again is");
        assert!(!timetable.settle(0, true));
        assert_eq!(
            run(&mut timetable, (20_000, 2_000), |_| Some(true))[0].len(),
            10
        );
    }

    #[test]
    fn a_successor_goes_on_in_the_rhythm() {
        let scraped = [Some(Timestamp::from_millis(1_010)), None];
        let mut timetable = Timetable::new(INTERVAL, scraped.into_iter());
        let due: Vec<_> = timetable.due(Timestamp::from_millis(1_150)).collect();
        assert_eq!(due, [1], "the first was scraped within this interval");
        let due: Vec<_> = timetable.due(Timestamp::from_millis(1_200)).collect();
        assert_eq!(due, [0]);
    }
}
