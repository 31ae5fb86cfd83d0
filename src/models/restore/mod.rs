//! The requested name in the place of the one that the server answers with.

mod document;
mod event_stream;

use core::{mem, ops::Range};
use std::borrow::Cow;

use self::{document::Document, event_stream::EventStream};
use super::model_literal;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// One JSON value.
    Json,
    /// Server-sent events, each with a JSON value.
    EventStream,
}

impl AnswerKind {
    /// The kind that a `content-type` tells; `None` of what holds no names.
    #[must_use]
    pub fn of_content_type(content_type: &[u8]) -> Option<Self> {
        let media_type = content_type.split(|byte| *byte == b';').next()?;
        let is = |known: &[u8]| media_type.trim_ascii().eq_ignore_ascii_case(known);
        if is(b"application/json") {
            Some(Self::Json)
        } else if is(b"text/event-stream") {
            Some(Self::EventStream)
        } else {
            None
        }
    }
}

/// Puts the requested name back into one answer as it passes, in chunks cut anywhere.
///
/// The name of an answer is the first text called `model` in its JSON value, in that value's
/// `response` (events of the Responses API) or in its `message` (Anthropic's). It is replaced where
/// it is the name that the server was asked for. Every other byte stays, and so does the whole of an
/// answer up to the end that is not JSON: an error page, or a compressed one.
///
/// What may be the name is held back until its end is there, which is the only thing kept of an
/// answer and no longer than the name can be.
///
/// ```
/// use endpoint_picker::models::{AnswerKind, NameRestorer};
///
/// let mut restorer = NameRestorer::new(AnswerKind::EventStream, "llama-70b", "gpt-4o");
/// let mut feed = |chunk: &str| {
///     let restored = restorer.feed(chunk.as_bytes(), false);
///     restored.map(|bytes| String::from_utf8(bytes).unwrap())
/// };
/// assert_eq!(feed("data: {\"id\":1,\"mod"), None);
/// assert_eq!(feed("el\":\"llama-").as_deref(), Some("el\":"));
/// assert_eq!(feed("70b\"}\n\n").as_deref(), Some("\"gpt-4o\"}\n\n"));
/// ```
#[derive(Debug, Clone)]
pub struct NameRestorer {
    served: String,
    /// As JSON.
    requested: Vec<u8>,
    answer: Answer,
    /// Bytes of the answer before the ones that are fed next.
    at: u64,
    /// The last of them, which have not been passed on.
    held: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Answer {
    Json(Document),
    EventStream(EventStream),
}

impl NameRestorer {
    /// A restorer of `requested` in the place of `served`, for one answer.
    #[must_use]
    pub fn new(kind: AnswerKind, served: &str, requested: &str) -> Self {
        Self {
            served: served.to_owned(),
            requested: model_literal(requested),
            answer: match kind {
                AnswerKind::Json => Answer::Json(Document::default()),
                AnswerKind::EventStream => Answer::EventStream(EventStream::default()),
            },
            at: 0,
            held: Vec::new(),
        }
    }

    /// Takes the next bytes of the answer. Tells what stands in their place, which may be nothing;
    /// `None` where they stay. At the end of the stream nothing is held back.
    pub fn feed(&mut self, chunk: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        let names = self.names(chunk);
        let under_way = self.answer.document().candidate();
        self.at += chunk.len() as u64;
        let until = under_way.filter(|_| !end_of_stream).unwrap_or(self.at);
        if names.is_empty() && self.held.is_empty() && until == self.at {
            return None;
        }

        let held = mem::take(&mut self.held);
        let bytes = if held.is_empty() {
            Cow::Borrowed(chunk)
        } else {
            Cow::Owned([&held, chunk].concat())
        };
        let start = self.at - bytes.len() as u64;
        let piece = |span: Range<u64>| {
            let at = |offset: u64| usize::try_from(offset.saturating_sub(start)).ok();
            let range = at(span.start)
                .zip(at(span.end))
                .map(|(start, end)| start..end);
            range.and_then(|range| bytes.get(range)).unwrap_or_default()
        };
        let mut restored = Vec::with_capacity(bytes.len() + names.len() * self.requested.len());
        let mut done = start;
        for name in names {
            restored.extend_from_slice(piece(done..name.start));
            restored.extend_from_slice(&self.requested);
            done = name.end;
        }
        restored.extend_from_slice(piece(done..until));
        self.held = piece(until..self.at).to_vec();
        Some(restored)
    }

    /// Whether all that follows stays as it is, so that it need not be fed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let has_had_name = match &self.answer {
            Answer::Json(document) => document.has_had_name(),
            // The next event has a name again.
            Answer::EventStream(_) => false,
        };
        has_had_name && self.held.is_empty()
    }

    /// Where in the answer the served name ends in `chunk`, and where it began.
    fn names(&mut self, chunk: &[u8]) -> Vec<Range<u64>> {
        let mut names = Vec::new();
        let served = self.served.as_bytes();
        match &mut self.answer {
            // There is one name, and much may follow it.
            Answer::Json(document) if document.has_had_name() => {}
            Answer::Json(document) => names.extend(document.feed(chunk, self.at, served)),
            Answer::EventStream(events) => events.feed(chunk, self.at, served, &mut names),
        }
        names
    }
}

impl Answer {
    const fn document(&self) -> &Document {
        match self {
            Self::Json(document) => document,
            Self::EventStream(events) => events.document(),
        }
    }
}

#[cfg(test)]
mod tests;
