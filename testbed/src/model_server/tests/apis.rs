//! Every API, whole and streamed, of both kinds of servers.

use std::time::Duration;

use anyhow::Result;
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use super::{connect, post, request, server};
use crate::model_server::{ModelServer, Pieces};

/// The data of all events, the mark of the end included, and the names of those that have one.
fn named_events(text: &str) -> (Vec<&str>, Vec<Value>) {
    let (mut names, mut data) = (Vec::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("event: ") {
            names.push(name);
        } else if let Some(json) = line.strip_prefix("data: ").filter(|data| *data != "[DONE]") {
            data.push(serde_json::from_str(json).unwrap());
        }
    }
    (names, data)
}

/// A request to an API, and where its answer has the model, the text or tokens, and the usage.
struct Case {
    path: &'static str,
    body: Value,
    model: &'static str,
    made: &'static str,
    completion_tokens: &'static str,
}

fn generating() -> Vec<Case> {
    let messages = json!([{ "role": "user", "content": "Hello, this is me." }]);
    let case = |path, body, model, made, completion_tokens| Case {
        path,
        body,
        model,
        made,
        completion_tokens,
    };
    vec![
        case(
            "/v1/chat/completions",
            json!({ "model": "base", "messages": messages, "max_tokens": 5 }),
            "/model",
            "/choices/0/message/content",
            "/usage/completion_tokens",
        ),
        case(
            "/v1/completions",
            json!({ "model": "base", "prompt": "Hello", "max_tokens": 5 }),
            "/model",
            "/choices/0/text",
            "/usage/completion_tokens",
        ),
        case(
            "/v1/responses",
            json!({ "model": "base", "instructions": "Be kind.", "input": messages, "max_output_tokens": 5 }),
            "/model",
            "/output/0/content/0/text",
            "/usage/output_tokens",
        ),
        case(
            "/v1/messages",
            json!({ "model": "base", "system": "Be kind.", "messages": messages, "max_tokens": 5 }),
            "/model",
            "/content/0/text",
            "/usage/output_tokens",
        ),
        case(
            "/inference/v1/generate",
            json!({ "model": "base", "token_ids": [1, 2, 3], "sampling_params": { "max_tokens": 5 } }),
            "/model",
            "/choices/0/token_ids/4",
            "/usage/completion_tokens",
        ),
        case(
            "/generate",
            json!({ "text": "Hello", "sampling_params": { "max_new_tokens": 5 } }),
            "",
            "/text",
            "/meta_info/completion_tokens",
        ),
    ]
}

#[tokio::test]
async fn every_api_answers_in_its_form_in_the_name_of_the_model_asked_for() -> Result<()> {
    let canned = ModelServer::start().await?;
    let (simulated, _) = server(|_| {}).await?;
    for server in [&canned, &simulated] {
        let mut connection = connect(server).await?;
        for case in generating() {
            let reply = post(&mut connection, case.path, &case.body).await?;
            assert_eq!(reply.status, 200, "{}: {}", case.path, reply.text());
            let answer: Value = reply.json()?;
            if !case.model.is_empty() {
                assert_eq!(answer.pointer(case.model), Some(&json!("base")), "{answer}");
            }
            assert!(answer.pointer(case.made).is_some(), "{answer}");
            let tokens = answer.pointer(case.completion_tokens);
            assert_eq!(tokens, Some(&json!(5)), "{answer}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_api_streams_as_many_pieces_as_tokens() -> Result<()> {
    let canned = ModelServer::start().await?;
    let (simulated, _) = server(|_| {}).await?;
    for server in [&canned, &simulated] {
        let mut connection = connect(server).await?;
        for case in generating() {
            let mut body = case.body;
            body["stream"] = json!(true);
            let reply = post(&mut connection, case.path, &body).await?;
            let kind = reply.headers.get("content-type").unwrap().clone();
            assert_eq!(kind, "text/event-stream; charset=utf-8");
            let text = reply.text();
            let (names, data) = named_events(&text);
            let done = text.ends_with("data: [DONE]\n\n");
            let deltas = data.iter().filter(|event| {
                event.pointer("/choices/0/text").is_some()
                    || event.pointer("/choices/0/token_ids").is_some()
                    || event.pointer("/text").is_some_and(Value::is_string)
                        && event.get("meta_info").is_some()
                    || event.pointer("/delta/text").is_some()
                    || event["type"] == "response.output_text.delta"
                    || event
                        .pointer("/choices/0/delta/content")
                        .is_some_and(|content| content != "")
            });
            assert_eq!(deltas.count(), 5, "{text}");
            match case.path {
                "/v1/responses" => {
                    let mut expected = vec![
                        "response.created",
                        "response.in_progress",
                        "response.output_item.added",
                        "response.content_part.added",
                    ];
                    expected.extend(["response.output_text.delta"; 5]);
                    expected.extend([
                        "response.output_text.done",
                        "response.content_part.done",
                        "response.output_item.done",
                        "response.incomplete",
                    ]);
                    assert_eq!(names, expected);
                    for (number, event) in data.iter().enumerate() {
                        assert_eq!(event["sequence_number"], number);
                    }
                    assert_eq!(data[0]["response"]["model"], "base");
                    assert!(!done);
                }
                "/v1/messages" => {
                    let mut expected = vec!["message_start", "content_block_start"];
                    expected.extend(["content_block_delta"; 5]);
                    expected.extend(["content_block_stop", "message_delta", "message_stop"]);
                    assert_eq!(names, expected);
                    assert_eq!(data[0]["message"]["model"], "base");
                    assert_eq!(data[8]["delta"]["stop_reason"], "max_tokens");
                    assert!(!done);
                }
                path => {
                    assert!(names.is_empty() && done, "{text}");
                    if path.starts_with("/v1/") {
                        assert!(data.iter().all(|event| event["model"] == "base"));
                    }
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn prompts_that_are_only_read_are_answered_by_numbers() -> Result<()> {
    let canned = ModelServer::start().await?;
    let (simulated, _) = server(|_| {}).await?;
    for server in [&canned, &simulated] {
        let mut connection = connect(server).await?;
        for (path, body, list, length) in [
            ("/v1/embeddings", json!({ "input": "Hello" }), "data", 1),
            ("/v1/embeddings", json!({ "input": ["a", "b"] }), "data", 2),
            ("/v1/embeddings", json!({ "input": [1, 2, 3] }), "data", 1),
            ("/v1/embeddings", json!({ "input": [[1], [2]] }), "data", 2),
            (
                "/rerank",
                json!({ "query": "q", "documents": ["a", "b", "c"], "top_n": 2 }),
                "results",
                2,
            ),
            (
                "/v1/score",
                json!({ "text_1": "q", "text_2": ["a", "b", "c"] }),
                "data",
                3,
            ),
        ] {
            let mut body = body;
            body["model"] = json!("base");
            let reply = post(&mut connection, path, &body).await?;
            assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            let answer: Value = reply.json()?;
            assert_eq!(answer["model"], "base");
            assert_eq!(answer[list].as_array().unwrap().len(), length, "{answer}");
            assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(0));
        }
        let body = json!({ "model": "base", "input": "x", "encoding_format": "base64" });
        let answer: Value = post(&mut connection, "/v1/embeddings", &body)
            .await?
            .json()?;
        // The float 1 and seven zeros.
        let expected = format!("AACAPw{}=", "A".repeat(37));
        assert_eq!(answer["data"][0]["embedding"], expected);
    }
    Ok(())
}

#[tokio::test]
async fn errors_have_the_form_of_the_api() -> Result<()> {
    let (_server, mut connection) = server(|_| {}).await?;
    let body = json!({ "model": "other", "messages": [], "max_tokens": 1 });
    let reply = post(&mut connection, "/v1/messages", &body).await?;
    assert_eq!(reply.status, 404);
    let error: Value = reply.json()?;
    assert_eq!(error["type"], "error");
    assert_eq!(error["error"]["type"], "NotFoundError");
    Ok(())
}

#[tokio::test]
async fn answers_are_cut_into_pieces_of_the_same_bytes() -> Result<()> {
    let server = ModelServer::start().await?;
    let mut connection = connect(&server).await?;
    let body = json!({ "input": "Hello" });
    let whole = post(&mut connection, "/v1/embeddings", &body).await?;
    server.set_pieces(Some(Pieces {
        size: 7,
        pause: Duration::from_millis(1),
    }));
    let request = request(Method::POST, "/v1/embeddings", &body)?;
    let response = connection.begin(request).await?;
    let length = response.headers().get("content-length").cloned();
    assert_eq!(length.as_ref(), whole.headers.get("content-length"));
    let mut pieces = Vec::new();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        pieces.push(frame?.into_data().unwrap());
    }
    // The machine may be too busy to keep all of them apart.
    assert!(pieces.len() > whole.body.len() / 14, "{}", pieces.len());
    // The number of the answer and the time are elsewhere in the text.
    let after = |body: &[u8]| {
        String::from_utf8_lossy(body)
            .split_once("\"data\"")
            .unwrap()
            .1
            .len()
    };
    assert_eq!(after(&pieces.concat()), after(&whole.body));
    Ok(())
}
