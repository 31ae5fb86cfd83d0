//! What the demo sends, and what the model servers are doing when it does.

use anyhow::Result;
use hyper::Request;
use serde_json::{Value, json};
use testbed::client::{self, Body};

/// One request, and what comes before it.
pub(super) struct Step<Work> {
    /// What is shown by it.
    pub(super) title: &'static str,
    /// What each of the three model servers has to do.
    pub(super) work: [Work; 3],
    /// What is sent.
    pub(super) ask: Ask,
}

/// What is sent.
pub(super) struct Ask {
    path: &'static str,
    /// The body of a POST; without one it is a GET.
    body: Option<Value>,
}

impl Ask {
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

pub(super) fn chat(model: &str, content: &str, stream: bool) -> Ask {
    Ask {
        path: "/v1/chat/completions",
        body: Some(json!({
            "model": model,
            "messages": [{ "role": "user", "content": content }],
            "max_tokens": 16,
            "stream": stream,
        })),
    }
}

pub(super) fn completion(model: &str, prompt: &str) -> Ask {
    Ask {
        path: "/v1/completions",
        body: Some(json!({ "model": model, "prompt": prompt, "max_tokens": 6 })),
    }
}

pub(super) fn models() -> Ask {
    Ask {
        path: "/v1/models",
        body: None,
    }
}
