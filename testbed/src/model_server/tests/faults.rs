//! Faults, set over HTTP.

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{super::Faults, PATIENCE, connect, get, metric, post, request, server, until};
use crate::{
    client::{Connection, Reply},
    poll,
};

async fn set_faults(connection: &mut Connection, faults: Value) -> Result<Reply> {
    let request = request(Method::PUT, "/simulator/faults", &faults)?;
    connection.send(request).await
}

#[tokio::test]
async fn a_slow_server_takes_longer_for_each_token() -> Result<()> {
    let (_server, mut connection) = server(|_| {}).await?;
    let decoding = async |connection: &mut Connection, body: &Value| {
        let family = "vllm:request_decode_time_seconds_sum";
        let before = metric(connection, family).await?;
        post(connection, "/v1/completions", body).await?;
        anyhow::Ok(metric(connection, family).await? - before)
    };
    let body = json!({ "prompt": "x", "max_tokens": 50 });
    let usual = decoding(&mut connection, &body).await?;
    let reply = set_faults(&mut connection, json!({ "slow": 3.0 })).await?;
    assert_eq!(reply.status, StatusCode::OK);
    let slow = decoding(&mut connection, &body).await?;
    assert!(
        (slow / usual - 3.0).abs() < 1e-6,
        "{slow} is not three times {usual}"
    );
    Ok(())
}

#[tokio::test]
async fn a_hanging_engine_takes_requests_and_goes_on_when_it_can() -> Result<()> {
    let (server, mut connection) = server(|_| {}).await?;
    set_faults(&mut connection, json!({ "hang": true })).await?;
    let mut other = connect(&server).await?;
    let answering = tokio::spawn(async move {
        post(&mut other, "/v1/completions", &json!({ "prompt": "x" })).await
    });
    until(&server, "the request to wait", |snapshot| {
        snapshot.waiting == 1
    })
    .await?;
    assert_eq!(
        metric(&mut connection, "vllm:num_requests_waiting").await?,
        1.0
    );
    let cleared: Value = connection
        .send(request(Method::DELETE, "/simulator/faults", &Value::Null)?)
        .await?
        .json()?;
    assert_eq!(cleared["hang"], false);
    assert_eq!(answering.await??.status, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_share_of_requests_fails_or_breaks_off() -> Result<()> {
    let (server, mut connection) = server(|_| {}).await?;
    set_faults(&mut connection, json!({ "errors": 0.5 })).await?;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let reply = post(
            &mut connection,
            "/v1/completions",
            &json!({ "prompt": "x" }),
        )
        .await?;
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses, [200, 500, 200, 500]);

    set_faults(&mut connection, json!({ "resets": 1.0 })).await?;
    for stream in [true, false] {
        let mut connection = connect(&server).await?;
        let body = json!({ "prompt": "x", "stream": stream });
        let error = post(&mut connection, "/v1/completions", &body)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("broke off"), "{error:#}");
    }
    until(&server, "both to be forgotten", |snapshot| {
        snapshot.running == 0
    })
    .await
}

#[tokio::test]
async fn metrics_fail_as_they_are_told_to() -> Result<()> {
    let (server, mut connection) = server(|_| {}).await?;
    let waiting = "vllm:num_requests_waiting";
    set_faults(
        &mut connection,
        json!({ "metrics": { "missing": [waiting] } }),
    )
    .await?;
    assert!(metric(&mut connection, waiting).await.is_err());
    assert_eq!(
        metric(&mut connection, "vllm:num_requests_running").await?,
        0.0
    );

    set_faults(&mut connection, json!({ "metrics": { "status": 503 } })).await?;
    let reply = get(&mut connection, "/metrics").await?;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);

    set_faults(&mut connection, json!({ "metrics": "garbage" })).await?;
    let reply = get(&mut connection, "/metrics").await?;
    assert!(std::str::from_utf8(&reply.body).is_err());

    let reply = set_faults(&mut connection, json!({ "errors": 2 })).await?;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert!(
        reply
            .text()
            .contains("errors: 2 is not a share from 0 to 1")
    );
    let told: Value = get(&mut connection, "/simulator/faults").await?.json()?;
    assert_eq!(
        told["metrics"], "garbage",
        "what was refused has changed nothing"
    );
    assert_eq!(server.faults().errors, 0.0);
    Ok(())
}

#[tokio::test]
async fn a_restart_loses_everything() -> Result<()> {
    let (server, mut connection) = server(|_| {}).await?;
    let body = json!({ "prompt": "x".repeat(400) });
    post(&mut connection, "/v1/completions", &body).await?;
    let started = metric(&mut connection, "process_start_time_seconds").await?;
    assert_eq!(
        metric(&mut connection, "vllm:prompt_tokens_total").await?,
        100.0
    );

    server.set_faults(Faults {
        hang: true,
        ..Faults::default()
    })?;
    let mut broken = connect(&server).await?;
    let answering = tokio::spawn({
        let body = body.clone();
        async move { post(&mut broken, "/v1/completions", &body).await }
    });
    until(&server, "the request to wait", |snapshot| {
        snapshot.waiting == 1
    })
    .await?;
    let reply = post(&mut connection, "/simulator/restart", &Value::Null).await?;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert!(answering.await?.is_err());
    server.set_faults(Faults::default())?;

    poll::until("the connection to be closed", PATIENCE, async || {
        Ok(get(&mut connection, "/metrics")
            .await
            .is_err()
            .then_some(()))
    })
    .await?;
    let mut connection = connect(&server).await?;
    assert_eq!(
        metric(&mut connection, "vllm:prompt_tokens_total").await?,
        0.0
    );
    assert!(metric(&mut connection, "process_start_time_seconds").await? > started);
    let answer: Value = post(&mut connection, "/v1/completions", &body)
        .await?
        .json()?;
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    Ok(())
}
