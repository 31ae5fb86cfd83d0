//! Text with escapes, a window of it at a time.

use super::escape::escaped;

/// Bytes of a string that are looked at together.
const WINDOW: usize = 64;
/// What is read for one: as many bytes behind an escape at its very end.
const REACH: usize = 2 * WINDOW + 1;
/// The space for what one is decoded to, and for what is copied with it.
pub(super) const SPACE: usize = 2 * WINDOW;

/// What was taken of a window: text up to its end, or to what is neither plain nor an escape of one
/// letter.
pub(super) struct Taken {
    /// How many bytes were read.
    pub(super) read: usize,
    /// How many bytes they stand for.
    pub(super) written: usize,
    /// Whether something else comes behind.
    pub(super) is_stopped: bool,
    /// Not set where there may be others among them.
    pub(super) is_ascii: bool,
}

/// Decodes what can be taken of the window at the beginning of `bytes`, if they reach as far.
///
/// How long a run between two escapes is cannot be guessed. So each is copied as if it went on to the
/// end of a window, and what follows on it is put over what was too much.
#[inline]
pub(super) fn decode(bytes: &[u8], space: &mut [u8]) -> Option<Taken> {
    let bytes: &[u8; REACH] = bytes.first_chunk()?;
    let space: &mut [u8; SPACE] = space.first_chunk_mut()?;
    let Specials { mut bits, is_ascii } = specials(bytes.first_chunk()?);
    let (mut read, mut written) = (0, 0);
    let stopped = |read, written| Taken {
        read,
        written,
        is_stopped: true,
        is_ascii,
    };
    copy_window(bytes, space);
    while bits != 0 {
        let run = bits.trailing_zeros();
        read += run as usize;
        written += run as usize;
        let (Some([b'\\', letter, after @ ..]), Some([place, behind @ ..])) =
            (bytes.get(read..), space.get_mut(written..))
        else {
            return Some(stopped(read, written));
        };
        let Some(character) = escaped(*letter) else {
            return Some(stopped(read, written));
        };
        *place = character;
        copy_window(after, behind);
        read += 2;
        written += 1;
        bits = (bits >> run) >> 2;
    }
    // An escape may end behind the window.
    let rest = WINDOW.saturating_sub(read);
    Some(Taken {
        read: read + rest,
        written: written + rest,
        is_stopped: false,
        is_ascii,
    })
}

#[inline]
fn copy_window(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<WINDOW>(), to.first_chunk_mut()) {
        *to = *from;
    }
}

/// Which bytes of a window are not plain, the first as the lowest bit.
struct Specials {
    bits: u64,
    is_ascii: bool,
}

#[cfg(not(target_feature = "simd128"))]
fn specials(window: &[u8; WINDOW]) -> Specials {
    let bits = window.iter().rev().fold(0, |bits, byte| {
        (bits << 1) | u64::from(super::run::is_special(*byte))
    });
    Specials {
        bits,
        is_ascii: window.is_ascii(),
    }
}

#[cfg(target_feature = "simd128")]
#[inline]
fn specials(window: &[u8; WINDOW]) -> Specials {
    use core::arch::wasm32::{i8x16_bitmask, u8x16_eq, u8x16_splat, v128_and, v128_or};

    let (mut bits, mut any) = (0, u8x16_splat(0));
    for (index, block) in window.as_chunks().0.iter().enumerate() {
        let block = crate::bytes::vector(block);
        let is = |byte| u8x16_eq(block, u8x16_splat(byte));
        let is_control = u8x16_eq(v128_and(block, u8x16_splat(0xE0)), u8x16_splat(0));
        let special = v128_or(v128_or(is(b'"'), is(b'\\')), is_control);
        bits |= u64::from(i8x16_bitmask(special)) << (16 * index);
        any = v128_or(any, block);
    }
    Specials {
        bits,
        is_ascii: i8x16_bitmask(any) == 0,
    }
}
