//! The scheduler against the pipeline written plainly, on generated pools, loads, profiles, subsets
//! and requests.

mod generated;
mod plain;

use core::{net::SocketAddr, time::Duration};

use fastrand::Rng;
use proptest::prelude::*;

use super::{
    Decision, Disaggregation, Explanation, NoCandidate, Profile, Request, Scheduler, Scheduling,
    Terms, View,
};
use crate::{
    discovery::DiscoveredEndpoint,
    load::{InFlight, Load},
    pool::{EndpointMetrics, Freshness, Pool, Signal},
    prefix::{BlockHash, PrefixIndex},
    time::Timestamp,
};
use generated::{PREFILL, ROLE, ZONE};
use plain::{Outcome, Prompt, Server};

const NOW: Timestamp = Timestamp::from_millis(100_000);
const LONG_AGO: Timestamp = Timestamp::from_millis(90_000);

/// A situation, as the scheduler gets it.
struct Scene {
    pool: Pool,
    load: InFlight,
    prefixes: PrefixIndex,
    blocks: Vec<BlockHash>,
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 8000 + u16::try_from(index).unwrap()))
}

impl Scene {
    fn new(servers: &[Server], prompt: Prompt) -> Self {
        let discovered: Vec<_> = servers.iter().map(discovered).collect();
        let mut scene = Self {
            pool: Pool::new(&discovered),
            load: InFlight::new(servers.len()),
            prefixes: PrefixIndex::new(servers.len(), 64 << 10),
            blocks: chain(prompt.blocks),
        };
        for server in servers {
            let at = if server.is_healthy { NOW } else { LONG_AGO };
            let mut metrics = EndpointMetrics::default();
            for (signal, value) in [
                (Signal::WaitingRequests, server.waiting),
                (Signal::RunningRequests, server.running),
                (Signal::KvCacheUsage, server.usage),
            ] {
                if let Some(value) = value {
                    metrics.observe(signal, value, at);
                }
            }
            let address = address(server.index);
            scene.pool.record(address, metrics, at);
            let [in_flight, at_scrape] = [(server.requests, server.tokens), (server.at_scrape, 0)]
                .map(|(requests, tokens)| Load { requests, tokens });
            scene.pool.record_load(address, at_scrape);
            scene.load.begin(server.index, in_flight);
            let held = &scene.blocks[..server.held];
            scene.prefixes.insert(server.index, held, false);
        }
        scene
    }
}

fn discovered(server: &Server) -> DiscoveredEndpoint {
    let role = server.role.map(|role| (ROLE, role));
    let labels = role.into_iter().chain([(ZONE, server.zone)]);
    DiscoveredEndpoint {
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        ..DiscoveredEndpoint::at(address(server.index))
    }
}

/// The blocks of a prompt: the hash of each stands for all before it.
fn chain(blocks: usize) -> Vec<BlockHash> {
    let root = BlockHash::NEUTRAL.within(BlockHash::NEUTRAL);
    core::iter::successors(Some(root), |before| {
        Some(BlockHash::NEUTRAL.within(*before))
    })
    .take(blocks)
    .collect()
}

const fn is_equal(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Whether the explanation is what came out plainly: the same candidates with the same totals, to which
/// the scores and weights told come, and the same counts left out.
fn check_explanation(
    explanation: &Explanation<'_>,
    outcome: &Outcome,
    profile: &Profile,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(explanation.profile, &profile.name);
    let host_port = |index| address(index).to_string();
    let mut expected = outcome.totals.clone();
    expected.sort_by_key(|(index, _)| *index);
    prop_assert_eq!(explanation.candidates.len(), expected.len());
    for (candidate, (index, total)) in explanation.candidates.iter().zip(expected) {
        prop_assert_eq!(candidate.endpoint, host_port(index));
        prop_assert!(
            is_equal(candidate.total, total),
            "{candidate:?}, not {total}"
        );
        let weighted = candidate
            .scores
            .iter()
            .map(|(name, score)| score * explanation.weights[name]);
        let sum: f64 = weighted.sum();
        prop_assert!(is_equal(candidate.total, sum), "{candidate:?}, not {sum}");
    }
    let mut left_out = std::collections::BTreeMap::new();
    for &(filter, count) in &outcome.left_out {
        *left_out.entry(filter).or_default() += count;
    }
    prop_assert_eq!(&explanation.left_out, &left_out);
    Ok(())
}

/// Whether the decision is what came out plainly: the same explanation, and a ranking that is sorted as
/// it should be, whoever comes first of equals.
fn check(
    decision: &Decision<'_>,
    outcome: &Outcome,
    profile: &Profile,
    ranked: usize,
) -> Result<(), TestCaseError> {
    let explanation = decision.explain();
    check_explanation(&explanation, outcome, profile)?;
    let total_of = |name: &&str| {
        let candidates = &explanation.candidates;
        candidates
            .iter()
            .find(|it| it.endpoint == *name)
            .unwrap()
            .total
    };
    let ranking: Vec<_> = explanation.ranking.iter().map(total_of).collect();
    prop_assert_eq!(ranking.len(), ranked.min(outcome.totals.len()));
    for (found, (_, expected)) in ranking.iter().zip(&outcome.totals) {
        prop_assert!(is_equal(*found, *expected), "{ranking:?}, not {outcome:?}");
    }
    // Where totals differ there is one winner.
    let (first, best) = outcome.totals[0];
    if outcome
        .totals
        .get(1)
        .is_none_or(|(_, next)| !is_equal(best, *next))
    {
        prop_assert_eq!(decision.endpoint().address(), address(first));
        prop_assert_eq!(decision.position(), first);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn decides_as_the_pipeline_written_plainly(
        case in generated::case(), ranked in 1_usize..5, seed: u64,
    ) {
        let generated::Case { servers, prompt, subset, profile, prefill, min_uncached } = case;
        let scene = Scene::new(&servers, prompt);
        let addresses: Option<Vec<_>> =
            subset.as_ref().map(|subset| subset.iter().copied().map(address).collect());
        let terms = Terms {
            freshness: Freshness { now: NOW, stale_after: Duration::from_secs(2) },
            subset: addresses.as_deref(),
            ranked,
            request: Request {
                blocks: &scene.blocks,
                block_tokens: prompt.block_tokens,
                prompt_tokens: prompt.tokens,
                ..Request::default()
            },
        };
        let view = View { pool: &scene.pool, load: &scene.load, prefixes: &scene.prefixes };
        let mut scheduler = Scheduler::new(Scheduling {
            profiles: vec![prefill.clone(), profile.clone()],
            disaggregation: Some(Disaggregation {
                prefill: PREFILL,
                min_uncached_tokens: min_uncached,
            }),
        });
        let mut rng = Rng::with_seed(seed);
        // The memory of one decision must not leak into the next.
        for _ in 0..2 {
            let allowed: Vec<_> = servers
                .iter()
                .filter(|it| subset.as_ref().is_none_or(|subset| subset.contains(&it.index)))
                .cloned()
                .collect();
            let expected = plain::decide(&allowed, prompt, &profile);
            let found = scheduler.schedule(view, terms, &mut rng);
            let (decision, outcome) = match (found, expected) {
                (Ok(decision), Ok(outcome)) => (decision, outcome),
                (Err(found), Err(expected)) => {
                    prop_assert_eq!(found, expected);
                    continue;
                }
                (found, expected) => {
                    let found: Result<(), NoCandidate> = found.map(|_| ());
                    return Err(TestCaseError::fail(format!("{found:?}, not {expected:?}")));
                }
            };
            check(&decision, &outcome, &profile, ranked)?;

            let decoder = &servers[decision.position()];
            let uncached = decoder.uncached(prompt);
            prop_assert_eq!(decision.uncached_tokens(), uncached);
            let holds = |(index, _): &(usize, f64)| servers[*index].held > 0;
            prop_assert_eq!(decision.is_cold(), !outcome.totals.iter().any(holds));

            // Next to a decoder that answers, nobody prefills who does not.
            let mut prefillers = allowed;
            prefillers.retain(|it| it.is_healthy || !decoder.is_healthy);
            let prefilling = plain::decide(&prefillers, prompt, &prefill);
            let prefilling = prefilling.ok().filter(|_| uncached > min_uncached);
            let best: Vec<usize> = prefilling.iter().flat_map(|outcome| {
                let best = outcome.totals[0].1;
                let equals = outcome.totals.iter().filter(move |(_, it)| is_equal(*it, best));
                equals.map(|(index, _)| *index)
            }).collect();
            let explanation = decision.explain();
            match (&explanation.prefill, &prefilling) {
                (Some(told), Some(outcome)) => {
                    let prefiller = decision.prefill().unwrap();
                    prop_assert_eq!(told.endpoint, prefiller.host_port());
                    check_explanation(told, outcome, &prefill)?;
                }
                (told, _) => prop_assert!(told.is_none() && decision.prefill().is_none()),
            }
            match decision.prefill_position() {
                Some(prefiller) => {
                    prop_assert!(best.contains(&prefiller), "{prefiller} of {best:?}");
                    prop_assert_ne!(prefiller, decision.position());
                }
                None => prop_assert!(best.is_empty() || best.contains(&decision.position())),
            }
        }
    }
}
