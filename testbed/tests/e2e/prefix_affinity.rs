//! A prompt goes where its beginning was read before, as long as it can still be there.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::{Request, header::HeaderValue};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, loads_known},
    client::{self, Body, Connection, Protocol},
    decision::Decision,
    envoy::HandOver,
    model_server::{Load, ModelServer, SimulatorConfig},
};
use tokio::time::{Instant, sleep_until};

use crate::support::{
    CHAT, INTERVAL, addresses, assert_filter_never_failed, bed, bed_with,
    connections_to_every_worker, kv_cache, loads_known_to, post, queue, scraping_every, served_by,
};

/// The name of the scorer in decisions.
const SCORER: &str = "prefix-cache";

#[tokio::test]
async fn the_next_turn_goes_where_the_first_went_on_any_worker() -> Result<()> {
    const CHATS: usize = 12;

    // Beside the queue of the last, which is never chosen, a request that is still under way from
    // another worker counts for nothing.
    let mut loads = [Load::default(); 5];
    loads[4] = queue(1000);
    let bed = bed(HandOver::OriginalDstHeader, &loads).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let mut chats: Vec<Vec<Value>> = (0..CHATS)
        .map(|number| vec![message("user", &format!("Chat {number} begins. "))])
        .collect();
    let mut first = Vec::new();
    let workers = connections.len();
    for (number, chat) in chats.iter().enumerate() {
        let request = turn(&format!("first-{number}"), chat)?;
        first.push(served_by(&mut connections[number % workers], request).await?);
    }
    let mut servers = first.clone();
    servers.sort();
    servers.dedup();
    // That all have one of four is a chance of 1 in 4 million, drawn with the ports.
    assert!(
        servers.len() > 1,
        "prompts that nobody holds are not spread: {first:?}"
    );

    // From here on a prompt that nobody holds would go to the first server.
    for (server, kv_cache_usage) in bed.servers.iter().zip([0.0, 0.1, 0.2, 0.3]) {
        server.set_load(kv_cache(kv_cache_usage));
    }
    for turn_number in 2..=3 {
        // What one worker has routed, the others know.
        loads_known_to(&mut connections, &bed.servers).await?;
        for (number, chat) in chats.iter_mut().enumerate() {
            chat.push(message("assistant", "Indeed. "));
            chat.push(message("user", "And what then? "));
            let id = format!("turn-{turn_number}-{number}");
            let connection = &mut connections[(number + turn_number - 1) % workers];
            let served = served_by(connection, turn(&id, chat)?).await?;
            let decision = bed.envoy.decision_on(&id).await?;
            assert_eq!(served, first[number], "{decision:?}");
        }
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn prompts_that_nobody_holds_go_round() -> Result<()> {
    let patch = json!({ "scheduling": { "scorers": [{ "type": "no-hit-lru" }] } });
    let hand_over = HandOver::OriginalDstHeader;
    let bed = bed_with(hand_over, &patch, &[Load::default(); 3]).await?;
    // Of one worker.
    let mut connection = bed.connect(Protocol::Http1).await?;
    let mut served = Vec::new();
    for number in 0..6 {
        let prompt = [message("user", &format!("Chat {number} begins. "))];
        served.push(served_by(&mut connection, turn(&format!("{number}"), &prompt)?).await?);
    }
    assert_eq!(
        served,
        [addresses(&bed.servers), addresses(&bed.servers)].concat()
    );
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn a_server_that_restarts_has_forgotten_what_it_read() -> Result<()> {
    let config = SimulatorConfig {
        time_scale: 20.0,
        ..SimulatorConfig::default()
    };
    let mut servers = Vec::new();
    for _ in 0..2 {
        servers.push(ModelServer::simulate(config.clone()).await?);
    }
    // By its start time a process is another one if it began two seconds after the one before; no real
    // server is up again sooner.
    let may_restart = Instant::now() + Duration::from_millis(2_500);
    let pool = json!(addresses(&servers));
    let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
    let bed = Bed::around(configuration, servers, &pool).await?;
    loads_known(&bed.servers).await?;

    // So many that each server has some: that one gets all is a chance of 1 in 2 billion.
    let mut connection = bed.connect(Protocol::Http1).await?;
    let mut holders = Vec::new();
    for number in 0..32 {
        let (id, prompt) = (format!("first-{number}"), format!("prompt{number} "));
        let served = served_by(&mut connection, turn(&id, &[message("user", &prompt)])?).await?;
        holders.push((prompt, served));
    }
    let gone = &bed.servers[0];
    let forgotten = holders.iter().find(|(_, holder)| *holder == gone.address());
    let kept = holders.iter().find(|(_, holder)| *holder != gone.address());
    let forgotten = forgotten.context("one server got everything")?;
    let kept = kept.context("one server got everything")?;
    // Whoever of the workers is asked.
    loads_known(&bed.servers).await?;
    for (prompt, holder) in [forgotten, kept] {
        let decision = decide(&bed, &format!("before {prompt}"), prompt).await?;
        assert_eq!(score(&decision, *holder)?, 1.0, "{decision:?}");
    }

    // What is told of it before it restarts must not be heard after it has.
    loads_known(&bed.servers).await?;
    sleep_until(may_restart).await;
    gone.restart();
    loads_known(&bed.servers).await?;
    let decision = decide(&bed, "kept", &kept.0).await?;
    assert_eq!(score(&decision, kept.1)?, 1.0, "{decision:?}");
    let decision = decide(&bed, "forgotten", &forgotten.0).await?;
    assert_eq!(score(&decision, forgotten.1)?, 0.0, "{decision:?}");
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn blocks_are_as_long_as_the_servers_say() -> Result<()> {
    // Two prompts with some 400 bytes in common, then other words. Servers with blocks of 16 tokens
    // are served in blocks of 64 of them, 256 bytes: one is shared. With blocks of 128 tokens, 512
    // bytes, none is.
    let common = "Both of them begin like this. ".repeat(13);
    for (simulated, shares) in [(true, true), (false, false)] {
        let server = if simulated {
            ModelServer::simulate(SimulatorConfig::default()).await?
        } else {
            ModelServer::start().await?
        };
        let pool = json!(addresses(std::slice::from_ref(&server)));
        let configuration = scraping_every(INTERVAL, HandOver::OriginalDstHeader)?;
        let bed = Bed::around(configuration, vec![server], &pool).await?;
        loads_known(&bed.servers).await?;
        let address = bed.servers[0].address();
        let [one, other] = ["one ", "two "].map(|word| format!("{common}{}", word.repeat(300)));
        decide_on(&bed, "one", &one).await?;
        // Whoever of the workers is asked.
        loads_known(&bed.servers).await?;
        let decision = decide_on(&bed, "other", &other).await?;
        let score = score(&decision, address)?;
        assert_eq!(score > 0.0, shares, "{decision:?}");
        assert!(score < 0.5, "{decision:?}");
    }
    Ok(())
}

/// The decision on a prompt of many blocks that repeats `words`.
async fn decide(bed: &Bed, id: &str, words: &str) -> Result<Decision> {
    let id = id.replace(' ', "-");
    let mut connection = bed.connect(Protocol::Http1).await?;
    send(
        bed,
        &mut connection,
        &id,
        turn(&id, &[message("user", words)])?,
    )
    .await
}

/// The decision on this very prompt.
async fn decide_on(bed: &Bed, id: &str, prompt: &str) -> Result<Decision> {
    let mut connection = bed.connect(Protocol::Http1).await?;
    let messages = [json!({ "role": "user", "content": prompt })];
    send(bed, &mut connection, id, turn(id, &messages)?).await
}

async fn send(
    bed: &Bed,
    connection: &mut Connection,
    id: &str,
    request: Request<Body>,
) -> Result<Decision> {
    served_by(connection, request).await?;
    bed.envoy.decision_on(id).await
}

/// What the prefix cache is worth at an endpoint.
fn score(decision: &Decision, endpoint: std::net::SocketAddr) -> Result<f64> {
    let candidate = decision.candidate(endpoint).context("no candidate")?;
    let score = candidate.scores.get(SCORER);
    score.copied().context("prefixes are not scored")
}

/// A message of some thousand bytes.
fn message(role: &str, words: &str) -> Value {
    json!({ "role": role, "content": words.repeat(2400 / words.len()) })
}

fn turn(id: &str, messages: &[Value]) -> Result<Request<Body>> {
    let model = SimulatorConfig::default().model;
    let body = json!({ "model": model, "max_tokens": 4, "messages": messages });
    let mut request = post(CHAT, client::whole(body.to_string()))?;
    let id = HeaderValue::from_str(id)?;
    request.headers_mut().insert("x-request-id", id);
    Ok(request)
}
