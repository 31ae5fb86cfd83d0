//! Engines and expositions of all kinds, of few families and few labels, so that they meet.

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::plain::{Choice, Engine, Formula, Labels, Sample, Scrape};
use crate::pool::Signal;

/// Two of them begin alike.
const FAMILIES: [&str; 3] = ["a", "a_total", "b"];
/// Of several processes, and with a number, with none, and with a text that is none.
const SERIES: [&[(&str, &str)]; 6] = [
    &[],
    &[("e", "0")],
    &[("e", "1")],
    &[("e", "0"), ("n", "16")],
    &[("e", "1"), ("n", "0.5")],
    &[("e", "1"), ("n", "None")],
];

/// Two signals, which may ask for the same series and make different numbers of them.
pub(super) fn engine() -> impl Strategy<Value = Engine> {
    let custom = Signal::Custom(1);
    let signals: Vec<_> = Signal::ALL.into_iter().chain([custom]).collect();
    subsequence(signals, 2).prop_flat_map(|signals| {
        let alternatives = vec(vec(formula(), 1..3), signals.len());
        alternatives.prop_map(move |all| signals.iter().copied().zip(all).collect())
    })
}

/// Scrapes in turn. What one has, most of the others have too.
pub(super) fn scrapes() -> impl Strategy<Value = Vec<Scrape>> {
    let steps = select(vec![0, 250, 1000, 1500]);
    let tells_start = any::<bool>();
    (vec((steps, scrape()), 1..6), tells_start).prop_map(|(scrapes, tells_start)| {
        let mut millis = 1_000;
        let in_turn = scrapes.into_iter().map(|(step, scrape)| {
            millis += step;
            let started = scrape.started.filter(|_| tells_start);
            Scrape {
                millis,
                started,
                ..scrape
            }
        });
        in_turn.collect()
    })
}

fn scrape() -> impl Strategy<Value = Scrape> {
    let all = FAMILIES
        .into_iter()
        .flat_map(|family| SERIES.map(|labels| (family, labels.to_vec())));
    let series: Vec<_> = all
        .map(|(family, labels)| values().prop_map(move |values| series(family, &labels, &values)))
        .collect();
    // Within the tolerance of each other and not, and earlier than before.
    let started = option::weighted(0.8, select(vec![100.0, 101.5, 102.0, 110.0]));
    let samples = series.prop_map(|series| series.concat()).prop_shuffle();
    (samples, started).prop_map(|(samples, started)| Scrape {
        millis: 0,
        samples: timed(samples),
        started,
    })
}

/// The samples of a series: none, one without a time, or some with one each.
fn values() -> impl Strategy<Value = Vec<(f64, Option<i64>)>> {
    let time = || (0_i64..50).prop_map(Some);
    prop_oneof![
        3 => Just(Vec::new()),
        5 => number().prop_map(|value| vec![(value, None)]),
        2 => vec((number(), time()), 1..4),
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        12 => (0_u32..40).prop_map(f64::from),
        6 => select(vec![0.0, 0.25, 0.5, 1.0, 1.25]),
        1 => select(vec![f64::NAN, f64::INFINITY]),
    ]
}

fn series(family: &'static str, labels: &Labels, values: &[(f64, Option<i64>)]) -> Vec<Sample> {
    values
        .iter()
        .map(|&(value, time)| Sample {
            family,
            labels: labels.clone(),
            value,
            time,
        })
        .collect()
}

/// No two at one time, of which neither would be the latest.
fn timed(samples: Vec<Sample>) -> Vec<Sample> {
    (0..)
        .zip(samples)
        .map(|(place, sample)| Sample {
            time: sample.time.map(|time| time * 1_000 + place),
            ..sample
        })
        .collect()
}

fn formula() -> impl Strategy<Value = Formula> {
    let constant = select(vec![0.0, 1.0, 2.0, 0.5]).prop_map(Formula::Constant);
    let function = option::of(select(vec!["sum", "max", "min", "mean", "latest"]));
    let label = option::weighted(0.2, select(vec!["n", "e", "absent"]));
    let total = (function, choice(), label)
        .prop_map(|(function, choice, label)| Formula::Total(function, choice, label));
    let leaf = prop_oneof![1 => constant, 5 => total, 4 => grown()];
    let whole = leaf.prop_recursive(2, 8, 2, |inner| {
        let signs = select(vec!['+', '-', '*', '/', '/']);
        prop_oneof![
            1 => inner.clone().prop_map(|inner| Formula::Minus(Box::new(inner))),
            6 => (inner.clone(), signs, inner)
                .prop_map(|(a, sign, b)| Formula::Of(Box::new(a), sign, Box::new(b))),
        ]
    });
    // The mean of a histogram, as most engines ask for it.
    let mean = (
        labels(),
        select(FAMILIES.to_vec()),
        select(FAMILIES.to_vec()),
    );
    let mean = mean.prop_map(|(labels, sum, count)| {
        let grown = |family| {
            let labels = labels.clone();
            Box::new(Formula::Grown("increase", Choice { family, labels }))
        };
        Formula::Of(grown(sum), '/', grown(count))
    });
    prop_oneof![4 => whole, 1 => mean]
}

fn grown() -> impl Strategy<Value = Formula> {
    let function = prop_oneof![3 => Just("increase"), 1 => Just("rate")];
    (function, choice()).prop_map(|(function, choice)| Formula::Grown(function, choice))
}

fn choice() -> impl Strategy<Value = Choice> {
    (select(FAMILIES.to_vec()), labels()).prop_map(|(family, labels)| Choice { family, labels })
}

fn labels() -> impl Strategy<Value = Labels> {
    let some: [&[_]; 6] = [
        &[],
        &[],
        &[("e", "0")],
        &[("e", "1")],
        &[("n", "16")],
        &[("e", "2")],
    ];
    select(some.to_vec()).prop_map(<[_]>::to_vec)
}
