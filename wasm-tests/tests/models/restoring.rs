//! The requested name in the place of the served one, in answers cut anywhere.

use endpoint_picker::models::{
    AnswerKind::{self, EventStream, Json},
    NameRestorer, model_literal,
};
use serde_json::Value;
use wasm_bindgen_test::wasm_bindgen_test;

const SERVED: &str = "meta-llama/Llama-3.3-70B-Instruct";

macro_rules! answers {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_str!(concat!("../../../fixtures/answers/", $file)))),*]
    };
}

const ANSWERS: [(&str, &str); 12] = answers![
    "chat.json",
    "chat.sse",
    "chat-crlf.sse",
    "completion.json",
    "completion.sse",
    "embedding.json",
    "rerank.json",
    "response.json",
    "response.sse",
    "message.json",
    "message.sse",
    "error.json",
];

/// Names that have to be replaced in each.
const NAMES: [usize; 12] = [1, 6, 6, 1, 3, 1, 1, 1, 3, 1, 1, 0];

struct Restoring<'a> {
    kind: AnswerKind,
    served: &'a str,
    requested: &'a str,
}

impl Restoring<'_> {
    fn chunks<'a>(&self, chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut restorer = NameRestorer::new(self.kind, self.served, self.requested);
        let mut answer = Vec::new();
        let mut chunks = chunks.into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            let restored = restorer.feed(chunk, chunks.peek().is_none());
            answer.extend(restored.unwrap_or_else(|| chunk.to_vec()));
        }
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Checks the answer as a whole, in two pieces of every length, and in bytes.
    fn check(&self, case: &str, answer: &str, expected: &str) {
        let bytes = answer.as_bytes();
        assert_eq!(self.chunks([bytes]), expected, "{case}");
        assert_eq!(self.chunks(bytes.chunks(1)), expected, "{case} by bytes");
        for end in 0..=bytes.len() {
            let (before, after) = bytes.split_at(end);
            let restored = self.chunks([before, after]);
            assert_eq!(restored, expected, "{case} cut at {end}");
        }
    }
}

/// The answer with its names replaced as a parser finds them, line by line or as a whole.
fn naive(kind: AnswerKind, answer: &str, requested: &str) -> (String, usize) {
    let value = |text: &str| -> Option<String> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut names = ["/model", "/response/model", "/message/model"].iter();
        names.find(|name| value.pointer(name).is_some_and(|name| name == SERVED))?;
        // What else says so does it in quotes that are escaped.
        let (before, after) = text.split_at(text.find("\"model\":")?);
        let literal = String::from_utf8(model_literal(requested)).ok()?;
        Some(format!(
            "{before}{}",
            after.replacen(&format!("\"{SERVED}\""), &literal, 1)
        ))
    };
    match kind {
        Json => value(answer).map_or((answer.to_owned(), 0), |answer| (answer, 1)),
        EventStream => {
            let lines = answer.split_inclusive('\n').map(|line| {
                let data = line.strip_prefix("data: ").and_then(value);
                data.map_or((line.to_owned(), 0), |data| (format!("data: {data}"), 1))
            });
            lines.fold((String::new(), 0), |all, line| {
                (all.0 + &line.0, all.1 + line.1)
            })
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whole_answers_are_as_a_parser_would_change_them() {
    for ((file, answer), names) in ANSWERS.into_iter().zip(NAMES) {
        let kind = if file.ends_with(".sse") {
            EventStream
        } else {
            Json
        };
        for requested in [
            "gpt-4o",
            "a name that is longer than the one of the \"server\" \u{1f999}",
        ] {
            let (expected, changed) = naive(kind, answer, requested);
            assert_eq!(changed, names, "{file}");
            let served = SERVED;
            let restoring = Restoring {
                kind,
                served,
                requested,
            };
            restoring.check(file, answer, &expected);
        }
    }
}

/// `answer` and what becomes of it; `None` where it stays.
const CASES: &[(&str, AnswerKind, &str, Option<&str>)] = &[
    (
        "compact",
        Json,
        r#"{"model":"llama"}"#,
        Some(r#"{"model":"gpt"}"#),
    ),
    (
        "white space",
        Json,
        " {\r\n\t\"model\" : \"llama\" }\n",
        Some(" {\r\n\t\"model\" : \"gpt\" }\n"),
    ),
    (
        "the name escaped",
        Json,
        r#"{"model":"ll\u0061m\u0061"}"#,
        Some(r#"{"model":"gpt"}"#),
    ),
    (
        "all of the name escaped",
        Json,
        r#"{"model":"\u006c\u006C\u0061\u006d\u0061"}"#,
        Some(r#"{"model":"gpt"}"#),
    ),
    (
        "the key escaped",
        Json,
        r#"{"m\u006fdel":"llama"}"#,
        Some(r#"{"m\u006fdel":"gpt"}"#),
    ),
    ("another name", Json, r#"{"model":"phi"}"#, None),
    ("a longer name", Json, r#"{"model":"llama-next"}"#, None),
    ("a shorter name", Json, r#"{"model":"llam"}"#, None),
    ("no text", Json, r#"{"model":null,"a":"llama"}"#, None),
    ("a list", Json, r#"{"model":["llama"]}"#, None),
    ("an object", Json, r#"{"model":{"model":"llama"}}"#, None),
    (
        "behind no text",
        Json,
        r#"{"model":null,"model":"llama"}"#,
        Some(r#"{"model":null,"model":"gpt"}"#),
    ),
    (
        "the first counts",
        Json,
        r#"{"model":"llama","model":"llama"}"#,
        Some(r#"{"model":"gpt","model":"llama"}"#),
    ),
    (
        "the first is another",
        Json,
        r#"{"model":"phi","model":"llama"}"#,
        None,
    ),
    (
        "in a response",
        Json,
        r#"{"response":{"model":"llama"}}"#,
        Some(r#"{"response":{"model":"gpt"}}"#),
    ),
    (
        "in a message",
        Json,
        r#"{"message":{"a":{"model":1},"model":"llama"}}"#,
        Some(r#"{"message":{"a":{"model":1},"model":"gpt"}}"#),
    ),
    (
        "in a choice",
        Json,
        r#"{"choices":[{"model":"llama","message":{"model":"llama"}}]}"#,
        None,
    ),
    (
        "in other objects",
        Json,
        r#"{"a":{"model":"llama"},"response":{"message":{"model":"llama"}}}"#,
        None,
    ),
    ("in a list", Json, r#"[{"model":"llama"}]"#, None),
    (
        "in a list of responses",
        Json,
        r#"{"response":[{"model":"llama"}]}"#,
        None,
    ),
    (
        "behind a response",
        Json,
        r#"{"response":{"model":null},"a":{"b":"llama"},"model":"llama"}"#,
        Some(r#"{"response":{"model":null},"a":{"b":"llama"},"model":"gpt"}"#),
    ),
    ("a text alone", Json, r#""llama""#, None),
    ("as a key", Json, r#"{"llama":"model"}"#, None),
    ("no JSON", Json, r#"model: "model":"llama""#, None),
    ("wrong before it", Json, r#"{'a':1,"model":"llama"}"#, None),
    ("wrong in it", Json, "{\"model\":\"lla\nma\"}", None),
    (
        "wrong behind it",
        Json,
        r#"{"model":"llama"] {"model":"llama"}"#,
        Some(r#"{"model":"gpt"] {"model":"llama"}"#),
    ),
    ("cut off in it", Json, r#"{"model":"llama"#, None),
    (
        "cut off behind it",
        Json,
        r#"{"model":"llama""#,
        Some(r#"{"model":"gpt""#),
    ),
    ("nothing", Json, "", None),
    ("events", Json, "data: {\"model\":\"llama\"}\n\n", None),
    (
        "an event",
        EventStream,
        "data: {\"model\":\"llama\"}\n\n",
        Some("data: {\"model\":\"gpt\"}\n\n"),
    ),
    (
        "without a blank",
        EventStream,
        "data:{\"model\":\"llama\"}\r\n\r\n",
        Some("data:{\"model\":\"gpt\"}\r\n\r\n"),
    ),
    (
        "returns",
        EventStream,
        "data: {\"model\":\"llama\"}\r\rdata: {\"model\":\"llama\"}\r\r",
        Some("data: {\"model\":\"gpt\"}\r\rdata: {\"model\":\"gpt\"}\r\r"),
    ),
    (
        "over lines",
        EventStream,
        "data: {\"a\":{\ndata: },\"model\":\nid: 5\n:{\"\ndata:\"llama\"}\n\n",
        Some("data: {\"a\":{\ndata: },\"model\":\nid: 5\n:{\"\ndata:\"gpt\"}\n\n"),
    ),
    (
        "over lines that end in two",
        EventStream,
        "data: {\"model\":\r\ndata: \"llama\"}\r\n\r\n",
        Some("data: {\"model\":\r\ndata: \"gpt\"}\r\n\r\n"),
    ),
    (
        "without empty lines",
        EventStream,
        "data: {\"model\":\"llama\"}\ndata: {\"model\":\"llama\"}\n",
        Some("data: {\"model\":\"gpt\"}\ndata: {\"model\":\"gpt\"}\n"),
    ),
    (
        "after what is wrong",
        EventStream,
        "data: {\"model\"\n\ndata: [DONE]\n\ndata: {\"model\":\"llama\"}\n\n",
        Some("data: {\"model\"\n\ndata: [DONE]\n\ndata: {\"model\":\"gpt\"}\n\n"),
    ),
    (
        "other fields",
        EventStream,
        "event: {\"model\":\"llama\"}\n: data: {\"model\":\"llama\"}\n data: {\"model\":\"llama\"}\n\n",
        None,
    ),
    (
        "another field",
        EventStream,
        "data2: {\"model\":\"llama\"}\n\nDATA: {\"model\":\"llama\"}\n\ndat: 5\n\n",
        None,
    ),
    (
        "a name over lines",
        EventStream,
        "data: {\"model\":\"lla\ndata:ma\"}\n\n",
        None,
    ),
    (
        "the last cut off",
        EventStream,
        "data: {\"model\":\"llama\"}\n\ndata: {\"model\":\"llam",
        Some("data: {\"model\":\"gpt\"}\n\ndata: {\"model\":\"llam"),
    ),
    ("one value", EventStream, r#"{"model":"llama"}"#, None),
];

#[wasm_bindgen_test(unsupported = test)]
fn only_the_name_of_the_answer_is_replaced() {
    for (case, kind, answer, expected) in CASES {
        let restoring = Restoring {
            kind: *kind,
            served: "llama",
            requested: "gpt",
        };
        restoring.check(case, answer, expected.unwrap_or(answer));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn chunks_that_stay_are_told_so() {
    let mut restorer = NameRestorer::new(EventStream, "llama", "gpt");
    for (chunk, expected) in [
        (": ping\n\ndata: {\"id\":1,", None),
        ("\"model\":", None),
        ("\"lla", Some("")),
        ("ma-next\"}\n\n", Some("\"llama-next\"}\n\n")),
        (
            "data: {\"model\":\"llama\"}\n\n",
            Some("data: {\"model\":\"gpt\"}\n\n"),
        ),
        ("data: [DONE]\n\n", None),
        ("", None),
    ] {
        let restored = restorer.feed(chunk.as_bytes(), false);
        let restored = restored.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(restored.as_deref(), expected, "{chunk:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_content_type_tells_the_kind() {
    for (content_type, kind) in [
        ("application/json", Some(Json)),
        ("Application/JSON; charset=utf-8", Some(Json)),
        ("text/event-stream", Some(EventStream)),
        ("text/event-stream;charset=utf-8", Some(EventStream)),
        (" text/event-stream ", Some(EventStream)),
        ("text/plain", None),
        ("application/jsonl", None),
        ("application/x-ndjson", None),
        ("", None),
    ] {
        let told = AnswerKind::of_content_type(content_type.as_bytes());
        assert_eq!(told, kind, "{content_type:?}");
    }
}
