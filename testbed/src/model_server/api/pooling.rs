//! Embeddings, reranking and scores: prompts that are read, and answered by numbers.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::State, Prompt, Refusal, making::prefill, next_number, now, parse, prompt::Message,
    served_model,
};

/// Numbers in an embedding; real ones have hundreds.
const DIMENSIONS: usize = 8;

/// What a request asks for.
pub(super) struct Asked {
    model: Option<String>,
    prompts: Vec<Prompt>,
    wanted: Wanted,
}

/// What is wanted of the prompts.
enum Wanted {
    Embeddings {
        /// As base64 of little-endian floats, which is how OpenAI's Python client wants them.
        base64: bool,
    },
    /// How much each of these documents, which a question was joined with, has to do with it.
    Rerank {
        documents: Vec<Value>,
        top_n: Option<usize>,
    },
    Scores,
}

#[derive(Deserialize)]
struct EmbeddingRequest {
    model: Option<String>,
    input: Option<Value>,
    messages: Option<Vec<Message>>,
    encoding_format: Option<String>,
}

#[derive(Deserialize)]
struct RerankRequest {
    model: Option<String>,
    query: Value,
    documents: Vec<Value>,
    top_n: Option<usize>,
}

#[derive(Deserialize)]
struct ScoreRequest {
    model: Option<String>,
    #[serde(alias = "queries")]
    text_1: Value,
    #[serde(alias = "documents", alias = "items")]
    text_2: Value,
}

pub(super) fn embeddings(body: &[u8]) -> Result<Asked, Refusal> {
    let request: EmbeddingRequest = parse(body)?;
    let prompts = match (request.input, request.messages) {
        // Several texts, or the token ids of several; token ids alone are one.
        (Some(Value::Array(items)), _) if !items.iter().all(Value::is_number) => {
            items.into_iter().map(Prompt::Plain).collect()
        }
        (Some(input), _) => vec![Prompt::Plain(input)],
        (None, Some(messages)) => vec![Prompt::Chat(messages)],
        (None, None) => return Err(Refusal::Bad("missing field `input`".to_owned())),
    };
    Ok(Asked {
        model: request.model,
        prompts,
        wanted: Wanted::Embeddings {
            base64: request.encoding_format.as_deref() == Some("base64"),
        },
    })
}

pub(super) fn rerank(body: &[u8]) -> Result<Asked, Refusal> {
    let request: RerankRequest = parse(body)?;
    let prompts = pairs(&request.query, &request.documents);
    Ok(Asked {
        model: request.model,
        prompts,
        wanted: Wanted::Rerank {
            documents: request.documents,
            // Zero, the default of vLLM, asks for all.
            top_n: request.top_n.filter(|top_n| *top_n > 0),
        },
    })
}

/// One text with each of several, or each with its counterpart.
pub(super) fn score(body: &[u8]) -> Result<Asked, Refusal> {
    let request: ScoreRequest = parse(body)?;
    let list = |texts| match texts {
        Value::Array(texts) => texts,
        text => vec![text],
    };
    let (first, second) = (list(request.text_1), list(request.text_2));
    let prompts = match &*first {
        [one] => pairs(one, &second),
        several if several.len() == second.len() => first
            .iter()
            .zip(&second)
            .flat_map(|(first, second)| pairs(first, std::slice::from_ref(second)))
            .collect(),
        _ => {
            return Err(Refusal::Bad(
                "Input lengths must be either 1:1, 1:N or N:N".to_owned(),
            ));
        }
    };
    Ok(Asked {
        model: request.model,
        prompts,
        wanted: Wanted::Scores,
    })
}

fn pairs(first: &Value, second: &[Value]) -> Vec<Prompt> {
    second
        .iter()
        .map(|second| Prompt::Plain(json!([first, second])))
        .collect()
}

pub(super) async fn answer(state: &State, asked: Asked) -> Result<Response, Refusal> {
    let model = served_model(state, asked.model)?;
    let prompt_tokens = prefill(state, &model, &asked.prompts).await?;
    let usage = json!({ "prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens });
    let count = asked.prompts.len();
    let number = next_number();
    let body = match asked.wanted {
        Wanted::Embeddings { base64 } => {
            let data = (0..count).map(|index| {
                let embedding = embedding(index, base64);
                json!({ "index": index, "object": "embedding", "embedding": embedding })
            });
            json!({
                "id": format!("embd-{number}"), "object": "list", "created": now(), "model": model,
                "data": data.collect::<Vec<_>>(), "usage": usage,
            })
        }
        Wanted::Rerank { documents, top_n } => {
            let results = documents.iter().enumerate().map(|(index, document)| {
                let document = if document.is_string() {
                    json!({ "text": document, "multi_modal": null })
                } else {
                    document.clone()
                };
                json!({ "index": index, "document": document, "relevance_score": relevance(index) })
            });
            json!({
                "id": format!("rerank-{number}"), "model": model, "usage": usage,
                "results": results.take(top_n.unwrap_or(count)).collect::<Vec<_>>(),
            })
        }
        Wanted::Scores => {
            let data = (0..count).map(
                |index| json!({ "index": index, "object": "score", "score": relevance(index) }),
            );
            json!({
                "id": format!("score-{number}"), "object": "list", "created": now(), "model": model,
                "data": data.collect::<Vec<_>>(), "usage": usage,
            })
        }
    };
    Ok(Json(body).into_response())
}

/// The first is as relevant as can be, and each less than the one before.
fn relevance(index: usize) -> f64 {
    1.0 / (index as f64 + 1.0)
}

/// A unit vector: the prompt's index tells its direction.
fn embedding(index: usize, base64: bool) -> Value {
    let vector: Vec<f32> = (0..DIMENSIONS)
        .map(|dimension| f32::from(u8::from(dimension == index % DIMENSIONS)))
        .collect();
    if base64 {
        let bytes: Vec<u8> = vector.iter().flat_map(|it| it.to_le_bytes()).collect();
        json!(BASE64_STANDARD.encode(bytes))
    } else {
        json!(vector)
    }
}
