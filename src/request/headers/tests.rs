use super::*;
use crate::request::hints::{MAX_HINT, MAX_SUBSET};

fn read<'a>(headers: &'a [(&'a str, &'a [u8])], trusted: &[&str]) -> RequestHead<'a> {
    let mut all = Trusted::default();
    for name in trusted {
        assert!(all.trust(name), "{name}");
    }
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), *value));
    let rules = HeaderRules {
        trusted: all,
        own: ["x-own", "x-served"].map(str::to_owned).into(),
        ..HeaderRules::default()
    };
    RequestHead::read(headers, &rules)
}

fn hints(headers: &[(&str, &[u8])]) -> RequestHints {
    read(headers, &Trusted::NAMES).hints
}

#[test]
fn what_is_ordinary_says_what_is_to_be_read() {
    let head = read(
        &[
            (":method", b"POST"),
            (":path", b"/v1/chat/completions?a=b"),
            ("content-length", b"17"),
            ("accept-encoding", b"gzip, br"),
            ("x-request-id", b"\xff1"),
            ("x-other", b"1"),
        ],
        &[],
    );
    let expected = RequestHead {
        path: b"/v1/chat/completions?a=b",
        is_post: true,
        content_length: Some(17),
        takes_compressed: true,
        request_id: Some(b"\xff1"),
        ..RequestHead::default()
    };
    assert_eq!(head, expected);
    assert_eq!(head.api(), Some(Api::ChatCompletions));
}

#[test]
fn only_readable_posts_to_an_api_are_read() {
    let api = |headers: &[(&str, &[u8])]| read(headers, &[]).api();
    let post: (&str, &[u8]) = (":method", b"POST");
    let path: (&str, &[u8]) = (":path", b"/v1/completions");
    assert_eq!(api(&[post, path]), Some(Api::Completions));
    assert_eq!(api(&[path]), None);
    assert_eq!(api(&[(":method", b"GET"), path]), None);
    assert_eq!(api(&[post, (":path", b"/v1/models")]), None);
    for (encoding, is_read) in [
        ("gzip", false),
        ("identity", true),
        ("", true),
        ("GZIP", false),
    ] {
        let encoding = ("content-encoding", encoding.as_bytes());
        assert_eq!(
            api(&[post, path, encoding]).is_some(),
            is_read,
            "{encoding:?}"
        );
    }
    let both: [(&str, &[u8]); 2] = [
        ("content-encoding", b"gzip"),
        ("content-encoding", b"identity"),
    ];
    assert_eq!(api(&[post, path, both[0], both[1]]), None);
}

#[test]
fn hints_are_read_by_both_names() {
    for prefix in ["x-llm-d-", "x-gateway-"] {
        let (objective, fairness) = (
            format!("{prefix}inference-objective"),
            format!("{prefix}inference-fairness-id"),
        );
        let hints = hints(&[(&objective, b" batch "), (&fairness, "Zoë".as_bytes())]);
        assert_eq!(hints.objective.as_deref(), Some("batch"));
        assert_eq!(hints.fairness_id.as_deref(), Some("Zoë"));
    }
    for prefix in ["x-llm-d-slo-", "x-slo-"] {
        let (ttft, tpot) = (format!("{prefix}ttft-ms"), format!("{prefix}tpot-ms"));
        let hints = hints(&[(&ttft, b"200"), (&tpot, b"12.5")]);
        assert_eq!(
            (hints.slo_ttft_ms, hints.slo_tpot_ms),
            (Some(200.0), Some(12.5))
        );
    }
}

#[test]
fn the_proper_name_goes_before_its_alias_and_the_first_value_before_others() {
    let (proper, alias) = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms");
    let ttft = |headers: &[(&str, &[u8])]| hints(headers).slo_ttft_ms;
    assert_eq!(ttft(&[(proper, b"1"), (alias, b"2")]), Some(1.0));
    assert_eq!(ttft(&[(alias, b"2"), (proper, b"1")]), Some(1.0));
    assert_eq!(ttft(&[(proper, b"1"), (proper, b"3")]), Some(1.0));
    assert_eq!(ttft(&[(alias, b"2"), (alias, b"3")]), Some(2.0));
    // What means nothing is as if it were not there.
    assert_eq!(ttft(&[(proper, b"soon"), (alias, b"2")]), Some(2.0));
}

#[test]
fn values_that_mean_nothing_are_ignored_and_counted() {
    let long = [b'a'; MAX_HINT + 1];
    for value in [&b""[..], b"  ", b"\xff", b"a\x01b", b"\x7f", &long] {
        let hints = hints(&[("x-llm-d-inference-objective", value)]);
        assert_eq!((hints.objective, hints.invalid), (None, 1), "{value:?}");
    }
    let hints = hints(&[("x-gateway-inference-fairness-id", &long[1..])]);
    assert_eq!(
        (hints.fairness_id.map(|id| id.len()), hints.invalid),
        (Some(MAX_HINT), 0)
    );
    for value in [
        "", "soon", "0", "-1", "NaN", "inf", "1e999", "0x10", "200ms", "1,000",
    ] {
        let hints = self::hints(&[("x-slo-tpot-ms", value.as_bytes())]);
        assert_eq!((hints.slo_tpot_ms, hints.invalid), (None, 1), "{value:?}");
    }
}

#[test]
fn a_subset_is_a_list_of_addresses() {
    const NAME: &str = "x-gateway-destination-endpoint-subset";
    let subset = |values: &[&[u8]]| {
        let headers: Vec<_> = values.iter().map(|value| (NAME, *value)).collect();
        let hints = hints(&headers);
        let subset = hints.subset.unwrap();
        let subset: Vec<_> = subset.iter().map(ToString::to_string).collect();
        (subset.join(" "), hints.invalid)
    };
    assert_eq!(subset(&[b"10.0.0.1:80"]), ("10.0.0.1:80".into(), 0));
    assert_eq!(
        subset(&[b"10.0.0.1:80,[fd00::1]:80"]),
        ("10.0.0.1:80 [fd00::1]:80".into(), 0)
    );
    assert_eq!(
        subset(&[b"10.0.0.1:80", b" 10.0.0.2:80 , "]),
        ("10.0.0.1:80 10.0.0.2:80".into(), 0)
    );
    assert_eq!(subset(&[b""]), (String::new(), 0));
    assert_eq!(
        subset(&[b"10.0.0.1, pod:80, \xff, 10.0.0.2:80"]),
        ("10.0.0.2:80".into(), 3)
    );
    assert_eq!(hints(&[]).subset, None);

    let mut long = b"10.0.0.1:80,".repeat(MAX_SUBSET / 12);
    long.extend_from_slice(b"10.0.0.2:80");
    let hints = hints(&[(NAME, &long)]);
    assert_eq!(
        (hints.subset.unwrap().len(), hints.invalid),
        (MAX_SUBSET / 12, 1)
    );
}

#[test]
fn what_is_not_for_clients_to_say_is_removed() {
    let removed = |name: &str, trusted: &[&str]| {
        let headers: [(&str, &[u8]); 2] = [(name, b"10.0.0.1:80"), (name, b"again")];
        let head = read(&headers, trusted);
        assert!(head.removed.len() <= 1);
        assert!(
            head.removed
                .iter()
                .all(|removed| *removed == name.as_bytes())
        );
        let said = head.hints.model_rewrite.is_some() || head.hints.subset.is_some();
        assert_eq!(said, head.removed.is_empty(), "{name}");
        !head.removed.is_empty()
    };
    for name in [
        "x-envoy-original-dst-host",
        "x-gateway-destination-endpoint",
        "x-gateway-destination-endpoint-served",
        "x-gateway-model-name",
        "x-gateway-base-model-name",
        "x-own",
        "x-served",
    ] {
        assert!(removed(name, &[]), "{name}");
        assert!(removed(name, &Trusted::NAMES), "{name}");
    }
    for name in Trusted::NAMES {
        assert!(removed(name, &[]), "{name}");
        assert!(!removed(name, &[name]), "{name}");
        let others: Vec<_> = Trusted::NAMES
            .into_iter()
            .filter(|it| *it != name)
            .collect();
        assert!(removed(name, &others), "{name}");
    }
}

#[test]
fn only_what_can_be_trusted_is() {
    let mut trusted = Trusted::default();
    assert!(trusted.trust("X-LLM-D-Model-Name-Rewrite"));
    assert!(trusted.renames_models());
    assert!(!trusted.trust("x-gateway-model-name"));
}

#[test]
fn what_has_a_use_has_no_other() {
    for name in Trusted::NAMES
        .into_iter()
        .chain(["x-slo-ttft-ms", "x-request-id", MODEL_NAME])
    {
        assert!(has_another_use(name), "{name}");
    }
    for name in [ORIGINAL_DST_HOST, DESTINATION_ENDPOINT, "x-chosen"] {
        assert!(!has_another_use(name), "{name}");
    }
}

#[test]
fn what_the_configuration_asks_about_is_kept() {
    let rules = HeaderRules {
        watched: ["x-session", "x-tier"]
            .map(|name| Watched::Header(name.to_owned()))
            .into(),
        explain: Some("x-explain".to_owned()),
        ..HeaderRules::default()
    };
    let read = |headers: &[(&str, &[u8])]| {
        let headers = headers.iter();
        let head = RequestHead::read(
            headers.map(|(name, value)| (name.as_bytes(), *value)),
            &rules,
        );
        let watched = head.watched.into_iter().map(|value| value.map(Vec::from));
        (
            watched.collect::<Vec<_>>(),
            head.explain.is_some(),
            head.removed.len(),
        )
    };
    assert_eq!(read(&[]), (vec![None, None], false, 0));
    let long = [b'a'; MAX_WATCHED + 1];
    for (headers, expected) in [
        (
            [("x-tier", &b"gold"[..]), ("x-tier", b"lead")],
            (vec![None, Some(b"gold".to_vec())], false, 0),
        ),
        (
            [("x-session", &long[..]), ("x-explain", b"secret")],
            (vec![None, None], true, 1),
        ),
        (
            [("x-session", &b"1"[..]), ("x-own", b"")],
            (vec![Some(b"1".to_vec()), None], false, 0),
        ),
    ] {
        assert_eq!(read(&headers), expected);
    }
}

#[test]
fn a_cookie_is_kept_without_the_others() {
    let rules = HeaderRules {
        watched: ["stay", "other"]
            .map(|name| Watched::Cookie(name.to_owned()))
            .into(),
        ..HeaderRules::default()
    };
    // More than all browsers have for one site is no more than passes through.
    let many = format!("theme={}; stay=here", "a".repeat(3 * MAX_WATCHED));
    let headers = [
        ("cookie", many.as_str()),
        ("x-stay", "stay=no"),
        ("cookie", "stay=there; other=1"),
    ];
    let headers = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = RequestHead::read(headers.into_iter(), &rules);
    let watched: Vec<_> = head.watched.iter().map(Option::as_deref).collect();
    assert_eq!(watched, [Some(&b"here"[..]), Some(b"1")]);
}
