//! Requests that begin alike go where their beginning is in the cache, until that server has so much
//! more to do than the others that waiting for it costs more than the cache saves.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use hyper::{Request, StatusCode};
use serde_json::json;
use testbed::{
    bed::{Bed, loads_known},
    client::{self, Body, Connection, Protocol},
    envoy::HandOver,
    model_server::{Faults, ModelServer, SimulatorConfig, SpeedClass},
    poll,
};
use tokio::{task::JoinSet, time::sleep};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, post, scraping_every,
    server_of,
};

const SERVERS: usize = 4;

/// Simulated seconds in a real one.
const TIME_SCALE: f64 = 20.0;

/// Between two requests: some ticks' worth of them is less than a server may have more than another.
const PACE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn a_shared_prefix_stays_on_one_server_under_little_load() -> Result<()> {
    let bed = bed().await?;
    let mut served = Vec::new();
    for number in 0..12 {
        served.push(ask(bed.envoy.address(), number).await?);
        // Shared with the other workers.
        loads_known(&bed.servers).await?;
    }
    served.dedup();
    assert_eq!(served.len(), 1, "{served:?}");
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_shared_prefix_spreads_when_one_server_is_not_enough() -> Result<()> {
    const REQUESTS: usize = 150;

    let bed = bed().await?;
    // Somebody holds it.
    let holder = ask(bed.envoy.address(), 0).await?;
    loads_known(&bed.servers).await?;
    // More than one server can take, however long it takes to send them: none is answered meanwhile.
    for server in &bed.servers {
        server.set_faults(Faults {
            hang: true,
            ..Faults::default()
        })?;
    }
    let mut asked = JoinSet::new();
    for number in 1..=REQUESTS {
        asked.spawn(ask(bed.envoy.address(), number));
        sleep(PACE).await;
    }
    poll::until("all requests to arrive", PATIENCE, async || {
        let loads = bed.servers.iter().map(|server| server.load());
        let arrived: u32 = loads.map(|load| load.waiting + load.running).sum();
        Ok((arrived as usize == REQUESTS).then_some(()))
    })
    .await?;
    for server in &bed.servers {
        server.set_faults(Faults::default())?;
    }
    let mut served: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    while let Some(server) = asked.join_next().await {
        *served.entry(server??).or_default() += 1;
    }
    let most = served.values().max().copied().unwrap_or_default();
    // A quarter each would be even, and affinity without a bound leaves all on one.
    assert!(most <= REQUESTS * 2 / 3, "holder {holder}: {served:?}");
    assert!(
        served
            .values()
            .filter(|count| **count >= REQUESTS / 10)
            .count()
            >= 3,
        "holder {holder}: {served:?}"
    );
    assert_filter_never_failed(&bed.envoy).await
}

async fn bed() -> Result<Bed> {
    let config = SimulatorConfig {
        speed: SpeedClass::L4,
        time_scale: TIME_SCALE,
        max_num_seqs: 4,
        ..SimulatorConfig::default()
    };
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(ModelServer::simulate(config.clone()).await?);
    }
    let pool = json!(addresses(&servers));
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let bed = Bed::around(configuration, servers, &pool).await?;
    loads_known(&bed.servers).await?;
    Ok(bed)
}

/// Asks a question of its own after a beginning that all share, on a connection of its own.
async fn ask(envoy: SocketAddr, number: usize) -> Result<SocketAddr> {
    let mut connection = Connection::open(envoy, Protocol::Http1).await?;
    let reply = connection.send(request(number)?).await?;
    ensure!(reply.status == StatusCode::OK, "{}", reply.text());
    server_of(&reply)
}

fn request(number: usize) -> Result<Request<Body>> {
    let body = json!({
        "model": SimulatorConfig::default().model,
        "max_tokens": 60,
        "messages": [
            { "role": "system", "content": "All of them begin like this. ".repeat(200) },
            { "role": "user", "content": format!("Question {number}") },
        ],
    });
    post(CHAT, client::whole(body.to_string()))
}
