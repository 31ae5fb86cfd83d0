//! Names that clients ask for, and the models that model servers are asked for in their place.

use anyhow::{Context, Result};
use hyper::StatusCode;
use serde_json::{Value, json};
use testbed::{
    client::{self, Protocol},
    envoy::HandOver,
};

use crate::support::{CHAT, assert_filter_never_failed, bed_with, chat_for, model_of, post, queue};

#[tokio::test]
async fn a_name_is_split_by_weight() -> Result<()> {
    const REQUESTS: usize = 1000;
    let models = json!({ "names": { "gpt-4o": { "targets": [
        { "model": "llama-70b", "weight": 90 },
        { "model": "llama-70b-next", "weight": 10 },
    ] } } });
    let bed = bed_with(
        HandOver::OriginalDstHeader,
        &json!({ "models": models }),
        &[queue(0)],
    )
    .await?;
    let mut connection = bed.connect(Protocol::Http1).await?;
    for _ in 0..REQUESTS {
        let reply = connection.send(chat_for("gpt-4o")?).await?;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    let asked_for = models_of(&bed.servers[0].requests())?;
    assert_eq!(asked_for.len(), REQUESTS);
    let next = asked_for
        .iter()
        .filter(|model| *model == "llama-70b-next")
        .count();
    let first = asked_for
        .iter()
        .filter(|model| *model == "llama-70b")
        .count();
    assert_eq!(first + next, REQUESTS, "{asked_for:?}");
    // Six standard deviations of a binomial distribution: √(1000 × 0.1 × 0.9) is 9.5. Chance is
    // outside once in half a billion runs.
    assert!((43..=157).contains(&next), "{next} of {REQUESTS}");
    Ok(())
}

#[tokio::test]
async fn names_stand_for_what_is_said_of_them() -> Result<()> {
    let models = json!({ "unknown": "not-found", "names": {
        "alias": { "targets": [{ "model": "llama" }] },
        "small-*": { "targets": [{ "model": "llama-8b" }] },
        "small-but-*": { "targets": [{ "model": "phi" }] },
        "small-but-exact": {},
        "sql": { "base": "llama" },
        "with a \"quote\" 你": { "targets": [{ "model": "back\\slash" }] },
    } });
    for hand_over in HandOver::ALL {
        let bed = bed_with(
            hand_over,
            &json!({ "models": models }),
            &[queue(300), queue(0)],
        )
        .await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            for (requested, asked_for) in [
                ("alias", "llama"),
                ("small-", "llama-8b"),
                ("small-and-cheap", "llama-8b"),
                ("small-but-mighty", "phi"),
                ("small-but-exact", "small-but-exact"),
                ("sql", "sql"),
                ("with a \"quote\" 你", "back\\slash"),
            ] {
                let reply = connection.send(chat_for(requested)?).await?;
                let case = format!("{requested}, {protocol:?}, {hand_over}");
                assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                let best = &bed.servers[1];
                assert_eq!(reply.model_server(), Some(best.address()), "{case}");
                let received = best.requests().pop().context("nothing has arrived")?;
                assert_eq!(model_of(&received)?, asked_for, "{case}");
                let length = received
                    .headers
                    .get("content-length")
                    .context("no length")?;
                assert_eq!(length, &received.body.len().to_string(), "{case}");
            }
            let before = bed.servers[1].requests().len();
            for requested in ["llama", "smal", "Alias", ""] {
                let reply = connection.send(chat_for(requested)?).await?;
                assert_eq!(reply.status, StatusCode::NOT_FOUND, "{requested}");
                assert_eq!(reply.model_server(), None);
                let error: Value = reply.json()?;
                assert_eq!(error["error"]["code"], "model_not_found", "{error}");
                assert_eq!(error["error"]["type"], "invalid_request_error", "{error}");
                assert_eq!(error["error"]["param"], "model", "{error}");
            }
            assert_eq!(bed.servers[1].requests().len(), before);
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_model_of_which_nothing_is_said_passes() -> Result<()> {
    let models = json!({ "names": { "alias": { "targets": [{ "model": "llama" }] } } });
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &json!({ "models": models }), &[queue(0)]).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        let body = r#"{ "messages": [], "model" : "other" }"#;
        let reply = connection.send(post(CHAT, client::whole(body))?).await?;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        let received = bed.servers[0].requests().pop().context("nothing")?;
        assert_eq!(received.body, body);
    }
    Ok(())
}

#[tokio::test]
async fn only_the_name_changes_in_a_body_wherever_it_stands() -> Result<()> {
    let models = json!({ "names": { "alias": { "targets": [{ "model": "a-longer-name" }] } } });
    let text = "No \"alias\" here. ".repeat(4000);
    let content = json!([{ "role": "user", "content": text, "model": "alias" }]).to_string();
    for hand_over in HandOver::ALL {
        let bed = bed_with(hand_over, &json!({ "models": models }), &[queue(0)]).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            for (before, after) in [
                (
                    "{\n \"model\" :\t",
                    format!(" , \"messages\": {content}, \"x\": 1e2 }}\n"),
                ),
                (
                    &*format!("{{\"messages\":{content},\"model\":"),
                    "}".to_owned(),
                ),
                (
                    "{\"model\":\"alias\",\"model\":",
                    format!(",\"messages\":{content}}}"),
                ),
            ] {
                for name in [r#""alias""#, r#""al\u0069as""#] {
                    for piece in [usize::MAX, 4099] {
                        let body = format!("{before}{name}{after}");
                        let is_whole = piece == usize::MAX;
                        let sent = if is_whole {
                            client::whole(body)
                        } else {
                            client::chunked(body, piece)
                        };
                        let reply = connection.send(post(CHAT, sent)?).await?;
                        let case = format!("{before:.30}, {piece}, {protocol:?}, {hand_over}");
                        assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                        let received = bed.servers[0].requests().pop().context("nothing")?;
                        let expected = format!("{before}\"a-longer-name\"{after}");
                        assert!(received.body == expected, "{case}");
                        let length = received.headers.get("content-length");
                        // Envoy's buffer filter tells the length of every body.
                        let is_told = is_whole || hand_over == HandOver::OriginalDstFilterState;
                        assert_eq!(
                            length.is_some_and(|length| length == &expected.len().to_string()),
                            is_told,
                            "{length:?}, {case}"
                        );
                    }
                }
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

fn models_of(requests: &[testbed::model_server::Received]) -> Result<Vec<String>> {
    requests.iter().map(model_of).collect()
}
