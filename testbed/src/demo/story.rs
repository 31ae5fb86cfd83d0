//! What the demo sends, and how loaded the model servers are when it does.

use anyhow::Result;
use hyper::Request;
use serde_json::{Value, json};
use testbed::{
    client::{self, Body},
    model_server::Load,
};

/// One request.
pub(super) struct Step {
    /// What is shown by it.
    pub(super) title: &'static str,
    /// The loads of the three model servers.
    pub(super) loads: [Load; 3],
    path: &'static str,
    /// The body of a POST; without one it is a GET.
    body: Option<Value>,
}

impl Step {
    /// The request, which carries `id` so that its decision can be found in Envoy's log.
    pub(super) fn request(&self, id: &str) -> Result<Request<Body>> {
        let builder = Request::builder().uri(self.path).header("x-request-id", id);
        let request = match &self.body {
            Some(body) => builder
                .method("POST")
                .header("content-type", "application/json")
                .body(client::whole(body.to_string())),
            None => builder.method("GET").body(client::empty()),
        };
        Ok(request?)
    }

    /// Whether model servers are scored for it.
    pub(super) fn is_inference(&self) -> bool {
        self.body.is_some()
    }
}

/// All of it, in order. No model server wins twice in a row.
pub(super) fn steps() -> [Step; 5] {
    let chat = |content: &str, stream: bool| {
        json!({
            "model": "llama-3.1-8b-instruct",
            "messages": [{ "role": "user", "content": content }],
            "stream": stream,
        })
    };
    [
        Step {
            title: "A chat completion: the first model server has the shortest queue",
            loads: [load(0, 4, 0.30), load(6, 16, 0.30), load(12, 16, 0.30)],
            path: "/v1/chat/completions",
            body: Some(chat("Why is the sky blue?", false)),
        },
        Step {
            title: "A chat completion, streamed: a burst has reached the first one, the second has drained",
            loads: [load(9, 16, 0.55), load(1, 9, 0.35), load(12, 16, 0.30)],
            path: "/v1/chat/completions",
            body: Some(chat("Write a haiku about queues.", true)),
        },
        Step {
            title: "A completion: all queues are empty, the third has most of its KV cache free",
            loads: [load(0, 8, 0.70), load(0, 8, 0.90), load(0, 8, 0.15)],
            path: "/v1/completions",
            body: Some(
                json!({ "model": "codellama-13b", "prompt": "def fibonacci(n):", "max_tokens": 6 }),
            ),
        },
        Step {
            title: "A chat completion: the first has a longer queue than the third, but far more KV cache free",
            loads: [load(2, 9, 0.05), load(10, 16, 0.60), load(1, 16, 0.95)],
            path: "/v1/chat/completions",
            body: Some(chat("Summarize the plot of Hamlet in one sentence.", false)),
        },
        Step {
            title: "GET /v1/models: no prompt to place, so any healthy model server will do",
            loads: [load(0, 0, 0.0), load(0, 0, 0.0), load(0, 0, 0.0)],
            path: "/v1/models",
            body: None,
        },
    ]
}

fn load(waiting: u32, running: u32, kv_cache_usage: f64) -> Load {
    Load {
        waiting,
        running,
        kv_cache_usage,
    }
}
