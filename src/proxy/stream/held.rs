//! A request whose body is awaited: what is known of it, and how more is read.

use super::refusal::Refusal;
use crate::{
    config::{ExplanationSettings, RequestSettings},
    prefix::Blocks,
    proxy::host::{self, RequestHeaders},
    request::{Api, InferenceRequest, Progress, RequestHead, RequestHints, RequestReader},
};

/// What is copied into the VM at once: its memory never shrinks, and this much is soon used again.
const SLICE: usize = 64 << 10;

/// A request whose body is awaited.
#[derive(Debug)]
pub(super) struct Held {
    /// Where they are held too.
    pub(super) headers: Option<RequestHeaders>,
    pub(super) asked: Asked,
    /// Where it is told and can be corrected.
    pub(super) content_length: Option<u64>,
    pub(super) takes_compressed: bool,
    /// For the log, and kept only where it is written.
    pub(super) request_id: Option<String>,
    reader: RequestReader,
    /// Bytes of the body that the reader has read.
    read: usize,
    /// Bytes of the body that are there.
    buffered: usize,
}

/// What a request's headers ask of its routing.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) hints: RequestHints,
    /// Without the query.
    pub(super) path: Box<[u8]>,
    /// What scheduling asks of its headers.
    pub(super) watched: Vec<Option<Box<[u8]>>>,
    /// Whether the answer is to say why, to one who may know.
    pub(super) wants_explanation: bool,
}

impl Asked {
    pub(super) fn of(head: RequestHead<'_>, explanation: Option<&ExplanationSettings>) -> Self {
        let path = head.path.split(|&byte| byte == b'?').next();
        let admits = |value| explanation.is_some_and(|settings| settings.admits(value));
        Self {
            hints: head.hints,
            path: path.unwrap_or_default().into(),
            watched: head.watched,
            wants_explanation: head.explain.is_some_and(admits),
        }
    }
}

/// What is known of a request when it is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// All of its body.
    Whole,
    /// Enough of it.
    Enough,
    /// As much of it as may be held.
    Limit,
}

impl Held {
    pub(super) fn new(
        api: Api,
        head: RequestHead<'_>,
        headers: Option<RequestHeaders>,
        blocks: Blocks,
        explanation: Option<&ExplanationSettings>,
    ) -> Self {
        let request_id = head
            .request_id
            .filter(|_| log::log_enabled!(log::Level::Debug));
        Self {
            headers,
            content_length: head.content_length,
            takes_compressed: head.takes_compressed,
            request_id: request_id.map(|id| String::from_utf8_lossy(id).into_owned()),
            asked: Asked::of(head, explanation),
            reader: RequestReader::with_blocks(api, blocks),
            read: 0,
            buffered: 0,
        }
    }

    /// What has been read.
    pub(super) const fn request(&self) -> &InferenceRequest {
        self.reader.request()
    }

    /// Tokens of the prompt, by estimate. Of a body that is not read to its end its length tells.
    pub(super) fn prompt_tokens(&self) -> u64 {
        let unread = self.content_length.unwrap_or_default();
        let unread = unread.saturating_sub(self.read as u64);
        self.request().prompt.estimated_tokens(unread)
    }

    /// Whether there is no body.
    pub(super) const fn is_empty(&self) -> bool {
        self.buffered == 0
    }

    /// All of the body that is there.
    pub(super) fn body(&self) -> Result<Vec<u8>, Refusal> {
        Ok(host::request_body(0, self.buffered)?)
    }

    /// Reads what has come of a body of which `buffered` bytes are there, its `end` or not. `None`
    /// when more is needed. What comes of it depends on the body alone, not on how it is cut.
    pub(super) fn read(
        &mut self,
        buffered: usize,
        end: bool,
        settings: RequestSettings,
    ) -> Result<Option<Known>, Refusal> {
        self.buffered = buffered;
        let limit = settings.max_held_bytes;
        while self.read < buffered.min(limit) {
            let size = (buffered.min(limit) - self.read).min(SLICE);
            let slice = host::request_body(self.read, size)?;
            self.read += size;
            if self.reader.feed(&slice)? == Progress::Enough {
                let is_whole = end && self.read == buffered;
                return Ok(Some(if is_whole {
                    Known::Whole
                } else {
                    Known::Enough
                }));
            }
        }
        if buffered > limit {
            return Ok(Some(Known::Limit));
        }
        if end {
            return self.end().map(Some);
        }
        Ok(None)
    }

    /// Ends the body with what has been read.
    pub(super) fn end(&mut self) -> Result<Known, Refusal> {
        if !self.is_empty() {
            self.reader.finish()?;
        }
        Ok(Known::Whole)
    }
}
