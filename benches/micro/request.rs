//! A request's body, from JSON to model and prompt.

use std::{error::Error, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::request::{Api, InferenceRequest};

use crate::chat::{SIZES, Talk, text};

/// The size at which one message ends and the next begins, in bytes of text.
const MESSAGE: usize = 2_000;
const MODEL: &str = "\"model\":\"meta-llama/Llama-3.1-8B-Instruct\"";

/// Where the body says which model it is for. Clients write it first or last, by their language's
/// order of keys.
#[derive(Debug, Clone, Copy)]
enum Model {
    First,
    Last,
}

pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("body");
    for (kind, talk, model) in [
        ("prose, model first", Talk::Prose, Model::First),
        ("prose, model last", Talk::Prose, Model::Last),
        ("escapes, model first", Talk::EscapeDense, Model::First),
        ("escapes, model last", Talk::EscapeDense, Model::Last),
    ] {
        for (size, bytes) in SIZES {
            let body = body(talk, model, bytes)?;
            // A body that is not read would be measured as a very fast one.
            InferenceRequest::parse(Api::ChatCompletions, body.as_bytes())?
                .model
                .ok_or("the body names its model")?;
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(BenchmarkId::new(kind, size), |bencher| {
                bencher.iter(|| {
                    InferenceRequest::parse(Api::ChatCompletions, black_box(body.as_bytes()))
                        .is_ok()
                });
            });
        }
    }
    Ok(())
}

/// A conversation of two sides, about `bytes` long as JSON.
fn body(talk: Talk, model: Model, bytes: usize) -> Result<String, serde_json::Error> {
    // Escapes make JSON longer than its text, so a long text is cut by what it takes as JSON.
    let mut messages = Vec::new();
    let mut length = 0;
    let mut rest = text(talk, bytes);
    while length < bytes && !rest.is_empty() {
        let beyond = rest.split_off(rest.len().min(MESSAGE));
        let role = if messages.len() % 2 == 0 {
            "user"
        } else {
            "assistant"
        };
        let content = serde_json::to_string(&rest)?;
        let message = format!("{{\"role\":\"{role}\",\"content\":{content}}}");
        length += message.len() + 1;
        messages.push(message);
        rest = beyond;
    }
    let messages = format!("\"messages\":[{}],\"stream\":true", messages.join(","));
    Ok(match model {
        Model::First => format!("{{{MODEL},{messages}}}"),
        Model::Last => format!("{{{messages},{MODEL}}}"),
    })
}
