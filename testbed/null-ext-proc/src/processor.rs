//! The protocol: what comes in of a request, and the answer to all of it.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Result, ensure};
use envoy_types::pb::envoy::{
    config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
    service::ext_proc::v3::{
        BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse,
        ProcessingRequest, ProcessingResponse, StreamedBodyResponse, TrailersResponse,
        body_mutation::Mutation, external_processor_server::ExternalProcessor,
        processing_request::Request as Incoming, processing_response::Response as Answer,
    },
};
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// The largest piece in which a body is sent back. The EPP's: gRPC refuses messages of more than
/// 64 KiB where the other side has not raised its limit.
const PIECE_BYTES: usize = 62_000;

/// The header that an `ORIGINAL_DST` cluster with `use_http_header` reads.
const DESTINATION_HEADER: &str = "x-envoy-original-dst-host";

/// Answers every request with the next of its endpoints.
#[derive(Debug)]
pub(crate) struct Processor {
    endpoints: Arc<Endpoints>,
}

#[derive(Debug)]
struct Endpoints {
    addresses: Vec<String>,
    turn: AtomicUsize,
}

impl Endpoints {
    fn next(&self) -> String {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
        self.addresses.get(turn).cloned().unwrap_or_default()
    }
}

impl Processor {
    /// # Errors
    ///
    /// When there is no endpoint.
    pub(crate) fn new(endpoints: &[SocketAddr]) -> Result<Self> {
        ensure!(!endpoints.is_empty(), "no endpoint to send requests to");
        let addresses = endpoints.iter().map(ToString::to_string).collect();
        Ok(Self {
            endpoints: Arc::new(Endpoints {
                addresses,
                turn: AtomicUsize::new(0),
            }),
        })
    }
}

type Answers = mpsc::UnboundedSender<Result<ProcessingResponse, Status>>;

#[tonic::async_trait]
impl ExternalProcessor for Processor {
    type ProcessStream =
        Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send + 'static>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (answers, stream) = mpsc::unbounded_channel();
        let endpoints = Arc::clone(&self.endpoints);
        tokio::spawn(async move {
            if let Err(status) = converse(request.into_inner(), &endpoints, &answers).await {
                // Nobody is left to be told when Envoy has closed its side.
                let _ = answers.send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(
            stream,
        ))))
    }
}

/// One request, from its headers to its end.
async fn converse(
    mut incoming: Streaming<ProcessingRequest>,
    endpoints: &Endpoints,
    answers: &Answers,
) -> Result<(), Status> {
    let mut body = Vec::new();
    while let Some(message) = incoming.message().await? {
        match message.request {
            Some(Incoming::RequestHeaders(headers)) if headers.end_of_stream => {
                answer(answers, destination(endpoints.next()));
            }
            // As the EPP: the answer to the headers waits until the body is complete.
            Some(Incoming::RequestHeaders(_)) => {}
            Some(Incoming::RequestBody(piece)) => {
                if body.is_empty() {
                    body = piece.body;
                } else {
                    body.extend_from_slice(&piece.body);
                }
                if piece.end_of_stream {
                    answer(answers, destination(endpoints.next()));
                    send_back(&std::mem::take(&mut body), true, answers);
                }
            }
            Some(Incoming::RequestTrailers(_)) => {
                answer(answers, destination(endpoints.next()));
                send_back(&std::mem::take(&mut body), false, answers);
                answer(
                    answers,
                    Answer::RequestTrailers(TrailersResponse::default()),
                );
            }
            // Responses are not asked for in the processing mode.
            _ => {}
        }
    }
    Ok(())
}

fn answer(answers: &Answers, response: Answer) {
    // Nobody is left to be told when Envoy has given the request up.
    let _ = answers.send(Ok(ProcessingResponse {
        response: Some(response),
        ..ProcessingResponse::default()
    }));
}

/// The answer to the headers: where the request goes.
fn destination(endpoint: String) -> Answer {
    let header = HeaderValueOption {
        header: Some(HeaderValue {
            key: DESTINATION_HEADER.to_owned(),
            raw_value: endpoint.into_bytes(),
            ..HeaderValue::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    Answer::RequestHeaders(HeadersResponse {
        response: Some(CommonResponse {
            header_mutation: Some(HeaderMutation {
                set_headers: vec![header],
                ..HeaderMutation::default()
            }),
            clear_route_cache: true,
            ..CommonResponse::default()
        }),
    })
}

/// Sends a body back in pieces; `ends` tells that nothing follows it.
fn send_back(body: &[u8], ends: bool, answers: &Answers) {
    let pieces = body.len().div_ceil(PIECE_BYTES);
    for (number, piece) in (1..).zip(body.chunks(PIECE_BYTES)) {
        let mutation = Mutation::StreamedResponse(StreamedBodyResponse {
            body: piece.to_vec(),
            end_of_stream: ends && number == pieces,
            ..StreamedBodyResponse::default()
        });
        answer(
            answers,
            Answer::RequestBody(BodyResponse {
                response: Some(CommonResponse {
                    body_mutation: Some(BodyMutation {
                        mutation: Some(mutation),
                    }),
                    ..CommonResponse::default()
                }),
            }),
        );
    }
}
