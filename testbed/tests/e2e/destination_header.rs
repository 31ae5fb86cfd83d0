//! A client that names a host in the filter's own header chooses nothing by it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hyper::{
    HeaderMap, Request,
    header::{HeaderName, HeaderValue, TRAILER},
};
use testbed::{
    bed::Bed,
    client::{self, Body, Protocol},
    envoy::{Configuration, HandOver},
    model_server::ModelServer,
    poll,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    CHAT, INTERVAL, PATIENCE, addresses, assert_filter_never_failed, chat_body, get, post, queue,
    scraping_every, served_by, server_of,
};

/// The header by which `original-dst-header` hands the choice over.
const DESTINATION: HeaderName = HeaderName::from_static("x-envoy-original-dst-host");

/// What stands between a client's header and the model server.
#[derive(Clone, Copy, Debug)]
enum Guards {
    /// All that is shipped.
    Shipped,
    /// The filter alone; and nothing removes the header on its way out, so that the model server
    /// sees what was chosen by.
    FilterAlone,
}

#[tokio::test]
async fn the_header_chooses_nothing_as_shipped() -> Result<()> {
    for hand_over in HandOver::ALL {
        no_request_reaches_the_decoy(hand_over, Guards::Shipped).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_header_chooses_nothing_against_the_filter_alone() -> Result<()> {
    for hand_over in HandOver::ALL {
        no_request_reaches_the_decoy(hand_over, Guards::FilterAlone).await?;
    }
    Ok(())
}

async fn no_request_reaches_the_decoy(hand_over: HandOver, guards: Guards) -> Result<()> {
    let decoy = ModelServer::start().await?;
    let bed = Bed::start(
        guarded(hand_over, guards)?,
        &[queue(300), queue(0), queue(600)],
    )
    .await?;
    let best = bed.servers[1].address();
    let pool = addresses(&bed.servers);

    let forged = forged_headers(decoy.address(), bed.servers[2].address())?;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut connection = bed.connect(protocol).await?;
        for headers in &forged {
            for (request, is_inference) in requests()? {
                let (mut head, body) = request.into_parts();
                head.headers.extend(headers.clone());
                let case = format!("{head:?}, {protocol:?}, {hand_over}, {guards:?}");
                let reply = connection.send(Request::from_parts(head, body)).await?;
                let server = server_of(&reply).context(case.clone())?;
                assert!(
                    if is_inference {
                        server == best
                    } else {
                        pool.contains(&server)
                    },
                    "{server}: {case}"
                );
            }
        }
    }
    for request in requests_in_any_case(decoy.address()) {
        let reply = exchange(bed.envoy.address(), &request).await?;
        assert!(reply.starts_with("HTTP/1.1 200"), "{request}\n{reply}");
        assert!(
            reply.contains(&format!("x-model-server: {best}")),
            "{request}\n{reply}"
        );
    }
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let server = served_by(
            &mut bed.connect(protocol).await?,
            forged_trailer(decoy.address())?,
        )
        .await?;
        assert_eq!(server, best);
    }

    assert!(decoy.requests().is_empty(), "{:?}", decoy.requests());
    assert!(decoy.scrapes().is_empty());
    for server in &bed.servers {
        let own = HeaderValue::from_str(&server.address().to_string())?;
        for received in server.requests() {
            let seen: Vec<&HeaderValue> = received.headers.get_all(DESTINATION).iter().collect();
            match (guards, hand_over) {
                (Guards::FilterAlone, HandOver::OriginalDstHeader) => {
                    assert_eq!(seen, [&own], "{received:?}")
                }
                _ => assert!(seen.is_empty(), "{received:?}"),
            }
        }
    }
    assert_filter_never_failed(&bed.envoy).await
}

/// Every kind of request, and whether it is one of inference.
fn requests() -> Result<[(Request<Body>, bool); 5]> {
    Ok([
        (post(CHAT, client::whole(chat_body()))?, true),
        (post(CHAT, client::chunked(chat_body(), 20))?, true),
        (post(CHAT, client::empty())?, false),
        (post("/v1/embeddings", client::whole(chat_body()))?, true),
        (get("/v1/models")?, false),
    ])
}

/// The header in every form that may choose the decoy, or a model server that is not the best.
fn forged_headers(decoy: SocketAddr, worst: SocketAddr) -> Result<Vec<HeaderMap>> {
    let decoy = decoy.to_string();
    let forms: [&[&[u8]]; 6] = [
        &[decoy.as_bytes()],
        &[decoy.as_bytes(), decoy.as_bytes()],
        // The first value is what a filter reads, and nothing at all is a value.
        &[b"", decoy.as_bytes()],
        &[b"\xff", decoy.as_bytes()],
        &[&format!("{decoy}, {decoy}").into_bytes()],
        &[&worst.to_string().into_bytes()],
    ];
    let headers = |values: &&[&[u8]]| {
        values
            .iter()
            .map(|value| Ok((DESTINATION, HeaderValue::from_bytes(value)?)))
            .collect::<Result<_>>()
    };
    forms.iter().map(headers).collect()
}

/// HTTP/1.1 as it is on the wire, since a client library decides the case of names itself.
fn requests_in_any_case(decoy: SocketAddr) -> [String; 3] {
    let body = chat_body();
    [
        "x-envoy-original-dst-host",
        "X-ENVOY-ORIGINAL-DST-HOST",
        "X-Envoy-oRIGINAL-Dst-Host",
    ]
    .map(|name| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nHost: gateway\r\n{name}: {decoy}\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    })
}

/// Sends bytes, and returns all that is answered until Envoy closes the connection.
async fn exchange(address: SocketAddr, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    poll::within("the end of a reply", PATIENCE, async {
        Ok(stream.read_to_end(&mut reply).await?)
    })
    .await?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// The header as a trailer, which arrives when the choice is being made.
fn forged_trailer(decoy: SocketAddr) -> Result<Request<Body>> {
    let trailers =
        HeaderMap::from_iter([(DESTINATION, HeaderValue::from_str(&decoy.to_string())?)]);
    let mut request = post(CHAT, client::with_trailers(chat_body(), 20, trailers))?;
    request
        .headers_mut()
        .insert(TRAILER, HeaderValue::from_name(DESTINATION));
    Ok(request)
}

/// A shipped configuration with these guards.
fn guarded(hand_over: HandOver, guards: Guards) -> Result<Configuration> {
    let configuration = scraping_every(INTERVAL, hand_over)?;
    match guards {
        Guards::Shipped => Ok(configuration),
        Guards::FilterAlone => configuration
            .without_header_guard()?
            .without_upstream_filters(),
    }
}
