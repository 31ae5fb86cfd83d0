//! The bounds that the design sets, beside what was measured.

use serde::Serialize;

use super::{
    body::{Shape, Text},
    results::{self, Results, SaturationResult},
    statistics::Repeated,
    variant::Variant,
};

/// A bound and what was measured of it. Nothing fails when it is not met: whether it is depends on
/// the machine too, and a bench reports.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Bound {
    pub(super) what: String,
    pub(super) limit: Limit,
    pub(super) measured: f64,
    /// What it would be if nothing took the processor from Envoy's worker, where that is known.
    pub(super) by_cost: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) met: bool,
}

/// What a measured number is to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

/// What a throughput is compared with.
#[derive(Clone, Copy)]
enum Against {
    Bare,
    ExtProc,
}

/// Throughputs of this filter with a pool of 10: the body, whether the model is last, what it is
/// compared with, and the least ratio.
///
/// The design bounds a 220 KB body that is decided early, and one that has to be read whole; here
/// these are the body that begins with the model, and the one that ends with it.
const THROUGHPUTS: [(usize, bool, Against, f64); 7] = [
    (1_000, false, Against::Bare, 0.72),
    (50_000, false, Against::Bare, 0.70),
    (220_000, false, Against::Bare, 0.85),
    (220_000, true, Against::Bare, 0.70),
    (1_000, false, Against::ExtProc, 1.8),
    (220_000, false, Against::ExtProc, 2.5),
    (220_000, true, Against::ExtProc, 2.5),
];

/// The least ratio to bare Envoy with 1 KB and any pool of up to 1000.
const ANY_POOL: f64 = 0.72;

/// Scraping 100 endpoints every 200 ms, in percent of one core.
const SCRAPING_PERCENT: f64 = 10.0;

/// The linear memory of a worker's VM with 100 endpoints, whatever the bodies.
const LINEAR_MEMORY_MIB: f64 = 16.0;

/// All bounds of which something was measured.
pub(super) fn all(results: &Results) -> Vec<Bound> {
    let mut bounds = Vec::new();
    for (bytes, model_last, against, least) in THROUGHPUTS {
        for text in [Text::Mixed, Text::Prose] {
            let body = Shape {
                bytes,
                model_last,
                text,
            };
            let picker = results.at_saturation(body, Variant::EndpointPicker);
            bounds.extend(picker.and_then(|it| throughput(it, &body.to_string(), against, least)));
        }
    }
    for pool in &results.pools {
        let picker = results::of(&pool.saturation, Variant::EndpointPicker);
        let what = format!("1k, {} endpoints", pool.endpoints);
        bounds.extend(picker.and_then(|it| throughput(it, &what, Against::Bare, ANY_POOL)));
    }
    if let Some(scraping) = &results.scraping {
        bounds.push(Bound::new(
            format!("scraping {} endpoints every 200 ms", scraping.endpoints),
            Limit::AtMost(SCRAPING_PERCENT),
            (scraping.with - scraping.without) * 100.0,
            "% of a core",
        ));
    }
    let memories = results
        .memory
        .iter()
        .flat_map(|it| it.linear_memories.iter());
    if let Some(largest) = memories.max() {
        bounds.push(Bound::new(
            "linear memory of a VM after all bodies".to_owned(),
            Limit::AtMost(LINEAR_MEMORY_MIB),
            mebibytes(*largest),
            "MiB",
        ));
    }
    bounds
}

fn throughput(
    picker: &SaturationResult,
    what: &str,
    against: Against,
    least: f64,
) -> Option<Bound> {
    let (ratio, other): (Option<Repeated>, _) = match against {
        Against::Bare => (picker.to_bare, "bare Envoy"),
        Against::ExtProc => (picker.to_ext_proc, "null ext_proc"),
    };
    let by_cost = match against {
        Against::Bare => picker.to_bare_by_cost,
        // The server's processor time is not the worker's.
        Against::ExtProc => None,
    };
    Some(Bound {
        by_cost: by_cost.map(|it| it.median),
        ..Bound::new(
            format!("throughput, {what}, to {other}"),
            Limit::AtLeast(least),
            ratio?.median,
            "times",
        )
    })
}

impl Bound {
    fn new(what: String, limit: Limit, measured: f64, unit: &'static str) -> Self {
        let met = match limit {
            Limit::AtLeast(least) => measured >= least,
            Limit::AtMost(most) => measured <= most,
        };
        Self {
            what,
            limit,
            measured,
            by_cost: None,
            unit,
            met,
        }
    }
}

/// Bytes in mebibytes.
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::overhead::results::{MemoryResult, ScrapingResult};

    #[test]
    fn a_bound_is_met_at_its_limit_and_not_beyond() {
        let met = |limit, measured| Bound::new(String::new(), limit, measured, "").met;
        assert!(met(Limit::AtLeast(0.7), 0.7) && !met(Limit::AtLeast(0.7), 0.69));
        assert!(met(Limit::AtMost(10.0), 10.0) && !met(Limit::AtMost(10.0), 10.1));
    }

    #[test]
    fn only_what_was_measured_is_held_against_its_bound() {
        assert_eq!(all(&Results::default()), []);
        let results = Results {
            memory: vec![MemoryResult {
                body: Shape {
                    bytes: 1_000,
                    model_last: false,
                    text: Text::Mixed,
                },
                endpoints: 100,
                linear_memories: vec![32 << 20, 1 << 20],
                resident: 0,
            }],
            scraping: Some(ScrapingResult {
                endpoints: 100,
                window: 10.0,
                scrapes: 500.0,
                with: 0.09,
                without: 0.01,
            }),
            ..Results::default()
        };
        let measured: Vec<(f64, bool)> = all(&results)
            .iter()
            .map(|it| (it.measured.round(), it.met))
            .collect();
        assert_eq!(measured, [(8.0, true), (32.0, false)]);
    }
}
