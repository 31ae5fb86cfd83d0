//! Bodies as clients send them.

use endpoint_picker::request::{Api, InferenceRequest, Prompt};
use wasm_bindgen_test::wasm_bindgen_test;

use Api::{ChatCompletions, Completions};

#[wasm_bindgen_test(unsupported = test)]
fn bodies_are_read() {
    type Case<'a> = (&'a str, Api, &'a str, Option<&'a str>, bool, &'a str);
    let cases: &[Case<'_>] = &[
        (
            "a chat",
            ChatCompletions,
            r#"{"model":"llama","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}"#,
            Some("llama"),
            false,
            "Be brief.Hi",
        ),
        (
            "the model last, streamed, with fields that are not read",
            ChatCompletions,
            r#"{"messages":[{"role":"user","name":"x","content":"Hi"}],"n":1,"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#,
            Some("m"),
            true,
            "Hi",
        ),
        (
            "escapes",
            ChatCompletions,
            r#"{"model":"a\/b","messages":[{"role":"user","content":"\u00e9\n\ud83d\ude00 \"q\""}]}"#,
            Some("a/b"),
            false,
            "é\n😀 \"q\"",
        ),
        (
            "content parts and media",
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is "},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"this?"}]}]}"#,
            Some("m"),
            false,
            "What is this?",
        ),
        (
            "tool calls beside null content",
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"42"}]}"#,
            Some("m"),
            false,
            "42",
        ),
        (
            "a completion",
            Completions,
            r#"{"model":"m","prompt":"Once","stream":false}"#,
            Some("m"),
            false,
            "Once",
        ),
        (
            "a batch",
            Completions,
            r#"{"model":"m","prompt":["Once"," upon"]}"#,
            Some("m"),
            false,
            "Once upon",
        ),
        (
            "no model",
            Completions,
            r#"{"prompt":"Once"}"#,
            None,
            false,
            "Once",
        ),
        (
            "nulls",
            Completions,
            r#"{"model":null,"prompt":null,"stream":null}"#,
            None,
            false,
            "",
        ),
        ("an empty object", ChatCompletions, " {} ", None, false, ""),
        (
            "white space around",
            Completions,
            "\r\n\t{ \"model\" : \"m\" }\n",
            Some("m"),
            false,
            "",
        ),
        (
            "the prompt of another API",
            ChatCompletions,
            r#"{"model":"m","prompt":"Once"}"#,
            Some("m"),
            false,
            "",
        ),
        // JSON of another shape is the model server's to judge.
        ("a list", ChatCompletions, "[1,2]", None, false, ""),
        (
            "a number for the model",
            ChatCompletions,
            r#"{"model":5}"#,
            None,
            false,
            "",
        ),
        (
            "a prompt of mixed kinds",
            Completions,
            r#"{"model":"m","prompt":["a",1]}"#,
            None,
            false,
            "",
        ),
    ];
    for (case, api, body, model, stream, prompt) in cases {
        let request = InferenceRequest::parse(*api, body.as_bytes())
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(request.model.as_deref(), *model, "{case}");
        assert_eq!(request.stream, *stream, "{case}");
        assert_eq!(request.prompt.text().collect::<String>(), *prompt, "{case}");
        assert_eq!(request.prompt.bytes(), prompt.len(), "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn token_ids_count_as_text_of_four_bytes_each() {
    for (prompt, expected) in [
        ("[1,2,3]", &[1, 2, 3][..]),
        ("[[1,2],[3]]", &[1, 2, 3]),
        ("[[],[4294967295]]", &[u32::MAX]),
    ] {
        let body = format!("{{\"prompt\":{prompt}}}");
        let request = InferenceRequest::parse(Completions, body.as_bytes())
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            request.prompt,
            Prompt::Tokens(expected.to_vec()),
            "{prompt}"
        );
        assert_eq!(request.prompt.bytes(), 4 * expected.len());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_json_is_refused() {
    for body in [
        &b"{"[..],
        b"",
        b"model=llama",
        b"{\"model\":\"m\"",
        b"{\"model\":\"m\"} x",
        b"{\"model\":\"m\",}",
        b"{'model':'m'}",
        b"{\"model\":\"\xff\"}",
        b"{\"model\":\"a\nb\"}",
        b"{\"prompt\":\"\\ud800\"}",
    ] {
        for api in [ChatCompletions, Completions] {
            assert!(
                InferenceRequest::parse(api, body).is_err(),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn deep_nesting_is_no_way_to_overflow_the_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"content\":", "}]")] {
        let (open, close) = (open.repeat(50_000), close.repeat(50_000));
        let body = format!("{{\"messages\":{open}0{close},\"model\":\"m\"}}");
        let _ = InferenceRequest::parse(ChatCompletions, body.as_bytes());
        let unclosed = format!("{{\"messages\":{open}");
        assert!(InferenceRequest::parse(ChatCompletions, unclosed.as_bytes()).is_err());
    }
}
