//! A request is sent on as soon as enough of it is known: its body need not fit into any buffer, and
//! need not have arrived.

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{
    StatusCode,
    header::{CONTENT_LENGTH, HeaderValue},
};
use serde_json::json;
use testbed::{
    bed::{Bed, loads_known},
    client::{self, Body, Protocol},
    envoy::HandOver,
    model_server::Received,
};
use tokio::sync::mpsc;

use crate::support::{
    CHAT, INTERVAL, assert_filter_never_failed, filter_stats, post, queue, scraping_every,
};

/// What Envoy buffers of a request where nobody raises the limit.
const BUFFER: u32 = 1 << 20;

/// What Envoy reads at once from a connection. What the filter holds and what comes in one go after
/// that have to fit into the buffer together.
const READ: u32 = 1 << 18;

/// A film, or some pictures.
const MEDIUM: usize = 20 << 20;

/// The size of the pieces in which a body of unknown length is sent.
const PIECE: usize = 65_521;

#[tokio::test]
async fn a_medium_larger_than_every_buffer_is_served() -> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let bed = bed_with_small_buffers(hand_over).await?;
        let body = Bytes::from(chat_with_medium(Order::ModelFirst));
        for (number, protocol) in [Protocol::Http1, Protocol::Http2].into_iter().enumerate() {
            for (form, sent) in [
                ("whole", client::whole(body.clone())),
                ("chunked", client::chunked(body.clone(), PIECE)),
            ] {
                let case = format!("{form}, {protocol:?}, {hand_over}");
                let id = format!("{form}-{number}");
                let received = served(&bed, protocol, sent, &id)
                    .await
                    .context(case.clone())?;
                assert!(
                    received.body == body,
                    "{case}: {} bytes arrived",
                    received.body.len()
                );
                assert_eq!(
                    received.headers.contains_key(CONTENT_LENGTH),
                    form == "whole"
                );
                let decision = bed.envoy.decision_on(&id).await?;
                assert_eq!(decision.model.as_deref(), Some("llama"), "{case}");
            }
        }
        let stats = filter_stats(&bed.envoy).await?;
        assert_eq!(stats.get("requests.decided_early"), Some(&4), "{stats:?}");
        assert_eq!(
            stats.get("requests.held_without_model"),
            Some(&0),
            "{stats:?}"
        );
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_decision_falls_before_the_rest_of_the_body_is_sent() -> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let bed = bed_with_small_buffers(hand_over).await?;
        let text = "So it was said, and so it was done. ".repeat(3000);
        let message = json!({ "role": "user", "content": text });
        let body = format!(r#"{{"model":"llama","messages":[{message}],"stop":["#);
        let rest = r#""a","b"]}"#;
        let (feed, pieces) = mpsc::channel(1);
        let mut request = post(CHAT, client::fed(pieces))?;
        let id = HeaderValue::from_static("early");
        request.headers_mut().insert("x-request-id", id);
        let mut connection = bed.connect(Protocol::Http1).await?;
        let answer = tokio::spawn(async move { connection.send(request).await });
        feed.send(Bytes::from(body.clone())).await?;

        let decision = bed.envoy.decision_on("early").await?;
        assert_eq!(decision.model.as_deref(), Some("llama"));
        assert!(!answer.is_finished());
        feed.send(Bytes::from(rest)).await?;
        drop(feed);
        let reply = answer.await??;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let received = bed.servers[1].requests().pop().context("nothing")?;
        assert_eq!(received.body, body + rest);
    }
    Ok(())
}

#[tokio::test]
async fn a_model_beyond_what_is_held_is_decided_without() -> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let bed = bed_with_small_buffers(hand_over).await?;
        let body = Bytes::from(chat_with_medium(Order::ModelLast));
        let sent = client::chunked(body.clone(), PIECE);
        let received = served(&bed, Protocol::Http1, sent, "without").await?;
        assert!(
            received.body == body,
            "{} bytes arrived",
            received.body.len()
        );
        let decision = bed.envoy.decision_on("without").await?;
        assert_eq!(decision.model, None);
        let stats = filter_stats(&bed.envoy).await?;
        assert_eq!(
            stats.get("requests.held_without_model"),
            Some(&1),
            "{stats:?}"
        );

        // Up to what is held, the model is found at the end as well.
        let body = serde_json::to_string(&json!({ "a": "x".repeat(400_000) }))?;
        let body = format!(
            r#"{},"messages":[],"model":"llama"}}"#,
            body.trim_end_matches('}')
        );
        let sent = client::chunked(body, PIECE);
        served(&bed, Protocol::Http1, sent, "with").await?;
        let decision = bed.envoy.decision_on("with").await?;
        assert_eq!(decision.model.as_deref(), Some("llama"));
        let stats = filter_stats(&bed.envoy).await?;
        assert_eq!(
            stats.get("requests.held_without_model"),
            Some(&1),
            "{stats:?}"
        );
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn where_the_buffer_filter_holds_the_body_its_limit_is_the_bodys() -> Result<()> {
    let bed = bed_with_small_buffers(HandOver::OriginalDstFilterState).await?;
    let mut connection = bed.connect(Protocol::Http1).await?;
    let body = client::chunked(chat_with_medium(Order::ModelFirst), PIECE);
    let reply = connection.send(post(CHAT, body)?).await?;
    assert_eq!(
        reply.status,
        StatusCode::PAYLOAD_TOO_LARGE,
        "{}",
        reply.text()
    );
    assert_eq!(reply.model_server(), None);
    assert_filter_never_failed(&bed.envoy).await
}

/// Where the model stands in a body.
#[derive(Clone, Copy)]
enum Order {
    ModelFirst,
    ModelLast,
}

/// The body of a chat completion with a medium.
fn chat_with_medium(order: Order) -> Vec<u8> {
    let medium: String = (0..MEDIUM / 8)
        .map(|number| format!("{number:07x}/"))
        .collect();
    let url = format!("data:video/mp4;base64,{medium}");
    let messages = json!([{ "role": "user", "content": [
        { "type": "text", "text": "What happens here?" },
        { "type": "video_url", "video_url": { "url": url } },
    ] }]);
    match order {
        Order::ModelFirst => format!(r#"{{"model":"llama","messages":{messages}}}"#),
        Order::ModelLast => format!(r#"{{"messages":{messages},"model":"llama"}}"#),
    }
    .into_bytes()
}

async fn bed_with_small_buffers(hand_over: HandOver) -> Result<Bed> {
    let configuration = scraping_every(INTERVAL, hand_over)?.with_buffer_limits(BUFFER, READ)?;
    Bed::start(configuration, &[queue(300), queue(0)]).await
}

/// Sends a chat completion under an id, which the better server must answer, and returns what
/// arrived there.
async fn served(bed: &Bed, protocol: Protocol, body: Body, id: &str) -> Result<Received> {
    // The other worker may still take a large prompt for unread that has just been answered.
    loads_known(&bed.servers).await?;
    let mut connection = bed.connect(protocol).await?;
    let mut request = post(CHAT, body)?;
    let id = HeaderValue::from_str(id)?;
    request.headers_mut().insert("x-request-id", id);
    let reply = connection.send(request).await?;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(reply.model_server(), Some(bed.servers[1].address()));
    bed.servers[1]
        .requests()
        .pop()
        .context("nothing has arrived")
}
