//! Requests that no model server gets: what is answered, in whose form, and how often.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};
use testbed::{
    bed::Bed,
    client::{self, Protocol, Reply},
    envoy::{Envoy, HandOver, LOG_DELAY},
    model_server::ModelServer,
    poll,
};
use tokio::sync::mpsc;

use crate::support::{
    CHAT, INTERVAL, assert_filter_never_failed, bed_with, chat, chat_body, chat_for, get, post,
    queue, scraping_every, served_by,
};

/// The path whose clients expect Anthropic's errors.
const MESSAGES: &str = "/v1/messages";

#[tokio::test]
async fn errors_have_the_form_that_the_api_s_clients_expect() -> Result<()> {
    let patch = json!({ "models": { "unknown": "not-found", "names": { "llama": {} } } });
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &patch, &[queue(0)]).await?;
        let empty =
            Envoy::start(scraping_every(INTERVAL, hand_over)?.with_pool(&json!([]))?).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for (body, status, code, kind, anthropic_kind) in [
                (
                    "{\"model\":",
                    400,
                    "invalid_json",
                    "invalid_request_error",
                    "invalid_request_error",
                ),
                (
                    "{\"model\":\"phi\"}",
                    404,
                    "model_not_found",
                    "invalid_request_error",
                    "not_found_error",
                ),
            ] {
                for path in [CHAT, "/v1/responses", "/generate", MESSAGES] {
                    let mut connection = bed.connect(protocol).await?;
                    let reply = connection.send(post(path, client::whole(body))?).await?;
                    let kind = if path == MESSAGES {
                        anthropic_kind
                    } else {
                        kind
                    };
                    assert_error(&reply, path, status, code, kind)?;
                    assert_eq!(reply.headers.get("retry-after"), None);
                }
            }
            for path in [CHAT, MESSAGES] {
                let mut connection = client::Connection::open(empty.address(), protocol).await?;
                let reply = connection
                    .send(post(path, client::whole(chat_body()))?)
                    .await?;
                let kind = if path == MESSAGES {
                    "overloaded_error"
                } else {
                    "service_unavailable_error"
                };
                assert_error(&reply, path, 503, "no_endpoint", kind)?;
                let seconds = reply.headers.get("retry-after").context("no retry-after")?;
                assert!(seconds.to_str()?.parse::<u32>()? >= 1);
            }
        }
        assert!(bed.servers[0].requests().is_empty());
        for envoy in [&bed.envoy, &empty] {
            assert_filter_never_failed(envoy).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_filter_that_leaves_none_refuses_and_the_log_names_it() -> Result<()> {
    let bounded = json!({ "conditions": [{ "metric": "waiting-queue", "maxValue": 3 }] });
    let nowhere = json!({ "matchLabels": { "zone": "nowhere" } });
    for hand_over in HandOver::ALL {
        for (filter, parameters, status, code, kind) in [
            (
                "utilization",
                &bounded,
                429,
                "saturated",
                "rate_limit_error",
            ),
            (
                "label-selector",
                &nowhere,
                503,
                "no_endpoint",
                "service_unavailable_error",
            ),
        ] {
            let filters = json!([{ "type": filter, "parameters": parameters }]);
            let patch = json!({ "scheduling": { "filters": filters } });
            let bed = bed_with(hand_over, &patch, &[queue(400), queue(500)]).await?;
            let mut connection = bed.connect(Protocol::Http1).await?;
            let reply = connection.send(chat()?).await?;
            assert_error(&reply, CHAT, status, code, kind)?;
            assert!(reply.headers.contains_key("retry-after"));
            assert!(!reply.text().contains(filter), "{}", reply.text());
            poll::until("a line that names the filter", LOG_DELAY, async || {
                let line = format!("no decision on {CHAT}: the filter {filter} leaves no endpoint");
                Ok((!bed.envoy.log_lines_containing(&line).is_empty()).then_some(()))
            })
            .await?;
            assert!(bed.servers.iter().all(|server| {
                let received = server.requests();
                received.iter().all(|received| received.uri != CHAT)
            }));
            assert_filter_never_failed(&bed.envoy).await?;
        }
    }
    Ok(())
}

fn assert_error(reply: &Reply, path: &str, status: u16, code: &str, kind: &str) -> Result<()> {
    assert_eq!(reply.model_server(), None);
    assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/json");
    let body: Value = reply.json()?;
    let error = &body["error"];
    assert_eq!(error["type"], kind, "{path}: {body}");
    assert_eq!(error["code"], code, "{path}: {body}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );
    let expected = if path == MESSAGES {
        json!("error")
    } else {
        Value::Null
    };
    assert_eq!(body["type"], expected, "{path}: {body}");
    Ok(())
}

#[tokio::test]
async fn a_request_that_envoy_gives_no_body_of_is_answered_and_the_log_names_the_cause()
-> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let server = ModelServer::start().await?;
        let configuration = scraping_every(INTERVAL, hand_over)?
            .merge_plugin_configuration(&json!({ "request": { "bodyTimeout": "500ms" } }))?
            .without_header_hold()?
            .with_pool(&json!([server.address()]))?;
        let envoy = Envoy::start(configuration).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = client::Connection::open(envoy.address(), protocol).await?;
            let begin = Instant::now();
            let reply = connection.send(chat()?).await?;
            let waited = begin.elapsed();
            assert_error(&reply, CHAT, 500, "gateway_error", "server_error")?;
            assert!(waited >= Duration::from_millis(500), "{waited:?}");
            // Requests without a body are not held.
            let mut connection = client::Connection::open(envoy.address(), protocol).await?;
            let reply = connection.send(get("/v1/models")?).await?;
            assert_eq!(reply.model_server(), Some(server.address()));
        }
        poll::until("a line that names the cause", LOG_DELAY, async || {
            let lines = envoy.log_lines_containing("allow_on_headers_stop_iteration");
            Ok((!lines.is_empty()).then_some(()))
        })
        .await?;
        assert!(
            server
                .requests()
                .iter()
                .all(|received| received.uri != CHAT)
        );
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_body_that_stays_away_is_answered_and_a_slow_one_is_awaited() -> Result<()> {
    for hand_over in HandOver::ALL {
        let patch = json!({ "request": { "bodyTimeout": "6s" } });
        let bed = bed_with(hand_over, &patch, &[queue(0)]).await?;
        // All at once, since each takes its time.
        tokio::try_join!(
            a_body_that_stays_away(&bed, Protocol::Http1),
            a_body_that_stays_away(&bed, Protocol::Http2),
            a_slow_body(&bed, Protocol::Http1),
            a_slow_body(&bed, Protocol::Http2),
        )?;
        let received = bed.servers[0].requests();
        assert_eq!(received.len(), 2, "{received:?}");
        assert!(received.iter().all(|it| it.body == chat_body()));
        // The permission is there; it is the client that was slow.
        let lines = bed
            .envoy
            .log_lines_containing("allow_on_headers_stop_iteration");
        assert!(lines.is_empty(), "{lines:?}");
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// Sends a body that begins and never ends.
async fn a_body_that_stays_away(bed: &Bed, protocol: Protocol) -> Result<()> {
    let (feed, pieces) = mpsc::channel(1);
    feed.send(Bytes::from("{\"model\":")).await?;
    let mut connection = bed.connect(protocol).await?;
    let reply = connection.send(post(CHAT, client::fed(pieces))?).await?;
    drop(feed);
    assert_error(&reply, CHAT, 408, "request_timeout", "timeout_error")
}

/// Sends a body that takes longer than the bound, but goes on long before it.
async fn a_slow_body(bed: &Bed, protocol: Protocol) -> Result<()> {
    let (feed, pieces) = mpsc::channel(1);
    let body = chat_body();
    let mut connection = bed.connect(protocol).await?;
    let request = post(CHAT, client::fed(pieces))?;
    let answer = tokio::spawn(async move { connection.send(request).await });
    for piece in body.as_bytes().chunks(body.len().div_ceil(5)) {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        feed.send(Bytes::copy_from_slice(piece)).await?;
    }
    drop(feed);
    let reply = answer.await??;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn a_compressed_body_is_routed_by_load_and_arrives() -> Result<()> {
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &json!({}), &[queue(300), queue(0)]).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        let body: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff no JSON";
        let mut request = post(CHAT, client::whole(body))?;
        request
            .headers_mut()
            .insert("content-encoding", "gzip".parse()?);
        let reply = connection.send(request).await?;
        // The model server cannot read it either, and says so.
        assert_eq!(
            reply.model_server(),
            Some(bed.servers[1].address()),
            "{hand_over}"
        );
        let received = bed.servers[1].requests().pop().context("nothing")?;
        assert_eq!(received.body, body);
        assert_eq!(
            served_by(&mut connection, chat_for("llama")?).await?,
            bed.servers[1].address()
        );
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}
