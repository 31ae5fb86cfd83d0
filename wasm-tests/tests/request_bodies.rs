//! The bodies of `fixtures/requests`, as clients send them.

use endpoint_picker::request::{Api, Counts, InferenceRequest, Malformed, RequestReader};
use wasm_bindgen_test::wasm_bindgen_test;

use Api::{ChatCompletions, Completions, Messages, Responses, SglangGenerate, VllmGenerate};

macro_rules! body {
    ($name:literal) => {
        include_bytes!(concat!("../../fixtures/requests/", $name, ".json"))
    };
}

/// Reads a body in pieces of so many bytes.
fn read(api: Api, body: &[u8], piece: usize) -> Result<InferenceRequest, Malformed> {
    let mut reader = RequestReader::new(api, usize::MAX);
    for piece in body.chunks(piece) {
        let _ = reader.feed(piece)?;
    }
    reader.finish()?;
    Ok(reader.request().clone())
}

/// What is found of a body's parameters: whether it is streamed, `max_tokens` and `n`.
type Parameters = (bool, Option<u64>, Option<u64>);
/// Bytes of text, token ids, media and their bytes.
type Amounts = (u64, u64, u64, u64);

#[wasm_bindgen_test(unsupported = test)]
fn real_bodies_are_read() {
    const LLAMA: Option<&str> = Some("meta-llama/Llama-3.1-8B-Instruct");
    const RERANKER: Option<&str> = Some("BAAI/bge-reranker-v2-m3");
    type Case<'a> = (&'a str, &'a [u8], Api, Option<&'a str>, Parameters, Amounts);
    let cases: &[Case<'_>] = &[
        (
            "anthropic-messages-blocks",
            body!("anthropic-messages-blocks"),
            Messages,
            Some("claude-sonnet-4-5"),
            (false, Some(2048), None),
            (442, 0, 3, 1681),
        ),
        (
            "anthropic-messages",
            body!("anthropic-messages"),
            Messages,
            Some("claude-sonnet-4-5"),
            (true, Some(1024), None),
            (109, 0, 0, 0),
        ),
        (
            "edge-deep-nesting",
            body!("edge-deep-nesting"),
            ChatCompletions,
            Some("m"),
            (false, None, None),
            (8, 0, 0, 0),
        ),
        (
            "edge-duplicate-keys",
            body!("edge-duplicate-keys"),
            ChatCompletions,
            Some("second"),
            (false, Some(2), None),
            (14, 0, 0, 0),
        ),
        (
            "edge-huge-numbers",
            body!("edge-huge-numbers"),
            ChatCompletions,
            Some("m"),
            (false, None, None),
            (6, 0, 0, 0),
        ),
        (
            "edge-white-space",
            body!("edge-white-space"),
            ChatCompletions,
            Some("m"),
            (true, None, None),
            (10, 0, 0, 0),
        ),
        (
            "langchain-image",
            body!("langchain-image"),
            ChatCompletions,
            LLAMA,
            (false, Some(64), None),
            (30, 0, 1, 846),
        ),
        (
            "langchain-stream",
            body!("langchain-stream"),
            ChatCompletions,
            LLAMA,
            (true, Some(64), None),
            (102, 0, 0, 0),
        ),
        (
            "langchain-tools",
            body!("langchain-tools"),
            ChatCompletions,
            LLAMA,
            (false, Some(64), None),
            (231, 0, 0, 0),
        ),
        (
            "openai-chat-media",
            body!("openai-chat-media"),
            ChatCompletions,
            Some("gpt-4o-audio-preview"),
            (false, None, None),
            (69, 0, 4, 1511),
        ),
        (
            "openai-chat-tools",
            body!("openai-chat-tools"),
            ChatCompletions,
            Some("gpt-4o"),
            (false, Some(100), Some(2)),
            (275, 0, 0, 0),
        ),
        (
            "openai-chat-unicode",
            body!("openai-chat-unicode"),
            ChatCompletions,
            Some("m/模型"),
            (false, None, None),
            (1073, 0, 0, 0),
        ),
        (
            "openai-chat",
            body!("openai-chat"),
            ChatCompletions,
            LLAMA,
            (true, Some(256), None),
            (115, 0, 0, 0),
        ),
        (
            "openai-completion-batch",
            body!("openai-completion-batch"),
            Completions,
            LLAMA,
            (false, None, Some(3)),
            (25, 0, 0, 0),
        ),
        (
            "openai-completion-ids-batch",
            body!("openai-completion-ids-batch"),
            Completions,
            LLAMA,
            (false, None, None),
            (0, 5, 0, 0),
        ),
        (
            "openai-completion-ids",
            body!("openai-completion-ids"),
            Completions,
            LLAMA,
            (false, None, None),
            (0, 601, 0, 0),
        ),
        (
            "openai-completion",
            body!("openai-completion"),
            Completions,
            LLAMA,
            (false, Some(16), None),
            (16, 0, 0, 0),
        ),
        (
            "openai-embeddings-ids",
            body!("openai-embeddings-ids"),
            Api::Embeddings,
            Some("bge-m3"),
            (false, None, None),
            (0, 5, 0, 0),
        ),
        (
            "openai-embeddings",
            body!("openai-embeddings"),
            Api::Embeddings,
            Some("bge-m3"),
            (false, None, None),
            (19, 0, 0, 0),
        ),
        (
            "openai-responses-text",
            body!("openai-responses-text"),
            Responses,
            Some("gpt-4.1"),
            (false, None, None),
            (16, 0, 0, 0),
        ),
        (
            "openai-responses",
            body!("openai-responses"),
            Responses,
            Some("gpt-4.1"),
            (true, Some(300), None),
            (367, 0, 2, 886),
        ),
        (
            "sglang-generate-image",
            body!("sglang-generate-image"),
            SglangGenerate,
            None,
            (false, Some(16), None),
            (0, 3, 3, 1471),
        ),
        (
            "sglang-generate",
            body!("sglang-generate"),
            SglangGenerate,
            None,
            (true, Some(32), Some(2)),
            (24, 0, 0, 0),
        ),
        (
            "vllm-chat",
            body!("vllm-chat"),
            ChatCompletions,
            Some("Qwen/Qwen2.5-Omni-7B"),
            (false, None, None),
            (163, 0, 5, 1501),
        ),
        (
            "vllm-generate",
            body!("vllm-generate"),
            VllmGenerate,
            LLAMA,
            (true, Some(32), Some(1)),
            (4, 6, 1, 12),
        ),
        (
            "vllm-rerank",
            body!("vllm-rerank"),
            Api::Rerank,
            RERANKER,
            (false, None, None),
            (96, 0, 0, 0),
        ),
        (
            "vllm-score-media",
            body!("vllm-score-media"),
            Api::Score,
            Some("jinaai/jina-reranker-m0"),
            (false, None, None),
            (32, 0, 1, 36),
        ),
        (
            "vllm-score",
            body!("vllm-score"),
            Api::Score,
            RERANKER,
            (false, None, None),
            (96, 0, 0, 0),
        ),
    ];
    for (case, body, api, model, parameters, amounts) in cases {
        for piece in [usize::MAX, 1, 7] {
            let request = read(*api, body, piece).unwrap_or_else(|error| panic!("{case}: {error}"));
            let requested = request.model.as_ref().map(|model| &*model.name);
            assert_eq!(requested, *model, "{case}");
            let InferenceRequest {
                stream,
                max_tokens,
                n,
                ..
            } = request;
            assert_eq!((stream, max_tokens, n), *parameters, "{case}");
            let Counts {
                text_bytes,
                token_ids,
                media,
                media_bytes,
            } = request.prompt.counts();
            assert_eq!(
                (text_bytes, token_ids, media, media_bytes),
                *amounts,
                "{case}"
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_else_is_asked_for_is_found() {
    let read = |api, body| read(api, body, usize::MAX).unwrap_or_else(|error| panic!("{error}"));
    let chat = read(ChatCompletions, body!("openai-chat"));
    assert!(chat.include_usage);
    assert_eq!(chat.user.as_deref(), Some("user-17"));
    let claude = read(Messages, body!("anthropic-messages"));
    assert_eq!(claude.user.as_deref(), Some("user-17"));
    let vllm = read(ChatCompletions, body!("vllm-chat"));
    assert_eq!(vllm.cache_salt.as_deref(), Some("tenant-a"));
    assert_eq!(vllm.priority, Some(-5));
    let generate = read(VllmGenerate, body!("vllm-generate"));
    assert_eq!(generate.cache_salt.as_deref(), Some("tenant-a"));
    assert_eq!(generate.priority, Some(3));
    let twice = read(ChatCompletions, body!("edge-duplicate-keys"));
    assert!(!twice.include_usage);
    assert_eq!(twice.user, None);
    let huge = read(ChatCompletions, body!("edge-huge-numbers"));
    assert_eq!(huge.priority, Some(i64::MIN));
}

#[wasm_bindgen_test(unsupported = test)]
fn broken_bodies_are_refused_where_they_break() {
    for (body, expected) in [
        (
            &body!("edge-too-deep")[..],
            "expected containers nested less deep at byte 422",
        ),
        (
            body!("edge-trailing-garbage"),
            "expected the end of the JSON at byte 58",
        ),
        (
            body!("edge-truncated"),
            "expected more, not the end, at byte 78",
        ),
        (body!("edge-not-utf-8"), "expected UTF-8 at byte 56"),
        (
            body!("edge-lone-surrogate"),
            "expected the low surrogate after the high one at byte 62",
        ),
    ] {
        for piece in [usize::MAX, 1, 7] {
            let error = read(ChatCompletions, body, piece).map_err(|error| error.to_string());
            assert_eq!(error.err().as_deref(), Some(expected));
        }
    }
}
