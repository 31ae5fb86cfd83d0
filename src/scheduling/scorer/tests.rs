//! What holds of every scorer, whatever it is told.

use core::{net::SocketAddr, time::Duration};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::*;
use crate::{
    discovery::DiscoveredEndpoint,
    load::{InFlight, Load},
    pool::{EndpointMetrics, Freshness, LoraAdapters, Observation, Pool},
    prefix::{BlockHash, PrefixIndex},
    scheduling::{Request, SessionForm, View},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(100_000);
const LONG_AGO: Timestamp = Timestamp::from_millis(1);
const ADAPTERS: [&str; 4] = ["a", "b", "c", "d"];
const SIGNALS: [Signal; 6] = [
    Signal::WaitingRequests,
    Signal::RunningRequests,
    Signal::KvCacheUsage,
    Signal::TimeToFirstToken,
    Signal::TimePerOutputToken,
    Signal::Custom(0),
];

fn scorer() -> impl Strategy<Value = Scorer> {
    let positive = 0.0..=f64::MAX;
    let share = 0.0..=1.0_f64;
    let band =
        (any::<u32>(), 1.0..=f64::MAX).prop_map(|(requests, ratio)| LoadBand { requests, ratio });
    let place = 0..2_usize;
    let form = select(vec![SessionForm::Token, SessionForm::Key]);
    prop_oneof![
        Just(Scorer::Queue),
        Just(Scorer::RunningRequests),
        Just(Scorer::KvCacheUtilization),
        Just(Scorer::LoraAffinity),
        Just(Scorer::NoHitLru),
        (share.clone(), prop_oneof![0..3_u32, any::<u32>()], band).prop_map(
            |(match_length_weight, match_length_scale_tokens, band)| Scorer::PrefixCache(
                PrefixCache {
                    match_length_weight,
                    match_length_scale_tokens,
                    band,
                }
            )
        ),
        (any::<u32>(), share).prop_map(|(idle_threshold, max_busy_score)| Scorer::ActiveRequest(
            ActiveRequest {
                idle_threshold,
                max_busy_score
            }
        )),
        prop_oneof![0..3_u64, any::<u64>()].prop_map(|queue_threshold_tokens| Scorer::TokenLoad(
            TokenLoad {
                queue_threshold_tokens
            }
        )),
        prop_oneof![0..3_u32, any::<u32>()]
            .prop_map(|threshold| Scorer::LoadAware(LoadAware { threshold })),
        (place, form).prop_map(|(place, form)| Scorer::SessionAffinity(Session { place, form })),
        Just(Scorer::ContextLengthAware(ContextLengthAware {
            label: "range".to_owned()
        })),
        (option::of((number(), number())), any::<bool>()).prop_map(|(range, higher_is_better)| {
            Scorer::EndpointAttribute(EndpointAttribute {
                name: "x".to_owned(),
                signal: Signal::Custom(0),
                range: range.map(|(a, b)| (a.min(b), a.max(b))),
                higher_is_better,
            })
        }),
        (positive.clone(), positive).prop_map(|(ttft_weight, tpot_weight)| Scorer::Latency(
            Latency {
                ttft_weight,
                tpot_weight
            }
        )),
    ]
}

/// Finite, of every size, and often one that comes again.
fn number() -> impl Strategy<Value = f64> {
    let any = any::<f64>().prop_filter("finite", |number| number.is_finite());
    let some = select(vec![
        0.0,
        -0.0,
        1.0,
        2.0,
        0.5,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
    ]);
    prop_oneof![some, 0.0..20.0, any]
}

fn observation() -> impl Strategy<Value = Observation> {
    let at = || select(vec![NOW, NOW, LONG_AGO]);
    prop_oneof![
        1 => Just(Observation::Missing),
        1 => Just(Observation::NotFinite),
        1 => Just(Observation::Unmeasured),
        6 => (number(), at()).prop_map(|(value, at)| Observation::Value { value, at }),
    ]
}

fn lora() -> impl Strategy<Value = Option<LoraAdapters>> {
    let names = || {
        let names = subsequence(ADAPTERS.to_vec(), 0..=4);
        names.prop_map(|names| names.into_iter().map(str::to_owned).collect())
    };
    let at = select(vec![NOW, NOW, LONG_AGO]);
    let adapters =
        (0..6_u32, names(), names(), at).prop_map(|(max, running, waiting, at)| LoraAdapters {
            max,
            running,
            waiting,
            at,
        });
    option::of(adapters)
}

fn metrics() -> impl Strategy<Value = EndpointMetrics> {
    let observations = prop::array::uniform6(observation());
    (observations, lora()).prop_map(|(observations, lora)| {
        let mut metrics = EndpointMetrics::default();
        for (signal, observation) in SIGNALS.into_iter().zip(observations) {
            metrics.set(signal, observation);
        }
        metrics.set_lora(lora);
        metrics
    })
}

fn load() -> impl Strategy<Value = Load> {
    let requests = prop_oneof![0..8_u32, any::<u32>()];
    let tokens = prop_oneof![0..9_000_u64, any::<u64>()];
    (requests, tokens).prop_map(|(requests, tokens)| Load { requests, tokens })
}

#[derive(Debug, Clone)]
struct Server {
    metrics: EndpointMetrics,
    label: Option<String>,
    load: Load,
    at_scrape: Load,
    matched: u32,
}

fn server() -> impl Strategy<Value = Server> {
    let label = option::of(prop_oneof!["[0-9]{0,5}-[0-9]{0,20}", "\\PC{0,6}"]);
    let matched = prop_oneof![2 => Just(0_u32), 2 => 0..12_u32, 1 => any::<u32>()];
    (metrics(), label, load(), load(), matched).prop_map(
        |(metrics, label, load, at_scrape, matched)| Server {
            metrics,
            label,
            load,
            at_scrape,
            matched,
        },
    )
}

#[derive(Debug, Clone)]
struct Asked {
    blocks: usize,
    block_tokens: u32,
    prompt_tokens: u64,
    model: Option<&'static str>,
    headers: Vec<Option<Box<[u8]>>>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let token = Session::token(address(1));
    let value = prop_oneof![
        Just(token.clone().into_bytes()),
        Just(format!("a={token}").into_bytes()),
        vec(any::<u8>(), 0..9),
    ];
    let headers = vec(option::of(value.prop_map(Into::into)), 0..3);
    let prompt_tokens = prop_oneof![0..9_000_u64, any::<u64>()];
    (
        0..12_usize,
        any::<u32>(),
        prompt_tokens,
        option::of(select(ADAPTERS.to_vec())),
        headers,
    )
        .prop_map(
            |(blocks, block_tokens, prompt_tokens, model, headers)| Asked {
                blocks,
                block_tokens,
                prompt_tokens,
                model,
                headers,
            },
        )
}

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 8000 + u16::try_from(index).unwrap()))
}

/// The scores of those of `servers` at `positions`, after cold prompts went to some; behind what
/// there was before.
fn scores(
    scorer: &Scorer,
    servers: &[Server],
    positions: &[usize],
    cold: &[usize],
    asked: &Asked,
    mut scores: Vec<f64>,
) -> Vec<f64> {
    let discovered = |(index, server): (usize, &Server)| DiscoveredEndpoint {
        labels: server
            .label
            .iter()
            .map(|it| ("range".to_owned(), it.clone()))
            .collect(),
        ..DiscoveredEndpoint::at(address(index))
    };
    let endpoints: Vec<_> = servers.iter().enumerate().map(discovered).collect();
    let (mut pool, mut load) = (Pool::new(&endpoints), InFlight::new(servers.len()));
    let mut prefixes = PrefixIndex::new(servers.len(), 1 << 20);
    for (index, server) in servers.iter().enumerate() {
        pool.record(address(index), server.metrics.clone(), NOW);
        pool.record_load(address(index), server.at_scrape);
        load.begin(index, server.load);
    }
    for &index in cold {
        prefixes.insert(index, &[BlockHash::NEUTRAL], true);
    }
    let view = View {
        pool: &pool,
        load: &load,
        prefixes: &prefixes,
    };
    let matched: Vec<_> = servers.iter().map(|server| server.matched).collect();
    let freshness = Freshness {
        now: NOW,
        stale_after: Duration::from_secs(2),
    };
    let request = Request {
        blocks: &vec![BlockHash::NEUTRAL; asked.blocks],
        block_tokens: asked.block_tokens,
        prompt_tokens: asked.prompt_tokens,
        model: asked.model,
        path: b"/v1/completions",
        headers: &asked.headers,
    };
    scorer.score(
        Candidates::new(view, positions, &matched, freshness, request),
        &mut scores,
    );
    scores
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_candidate_has_a_score_from_0_to_1(
        scorer in scorer(),
        servers in vec(server(), 0..8),
        positions in subsequence((0..8).collect::<Vec<_>>(), 0..=8),
        cold in vec(0..8_usize, 0..6),
        asked in asked(),
    ) {
        let positions: Vec<_> = positions.into_iter().filter(|&at| at < servers.len()).collect();
        let before = [7.0, 8.0, 9.0];
        let found = scores(&scorer, &servers, &positions, &cold, &asked, before.into());
        let (untouched, found) = found.split_at(before.len());
        prop_assert_eq!(untouched, before);
        prop_assert_eq!(found.len(), positions.len());
        prop_assert!(found.iter().all(|score| (0.0..=1.0).contains(score)), "{:?}", found);
    }

    #[test]
    fn cold_prompts_go_to_who_had_none_for_the_longest_time(
        servers in vec(server().prop_map(|server| Server { matched: 0, ..server }), 1..8),
        positions in subsequence((0..8).collect::<Vec<_>>(), 1..=8),
        cold in vec(0..8_usize, 0..20),
        asked in asked(),
    ) {
        let positions: Vec<_> = positions.into_iter().filter(|&at| at < servers.len()).collect();
        let cold: Vec<_> = cold.into_iter().filter(|&at| at < servers.len()).collect();
        let found = scores(&Scorer::NoHitLru, &servers, &positions, &cold, &asked, vec![]);
        let mut ranked = positions.clone();
        // Stable: who never had one stays where it was.
        ranked.sort_by_key(|at| cold.iter().rposition(|it| it == at));
        let last = positions.len().max(2) as f64 - 1.0;
        let rank = |at: &usize| ranked.iter().position(|it| it == at).unwrap() as f64;
        let expected: Vec<_> = positions.iter().map(|at| 1.0 - rank(at) / last).collect();
        prop_assert_eq!(found, expected);
    }
}
