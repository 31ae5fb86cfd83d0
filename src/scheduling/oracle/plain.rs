//! The pipeline written plainly: servers in a list, each formula on its own, everything sorted.

use crate::scheduling::{
    Filter, LoadBand, NoCandidate, Profile, Role, Scorer, UtilizationMetric, WeightedScorer,
};

/// What is known of one server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) index: usize,
    pub(super) is_healthy: bool,
    pub(super) role: Option<&'static str>,
    pub(super) zone: &'static str,
    pub(super) waiting: Option<f64>,
    pub(super) running: Option<f64>,
    pub(super) usage: Option<f64>,
    /// In flight, of requests and tokens.
    pub(super) requests: u32,
    pub(super) tokens: u64,
    pub(super) at_scrape: u32,
    /// Blocks of the prompt that it holds.
    pub(super) held: usize,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt {
    pub(super) blocks: usize,
    pub(super) block_tokens: u32,
    pub(super) tokens: u64,
}

impl Server {
    /// What it said, if that is not too long ago.
    fn told(&self, value: Option<f64>) -> Option<f64> {
        value.filter(|_| self.is_healthy)
    }

    fn current(&self, value: Option<f64>) -> Option<f64> {
        let since = f64::from(self.requests) - f64::from(self.at_scrape);
        self.told(value).map(|value| (value + since).max(0.0))
    }

    /// Waiting, running and on their way; `None` if it tells of none.
    fn work(&self) -> Option<f64> {
        let (waiting, running) = (self.told(self.waiting), self.told(self.running));
        if waiting.is_none() && running.is_none() {
            return None;
        }
        let since = f64::from(self.requests) - f64::from(self.at_scrape);
        let told = waiting.unwrap_or(0.0) + running.unwrap_or(0.0);
        Some((told + since).max(f64::from(self.requests)))
    }

    pub(super) fn uncached(&self, prompt: Prompt) -> u64 {
        let cached = self.held as u64 * u64::from(prompt.block_tokens);
        prompt.tokens.saturating_sub(cached)
    }
}

/// The outcome: who was left out, and the candidates with their totals, the best first.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) left_out: Vec<(&'static str, usize)>,
    pub(super) totals: Vec<(usize, f64)>,
}

pub(super) fn decide(
    allowed: &[Server],
    prompt: Prompt,
    profile: &Profile,
) -> Result<Outcome, NoCandidate> {
    let healthy: Vec<_> = allowed.iter().filter(|it| it.is_healthy).cloned().collect();
    match filtered(healthy, prompt, profile, false) {
        Ok((candidates, left_out)) => Ok(Outcome {
            left_out,
            totals: totals(&candidates, prompt, &profile.scorers),
        }),
        Err(NoCandidate::Filtered {
            filter,
            saturated: true,
        }) => Err(NoCandidate::Filtered {
            filter,
            saturated: true,
        }),
        Err(_) => {
            let (candidates, left_out) = filtered(allowed.to_vec(), prompt, profile, true)?;
            let (measured, mut scorers): (Vec<_>, Vec<_>) =
                profile.scorers.iter().cloned().partition(|weighted| {
                    matches!(
                        weighted.scorer,
                        Scorer::Queue
                            | Scorer::RunningRequests
                            | Scorer::KvCacheUtilization
                            | Scorer::LoadAware(_)
                    )
                });
            if !measured.is_empty() {
                scorers.push(WeightedScorer {
                    scorer: Scorer::ActiveRequest(crate::scheduling::ActiveRequest::default()),
                    weight: measured.iter().map(|it| it.weight).sum(),
                });
            }
            Ok(Outcome {
                left_out,
                totals: totals(&candidates, prompt, &scorers),
            })
        }
    }
}

type Filtered = (Vec<Server>, Vec<(&'static str, usize)>);

fn filtered(
    mut candidates: Vec<Server>,
    prompt: Prompt,
    profile: &Profile,
    blind: bool,
) -> Result<Filtered, NoCandidate> {
    if candidates.is_empty() {
        return Err(NoCandidate::Empty);
    }
    let mut left_out = Vec::new();
    for filter in &profile.filters {
        let mut left = candidates.clone();
        left.retain(|it| stays(filter, it, &candidates, prompt));
        let saturated = matches!(filter, Filter::Utilization(_));
        if left.is_empty() {
            let falls_back = match filter {
                Filter::Utilization(it) => it.fallback_on_empty || blind,
                Filter::PrefixCacheAffinity(_) => true,
                _ => false,
            };
            if !falls_back {
                let filter = filter.name();
                return Err(NoCandidate::Filtered { filter, saturated });
            }
            left = candidates.clone();
        }
        left_out.push((filter.name(), candidates.len() - left.len()));
        candidates = left;
    }
    Ok((candidates, left_out))
}

fn stays(filter: &Filter, server: &Server, all: &[Server], prompt: Prompt) -> bool {
    match filter {
        Filter::LabelSelector(selector) => selector.match_labels[0].1 == server.zone,
        Filter::Role(filter) => match (filter.role, server.role) {
            (Role::Decode, None) => true,
            (Role::Prefill, None) => false,
            (_, Some("both" | "prefill-decode")) => true,
            (Role::Decode, Some(role)) => role == "decode",
            (Role::Prefill, Some(role)) => role == "prefill",
        },
        Filter::Utilization(utilization) => utilization.conditions.iter().all(|condition| {
            let value = match condition.metric {
                UtilizationMetric::ActiveRequests => Some(f64::from(server.requests)),
                UtilizationMetric::RunningRequests => server.current(server.running),
                UtilizationMetric::WaitingQueue => server.current(server.waiting),
                UtilizationMetric::KvCacheUtilization => server.told(server.usage),
            };
            value.is_some_and(|value| value <= condition.max_value)
        }),
        Filter::PrefixCacheAffinity(it) => {
            let is_sticky = |server: &Server| {
                prompt.blocks > 0
                    && server.held as f64 / prompt.blocks as f64 >= it.affinity_threshold
            };
            let best = |sticky: bool| {
                let tokens = all.iter().filter(|server| is_sticky(server) == sticky);
                let best = tokens.map(|server| server.tokens).min();
                best.map(|tokens| tokens as f64 / it.peak_prefill_throughput * 1000.0)
            };
            match (best(true), best(false)) {
                (Some(sticky), Some(other)) if sticky - other > it.max_ttft_penalty_ms => true,
                _ => is_sticky(server),
            }
        }
        Filter::ContextLengthAware(_) => unreachable!("not generated"),
    }
}

fn totals(candidates: &[Server], prompt: Prompt, scorers: &[WeightedScorer]) -> Vec<(usize, f64)> {
    let total = |server: &Server| {
        let weighted = scorers
            .iter()
            .map(|weighted| weighted.weight * score(&weighted.scorer, server, candidates, prompt));
        (server.index, weighted.sum::<f64>())
    };
    let mut totals: Vec<_> = candidates.iter().map(total).collect();
    totals.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    totals
}

fn score(scorer: &Scorer, server: &Server, all: &[Server], prompt: Prompt) -> f64 {
    match scorer {
        Scorer::Queue => fewest(server, all, |it| it.current(it.waiting)),
        Scorer::RunningRequests => fewest(server, all, |it| it.current(it.running)),
        Scorer::KvCacheUtilization => server.told(server.usage).map_or(0.0, |usage| 1.0 - usage),
        Scorer::LoadAware(it) => server.current(server.waiting).map_or(0.0, |waiting| {
            let threshold = f64::from(it.threshold);
            0.5 * (1.0 - waiting.min(threshold) / threshold)
        }),
        Scorer::ActiveRequest(it) => {
            let most = all.iter().map(|it| it.requests).max().unwrap();
            if server.requests <= it.idle_threshold {
                1.0
            } else {
                f64::from(most - server.requests) / f64::from(most) * it.max_busy_score
            }
        }
        Scorer::TokenLoad(it) => {
            let tokens = server.tokens + server.uncached(prompt);
            1.0 - tokens.min(it.queue_threshold_tokens) as f64 / it.queue_threshold_tokens as f64
        }
        Scorer::PrefixCache(it) => {
            if prompt.blocks == 0 || !is_within(it.band, server, all) {
                return 0.0;
            }
            let length = server.held as f64 * f64::from(prompt.block_tokens)
                / f64::from(it.match_length_scale_tokens);
            let share = server.held as f64 / prompt.blocks as f64;
            it.match_length_weight * length.min(1.0).powi(2)
                + (1.0 - it.match_length_weight) * share
        }
        _ => unreachable!("not generated"),
    }
}

fn fewest(server: &Server, all: &[Server], count: impl Fn(&Server) -> Option<f64>) -> f64 {
    let counts = || all.iter().filter_map(&count);
    let (min, max) = (
        counts().fold(f64::INFINITY, f64::min),
        counts().fold(f64::NEG_INFINITY, f64::max),
    );
    match count(server) {
        None => 0.0,
        Some(_) if min == max => 1.0,
        Some(count) => (max - count) / (max - min),
    }
}

fn is_within(band: LoadBand, server: &Server, all: &[Server]) -> bool {
    let load = |it: &Server| it.work().unwrap_or_else(|| f64::from(it.requests));
    let told: Vec<_> = all.iter().filter_map(Server::work).collect();
    let loads = if told.is_empty() {
        all.iter().map(load).collect()
    } else {
        told
    };
    let least = loads.into_iter().fold(f64::INFINITY, f64::min);
    load(server) <= (least + f64::from(band.requests)).max(least * band.ratio)
}
