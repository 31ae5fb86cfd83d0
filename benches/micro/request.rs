//! A request's body, from JSON to model and prompt.

use std::{error::Error, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput};
use endpoint_picker::request::{Api, Malformed, RequestReader};
use fastrand::Rng;

use crate::chat::{SIZES, Talk, text};

/// The size at which one message ends and the next begins, in bytes of text.
const MESSAGE: usize = 2_000;
const MODEL: &str = "\"model\":\"meta-llama/Llama-3.1-8B-Instruct\"";
/// The size of bodies of other kinds than conversations.
const DOCUMENT: (&str, usize) = ("220 KB", 220_000);
const MEDIUM: (&str, usize) = ("20 MB", 20_000_000);
/// Ids in the vocabulary of Llama 3.
const VOCABULARY: u32 = 128_256;
/// What chats are made of: words, line ends, quotes, and a word with letters beyond ASCII. As in the
/// bodies of the overhead bench, an escape in every 40 bytes or so.
const CHAT: [&str; 18] = [
    "the ",
    "model ",
    "server ",
    "answers ",
    "every ",
    "question ",
    "of ",
    "which ",
    "endpoint ",
    "with ",
    "another ",
    "request ",
    "before ",
    "it ",
    "größer ",
    "1234 ",
    "\n",
    "\"quoted\" ",
];

/// Where the body says which model it is for. Clients write it first or last, by their language's
/// order of keys.
#[derive(Debug, Clone, Copy)]
enum Model {
    First,
    Last,
}

/// A body to read.
struct Body {
    kind: &'static str,
    size: &'static str,
    api: Api,
    json: String,
}

pub(crate) fn bench(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = criterion.benchmark_group("body");
    for Body {
        kind,
        size,
        api,
        json,
    } in bodies()?
    {
        // A body that is not read would be measured as a very fast one.
        let reader = read(api, json.as_bytes())?;
        let model = &reader.request().model;
        model.as_ref().ok_or("the body names its model")?;
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(BenchmarkId::new(kind, size), |bencher| {
            bencher.iter(|| read(api, black_box(json.as_bytes())).is_ok());
        });
    }
    Ok(())
}

fn bodies() -> Result<Vec<Body>, serde_json::Error> {
    let chat = Api::ChatCompletions;
    let mut bodies = Vec::new();
    for (kind, talk, model) in [
        ("prose, model first", Talk::Prose, Model::First),
        ("prose, model last", Talk::Prose, Model::Last),
        ("escapes, model first", Talk::EscapeDense, Model::First),
        ("escapes, model last", Talk::EscapeDense, Model::Last),
    ] {
        for (size, bytes) in SIZES {
            bodies.push((kind, size, chat, conversation(&text(talk, bytes), model)?));
        }
    }
    for (size, bytes) in SIZES {
        for (kind, model) in [
            ("chat, model first", Model::First),
            ("chat, model last", Model::Last),
        ] {
            bodies.push((kind, size, chat, conversation(&chat_text(bytes), model)?));
        }
    }
    let (size, bytes) = DOCUMENT;
    // Three bytes a character, six as an escape, which is how Python writes JSON.
    let unicode = conversation(&text(Talk::Unicode, bytes), Model::First)?;
    let escaped = unicode_escaped(&conversation(
        &text(Talk::Unicode, bytes / 2),
        Model::First,
    )?);
    let (size_of_medium, bytes_of_medium) = MEDIUM;
    bodies.extend([
        ("unicode", size, chat, unicode),
        ("unicode escapes", size, chat, escaped),
        ("small fields", size, chat, small_fields(bytes)),
        ("token ids", size, Api::Completions, token_ids(bytes)),
        ("image", size_of_medium, chat, image(bytes_of_medium)),
    ]);

    Ok(bodies
        .into_iter()
        .map(|(kind, size, api, json)| Body {
            kind,
            size,
            api,
            json,
        })
        .collect())
}

/// Reads a whole body in slices, as the filter does, and hashes all of its prompt.
fn read(api: Api, body: &[u8]) -> Result<RequestReader, Malformed> {
    let mut reader = RequestReader::new(api, body.len());
    for slice in body.chunks(64 * 1024) {
        let _ = reader.feed(slice)?;
    }
    reader.finish()?;
    Ok(reader)
}

/// `bytes` bytes of what people and models write to each other.
fn chat_text(bytes: usize) -> String {
    let mut rng = Rng::with_seed(7);
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes {
        text.extend(rng.choice(CHAT));
    }
    text.truncate(text.floor_char_boundary(bytes));
    text
}

/// A conversation of two sides, as long as JSON as `text` is.
fn conversation(text: &str, model: Model) -> Result<String, serde_json::Error> {
    // Escapes make JSON longer than its text, so a long text is cut by what it takes as JSON.
    let mut messages = Vec::new();
    let mut length = 0;
    let mut rest = text;
    while length < text.len() && !rest.is_empty() {
        let (part, beyond) = rest.split_at(rest.floor_char_boundary(MESSAGE));
        let role = if messages.len() % 2 == 0 {
            "user"
        } else {
            "assistant"
        };
        let content = serde_json::to_string(part)?;
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

/// The same JSON without a character beyond ASCII.
fn unicode_escaped(json: &str) -> String {
    let mut units = [0; 2];
    json.chars().fold(String::new(), |mut escaped, character| {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                escaped += &format!("\\u{unit:04x}");
            }
        }
        escaped
    })
}

/// Calls of tools one after the other, hardly any value longer than a word.
fn small_fields(bytes: usize) -> String {
    let mut messages = Vec::new();
    let mut length = 0;
    while length < bytes {
        let id = messages.len();
        let message = format!(
            "{{\"role\":\"tool\",\"tool_call_id\":\"call_{id}\",\"content\":\"ok\",\"index\":{id},\
             \"cached\":true,\"error\":null,\"at\":{{\"x\":{id}.5,\"y\":-1}}}}"
        );
        length += message.len() + 1;
        messages.push(message);
    }
    format!("{{{MODEL},\"messages\":[{}]}}", messages.join(","))
}

/// A prompt that comes as token ids.
fn token_ids(bytes: usize) -> String {
    let mut rng = Rng::with_seed(7);
    let mut body = format!("{{{MODEL},\"prompt\":[128000");
    while body.len() < bytes {
        body += &format!(",{}", rng.u32(..VOCABULARY));
    }
    body + "]}"
}

/// A question about a picture.
fn image(bytes: usize) -> String {
    let mut rng = Rng::with_seed(7);
    let data: String = (0..bytes).map(|_| rng.alphanumeric()).collect();
    format!(
        "{{{MODEL},\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"image_url\",\
         \"image_url\":{{\"url\":\"data:image/png;base64,{data}\"}}}},\
         {{\"type\":\"text\",\"text\":\"What is this?\"}}]}}]}}"
    )
}
