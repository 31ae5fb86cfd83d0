//! One request, and what is seen of its answer.

use std::{borrow::Cow, fmt, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    header::{CONTENT_TYPE, HeaderName},
};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::conversation::ChatRequest;

/// The request header with the hash of the prompt's first bytes.
pub const PROMPT_HASH_HEADER: HeaderName = HeaderName::from_static("x-prompt-hash");

/// What an HTTP client with a pool of connections is here.
pub(super) type Http = legacy::Client<HttpConnector, Full<Bytes>>;

/// A client with connections of its own, kept alive and used again.
pub(super) fn http() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// Sends chat requests to one address.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    url: String,
}

/// What is seen of a whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When its first token came.
    pub first_token: Instant,
    /// When its last token came.
    pub last_token: Instant,
    /// Its tokens, as the server counts them.
    pub tokens: u64,
    /// Prompt tokens, as the server counts them.
    pub prompt_tokens: u64,
    /// Prompt tokens that the server took from its prefix cache.
    pub cached_tokens: u64,
    /// Its text.
    pub text: String,
}

/// Why there is no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Failure {
    /// There was no connection, or it ended before an answer began.
    Connection,
    /// The answer's status is no success.
    Status(u16),
    /// The answer broke off.
    Broken,
    /// The answer ended without a token, or is none of the OpenAI API.
    Malformed,
    /// The answer had not ended when the run did.
    Unfinished,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => formatter.write_str("connection"),
            Self::Status(code) => write!(formatter, "status {code}"),
            Self::Broken => formatter.write_str("broken"),
            Self::Malformed => formatter.write_str("malformed"),
            Self::Unfinished => formatter.write_str("unfinished"),
        }
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

impl Client {
    /// A client of what listens at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            http: http(),
            url: format!("http://{address}/v1/chat/completions"),
        }
    }

    /// As [`Client::new`], with a connection for each request, so that each may come to another of
    /// Envoy's workers.
    #[must_use]
    pub fn with_fresh_connections(address: SocketAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Self {
            http,
            ..Self::new(address)
        }
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    ///
    /// When there is no whole answer.
    pub async fn send(&self, request: ChatRequest) -> Result<Answer, Failure> {
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(PROMPT_HASH_HEADER, request.prompt_hash)
            .body(Full::new(request.body))
            .map_err(|_| Failure::Malformed)?;
        let sent = self.http.request(request).await;
        let response = sent.map_err(|_| Failure::Connection)?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status().as_u16()));
        }
        let mut body = response.into_body();
        let mut reading = Reading::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::Broken)?;
            if let Some(bytes) = frame.data_ref() {
                reading.take(bytes, Instant::now())?;
            }
        }
        reading.finish()
    }
}

/// A part of a streamed chat completion.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

/// An answer of which a part was read: server-sent events, each one line `data: ...`.
#[derive(Default)]
struct Reading {
    rest: BytesMut,
    tokens_seen: Option<(Instant, Instant)>,
    text: String,
    usage: Option<Usage>,
    done: bool,
}

impl Reading {
    fn take(&mut self, bytes: &[u8], now: Instant) -> Result<(), Failure> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            if let Some(data) = line.trim_ascii().strip_prefix(b"data:") {
                self.event(data.trim_ascii(), now)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, data: &[u8], now: Instant) -> Result<(), Failure> {
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|_| Failure::Malformed)?;
        for choice in &chunk.choices {
            let content = choice.delta.content.as_deref().unwrap_or_default();
            if !content.is_empty() {
                self.text.push_str(content);
                let first = self.tokens_seen.map_or(now, |(first, _)| first);
                self.tokens_seen = Some((first, now));
            }
        }
        self.usage = chunk.usage.or(self.usage.take());
        Ok(())
    }

    fn finish(self) -> Result<Answer, Failure> {
        if !self.done {
            return Err(Failure::Broken);
        }
        let (first_token, last_token) = self.tokens_seen.ok_or(Failure::Malformed)?;
        let usage = self.usage.ok_or(Failure::Malformed)?;
        Ok(Answer {
            first_token,
            last_token,
            tokens: usage.completion_tokens,
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or_default(),
            text: self.text,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ANSWER: &str = concat!(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n",
        ": a comment\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" \\\"you\\\"\"},\"finish_reason\":\"length\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn an_answer_is_read_however_it_is_cut() {
        let start = Instant::now();
        for size in [1, 7, 64, ANSWER.len()] {
            let mut reading = Reading::default();
            for piece in ANSWER.as_bytes().chunks(size) {
                reading.take(piece, start).expect("an event");
            }
            let answer = reading.finish().expect("an answer");
            assert_eq!(answer.text, "Hi \"you\"");
            assert_eq!(
                (answer.prompt_tokens, answer.tokens, answer.cached_tokens),
                (9, 2, 4)
            );
        }
    }

    #[test]
    fn the_first_token_is_the_first_text() {
        let start = Instant::now();
        let mut reading = Reading::default();
        for (number, event) in ANSWER.split_inclusive("\n\n").enumerate() {
            let now = start + Duration::from_secs(number as u64);
            reading.take(event.as_bytes(), now).expect("an event");
        }
        let answer = reading.finish().expect("an answer");
        assert_eq!(answer.first_token - start, Duration::from_secs(1));
        assert_eq!(answer.last_token - start, Duration::from_secs(3));
    }

    #[test]
    fn half_an_answer_is_broken_and_other_json_malformed() {
        let now = Instant::now();
        let mut half = Reading::default();
        half.take(&ANSWER.as_bytes()[..200], now).expect("an event");
        assert_eq!(half.finish().err(), Some(Failure::Broken));

        let mut other = Reading::default();
        let error = other.take(b"data: {\"error\":{}}\n", now);
        assert_eq!(error, Err(Failure::Malformed));
        assert_eq!(String::from(Failure::Status(503)), "status 503");
    }
}
