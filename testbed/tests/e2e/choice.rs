//! The model server with the shortest queue and the most free KV cache gets the request.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{
    bed::{self, Bed},
    client::Protocol,
    envoy::HandOver,
    model_server::{Load, ModelServer},
};

use crate::support::{
    CHAT, assert_filter_never_failed, bed, chat, connections_to_every_worker, kv_cache, queue,
    scraping_every, served_by,
};

#[tokio::test]
async fn shortest_queue_and_most_free_kv_cache_win() -> Result<()> {
    let loads_and_best: [([Load; 3], usize); 5] = [
        // By the queue alone.
        ([queue(400), queue(0), queue(900)], 1),
        ([queue(100), queue(300), queue(200)], 0),
        // By the KV cache alone.
        ([kv_cache(0.5), kv_cache(0.9), kv_cache(0.1)], 2),
        ([kv_cache(0.02), kv_cache(0.05), kv_cache(0.04)], 0),
        // Together: 8/9 + 0.95 against 1 + 0.05.
        (
            [
                Load {
                    waiting: 100,
                    running: 16,
                    kv_cache_usage: 0.95,
                },
                Load {
                    waiting: 200,
                    running: 9,
                    kv_cache_usage: 0.05,
                },
                Load {
                    waiting: 1000,
                    running: 16,
                    kv_cache_usage: 0.5,
                },
            ],
            1,
        ),
    ];
    // Beside the queue of one that is never chosen, a request that is still under way from another
    // worker counts for nothing.
    let worst = Load {
        waiting: 1000,
        running: 16,
        kv_cache_usage: 1.0,
    };
    let mut pool = [Load::default(); 4];
    pool[3] = worst;
    let bed = bed(HandOver::OriginalDstHeader, &pool).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    for (loads, best) in loads_and_best {
        for (server, load) in bed.servers.iter().zip(loads) {
            server.set_load(load);
        }
        bed::loads_known(&bed.servers).await?;
        for connection in &mut connections {
            assert_eq!(
                served_by(connection, chat()?).await?,
                bed.servers[best].address(),
                "{loads:?}"
            );
        }
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn the_choice_follows_the_servers_within_two_scrape_intervals() -> Result<()> {
    // Long beside the delays of a busy machine, which would count against the filter.
    const INTERVAL: Duration = Duration::from_millis(500);
    const BETWEEN_REQUESTS: Duration = Duration::from_millis(5);

    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let bed = Bed::start(configuration, &[queue(0), queue(500), queue(900)]).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let mut sent = 0;
    for best in [1, 2, 0, 2] {
        for (index, server) in bed.servers.iter().enumerate() {
            server.set_load(queue(if index == best { 0 } else { 700 }));
        }
        let changed = Instant::now();
        let mut served_by_best = 0;
        while changed.elapsed() < 3 * INTERVAL {
            let must_be_best = changed.elapsed() >= 2 * INTERVAL;
            let connection = sent % connections.len();
            let server = served_by(&mut connections[connection], chat()?).await?;
            sent += 1;
            if must_be_best {
                assert_eq!(server, bed.servers[best].address());
                served_by_best += 1;
            }
            tokio::time::sleep(BETWEEN_REQUESTS).await;
        }
        assert!(
            served_by_best >= 2 * connections.len(),
            "only {served_by_best} requests"
        );
    }
    let arrived = bed
        .servers
        .iter()
        .flat_map(ModelServer::requests)
        .filter(|request| request.uri == CHAT)
        .count();
    assert_eq!(arrived, sent);
    assert_filter_never_failed(&bed.envoy).await
}
