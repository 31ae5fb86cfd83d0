//! Another name in the place of the one in a request's body.

use endpoint_picker::{
    models::{model_literal, replace},
    request::{Api, RequestReader},
};
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn a_literal_is_the_name_as_json() {
    for (name, expected) in [
        ("llama-70b", r#""llama-70b""#),
        ("", r#""""#),
        ("org/llama \"70b\" \\", r#""org/llama \"70b\" \\""#),
        ("a\nb\u{1}", r#""a\nb\u0001""#),
        ("模型 🦙", r#""模型 🦙""#),
    ] {
        assert_eq!(model_literal(name), expected.as_bytes(), "{name:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_name_is_replaced_and_every_other_byte_stays() {
    for (body, expected) in [
        (r#"{"model":"gpt-4o"}"#, r#"{"model":"llama"}"#),
        (
            "{ \"seed\" : 12345678901234567890123 ,\r\n\t\"model\" : \"gpt-\\u0034o\" , \"prompt\":\"gpt-4o\\/\" }\n",
            "{ \"seed\" : 12345678901234567890123 ,\r\n\t\"model\" : \"llama\" , \"prompt\":\"gpt-4o\\/\" }\n",
        ),
        // Of a key that comes twice the last counts.
        (
            r#"{"model":"a","n":1,"model":"gpt-4o"}"#,
            r#"{"model":"a","n":1,"model":"llama"}"#,
        ),
        (
            r#"{"a":{"model":"b"},"model":""}"#,
            r#"{"a":{"model":"b"},"model":"llama"}"#,
        ),
    ] {
        let mut reader = RequestReader::new(Api::Completions, 1024);
        reader.feed(body.as_bytes()).unwrap();
        let model = reader.request().model.clone().unwrap();
        let rewritten = replace(body.as_bytes(), model.span, &model_literal("llama"));
        assert_eq!(String::from_utf8(rewritten).unwrap(), expected);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_span_that_is_not_there_changes_nothing() {
    let backwards = core::ops::Range { start: 3, end: 1 };
    for span in [2..9, 8..9, 0..u64::MAX, backwards] {
        assert_eq!(replace(b"{\"a\":1}", span, b"x"), b"{\"a\":1}");
    }
    assert_eq!(replace(b"{}", 2..2, b"x"), b"{}x");
}
