//! Strings of JSON, which a Wasm VM reads by other instructions than other machines do.

use core::ops::ControlFlow;

use endpoint_picker::request::{Container, Scalar, Scanner, Visitor};
use wasm_bindgen_test::wasm_bindgen_test;

/// Has the text of all strings.
struct Texts(Vec<u8>);

impl Visitor for Texts {
    fn key(&mut self, _: &[u8]) {}
    fn begin(&mut self, _: Container) {}
    fn end(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn begin_string(&mut self, _: u64) -> bool {
        true
    }
    fn text(&mut self, text: &[u8]) -> ControlFlow<()> {
        self.0.extend(text);
        ControlFlow::Continue(())
    }
    fn end_string(&mut self, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn scalar(&mut self, _: Scalar<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The text of a string, if it is JSON.
fn text(json: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = Scanner::default();
    let mut texts = Texts(Vec::new());
    let fed = scanner.feed(json, &mut texts);
    fed.and_then(|_| scanner.finish(&mut texts)).ok()?;
    Some(texts.0)
}

/// A string with `middle` behind `before` bytes that are plain and a first escape, and as many as any
/// reader looks at together behind it.
fn string(before: usize, middle: &[u8]) -> Vec<u8> {
    let around = ["a".repeat(before), "b".repeat(200)];
    let [start, end] = around.each_ref().map(String::as_bytes);
    [b"\"\\n", start, middle, end, b"\""].concat()
}

fn is_read_as_serde_json_does(json: &[u8]) {
    let expected = serde_json::from_slice(json).ok().map(String::into_bytes);
    assert_eq!(text(json), expected, "{}", json.escape_ascii());
}

#[wasm_bindgen_test(unsupported = test)]
fn characters_are_utf8_at_every_place() {
    // The first and the last of each kind of byte that UTF-8 tells apart.
    const BYTES: [u8; 24] = [
        b'a', 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xC3, 0xDF, 0xE0, 0xE1,
        0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF,
    ];
    let mut place = 0;
    for a in BYTES {
        for b in BYTES {
            for c in BYTES {
                for d in [b'a', 0x80, 0xBF, 0xC3] {
                    place = (place + 1) % 17;
                    is_read_as_serde_json_does(&string(place, &[a, b, c, d]));
                }
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn escapes_are_read_at_every_place() {
    let letters = (0..=u8::MAX).map(|letter| vec![b'\\', letter]);
    let rows = (1..9).map(|count| [&b"\\".repeat(count)[..], b"n"].concat());
    let others = [
        &br"\u00e9"[..],
        br"\ud83d\ude00",
        br"\ud83d",
        br"\u12",
        br"\n\n",
        br#"\"quoted\""#,
        b"\x1F",
        b"\0",
        b"\xC3\\u0080",
        b"\xC3\\n",
        "ö\\nß\\\"😀\\t".as_bytes(),
    ];
    let others = others.into_iter().map(<[u8]>::to_vec);
    for middle in letters.chain(rows).chain(others) {
        for before in 0..130 {
            is_read_as_serde_json_does(&string(before, &middle));
        }
    }
}
