//! The model server with the shortest queue and the most free KV cache gets the request.

use std::time::{Duration, Instant};

use anyhow::Result;
use testbed::{
    bed::Bed,
    client::Protocol,
    envoy::HandOver,
    model_server::{Load, ModelServer},
};

use crate::support::{
    CHAT, assert_filter_never_failed, bed, chat, connections_to_every_worker, kv_cache,
    loads_known_to, queue, scraping_every, served_by,
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
        loads_known_to(&mut connections, &bed.servers).await?;
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
async fn the_choice_follows_the_servers_with_the_second_scrape() -> Result<()> {
    const INTERVAL: Duration = Duration::from_millis(500);
    const BETWEEN_REQUESTS: Duration = Duration::from_millis(5);
    const REQUESTS: usize = 60;
    const TWO_TICKS: Duration = Duration::from_millis(40);

    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let bed = Bed::start(configuration, &[queue(0), queue(500), queue(900)]).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let mut sent = 0;
    for best in [1, 2, 0, 2] {
        for (index, server) in bed.servers.iter().enumerate() {
            server.set_load(queue(if index == best { 0 } else { 700 }));
        }
        let scrapes = || bed.servers.iter().map(|server| server.scrapes().len());
        let before: Vec<_> = scrapes().collect();
        // The first scrape may have been under way. The second is read and published before the third
        // is sent.
        let is_published = || {
            let mut counts = scrapes().zip(&before);
            counts.all(|(now, before)| now >= before + 3)
        };
        let mut published = None;
        let mut must_be_best = vec![false; connections.len()];
        let mut left = REQUESTS;
        while left > 0 {
            if published.is_none() && is_published() {
                published = Some(Instant::now());
            }
            let is_due = published.is_some_and(|at: Instant| at.elapsed() >= TWO_TICKS);
            let connection = sent % connections.len();
            let server = served_by(&mut connections[connection], chat()?).await?;
            sent += 1;
            if must_be_best[connection] {
                assert_eq!(server, bed.servers[best].address());
                left -= 1;
            }
            // A worker that was held up ticks after this request, and before the next on the connection.
            must_be_best[connection] |= is_due;
            tokio::time::sleep(BETWEEN_REQUESTS).await;
        }
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
