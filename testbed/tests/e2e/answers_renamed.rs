//! Answers get the name back that was asked for, however they are cut on their way.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::{
    Request, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderValue},
};
use serde_json::{Value, json};
use testbed::{
    bed::Bed,
    client::{self, Body, Protocol},
    envoy::HandOver,
    model_server::Pieces,
};

use crate::support::{assert_filter_never_failed, bed_with, model_of, post, queue};

/// What is asked for, and by what it is served: longer and shorter than the other in turn.
const NAMES: [(&str, &str); 3] = [
    ("gpt-4o", "meta-llama/Llama-3.1-70B-Instruct"),
    ("a name that is long, with a \"quote\" and a 🦀", "l"),
    ("same-size-1", "same-size-2"),
];

/// A request to every API whose answers name a model, with a body that says all but the model; and
/// whether the answer is to be streamed.
fn requests() -> Vec<(&'static str, Value, bool)> {
    let messages = json!([{ "role": "user", "content": "Hello" }]);
    let mut requests = Vec::new();
    for (path, body) in [
        ("/v1/chat/completions", json!({ "messages": messages })),
        (
            "/v1/completions",
            json!({ "prompt": "Hello", "max_tokens": 2 }),
        ),
        ("/v1/responses", json!({ "input": "Hello" })),
        (
            "/v1/messages",
            json!({ "messages": messages, "max_tokens": 2 }),
        ),
    ] {
        requests.push((path, body.clone(), false));
        requests.push((path, body, true));
    }
    for (path, body) in [
        ("/v1/embeddings", json!({ "input": "Hello" })),
        (
            "/v1/rerank",
            json!({ "query": "Hello", "documents": ["a"] }),
        ),
        ("/v1/score", json!({ "text_1": "Hello", "text_2": "a" })),
    ] {
        requests.push((path, body, false));
    }
    requests
}

#[tokio::test]
async fn answers_get_their_name_back_wherever_they_are_cut() -> Result<()> {
    for (hand_over, protocol) in [
        (HandOver::OriginalDstHeader, Protocol::Http1),
        (HandOver::OriginalDstFilterState, Protocol::Http1),
        (HandOver::OverrideHost, Protocol::Http2),
    ] {
        let bed = bed_of_aliases(hand_over, true).await?;
        // So small that every name is cut; and each piece comes on its own, for all that the machine
        // can do.
        for size in [5, 1 << 20] {
            bed.servers[0].set_pieces(Some(Pieces {
                size,
                pause: Duration::from_micros(100),
            }));
            let mut connection = bed.connect(protocol).await?;
            for (path, body, stream) in requests() {
                for (requested, served) in NAMES {
                    let case = format!(
                        "{path}, stream {stream}, {requested}, {size}, {protocol:?}, {hand_over}"
                    );
                    let request = request(path, &body, requested, stream)?;
                    let reply = connection.send(request).await.context(case.clone())?;
                    assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                    let received = bed.servers[0].requests().pop().context("nothing")?;
                    assert_eq!(model_of(&received)?, served, "{case}");
                    let names = names_in(&reply.text(), stream).context(case.clone())?;
                    assert!(!names.is_empty(), "{}: {case}", reply.text());
                    let restored = names.iter().all(|name| name == requested);
                    assert!(restored, "{names:?}: {case}");
                    if let Some(length) = reply.headers.get(CONTENT_LENGTH) {
                        assert_eq!(length, &reply.body.len().to_string(), "{case}");
                    }
                }
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nothing_else_in_an_answer_changes() -> Result<()> {
    let with = bed_of_aliases(HandOver::OriginalDstHeader, true).await?;
    let without = bed_of_aliases(HandOver::OriginalDstHeader, false).await?;
    for (path, body, stream) in requests() {
        for (requested, served) in NAMES {
            let mut answers = Vec::new();
            for bed in [&with, &without] {
                let mut connection = bed.connect(Protocol::Http1).await?;
                let request = request(path, &body, requested, stream)?;
                let reply = connection.send(request).await?;
                assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
                answers.push(reply);
            }
            let [renamed, as_served] = &answers[..] else {
                anyhow::bail!("two answers");
            };
            assert!(
                names_in(&as_served.text(), stream)?
                    .iter()
                    .all(|name| name == served)
            );
            let literal = |name: &str| json!(name).to_string();
            let expected = as_served.text().replace(
                &format!("\"model\":{}", literal(served)),
                &format!("\"model\":{}", literal(requested)),
            );
            assert_eq!(
                without_what_differs(&renamed.text()),
                without_what_differs(&expected),
                "{path}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn answers_that_are_to_be_renamed_are_asked_for_uncompressed() -> Result<()> {
    for restores in [true, false] {
        let bed = bed_of_aliases(HandOver::OriginalDstHeader, restores).await?;
        let mut connection = bed.connect(Protocol::Http1).await?;
        for (model, is_renamed) in [(NAMES[0].0, restores), ("other", false)] {
            let mut request = request("/v1/completions", &json!({ "prompt": "x" }), model, false)?;
            let gzip = HeaderValue::from_static("gzip, br");
            request.headers_mut().insert(ACCEPT_ENCODING, gzip);
            let reply = connection.send(request).await?;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            let received = bed.servers[0].requests().pop().context("nothing")?;
            let asked = received.headers.get(ACCEPT_ENCODING);
            if is_renamed {
                assert!(asked.is_none_or(|it| it == "identity"), "{asked:?}");
            }
            // Whether it is decided before the model is known, is the filter's affair.
            if !restores {
                assert_eq!(asked, Some(&HeaderValue::from_static("gzip, br")));
            }
        }
    }
    Ok(())
}

async fn bed_of_aliases(hand_over: HandOver, restore: bool) -> Result<Bed> {
    let names: serde_json::Map<String, Value> = NAMES
        .iter()
        .map(|(requested, served)| {
            (
                (*requested).to_owned(),
                json!({ "targets": [{ "model": served }] }),
            )
        })
        .collect();
    let models = json!({ "names": names, "restoreNames": restore });
    bed_with(hand_over, &json!({ "models": models }), &[queue(0)]).await
}

fn request(path: &str, body: &Value, model: &str, stream: bool) -> Result<Request<Body>> {
    let mut body = body.clone();
    body["model"] = json!(model);
    if stream {
        body["stream"] = json!(true);
    }
    post(path, client::whole(body.to_string()))
}

/// The models that an answer names.
fn names_in(text: &str, stream: bool) -> Result<Vec<String>> {
    let documents: Vec<&str> = if stream {
        text.lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .filter(|data| *data != "[DONE]")
            .collect()
    } else {
        vec![text]
    };
    let mut names = Vec::new();
    for document in documents {
        let document: Value =
            serde_json::from_str(document).with_context(|| document.to_owned())?;
        for pointer in ["/model", "/response/model", "/message/model"] {
            let name = document.pointer(pointer).and_then(Value::as_str);
            names.extend(name.map(str::to_owned));
        }
    }
    Ok(names)
}

/// A text without its digits: the numbers and the times of answers differ.
fn without_what_differs(text: &str) -> String {
    text.chars().filter(|it| !it.is_ascii_digit()).collect()
}
