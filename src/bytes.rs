//! A few bytes at once.

/// Copies `from` to the beginning of `to`, as far as it fits.
///
/// Where the length of a copy is not known to the compiler, a Wasm VM makes it by a call out of the
/// VM, which takes longer than the few bytes of a word. Copies of known lengths are loads and stores,
/// and any length up to 16 is two of them that overlap.
#[inline]
pub(crate) fn copy(from: &[u8], to: &mut [u8]) {
    let length = from.len().min(to.len());
    let (Some(from), Some(to)) = (from.get(..length), to.get_mut(..length)) else {
        return;
    };
    match length {
        0 => {}
        1..4 => {
            // The first, the one in the middle and the last, some of which may be the same.
            let at = |index: usize| from.get(index).copied();
            for index in [0, length / 2, length - 1] {
                if let (Some(byte), Some(place)) = (at(index), to.get_mut(index)) {
                    *place = byte;
                }
            }
        }
        4..8 => both_ends::<4>(from, to),
        8..=16 => both_ends::<8>(from, to),
        _ => to.copy_from_slice(from),
    }
}

#[inline]
fn both_ends<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// The bytes as a SIMD vector. An unaligned load of one is unsafe; two of words are what it becomes
/// without.
#[cfg(target_feature = "simd128")]
#[inline]
pub(crate) const fn vector(bytes: &[u8; 16]) -> core::arch::wasm32::v128 {
    let both = u128::from_le_bytes(*bytes);
    core::arch::wasm32::u64x2(both as u64, (both >> 64) as u64)
}
