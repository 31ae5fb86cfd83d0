//! Bodies as clients send them.

use endpoint_picker::{
    prefix::Scope,
    request::{Api, InferenceRequest, Malformed, Progress, RequestReader},
};
use wasm_bindgen_test::wasm_bindgen_test;

use Api::{ChatCompletions, Completions};

/// Reads a whole body at once, all of its prompt.
fn read(api: Api, body: &[u8]) -> Result<InferenceRequest, Malformed> {
    let mut reader = RequestReader::new(api, usize::MAX);
    let _ = reader.feed(body)?;
    reader.finish()?;
    Ok(reader.request().clone())
}

#[wasm_bindgen_test(unsupported = test)]
fn bodies_are_read() {
    // What stands last are the texts of the prompt.
    type Case<'a> = (&'a str, Api, &'a str, Option<&'a str>, bool, &'a [&'a str]);
    let cases: &[Case<'_>] = &[
        (
            "a chat",
            ChatCompletions,
            r#"{"model":"llama","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}"#,
            Some("llama"),
            false,
            &["system", "Be brief.", "user", "Hi"],
        ),
        (
            "the model last, streamed, with fields that are not read",
            ChatCompletions,
            r#"{"messages":[{"role":"user","name":"x","content":"Hi"}],"n":1,"stream_options":{"include_usage":true},"stream":true,"model":"m"}"#,
            Some("m"),
            true,
            &["user", "x", "Hi"],
        ),
        (
            "escapes",
            ChatCompletions,
            r#"{"model":"a\/b","messages":[{"role":"user","content":"\u00e9\n\ud83d\ude00 \"q\""}]}"#,
            Some("a/b"),
            false,
            &["user", "é\n😀 \"q\""],
        ),
        (
            "content parts and media",
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What is "},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"this?"}]}]}"#,
            Some("m"),
            false,
            &["user", "text", "What is ", "image_url", "text", "this?"],
        ),
        (
            "tool calls beside null content",
            ChatCompletions,
            r#"{"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"42"}]}"#,
            Some("m"),
            false,
            &["assistant", "1", "function", "f", "{}", "tool", "1", "42"],
        ),
        (
            "a completion",
            Completions,
            r#"{"model":"m","prompt":"Once","stream":false}"#,
            Some("m"),
            false,
            &["Once"],
        ),
        (
            "a batch",
            Completions,
            r#"{"model":"m","prompt":["Once"," upon"]}"#,
            Some("m"),
            false,
            &["Once", " upon"],
        ),
        (
            "no model",
            Completions,
            r#"{"prompt":"Once"}"#,
            None,
            false,
            &["Once"],
        ),
        (
            "nulls",
            Completions,
            r#"{"model":null,"prompt":null,"stream":null}"#,
            None,
            false,
            &[],
        ),
        ("an empty object", ChatCompletions, " {} ", None, false, &[]),
        (
            "white space around",
            Completions,
            "\r\n\t{ \"model\" : \"m\" }\n",
            Some("m"),
            false,
            &[],
        ),
        (
            "the prompt of another API",
            ChatCompletions,
            r#"{"model":"m","prompt":"Once"}"#,
            Some("m"),
            false,
            &[],
        ),
        // JSON of another shape is the model server's to judge.
        ("a list", ChatCompletions, "[1,2]", None, false, &[]),
        (
            "a number for the model",
            ChatCompletions,
            r#"{"model":5}"#,
            None,
            false,
            &[],
        ),
        (
            "a prompt of mixed kinds",
            Completions,
            r#"{"model":"m","prompt":["a",1]}"#,
            Some("m"),
            false,
            &["a"],
        ),
    ];
    for (case, api, body, model, stream, texts) in cases {
        let request = read(*api, body.as_bytes()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let requested = request.model.as_ref().map(|model| &*model.name);
        assert_eq!(requested, *model, "{case}");
        assert_eq!(request.stream, *stream, "{case}");
        let length = texts.concat().len() as u64;
        assert_eq!(request.prompt.counts().text_bytes, length, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn texts_are_hashed_as_they_are_decoded() {
    let plain = "é\t😀 \"q\" ".repeat(100);
    let escaped = r#"\u00e9\t\uD83D\ude00 \"q\"\u0020"#.repeat(100);
    let quoted = plain.replace('"', "\\\"").replace('\t', "\\u0009");
    let hashes = |text: &str| {
        let body = format!(r#"{{"prompt":"{text}"}}"#);
        let request = read(Completions, body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(request.prompt.counts().text_bytes, plain.len() as u64);
        let hashes = request.prompt.block_hashes(Scope::default());
        hashes.map(|hash| hash.as_u64()).collect::<Vec<_>>()
    };
    assert_eq!(hashes(&escaped), hashes(&quoted));
    assert_eq!(hashes(&escaped).len(), plain.len() / 256);
}

#[wasm_bindgen_test(unsupported = test)]
fn token_ids_count_as_tokens() {
    for (prompt, expected) in [("[1,2,3]", 3), ("[[1,2],[3]]", 3), ("[[],[4294967295]]", 1)] {
        let body = format!("{{\"prompt\":{prompt}}}");
        let request = read(Completions, body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(request.prompt.counts().token_ids, expected, "{prompt}");
        assert_eq!(request.prompt.estimated_tokens(0), expected, "{prompt}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_read_of_a_text_counts_by_its_length() {
    let image = r#"{"messages":[{"content":[{"image_url":{"url":"x"}},{"text":"abcd"}]}]}"#;
    for (body, unread, expected) in [
        (r#"{"messages":"abcdefgh"}"#, 0, 2),
        (r#"{"messages":"abcdefgh"}"#, 401, 103),
        // More than anybody means, and nothing of it need ever come.
        (r#"{"messages":"abcdefgh"}"#, u64::MAX, 2 + (16 << 20)),
        (image, 0, 1),
        (image, 400, 1),
    ] {
        let body = body.as_bytes();
        let request = read(ChatCompletions, body).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            request.prompt.estimated_tokens(unread),
            expected,
            "{unread}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_not_json_is_refused() {
    for body in [
        &b"{"[..],
        b"",
        b"model=llama",
        b"1,2",
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
                read(api, body).is_err(),
                "{}",
                String::from_utf8_lossy(body)
            );
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"content\":", "}]")] {
        for (levels, fits) in [(50, true), (50_000, false)] {
            let (open, close) = (open.repeat(levels), close.repeat(levels));
            let body = format!("{{\"messages\":{open}0{close},\"model\":\"m\"}}");
            assert_eq!(
                read(ChatCompletions, body.as_bytes()).is_ok(),
                fits,
                "{open}"
            );
            let unclosed = format!("{{\"messages\":{open}");
            assert!(read(ChatCompletions, unclosed.as_bytes()).is_err());
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn later_names_of_max_tokens_come_before_older_ones() {
    for (api, fields, expected) in [
        (ChatCompletions, r#""max_tokens":1"#, Some(1)),
        (
            ChatCompletions,
            r#""max_tokens":1,"max_completion_tokens":2"#,
            Some(2),
        ),
        (
            ChatCompletions,
            r#""max_completion_tokens":2,"max_tokens":1"#,
            Some(2),
        ),
        (
            ChatCompletions,
            r#""max_completion_tokens":null,"max_tokens":1"#,
            Some(1),
        ),
        (ChatCompletions, r#""max_tokens":1,"max_tokens":3"#, Some(3)),
        (ChatCompletions, r#""max_tokens":1,"max_tokens":{}"#, None),
        (ChatCompletions, r#""max_tokens":-1"#, None),
        (ChatCompletions, r#""max_tokens":1.5"#, None),
        (ChatCompletions, r#""max_tokens":"7""#, None),
        (ChatCompletions, r#""max_output_tokens":1"#, None),
        (
            Api::Responses,
            r#""max_output_tokens":1,"max_tokens":2"#,
            Some(1),
        ),
        (Api::Messages, r#""max_tokens":1"#, Some(1)),
        (
            Api::SglangGenerate,
            r#""sampling_params":{"max_new_tokens":4}"#,
            Some(4),
        ),
        (
            Api::VllmGenerate,
            r#""sampling_params":{"a":{"max_tokens":3},"max_tokens":4}"#,
            Some(4),
        ),
        (Completions, r#""sampling_params":{"max_tokens":4}"#, None),
    ] {
        let body = format!("{{{fields}}}");
        let request = read(api, body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(request.max_tokens, expected, "{fields}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn media_are_told_from_text_by_where_they_stand() {
    // What stands last are media and their bytes.
    for (case, api, body, media, bytes) in [
        (
            "an address as it is, and in an object",
            ChatCompletions,
            r#"{"messages":[{"content":[{"image_url":"abc"},{"video_url":{"url":"defg","detail":"high"}}]}]}"#,
            2,
            7,
        ),
        (
            "text beside a picture",
            ChatCompletions,
            r#"{"messages":[{"content":[{"image_url":{"url":"abc"}},"What is this?"]}]}"#,
            1,
            3,
        ),
        (
            "addresses that no content part has",
            ChatCompletions,
            r#"{"messages":[{"content":"a","url":"b"}],"tools":[{"url":"c","data":"d","image_url":{"url":"e"}}]}"#,
            0,
            0,
        ),
        (
            "the input of a tool",
            Api::Messages,
            r#"{"messages":[{"content":[{"type":"tool_use","input":{"image_url":{"url":"a"},"data":["b"]}}]}]}"#,
            0,
            0,
        ),
        (
            "a document as text, and as base64",
            Api::Messages,
            r#"{"messages":[{"content":[{"source":{"type":"text","data":"a"}},{"source":{"type":"base64","data":"bc"}}]}]}"#,
            1,
            2,
        ),
        (
            "media of their own",
            Api::SglangGenerate,
            r#"{"text":"a","image_data":["bc",{"url":"def"}],"audio_data":"g"}"#,
            3,
            6,
        ),
        (
            "embeddings",
            Completions,
            r#"{"prompt":"a","prompt_embeds":["bc","def"]}"#,
            2,
            5,
        ),
    ] {
        let request = read(api, body.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let counts = request.prompt.counts();
        assert_eq!((counts.media, counts.media_bytes), (media, bytes), "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn the_order_of_fields_does_not_matter() {
    let long = "Be brief. ".repeat(60);
    let fields = [
        r#""model":"m""#.to_owned(),
        format!(r#""tools":[{{"name":"{long}"}}]"#),
        format!(r#""system":"{long}{long}""#),
        format!(r#""messages":[{{"role":"user","content":"{long}"}}]"#),
    ];
    let hashes = |order: [usize; 4]| {
        let body = order.map(|index| &*fields[index]).join(",");
        let request = read(Api::Messages, format!("{{{body}}}").as_bytes())
            .unwrap_or_else(|error| panic!("{error}"));
        let hashes = request.prompt.block_hashes(Scope::default());
        hashes.map(|hash| hash.as_u64()).collect::<Vec<_>>()
    };
    let expected = hashes([0, 1, 2, 3]);
    assert_eq!(expected.len(), 2 + 4 + 2);
    for order in [[3, 2, 1, 0], [2, 3, 0, 1], [1, 0, 3, 2]] {
        assert_eq!(hashes(order), expected, "{order:?}");
    }
    // With other tools in front nothing is the same; with other messages what is before them.
    let without = |left_out: usize| {
        let order = [0, 1, 2, 3].map(|index| if index == left_out { 0 } else { index });
        hashes(order)
    };
    assert!(without(1).iter().all(|hash| !expected.contains(hash)));
    assert_eq!(without(3), expected[..6]);
}

#[wasm_bindgen_test(unsupported = test)]
fn it_is_enough_once_the_prefix_is_hashed_and_the_model_known() {
    let text = "x".repeat(600);
    for (body, last) in [
        (
            format!(r#"{{"model":"m","prompt":"{text}","n":2}}"#),
            &*"x".repeat(512),
        ),
        (
            format!(r#"{{"prompt":"{text}","n":2,"model":"m","user":"u"}}"#),
            "\"m\"",
        ),
    ] {
        let enough = body.find(last).map(|at| at + last.len());
        for cut in 0..body.len() {
            let mut reader = RequestReader::new(Completions, 300);
            let progress = reader.feed(&body.as_bytes()[..cut]);
            let expected = if Some(cut) < enough {
                Progress::More
            } else {
                Progress::Enough
            };
            assert_eq!(progress, Ok(expected), "{cut} bytes of {body}");
        }
    }
}
