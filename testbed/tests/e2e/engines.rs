//! Model servers of several kinds in one pool: each tells its load in its own words, and the
//! decision goes by all of them.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use testbed::{
    bed::{self, Bed},
    client::{Connection, Protocol},
    decision::Decision,
    envoy::HandOver,
    model_server::{Dialect, Load, MetricsFault, ModelServer},
    poll,
};

use crate::support::{
    INTERVAL, PATIENCE, addresses, assert_filter_never_failed, chat_as,
    connections_to_every_worker, filter_stats, loads_known_to, once_a_scraper, scraping_every,
    served_by,
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

    let log = bed.envoy.log();
    for (server, dialect) in bed.servers.iter().zip(FLEET) {
        let address = server.address().to_string();
        let recognized: Vec<&str> = log
            .lines()
            .filter(|line| line.contains(&address) && line.contains("recognized"))
            .collect();
        let expected = once_a_scraper(&bed.envoy);
        assert!(expected.contains(&recognized.len()), "{recognized:?}");
        let engine = format!("{:?}", dialect.engine());
        assert!(
            recognized.iter().all(|line| line.contains(&engine)),
            "{recognized:?}"
        );
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
    let lines = |engine: &str| {
        let said = format!("engine {engine:?} recognized");
        bed.envoy.log_lines_containing(&said).len()
    };
    let recognized = async |engine: &str| {
        poll::until("the engine to be recognized", PATIENCE, async || {
            Ok((lines(engine) > 0).then_some(()))
        })
        .await
    };
    recognized("triton").await?;
    assert_eq!(lines("triton-tensorrt-llm"), 0);
    bed.servers[0].set_metrics_fault(None);
    recognized("triton-tensorrt-llm").await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    for (number, connection) in connections.iter_mut().enumerate() {
        let name = format!("better-{number}");
        assert_scored_by(&bed, connection, &name, &[load(3, 0.25)], 0).await?;
    }
    for engine in ["triton", "triton-tensorrt-llm"] {
        assert!(
            once_a_scraper(&bed.envoy).contains(&lines(engine)),
            "{engine}"
        );
    }
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
        // On connections that are new, so that their workers know as well.
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
        let expected = once_a_scraper(&bed.envoy);
        assert!(
            expected.contains(&lines.count()),
            "{level} {what}: {:?}",
            said()
        );
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
        loads_known_to(&mut connections, &bed.servers).await?;
        for (number, connection) in connections.iter_mut().enumerate() {
            let name = format!("round-{round}-{number}");
            assert_scored_by(bed, connection, &name, &loads, best).await?;
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

/// Asks on a connection, under ids of this name, until the scores are those of these loads. Each time
/// the server at `best` must serve.
async fn assert_scored_by(
    bed: &Bed,
    connection: &mut Connection,
    name: &str,
    loads: &[Load],
    best: usize,
) -> Result<()> {
    let best = bed.servers[best].address();
    let (mut asked, mut last) = (0, None);
    // The scores are exact where nothing is in flight, and every worker knows that.
    let exact = poll::until("the scores of an idle pool", PATIENCE, async || {
        bed::loads_known(&bed.servers).await?;
        let id = format!("{name}-{asked}");
        asked += 1;
        assert_eq!(served_by(connection, chat_as(&id)?).await?, best, "{id}");
        let decision = bed.envoy.decision_on(&id).await?;
        let wrong = wrong_score(&decision, &bed.servers, loads)?;
        let is_exact = wrong.is_none();
        last = wrong;
        Ok(is_exact.then_some(()))
    });
    exact.await.with_context(|| format!("{last:?}"))
}

/// What is wrong if some server was not scored by the formulas for exactly this load.
fn wrong_score(
    decision: &Decision,
    servers: &[ModelServer],
    loads: &[Load],
) -> Result<Option<String>> {
    let waiting = || loads.iter().map(|load| f64::from(load.waiting));
    let (min, max) = (
        waiting().fold(f64::INFINITY, f64::min),
        waiting().fold(0.0, f64::max),
    );
    for (server, load) in servers.iter().zip(loads) {
        let candidate = decision
            .candidate(server.address())
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
            if (score - expected).abs() > 1e-6 {
                let wrong = format!("{scorer} of {load:?}: {score}, not {expected}: {decision:?}");
                return Ok(Some(wrong));
            }
        }
    }
    Ok(None)
}
