//! Requests that are no inference find a healthy model server, and answers come back as they were
//! made.

use anyhow::{Context, Result};
use http_body_util::BodyExt;
use hyper::{
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use testbed::{
    client::{self, Protocol},
    envoy::HandOver,
    poll,
};

use crate::support::{
    CHAT, PATIENCE, assert_filter_never_failed, bed, get, post, queue, served_by,
};

#[tokio::test]
async fn requests_that_are_no_inference_reach_a_healthy_model_server() -> Result<()> {
    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, &[queue(0), queue(100)]).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            for path in [
                "/v1/models",
                "/v1/models?verbose=1&after=a%2Fb",
                "/health",
                "/metrics",
            ] {
                let server = served_by(&mut connection, get(path)?).await?;
                let server = bed
                    .servers
                    .iter()
                    .find(|it| it.address() == server)
                    .context("not of the pool")?;
                if path != "/metrics" {
                    let received = server.requests().pop().context("nothing has arrived")?;
                    assert_eq!(received.uri, path, "{hand_over}");
                }
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn inference_is_told_by_the_path_without_its_query() -> Result<()> {
    let bed = bed(HandOver::OriginalDstHeader, &[queue(300), queue(0)]).await?;
    let mut connection = bed.connect(Protocol::Http1).await?;
    let completion = json!({ "model": "llama", "prompt": "Hello" }).to_string();
    for path in [
        "/v1/completions",
        "/v1/completions?trace=1",
        "/tenant/v1/completions",
    ] {
        // Under a prefix the simulated servers know no such path; where it arrives is what counts.
        for _ in 0..8 {
            let reply = connection
                .send(post(path, client::whole(completion.clone()))?)
                .await?;
            assert_eq!(
                reply.model_server(),
                Some(bed.servers[1].address()),
                "{path}"
            );
        }
    }
    assert_eq!(bed.envoy.decisions().len(), 24);
    Ok(())
}

#[tokio::test]
async fn a_streamed_answer_arrives_event_by_event() -> Result<()> {
    const TOKENS: usize = 12;
    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, &[queue(300), queue(0)]).await?;
        let body = json!({
            "model": "llama",
            "messages": [{ "role": "user", "content": "Hello" }],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            let server = &bed.servers[1];
            server.set_token_limit(Some(0));
            let response = connection
                .begin(post(CHAT, client::whole(body.to_string()))?)
                .await?;
            assert_eq!(
                response.headers().get(CONTENT_TYPE),
                Some(&HeaderValue::from_static(
                    "text/event-stream; charset=utf-8"
                ))
            );

            let (mut body, mut text) = (response.into_body(), String::new());
            // Each token is made when the one before has arrived: held back anywhere, none would.
            for tokens in 1..=TOKENS {
                server.set_token_limit(Some(tokens));
                poll::within("the next event", PATIENCE, async {
                    while text.matches(TOKEN).count() < tokens {
                        text += &next(&mut body).await?.context("an answer cut short")?;
                    }
                    Ok(())
                })
                .await?;
            }
            poll::within("the last event", PATIENCE, async {
                while let Some(piece) = next(&mut body).await? {
                    text += &piece;
                }
                Ok(())
            })
            .await?;

            let events: Vec<&str> = text
                .split_terminator("\n\n")
                .filter_map(|it| it.strip_prefix("data: "))
                .collect();
            let (done, chunks) = events.split_last().context("no events")?;
            assert_eq!(*done, "[DONE]");
            let chunks: Vec<Value> = chunks
                .iter()
                .map(|chunk| serde_json::from_str(chunk))
                .collect::<Result<_, _>>()?;
            let usage = chunks
                .last()
                .and_then(|chunk| chunk.pointer("/usage/completion_tokens"));
            assert_eq!(usage, Some(&json!(TOKENS)));
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// In the event of a token, and in no other.
const TOKEN: &str = r#""delta":{"content":"#;

/// The next piece of a body; none at its end.
async fn next(body: &mut Incoming) -> Result<Option<String>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(String::from_utf8(data.to_vec())?));
        }
    }
    Ok(None)
}
