//! Real model servers, where they are installed: `cargo test --package testbed -- --ignored`.

use std::time::Duration;

use anyhow::{Context, Result};
use hyper::Request;
use serde_json::{Value, json};
use testbed::{
    client::{self, Connection, Protocol},
    load::watch::Watch,
    poll,
    vllm::{HeldLoad, MAX_NUM_SEQS, MODEL, Vllm},
};

/// How long a server may take to show a load, or that it is gone.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "takes half a minute, and needs scripts/setup --vllm"]
async fn a_real_server_answers_shows_its_load_and_ends_with_its_handle() -> Result<()> {
    let mut servers = Vllm::start(1).await?;
    let server = servers.pop().context("no server")?;

    let body = json!({
        "model": MODEL,
        "messages": [{ "role": "user", "content": "Hi" }],
        "max_tokens": 3,
        "ignore_eos": true,
    });
    let request = Request::post("/v1/chat/completions")
        .header("content-type", "application/json")
        .body(client::whole(body.to_string()))?;
    let reply = Connection::open(server.address(), Protocol::Http1)
        .await?
        .send(request)
        .await?;
    let answer: Value = reply.json()?;
    assert_eq!(answer["usage"]["completion_tokens"], 3, "{answer}");
    assert!(
        answer["choices"][0]["message"]["content"].is_string(),
        "{answer}"
    );

    let held = HeldLoad::on(&server, MAX_NUM_SEQS + 2, 32);
    shows(&server, 2, MAX_NUM_SEQS).await?;
    drop(held);
    shows(&server, 0, 0).await?;
    server.forget().await?;

    let address = server.address();
    drop(server);
    assert!(Connection::open(address, Protocol::Http1).await.is_err());
    Ok(())
}

/// Waits until the server reports so many requests.
async fn shows(server: &Vllm, waiting: u32, running: u32) -> Result<()> {
    let watch = Watch::new(vec![server.address()]);
    let what = format!("{waiting} waiting and {running} running requests");
    poll::until(&what, PATIENCE, async || {
        let state = watch.state(server.address()).await;
        Ok(state
            .is_some_and(|it| it.waiting == f64::from(waiting) && it.running == f64::from(running))
            .then_some(()))
    })
    .await
}
