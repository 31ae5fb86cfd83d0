//! Headers as proxy-wasm hands them over: all of them in one piece of memory.

/// All headers of a request, in their order, a name for each of its values.
///
/// A number of pairs, then the lengths of each name and value, then names and values themselves
/// with a NUL behind each; numbers are of 32 bits, the lowest byte first.
#[derive(Debug, Clone, Default)]
pub struct HeaderPairs(Vec<u8>);

/// Bytes of a number.
const NUMBER: usize = 4;

impl HeaderPairs {
    /// Takes over what the host has written.
    #[must_use]
    pub const fn new(serialized: Vec<u8>) -> Self {
        Self(serialized)
    }

    /// Names, in lowercase as Envoy has them, with their values. Ends early where the bytes are no
    /// such list.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut lengths = self.0.as_slice();
        let count = number(&mut lengths).unwrap_or_default();
        let values = count
            .checked_mul(2 * NUMBER)
            .and_then(|bytes| lengths.split_at_checked(bytes));
        let (mut lengths, mut rest) = values.unwrap_or_default();
        core::iter::from_fn(move || {
            let (name, value) = (number(&mut lengths)?, number(&mut lengths)?);
            Some((text(&mut rest, name)?, text(&mut rest, value)?))
        })
    }
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    let (number, rest) = bytes.split_first_chunk::<NUMBER>()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

fn text<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest.get(1..)?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn serialized(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut bytes = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        bytes
    }

    proptest! {
        #[test]
        fn every_pair_is_read(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let read = HeaderPairs::new(serialized(&pairs));
            let read: Vec<_> = read.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let pairs = HeaderPairs::new(bytes);
            prop_assert!(pairs.iter().count() <= pairs.0.len());
        }

        #[test]
        fn of_a_list_cut_off_the_beginning_is_read(
            pairs: Vec<(Vec<u8>, Vec<u8>)>, cut: prop::sample::Index,
        ) {
            let mut bytes = serialized(&pairs);
            bytes.truncate(cut.index(bytes.len()));
            let read = HeaderPairs::new(bytes);
            for ((name, value), pair) in read.iter().zip(&pairs) {
                prop_assert_eq!((name, value), (&pair.0[..], &pair.1[..]));
            }
        }
    }
}
