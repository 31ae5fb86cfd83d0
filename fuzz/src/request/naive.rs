//! A reader of bodies that has the whole of one as a tree.

use endpoint_picker::{
    prefix::{BlockHash, Scope},
    request::{Api, Counts, InferenceRequest},
};
use xxhash_rust::xxh64::xxh64;

use super::scanning::Value;

/// What is kept of a name.
const MAX_NAME: usize = 512;

const SCOPE: Scope<'static> = Scope {
    model: Some("m"),
    adapter: None,
    cache_salt: None,
};

/// What is found in a body.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Found {
    pub(super) model: Option<String>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) max_tokens: Option<u64>,
    pub(super) n: Option<u64>,
    pub(super) cache_salt: Option<String>,
    pub(super) user: Option<String>,
    pub(super) priority: Option<i64>,
    pub(super) counts: Counts,
    pub(super) blocks: Vec<u64>,
}

impl From<&InferenceRequest> for Found {
    fn from(request: &InferenceRequest) -> Self {
        let InferenceRequest {
            model,
            stream,
            include_usage,
            max_tokens,
            n,
            cache_salt,
            user,
            priority,
            prompt,
        } = request.clone();
        Self {
            model: model.map(|model| model.name),
            stream,
            include_usage,
            max_tokens,
            n,
            cache_salt,
            user,
            priority,
            counts: prompt.counts(),
            blocks: prompt.block_hashes(SCOPE).map(BlockHash::as_u64).collect(),
        }
    }
}

/// A part of a prompt, as bytes.
struct Naive {
    bytes: Vec<u8>,
    counts: Counts,
    is_known: bool,
    /// Whether no key has come yet.
    has_token_ids: bool,
}

impl Default for Naive {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            counts: Counts::default(),
            is_known: true,
            has_token_ids: true,
        }
    }
}

/// What the containers around say of a string.
#[derive(Clone, Copy, PartialEq)]
enum Around {
    Content,
    Source,
    Media,
    Text,
}

fn is_one_of(key: &[u8], keys: &[&str]) -> bool {
    keys.iter().any(|one| one.as_bytes() == key)
}

const MEDIUM: &[&str] = &[
    "image_url",
    "audio_url",
    "video_url",
    "image",
    "file_data",
    "file_url",
];
const SOURCE: &[&str] = &["source", "input_audio", "file"];
const MEDIA: &[&str] = &[
    "image_embeds",
    "audio_embeds",
    "video_embeds",
    "kwargs_data",
    "image_data",
    "audio_data",
    "video_data",
    "prompt_embeds",
];
const TEXT: &[&str] = &["input", "mm_hashes", "mm_metadata"];

impl Naive {
    fn add(&mut self, value: &Value, key: &[u8], around: Around) {
        let inner = match around {
            Around::Media | Around::Text => around,
            _ if is_one_of(key, MEDIA) => Around::Media,
            _ if is_one_of(key, TEXT) => Around::Text,
            _ if is_one_of(key, MEDIUM) || is_one_of(key, SOURCE) => Around::Source,
            _ => around,
        };
        match value {
            Value::Object(fields) => {
                let mut inner = inner;
                self.bytes.push(0xF8);
                for (key, value) in fields {
                    self.bytes.extend(key);
                    self.bytes.push(0xFB);
                    self.has_token_ids = false;
                    self.add(value, key, inner);
                    let is_text = *value == Value::String(Some(b"text".into()));
                    if inner == Around::Source && key == b"type" && is_text {
                        inner = Around::Text;
                    }
                }
                self.bytes.push(0xFA);
            }
            Value::Array(values) => {
                self.bytes.push(0xF9);
                let mut key = key;
                for value in values {
                    self.add(value, key, inner);
                    // Behind a container the key says nothing of the others.
                    if matches!(value, Value::Object(_) | Value::Array(_)) {
                        key = b"";
                    }
                }
                self.bytes.push(0xFA);
            }
            Value::String(text) => {
                let text = text.as_deref().unwrap_or_default();
                let is_medium = match around {
                    Around::Content => {
                        is_one_of(key, MEDIUM) || is_one_of(key, MEDIA) || key == b"data"
                    }
                    Around::Source => is_one_of(key, MEDIUM) || is_one_of(key, &["data", "url"]),
                    Around::Media => true,
                    Around::Text => false,
                };
                if is_medium {
                    self.counts.media += 1;
                    self.counts.media_bytes += text.len() as u64;
                    self.bytes.extend(xxh64(text, 0).to_le_bytes());
                } else {
                    self.counts.text_bytes += text.len() as u64;
                    self.bytes.extend(text);
                }
                self.bytes.push(0xFC);
            }
            Value::Integer(integer) => match u32::try_from(*integer) {
                Ok(id) if self.has_token_ids => {
                    self.counts.token_ids += 1;
                    self.bytes.extend(id.to_le_bytes());
                }
                _ => {
                    self.bytes.extend(integer.to_le_bytes());
                    self.bytes.push(0xF7);
                }
            },
            Value::Negative(number) => {
                self.bytes.extend(number.to_string().bytes());
                self.bytes.push(0xF7);
            }
            // As it is written, which the tree does not know.
            Value::Number(_) => self.is_known = false,
            Value::Bool(value) => self.bytes.push(if *value { 0xFD } else { 0xFE }),
            Value::Null => self.bytes.push(0xFF),
        }
    }
}

fn integer(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(integer) => Some(*integer),
        _ => None,
    }
}

fn name(value: &Value) -> Option<String> {
    match value {
        Value::String(Some(text)) if text.len() <= MAX_NAME => String::from_utf8(text.clone()).ok(),
        _ => None,
    }
}

/// The last value of a key.
fn last<'a>(fields: &'a [(Vec<u8>, Value)], key: &str) -> &'a Value {
    let last = fields.iter().rfind(|(field, _)| field == key.as_bytes());
    last.map_or(&Value::Null, |(_, value)| value)
}

fn inner<'a>(fields: &'a [(Vec<u8>, Value)], outer: &str, keys: &[&str]) -> &'a Value {
    let Value::Object(fields) = last(fields, outer) else {
        return &Value::Null;
    };
    let last = fields.iter().rfind(|(field, _)| is_one_of(field, keys));
    last.map_or(&Value::Null, |(_, value)| value)
}

/// Reads the tree of a body. Tells too whether its blocks are known.
pub(super) fn naive(api: Api, tree: &Value) -> (Found, bool) {
    let none = Vec::new();
    let fields = match tree {
        Value::Object(fields) => fields,
        _ => &none,
    };
    // Tools, system, media and messages.
    let keys: [&[&str]; 4] = match api {
        Api::ChatCompletions => [&["tools", "functions"], &[], &[], &["messages"]],
        Api::Completions => [&[], &[], &["prompt_embeds"], &["prompt"]],
        Api::Responses => [&["tools"], &["instructions"], &[], &["input"]],
        Api::Embeddings => [&[], &[], &[], &["input", "messages"]],
        Api::Rerank => [&[], &["query"], &[], &["documents"]],
        Api::Score => [
            &[],
            &["text_1", "queries", "data_1"],
            &[],
            &["text_2", "documents", "items", "data_2"],
        ],
        Api::Messages => [&["tools"], &["system"], &[], &["messages"]],
        Api::VllmGenerate => [&[], &[], &["features", "content_parts"], &["token_ids"]],
        Api::SglangGenerate => [
            &[],
            &[],
            &["image_data", "audio_data", "video_data"],
            &["text", "input_ids"],
        ],
    };
    let mut found = Found::default();
    let mut is_known = true;
    let mut root = SCOPE.root().as_u64();
    for (part, keys) in keys.iter().enumerate() {
        let mut naive = Naive::default();
        for (key, value) in fields.iter().filter(|(key, _)| is_one_of(key, keys)) {
            let is_media = part == 2;
            if !is_media {
                naive = Naive::default();
            }
            let around = if part == 0 {
                Around::Text
            } else {
                Around::Content
            };
            naive.has_token_ids = part == 3;
            naive.add(value, if is_media { key } else { b"" }, around);
        }
        let mut chain = 0;
        let blocks = naive.bytes.chunks_exact(256);
        let rest = blocks.remainder();
        let within = |hash: u64, root: u64| xxh64(&hash.to_le_bytes(), root);
        for block in blocks {
            chain = xxh64(block, chain);
            found.blocks.push(within(chain, root));
        }
        is_known &= naive.is_known;
        root = within(xxh64(rest, chain), root);
        let counts = &mut found.counts;
        counts.text_bytes += naive.counts.text_bytes;
        counts.token_ids += naive.counts.token_ids;
        counts.media += naive.counts.media;
        counts.media_bytes += naive.counts.media_bytes;
    }
    let is_true = |value: &Value| *value == Value::Bool(true);
    found.model = name(last(fields, "model"));
    found.stream = is_true(last(fields, "stream"));
    found.include_usage = is_true(inner(fields, "stream_options", &["include_usage"]));
    found.cache_salt = name(last(fields, "cache_salt"));
    found.user = match api {
        // By either, whichever is later.
        Api::Messages => match fields
            .iter()
            .rfind(|(key, _)| is_one_of(key, &["metadata", "user"]))
        {
            Some((key, value)) if key == b"user" => name(value),
            _ => name(inner(fields, "metadata", &["user_id"])),
        },
        _ => name(last(fields, "user")),
    };
    found.priority = match last(fields, "priority") {
        Value::Integer(integer) => (*integer).try_into().ok(),
        Value::Negative(integer) => Some(*integer),
        _ => None,
    };
    (found.max_tokens, found.n) = match api {
        Api::ChatCompletions => (
            integer(last(fields, "max_completion_tokens")).or(integer(last(fields, "max_tokens"))),
            integer(last(fields, "n")),
        ),
        Api::Completions => (
            integer(last(fields, "max_tokens")),
            integer(last(fields, "n")),
        ),
        Api::Messages => (integer(last(fields, "max_tokens")), None),
        Api::Responses => (integer(last(fields, "max_output_tokens")), None),
        Api::VllmGenerate | Api::SglangGenerate => (
            integer(inner(
                fields,
                "sampling_params",
                &["max_tokens", "max_new_tokens"],
            )),
            integer(inner(fields, "sampling_params", &["n"])),
        ),
        _ => (None, None),
    };
    (found, is_known)
}
