//! What a run comes to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    driver::{Outcome, Seen},
    watch::{Sample, ServerState},
};

/// Mean and quantiles of values. All zero where there are no values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Distribution {
    /// How many.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Half are no larger.
    pub p50: f64,
    /// 90 of 100 are no larger.
    pub p90: f64,
    /// 99 of 100 are no larger.
    pub p99: f64,
}

impl Distribution {
    /// Of values in any order.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        if values.is_empty() {
            return Self::default();
        }
        Self {
            count: values.len(),
            mean: values.iter().sum::<f64>() / values.len() as f64,
            p50: quantile(&values, 0.50),
            p90: quantile(&values, 0.90),
            p99: quantile(&values, 0.99),
        }
    }
}

/// The smallest of `sorted` that no less than a share `q` is not larger than (nearest rank); zero
/// where there are no values.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// What users are promised, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Slo {
    /// The longest time to first token.
    pub ttft: f64,
    /// The longest mean time for each token after the first.
    pub tpot: f64,
}

impl Slo {
    fn is_met_by(&self, seen: &Seen) -> bool {
        seen.ttft <= self.ttft && seen.tpot.is_none_or(|tpot| tpot <= self.tpot)
    }
}

/// The part of a run that counts, in simulated seconds since its start: requests that were due, and
/// samples taken, from the end of the warm-up to the end of the load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Window {
    /// The end of the warm-up.
    pub from: f64,
    /// The end of the load.
    pub until: f64,
}

impl Window {
    /// Whether what was due at this time counts.
    #[must_use]
    pub fn contains(&self, time: f64) -> bool {
        (self.from..self.until).contains(&time)
    }
}

/// What the users saw.
#[derive(Clone, Debug, Serialize)]
pub struct Users {
    /// Requests that count.
    pub requests: usize,
    /// Time to first token.
    pub ttft: Distribution,
    /// Time for each token after the first.
    pub tpot: Distribution,
    /// End to end.
    pub e2e: Distribution,
    /// Requests a second whose answers kept the SLO.
    pub goodput: f64,
    /// Requests without a whole answer, by what happened to them.
    pub errors: BTreeMap<String, usize>,
    /// How late the client was.
    pub lag: Distribution,
}

impl Users {
    /// Sums up the outcomes of runs over the same window.
    #[must_use]
    pub fn of(runs: &[&[Outcome]], window: Window, slo: Slo) -> Self {
        let counted = || {
            runs.iter()
                .flat_map(|run| run.iter())
                .filter(|outcome| window.contains(outcome.due))
        };
        let seen = || counted().filter_map(|outcome| outcome.result.as_ref().ok());
        let mut errors = BTreeMap::new();
        for failure in counted().filter_map(|outcome| outcome.result.as_ref().err()) {
            *errors.entry(failure.to_string()).or_default() += 1;
        }
        let kept = seen().filter(|seen| slo.is_met_by(seen)).count();
        let time = (window.until - window.from) * runs.len() as f64;
        Self {
            requests: counted().count(),
            ttft: Distribution::of(seen().map(|seen| seen.ttft)),
            tpot: Distribution::of(seen().filter_map(|seen| seen.tpot)),
            e2e: Distribution::of(seen().map(|seen| seen.e2e)),
            goodput: kept as f64 / time.max(f64::MIN_POSITIVE),
            errors,
            lag: Distribution::of(counted().map(|outcome| outcome.lag)),
        }
    }
}

/// What the servers said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Servers {
    /// The share of prompt tokens that came from a prefix cache.
    pub hit_ratio: f64,
    /// How unevenly requests lay at the servers: the coefficient of variation of waiting and running
    /// requests over the servers, averaged over the samples in which there were any. 0 is even; all
    /// at one of `n` servers is `sqrt(n - 1)`.
    pub imbalance: f64,
    /// Requests thrown out of a batch for want of KV cache.
    pub preemptions: f64,
    /// The mean of waiting requests, over all servers together.
    pub waiting: f64,
    /// The mean used share of the KV caches, 0 to 1.
    pub kv_cache_usage: f64,
}

impl Servers {
    /// Sums up the timeline of a run.
    #[must_use]
    pub fn of(timeline: &[Sample], window: Window) -> Self {
        let samples: Vec<Vec<ServerState>> = timeline
            .iter()
            .filter(|sample| window.contains(sample.time))
            // A moment in which one server did not answer says nothing of how they compare.
            .filter_map(|sample| sample.servers.iter().copied().collect())
            .collect();
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return Self::default();
        };
        let grown = |counter: fn(&ServerState) -> f64| {
            last.iter().map(counter).sum::<f64>() - first.iter().map(counter).sum::<f64>()
        };
        let queries = grown(|state| state.prefix_cache_queries);
        let uneven: Vec<f64> = samples.iter().filter_map(|it| imbalance(it)).collect();
        let mean = |value: fn(&ServerState) -> f64| {
            let sums = samples
                .iter()
                .map(|sample| sample.iter().map(value).sum::<f64>());
            sums.sum::<f64>() / samples.len() as f64
        };
        Self {
            hit_ratio: if queries > 0.0 {
                grown(|state| state.prefix_cache_hits) / queries
            } else {
                0.0
            },
            imbalance: uneven.iter().sum::<f64>() / uneven.len().max(1) as f64,
            preemptions: grown(|state| state.preemptions),
            waiting: mean(|state| state.waiting),
            kv_cache_usage: mean(|state| state.kv_cache_usage) / first.len().max(1) as f64,
        }
    }

    /// The means over several runs.
    #[must_use]
    pub fn mean(runs: &[Self]) -> Self {
        let mean = |value: fn(&Self) -> f64| {
            runs.iter().map(value).sum::<f64>() / runs.len().max(1) as f64
        };
        Self {
            hit_ratio: mean(|run| run.hit_ratio),
            imbalance: mean(|run| run.imbalance),
            preemptions: mean(|run| run.preemptions),
            waiting: mean(|run| run.waiting),
            kv_cache_usage: mean(|run| run.kv_cache_usage),
        }
    }
}

/// The coefficient of variation of the queues; none where all are empty.
fn imbalance(servers: &[ServerState]) -> Option<f64> {
    let count = servers.len() as f64;
    let mean = servers.iter().map(ServerState::queue).sum::<f64>() / count;
    if mean.is_nan() || mean <= 0.0 {
        return None;
    }
    let squares = servers.iter().map(|server| (server.queue() - mean).powi(2));
    Some((squares.sum::<f64>() / count).sqrt() / mean)
}

#[cfg(test)]
mod tests {
    use crate::load::client::Failure;

    use super::*;

    const WINDOW: Window = Window {
        from: 10.0,
        until: 20.0,
    };

    const SLO: Slo = Slo {
        ttft: 1.0,
        tpot: 0.1,
    };

    fn outcome(due: f64, result: Result<(f64, f64), Failure>) -> Outcome {
        Outcome {
            due,
            lag: 0.0,
            body_bytes: 1,
            result: result.map(|(ttft, tpot)| Seen {
                ttft,
                tpot: Some(tpot),
                e2e: ttft + tpot,
                tokens: 2,
                prompt_tokens: 1,
                cached_tokens: 0,
            }),
        }
    }

    fn sample(time: f64, queues: &[f64], hits: f64, queries: f64) -> Sample {
        let state = |waiting: &f64| {
            Some(ServerState {
                waiting: *waiting,
                prefix_cache_hits: hits,
                prefix_cache_queries: queries,
                ..ServerState::default()
            })
        };
        Sample {
            time,
            servers: queues.iter().map(state).collect(),
        }
    }

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (q, expected) in [
            (0.5, 50.0),
            (0.9, 90.0),
            (0.99, 99.0),
            (1.0, 100.0),
            (0.0, 1.0),
        ] {
            assert_eq!(quantile(&values, q), expected, "{q}");
        }
        let few = Distribution::of([3.0, 1.0, 2.0]);
        assert_eq!((few.mean, few.p50, few.p99, few.count), (2.0, 2.0, 3.0, 3));
        assert_eq!(Distribution::of([]), Distribution::default());
    }

    #[test]
    fn only_what_was_due_in_the_window_counts() {
        let run = [
            outcome(9.9, Ok((50.0, 50.0))),
            outcome(10.0, Ok((0.5, 0.05))),
            outcome(11.0, Ok((1.5, 0.05))),
            outcome(12.0, Ok((0.5, 0.5))),
            outcome(13.0, Err(Failure::Status(503))),
            outcome(20.0, Err(Failure::Broken)),
        ];
        let users = Users::of(&[&run], WINDOW, SLO);
        assert_eq!(users.requests, 4);
        assert_eq!(users.ttft.count, 3);
        assert_eq!(users.errors, BTreeMap::from([("status 503".to_owned(), 1)]));
        // One of four kept both bounds, in ten seconds.
        assert!((users.goodput - 0.1).abs() < 1e-9);
        // Twice the same is the same a second.
        let twice = Users::of(&[&run, &run], WINDOW, SLO);
        assert!((twice.goodput - 0.1).abs() < 1e-9);
        assert_eq!(twice.requests, 8);
    }

    #[test]
    fn servers_are_summed_up_over_the_window() {
        let timeline = [
            sample(0.0, &[100.0, 0.0], 0.0, 0.0),
            sample(10.0, &[4.0, 0.0], 100.0, 1000.0),
            sample(12.0, &[0.0, 0.0], 150.0, 1100.0),
            sample(14.0, &[2.0, 2.0], 180.0, 1200.0),
            sample(25.0, &[0.0, 0.0], 999.0, 2000.0),
        ];
        let servers = Servers::of(&timeline, WINDOW);
        assert!((servers.hit_ratio - 0.4).abs() < 1e-9);
        // All at one of two is 1, even is 0, and an empty moment says nothing.
        assert!((servers.imbalance - 0.5).abs() < 1e-9);
        assert!((servers.waiting - 8.0 / 3.0).abs() < 1e-9);
        assert_eq!(Servers::of(&[], WINDOW), Servers::default());
    }

    #[test]
    fn a_moment_without_one_of_the_servers_says_nothing() {
        let mut half = sample(12.0, &[9.0, 0.0], 0.0, 0.0);
        half.servers[1] = None;
        let timeline = [sample(11.0, &[1.0, 1.0], 0.0, 0.0), half];
        assert_eq!(Servers::of(&timeline, WINDOW).imbalance, 0.0);
    }
}
