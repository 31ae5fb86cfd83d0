//! Prefill and decode on servers of their own: the decoder is told who prefills, where that pays
//! off.

use std::{net::SocketAddr, slice};

use anyhow::{Context, Result};
use hyper::{HeaderMap, Request, header::HeaderValue};
use serde_json::{Value, json};
use testbed::{
    bed::loads_known,
    client::{self, Body, Connection, Protocol},
    envoy::{Configuration, Envoy, HandOver},
    model_server::ModelServer,
    poll,
};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, connections_to_every_worker,
    loads_known_to, post, queue, scraping_every, served_by,
};

const PREFILLER: &str = "x-prefiller-host-port";
const WORKER_INSTANCE: &str = "x-worker-instance-id";
const PREFILL_INSTANCE: &str = "x-prefill-instance-id";

/// The label with an instance's id.
const INSTANCE: &str = "nvidia.com/dynamo-instance";

/// Two that prefill, two that decode, one of each with a queue.
async fn fleet() -> Result<Vec<ModelServer>> {
    let mut servers = Vec::new();
    for waiting in [0, 600, 0, 600] {
        let server = ModelServer::start().await?;
        server.set_load(queue(waiting));
        servers.push(server);
    }
    Ok(servers)
}

fn configuration(hand_over: HandOver, servers: &[ModelServer]) -> Result<Configuration> {
    let roles = ["prefill", "prefill", "decode", "decode"];
    let endpoint = |(number, (role, server)): (usize, (&str, SocketAddr))| {
        let labels = json!({ "llm-d.ai/role": role, INSTANCE: format!("instance-{number}") });
        json!({ "address": server, "labels": labels })
    };
    let pool: Vec<Value> = roles
        .into_iter()
        .zip(addresses(servers))
        .enumerate()
        .map(endpoint)
        .collect();
    let scorers =
        json!([{ "type": "queue", "weight": 2 }, { "type": "prefix-cache", "weight": 3 }]);
    let patch = json!({ "scheduling": {
        "profiles": [
            { "name": "decode", "filters": [{ "type": "role", "parameters": { "role": "decode" } }],
              "scorers": scorers },
            { "name": "prefill", "filters": [{ "type": "role", "parameters": { "role": "prefill" } }],
              "scorers": scorers },
        ],
        "disaggregation": {
            "prefillProfile": "prefill", "minUncachedTokens": 300, "instanceLabel": INSTANCE,
        },
    } });
    scraping_every(INTERVAL, hand_over)?
        .merge_plugin_configuration(&patch)?
        .without_upstream_filters()?
        .with_pool(&json!(pool))
}

/// A prompt of about so many tokens, which begins with `word`.
fn prompt(word: &str, tokens: usize) -> Result<Request<Body>> {
    let content = format!("{word} ").repeat(4 * tokens / (word.len() + 1));
    let body = json!({ "model": "llama", "messages": [{ "role": "user", "content": content }] });
    post(CHAT, client::whole(body.to_string()))
}

/// The headers with which the decoder saw a request.
async fn seen(
    connection: &mut Connection,
    decoder: &ModelServer,
    request: Request<Body>,
) -> Result<HeaderMap> {
    assert_eq!(served_by(connection, request).await?, decoder.address());
    let received = decoder.requests().pop().context("nothing arrived")?;
    Ok(received.headers)
}

#[tokio::test]
async fn the_decoder_of_a_long_prompt_is_told_who_prefills() -> Result<()> {
    for hand_over in HandOver::BY_HEADER {
        let servers = fleet().await?;
        let envoy = Envoy::start(configuration(hand_over, &servers)?).await?;
        loads_known(&servers).await?;
        let (prefiller, decoder) = (&servers[0], &servers[2]);
        let expected = prefiller.address().to_string();
        let mut connections = connections_to_every_worker(&envoy, Protocol::Http1).await?;
        for (number, connection) in connections.iter_mut().enumerate() {
            let long = || prompt(&format!("long{number}"), 1000);
            let headers = seen(connection, decoder, long()?).await?;
            assert_eq!(
                headers.get(PREFILLER),
                Some(&HeaderValue::from_str(&expected)?)
            );
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(text(WORKER_INSTANCE), Some("instance-2"));
            assert_eq!(text(PREFILL_INSTANCE), Some("instance-0"));

            // It has read it by now, short ones are not worth the way, and nobody but the filter
            // may say who prefills.
            let forged = |request: Result<Request<Body>>| -> Result<Request<Body>> {
                let mut request = request?;
                let evil = HeaderValue::from_static("10.0.0.66:6666");
                for name in [PREFILLER, WORKER_INSTANCE, PREFILL_INSTANCE] {
                    request.headers_mut().insert(name, evil.clone());
                }
                Ok(request)
            };
            let short = || prompt(&format!("short{number}"), 100);
            for request in [long(), short(), forged(long()), forged(short())] {
                let headers = seen(connection, decoder, request?).await?;
                assert_eq!(headers.get(PREFILLER), None);
                assert_eq!(headers.get(PREFILL_INSTANCE), None);
                assert_ne!(
                    headers.get(WORKER_INSTANCE),
                    Some(&HeaderValue::from_static("10.0.0.66:6666"))
                );
            }
            let headers = seen(
                connection,
                decoder,
                forged(prompt(&format!("other{number}"), 1000))?,
            )
            .await?;
            assert_eq!(headers.get_all(PREFILLER).iter().count(), 1);
            assert_eq!(
                headers.get(PREFILLER),
                Some(&HeaderValue::from_str(&expected)?)
            );
        }
        // None of them was asked anything itself.
        for server in &servers[..2] {
            assert!(server.requests().iter().all(|it| it.uri != CHAT));
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_prefiller_has_read_it_is_asked_for_again() -> Result<()> {
    let servers = fleet().await?;
    let envoy = Envoy::start(configuration(HandOver::OriginalDstHeader, &servers)?).await?;
    loads_known(&servers).await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    // The decoder has read the beginning too, and would have to read the end.
    let ask = |end: &str| {
        let content = "beginning ".repeat(400) + &format!("{end} ").repeat(360);
        let body =
            json!({ "model": "llama", "messages": [{ "role": "user", "content": content }] });
        post(CHAT, client::whole(body.to_string()))
    };
    // The second time another has the shorter queue, which counts for less than the beginning.
    for (queues, end) in [([0, 600], "one"), ([20, 0], "two")] {
        for (server, waiting) in servers.iter().zip(queues) {
            server.set_load(queue(waiting));
        }
        loads_known_to(slice::from_mut(&mut connection), &servers).await?;
        let headers = seen(&mut connection, &servers[2], ask(end)?).await?;
        let expected = HeaderValue::from_str(&servers[0].address().to_string())?;
        assert_eq!(headers.get(PREFILLER), Some(&expected), "{end}");
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn why_a_prefiller_was_chosen_is_told() -> Result<()> {
    const SECRET: &str = "correct-horse-battery";

    let servers = fleet().await?;
    let patch = json!({ "explanation": { "secret": SECRET } });
    let configuration = configuration(HandOver::OriginalDstHeader, &servers)?;
    let envoy = Envoy::start(configuration.merge_plugin_configuration(&patch)?).await?;
    loads_known(&servers).await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let asking = |tokens, id: &str| -> Result<Request<Body>> {
        // Never the same, of which somebody would hold the beginning.
        let mut request = prompt(id, tokens)?;
        let headers = request.headers_mut();
        headers.insert(
            "x-endpoint-picker-explain",
            HeaderValue::from_static(SECRET),
        );
        headers.insert("x-request-id", HeaderValue::from_str(id)?);
        Ok(request)
    };
    let at = addresses(&servers);
    let choice = |profile: &str, best: usize, next: usize| {
        let candidate = |server: usize, total: f64, queue: f64| {
            json!({
                "endpoint": at[server],
                "total": total,
                "inFlight": { "requests": 0, "tokens": 0 },
                "scores": { "queue": queue, "prefix-cache": 0.0 },
            })
        };
        json!({
            "profile": profile,
            "endpoint": at[best],
            "leftOut": { "role": 2 },
            "weights": { "queue": 2.0, "prefix-cache": 3.0 },
            "candidates": [candidate(best, 2.0, 1.0), candidate(next, 0.0, 0.0)],
        })
    };
    let mut asked = 0;
    // Short prompts are not worth the way. The second long one finds nothing left of the first.
    for (tokens, is_prefilled) in [(100, false), (1000, true), (1000, true)] {
        let mut expected = choice("decode", 2, 3);
        expected["ranking"] = json!([at[2]]);
        if is_prefilled {
            expected["prefill"] = choice("prefill", 0, 1);
        }
        let (mut id, mut last) = (String::new(), Value::Null);
        // The scores are exact where nothing is in flight, and every worker knows that.
        let exact = poll::until("the scores of an idle pool", PATIENCE, async || {
            loads_known(&servers).await?;
            asked += 1;
            id = format!("{tokens}-{asked}");
            let reply = connection.send(asking(tokens, &id)?).await?;
            let told = reply.headers.get("x-endpoint-picker-explanation");
            last = serde_json::from_str(told.context("nothing is told")?.to_str()?)?;
            Ok((last == expected).then_some(()))
        });
        exact
            .await
            .with_context(|| format!("{last}, not {expected}"))?;
        // The log has the same.
        envoy.decision_on(&id).await?;
        let lines = envoy.log_lines_containing(&format!(r#""requestId":"{id}""#));
        let line = lines.first().context("no decision")?;
        let logged = line.split_once("decision ").context("no decision")?.1;
        let logged: Value = serde_json::from_str(logged.trim())?;
        for (field, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(&logged[field], value, "{tokens}: {field}");
        }
        assert_eq!(logged.get("prefill"), expected.get("prefill"), "{tokens}");
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn nobody_but_the_filter_sets_a_header_of_another_name() -> Result<()> {
    const ANOTHER: &str = "x-reads-the-prompt";

    let servers = fleet().await?;
    let patch = json!({ "scheduling": { "disaggregation": { "prefillerHeader": ANOTHER } } });
    let configuration = configuration(HandOver::OriginalDstHeader, &servers)?;
    let envoy = Envoy::start(configuration.merge_plugin_configuration(&patch)?).await?;
    loads_known(&servers).await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let prefiller = HeaderValue::from_str(&servers[0].address().to_string())?;
    for (tokens, expected) in [(100, None), (1000, Some(&prefiller))] {
        let mut request = prompt("long", tokens)?;
        let evil = HeaderValue::from_static("10.0.0.66:6666");
        request.headers_mut().insert(ANOTHER, evil);
        let headers = seen(&mut connection, &servers[2], request).await?;
        let told: Vec<_> = headers.get_all(ANOTHER).iter().collect();
        assert_eq!(told, Vec::from_iter(expected), "{tokens}");
        assert_eq!(headers.get(PREFILLER), None);
    }
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn without_anyone_to_prefill_the_decoder_does_it_all() -> Result<()> {
    let servers = fleet().await?;
    let hand_over = HandOver::OriginalDstHeader;
    let configuration = configuration(hand_over, &servers)?;
    let decoders = configuration.plugin_settings()?["endpoints"]["static"].clone();
    let decoders: Vec<Value> = decoders
        .as_array()
        .into_iter()
        .flatten()
        .skip(2)
        .cloned()
        .collect();
    let envoy = Envoy::start(configuration.with_pool(&json!(decoders))?).await?;
    loads_known(&servers[2..]).await?;
    let mut connection = Connection::open(envoy.address(), Protocol::Http1).await?;
    let headers = seen(&mut connection, &servers[2], prompt("long", 1000)?).await?;
    assert_eq!(headers.get(PREFILLER), None);
    assert_filter_never_failed(&envoy).await
}

#[tokio::test]
async fn where_no_header_can_be_set_nobody_can_be_told() -> Result<()> {
    let servers = fleet().await?;
    let configuration = configuration(HandOver::OriginalDstFilterState, &servers)?;
    let output = Envoy::validate(&configuration).await?;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("scheduling.disaggregation"), "{said}");
    Ok(())
}
