//! Why an endpoint was chosen is told to those who know the secret, and to nobody else.

use anyhow::{Context, Result};
use hyper::{
    Request,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use testbed::{
    bed::loads_known,
    client::{Body, Protocol},
    envoy::HandOver,
    model_server::Load,
    poll,
};

use crate::support::{
    PATIENCE, addresses, assert_filter_never_failed, bed_with, chat, connections_to_every_worker,
    queue, server_of,
};

const ASK: HeaderName = HeaderName::from_static("x-endpoint-picker-explain");
const TOLD: HeaderName = HeaderName::from_static("x-endpoint-picker-explanation");
const SECRET: &str = "correct-horse-battery";

fn asking(secret: &str) -> Result<Request<Body>> {
    let mut request = chat()?;
    request
        .headers_mut()
        .insert(ASK, HeaderValue::from_str(secret)?);
    Ok(request)
}

#[tokio::test]
async fn who_knows_the_secret_is_told_the_scores() -> Result<()> {
    for hand_over in HandOver::ALL {
        let patch = json!({
            "explanation": { "secret": SECRET },
            "scheduling": { "scorers": [
                { "type": "queue", "weight": 2 }, { "type": "kv-cache-utilization", "weight": 1 },
            ] },
        });
        let bed = bed_with(hand_over, &patch, &[queue(400), queue(0), queue(200)]).await?;
        let at = addresses(&bed.servers);
        let mut connections = connections_to_every_worker(&bed.envoy, Protocol::Http1).await?;
        for connection in &mut connections {
            let mut last = Value::Null;
            // The scores are exact where nothing is in flight, and every worker knows that.
            let told = poll::until("the totals of an idle pool", PATIENCE, async || {
                loads_known(&bed.servers).await?;
                let reply = connection.send(asking(SECRET)?).await?;
                assert_eq!(server_of(&reply)?, at[1]);
                let told = reply.headers.get(TOLD).context("nothing is told")?;
                let told: Value = serde_json::from_str(told.to_str()?)?;
                assert_eq!(told["endpoint"], json!(at[1]), "{told}");
                let totals = told["candidates"].as_array().context("no candidates")?;
                let totals: Vec<f64> = totals
                    .iter()
                    .filter_map(|it| it["total"].as_f64())
                    .collect();
                last = told.clone();
                Ok((totals == [1.0, 3.0, 2.0]).then_some(told))
            });
            let told = told.await.with_context(|| last.to_string())?;
            assert_eq!(
                told["candidates"][2]["scores"],
                json!({ "queue": 0.5, "kv-cache-utilization": 1.0 })
            );
            // The secret is not for model servers.
            let received = bed.servers[1].requests().pop().context("nothing arrived")?;
            assert!(!received.headers.contains_key(ASK), "{hand_over}");
            for request in [chat()?, asking("correct-horse-batterz")?, asking("")?] {
                let reply = connection.send(request).await?;
                assert_eq!(server_of(&reply)?, at[1]);
                assert!(!reply.headers.contains_key(TOLD));
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_a_secret_nobody_is_told_and_with_many_endpoints_not_everything() -> Result<()> {
    let open = bed_with(HandOver::OriginalDstHeader, &json!({}), &[queue(0)]).await?;
    let reply = open
        .connect(Protocol::Http1)
        .await?
        .send(asking(SECRET)?)
        .await?;
    assert!(!reply.headers.contains_key(TOLD));

    let patch = json!({ "explanation": { "secret": SECRET, "maxBytes": 1000 } });
    let many = bed_with(HandOver::OriginalDstHeader, &patch, &[Load::default(); 30]).await?;
    let reply = many
        .connect(Protocol::Http1)
        .await?
        .send(asking(SECRET)?)
        .await?;
    let told = reply.headers.get(TOLD).context("nothing is told")?;
    assert!(told.len() <= 1000, "{} bytes", told.len());
    let told: Value = serde_json::from_str(told.to_str()?)?;
    let shown = told["candidates"].as_array().map_or(0, Vec::len);
    assert!((1..30).contains(&shown), "{told}");
    assert_eq!(told["moreCandidates"], 30 - shown, "{told}");
    assert_filter_never_failed(&many.envoy).await
}
