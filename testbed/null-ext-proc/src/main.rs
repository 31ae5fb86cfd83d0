//! An external processing server (`ext_proc`) that does everything an endpoint picker has to do with a
//! request except pick.
//!
//! It takes part in the protocol the way the EPP of the Gateway API Inference Extension does: with
//! `request_body_mode: FULL_DUPLEX_STREAMED` it receives the headers and the body in pieces, keeps
//! them until the body is complete, since the body names the model, and then answers with the
//! destination and sends the body back in pieces of 62,000 bytes. It reads nothing of the body and
//! chooses by turns, so it is the floor of what a picker behind this protocol can cost. Responses
//! are not processed, which the EPP does: that would only add to the cost.

mod processor;

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use processor::Processor;

/// The limit of one message: more than a body's piece, which is bounded by Envoy's buffers of 1 MiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// HTTP/2 flow control windows of a stream and of the connection, which all streams of an Envoy
/// worker share: large enough that no body waits for an update of them.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 20;

/// An ext_proc server that sends each request to the next endpoint of a list.
#[derive(Parser)]
struct Arguments {
    /// The endpoints, `ip:port`.
    #[arg(required = true)]
    endpoints: Vec<SocketAddr>,
}

// One thread: an Envoy worker has one connection to this server, and cannot keep it busy.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    serve(&Arguments::parse().endpoints).await
}

async fn serve(endpoints: &[SocketAddr]) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("cannot listen")?;
    // Whoever started this learns the free port from it.
    println!("listening on {}", listener.local_addr()?);
    let service = ExternalProcessorServer::new(Processor::new(endpoints)?)
        .max_decoding_message_size(MAX_MESSAGE_BYTES);
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .context("cannot serve")
}
