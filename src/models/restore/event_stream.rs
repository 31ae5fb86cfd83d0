//! The JSON values in a stream of server-sent events.
//!
//! An event is lines up to an empty one; its data are what follows `data:` in them, joined by line
//! feeds. A line ends with a line feed, a carriage return, or both.

use core::ops::Range;

use super::document::Document;

const DATA: &[u8] = b"data:";

/// Looks for the served name in each event.
#[derive(Debug, Clone, Default)]
pub(super) struct EventStream {
    line: Line,
    /// Whether a line feed would belong to the end of the line before.
    after_return: bool,
    /// The data of the event under way.
    document: Document,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// This many bytes into `data:`.
    Field(usize),
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Field(0)
    }
}

impl EventStream {
    /// The data of the event under way.
    pub(super) const fn document(&self) -> &Document {
        &self.document
    }

    /// Reads the next bytes, which stand at `at` in the answer. Adds where in it the served names stand
    /// that end in them.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        at: u64,
        served: &[u8],
        names: &mut Vec<Range<u64>>,
    ) {
        let (mut at, mut rest) = (at, bytes);
        while let Some(&byte) = rest.first() {
            let taken = match self.line {
                Line::Field(_) if byte == b'\n' && self.after_return => 1,
                _ if matches!(byte, b'\n' | b'\r') => {
                    self.end_line(at, served);
                    1
                }
                Line::Field(matched) => {
                    self.field(matched, byte);
                    1
                }
                Line::Data | Line::Other => {
                    let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                    let text = rest.get(..end).unwrap_or(rest);
                    if self.line == Line::Data {
                        names.extend(self.document.feed(text, at, served));
                    }
                    end
                }
            };
            self.after_return = byte == b'\r';
            at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    fn field(&mut self, matched: usize, byte: u8) {
        self.line = match DATA.get(matched..) {
            Some([expected]) if *expected == byte => {
                // Some servers leave out the empty lines, and some clients do not miss them.
                if self.document.is_complete() {
                    self.document = Document::default();
                }
                Line::Data
            }
            Some([expected, ..]) if *expected == byte => Line::Field(matched + 1),
            _ => Line::Other,
        };
    }

    fn end_line(&mut self, at: u64, served: &[u8]) {
        match self.line {
            Line::Field(0) => self.document = Document::default(),
            // No name ends with a line.
            Line::Data => drop(self.document.feed(b"\n", at, served)),
            Line::Field(_) | Line::Other => {}
        }
        self.line = Line::default();
    }
}
