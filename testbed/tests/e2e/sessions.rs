//! Requests of one session go to one server, whichever of the forms a session has.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hyper::{
    Request,
    header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE},
};
use serde_json::{Value, json};
use testbed::{
    bed::{Bed, loads_known},
    client::{Body, Connection, Protocol},
    envoy::{Envoy, HandOver},
    model_server::{Load, ModelServer},
};

use crate::support::{
    INTERVAL, assert_filter_never_failed, bed_with, chat, chat_as, connections_to_every_worker,
    loads_known_to, queue, retries, scraping_every, served_by, server_of, servers_and_metrics,
    with_metrics_of,
};

/// A bed of four in which the session weighs more than everything else.
async fn bed(hand_over: HandOver, parameters: Value) -> Result<Bed> {
    let patch = json!({ "scheduling": { "scorers": [
        { "type": "session-affinity", "weight": 10, "parameters": parameters },
        { "type": "queue", "weight": 1 },
    ] } });
    bed_with(hand_over, &patch, &[Load::default(); 4]).await
}

/// Gives `server` a long queue, and nobody else one.
async fn burden(
    servers: &[ModelServer],
    server: SocketAddr,
    connections: &mut [Connection],
) -> Result<()> {
    for other in servers {
        other.set_load(queue(if other.address() == server { 900 } else { 0 }));
    }
    loads_known_to(connections, servers).await
}

fn with(name: HeaderName, value: &HeaderValue) -> Result<Request<Body>> {
    let mut request = chat()?;
    request.headers_mut().insert(name, value.clone());
    Ok(request)
}

#[tokio::test]
async fn a_client_that_sends_its_token_back_stays_with_its_server() -> Result<()> {
    const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, json!({ "header": TOKEN.as_str() })).await?;
        let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
        let reply = connections[0].send(chat()?).await?;
        let server = server_of(&reply)?;
        let token = reply.headers.get(TOKEN).context("no token")?.clone();
        burden(&bed.servers, server, &mut connections).await?;
        for connection in &mut connections {
            assert_eq!(served_by(connection, with(TOKEN, &token)?).await?, server);
            assert_ne!(served_by(connection, chat()?).await?, server);
            // What is no token, or that of nobody here, binds to nothing.
            for other in ["?", "MTAuMC4wLjE6ODA="] {
                let other = HeaderValue::from_static(other);
                assert_ne!(served_by(connection, with(TOKEN, &other)?).await?, server);
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_cookie_keeps_a_browser_with_its_server() -> Result<()> {
    let bed = bed(HandOver::OriginalDstHeader, json!({ "cookie": "stay" })).await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let reply = connections[0].send(chat()?).await?;
    let server = server_of(&reply)?;
    let set = reply
        .headers
        .get(SET_COOKIE)
        .context("no cookie")?
        .to_str()?;
    let pair = set.split(';').next().context("an empty cookie")?;
    assert!(pair.starts_with("stay="), "{set}");
    burden(&bed.servers, server, &mut connections).await?;
    let (name, token) = pair.split_once('=').context("no pair")?;
    for cookies in [
        format!("theme=dark; {pair}; stays=no"),
        format!("theme=dark; {name}=\"{token}\""),
        format!("theme={}; {pair}", "dark ".repeat(2000)),
    ] {
        let cookies = HeaderValue::from_str(&cookies)?;
        for connection in &mut connections {
            assert_eq!(
                served_by(connection, with(COOKIE, &cookies)?).await?,
                server
            );
            assert_ne!(served_by(connection, chat()?).await?, server);
        }
    }
    assert_filter_never_failed(&bed.envoy).await
}

#[tokio::test]
async fn after_a_retry_the_session_is_with_who_has_answered() -> Result<()> {
    const TOKEN: HeaderName = HeaderName::from_static("x-session-token");

    let (mut servers, metrics) = servers_and_metrics(&[300, 0]).await?;
    let configuration = scraping_every(INTERVAL, HandOver::OverrideHost)?
        .merge_plugin_configuration(&json!({ "scheduling": { "scorers": [
            { "type": "session-affinity", "weight": 10, "parameters": { "header": TOKEN.as_str() } },
            { "type": "queue", "weight": 1 },
        ] } }))?
        .with_pool(&with_metrics_of(&metrics, &servers))?;
    let envoy = Envoy::start(configuration).await?;
    loads_known(&metrics).await?;
    let left = servers[0].address();
    let closed = servers.remove(1).close().await?;
    let gone = closed.address();
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let reply = connection.send(chat()?).await?;
    assert_eq!(server_of(&reply)?, left);
    assert_eq!(retries(&envoy).await?, 1);

    // After its next scrape the one that is gone is a candidate, and but for the session the best.
    loads_known(&metrics).await?;
    // Whose worker accepts it after its tick.
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let token = reply.headers.get(TOKEN).context("no token")?.clone();
    let mut request = chat_as("next")?;
    request.headers_mut().insert(TOKEN, token);
    assert_eq!(served_by(&mut connection, request).await?, left);
    let decision = envoy.decision_on("next").await?;
    assert_eq!(decision.endpoint, left);
    assert!(decision.candidate(gone).is_some());
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn a_key_means_the_same_server_to_every_worker() -> Result<()> {
    const KEY: HeaderName = HeaderName::from_static("x-user");

    let bed = bed(
        HandOver::OriginalDstHeader,
        json!({ "keyHeader": KEY.as_str() }),
    )
    .await?;
    let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
    let mut servers = Vec::new();
    for user in 0..32 {
        let user = HeaderValue::from_str(&format!("user-{user}"))?;
        let server = key_of(&mut connections[0], KEY, &user).await?;
        for connection in &mut connections {
            assert_eq!(key_of(connection, KEY, &user).await?, server);
        }
        servers.push(server);
    }
    servers.sort();
    servers.dedup();
    // That 32 users have fewer than three of four servers is a chance of 1 in 700 million, drawn
    // once with the ports.
    assert!(servers.len() >= 3, "{servers:?}");
    assert_filter_never_failed(&bed.envoy).await
}

async fn key_of(
    connection: &mut Connection,
    name: HeaderName,
    user: &HeaderValue,
) -> Result<SocketAddr> {
    let reply = connection.send(with(name.clone(), user)?).await?;
    // The client has its key already.
    assert!(!reply.headers.contains_key(name));
    server_of(&reply)
}
