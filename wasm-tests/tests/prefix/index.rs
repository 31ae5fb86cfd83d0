//! Which endpoint holds how much of a prompt.

use core::num::NonZeroUsize;

use endpoint_picker::prefix::{BlockHash, BlockHasher, Blocks, DEFAULT_MAX_BYTES, PrefixIndex};
use wasm_bindgen_test::wasm_bindgen_test;

/// A block for each character.
pub(crate) fn blocks(prompt: &str) -> Vec<BlockHash> {
    let (size, limit) = (NonZeroUsize::MIN, usize::MAX);
    let mut blocks = Vec::new();
    let mut hasher = BlockHasher::new(BlockHash::NEUTRAL, Blocks { size, limit });
    hasher.update(prompt.as_bytes(), |hash| blocks.push(hash));
    blocks
}

pub(crate) fn matched(index: &PrefixIndex, prompt: &str) -> Vec<u32> {
    let mut matched = Vec::new();
    index.matched(&blocks(prompt), &mut matched);
    matched
}

#[wasm_bindgen_test(unsupported = test)]
fn an_endpoint_holds_what_it_was_sent_last() {
    type Sent<'a> = &'a [(usize, &'a str)];
    let cases: [(_, Sent<'_>, _, _); 8] = [
        ("nothing was sent", &[], "abc", [0, 0, 0]),
        ("to one", &[(1, "abc")], "abcd", [0, 3, 0]),
        (
            "to several",
            &[(0, "abx"), (1, "abcd"), (2, "b")],
            "abcde",
            [2, 4, 0],
        ),
        ("it begins otherwise", &[(0, "abc")], "bbc", [0, 0, 0]),
        ("one shorter than a block", &[(0, "")], "", [0, 0, 0]),
        (
            "of one too long the beginning counts",
            &[(0, "abcdefgh")],
            "abcdefgh",
            [6, 0, 0],
        ),
        (
            "the oldest goes, its end first",
            &[(0, "abcd"), (0, "wxyz")],
            "abcd",
            [2, 0, 0],
        ),
        (
            "used again it is the youngest",
            &[(0, "abc"), (0, "xyz"), (0, "abc"), (0, "123")],
            "abc",
            [3, 0, 0],
        ),
    ];
    for (case, sent, asked, expected) in cases {
        let mut index = PrefixIndex::new(3, DEFAULT_MAX_BYTES);
        index.set_capacity(0, Some(6));
        for (to, prompt) in sent {
            index.insert(*to, &blocks(prompt), false);
        }
        assert_eq!(matched(&index, asked), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn any_number_of_endpoints_can_hold_a_block() {
    for endpoints in [1, 3, 4, 64, 65, 1000, 1024, 1025, 2100] {
        let mut index = PrefixIndex::new(endpoints, DEFAULT_MAX_BYTES);
        let prompt = "abcdefghi";
        for to in 0..endpoints {
            let (beginning, _) = prompt.split_at(to % 10);
            index.insert(to, &blocks(beginning), false);
        }
        let expected: Vec<_> = (0..10).cycle().take(endpoints).collect();
        assert_eq!(matched(&index, prompt), expected, "{endpoints}");
        for to in (0..endpoints).filter(|to| !to.is_multiple_of(7)) {
            index.forget(to);
        }
        let kept = |to: usize| u32::from(to.is_multiple_of(7));
        let expected: Vec<_> = (0..)
            .zip(expected)
            .map(|(to, held)| held * kept(to))
            .collect();
        assert_eq!(
            matched(&index, prompt),
            expected,
            "{endpoints}, most of them forgotten"
        );
        assert!(
            index.bytes() <= DEFAULT_MAX_BYTES,
            "{endpoints}: {}",
            index.bytes()
        );
    }
}
