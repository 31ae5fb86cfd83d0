//! Model servers are asked as often as it is worth, where and how the configuration says.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use testbed::{
    bed::{self, Bed},
    client::Protocol,
    envoy::{Configuration, HandOver},
    model_server::{Dialect, Load, MetricsAccess, MetricsFault, ModelServer},
    poll,
};

use crate::support::{
    NEVER_LATE, NEVER_STALE, PATIENCE, assert_filter_never_failed, chat, chat_as, filter_stats,
    kv_cache, queue, scraped_no_more_than_every, served_by,
};

const INTERVAL: Duration = Duration::from_millis(200);

/// Five intervals, the default.
const IDLE_INTERVAL: Duration = Duration::from_millis(1000);

/// A server with requests in its batch, and none that wait.
const RUNNING: Load = Load {
    waiting: 0,
    running: 1,
    kv_cache_usage: 0.0,
};

/// What is to be kept from all but one.
const TOKEN: &str = "s3cret-t0ken";
const BEARER: &str = "Bearer s3cret-t0ken";
const KEY: &str = "s3cret-k3y";

/// The shipped configuration with these changes to how metrics are read.
fn configuration(metrics: &Value) -> Result<Configuration> {
    let shipped = json!({ "interval": "200ms", "staleAfter": NEVER_STALE, "timeout": NEVER_LATE });
    Configuration::shipped(HandOver::OriginalDstHeader)?
        .merge_plugin_configuration(&json!({ "metrics": shipped }))?
        .merge_plugin_configuration(&json!({ "metrics": metrics }))
}

#[tokio::test]
async fn a_server_without_load_is_scraped_once_an_idle_interval() -> Result<()> {
    // Each has its load in another signal. Only one is idle, which one changes.
    let bed = Bed::start(configuration(&json!({}))?, &[Load::default(); 3]).await?;
    for idle in [0, 2] {
        for (index, server) in bed.servers.iter().enumerate() {
            server.set_load(match (index == idle, index) {
                (true, _) => kv_cache(0.4),
                (false, 1) => queue(1),
                (false, _) => RUNNING,
            });
        }
        bed::loads_known(&bed.servers).await?;
        let idle = &bed.servers[idle];
        let is_busy = |it: &&ModelServer| it.address() != idle.address();
        let busy: Vec<_> = bed.servers.iter().filter(is_busy).collect();
        let before: Vec<_> = busy.iter().map(|it| it.scrapes().len()).collect();
        let of_idle = scraped_no_more_than_every(IDLE_INTERVAL, &[idle], 10).await?[0];
        for (server, before) in busy.iter().zip(before) {
            // Five times as often, unless the machine stood still.
            let counted = server.scrapes().len() - before;
            assert!(counted > 2 * of_idle, "{counted}, the idle one {of_idle}");
        }
        scraped_no_more_than_every(INTERVAL, &busy, 10).await?;
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_that_gets_requests_is_scraped_soon_and_as_long_as_it_gets_them() -> Result<()> {
    // So rarely that a scrape without a reason would not be taken for one with it.
    let metrics = json!({ "idleInterval": "1h", "staleAfter": "2h" });
    let server = ModelServer::start().await?;
    let pool = json!([server.address()]);
    let bed = Bed::around(configuration(&metrics)?, vec![server], &pool).await?;
    let server = &bed.servers[0];
    poll::until("the first scrape", PATIENCE, async || {
        Ok((!server.scrapes().is_empty()).then_some(()))
    })
    .await?;
    let mut connection = bed.connect(Protocol::Http1).await?;
    for _ in 0..3 {
        // Until nobody takes what has been for traffic any more.
        tokio::time::sleep(5 * INTERVAL).await;
        let before = server.scrapes().len();
        tokio::time::sleep(10 * INTERVAL).await;
        // The full hour is a moment at which it is due, and one for traffic may have been late.
        let without_reason = server.scrapes().len() - before;
        assert!(without_reason <= 2, "{without_reason} scrapes");

        let before = server.scrapes().len();

        served_by(&mut connection, chat()?).await?;
        poll::until("the scrape of who got a request", PATIENCE, async || {
            Ok((server.scrapes().len() > before).then_some(()))
        })
        .await?;

        let (servers, mut requests) = ([server], 0);
        let counts = tokio::select! {
            counts = scraped_no_more_than_every(INTERVAL, &servers, 10) => counts?,
            Err(failed) = keep_asking(&bed, &mut requests) => return Err(failed),
        };
        // Ten requests fall into an interval, or fewer where they take long.
        assert!(
            requests < 30 * counts[0],
            "{requests} requests, {counts:?} scrapes"
        );
    }
    assert_filter_never_failed(&bed.envoy).await
}

/// Sends ten requests an interval, or fewer if they take long, and counts them.
async fn keep_asking(bed: &Bed, requests: &mut usize) -> Result<Infallible> {
    let mut connection = bed.connect(Protocol::Http1).await?;
    loop {
        served_by(&mut connection, chat()?).await?;
        *requests += 1;
        tokio::time::sleep(INTERVAL / 10).await;
    }
}

#[tokio::test]
async fn a_failing_server_is_scraped_less_and_less_and_at_once_when_it_answers() -> Result<()> {
    let bed = Bed::start(configuration(&json!({}))?, &[RUNNING, RUNNING]).await?;
    let (failing, healthy) = (&bed.servers[0], &bed.servers[1]);
    let counts = || [failing, healthy].map(|server| server.scrapes().len());
    // Also the second time it begins with short rests.
    for _ in 0..2 {
        let (took, beside) = failures(&bed, failing, healthy).await?;
        // After a failure it is left alone for up to 2, 4, 8, and at most 16 intervals, and at least
        // half of that, a tick more or less. Whatever is late makes that longer.
        let least = (1 + 2 + 4 + 8 + 8 + 8) * INTERVAL - INTERVAL / 2;
        assert!(took >= least, "seven failures in {took:?}");
        // 31 times or more, unless the machine stood still.
        let all = beside.iter().sum::<usize>();
        assert!(all > 6, "the healthy one: {beside:?} scrapes in {took:?}");
        // Nobody is scraped while the machine stands still: by the scrapes of the healthy one the rests
        // are no longer than that.
        for (beside, longest) in beside.iter().zip(LONGEST_RESTS) {
            assert!(*beside <= longest + SLACK, "the healthy one: {beside:?}");
        }

        failing.set_metrics_fault(None);
        let from = failing.scrapes().len();
        poll::until("an answered scrape, and the next", PATIENCE, async || {
            Ok((failing.scrapes().len() >= from + 2).then_some(()))
        })
        .await?;
        let soon = scrapes_beside(&failing.scrapes()[from..], healthy)[0];
        assert!(soon <= 1 + SLACK, "the healthy one: {soon} scrapes");
        // As often as the other from then on, and not every eight to sixteen intervals.
        let before = counts();
        scraped_no_more_than_every(INTERVAL, &[failing, healthy], 10).await?;
        let [again, beside] = [0, 1].map(|server: usize| counts()[server] - before[server]);
        assert!(2 * again > beside, "{again}, the other {beside}");
    }
    assert_filter_never_failed(&bed.envoy).await
}

/// In intervals, how long a server is left alone at most after each failure in a row.
const LONGEST_RESTS: [usize; 6] = [2, 4, 8, 16, 16, 16];

/// So many scrapes more of another server may fall between two of one: a tick and the way there and back
/// come on top of a rest.
const SLACK: usize = 4;

/// Lets the scrapes of a server fail seven times. Returns how long that took, counted from before the
/// first, and how often `healthy` was scraped between each and the next.
async fn failures(
    bed: &Bed,
    server: &ModelServer,
    healthy: &ModelServer,
) -> Result<(Duration, Vec<usize>)> {
    let scrapers = || bed.envoy.log_lines_containing("this VM scrapes").len();
    let count = LONGEST_RESTS.len() + 1;
    for _ in 0..5 {
        let scrapers_before = scrapers();
        let beginning = Instant::now();
        let from = server.scrapes().len();
        server.set_metrics_fault(Some(MetricsFault::Status(503)));
        poll::until("seven scrapes", PATIENCE, async || {
            Ok((server.scrapes().len() >= from + count).then_some(()))
        })
        .await?;
        if scrapers() == scrapers_before {
            let failed = &server.scrapes()[from..from + count];
            let took = failed[count - 1] - beginning;
            return Ok((took, scrapes_beside(failed, healthy)));
        }
        // A VM whose thread got no time lost the scraping to another, which began anew.
        server.set_metrics_fault(None);
        bed::loads_known([server]).await?;
    }
    bail!("the scraper changes all the time")
}

/// How often `server` was scraped between each of these moments and the next.
fn scrapes_beside(moments: &[Instant], server: &ModelServer) -> Vec<usize> {
    let scrapes = server.scrapes();
    let between = |pair: &[Instant]| {
        let scrapes = scrapes.iter();
        scrapes
            .filter(|it| (pair[0]..pair[1]).contains(*it))
            .count()
    };
    moments.windows(2).map(between).collect()
}

#[tokio::test]
async fn each_server_is_scraped_where_and_how_it_is_configured() -> Result<()> {
    let at_path = |path| MetricsAccess {
        path,
        ..MetricsAccess::default()
    };
    let elsewhere = |path| MetricsAccess {
        own_port: true,
        ..at_path(path)
    };
    let behind = |name, value| MetricsAccess {
        header: Some((name, value)),
        ..MetricsAccess::default()
    };
    // Where its metrics are, and what says so in the configuration, of its address and of theirs.
    type Endpoint = fn(SocketAddr) -> Value;
    let cases: [(MetricsAccess, Endpoint); 8] = [
        (MetricsAccess::default(), |_| json!({})),
        (
            at_path("/v1/metrics"),
            |_| json!({ "scrape": { "path": "/v1/metrics" } }),
        ),
        (at_path("/ours"), |_| json!({ "engine": "ours" })),
        (
            elsewhere("/metrics"),
            |metrics| json!({ "scrape": { "port": metrics.port() } }),
        ),
        (
            elsewhere("/stats/prometheus"),
            |metrics| json!({ "scrape": { "address": metrics, "path": "/stats/prometheus" } }),
        ),
        (
            behind("authorization", BEARER),
            |_| json!({ "scrape": { "bearerToken": TOKEN } }),
        ),
        (
            behind("x-metrics-key", KEY),
            |_| json!({ "scrape": { "headers": { "X-Metrics-Key": KEY } } }),
        ),
        (
            MetricsAccess::default(),
            |_| json!({ "scrape": { "interval": "600ms", "idleInterval": "600ms" } }),
        ),
    ];
    let mut servers = Vec::new();
    let mut pool = Vec::new();
    for (access, endpoint) in cases {
        let server = ModelServer::start_with(Dialect::Vllm, access).await?;
        let mut endpoint = endpoint(server.metrics_address());
        endpoint["address"] = json!(server.address());
        pool.push(endpoint);
        servers.push(server);
    }
    let metrics = json!({
        "headers": { "x-scraper": "all" },
        "engines": { "ours": { "extends": "vllm", "scrape": { "path": "/ours" } } },
    });
    let bed = Bed::around(configuration(&metrics)?, servers, &json!(pool)).await?;

    // Each in turn is the best, which no request would find whose metrics were not read.
    let mut connection = bed.connect(Protocol::Http1).await?;
    for best in 0..bed.servers.len() {
        for (index, server) in bed.servers.iter().enumerate() {
            server.set_load(queue(if index == best { 100 } else { 800 }));
        }
        bed::loads_known(&bed.servers).await?;
        let id = format!("best-{best}");
        let chosen = served_by(&mut connection, chat_as(&id)?).await?;
        assert_eq!(chosen, bed.servers[best].address(), "{id}");
        let decision = bed.envoy.decision_on(&id).await?;
        for candidate in &decision.candidates {
            let expected = f64::from(candidate.endpoint == chosen);
            // A request more or less is no matter.
            let apart = (candidate.scores["queue"] - expected).abs();
            assert!(apart < 0.1, "{decision:?}");
        }
        assert_eq!(decision.candidates.len(), bed.servers.len());
    }

    let servers: Vec<_> = bed.servers.iter().collect();
    let (often, rarely) = servers.split_at(7);
    let before = often[0].scrapes().len();
    let of_rare = scraped_no_more_than_every(Duration::from_millis(600), rarely, 10).await?[0];
    // Three times as often, unless the machine stood still.
    let counted = often[0].scrapes().len() - before;
    assert!(2 * counted > 3 * of_rare, "{counted}, the other {of_rare}");
    scraped_no_more_than_every(INTERVAL, often, 10).await?;
    for (index, server) in bed.servers.iter().enumerate() {
        let sent = server.last_scrape();
        assert_eq!(sent["x-scraper"], "all");
        let shows = |value| sent.values().any(|it| it == value);
        assert_eq!(shows(BEARER), index == 5, "server {index}: {sent:?}");
        assert_eq!(shows(KEY), index == 6, "server {index}: {sent:?}");
    }
    for secret in [TOKEN, KEY] {
        assert_eq!(bed.envoy.log_lines_containing(secret), Vec::<String>::new());
    }
    let stats = filter_stats(&bed.envoy).await?;
    let failures: Vec<_> = stats
        .iter()
        .filter(|(name, count)| name.starts_with("scrape_failures.") && **count > 0)
        .collect();
    assert!(failures.is_empty(), "{failures:?}");
    let scrapes: usize = bed.servers.iter().map(|it| it.scrapes().len()).sum();
    let counted = stats["scrapes"];
    assert!(
        counted.abs_diff(u64::try_from(scrapes)?) <= 20,
        "{counted} scrapes counted, {scrapes} made"
    );
    assert_filter_never_failed(&bed.envoy).await
}
