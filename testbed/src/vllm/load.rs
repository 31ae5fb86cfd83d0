//! Load on a server: the only way to a queue, and to a full KV cache, in a real one.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use http_body_util::BodyExt;
use hyper::Request;
use serde_json::json;
use tokio::task::JoinSet;

use super::{MODEL, Vllm};
use crate::client::{self, Connection, Protocol};

/// How many tokens each request asks for. A server makes a few hundred a second, for all its
/// requests together; when they are made, the request is sent again.
const MAX_TOKENS: u32 = 2_000;

/// The first token of the vocabulary that is a character and not a mark.
const FIRST_TOKEN: u32 = 10;

/// Requests sent to one server directly, past Envoy, without an end: dropping it closes their
/// connections, and vLLM gives up what nobody waits for.
#[derive(Debug)]
pub struct HeldLoad {
    requests: JoinSet<Result<()>>,
}

impl HeldLoad {
    /// Holds `requests` at a time on a server, each with a prompt of `prompt_tokens` tokens of its
    /// own.
    #[must_use]
    pub fn on(server: &Vllm, requests: u32, prompt_tokens: u32) -> Self {
        let address = server.address();
        Self {
            requests: (0..requests)
                .map(|number| repeat(address, number, prompt_tokens))
                .collect(),
        }
    }

    /// Sees to it that all of it is there.
    ///
    /// # Errors
    ///
    /// When one of the requests has failed.
    pub fn check(&mut self) -> Result<()> {
        while let Some(ended) = self.requests.try_join_next() {
            ended??;
        }
        Ok(())
    }
}

async fn repeat(address: SocketAddr, number: u32, prompt_tokens: u32) -> Result<()> {
    // Token ids instead of a text: their number is known. The first makes the prompts, and their
    // blocks in the KV cache, different.
    let prompt: Vec<u32> = (0..prompt_tokens).map(|_| FIRST_TOKEN + number).collect();
    let body = json!({
        "model": MODEL,
        "prompt": prompt,
        "max_tokens": MAX_TOKENS,
        "ignore_eos": true,
        "stream": true,
    })
    .to_string();
    let mut connection = Connection::open(address, Protocol::Http1).await?;
    loop {
        let request = Request::post("/v1/completions")
            .header("content-type", "application/json")
            .body(client::whole(body.clone()))?;
        let mut response = connection.begin(request).await?;
        ensure!(
            response.status().is_success(),
            "vLLM answered {} to the load held on it",
            response.status()
        );
        while let Some(frame) = response.body_mut().frame().await {
            frame?;
        }
    }
}
