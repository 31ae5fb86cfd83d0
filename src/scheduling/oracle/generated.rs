//! Situations of all kinds.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::plain::{Prompt, Server};
use crate::scheduling::{
    ActiveRequest, Condition, Filter, LabelSelector, LoadAware, LoadBand, Picker, PrefixCache,
    PrefixCacheAffinity, Profile, Role, RoleFilter, Scorer, TokenLoad, Utilization,
    UtilizationCondition, UtilizationMetric, WeightedScorer,
};

pub(super) const ROLE: &str = "role";
pub(super) const ZONE: &str = "zone";
/// Where the profile that chooses prefillers stands.
pub(super) const PREFILL: usize = 0;

/// What is decided.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) servers: Vec<Server>,
    pub(super) prompt: Prompt,
    /// Some of the servers by their indexes, perhaps twice, and some that are none.
    pub(super) subset: Option<Vec<usize>>,
    pub(super) profile: Profile,
    pub(super) prefill: Profile,
    pub(super) min_uncached: u64,
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    // Half of the pools have no sick server, and some have no other.
    let health = select(vec![0.0, 1.0, 1.0, 0.5]);
    let prompt = (0_usize..12, 0_u64..200).prop_map(|(blocks, beyond)| Prompt {
        blocks,
        block_tokens: 16,
        tokens: blocks as u64 * 16 + beyond,
    });
    (prompt, health).prop_flat_map(|(prompt, health)| {
        (
            vec(server(prompt, health), 0..12),
            option::weighted(0.3, vec(0_usize..14, 0..8)),
            profile("decode"),
            profile("prefill"),
            0_u64..300,
        )
            .prop_map(
                move |(mut servers, subset, profile, prefill, min_uncached)| {
                    for (index, server) in servers.iter_mut().enumerate() {
                        server.index = index;
                    }
                    Case {
                        servers,
                        prompt,
                        subset,
                        profile,
                        prefill,
                        min_uncached,
                    }
                },
            )
    })
}

fn server(prompt: Prompt, health: f64) -> impl Strategy<Value = Server> {
    // Few values, so that there are ties.
    let count = || option::weighted(0.9, (0_u8..6).prop_map(f64::from));
    let usage = option::weighted(
        0.9,
        (0_u8..5).prop_map(|quarters| f64::from(quarters) / 4.0),
    );
    let roles = [
        Some("prefill"),
        Some("decode"),
        Some("both"),
        Some("prefill-decode"),
        None,
    ];
    (
        prop::bool::weighted(health),
        (select(roles.to_vec()), select(vec!["a", "b"])),
        (count(), count(), usage),
        (0_u32..6, 0_u64..4, 0_u32..6),
        prop_oneof![Just(0), 0..=prompt.blocks],
    )
        .prop_map(|(is_healthy, (role, zone), told, load, held)| Server {
            index: 0,
            is_healthy,
            role,
            zone,
            waiting: told.0,
            running: told.1,
            usage: told.2,
            requests: load.0,
            tokens: load.1 * 100,
            at_scrape: load.2,
            held,
        })
}

fn profile(name: &'static str) -> impl Strategy<Value = Profile> {
    (vec(filter(), 0..3), vec(scorer(), 0..4)).prop_map(move |(filters, scorers)| Profile {
        name: name.to_owned(),
        when: Condition::default(),
        filters,
        scorers,
        picker: Picker::MaxScore,
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let condition = (
        select(vec![
            (UtilizationMetric::ActiveRequests, 1.0),
            (UtilizationMetric::RunningRequests, 1.0),
            (UtilizationMetric::WaitingQueue, 1.0),
            (UtilizationMetric::KvCacheUtilization, 0.25),
        ]),
        0_u8..5,
    )
        .prop_map(|((metric, unit), bound)| UtilizationCondition {
            metric,
            max_value: unit * f64::from(bound),
        });
    prop_oneof![
        select(vec!["a", "b"]).prop_map(|zone| Filter::LabelSelector(LabelSelector {
            match_labels: vec![(ZONE.to_owned(), zone.to_owned())],
            match_expressions: Vec::new(),
        })),
        select(vec![Role::Prefill, Role::Decode]).prop_map(|role| Filter::Role(RoleFilter {
            label: ROLE.to_owned(),
            role,
        })),
        (vec(condition, 1..3), any::<bool>()).prop_map(|(conditions, fallback_on_empty)| {
            Filter::Utilization(Utilization {
                conditions,
                fallback_on_empty,
            })
        }),
        (0_u8..5, 0_u8..4).prop_map(|(quarters, penalty)| {
            Filter::PrefixCacheAffinity(PrefixCacheAffinity {
                affinity_threshold: f64::from(quarters) / 4.0,
                exploration_probability: 0.0,
                max_ttft_penalty_ms: f64::from(penalty) * 100.0,
                peak_prefill_throughput: 1000.0,
            })
        }),
    ]
}

fn scorer() -> impl Strategy<Value = WeightedScorer> {
    let scorer = prop_oneof![
        Just(Scorer::Queue),
        Just(Scorer::RunningRequests),
        Just(Scorer::KvCacheUtilization),
        Just(Scorer::LoadAware(LoadAware { threshold: 4 })),
        (0_u32..3, select(vec![0.5, 1.0])).prop_map(|(idle_threshold, max_busy_score)| {
            Scorer::ActiveRequest(ActiveRequest {
                idle_threshold,
                max_busy_score,
            })
        }),
        Just(Scorer::TokenLoad(TokenLoad {
            queue_threshold_tokens: 400
        })),
        (0_u8..3, 0_u32..8, select(vec![1.0, 1.5])).prop_map(|(halves, requests, ratio)| {
            Scorer::PrefixCache(PrefixCache {
                match_length_weight: f64::from(halves) / 2.0,
                match_length_scale_tokens: 100,
                band: LoadBand { requests, ratio },
            })
        }),
    ];
    (scorer, 0_u8..4).prop_map(|(scorer, weight)| WeightedScorer {
        scorer,
        weight: f64::from(weight),
    })
}
