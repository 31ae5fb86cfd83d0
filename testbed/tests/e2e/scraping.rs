//! Each model server is scraped once an interval, by one of the VMs, and goes on being scraped when
//! the configuration changes.

use std::{
    slice,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::json;
use testbed::{
    bed::{self, Bed},
    client::{Connection, Protocol},
    decision::thread_of,
    envoy::HandOver,
    model_server::{Load, ModelServer},
    poll,
};

use crate::support::{
    PATIENCE, addresses, assert_filter_never_failed, chat, chat_as, connections_to_every_worker,
    loads_known_to, queue, scraped_no_more_than_every, scraping_every, served_by,
};

/// Long enough that twice as many scrapes would show.
const INTERVAL: Duration = Duration::from_millis(300);

#[tokio::test]
async fn each_server_is_scraped_once_an_interval_by_all_workers_together() -> Result<()> {
    // Both workers have work, so neither is left out because it sleeps.
    let (bed, _connections) = busy_bed().await?;
    assert_scraped_once_an_interval(&bed.servers).await?;
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn scraping_goes_on_when_the_configuration_changes() -> Result<()> {
    let configuration =
        scraping_every(INTERVAL, HandOver::OriginalDstHeader)?.with_listeners_discovered();
    let Bed {
        mut envoy,
        mut servers,
    } = Bed::start(configuration, &[queue(300), queue(200), queue(100)]).await?;
    for _ in 0..2 {
        let mut opened_before = Connection::open(envoy.address(), Protocol::Http1).await?;
        served_by(&mut opened_before, chat()?).await?;
        let mut known = addresses(&servers);

        // The first leaves the pool, and one without a queue joins it.
        let removed = servers.remove(0);
        servers.push(ModelServer::start().await?);
        for (server, load) in servers.iter().zip([queue(300), queue(200), queue(0)]) {
            server.set_load(load);
        }
        let endpoints = json!({ "endpoints": { "static": addresses(&servers) } });
        envoy.update_plugin_configuration(&endpoints).await?;

        bed::loads_known(&servers).await?;
        poll::until(
            "the removed server to be left alone",
            PATIENCE,
            async || {
                let silence = removed
                    .scrapes()
                    .last()
                    .map_or(Duration::MAX, Instant::elapsed);
                Ok((silence > 5 * INTERVAL).then_some(()))
            },
        )
        .await?;
        let removed_scrapes = removed.scrapes().len();
        assert_scraped_once_an_interval(&servers).await?;
        assert_eq!(removed.scrapes().len(), removed_scrapes);

        known.extend(addresses(&servers));
        let server = served_by(&mut opened_before, chat()?)
            .await
            .context("on a connection of before")?;
        assert!(known.contains(&server));
        let best = servers[2].address();
        for mut connection in connections_to_every_worker(&envoy, Protocol::Http1).await? {
            assert_eq!(served_by(&mut connection, chat()?).await?, best);
        }
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn under_traffic_the_main_thread_scrapes() -> Result<()> {
    let (bed, mut connections) = busy_bed().await?;
    let takeovers = || bed.envoy.log_lines_containing("this VM scrapes").len();
    for _ in 0..5 {
        poll::until("the main thread to have taken over", PATIENCE, async || {
            let log = bed.envoy.log();
            let main_thread = log.lines().find_map(thread_of);
            let scraper = log
                .lines()
                .filter(|line| line.contains("this VM scrapes"))
                .filter_map(thread_of)
                .next_back();
            Ok((scraper.is_some() && scraper == main_thread).then_some(()))
        })
        .await?;
        // And it stays there, whoever gets the requests.
        let before = takeovers();
        for connection in &mut connections {
            served_by(connection, chat()?).await?;
        }
        assert_scraped_once_an_interval(&bed.servers).await?;
        if takeovers() == before {
            return assert_filter_never_failed(&bed.envoy).await;
        }
        // The main thread got no time, and lost the scraping to another until it did.
    }
    bail!("the scraper changes all the time")
}

/// A bed of which every worker has had a request, with connections to all of them.
async fn busy_bed() -> Result<(Bed, Vec<Connection>)> {
    let bed = Bed::start(
        scraping_every(INTERVAL, HandOver::OriginalDstHeader)?,
        &[queue(0); 3],
    )
    .await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    for connection in &mut connections {
        served_by(connection, chat()?).await?;
    }
    Ok((bed, connections))
}

/// Asserts that each server is scraped, and no more often than once an interval: a VM too many that
/// scrapes would make it twice as often.
async fn assert_scraped_once_an_interval(servers: &[ModelServer]) -> Result<()> {
    let servers: Vec<_> = servers.iter().collect();
    scraped_no_more_than_every(INTERVAL, &servers, 10).await?;
    Ok(())
}

#[tokio::test]
async fn custom_metrics_of_two_configurations_are_not_mixed_up() -> Result<()> {
    const FREE: Load = Load {
        waiting: 300,
        running: 0,
        kv_cache_usage: 0.1,
    };
    const IDLE: Load = Load {
        waiting: 0,
        running: 0,
        kv_cache_usage: 0.9,
    };

    let by = |name: &str, expression: &str| {
        json!({
            "metrics": { "engines": {
                "vllm": { "customMetrics": { "waiting": null, "usage": null, name: expression } },
            } },
            "scheduling": { "scorers": [
                { "type": "endpoint-attribute", "parameters": { "attribute": name, "prefer": "lower" } },
            ] },
        })
    };
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?
        .with_listeners_discovered()
        .merge_plugin_configuration(&by("waiting", "vllm:num_requests_waiting"))?;
    let mut bed = Bed::start(configuration, &[FREE, IDLE]).await?;
    let [free, idle] = [0, 1].map(|server: usize| bed.servers[server].address());
    let mut older = bed.connect(Protocol::Http2).await?;
    assert_eq!(served_by(&mut older, chat()?).await?, idle);

    let update = by("usage", "vllm:kv_cache_usage_perc");
    bed.envoy.update_plugin_configuration(&update).await?;
    loads_known_to(slice::from_mut(&mut older), &bed.servers).await?;
    let mut newer = bed.connect(Protocol::Http1).await?;
    assert_eq!(served_by(&mut newer, chat()?).await?, free);
    // The listener before still drains. Its VMs scrape no more, and nobody reads for them how many
    // requests wait; how much of a cache is used says nothing of that.
    older.send(chat_as("older")?).await?;
    let decision = bed.envoy.decision_on("older").await?;
    let totals: Vec<_> = decision.candidates.iter().map(|it| it.total).collect();
    assert_eq!(totals, [0.0, 0.0]);
    assert_filter_never_failed(&bed.envoy).await
}
