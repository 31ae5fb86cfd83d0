//! Collects the numbers of the series that a mapping asks for, in one pass over an exposition.

use hashbrown::{HashMap, HashSet};
use xxhash_rust::xxh64::Xxh64;

use super::{
    expression::{Aggregation, Growth, Series},
    term::Scrape,
};
use crate::{
    exposition::{FamilySet, Labels, Sample, Selector, samples},
    time::Timestamp,
};

/// The series that a mapping asks for; each is collected once, however many expressions ask.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    families: FamilySet,
    /// What is wanted of each family, by the family's index.
    by_family: Vec<Vec<Ask>>,
    series: Vec<Series>,
    /// Which of the series are asked for their growth.
    counters: Vec<usize>,
    /// The series that are asked for their labels.
    facts: Vec<Selector>,
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    /// For the number of the series at this index.
    Number(usize),
    /// For the labels of the facts at this index.
    Labels(usize),
}

/// One series' number.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Tells it from other series; `None` where nobody asks.
    series: Option<u64>,
    value: f64,
    timestamp: Option<i64>,
}

/// What an exposition has of the wanted series.
#[derive(Debug)]
pub(super) struct Collected<'exposition> {
    points: Vec<Vec<Point>>,
    /// The samples of those series that are asked for their labels.
    facts: Vec<(usize, Sample<'exposition>)>,
}

/// What a mapping remembers of an endpoint's scrape before: the counters it asks for.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// When it was scraped and each counter's series, by the counters' order in [`Wanted`].
    last: Option<(Timestamp, Vec<HashMap<u64, f64>>)>,
}

/// Which series of counters are known to have begun at 0 since the scrape before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Anew {
    /// None. One that has fallen has begun at 0 by itself.
    None,
    /// These, whatever the family: the sum of a histogram may have passed what it was before while its
    /// count has fallen.
    These(HashSet<u64>),
    /// All, as their process is another.
    All,
}

/// A number from series, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// There is no such series.
    Missing,
    /// There is, and it says nothing yet.
    Unmeasured,
    /// It is this; NaN and the infinities are numbers here.
    Number(f64),
}

impl Wanted {
    /// Adds series, and tells by which index they are asked for afterwards.
    pub(super) fn add(&mut self, series: &Series) -> usize {
        if let Some(known) = self.series.iter().position(|known| known == series) {
            return known;
        }
        self.series.push(series.clone());
        let index = self.series.len() - 1;
        self.ask(&series.selector, Ask::Number(index));
        index
    }

    /// Adds series whose labels are asked for, and tells by which index afterwards.
    pub(super) fn add_facts(&mut self, selector: &Selector) -> usize {
        self.facts.push(selector.clone());
        let index = self.facts.len() - 1;
        self.ask(selector, Ask::Labels(index));
        index
    }

    fn ask(&mut self, selector: &Selector, ask: Ask) {
        let family = self.families.insert(selector.family()).index();
        if self.by_family.len() <= family {
            self.by_family.resize(family + 1, Vec::new());
        }
        if let Some(asks) = self.by_family.get_mut(family) {
            asks.push(ask);
        }
    }

    /// Adds series whose growth is asked for, and tells their place among the counters.
    pub(super) fn add_counter(&mut self, series: &Series) -> usize {
        let index = self.add(series);
        let known = self.counters.iter().position(|&known| known == index);
        known.unwrap_or_else(|| {
            self.counters.push(index);
            self.counters.len() - 1
        })
    }

    /// Goes through an exposition once. A line that is not valid counts as not there.
    pub(super) fn collect<'exposition>(
        &self,
        exposition: &'exposition [u8],
    ) -> Collected<'exposition> {
        let mut collected = Collected {
            points: vec![Vec::new(); self.series.len()],
            facts: Vec::new(),
        };
        for (family, sample) in samples(exposition, &self.families).flatten() {
            for ask in self.by_family.get(family.index()).into_iter().flatten() {
                match *ask {
                    Ask::Number(index) => self.take_number(index, &sample, &mut collected),
                    Ask::Labels(index) => {
                        let selector = self.facts.get(index);
                        if selector.is_some_and(|selector| selector.matches(&sample.labels)) {
                            collected.facts.push((index, sample.clone()));
                        }
                    }
                }
            }
        }
        for points in &mut collected.points {
            latest_of_each(points);
        }
        collected
    }

    fn take_number(&self, index: usize, sample: &Sample<'_>, collected: &mut Collected<'_>) {
        let Some(series) = self.series.get(index) else {
            return;
        };
        if !series.selector.matches(&sample.labels) {
            return;
        }
        let value = match &series.label {
            None => Some(sample.value),
            Some(label) => sample.labels.get(label).and_then(|text| text.parse().ok()),
        };
        let identified = sample.timestamp.is_some() || self.counters.contains(&index);
        if let (Some(value), Some(points)) = (value, collected.points.get_mut(index)) {
            points.push(Point {
                series: identified.then(|| identity(&sample.labels)),
                value,
                timestamp: sample.timestamp,
            });
        }
    }

    /// The series of which a counter has fallen since `history`: their server has started anew.
    pub(super) fn fallen(&self, collected: &Collected<'_>, history: &History) -> Anew {
        let before = history.last.iter().flat_map(|(_, counters)| counters);
        let counters = self.counters.iter().zip(before);
        let fallen: HashSet<_> = counters
            .flat_map(|(&index, before)| {
                let points = collected.points(index).iter();
                points.filter_map(|point| {
                    let series = point.series?;
                    (point.value < *before.get(&series)?).then_some(series)
                })
            })
            .collect();
        if fallen.is_empty() {
            Anew::None
        } else {
            Anew::These(fallen)
        }
    }

    /// What is to be remembered for the next scrape.
    pub(super) fn remember(&self, collected: &Collected<'_>, at: Timestamp) -> History {
        let counters = self
            .counters
            .iter()
            .map(|&index| {
                collected
                    .points(index)
                    .iter()
                    .filter_map(|point| Some((point.series?, point.value)))
                    .collect()
            })
            .collect();
        History {
            last: Some((at, counters)),
        }
    }

    /// What the counters at `counter` grew by since the scrape before.
    pub(super) fn growth(&self, growth: Growth, counter: usize, scrape: &Scrape<'_>) -> Outcome {
        let points = self
            .counters
            .get(counter)
            .map_or(&[][..], |&index| scrape.collected.points(index));
        if points.is_empty() {
            return Outcome::Missing;
        }
        let before = scrape.history.last.as_ref();
        let Some((then, before)) =
            before.and_then(|(then, counters)| Some((*then, counters.get(counter)?)))
        else {
            return Outcome::Unmeasured;
        };
        // A series that was not there before begins to count: what it counted until here may be
        // as old as its server.
        let increases = points.iter().filter_map(|point| {
            let series = point.series?;
            let before = *before.get(&series)?;
            Some(if point.value < before || scrape.anew.has(series) {
                point.value
            } else {
                point.value - before
            })
        });
        let increase = increases.reduce(|sum, increase| sum + increase);
        let seconds = scrape.at.since(then).as_secs_f64();
        match (increase, growth) {
            (None, _) => Outcome::Unmeasured,
            (Some(increase), Growth::Increase) => Outcome::Number(increase),
            (Some(increase), Growth::Rate) if seconds > 0.0 => Outcome::Number(increase / seconds),
            (Some(_), Growth::Rate) => Outcome::Unmeasured,
        }
    }
}

impl Anew {
    fn has(&self, series: u64) -> bool {
        match self {
            Self::None => false,
            Self::These(these) => these.contains(&series),
            Self::All => true,
        }
    }
}

impl<'exposition> Collected<'exposition> {
    /// The samples of the facts at `index`.
    pub(super) fn facts(&self, index: usize) -> impl Iterator<Item = &Sample<'exposition>> {
        self.facts
            .iter()
            .filter_map(move |(of, sample)| (*of == index).then_some(sample))
    }

    fn points(&self, index: usize) -> &[Point] {
        self.points.get(index).map_or(&[], Vec::as_slice)
    }

    /// The numbers of the series at `index` as one. NaN among them stays NaN: half a server that
    /// cannot say how full it is does not make the other half's word true of the whole.
    pub(super) fn aggregate(&self, aggregation: Aggregation, index: usize) -> Outcome {
        let points = self.points(index);
        let values = || points.iter().map(|point| point.value);
        let either = |choose: fn(f64, f64) -> f64| {
            values().reduce(|a, b| {
                if a.is_nan() {
                    a
                } else if b.is_nan() {
                    b
                } else {
                    choose(a, b)
                }
            })
        };
        let number = match aggregation {
            Aggregation::Sum => values().reduce(|a, b| a + b),
            Aggregation::Max => either(f64::max),
            Aggregation::Min => either(f64::min),
            Aggregation::Mean => values()
                .reduce(|a, b| a + b)
                .map(|sum| sum / points.len() as f64),
            Aggregation::Latest => points
                .iter()
                .reduce(|a, b| if b.timestamp > a.timestamp { b } else { a })
                .map(|point| point.value),
        };
        number.map_or(Outcome::Missing, Outcome::Number)
    }
}

/// Of samples of one series, which differ in their timestamps, the latest counts.
fn latest_of_each(points: &mut Vec<Point>) {
    if points.iter().all(|point| point.timestamp.is_none()) {
        return;
    }
    // Stable, and the latest first, so that it is the one that stays.
    points.sort_by_key(|point| (point.series, core::cmp::Reverse(point.timestamp)));
    // Those without a time are of series that nobody tells apart.
    points.dedup_by(|b, a| a.series.is_some() && a.series == b.series);
}

fn identity(labels: &Labels<'_>) -> u64 {
    let mut hasher = Xxh64::new(0);
    for (name, value) in labels.iter() {
        for text in [name, value] {
            // With the length between, so that no two lists of labels are one text.
            hasher.update(&text.len().to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    hasher.digest()
}
