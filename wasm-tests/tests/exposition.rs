//! Lines of the Prometheus text format, and the selectors that name their series.

use endpoint_picker::exposition::{
    FamilySet, InvalidLine, Line, Sample, Selector, parse_line, samples,
};
use wasm_bindgen_test::wasm_bindgen_test;

fn sample(line: &str) -> Option<Sample<'_>> {
    match parse_line(line.as_bytes()) {
        Ok(Line::Sample(sample)) => Some(sample),
        _ => None,
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn samples_are_read() {
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], f64, Option<i64>);
    let cases: &[Case<'_>] = &[
        ("up 1", "up", &[], 1.0, None),
        ("up{} 5.0", "up", &[], 5.0, None),
        ("up { } 5", "up", &[], 5.0, None),
        ("  up\t1\t\r", "up", &[], 1.0, None),
        ("\x0cup 1", "up", &[], 1.0, None),
        (":a_1:B 0", ":a_1:B", &[], 0.0, None),
        (
            "up 1.8e+09 1395066363000",
            "up",
            &[],
            1.8e9,
            Some(1_395_066_363_000),
        ),
        ("up 1 -5", "up", &[], 1.0, Some(-5)),
        ("up +Inf", "up", &[], f64::INFINITY, None),
        ("up -Inf", "up", &[], f64::NEG_INFINITY, None),
        ("up -0.5", "up", &[], -0.5, None),
        (r#"a{b="c"} 1"#, "a", &[("b", "c")], 1.0, None),
        (r#"a{b="c",} 1"#, "a", &[("b", "c")], 1.0, None),
        (r#"a{b="c"}1"#, "a", &[("b", "c")], 1.0, None),
        (
            r#"a { b = "c" , d = "e" } 1"#,
            "a",
            &[("b", "c"), ("d", "e")],
            1.0,
            None,
        ),
        (r#"a{b=""} 1"#, "a", &[("b", "")], 1.0, None),
        (r#"a{b="} 1, {"} 2"#, "a", &[("b", "} 1, {")], 2.0, None),
        (
            r#"a{path="C:\\DIR\\F",e="Cannot find:\n\"F\""} 1.458255915e9"#,
            "a",
            &[("path", "C:\\DIR\\F"), ("e", "Cannot find:\n\"F\"")],
            1_458_255_915.0,
            None,
        ),
        (
            r#"a{b="größe 日本"} 1"#,
            "a",
            &[("b", "größe 日本")],
            1.0,
            None,
        ),
    ];
    for (line, family, labels, value, timestamp) in cases {
        let read = sample(line).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(read.family, *family, "{line}");
        assert_eq!(&read.labels.iter().collect::<Vec<_>>(), labels, "{line}");
        assert_eq!(read.value, *value, "{line}");
        assert_eq!(read.timestamp, *timestamp, "{line}");
    }
    assert!(sample("up NaN").is_some_and(|sample| sample.value.is_nan()));
}

#[wasm_bindgen_test(unsupported = test)]
fn invalid_lines_are_refused() {
    for line in [
        "up",
        "up{",
        "up{}",
        "up one",
        "up 1 2 3",
        "up 1 2.5",
        "up+1",
        "up{,} 1",
        "1up 1",
        "up{b} 1",
        "up{b=c} 1",
        r#"up{b="c} 1"#,
        r#"up{b="\t"} 1"#,
        r#"up{1b="c"} 1"#,
        r#"up{b="c" d="e"} 1"#,
        r#"up{b="c"} "#,
        "größe 1",
        "{\"up\"} 1",
        "\0",
    ] {
        assert_eq!(parse_line(line.as_bytes()), Err(InvalidLine), "{line:?}");
    }
    assert_eq!(parse_line(b"up{b=\"\xff\"} 1"), Err(InvalidLine));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_invalid_line_costs_only_itself() {
    let mut families = FamilySet::default();
    let up = families.insert("up");
    let text = b"up 1\nup{ 2\nother{ x\n\xff\xfe\n\nup_total 3\nup 4";
    let read: Vec<_> = samples(text, &families)
        .map(|item| item.map(|(family, sample)| (family, sample.value)))
        .collect();
    assert_eq!(read, [Ok((up, 1.0)), Err(InvalidLine), Ok((up, 4.0))]);
}

#[wasm_bindgen_test(unsupported = test)]
fn selectors_match_a_subset_of_labels() {
    for (selector, series, expected) in [
        ("a", "a 1", true),
        ("a", r#"a{b="c"} 1"#, true),
        ("a{}", r#"a{b="c"} 1"#, true),
        (r#"a{b="c"}"#, r#"a{b="c",d="e"} 1"#, true),
        ("a{b=c}", r#"a{b="c"} 1"#, true),
        (" a { b = c , d = \"e\" , } ", r#"a{d="e",b="c"} 1"#, true),
        // A label that a series has twice counts as it is first written.
        ("a{b=c}", r#"a{b="c",b="d"} 1"#, true),
        ("a{b=d}", r#"a{b="c",b="d"} 1"#, false),
        (r#"a{b="c"}"#, "a 1", false),
        (r#"a{b="c"}"#, r#"a{b="C"} 1"#, false),
        (r#"a{b="c",d="e"}"#, r#"a{b="c"} 1"#, false),
        ("a{b=c d}", r#"a{b="c d"} 1"#, true),
        (r#"a{b="x\"y\\z\n"}"#, r#"a{b="x\"y\\z\n"} 1"#, true),
    ] {
        let parsed: Selector = selector.parse().unwrap_or_else(|error| panic!("{error}"));
        let read = sample(series).unwrap_or_else(|| panic!("{series}"));
        assert_eq!(parsed.family(), "a", "{selector}");
        assert_eq!(
            parsed.matches(&read.labels),
            expected,
            "{selector} of {series}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_selector_is_refused() {
    for text in [
        "",
        "  ",
        "{a=b}",
        "1a",
        "a b",
        "a{b}",
        "a{b=}",
        "a{=b}",
        "a{b=c",
        "a}b",
        "a{b=\"c}",
        "a{b=c}d",
        "größe",
        "a{b!=\"c\"}",
        "a{b=~\"c\"}",
        "a{b=~c}",
        "a{b='c'}",
        "a{b=`c`}",
    ] {
        assert!(text.parse::<Selector>().is_err(), "{text:?}");
    }
}
