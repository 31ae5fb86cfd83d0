//! Block hashes as numbers, so that gateways on any machine agree on them.
//!
//! The numbers are those of another implementation of XXH64, Python's `xxhash`.

use core::num::NonZeroUsize;

use endpoint_picker::prefix::{BlockHash, BlockHasher, Blocks, Scope};
use wasm_bindgen_test::wasm_bindgen_test;

const LLAMA: Scope<'static> = Scope {
    model: Some("llama"),
    adapter: None,
    cache_salt: None,
};
/// 52 bytes.
const PROMPT: &str = "You are a helpful assistant. Answer in one sentence.";

fn hashes(prompt: &str, size: usize, limit: usize) -> Vec<u64> {
    let size = NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN);
    let mut hashes = Vec::new();
    BlockHasher::new(LLAMA.root(), Blocks { size, limit })
        .update(prompt.as_bytes(), |hash| hashes.push(hash.as_u64()));
    hashes
}

#[wasm_bindgen_test(unsupported = test)]
fn scopes_have_roots_of_their_own() {
    for (scope, expected) in [
        (LLAMA, 0x5a7e_65a8_ba0f_fe4d),
        (
            Scope {
                adapter: Some("sql"),
                ..LLAMA
            },
            0xcd4d_9598_31d4_26e2,
        ),
        (
            Scope {
                cache_salt: Some("tenant-a"),
                ..LLAMA
            },
            0x382e_0af2_eae4_f30d,
        ),
        (
            Scope {
                model: Some(""),
                adapter: Some(""),
                cache_salt: Some(""),
            },
            0xed58_2087_8cda_849d,
        ),
        (Scope::default(), 0x3188_6f2e_7daf_8ca4),
    ] {
        assert_eq!(scope.root().as_u64(), expected, "{scope:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn full_blocks_are_hashed_up_to_the_limit() {
    let of_16 = [
        0xf1d2_aeff_00af_38d0,
        0xb75b_b2fe_0870_f66d,
        0xaee0_d369_1872_603f,
    ];
    let twice = PROMPT.repeat(2);
    for (case, prompt, size, limit, expected) in [
        ("a tail of 4 bytes", PROMPT, 16, 2048, &of_16[..]),
        ("the limit", PROMPT, 16, 2, &of_16[..2]),
        ("a limit of none", PROMPT, 16, 0, &[]),
        ("no tail", &PROMPT[..48], 16, 2048, &of_16),
        ("one byte short", &PROMPT[..47], 16, 2048, &of_16[..2]),
        ("shorter than a block", PROMPT, 53, 2048, &[]),
        ("nothing", "", 16, 2048, &[]),
        // Longer than the 32 bytes that XXH64 takes at a time.
        (
            "blocks of 40",
            &twice,
            40,
            2048,
            &[0x645c_7910_41e0_612a, 0x3ae4_68f0_6aef_99d9],
        ),
    ] {
        assert_eq!(hashes(prompt, size, limit), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_hasher_takes_its_prompt_in_pieces() {
    let root: BlockHash = LLAMA.root();
    let size = NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN);
    let mut hasher = BlockHasher::new(root, Blocks { size, limit: 2 });
    let mut found = Vec::new();
    let mut done_after = Vec::new();
    for piece in PROMPT.as_bytes().chunks(10) {
        hasher.update(piece, |hash| found.push(hash.as_u64()));
        done_after.push(hasher.is_done());
    }
    assert_eq!(found, hashes(PROMPT, 16, 2));
    assert_eq!(done_after, [false, false, false, true, true, true]);
}

#[wasm_bindgen_test(unsupported = test)]
fn chains_are_put_into_their_scope_afterwards() {
    let size = NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN);
    let mut found = Vec::new();
    let mut hasher = BlockHasher::new(BlockHash::NEUTRAL, Blocks { size, limit: 2048 });
    let within = |hash: BlockHash| hash.within(LLAMA.root()).as_u64();
    hasher.update(PROMPT.as_bytes(), |hash| {
        found.push((hash.as_u64(), within(hash)));
    });
    assert_eq!(
        found,
        [
            (0x6422_450f_28e5_d278, 0xc90c_cb9f_637e_bed7),
            (0xb83e_7a32_7986_19ba, 0x800b_5ad7_87e3_1f32),
            (0x9454_661d_9c2f_76f2, 0xf2a6_6a9d_d28b_ff8c),
        ]
    );
    let digest = hasher.digest();
    assert_eq!(digest.as_u64(), 0xd60b_f590_03b7_0ee5);
    assert_eq!(within(digest), 0x19fc_07ee_09e5_b00f);

    // Behind the limit nothing is hashed.
    hasher.restart(BlockHash::NEUTRAL, 1);
    let taken = hasher.update(PROMPT.as_bytes(), |_| {});
    assert_eq!(taken, 16);
    assert_eq!(hasher.update(b"more", |_| {}), 0);
    assert_eq!(hasher.digest().as_u64(), 0x93b2_a72e_f01c_72e4);
}
