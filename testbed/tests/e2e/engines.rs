//! Model servers of several kinds in one pool: each tells its load in its own words, and the
//! decision goes by all of them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{
    bed::{self, Bed},
    client::Protocol,
    decision::{Decision, thread_of},
    envoy::HandOver,
    model_server::{Dialect, Load, MetricsFault, ModelServer},
    poll,
};

use crate::support::{
    INTERVAL, PATIENCE, addresses, assert_filter_never_failed, chat_as,
    connections_to_every_worker, filter_stats, scraping_every, served_by,
};

const FLEET: [Dialect; 3] = [Dialect::Vllm, Dialect::Sglang, Dialect::TritonTensorRtLlm];

/// The loads of the fleet, round by round: the best is each in turn, first by the queue alone, then
/// by the KV cache alone, then by both.
const ROUNDS: [([Load; 3], usize); 8] = [
    ([load(1, 0.2), load(5, 0.2), load(9, 0.2)], 0),
    ([load(9, 0.2), load(1, 0.2), load(5, 0.2)], 1),
    ([load(5, 0.2), load(9, 0.2), load(1, 0.2)], 2),
    ([load(4, 0.15), load(4, 0.6), load(4, 0.95)], 0),
    ([load(4, 0.95), load(4, 0.15), load(4, 0.6)], 1),
    ([load(4, 0.6), load(4, 0.95), load(4, 0.15)], 2),
    // 0.75 + 0.9 against 1 + 0.25: the shortest queue loses.
    ([load(2, 0.75), load(4, 0.1), load(10, 0.0)], 1),
    ([load(0, 0.5), load(40, 0.0), load(2, 0.1)], 2),
];

const fn load(waiting: u32, kv_cache_usage: f64) -> Load {
    Load {
        waiting,
        running: 16,
        kv_cache_usage,
    }
}

#[tokio::test]
async fn engines_are_recognized_and_the_decision_follows_all_of_them() -> Result<()> {
    let bed = fleet(&json!({}), |_, address| json!(address)).await?;
    assert_decisions_follow(&bed).await?;

    // Also the VM that has taken over from the one which recognized them says no more.
    let log = bed.envoy.log();
    let scrapers: Vec<u32> = log
        .lines()
        .filter(|line| line.contains("this VM scrapes"))
        .filter_map(thread_of)
        .collect();
    for (server, dialect) in bed.servers.iter().zip(FLEET) {
        let address = server.address().to_string();
        let recognized: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(&address) && line.contains("recognized"))
            .collect();
        let [line] = recognized[..] else {
            panic!("{recognized:?} by {scrapers:?}");
        };
        assert!(line.contains(&format!("{:?}", dialect.engine())), "{line}");
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_that_tells_more_is_recognized_better() -> Result<()> {
    let server = ModelServer::start_as(Dialect::TritonTensorRtLlm).await?;
    let backend = ["request_metrics", "kv_cache_block_metrics"];
    let backend = backend.map(|family| format!("nv_trt_llm_{family}"));
    server.set_metrics_fault(Some(MetricsFault::Missing(backend.to_vec())));
    server.set_load(load(3, 0.25));
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let pool = json!([server.address()]);
    let bed = Bed::around(configuration, vec![server], &pool).await?;
    let recognized = async |engine: &str, count| {
        poll::until("the engine to be recognized", PATIENCE, async || {
            let lines = bed.envoy.log_lines_containing("recognized");
            assert!(lines.len() <= count, "{lines:?}");
            let said = format!("engine {engine:?} recognized");
            Ok(lines
                .last()
                .is_some_and(|line| line.contains(&said))
                .then_some(()))
        })
        .await
    };
    recognized("triton", 1).await?;
    bed.servers[0].set_metrics_fault(None);
    recognized("triton-tensorrt-llm", 2).await?;
    bed::loads_known(&bed.servers).await?;
    for mut connection in connections_to_every_worker(&bed.envoy, Protocol::Http1).await? {
        served_by(&mut connection, chat_as("better")?).await?;
    }
    let decision = bed.envoy.decision_on("better").await?;
    assert_scored_by(&decision, &bed.servers, &[load(3, 0.25)])?;
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn engines_are_known_by_label() -> Result<()> {
    // Whose label is not heeded is read in the words of a server that it is not.
    let bed = fleet(&json!({ "engine": "tgi" }), |dialect, address| {
        let label = match dialect {
            Dialect::Sglang => "llm-d.ai/engine-type",
            _ => "inference.networking.k8s.io/engine-type",
        };
        json!({ "address": address, "labels": { label: dialect.engine() } })
    })
    .await?;
    assert_decisions_follow(&bed).await?;
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn engines_are_known_by_their_endpoints_own_setting() -> Result<()> {
    // Before the label, which is wrong.
    let bed = fleet(&json!({}), |dialect, address| {
        json!({
            "address": address,
            "engine": dialect.engine(),
            "labels": { "llm-d.ai/engine-type": "tgi" },
        })
    })
    .await?;
    assert_decisions_follow(&bed).await?;
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn engines_are_described_by_the_configuration() -> Result<()> {
    // A preset changed signal by signal, one under a name of one's own, one from nothing: the load
    // is derived from the parts that the servers tell.
    let requests = |kind| format!("nv_trt_llm_request_metrics{{request_type={kind}}}");
    let blocks = |kind| format!("nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type={kind}}}");
    let cache = |label| format!("label(sglang:cache_config_info, {label})");
    let metrics = json!({
        "engineLabels": ["example.com/engine"],
        "engines": {
            "vllm": {
                "signals": { "kvCacheUsage": ["gone:kv_usage", "max(vllm:kv_cache_usage_perc)"] },
            },
            "ours": {
                "extends": "sglang",
                "signals": {
                    "kvCacheUsage": format!("sglang:num_used_tokens / ({} * {})", cache("page_size"), cache("num_pages")),
                },
            },
            "house": {
                "customMetrics": { "slots": requests("max") },
                "signals": {
                    "waitingRequests": format!("{} - {}", requests("active"), requests("scheduled")),
                    "runningRequests": requests("scheduled"),
                    "kvCacheUsage": format!("1 - {} / {}", blocks("free"), blocks("max")),
                },
            },
        },
    });
    let bed = fleet(&metrics, |dialect, address| {
        let engine = match dialect {
            Dialect::Sglang => "ours",
            Dialect::TritonTensorRtLlm => "house",
            _ => "vllm",
        };
        json!({ "address": address, "labels": { "example.com/engine": engine } })
    })
    .await?;
    assert_decisions_follow(&bed).await?;
    let stats = filter_stats(&bed.envoy).await?;
    assert_eq!(stats.get("missing_signals.slots"), Some(&0));
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_of_no_known_engine_is_never_taken_for_idle() -> Result<()> {
    let servers = vec![
        ModelServer::start_as(Dialect::Tgi).await?,
        ModelServer::start().await?,
    ];
    servers[0].set_metrics_fault(Some(MetricsFault::Garbage));
    servers[1].set_load(load(40, 0.9));
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let pool = json!(addresses(&servers));
    let bed = Bed::around(configuration, servers, &pool).await?;
    let unknown = bed.servers[0].address();
    let said = || bed.envoy.log_lines_containing(&unknown.to_string());
    for (fault, chosen, count) in [(Some(MetricsFault::Garbage), 1, 1), (None, 0, 0)] {
        bed.servers[0].set_metrics_fault(fault);
        bed::loads_known(&bed.servers).await?;
        for mut connection in connections_to_every_worker(&bed.envoy, Protocol::Http1).await? {
            let server = served_by(&mut connection, chat_as("unknown")?).await?;
            assert_eq!(server, bed.servers[chosen].address());
        }
        // Whoever has just taken over the scrapes counts what it has read itself.
        poll::until("it to be counted", PATIENCE, async || {
            let stats = filter_stats(&bed.envoy).await?;
            Ok((stats.get("unrecognized_endpoints") == Some(&count)).then_some(()))
        })
        .await?;
    }
    for (level, what) in [
        ("[warning]", "no known engine"),
        ("[info]", "\"tgi\" recognized"),
    ] {
        let lines = said()
            .into_iter()
            .filter(|line| line.contains(level) && line.contains(what));
        assert_eq!(lines.count(), 1, "{level} {what}: {:?}", said());
    }
    assert_filter_never_failed(&bed.envoy).await
}

/// The fleet, with these changes to how its metrics are read, and each server as `endpoint` writes
/// it into the configuration.
async fn fleet(metrics: &Value, endpoint: impl Fn(Dialect, SocketAddr) -> Value) -> Result<Bed> {
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&json!({ "metrics": metrics }))?;
    let mut servers = Vec::new();
    for dialect in FLEET {
        servers.push(ModelServer::start_as(dialect).await?);
    }
    let pool: Vec<Value> = FLEET
        .into_iter()
        .zip(&servers)
        .map(|(dialect, server)| endpoint(dialect, server.address()))
        .collect();
    Bed::around(configuration, servers, &json!(pool)).await
}

/// Lets the load move through the fleet. In each round every worker must choose the best, by scores
/// which say that it has understood what all of them tell.
async fn assert_decisions_follow(bed: &Bed) -> Result<()> {
    bed::loads_known(&bed.servers).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    for (round, (loads, best)) in ROUNDS.into_iter().enumerate() {
        for (server, load) in bed.servers.iter().zip(loads) {
            server.set_load(load);
        }
        let best = bed.servers[best].address();
        for (number, connection) in connections.iter_mut().enumerate() {
            // The scores are exact where nothing is in flight, and every worker knows that.
            bed::loads_known(&bed.servers).await?;
            let id = format!("round-{round}-{number}");
            assert_eq!(served_by(connection, chat_as(&id)?).await?, best, "{id}");
            let decision = bed.envoy.decision_on(&id).await?;
            assert_scored_by(&decision, &bed.servers, &loads)?;
        }
    }
    let stats = filter_stats(&bed.envoy).await?;
    let missing: Vec<_> = stats
        .iter()
        .filter(|(name, count)| name.starts_with("missing_signals.") && **count > 0)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// Asserts that every server was scored by the formulas for exactly this load.
fn assert_scored_by(decision: &Decision, servers: &[ModelServer], loads: &[Load]) -> Result<()> {
    let waiting = || loads.iter().map(|load| f64::from(load.waiting));
    let (min, max) = (
        waiting().fold(f64::INFINITY, f64::min),
        waiting().fold(0.0, f64::max),
    );
    for (server, load) in servers.iter().zip(loads) {
        let candidate = decision
            .candidates
            .iter()
            .find(|candidate| candidate.endpoint == server.address())
            .with_context(|| format!("{} is no candidate: {decision:?}", server.address()))?;
        let queue = if max > min {
            (max - f64::from(load.waiting)) / (max - min)
        } else {
            1.0
        };
        for (scorer, expected) in [
            ("queue", queue),
            ("kv-cache-utilization", 1.0 - load.kv_cache_usage),
        ] {
            let score = candidate.scores[scorer];
            assert!(
                (score - expected).abs() < 1e-6,
                "{scorer} of {load:?}: {score}, not {expected}: {decision:?}"
            );
        }
    }
    Ok(())
}
