//! Several pools in one filter: each is scraped for itself.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use hyper::header::HeaderValue;
use serde_json::{Value, json};
use testbed::{
    bed::loads_known,
    client::{self, Connection, Protocol},
    envoy::{Configuration, Envoy, HandOver},
    model_server::ModelServer,
    poll,
};

use crate::support::{
    CHAT, NEVER_LATE, NEVER_STALE, PATIENCE, addresses, assert_filter_never_failed, chat_for,
    connections_to_every_worker, post, queue, scraped_no_more_than_every, served_by,
};

/// The header of a scrape that tells for which pool it is.
const POOL: &str = "x-pool";

fn pool(name: &str, servers: &[SocketAddr], interval: Duration) -> Value {
    let interval = format!("{}ms", interval.as_millis());
    json!({
        "name": name,
        "endpoints": { "static": servers },
        "metrics": {
            "cluster": "model-servers-metrics", "interval": interval, "idleInterval": interval,
            "staleAfter": NEVER_STALE, "timeout": NEVER_LATE, "headers": { POOL: name },
        },
    })
}

fn with_pools(pools: &[Value]) -> Result<Configuration> {
    // In the place of the one pool that is shipped.
    let patch = json!({ "endpoints": null, "metrics": null, "pools": pools });
    Configuration::shipped(HandOver::OriginalDstHeader)?.merge_plugin_configuration(&patch)
}

#[tokio::test]
async fn each_pool_is_scraped_at_its_own_pace_and_a_server_of_two_by_both() -> Result<()> {
    const FAST: Duration = Duration::from_millis(200);
    const SLOW: Duration = Duration::from_millis(1_000);

    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(ModelServer::start().await?);
    }
    let at = addresses(&servers);
    let mut fast = pool("fast", &[at[0], at[1]], FAST);
    fast["models"] = json!(["llama-70b"]);
    let slow = pool("slow", &[at[1], at[2]], SLOW);
    let envoy = Envoy::start(with_pools(&[fast, slow])?).await?;
    loads_known(&servers).await?;

    let before = servers[0].scrapes().len();
    let slow = scraped_no_more_than_every(SLOW, &[&servers[2]], 10).await?[0];
    // Five times as often, unless the machine stood still.
    let fast = servers[0].scrapes().len() - before;
    assert!(fast > 2 * slow, "{fast} and {slow}");
    scraped_no_more_than_every(FAST, &[&servers[0]], 10).await?;
    for name in ["fast", "slow"] {
        let what = format!("a scrape of the second server for {name}");
        poll::until(&what, PATIENCE, async || {
            let last = servers[1].last_scrape();
            Ok(last.get(POOL).is_some_and(|it| it == name).then_some(()))
        })
        .await?;
    }
    let stats = envoy.stats("wasmcustom.endpoint_picker.").await?;
    for pool in ["fast", "slow"] {
        let stat = |name: &str| stats[&format!("wasmcustom.endpoint_picker.{pool}.{name}")];
        assert!(stat("scrapes") > 0, "{pool}: {stats:?}");
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn a_pool_that_goes_disturbs_no_other() -> Result<()> {
    const INTERVAL: Duration = Duration::from_millis(100);

    let servers = [ModelServer::start().await?, ModelServer::start().await?];
    let at = addresses(&servers);
    let mut first = pool("first", &at, INTERVAL);
    first["models"] = json!(["llama-70b"]);
    let second = pool("second", &at, INTERVAL);
    let configuration = with_pools(&[first.clone(), second])?;
    let mut envoy = Envoy::start(configuration.with_listeners_discovered()).await?;
    loads_known(&servers).await?;

    envoy
        .update_plugin_configuration(&json!({ "pools": [first] }))
        .await?;
    for best in [0, 1] {
        servers[best].set_load(queue(0));
        servers[1 - best].set_load(queue(500));
        loads_known(&servers).await?;
        for connection in &mut connections_to_every_worker(&envoy, Protocol::Http1).await? {
            let served = served_by(connection, chat_for("llama-70b")?).await?;
            assert_eq!(served, at[best]);
        }
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn a_cache_holds_no_more_of_prompts_for_the_larger_blocks_of_another_pool() -> Result<()> {
    const INTERVAL: Duration = Duration::from_millis(100);

    let servers = [ModelServer::start().await?, ModelServer::start().await?];
    let at = addresses(&servers);
    let with_cache = |name: &str, server: SocketAddr, block_size: u32, blocks: u32| {
        let mut pool = pool(name, &[server], INTERVAL);
        let constant = |value| format!("{value} + 0 * vllm:num_requests_waiting");
        pool["metrics"]["engines"] = json!({ "vllm": { "signals": {
            "kvBlockSize": constant(block_size), "kvBlocks": constant(blocks),
        } } });
        pool
    };
    // 4096 tokens.
    let small = with_cache("small", at[0], 16, 256);
    let mut large = with_cache("large", at[1], 128, 1024);
    large["models"] = json!(["llama-70b"]);
    let envoy = Envoy::start(with_pools(&[small, large])?).await?;
    loads_known(&servers).await?;

    // Of 3000 tokens each: the second takes the place of most of the first.
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let prompts = ["one ", "two "].map(|word| word.repeat(3000));
    for (id, prompt) in [
        ("first", &prompts[0]),
        ("second", &prompts[1]),
        ("again", &prompts[0]),
    ] {
        let message = json!({ "role": "user", "content": prompt });
        let body = json!({ "model": "llama-8b", "messages": [message] });
        let mut request = post(CHAT, client::whole(body.to_string()))?;
        let id = HeaderValue::from_static(id);
        request.headers_mut().insert("x-request-id", id);
        assert_eq!(served_by(&mut connection, request).await?, at[0]);
    }
    let decision = envoy.decision_on("again").await?;
    let held = decision.candidates[0].scores["prefix-cache"];
    assert!((0.2..0.5).contains(&held), "{held}");
    assert_filter_never_failed(&envoy).await
}
