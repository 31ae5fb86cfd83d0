//! Whether text is UTF-8.

#[cfg(target_feature = "simd128")]
pub(super) use simd::is_utf8;

/// Whether text is UTF-8.
#[cfg(not(target_feature = "simd128"))]
pub(super) fn is_utf8(text: &[u8]) -> bool {
    core::str::from_utf8(text).is_ok()
}

/// How many bytes at the end begin a character that goes on behind it.
#[inline]
pub(super) const fn broken_off(text: &[u8]) -> usize {
    match text {
        [.., 0xC0..=0xFF] => 1,
        [.., 0xE0..=0xFF, 0x80..=0xBF] => 2,
        [.., 0xF0..=0xFF, 0x80..=0xBF, 0x80..=0xBF] => 3,
        _ => 0,
    }
}

/// By tables for the halves of bytes, as Keiser and Lemire have it in "Validating UTF-8 in less than
/// one instruction per byte": whatever is wrong in UTF-8 shows in a byte and the half of the next one,
/// but for how many bytes follow the first of a long character.
#[cfg(target_feature = "simd128")]
mod simd {
    use core::arch::wasm32::{
        u8x16, u8x16_shr, u8x16_shuffle, u8x16_splat, u8x16_sub_sat, u8x16_swizzle, v128, v128_and,
        v128_any_true, v128_or, v128_xor,
    };

    use crate::bytes::vector;

    /// The first of a character, and no other one behind it.
    const SHORT: u8 = 1;
    /// Another one behind ASCII.
    const LONG: u8 = 1 << 1;
    /// Three bytes for what two can say, and so on.
    const THREE_FOR_TWO: u8 = 1 << 2;
    const TWO_FOR_ONE: u8 = 1 << 3;
    const SURROGATE: u8 = 1 << 4;
    /// Past the last character there is.
    const LARGE: u8 = 1 << 5;
    /// The same behind bytes that always are, or four bytes for what three can say.
    const LARGER: u8 = 1 << 6;
    const FOUR_FOR_THREE: u8 = 1 << 6;
    /// Two in a row that are not the first. It is no error where a long character is under way.
    const ANOTHER: u8 = 1 << 7;

    pub(in super::super) fn is_utf8(text: &[u8]) -> bool {
        let mut before = u8x16_splat(0);
        let mut errors = u8x16_splat(0);
        let (blocks, rest) = text.as_chunks::<16>();
        for block in blocks {
            let block = vector(block);
            errors = v128_or(errors, errors_of(before, block));
            before = block;
        }
        // With something of ASCII behind the end, so that no character is left open there.
        let mut end = [0; 16];
        for (place, byte) in end.iter_mut().zip(rest) {
            *place = *byte;
        }
        errors = v128_or(errors, errors_of(before, vector(&end)));
        !v128_any_true(errors)
    }

    #[inline]
    fn errors_of(before: v128, block: v128) -> v128 {
        const ANY: u8 = SHORT | LONG | ANOTHER;
        const PAST: u8 = ANY | LARGE | LARGER;
        const SECOND: u8 = LONG | TWO_FOR_ONE | ANOTHER;
        let first_high = {
            const C: u8 = SHORT | TWO_FOR_ONE;
            const E: u8 = SHORT | THREE_FOR_TWO | SURROGATE;
            const F: u8 = SHORT | LARGE | LARGER | FOUR_FOR_THREE;
            u8x16(
                LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, ANOTHER, ANOTHER, ANOTHER, ANOTHER,
                C, SHORT, E, F,
            )
        };
        let first_low = {
            const ZERO: u8 = ANY | TWO_FOR_ONE | THREE_FOR_TWO | FOUR_FOR_THREE;
            const D: u8 = PAST | SURROGATE;
            let one = ANY | TWO_FOR_ONE;
            let four = ANY | LARGE;
            u8x16(
                ZERO, one, ANY, ANY, four, PAST, PAST, PAST, PAST, PAST, PAST, PAST, PAST, D, PAST,
                PAST,
            )
        };
        let second_high = {
            const EIGHT: u8 = SECOND | THREE_FOR_TWO | LARGER | FOUR_FOR_THREE;
            const NINE: u8 = SECOND | THREE_FOR_TWO | LARGE;
            const HIGHER: u8 = SECOND | SURROGATE | LARGE;
            u8x16(
                SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, SHORT, EIGHT, NINE, HIGHER,
                HIGHER, SHORT, SHORT, SHORT, SHORT,
            )
        };
        let one_before =
            u8x16_shuffle::<15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30>(
                before, block,
            );
        let two_before =
            u8x16_shuffle::<14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29>(
                before, block,
            );
        let three_before =
            u8x16_shuffle::<13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28>(
                before, block,
            );
        let low = v128_and(one_before, u8x16_splat(0x0F));
        let found = v128_and(
            v128_and(
                u8x16_swizzle(first_high, u8x16_shr(one_before, 4)),
                u8x16_swizzle(first_low, low),
            ),
            u8x16_swizzle(second_high, u8x16_shr(block, 4)),
        );
        // Has the highest bit where the third or the fourth byte of a character is to be.
        let later = v128_or(
            u8x16_sub_sat(two_before, u8x16_splat(0xE0 - 0x80)),
            u8x16_sub_sat(three_before, u8x16_splat(0xF0 - 0x80)),
        );
        v128_xor(v128_and(later, u8x16_splat(0x80)), found)
    }
}
