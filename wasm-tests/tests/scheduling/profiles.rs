//! Which profile is for which request.

use endpoint_picker::{
    models::ModelPattern,
    scheduling::{Condition, Disaggregation, HeaderCondition, Profile, Request, Scheduling, Terms},
};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::{Scene, bare},
    support::Server,
};

fn header(header: usize, value: Option<&str>) -> Condition {
    headers(&[(header, value)])
}

fn headers(headers: &[(usize, Option<&str>)]) -> Condition {
    let condition = |&(header, value): &(usize, Option<&str>)| HeaderCondition {
        header,
        value: value.map(str::to_owned),
    };
    Condition {
        headers: headers.iter().map(condition).collect(),
        ..Condition::default()
    }
}

fn models(models: &[&str]) -> Condition {
    Condition {
        models: models
            .iter()
            .map(|it| ModelPattern::parse(it).unwrap())
            .collect(),
        ..Condition::default()
    }
}

fn paths(paths: &[&str]) -> Condition {
    Condition {
        paths: paths.iter().map(ToString::to_string).collect(),
        ..Condition::default()
    }
}

/// `a: batch`, no second header, a third that is empty, and of bytes the fourth.
fn request(look: impl FnOnce(Request<'_>)) {
    let values: [Option<&[u8]>; 4] = [Some(b"batch"), None, Some(b""), Some(b"\xff")];
    look(Request {
        model: Some("llama-3-8b"),
        path: b"/v1/chat/completions",
        headers: &values.map(|value| value.map(Box::from)),
        ..Request::default()
    });
}

#[wasm_bindgen_test(unsupported = test)]
fn all_of_a_condition_must_hold() {
    let all = |header: Condition, models: Condition, paths: Condition| Condition {
        headers: header.headers,
        models: models.models,
        paths: paths.paths,
    };
    let (is_batch, is_llama, is_chat) = (
        header(0, Some("batch")),
        models(&["llama-*"]),
        paths(&["/chat/completions"]),
    );
    let (is_phi, is_other) = (models(&["phi"]), paths(&["/embeddings"]));
    for (condition, expected) in [
        (Condition::default(), true),
        (is_batch.clone(), true),
        (header(0, None), true),
        (header(0, Some("Batch")), false),
        (header(0, Some("batc")), false),
        (header(0, Some("")), false),
        (header(1, None), false),
        (header(1, Some("")), false),
        (header(2, None), true),
        (header(2, Some("")), true),
        (header(3, None), true),
        (header(3, Some("\u{ff}")), false),
        // No such place.
        (header(4, None), false),
        (headers(&[(0, Some("batch")), (2, None)]), true),
        (headers(&[(0, Some("batch")), (1, None)]), false),
        (models(&["llama-3-8b"]), true),
        (models(&["phi", "llama-3-8b"]), true),
        (models(&["llama-3"]), false),
        (models(&["llama-3*"]), true),
        (models(&["*"]), true),
        (is_phi.clone(), false),
        (is_chat.clone(), true),
        (paths(&["/v1/chat/completions"]), true),
        (paths(&["/embeddings", "/chat/completions"]), true),
        (paths(&["/chat"]), false),
        (is_other.clone(), false),
        (
            all(is_batch.clone(), is_llama.clone(), is_chat.clone()),
            true,
        ),
        (
            all(header(1, None), is_llama.clone(), is_chat.clone()),
            false,
        ),
        (all(is_batch.clone(), is_phi, is_chat), false),
        (all(is_batch, is_llama, is_other), false),
    ] {
        request(|request| assert_eq!(condition.holds(request), expected, "{condition:?}"));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_without_a_model_is_of_no_model() {
    let request = Request::default();
    assert!(!models(&["*"]).holds(request));
    assert!(!paths(&["/"]).holds(request));
    assert!(Condition::default().holds(request));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_first_that_holds_counts_and_else_the_last() {
    let named = |name: &str, when: &Condition| Profile {
        name: name.to_owned(),
        when: when.clone(),
        ..bare()
    };
    let (yes, no, always) = (models(&["llama-*"]), models(&["phi"]), Condition::default());
    let scene = Scene::new(&[Server::silent()], 0);
    for (conditions, prefill, expected) in [
        (&[&yes, &always][..], None, "0"),
        (&[&no, &yes, &always], None, "1"),
        (&[&no, &no, &always], None, "2"),
        (&[&always, &yes], None, "0"),
        (&[&no, &no], None, "1"),
        // Prefillers are chosen by a profile that no request is decoded by.
        (&[&always, &yes], Some(0), "1"),
        (&[&always, &no], Some(0), "1"),
        (&[&no, &always], Some(1), "0"),
        (&[&no, &no, &always], Some(2), "1"),
        // Unless there is no other.
        (&[&no], Some(0), "0"),
    ] {
        let named = |(index, when): (usize, &&Condition)| named(&index.to_string(), when);
        let scheduling = Scheduling {
            profiles: conditions.iter().enumerate().map(named).collect(),
            disaggregation: prefill.map(|prefill| Disaggregation {
                prefill,
                min_uncached_tokens: 0,
            }),
        };
        request(|request| {
            let terms = Terms {
                request,
                ..scene.terms()
            };
            scene.decide_on(scheduling, terms, |decision| {
                assert_eq!(
                    decision.unwrap().profile(),
                    expected,
                    "{conditions:?} {prefill:?}"
                );
            });
        });
    }
}
