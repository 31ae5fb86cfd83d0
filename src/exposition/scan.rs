//! Walks an exposition at memory speed and parses only the families asked for.

use hashbrown::HashMap;

use super::{InvalidLine, Line, Sample, parse_line};

/// Which family of a [`FamilySet`] a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyId(usize);

impl FamilyId {
    /// Its place in the order in which the families of its set were added, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

/// The families whose samples are wanted.
#[derive(Debug, Clone, Default)]
pub struct FamilySet {
    ids: HashMap<Vec<u8>, FamilyId>,
    /// Bit `n` is set when a wanted name is `n` bytes long (the last bit: that long or longer).
    /// Turns most unwanted lines away without hashing their names.
    lengths: u128,
}

impl FamilySet {
    /// Adds a family by its full name; the same name has the same id.
    pub fn insert(&mut self, family: &str) -> FamilyId {
        let next = FamilyId(self.ids.len());
        self.lengths |= length_bit(family.len());
        *self.ids.entry_ref(family.as_bytes()).or_insert(next)
    }

    fn get(&self, name: &[u8]) -> Option<FamilyId> {
        if self.lengths & length_bit(name.len()) == 0 {
            return None;
        }
        self.ids.get(name).copied()
    }
}

const fn length_bit(length: usize) -> u128 {
    1 << if length < 127 { length } else { 127 }
}

/// The samples of the wanted families, in the order of the exposition.
#[must_use]
pub const fn samples<'exposition, 'families>(
    exposition: &'exposition [u8],
    families: &'families FamilySet,
) -> Samples<'exposition, 'families> {
    Samples {
        rest: exposition,
        families,
    }
}

/// Iterator of [`samples`]: a wanted line is `Ok` with its family, or `Err` where it is invalid.
/// Lines of other families are passed over unread, valid or not.
#[derive(Debug, Clone)]
pub struct Samples<'exposition, 'families> {
    rest: &'exposition [u8],
    families: &'families FamilySet,
}

impl<'exposition> Samples<'exposition, '_> {
    /// A label value writes its line ends as `\n`, so a raw one always ends the line.
    fn next_line(&mut self) -> Option<&'exposition [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line)
    }
}

impl<'exposition> Iterator for Samples<'exposition, '_> {
    type Item = Result<(FamilyId, Sample<'exposition>), InvalidLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.next_line()?.trim_ascii_start();
            if line.first() == Some(&b'#') {
                continue;
            }
            let name_end = memchr::memchr3(b'{', b' ', b'\t', line).unwrap_or(line.len());
            let Some(family) = line
                .get(..name_end)
                .and_then(|name| self.families.get(name))
            else {
                continue;
            };
            return Some(match parse_line(line) {
                Ok(Line::Sample(sample)) => Ok((family, sample)),
                _ => Err(InvalidLine),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: &[u8] = include_bytes!("../../fixtures/metrics/vllm-0.32-busy.prom");

    #[test]
    fn every_line_of_a_real_exposition_is_valid() {
        for line in BUSY.split(|&byte| byte == b'\n') {
            assert!(
                parse_line(line).is_ok(),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn a_name_longer_than_the_length_filter_is_found() {
        let long = "x".repeat(300);
        let mut families = FamilySet::default();
        families.insert(&long);
        let text = format!("{long} 1\n{long}y 2\n");
        assert_eq!(samples(text.as_bytes(), &families).count(), 1);
    }
}
