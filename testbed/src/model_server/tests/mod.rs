//! Simulated model servers over HTTP. What takes time is tested in the engine, in virtual time;
//! here nothing depends on how fast the machine is.

mod apis;
mod faults;
mod metrics;

use std::time::Duration;

use anyhow::{Context, Result};
use endpoint_picker::exposition::{FamilySet, samples};
use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::{ModelServer, SimulatorConfig, Snapshot};
use crate::{
    client::{self, Body, Connection, Protocol, Reply},
    poll,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// So fast that nothing is waited for.
const FAST: f64 = 1000.0;

async fn server(change: impl FnOnce(&mut SimulatorConfig)) -> Result<(ModelServer, Connection)> {
    let mut config = SimulatorConfig {
        time_scale: FAST,
        model: "base".to_owned(),
        ..SimulatorConfig::default()
    };
    change(&mut config);
    let server = ModelServer::simulate(config).await?;
    let connection = connect(&server).await?;
    Ok((server, connection))
}

async fn connect(server: &ModelServer) -> Result<Connection> {
    Connection::open(server.address(), Protocol::Http1).await
}

fn request(method: Method, path: &str, body: &Value) -> Result<Request<Body>> {
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(client::whole(body.to_string()))?)
}

async fn post(connection: &mut Connection, path: &str, body: &Value) -> Result<Reply> {
    connection.send(request(Method::POST, path, body)?).await
}

async fn get(connection: &mut Connection, path: &str) -> Result<Reply> {
    connection
        .send(request(Method::GET, path, &Value::Null)?)
        .await
}

/// The value of a family that has one series.
async fn metric(connection: &mut Connection, family: &str) -> Result<f64> {
    let reply = get(connection, "/metrics").await?;
    let mut families = FamilySet::default();
    families.insert(family);
    let sample = samples(&reply.body, &families)
        .next()
        .with_context(|| format!("no {family}"))?;
    Ok(sample?.1.value)
}

async fn until(server: &ModelServer, what: &str, is: impl Fn(Snapshot) -> bool) -> Result<()> {
    poll::until(what, PATIENCE, async || {
        let snapshot = server.snapshot().context("not simulated")?;
        Ok(is(snapshot).then_some(()))
    })
    .await
}

/// The data of all events, the mark of the end left out.
fn events(reply: &Reply) -> Vec<Value> {
    let text = reply.text();
    let data: Vec<&str> = text
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").unwrap())
        .collect();
    let (end, data) = data.split_last().unwrap();
    assert_eq!(*end, "[DONE]");
    data.iter()
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn chats_are_streamed_token_by_token_with_their_usage() -> Result<()> {
    let (_server, mut connection) = server(|_| {}).await?;
    let body = json!({
        "model": "base", "stream": true, "stream_options": { "include_usage": true },
        "max_completion_tokens": 20,
        "messages": [{ "role": "user", "content": [{ "type": "text", "text": "x".repeat(400) }] }],
    });
    // Role, text, end of message, and the role of who answers.
    let prompt = 1 + 100 + 1 + 3;
    for cached in [0, prompt / 16 * 16] {
        let reply = post(&mut connection, "/v1/chat/completions", &body).await?;
        assert_eq!(
            reply.headers["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let events = events(&reply);
        let (role, rest) = events.split_first().unwrap();
        let (usage, tokens) = rest.split_last().unwrap();
        assert_eq!(
            role["choices"][0]["delta"],
            json!({ "role": "assistant", "content": "" })
        );
        assert_eq!(tokens.len(), 20);
        for (index, token) in tokens.iter().enumerate() {
            assert_eq!(token["object"], "chat.completion.chunk");
            assert_eq!(token["id"], role["id"]);
            let choice = &token["choices"][0];
            assert_eq!(choice["delta"]["content"].as_str().unwrap().len(), 4);
            let reason = if index == 19 {
                json!("length")
            } else {
                Value::Null
            };
            assert_eq!(choice["finish_reason"], reason);
        }
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(
            usage["usage"],
            json!({
                "prompt_tokens": prompt, "completion_tokens": 20, "total_tokens": prompt + 20,
                "prompt_tokens_details": { "cached_tokens": cached },
            })
        );
    }
    Ok(())
}

#[tokio::test]
async fn completions_are_answered_whole() -> Result<()> {
    let (_server, mut connection) = server(|_| {}).await?;
    let body = json!({ "prompt": "0123456789" });
    let reply = post(&mut connection, "/v1/completions", &body).await?;
    let answer: Value = reply.json()?;
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["text"].as_str().unwrap().len(), 4 * 16);
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert_eq!(answer["usage"]["completion_tokens"], 16);
    Ok(())
}

#[tokio::test]
async fn what_does_not_fit_or_does_not_exist_is_refused() -> Result<()> {
    let (server, mut connection) = server(|config| config.max_model_len = 100).await?;
    for (body, status, part) in [
        (
            json!({ "prompt": "x".repeat(400) }),
            400,
            "maximum context length is 100 tokens",
        ),
        (
            json!({ "prompt": "x".repeat(40), "max_tokens": 91 }),
            400,
            "(91 > 100 - 10)",
        ),
        (json!({ "prompt": "" }), 400, "cannot be empty"),
        (json!({ "prompt": "x", "max_tokens": 0 }), 400, "at least 1"),
        (
            json!({ "prompt": "x", "model": "other" }),
            404,
            "`other` does not exist",
        ),
    ] {
        let reply = post(&mut connection, "/v1/completions", &body).await?;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
        let error: Value = reply.json()?;
        assert_eq!(error["error"]["code"], status);
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    }
    let body = json!({ "prompt": "x".repeat(40), "max_tokens": 90 });
    let reply = post(&mut connection, "/v1/completions", &body).await?;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(server.snapshot().unwrap().generation_tokens, 90);
    Ok(())
}

#[tokio::test]
async fn adapters_are_served_by_name() -> Result<()> {
    let (_server, mut connection) = server(|config| {
        config.max_loras = 1;
        config.loras = vec!["sql".to_owned()];
    })
    .await?;
    let models: Value = get(&mut connection, "/v1/models").await?.json()?;
    let names: Vec<&Value> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["id"])
        .collect();
    assert_eq!(names, ["base", "sql"]);
    for _ in 0..2 {
        let body = json!({ "prompt": "x", "model": "sql" });
        let answer: Value = post(&mut connection, "/v1/completions", &body)
            .await?
            .json()?;
        assert_eq!(answer["model"], "sql");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_away_is_not_served_any_more() -> Result<()> {
    let (server, _) = server(|config| config.time_scale = 1.0).await?;
    let body = json!({ "prompt": "x", "max_tokens": 8000, "stream": true });
    let mut connection = connect(&server).await?;
    let request = request(Method::POST, "/v1/completions", &body)?;
    let mut response = connection.begin(request).await?;
    response.body_mut().frame().await.context("no token")??;
    until(&server, "the request to run", |snapshot| {
        snapshot.running == 1
    })
    .await?;
    drop((response, connection));
    until(&server, "the request to end", |snapshot| {
        snapshot.running == 0 && snapshot.kv_cache_usage == 0.0
    })
    .await?;
    assert!(server.snapshot().unwrap().generation_tokens < 8000);
    Ok(())
}

#[tokio::test]
async fn the_port_of_a_server_that_is_closed_is_kept_for_it() -> Result<()> {
    let server = ModelServer::start().await?;
    let address = server.address();
    let mut before = connect(&server).await?;
    get(&mut before, "/health").await?;
    let closed = server.close().await?;
    assert_eq!(closed.address(), address);
    assert!(Connection::open(address, Protocol::Http1).await.is_err());
    let back = ModelServer::simulate_at(address, SimulatorConfig::default()).await?;
    let reply = get(&mut connect(&back).await?, "/health").await?;
    assert_eq!(reply.model_server(), Some(address));
    Ok(())
}

#[tokio::test]
async fn a_canned_answer_has_no_more_tokens_than_it_may() -> Result<()> {
    let server = ModelServer::start().await?;
    server.set_token_limit(Some(1));
    let body = json!({ "prompt": "x", "max_tokens": 2, "stream": true });
    let request = request(Method::POST, "/v1/completions", &body)?;
    let mut connection = connect(&server).await?;
    let mut answer = connection.begin(request).await?.into_body();
    let mut next = async || anyhow::Ok(answer.frame().await.context("no event")??.into_data());
    assert!(next().await?.is_ok());
    let second = tokio::time::timeout(Duration::from_millis(20), next()).await;
    assert!(second.is_err(), "{second:?}");
    server.set_token_limit(None);
    assert!(next().await?.is_ok());
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_simulated_is_refused() {
    for (config, complaint) in [
        (
            SimulatorConfig {
                time_scale: 0.0,
                ..SimulatorConfig::default()
            },
            "time_scale: ",
        ),
        (
            SimulatorConfig {
                kv_blocks: Some(10),
                ..SimulatorConfig::default()
            },
            "max_model_len: the KV cache holds 160 tokens, not 8192",
        ),
        (
            SimulatorConfig {
                loras: vec!["a".to_owned()],
                ..SimulatorConfig::default()
            },
            "max_loras: ",
        ),
    ] {
        let error = ModelServer::simulate(config).await.unwrap_err().to_string();
        assert!(error.starts_with(complaint), "{error}");
    }
}
