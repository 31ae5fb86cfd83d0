//! Whatever a request is, its worker goes on: the next one on the same connection is served, and no
//! VM was reloaded.

use anyhow::{Context, Result};
use bytes::Bytes;
use hyper::{
    Request, StatusCode,
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Deserialize;
use serde_json::json;
use testbed::{
    bed::Bed,
    client::{self, Body, Protocol, Reply},
    envoy::{Envoy, HandOver},
    model_server::ModelServer,
};

use crate::support::{
    CHAT, INTERVAL, addresses, assert_filter_never_failed, bed, chat, connections_to_every_worker,
    get, post, queue, scraping_every, served_by,
};

/// The body of an error, as OpenAI's clients expect it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    message: String,
    r#type: String,
    code: String,
}

/// Asserts that Envoy, and no model server, has refused a request.
fn assert_refused(reply: &Reply, status: StatusCode, code: &str, case: &str) {
    assert_eq!(reply.model_server(), None, "{case}");
    assert_eq!(reply.status, status, "{case}: {}", reply.text());
    assert_eq!(
        reply.headers.get(CONTENT_TYPE),
        Some(&HeaderValue::from_static("application/json"))
    );
    let body = reply.json::<ErrorBody>();
    let is_complete = |error: &ErrorDetail| {
        error.code == code && !error.message.is_empty() && !error.r#type.is_empty()
    };
    assert!(
        body.is_ok_and(|body| is_complete(&body.error)),
        "{case}: {}",
        reply.text()
    );
}

/// Asserts that a model server of the pool has answered.
fn assert_answered(reply: &Reply, pool: &[ModelServer], status: StatusCode, case: &str) {
    assert_eq!(reply.status, status, "{case}: {}", reply.text());
    assert!(
        reply
            .model_server()
            .is_some_and(|server| addresses(pool).contains(&server)),
        "{case}: {}",
        reply.text()
    );
}

#[tokio::test]
async fn malformed_json_is_refused() -> Result<()> {
    let deeply_nested = "[".repeat(100_000);
    let bodies: [&[u8]; 8] = [
        b"{",
        b"{\"model\": \"llama\", \"messages\": [",
        b"hello",
        b"\0",
        b"\xff\xfe{}",
        b"{\"model\": \"\xff\"}",
        b"{\"model\": \"\\ud800\"}",
        deeply_nested.as_bytes(),
    ];
    every_worker_survives(&bodies.map(|body| {
        let body = body.to_vec();
        Hostile {
            name: format!("{:?}", String::from_utf8_lossy(&body[..body.len().min(40)])),
            request: Box::new(move || post(CHAT, client::whole(body.clone()))),
            check: Box::new(|reply, _, case| {
                assert_refused(reply, StatusCode::BAD_REQUEST, "invalid_json", case);
            }),
        }
    }))
    .await
}

#[tokio::test]
async fn empty_bodies_reach_a_model_server() -> Result<()> {
    // What is wrong with them is the model server's to say.
    let check = |reply: &Reply, pool: &[ModelServer], case: &str| {
        assert_answered(reply, pool, StatusCode::BAD_REQUEST, case);
    };
    every_worker_survives(&[
        Hostile {
            name: "content-length: 0".to_owned(),
            request: Box::new(|| post(CHAT, client::empty())),
            check: Box::new(check),
        },
        Hostile {
            name: "chunked, without a chunk".to_owned(),
            request: Box::new(|| post(CHAT, client::chunked("", 1))),
            check: Box::new(check),
        },
    ])
    .await
}

#[tokio::test]
async fn many_headers_and_headers_that_are_no_text_pass() -> Result<()> {
    let many: Vec<_> = (0..200)
        .map(|number| {
            Ok((
                HeaderName::try_from(format!("x-header-{number}"))?,
                HeaderValue::from_static("value"),
            ))
        })
        .collect::<Result<_>>()?;
    let bytes = HeaderValue::from_bytes(&(0x80..=0xff).collect::<Vec<u8>>())?;
    let named = |name| vec![(HeaderName::from_static(name), bytes.clone())];
    let headers = [
        ("200 headers", many),
        ("x-anything", named("x-anything")),
        ("x-request-id", named("x-request-id")),
        (
            "x-envoy-original-dst-host",
            named("x-envoy-original-dst-host"),
        ),
        ("user-agent", named("user-agent")),
        ("content-type", named("content-type")),
    ];
    let hostile = headers.into_iter().flat_map(|(name, headers)| {
        [CHAT, "/v1/models"].map(|path| {
            let headers = headers.clone();
            Hostile {
                name: format!("{name} on {path}"),
                request: Box::new(move || {
                    let mut request = if path == CHAT { chat()? } else { get(path)? };
                    for (name, value) in &headers {
                        request.headers_mut().insert(name, value.clone());
                    }
                    Ok(request)
                }),
                check: Box::new(|reply, pool, case| {
                    assert_answered(reply, pool, StatusCode::OK, case)
                }),
            }
        })
    });
    every_worker_survives(&hostile.collect::<Vec<_>>()).await
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused_where_they_are_held_whole() -> Result<()> {
    // Twice the limit that is shipped. Envoy lets pass what it has read at once, which can be
    // megabytes.
    let body = Bytes::from(vec![b' '; 32 << 20]);
    let hostile = Hostile {
        name: "a body over the limit".to_owned(),
        request: Box::new(move || post(CHAT, client::chunked(body.clone(), 1 << 16))),
        check: Box::new(|reply, _, case| {
            assert_eq!(reply.model_server(), None, "{case}");
            assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE, "{case}");
        }),
    };
    every_worker_survives_with(HandOver::OriginalDstFilterState, &[hostile]).await
}

/// Asserts what came of a request, given the pool and a name for the case.
type Check = Box<dyn Fn(&Reply, &[ModelServer], &str)>;

/// A request and what must come of it.
struct Hostile {
    name: String,
    request: Box<dyn Fn() -> Result<Request<Body>>>,
    check: Check,
}

/// Sends each request to every worker, over each protocol and with each hand-over. After each, the
/// next inference request on the same connections must be served by the best model server.
async fn every_worker_survives(hostile: &[Hostile]) -> Result<()> {
    for hand_over in HandOver::ALL {
        every_worker_survives_with(hand_over, hostile).await?;
    }
    Ok(())
}

async fn every_worker_survives_with(hand_over: HandOver, hostile: &[Hostile]) -> Result<()> {
    let bed = bed(hand_over, &[queue(200), queue(0)]).await?;
    every_worker_of(&bed, hostile, hand_over).await?;
    assert_filter_never_failed(&bed.envoy).await
}

async fn every_worker_of(bed: &Bed, hostile: &[Hostile], hand_over: HandOver) -> Result<()> {
    let best = bed.servers[1].address();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connections = connections_to_every_worker(&bed.envoy, protocol).await?;
        for Hostile {
            name,
            request,
            check,
        } in hostile
        {
            let case = || format!("{name}, {protocol:?}, {hand_over}");
            let mut closed = false;
            for connection in &mut connections {
                let reply = connection.send(request()?).await.with_context(case)?;
                check(&reply, &bed.servers, &case());
                closed |= reply
                    .headers
                    .get(CONNECTION)
                    .is_some_and(|value| value == "close");
            }
            // Over HTTP/1.1 Envoy closes the connection after some of its own answers, any 400
            // among them.
            assert!(!closed || protocol == Protocol::Http1, "{}", case());
            if closed {
                connections = connections_to_every_worker(&bed.envoy, protocol)
                    .await
                    .with_context(case)?;
            }
            for connection in &mut connections {
                assert_eq!(
                    served_by(connection, chat()?).await.with_context(case)?,
                    best
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn without_endpoints_requests_are_refused_until_there_are_some() -> Result<()> {
    for hand_over in HandOver::ALL {
        let server = ModelServer::start().await?;
        let mut configuration = scraping_every(INTERVAL, hand_over)?
            .with_listeners_discovered()
            .merge_plugin_configuration(&json!({ "endpoints": { "static": [] } }))?;
        // The cluster may know it all the while: it is the filter that chooses.
        configuration.set_hosts([&*server.address().to_string()])?;
        let mut envoy = Envoy::start(configuration).await?;
        for protocol in [Protocol::Http1, Protocol::Http2] {
            // As many as find both workers with near certainty; none is served, so none can be told
            // apart.
            for _ in 0..16 {
                let mut connection = client::Connection::open(envoy.address(), protocol).await?;
                for request in [
                    chat()?,
                    get("/v1/models")?,
                    post(CHAT, client::empty())?,
                    chat()?,
                ] {
                    let reply = connection.send(request).await?;
                    assert_refused(
                        &reply,
                        StatusCode::SERVICE_UNAVAILABLE,
                        "no_endpoint",
                        "no endpoints",
                    );
                }
            }
        }
        let endpoints = json!({ "endpoints": { "static": [server.address()] } });
        envoy.update_plugin_configuration(&endpoints).await?;
        for mut connection in connections_to_every_worker(&envoy, Protocol::Http1).await? {
            assert_eq!(served_by(&mut connection, chat()?).await?, server.address());
        }
        assert_filter_never_failed(&envoy).await?;
    }
    Ok(())
}
