//! Runs of plain bytes in a string.

/// Bytes before one that is not plain.
pub(super) struct Run {
    pub(super) length: usize,
    /// Not set where there may be others among them.
    pub(super) is_ascii: bool,
}

/// The bytes of a string before its end, an escape, or a control character, which may not be there.
#[inline]
pub(super) fn plain_run(bytes: &[u8]) -> Run {
    // Most runs are short, and no two of the same length, so that a branch for each would be guessed
    // wrong.
    match bytes.first_chunk().and_then(short_run) {
        Some(run) => run,
        None => long_run(bytes),
    }
}

/// The run that ends within these bytes.
#[inline]
fn short_run(bytes: &[u8; 16]) -> Option<Run> {
    let bytes = u128::from_le_bytes(*bytes);
    let [low, high] = [bytes as u64, (bytes >> 64) as u64];
    let [in_low, in_high] = [special_bytes(low), special_bytes(high)];
    if in_low | in_high == 0 {
        return None;
    }
    let bits = if in_low == 0 {
        64 + in_high.trailing_zeros()
    } else {
        in_low.trailing_zeros()
    };
    Some(Run {
        length: (bits / 8) as usize,
        is_ascii: (low | high) & spread(0x80) == 0,
    })
}

/// The text of a string and what is behind its closing quote, if that is near and all is plain ASCII.
#[inline]
pub(super) fn short_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let run = bytes.first_chunk().and_then(short_run)?;
    match bytes.split_at_checked(run.length)? {
        (text, [b'"', after @ ..]) if run.is_ascii => Some((text, after)),
        _ => None,
    }
}

fn long_run(bytes: &[u8]) -> Run {
    let mut rest = bytes;
    let mut is_ascii = true;
    // Without a way out of the loops over a piece, of which the compiler then looks at 16 bytes at
    // once.
    while let Some((piece, after)) = rest.split_first_chunk::<64>()
        && !piece
            .iter()
            .fold(false, |any, byte| any | is_special(*byte))
    {
        is_ascii &= piece.iter().fold(true, |all, byte| all & byte.is_ascii());
        rest = after;
    }
    while let Some((piece, after)) = rest.split_first_chunk() {
        let before = bytes.len() - rest.len();
        if let Some(last) = short_run(piece) {
            return Run {
                length: before + last.length,
                is_ascii: is_ascii & last.is_ascii,
            };
        }
        is_ascii &= piece.iter().fold(true, |all, byte| all & byte.is_ascii());
        rest = after;
    }
    let last = rest.iter().position(|byte| is_special(*byte));
    Run {
        length: bytes.len() - rest.len() + last.unwrap_or(rest.len()),
        is_ascii: is_ascii & rest.is_ascii(),
    }
}

#[inline]
pub(super) const fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < b' ')
}

/// Has the highest bit of every special byte of a word, and of none below the first of them; what
/// is above may be wrong.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    // Those below `limit`, from 1 to 128. A borrow goes upwards.
    const fn below(word: u64, limit: u8) -> u64 {
        word.wrapping_sub(spread(limit)) & !word & spread(0x80)
    }
    below(word ^ spread(b'"'), 1) | below(word ^ spread(b'\\'), 1) | below(word, b' ')
}

/// A word of eight times the same byte.
#[inline]
pub(super) const fn spread(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}
