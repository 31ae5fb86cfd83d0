use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

const SERVED: &str = "org/llama \u{e9}\u{1f999} \"70b\"";
const REQUESTED: &str = "gpt-\\4o\u{301}";

/// What stands in the place of an answer that comes in these chunks.
fn restore<'a>(kind: AnswerKind, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut restorer = NameRestorer::new(kind, SERVED, REQUESTED);
    let mut answer = Vec::new();
    for chunk in chunks {
        let is_done = restorer.is_done();
        let restored = restorer.feed(chunk, false);
        assert!(!is_done || restored.is_none(), "{restored:?}");
        match restored {
            Some(restored) => answer.extend(restored),
            None => answer.extend(chunk),
        }
        assert!(
            restorer.held.len() <= 6 * SERVED.len() + 1,
            "{:?}",
            restorer.held
        );
    }
    answer.extend(restorer.feed(&[], true).unwrap_or_default());
    answer
}

/// `bytes` cut after these shares of it.
fn cut(bytes: &[u8], shares: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut ends: Vec<_> = shares
        .iter()
        .map(|share| share.index(bytes.len() + 1))
        .collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2)
        .map(|ends| bytes[ends[0]..ends[1]].to_vec())
        .collect()
}

fn restore_cut(kind: AnswerKind, bytes: &[u8], shares: &[prop::sample::Index]) -> Vec<u8> {
    restore(kind, cut(bytes, shares).iter().map(Vec::as_slice))
}

/// The rule on a whole value: the first text called `model` in it or in its envelope.
fn naive(value: &Value) -> Value {
    fn name(object: &mut Map<String, Value>, is_envelope: bool) -> Option<&mut Value> {
        object.iter_mut().find_map(|(key, value)| match &**key {
            "model" => value.is_string().then_some(value),
            "response" | "message" if !is_envelope => name(value.as_object_mut()?, true),
            _ => None,
        })
    }
    let mut value = value.clone();
    let name = value.as_object_mut().and_then(|object| name(object, false));
    if let Some(name) = name.filter(|name| **name == SERVED) {
        *name = REQUESTED.into();
    }
    value
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        4 => Just(SERVED),
        1 => Just("org/llama"),
        1 => Just("org/llama \u{e9}\u{1f999} \"70b\"-next"),
        1 => Just(""),
    ];
    let leaf = prop_oneof![
        4 => text.prop_map(Value::from),
        1 => Just(Value::Null),
        1 => any::<u32>().prop_map(Value::from),
    ];
    let key = prop::sample::select(vec!["model", "response", "message", "choices"]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        let objects = prop::collection::vec((key.clone(), inner.clone()), 0..4);
        prop_oneof![
            6 => objects.prop_map(|fields| {
                let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(fields.collect())
            }),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::Array),
        ]
    })
}

/// How a value is written.
#[derive(Debug, Clone, Copy)]
struct Writing {
    pretty: bool,
    escapes: bool,
}

fn writings() -> impl Strategy<Value = Writing> {
    any::<(bool, bool)>().prop_map(|(pretty, escapes)| Writing { pretty, escapes })
}

fn write(value: &Value, writing: Writing) -> String {
    let text = if writing.pretty {
        serde_json::to_string_pretty(value).unwrap()
    } else {
        value.to_string()
    };
    if !writing.escapes {
        return text;
    }
    let units = SERVED.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    let served = format!("\"{}\"", units.collect::<String>());
    let plain = String::from_utf8(model_literal(SERVED)).unwrap();
    text.replace(&plain, &served)
        .replace("\"model\"", "\"m\\u006Fdel\"")
}

/// What stands in a stream of events.
#[derive(Debug, Clone)]
enum Part {
    Event(Value, Writing, bool),
    Line(&'static str),
}

fn parts() -> impl Strategy<Value = Part> {
    let event = (values(), writings(), any::<bool>());
    prop_oneof![
        4 => event.prop_map(|(value, writing, space)| Part::Event(value, writing, space)),
        1 => prop::sample::select(vec![
            ": ping", "event: message_start", "data: [DONE]", "data", "data:", "dat", "data : {",
            "data: {\"model\"", "id: {\"model\":\"org/llama\"}", "",
        ]).prop_map(Part::Line),
    ]
}

/// The stream with each value changed by `change`.
fn stream(parts: &[Part], end: &str, change: fn(&Value) -> Value) -> String {
    let mut stream = String::new();
    for part in parts {
        match part {
            Part::Event(value, writing, space) => {
                let space = if *space { " " } else { "" };
                for line in write(&change(value), *writing).lines() {
                    stream += &format!("data:{space}{line}{end}");
                }
            }
            Part::Line(line) => stream += &format!("{line}{end}"),
        }
        stream += end;
    }
    stream
}

proptest! {
    #[test]
    fn one_value_is_as_a_parser_would_change_it(
        value in values(),
        writing in writings(),
        shares in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let answer = write(&value, writing);
        let expected = write(&naive(&value), writing);
        let restored = restore_cut(AnswerKind::Json, answer.as_bytes(), &shares);
        prop_assert_eq!(String::from_utf8(restored).unwrap(), expected.clone());
        let bytes = restore(AnswerKind::Json, answer.as_bytes().chunks(1));
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn events_are_as_a_parser_would_change_them(
        parts in prop::collection::vec(parts(), 0..6),
        end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        shares in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let answer = stream(&parts, end, Value::clone);
        let expected = stream(&parts, end, naive);
        let restored = restore_cut(AnswerKind::EventStream, answer.as_bytes(), &shares);
        prop_assert_eq!(String::from_utf8(restored).unwrap(), expected.clone());
        let bytes = restore(AnswerKind::EventStream, answer.as_bytes().chunks(1));
        prop_assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_restored_alike_however_they_are_cut(
        parts in prop::collection::vec(parts(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        shares in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut answer = stream(&parts, "\n", Value::clone).into_bytes();
        for (place, byte) in damage {
            if !answer.is_empty() {
                let place = place.index(answer.len());
                answer[place] = byte;
            }
        }
        for kind in [AnswerKind::Json, AnswerKind::EventStream] {
            let whole = restore(kind, [answer.as_slice()]);
            prop_assert_eq!(&restore_cut(kind, &answer, &shares), &whole);
            prop_assert_eq!(&restore(kind, answer.chunks(1)), &whole);
        }
    }

    #[test]
    fn bytes_without_the_name_stay(
        bytes in any::<Vec<u8>>(),
        shares in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        for kind in [AnswerKind::Json, AnswerKind::EventStream] {
            prop_assert_eq!(&restore_cut(kind, &bytes, &shares), &bytes);
        }
    }
}

#[test]
fn a_name_that_never_ends_is_not_kept() {
    let mut restorer = NameRestorer::new(AnswerKind::Json, "oooo", REQUESTED);
    // Equal as far as it goes, and longer than the name can be.
    let answer = format!("{{\"model\":\"{}", "\\u006f".repeat(20));
    let mut passed = Vec::new();
    for byte in answer.as_bytes().chunks(1) {
        passed.extend(restorer.feed(byte, false).unwrap_or_else(|| byte.to_vec()));
        assert!(restorer.held.len() <= 6 * 4 + 1, "{:?}", restorer.held);
    }
    assert_eq!(passed, answer.as_bytes());
}

#[test]
fn behind_the_name_of_a_json_value_nothing_need_be_fed() {
    for (kind, chunks, expected) in [
        (
            AnswerKind::Json,
            ["{\"id\":1,", "\"model\":\"llama\","],
            [false, true],
        ),
        (
            AnswerKind::Json,
            ["{\"model\":\"lla", "ma\","],
            [false, true],
        ),
        (
            AnswerKind::Json,
            ["{\"model\":\"phi\",", "\"id\":1"],
            [true, true],
        ),
        (AnswerKind::Json, ["<html>", "</html>"], [true, true]),
        (
            AnswerKind::EventStream,
            ["data: {\"model\":\"llama\"}", "\n\n"],
            [false, false],
        ),
    ] {
        let mut restorer = NameRestorer::new(kind, "llama", "gpt-4o");
        let done = chunks.map(|chunk| {
            restorer.feed(chunk.as_bytes(), false);
            restorer.is_done()
        });
        assert_eq!(done, expected, "{chunks:?}");
    }
}

#[test]
fn chunks_that_stay_are_not_copied() {
    let mut restorer = NameRestorer::new(AnswerKind::Json, "llama", "gpt-4o");
    assert_eq!(restorer.feed(b"{\"id\":1,\"model\": ", false), None);
    assert_eq!(
        restorer.feed(b"\"llama\"", false),
        Some(b"\"gpt-4o\"".to_vec())
    );
    assert_eq!(
        restorer.feed(b",\"a\":[{\"model\":\"llama\"}]}", true),
        None
    );
}
