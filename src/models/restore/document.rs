//! The model's name in one JSON value.

use core::ops::{ControlFlow, Range};

use crate::request::{Container, Scalar, Scanner, Visitor};

/// Bytes of the longest way to write one byte of text: `\u0061`.
const LONGEST_ESCAPE: usize = 6;

/// Looks for the served name in one JSON value, as it arrives.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    scanner: Scanner,
    seen: Seen,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    progress: Progress,
    /// Containers around.
    depth: u32,
    /// The key at hand in the outermost one.
    outer: Key,
    /// The key at hand in the one inside it.
    inner: Key,
    /// What may be the served name, and has not ended.
    candidate: Option<Candidate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    Looking,
    /// The name has been seen, whichever it is.
    Found,
    /// The value has ended.
    Complete,
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Key {
    Model,
    /// Of what holds the answer, in an event about it.
    Envelope,
    #[default]
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Its opening quote, in the answer.
    start: u64,
    /// Bytes of the served name that have come.
    equal: usize,
}

impl Document {
    /// Whether the name has gone by, or there is none.
    pub(super) fn has_had_name(&self) -> bool {
        self.seen.progress != Progress::Looking && self.seen.candidate.is_none()
    }

    /// Whether it has ended as it should.
    pub(super) fn is_complete(&self) -> bool {
        self.seen.progress == Progress::Complete
    }

    /// Where in the answer the text begins that may be the served name.
    pub(super) fn candidate(&self) -> Option<u64> {
        self.seen.candidate.map(|candidate| candidate.start)
    }

    /// Reads the next bytes, which stand at `at` in the answer. Tells where the served name stands in
    /// it, if it ends in them.
    pub(super) fn feed(&mut self, bytes: &[u8], at: u64, served: &[u8]) -> Option<Range<u64>> {
        if self.seen.progress == Progress::Malformed {
            return None;
        }
        let mut look = Look {
            seen: &mut self.seen,
            served,
            before: at.saturating_sub(self.scanner.position()),
            name: None,
        };
        let scanned = self.scanner.feed(bytes, &mut look);
        let name = look.name;
        if scanned.is_err() {
            self.seen.progress = Progress::Malformed;
            self.seen.candidate = None;
        }
        // Without its quotes a text this long is longer than the name, however that is written; the
        // scanner may not have told of all of it.
        let longest = LONGEST_ESCAPE * served.len() + 1;
        let end = at + bytes.len() as u64;
        let fits = |candidate: &Candidate| end - candidate.start <= longest as u64;
        self.seen.candidate = self.seen.candidate.filter(fits);
        name
    }
}

/// What is looked for in some bytes.
struct Look<'a> {
    seen: &'a mut Seen,
    served: &'a [u8],
    /// Bytes of the answer before the value that are not the value's.
    before: u64,
    name: Option<Range<u64>>,
}

impl Seen {
    /// Whether the value at hand is the model's name.
    const fn is_at_name(&self) -> bool {
        matches!(
            (self.depth, self.outer, self.inner),
            (1, Key::Model, _) | (2, Key::Envelope, Key::Model)
        )
    }
}

impl Visitor for Look<'_> {
    fn key(&mut self, key: &[u8]) {
        let key = match key {
            b"model" => Key::Model,
            b"response" | b"message" => Key::Envelope,
            _ => Key::Other,
        };
        match self.seen.depth {
            1 => (self.seen.outer, self.seen.inner) = (key, Key::Other),
            2 => self.seen.inner = key,
            _ => {}
        }
    }

    fn begin(&mut self, _: Container) {
        self.seen.depth += 1;
    }

    fn end(&mut self) -> ControlFlow<()> {
        self.seen.depth = self.seen.depth.saturating_sub(1);
        if self.seen.depth == 0 {
            self.seen.progress = Progress::Complete;
        }
        ControlFlow::Continue(())
    }

    fn begin_string(&mut self, at: u64) -> bool {
        let is_name = self.seen.progress == Progress::Looking && self.seen.is_at_name();
        if is_name {
            self.seen.progress = Progress::Found;
            let start = self.before + at;
            self.seen.candidate = Some(Candidate { start, equal: 0 });
        }
        is_name
    }

    fn text(&mut self, text: &[u8]) -> ControlFlow<()> {
        let served = self.served;
        let with_text = |candidate: Candidate| {
            let rest = served.get(candidate.equal..)?;
            let equal = candidate.equal + text.len();
            let start = candidate.start;
            rest.starts_with(text).then_some(Candidate { start, equal })
        };
        self.seen.candidate = self.seen.candidate.and_then(with_text);
        ControlFlow::Continue(())
    }

    fn end_string(&mut self, end: u64) -> ControlFlow<()> {
        let is_whole = |candidate: &Candidate| candidate.equal == self.served.len();
        if let Some(candidate) = self.seen.candidate.take().filter(is_whole) {
            self.name = Some(candidate.start..self.before + end);
        }
        ControlFlow::Continue(())
    }

    fn scalar(&mut self, _: Scalar<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
