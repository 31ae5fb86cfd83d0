//! Generated JSON and bodies, right and broken.

use endpoint_picker::request::Api;
use proptest::prelude::*;

use super::{
    APIS,
    reading::{is_read_alike_in_pieces, is_read_as_its_tree},
    scanning::{
        is_json, is_scanned_alike_in, is_scanned_alike_in_pieces, is_scanned_as_serde_json_does,
    },
};

/// Pieces of JSON, right and wrong.
fn token() -> impl Strategy<Value = Vec<u8>> {
    let fixed =
        |tokens: &'static [&'static [u8]]| prop::sample::select(tokens).prop_map(<[u8]>::to_vec);
    prop_oneof![
        4 => fixed(&[b"{", b"}", b"[", b"]", b",", b":", b"\"", b" ", b"\n\t\r "]),
        2 => fixed(&[b"true", b"false", b"null", b"tru", b"nul ", b"falsy"]),
        2 => "-?(0|[1-9][0-9]{0,12})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?".prop_map(String::into_bytes),
        1 => fixed(&[b"00", b"01", b"-", b"1.", b"1e", b"1e+", b".5", b"+1", b"1.e5", b"-0", b"12,345", b"[1,2,", b"1.5,7"]),
        1 => "[1-9][0-9]{40,60}(\\.[0-9]{20,60})?".prop_map(String::into_bytes),
        6 => string(),
    ]
}

/// A string, mostly a right one.
fn string() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(string_piece(), 0..8).prop_map(|pieces| {
        let mut string = pieces.concat();
        string.insert(0, b'"');
        string.push(b'"');
        string
    })
}

fn string_piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed =
        |tokens: &'static [&'static [u8]]| prop::sample::select(tokens).prop_map(<[u8]>::to_vec);
    prop_oneof![
        60 => "[ -!#-\\[\\]-~\u{7f}]{0,40}".prop_map(String::into_bytes),
        10 => "[ -!#-\\[\\]-~]{60,300}".prop_map(String::into_bytes),
        30 => fixed(&[b"\\n", b"\\\"", b"\\\\", b"\\/", b"\\b", b"\\f", b"\\r", b"\\t"]),
        20 => "[a-zß-ÿ一-丂😀-😂]{1,30}".prop_map(String::into_bytes),
        20 => "\\\\u([0-9a-cA-C][0-9a-fA-F]{3}|[dD][0-7][0-9a-f]{2})".prop_map(String::into_bytes),
        10 => "\\\\u[dD][89abAB][0-9a-f]{2}\\\\u[dD][c-fC-F][0-9a-f]{2}".prop_map(String::into_bytes),
        1 => "\\\\u[dD][89a-f][0-9a-f]{2}".prop_map(String::into_bytes),
        1 => fixed(&[b"\0", b"\x1f", b"\n", b"\\x", b"\\u12", b"\\u12g4", b"\\ud800\\u0041",
            b"\\ud800\\n", b"\\", b"\xff", b"\xc3", b"\xe2\x82", b"\x80", b"\xed\xa0\x80",
            b"\xf0\x9f\x98", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xf5"]),
    ]
}

/// Values that are right, unless a string in them is not.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        4 => string(),
        2 => "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?".prop_map(String::into_bytes),
        1 => prop::sample::select(&["true", "false", "null"]).prop_map(|word| word.into()),
    ];
    let space = || "[ \n\t\r]{0,2}".prop_map(String::into_bytes);
    leaf.prop_recursive(5, 24, 5, move |inner| {
        let key = prop_oneof![
            3 => string(),
            1 => "\"[a-z_]{1,70}\"".prop_map(String::into_bytes),
        ];
        let object = prop::collection::vec((space(), key, space(), inner.clone(), space()), 0..4)
            .prop_map(|fields| {
                let fields: Vec<_> = fields
                    .into_iter()
                    .map(|(a, key, b, value, c)| [a, key, b, b":".to_vec(), value, c].concat())
                    .collect();
                [&b"{"[..], &fields.join(&b','), b"}"].concat()
            });
        let array = prop::collection::vec((space(), inner, space()), 0..5).prop_map(|values| {
            let values: Vec<_> = values
                .into_iter()
                .map(|(a, value, b)| [a, value, b].concat())
                .collect();
            [&b"["[..], &values.join(&b','), b"]"].concat()
        });
        prop_oneof![object, array]
    })
}

/// JSON, and JSON in which a few bytes have been changed, left out or put in.
fn json() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..3_usize, token());
    let edited = (value(), prop::collection::vec(edit, 1..4)).prop_map(|(mut json, edits)| {
        for (at, removed, token) in edits {
            let start = at.index(json.len() + 1);
            let end = (start + removed).min(json.len());
            json.splice(start..end, token);
        }
        json
    });
    prop_oneof![
        4 => value(),
        3 => edited,
        1 => prop::collection::vec(token(), 0..12).prop_map(|tokens| tokens.concat()),
    ]
}

fn scalar() -> impl Strategy<Value = Vec<u8>> {
    const FIXED: &[&str] = &[
        "0",
        "1",
        "17",
        "128",
        "-1",
        "-3",
        "0.5",
        "-2.25",
        "4294967295",
        "4294967296",
        "12345678",
        "true",
        "false",
        "null",
        "{}",
        "[]",
        "[1]",
        "{\"n\":5}",
    ];
    prop::sample::select(FIXED).prop_map(|value| value.into())
}

fn key(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(keys).prop_map(|key| format!("\"{key}\"").into_bytes())
}

fn object(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(key, value)| [key, value].join(&b':'))
        .collect();
    [&b"{"[..], &fields.join(&b','), b"}"].concat()
}

/// What prompts are made of.
fn prompt() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: &[&str] = &["\"text\"", "\"base64\"", "\"user\"", "\"https://a/b.png\""];
    let leaf = prop_oneof![
        3 => string(),
        2 => prop::sample::select(KNOWN).prop_map(|text| text.into()),
        1 => scalar(),
        1 => prop::collection::vec(0..200_000_u32, 0..60)
            .prop_map(|ids| format!("{ids:?}").into_bytes()),
    ];
    const KEYS: &[&str] = &[
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "data",
        "source",
        "file",
        "file_data",
        "input_audio",
        "input",
        "image_embeds",
        "video_url",
        "mm_hashes",
        "kwargs_data",
        "a key that is longer than what is kept of keys, though not by much",
    ];
    leaf.boxed().prop_recursive(5, 30, 6, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..5)
            .prop_map(|values| [&b"["[..], &values.join(&b','), b"]"].concat());
        let object = prop::collection::vec((key(KEYS), inner), 0..5).prop_map(object);
        prop_oneof![array, object]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    const FIELDS: &[&str] = &[
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "max_output_tokens",
        "n",
        "cache_salt",
        "user",
        "metadata",
        "priority",
        "sampling_params",
        "temperature",
    ];
    const INNER: &[&str] = &[
        "include_usage",
        "n",
        "max_tokens",
        "max_new_tokens",
        "user_id",
        "x",
    ];
    const PROMPTS: &[&str] = &[
        "messages",
        "prompt",
        "input",
        "tools",
        "functions",
        "system",
        "instructions",
        "query",
        "documents",
        "text_1",
        "text_2",
        "queries",
        "items",
        "data_1",
        "data_2",
        "token_ids",
        "features",
        "content_parts",
        "text",
        "input_ids",
        "image_data",
        "audio_data",
        "prompt_embeds",
    ];
    let name = "\"[a-z/\\-]{1,12}\"".prop_map(String::into_bytes);
    let small = prop::collection::vec((key(INNER), prop_oneof![scalar(), string()]), 0..4);
    let value = prop_oneof![name, scalar(), string(), small.prop_map(object)];
    let long = "\"[a-z ]{300,900}\"".prop_map(String::into_bytes);
    let field = prop_oneof![
        3 => (key(FIELDS), value),
        3 => (key(PROMPTS), prompt()),
        1 => (key(PROMPTS), long),
        1 => Just((b"\"model\"".to_vec(), b"\"llama\"".to_vec())),
    ];
    prop::collection::vec(field, 0..8).prop_map(object)
}

/// Bodies in which a few bytes have been changed, left out or put in.
fn edited(bodies: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..3_usize, token());
    (bodies, prop::collection::vec(edit, 0..3)).prop_map(|(mut body, edits)| {
        for (at, removed, token) in edits {
            let start = at.index(body.len() + 1);
            let end = (start + removed).min(body.len());
            body.splice(start..end, token);
        }
        body
    })
}

fn prefix() -> impl Strategy<Value = usize> {
    prop_oneof![Just(usize::MAX), 0..1024_usize]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn accepts_and_finds_what_serde_json_does(json in json()) {
        is_scanned_as_serde_json_does(&json);
    }

    #[test]
    fn what_is_told_does_not_depend_on_the_cut(
        json in json(),
        wants_text: bool,
        budget in prop::option::of(1..200_usize),
    ) {
        is_scanned_alike_in_pieces(&json, wants_text, budget, 1);
    }

    #[test]
    fn long_strings_are_cut_anywhere(
        pieces in prop::collection::vec(string_piece(), 10..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        budget in prop::option::of(1..2000_usize),
    ) {
        let json = [&b"\""[..], &pieces.concat(), b"\""].concat();
        is_scanned_as_serde_json_does(&json);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(json.len() + 1)).collect();
        cuts.push(0);
        cuts.push(json.len());
        cuts.sort_unstable();
        is_scanned_alike_in(cuts.windows(2).map(|cut| &json[cut[0]..cut[1]]), &json, budget);
    }
}

#[test]
fn nesting_is_bounded_where_serde_json_bounds_it() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        for levels in [1, 63, 64, 126, 127, 128, 129, 1000] {
            let json = [&open.repeat(levels), "0", &close.repeat(levels)].concat();
            is_scanned_as_serde_json_does(json.as_bytes());
        }
    }
}

#[test]
fn what_is_rare_in_generated_bodies_is_read_as_its_tree() {
    for (api, body) in [
        (
            Api::Score,
            r#"{"documents":{"image_url":[[1],{"image_embeds":"text"}],"url":"text"}}"#,
        ),
        (
            Api::Messages,
            r#"{"messages":[{"source":{"content":[{"type":"text","data":"text"},{"data":"medium"}]}}]}"#,
        ),
        (
            Api::VllmGenerate,
            r#"{"sampling_params":{"max_tokens":0},"sampling_params":"-"}"#,
        ),
    ] {
        is_read_as_its_tree(api, body.as_bytes());
    }
}

#[test]
fn numbers_of_any_size_are_json() {
    for number in [
        "1e999",
        "-1e999",
        &"9".repeat(1000),
        &format!("0.{}", "1".repeat(1000)),
    ] {
        assert!(is_json(number.as_bytes()), "{number}");
        is_scanned_alike_in_pieces(number.as_bytes(), true, None, 1);
    }
}

#[test]
fn every_byte_behind_every_character_is_judged_alike() {
    // Every pair and, of those that begin a character, a sample of what may follow.
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            for tail in [&b"\""[..], b"\x80\"", b"\x80\x80\"", b"\\u0041\"", b"a"] {
                let json = [&[b'"', first, second], tail].concat();
                is_scanned_as_serde_json_does(&json);
                is_scanned_alike_in_pieces(&json, true, None, 1);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn bodies_are_read_as_their_trees(body in edited(body()), api in prop::sample::select(&APIS)) {
        is_read_as_its_tree(api, &body);
    }

    #[test]
    fn bodies_are_cut_anywhere(
        body in edited(body()),
        api in prop::sample::select(&APIS),
        prefix in prefix(),
    ) {
        let step = body.len() / 300 + 1;
        is_read_alike_in_pieces(api, prefix, &body, step);
    }
}
