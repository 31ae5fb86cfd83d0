//! Which API a request speaks, and what its fields mean.

/// An inference API whose bodies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI chat completions.
    ChatCompletions,
    /// OpenAI completions.
    Completions,
    /// OpenAI responses.
    Responses,
    /// OpenAI embeddings.
    Embeddings,
    /// Reranking, as Jina, Cohere and vLLM have it.
    Rerank,
    /// vLLM's scores of pairs of texts.
    Score,
    /// Anthropic messages.
    Messages,
    /// vLLM's generation from token ids.
    VllmGenerate,
    /// SGLang's own generation.
    SglangGenerate,
}

/// The ends of their paths, the longer of two that end alike first.
const PATHS: &[(&[u8], Api)] = &[
    (b"/v1/chat/completions", Api::ChatCompletions),
    (b"/v1/completions", Api::Completions),
    (b"/v1/responses", Api::Responses),
    (b"/v1/embeddings", Api::Embeddings),
    (b"/v1/rerank", Api::Rerank),
    (b"/v2/rerank", Api::Rerank),
    (b"/rerank", Api::Rerank),
    (b"/v1/score", Api::Score),
    (b"/score", Api::Score),
    (b"/v1/messages", Api::Messages),
    (b"/inference/v1/generate", Api::VllmGenerate),
    (b"/generate", Api::SglangGenerate),
];

impl Api {
    /// The API behind a path, `None` where the body is not to be read. Gateways mount the API
    /// under prefixes, so the path's end decides; a query string is no part of it.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<Self> {
        let path = path.split(|&byte| byte == b'?').next()?;
        PATHS
            .iter()
            .find_map(|(end, api)| path.ends_with(end).then_some(*api))
    }
}

/// A field at the top of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Model,
    Stream,
    StreamOptions,
    MaxTokens,
    /// Its later name, which counts where both are there.
    MaxOutputTokens,
    N,
    CacheSalt,
    User,
    /// In Anthropic's API the user is named in here.
    Metadata,
    Priority,
    /// vLLM's and SGLang's own APIs have the sampling in an object.
    SamplingParams,
    /// Something the model reads.
    Prompt(Part),
    Other,
}

/// The parts of a prompt, in the order in which a chat template writes them, whatever their order
/// in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The tools that the model may call.
    Tools,
    /// Instructions apart from the messages; of a pair of texts the first.
    System,
    /// Pictures, sounds and films apart from the messages.
    Media,
    /// The messages, or the text itself.
    Messages,
}

impl Field {
    pub(super) fn of(api: Api, key: &[u8]) -> Self {
        if let Some(part) = Part::of(api, key) {
            return Self::Prompt(part);
        }
        match (key, api) {
            (b"model", _) => Self::Model,
            (b"stream", _) => Self::Stream,
            (b"stream_options", _) => Self::StreamOptions,
            (b"sampling_params", Api::VllmGenerate | Api::SglangGenerate) => Self::SamplingParams,
            (b"max_tokens", Api::ChatCompletions | Api::Completions | Api::Messages) => {
                Self::MaxTokens
            }
            (b"max_completion_tokens", Api::ChatCompletions)
            | (b"max_output_tokens", Api::Responses) => Self::MaxOutputTokens,
            (b"n", Api::ChatCompletions | Api::Completions) => Self::N,
            (b"cache_salt", _) => Self::CacheSalt,
            (b"metadata", Api::Messages) => Self::Metadata,
            (b"user", _) => Self::User,
            (b"priority", _) => Self::Priority,
            _ => Self::Other,
        }
    }
}

impl Part {
    fn of(api: Api, key: &[u8]) -> Option<Self> {
        Some(match (api, key) {
            (Api::ChatCompletions | Api::Responses | Api::Messages, b"tools")
            | (Api::ChatCompletions, b"functions") => Self::Tools,
            (Api::Messages, b"system")
            | (Api::Responses, b"instructions")
            | (Api::Rerank, b"query")
            | (Api::Score, b"text_1" | b"queries" | b"data_1") => Self::System,
            (Api::Completions, b"prompt_embeds")
            | (Api::VllmGenerate, b"features" | b"content_parts")
            | (Api::SglangGenerate, b"image_data" | b"video_data" | b"audio_data") => Self::Media,
            (Api::ChatCompletions | Api::Messages | Api::Embeddings, b"messages")
            | (Api::Completions, b"prompt")
            | (Api::Responses | Api::Embeddings, b"input")
            | (Api::Rerank, b"documents")
            | (Api::Score, b"text_2" | b"documents" | b"items" | b"data_2")
            | (Api::VllmGenerate, b"token_ids")
            | (Api::SglangGenerate, b"text" | b"input_ids") => Self::Messages,
            _ => return None,
        })
    }
}

/// A key inside a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nested {
    IncludeUsage,
    MaxTokens,
    N,
    UserId,
    Other,
}

impl Nested {
    pub(super) fn of(key: &[u8]) -> Self {
        match key {
            b"include_usage" => Self::IncludeUsage,
            b"max_tokens" | b"max_new_tokens" => Self::MaxTokens,
            b"n" => Self::N,
            b"user_id" => Self::UserId,
            _ => Self::Other,
        }
    }
}
