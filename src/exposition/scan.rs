//! Walks an exposition at memory speed and parses only the families asked for.

use hashbrown::HashMap;

use super::{InvalidLine, Line, Sample, parse_line};

/// Which family of a [`FamilySet`] a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyId(usize);

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
pub fn samples<'a>(exposition: &'a [u8], families: &'a FamilySet) -> Samples<'a> {
    Samples {
        rest: exposition,
        families,
    }
}

/// Iterator of [`samples`]: a wanted line is `Ok` with its family, or `Err` where it is invalid.
/// Lines of other families are passed over unread, valid or not.
#[derive(Debug, Clone)]
pub struct Samples<'a> {
    rest: &'a [u8],
    families: &'a FamilySet,
}

impl<'a> Samples<'a> {
    /// A label value writes its line ends as `\n`, so a raw one always ends the line.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line)
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Result<(FamilyId, Sample<'a>), InvalidLine>;

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
    use proptest::prelude::*;

    use super::*;

    const BUSY: &[u8] = include_bytes!("../../fixtures/metrics/vllm-0.32-busy.prom");

    /// The same by parsing every line.
    fn naive<'a>(exposition: &'a [u8], wanted: &[&str]) -> Vec<Sample<'a>> {
        exposition
            .split(|&byte| byte == b'\n')
            .filter_map(|line| match parse_line(line) {
                Ok(Line::Sample(sample)) if wanted.contains(&sample.family) => Some(sample),
                _ => None,
            })
            .collect()
    }

    fn scanned<'a>(exposition: &'a [u8], families: &'a FamilySet) -> Vec<Sample<'a>> {
        samples(exposition, families)
            .filter_map(|item| item.ok().map(|(_, sample)| sample))
            .collect()
    }

    fn set(wanted: &[&str]) -> FamilySet {
        let mut families = FamilySet::default();
        for family in wanted {
            families.insert(family);
        }
        families
    }

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
        let families = set(&[&long]);
        let text = format!("{long} 1\n{long}y 2\n");
        assert_eq!(scanned(text.as_bytes(), &families).len(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_splitter_on_mutated_expositions(
            cuts in prop::collection::vec((0..BUSY.len(), any::<u8>()), 0..40),
            end in 0..BUSY.len(),
        ) {
            let mut text = BUSY.to_vec();
            for (at, byte) in cuts {
                text[at] = byte;
            }
            text.truncate(end);
            let wanted = [
                "vllm:num_requests_waiting",
                "vllm:num_requests_running",
                "vllm:kv_cache_usage_perc",
                "vllm:cache_config_info",
                "vllm:e2e_request_latency_seconds_bucket",
            ];
            let families = set(&wanted);
            let found = format!("{:?}", scanned(&text, &families));
            prop_assert_eq!(found, format!("{:?}", naive(&text, &wanted)));
        }
    }
}
