//! Who does not tell its load is never taken for idle, and the operator is told, once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use endpoint_picker::pool::Signal;
use serde_json::{Value, json};
use testbed::{
    bed::{self, Bed},
    client::{Connection, Protocol},
    decision::Decision,
    envoy::{Envoy, HandOver},
    model_server::{Dialect, Load, MetricsFault, ModelServer},
    poll,
};

use crate::support::{
    INTERVAL, PATIENCE, assert_filter_never_failed, chat_as, connections_to_every_worker,
    filter_stats, loads_known_to, once_a_scraper, scraping_every, served_by,
};

/// What a model server loses when a family is not in its exposition.
struct Loss {
    dialect: Dialect,
    family: &'static str,
    signals: &'static [&'static str],
    /// The scorer that goes by one of them.
    scorer: &'static str,
}

const LOSSES: [Loss; 6] = [
    Loss {
        dialect: Dialect::Vllm,
        family: "vllm:num_requests_waiting",
        signals: &["waitingRequests"],
        scorer: "queue",
    },
    Loss {
        dialect: Dialect::Vllm,
        family: "vllm:kv_cache_usage_perc",
        signals: &["kvCacheUsage"],
        scorer: "kv-cache-utilization",
    },
    Loss {
        dialect: Dialect::Sglang,
        family: "sglang:num_queue_reqs",
        signals: &["waitingRequests"],
        scorer: "queue",
    },
    Loss {
        dialect: Dialect::Sglang,
        family: "sglang:token_usage",
        signals: &["kvCacheUsage"],
        scorer: "kv-cache-utilization",
    },
    Loss {
        dialect: Dialect::TritonTensorRtLlm,
        family: "nv_trt_llm_request_metrics",
        signals: &["waitingRequests", "runningRequests"],
        scorer: "queue",
    },
    Loss {
        dialect: Dialect::TritonTensorRtLlm,
        family: "nv_trt_llm_kv_cache_block_metrics",
        signals: &["kvCacheUsage", "kvBlockSize", "kvBlocks"],
        scorer: "kv-cache-utilization",
    },
];

/// Where the server is in a bed that tells its load only in part; the others tell all.
const SILENT: usize = 1;

/// The loads of a bed: whoever knew all would choose the silent one, and whoever took what it does
/// not tell for 0 all the more.
const LOADS: [Load; 3] = [load(12, 0.3), load(2, 0.2), load(40, 0.9)];

const fn load(waiting: u32, kv_cache_usage: f64) -> Load {
    Load {
        waiting,
        running: 16,
        kv_cache_usage,
    }
}

#[tokio::test]
async fn a_server_without_a_signal_scores_worst_for_it_until_it_is_back() -> Result<()> {
    for losses in LOSSES.chunk_by(|one, next| one.dialect == next.dialect) {
        let bed = silent_bed(losses[0].dialect).await?;
        let silent = &bed.servers[SILENT];
        let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
        for loss in losses {
            let told = all_choose(&bed, &mut connections, SILENT).await?;
            assert!(score_of_silent(&bed, &told, loss.scorer) > 0.0);
            assert_missing(&bed.envoy, &[]).await?;

            let families = vec![loss.family.to_owned()];
            silent.set_metrics_fault(Some(MetricsFault::Missing(families)));
            loads_known_to(&mut connections, &bed.servers).await?;
            let untold = all_choose(&bed, &mut connections, 0).await?;
            assert_eq!(score_of_silent(&bed, &untold, loss.scorer), 0.0);
            assert_missing(&bed.envoy, loss.signals).await?;
            // It is asked on, and nobody is told twice.
            loads_known_to(&mut connections, &bed.servers).await?;

            silent.set_metrics_fault(None);
            loads_known_to(&mut connections, &bed.servers).await?;
            all_choose(&bed, &mut connections, SILENT).await?;
            assert_missing(&bed.envoy, &[]).await?;

            assert_said_once(&bed, "no series for", loss.signals);
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_percentage_in_the_place_of_a_share_is_never_taken_for_one() -> Result<()> {
    let bed = silent_bed(Dialect::Vllm).await?;
    let silent = &bed.servers[SILENT];
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    all_choose(&bed, &mut connections, SILENT).await?;

    silent.set_load(load(2, 20.0));
    loads_known_to(&mut connections, &bed.servers).await?;
    let untold = all_choose(&bed, &mut connections, 0).await?;
    let score = score_of_silent(&bed, &untold, "kv-cache-utilization");
    assert_eq!(score, 0.0);
    assert_missing(&bed.envoy, &["kvCacheUsage"]).await?;
    loads_known_to(&mut connections, &bed.servers).await?;

    silent.set_load(load(2, 0.2));
    loads_known_to(&mut connections, &bed.servers).await?;
    all_choose(&bed, &mut connections, SILENT).await?;
    assert_missing(&bed.envoy, &[]).await?;
    assert_said_once(&bed, "is no share from 0 to 1", &["kvCacheUsage"]);
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_that_answers_garbage_lacks_everything() -> Result<()> {
    let bed = silent_bed(Dialect::Sglang).await?;
    let silent = &bed.servers[SILENT];
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    all_choose(&bed, &mut connections, SILENT).await?;

    silent.set_metrics_fault(Some(MetricsFault::Garbage));
    loads_known_to(&mut connections, &bed.servers).await?;
    let untold = all_choose(&bed, &mut connections, 0).await?;
    for scorer in ["queue", "kv-cache-utilization"] {
        assert_eq!(score_of_silent(&bed, &untold, scorer), 0.0, "{scorer}");
    }
    let signals = Signal::ALL.map(Signal::name);
    assert_missing(&bed.envoy, &signals).await?;
    loads_known_to(&mut connections, &bed.servers).await?;

    silent.set_metrics_fault(None);
    loads_known_to(&mut connections, &bed.servers).await?;
    all_choose(&bed, &mut connections, SILENT).await?;
    assert_missing(&bed.envoy, &[]).await?;
    assert_said_once(&bed, "no series for", &signals);
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_whose_scrapes_fail_is_no_candidate_until_they_are_answered() -> Result<()> {
    // Of those that fail in other ways than by being away, no scrape answered is what tells.
    let patch = json!({ "staleAfter": "4s" });
    let bed = silent_bed_with(Dialect::Vllm, &patch, &json!({ "timeout": "3s" })).await?;
    let silent = &bed.servers[SILENT];
    let address = silent.address();
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let faults = [
        (MetricsFault::Status(500), "status"),
        (MetricsFault::Status(404), "status"),
        (MetricsFault::Status(503), "unavailable"),
        (MetricsFault::Hang, "timeout"),
        (MetricsFault::Huge, "too_large"),
        (MetricsFault::Cut, "no_answer"),
    ];
    for (fault, reason) in &faults {
        let told = all_choose(&bed, &mut connections, SILENT).await?;
        assert!(told.candidates.iter().any(|it| it.endpoint == address));
        let before = failures(&bed.envoy).await?;
        silent.set_metrics_fault(Some(fault.clone()));
        let what = format!("it to be no candidate because of {fault:?}");
        poll::until(&what, PATIENCE, async || {
            let decision = decide(&bed, &mut connections[0]).await?;
            let gone = decision.candidates.iter().all(|it| it.endpoint != address);
            let counted = failures(&bed.envoy).await?[*reason] > before[*reason];
            Ok((gone && counted).then_some(()))
        })
        .await?;
        loads_known_to(&mut connections, [&bed.servers[0]]).await?;
        all_choose(&bed, &mut connections, 0).await?;
        for (name, count) in failures(&bed.envoy).await? {
            assert_eq!(count > before[&name], name == *reason, "{fault:?}: {name}");
        }

        silent.set_metrics_fault(None);
        poll::until("it to be chosen again", PATIENCE, async || {
            let chosen = decide(&bed, &mut connections[0]).await?.endpoint;
            Ok((chosen == address).then_some(()))
        })
        .await?;
        loads_known_to(&mut connections, &bed.servers).await?;
    }
    // Once a failure.
    let scrapers = *once_a_scraper(&bed.envoy).end();
    let said = bed.envoy.log_lines_containing(&address.to_string());
    for (level, what) in [("[warning]", "failed"), ("[info]", "answered again")] {
        let lines = said
            .iter()
            .filter(|line| line.contains(level) && line.contains(what))
            .count();
        assert!(
            (faults.len()..faults.len() + scrapers).contains(&lines),
            "{level} {what}: {said:?}"
        );
    }
    assert_filter_never_failed(&bed.envoy).await
}

/// A bed with [`LOADS`], in which one server is of this kind and the others are vLLM.
async fn silent_bed(dialect: Dialect) -> Result<Bed> {
    silent_bed_with(dialect, &json!({}), &json!({})).await
}

/// As [`silent_bed`], with this change of how metrics are read, and this of how the silent one is asked.
async fn silent_bed_with(dialect: Dialect, metrics: &Value, scrape: &Value) -> Result<Bed> {
    let mut servers = Vec::new();
    for (index, load) in LOADS.into_iter().enumerate() {
        let dialect = if index == SILENT {
            dialect
        } else {
            Dialect::Vllm
        };
        let server = ModelServer::start_as(dialect).await?;
        server.set_load(load);
        servers.push(server);
    }
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&json!({ "metrics": metrics }))?;
    let mut pool: Vec<Value> = servers.iter().map(|it| json!(it.address())).collect();
    pool[SILENT] = json!({ "address": servers[SILENT].address(), "scrape": scrape });
    let bed = Bed::around(configuration, servers, &json!(pool)).await?;
    bed::loads_known(&bed.servers).await?;
    Ok(bed)
}

/// Sends a request to every worker, which all must choose the same server; returns one decision.
async fn all_choose(bed: &Bed, connections: &mut [Connection], server: usize) -> Result<Decision> {
    let mut last = None;
    for connection in connections {
        let decision = decide(bed, connection).await?;
        assert_eq!(
            decision.endpoint,
            bed.servers[server].address(),
            "{decision:?}"
        );
        last = Some(decision);
    }
    last.context("no connections")
}

/// Sends a request, which must arrive where the decision says.
async fn decide(bed: &Bed, connection: &mut Connection) -> Result<Decision> {
    let id = format!("number-{}", bed.envoy.decisions().len());
    let server = served_by(connection, chat_as(&id)?).await?;
    let decision = bed.envoy.decision_on(&id).await?;
    assert_eq!(decision.endpoint, server);
    Ok(decision)
}

/// Asserts that of each of these signals of the silent server this complaint was made once, and once
/// it was said that it is back.
fn assert_said_once(bed: &Bed, complaint: &str, signals: &[&str]) {
    let address = bed.servers[SILENT].address().to_string();
    let said = bed.envoy.log_lines_containing(&address);
    for signal in signals {
        for (level, what) in [("[warning]", complaint), ("[info]", "is back")] {
            let lines = said.iter().filter(|line| {
                line.contains(level) && line.contains(what) && line.contains(signal)
            });
            let expected = once_a_scraper(&bed.envoy);
            assert!(
                expected.contains(&lines.count()),
                "{level} {signal}: {said:?}"
            );
        }
    }
}

/// The score of the silent server; 0 if it is no candidate.
fn score_of_silent(bed: &Bed, decision: &Decision, scorer: &str) -> f64 {
    let address = bed.servers[SILENT].address();
    decision
        .candidates
        .iter()
        .find(|candidate| candidate.endpoint == address)
        .map_or(0.0, |candidate| candidate.scores[scorer])
}

/// Waits until the filter counts one endpoint without each of these signals, and none without any
/// other.
async fn assert_missing(envoy: &Envoy, signals: &[&str]) -> Result<()> {
    let expected: BTreeSet<(String, u64)> = signals
        .iter()
        .map(|signal| (format!("missing_signals.{signal}"), 1))
        .collect();
    let what = format!("{expected:?} to be counted, and nothing else");
    poll::until(&what, PATIENCE, async || {
        let counted: BTreeSet<(String, u64)> = filter_stats(envoy)
            .await?
            .into_iter()
            .filter(|(name, count)| name.starts_with("missing_signals.") && *count > 0)
            .collect();
        Ok((counted == expected).then_some(()))
    })
    .await
}

/// How many scrapes have failed, by reason.
async fn failures(envoy: &Envoy) -> Result<BTreeMap<String, u64>> {
    let stats = filter_stats(envoy).await?.into_iter();
    Ok(stats
        .filter_map(|(name, count)| {
            Some((name.strip_prefix("scrape_failures.")?.to_owned(), count))
        })
        .collect())
}
