//! Every hand-over carries every kind of body, byte for byte, to the model server that was picked.

use anyhow::{Context, Result};
use hyper::{
    HeaderMap, Request,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRAILER},
};
use testbed::{
    bed::loads_known,
    client::{self, Body, Protocol},
    envoy::HandOver,
    model_server::Received,
};

use crate::support::{CHAT, assert_filter_never_failed, bed, chat_body_of, post, queue, served_by};

/// Less than a read of Envoy's, many reads, and almost the megabyte that Envoy buffers if nobody
/// raises the limit.
const SIZES: [usize; 3] = [1_000, 300_000, 900_000];

/// The size of the pieces in which a body of unknown length is sent.
const PIECE: usize = 10_007;

/// The trailer of requests that have one.
const CHECKSUM: HeaderName = HeaderName::from_static("x-checksum");

#[tokio::test]
async fn bodies_of_known_length_arrive() -> Result<()> {
    every_request_arrives(
        |body| post(CHAT, client::whole(body)),
        |_, received| assert!(received.headers.contains_key(CONTENT_LENGTH)),
    )
    .await
}

#[tokio::test]
async fn chunked_bodies_arrive() -> Result<()> {
    every_request_arrives(
        |body| post(CHAT, client::chunked(body, PIECE)),
        |hand_over, received| {
            let length_is_told = received.headers.contains_key(CONTENT_LENGTH);
            assert_eq!(length_is_told, tells_the_length(hand_over));
        },
    )
    .await
}

#[tokio::test]
async fn bodies_followed_by_trailers_arrive() -> Result<()> {
    let value = HeaderValue::from_static("42");
    every_request_arrives(
        |body| {
            let trailers = HeaderMap::from_iter([(CHECKSUM, value.clone())]);
            let mut request = post(CHAT, client::with_trailers(body, PIECE, trailers))?;
            request
                .headers_mut()
                .insert(TRAILER, HeaderValue::from_name(CHECKSUM));
            Ok(request)
        },
        |hand_over, received| {
            let checksum = received
                .trailers
                .as_ref()
                .and_then(|trailers| trailers.get(CHECKSUM));
            // HTTP/1.1 has no trailers after a body whose length is told.
            assert_eq!(checksum, (!tells_the_length(hand_over)).then_some(&value));
        },
    )
    .await
}

/// Whether Envoy tells the model server the length of a body of which the client has not: its
/// buffer filter does, by which this hand-over holds the router back.
fn tells_the_length(hand_over: HandOver) -> bool {
    hand_over == HandOver::OriginalDstFilterState
}

/// Sends a body of each size, in the form that `request` gives it, with each hand-over over each
/// protocol, to the better one of two servers, and checks what arrives.
async fn every_request_arrives(
    request: impl Fn(String) -> Result<Request<Body>>,
    check: impl Fn(HandOver, &Received),
) -> Result<()> {
    for hand_over in HandOver::ALL {
        let bed = bed(hand_over, &[queue(300), queue(0)]).await?;
        let best = &bed.servers[1];
        for protocol in [Protocol::Http1, Protocol::Http2] {
            // The other worker may still take a large prompt for unread that has just been answered.
            loads_known(&bed.servers).await?;
            // One connection for all sizes: what is left behind by one request would break the
            // next.
            let mut connection = bed.connect(protocol).await?;
            for size in SIZES {
                let case = format!("{size} bytes over {protocol:?}, {hand_over}");
                let body = chat_body_of(size);
                let server = served_by(&mut connection, request(body.clone())?)
                    .await
                    .context(case.clone())?;
                assert_eq!(server, best.address(), "{case}");
                let received = best.requests().pop().context("nothing has arrived")?;
                assert!(
                    received.body == body,
                    "{case}: {} bytes arrived",
                    received.body.len()
                );
                check(hand_over, &received);
            }
        }
        assert_filter_never_failed(&bed.envoy).await?;
    }
    Ok(())
}
