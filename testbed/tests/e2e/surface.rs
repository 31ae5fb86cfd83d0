//! Every inference API: its bodies are understood, and reach the model server byte for byte.

use std::fs;

use anyhow::{Context, Result};
use hyper::{StatusCode, header::HeaderValue};
use serde_json::Value;
use testbed::{
    client::{self, Protocol},
    envoy::{HandOver, repository},
};

use crate::support::{assert_filter_never_failed, bed, post, queue};

/// A body as it is on the wire: what its bytes mean is said again by nobody.
struct Sent {
    path: &'static str,
    body: &'static str,
    /// The model it asks for.
    model: Option<&'static str>,
    /// Whether the answer is to be streamed.
    stream: bool,
}

/// Written by hand, so that an order of fields, an escape or a space that is changed on the way shows.
const SENT: [Sent; 15] = [
    Sent {
        path: "/v1/chat/completions",
        body: concat!(
            "\n{ \"messages\" : [ {\"role\":\"user\",\"content\":\"Gr\\u00fc\\u00DFe, \u{4f60}\u{597d}, \\ud83e\\uDD80 \\/ \\b\"} ],\r\n",
            "\t\"temperature\": 1.0E+0, \"seed\": 18446744073709551615, \"unknown\": [[[{}]]], \"model\": \"llama\" }\n",
        ),
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/chat/completions?trace=1",
        body: concat!(
            r#"{"model":"ll\u0061ma","stream":true,"stream_options":{"include_usage":true},"tools":[{"type":"function","#,
            r#""function":{"name":"f","parameters":{"type":"object","properties":{"url":{"type":"string"}}}}}],"#,
            r#""messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"What is this?"},"#,
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}},"#,
            r#"{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]},"#,
            r#"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"url\":\"x\"}"}}]},"#,
            r#"{"role":"tool","tool_call_id":"1","content":"nothing"}],"max_completion_tokens":5,"user":"u","n":1}"#,
        ),
        model: Some("llama"),
        stream: true,
    },
    Sent {
        path: "/v1/completions",
        body: r#"{"model":"other","model":"llama","prompt":"Once","max_tokens":3}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/completions",
        body: r#"{"prompt":["Once","Twice"],"echo":false}"#,
        model: None,
        stream: false,
    },
    Sent {
        path: "/v1/completions",
        body: r#"{"prompt":[[1,2,3],[4,5]],"model":"llama","stream":true}"#,
        model: Some("llama"),
        stream: true,
    },
    Sent {
        path: "/v1/responses",
        body: r#"{"instructions":"Be brief.","input":"Hello","model":"llama","max_output_tokens":4}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/responses",
        body: r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hello"}]}],"model":"llama","stream":true}"#,
        model: Some("llama"),
        stream: true,
    },
    Sent {
        path: "/v1/embeddings",
        body: r#"{"input":["one","two"],"model":"llama","encoding_format":"base64"}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/rerank",
        body: r#"{"model":"llama","query":"what","documents":["this","that"],"top_n":1}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/rerank",
        body: r#"{"query":"what","documents":[{"text":"this"}],"model":"llama"}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/score",
        body: r#"{"text_1":"what","text_2":["this","that"],"model":"llama"}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/messages",
        body: concat!(
            r#"{"model":"llama","max_tokens":5,"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"#,
            r#""messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},"#,
            r#"{"type":"text","text":"What is this?"}]}]}"#,
        ),
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/v1/messages",
        body: r#"{"max_tokens":5,"messages":[{"role":"user","content":"Hello"}],"stream":true,"model":"llama"}"#,
        model: Some("llama"),
        stream: true,
    },
    Sent {
        path: "/inference/v1/generate",
        body: r#"{"token_ids":[1,2,3,4],"sampling_params":{"max_tokens":4},"model":"llama"}"#,
        model: Some("llama"),
        stream: false,
    },
    Sent {
        path: "/generate",
        body: r#"{"text":"Once upon a time","sampling_params":{"max_new_tokens":4},"stream":true}"#,
        model: None,
        stream: true,
    },
];

#[tokio::test]
async fn bodies_of_every_api_arrive_byte_for_byte() -> Result<()> {
    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, &[queue(300), queue(0)]).await?;
        let best = &bed.servers[1];
        let mut number = 0;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let mut connection = bed.connect(protocol).await?;
            for sent in SENT {
                for piece in [usize::MAX, 5] {
                    number += 1;
                    let id = format!("surface-{number}");
                    let case = format!(
                        "{} in pieces of {piece}, {protocol:?}, {hand_over}",
                        sent.body
                    );
                    let body = client::chunked(sent.body, piece);
                    let mut request = post(sent.path, body)?;
                    let header = HeaderValue::from_str(&id)?;
                    request.headers_mut().insert("x-request-id", header);
                    let reply = connection.send(request).await.context(case.clone())?;
                    assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                    assert_eq!(reply.model_server(), Some(best.address()), "{case}");

                    let received = best.requests().pop().context("nothing has arrived")?;
                    assert_eq!(received.uri, sent.path, "{case}");
                    assert_eq!(received.body, sent.body, "{case}");

                    let decision = bed.envoy.decision_on(&id).await.context(case.clone())?;
                    assert_eq!(decision.model.as_deref(), sent.model, "{case}");
                    assert_eq!(decision.stream, sent.stream, "{case}");
                }
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// Beginnings of the names in `fixtures/requests/`, and where such bodies are sent.
const RECORDED: [(&str, &str); 12] = [
    ("anthropic-messages", "/v1/messages"),
    ("langchain-", "/v1/chat/completions"),
    ("openai-chat", "/v1/chat/completions"),
    ("vllm-chat", "/v1/chat/completions"),
    ("openai-completion", "/v1/completions"),
    ("openai-embeddings", "/v1/embeddings"),
    ("openai-responses", "/v1/responses"),
    ("sglang-generate", "/generate"),
    ("vllm-generate", "/inference/v1/generate"),
    ("vllm-rerank", "/v1/rerank"),
    ("vllm-score", "/v1/score"),
    ("edge-", "/v1/chat/completions"),
];

/// What no JSON parser may take.
const NO_JSON: [&str; 5] = [
    "edge-lone-surrogate",
    "edge-not-utf-8",
    "edge-too-deep",
    "edge-trailing-garbage",
    "edge-truncated",
];

#[tokio::test]
async fn bodies_as_clients_sent_them_arrive_byte_for_byte() -> Result<()> {
    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, &[queue(300), queue(0)]).await?;
        let best = &bed.servers[1];
        for protocol in [Protocol::Http1, Protocol::Http2] {
            for (name, body) in recorded()? {
                // Envoy closes connections over HTTP/1.1 after a 400 of its own.
                let mut connection = bed.connect(protocol).await?;
                let case = format!("{name}, {protocol:?}, {hand_over}");
                let path = path_of(&name).context(case.clone())?;
                let request = post(path, client::whole(body.clone()))?;
                let reply = connection.send(request).await.context(case.clone())?;
                if NO_JSON.contains(&&*name) {
                    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{case}");
                    assert_eq!(reply.model_server(), None, "{case}");
                    assert_eq!(reply.json::<Value>()?["error"]["code"], "invalid_json");
                    continue;
                }
                // Oddities are the model server's to judge.
                if !name.starts_with("edge-") {
                    assert_eq!(reply.status, StatusCode::OK, "{}: {case}", reply.text());
                }
                assert_eq!(reply.model_server(), Some(best.address()), "{case}");
                let received = best.requests().pop().context("nothing has arrived")?;
                assert!(received.body == body, "{case}");
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

/// All bodies in `fixtures/requests/`, by their names.
fn recorded() -> Result<Vec<(String, Vec<u8>)>> {
    let mut bodies = Vec::new();
    for entry in fs::read_dir(repository().join("fixtures/requests"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_stem().context("no name")?.to_string_lossy();
            bodies.push((name.into_owned(), fs::read(&path)?));
        }
    }
    bodies.sort();
    assert!(bodies.len() > 20, "{} bodies", bodies.len());
    Ok(bodies)
}

fn path_of(name: &str) -> Result<&'static str> {
    RECORDED
        .into_iter()
        .find_map(|(beginning, path)| name.starts_with(beginning).then_some(path))
        .with_context(|| format!("nobody knows to which API {name} is sent"))
}
