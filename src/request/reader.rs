//! Reads the body of an inference request as it arrives.

use core::ops::{ControlFlow, Range};

use super::{
    Api, Container, Malformed, Prompt, Scalar, Scanner, Visitor,
    api::{Field, Nested},
    content::Content,
    prompt::{BLOCK_TOKENS, prompt_blocks},
};
use crate::{models::MAX_NAME, prefix::Blocks};

/// What is known of an inference request.
#[derive(Debug, Clone, Default)]
pub struct InferenceRequest {
    /// The model asked for. Model servers have a default, so it may be missing.
    pub model: Option<RequestedModel>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a streamed answer is to end with its usage.
    pub include_usage: bool,
    /// Tokens that the answer may have.
    pub max_tokens: Option<u64>,
    /// How many answers are asked for.
    pub n: Option<u64>,
    /// What sets the prefix cache of this request apart from others'.
    pub cache_salt: Option<String>,
    /// The user behind the request.
    pub user: Option<String>,
    /// The priority that the model server is to give it; lower is earlier.
    pub priority: Option<i64>,
    /// What the model is to read.
    pub prompt: Prompt,
}

/// A model's name as it stands in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedModel {
    /// The name.
    pub name: String,
    /// The bytes of the body that it takes, quotes included.
    pub span: Range<u64>,
}

/// Whether more of a body is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is.
    More,
    /// Everything that counts is known; what follows need not be read.
    Enough,
}

/// Reads one body, in pieces cut anywhere. It keeps what it finds, and no more of the body than
/// the names in it.
///
/// JSON of another shape than the API documents is the model server's to judge: what is not as
/// expected is passed over. Of a key that comes twice the last counts, as it does for the servers;
/// of a part of the prompt that has several keys, the last of them.
#[derive(Debug, Clone)]
pub struct RequestReader {
    scanner: Scanner,
    body: Body,
}

#[derive(Debug, Clone)]
struct Body {
    api: Api,
    depth: u32,
    /// What the value at hand is of.
    field: Field,
    nested: Nested,
    content: Content,
    /// The string under way, where it is kept.
    name: Vec<u8>,
    name_start: u64,
    /// Whether a string of the prompt is kept too.
    keeps_text: bool,
    /// What is said of [`InferenceRequest::max_tokens`] by its first name and by the later one.
    max_tokens: (Option<u64>, Option<u64>),
    request: InferenceRequest,
}

impl RequestReader {
    /// A reader for a request to `api`, which hashes prompts up to `prefix` bytes of each section.
    #[must_use]
    pub fn new(api: Api, prefix: usize) -> Self {
        Self::with_blocks(api, prompt_blocks(BLOCK_TOKENS, prefix))
    }

    /// A reader for a request to `api`, which cuts each section of the prompt into `blocks`.
    #[must_use]
    pub fn with_blocks(api: Api, blocks: Blocks) -> Self {
        Self {
            scanner: Scanner::default(),
            body: Body {
                api,
                depth: 0,
                field: Field::Other,
                nested: Nested::Other,
                content: Content::default(),
                name: Vec::new(),
                name_start: 0,
                keeps_text: false,
                max_tokens: (None, None),
                request: InferenceRequest {
                    prompt: Prompt::new(blocks),
                    ..InferenceRequest::default()
                },
            },
        }
    }

    /// Reads the next bytes. Once it is enough, further bytes are not looked at.
    ///
    /// # Errors
    /// When the body is not JSON.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Malformed> {
        Ok(match self.scanner.feed(bytes, &mut self.body)? {
            ControlFlow::Continue(()) => Progress::More,
            ControlFlow::Break(()) => Progress::Enough,
        })
    }

    /// Ends the body.
    ///
    /// # Errors
    /// When something of it is missing.
    pub fn finish(&mut self) -> Result<(), Malformed> {
        self.scanner.finish(&mut self.body)
    }

    /// What has been found so far.
    #[must_use]
    pub const fn request(&self) -> &InferenceRequest {
        &self.body.request
    }
}

impl Body {
    fn go_on(&self) -> ControlFlow<()> {
        if self.request.model.is_some() && self.request.prompt.is_enough() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether the value at hand is a field's own, not one inside it.
    const fn is_own(&self) -> bool {
        self.depth == 1
    }

    /// The string under way; `None` of one that is too long to be a name.
    fn take_name(&mut self) -> Option<String> {
        let name = core::mem::take(&mut self.name);
        String::from_utf8(name)
            .ok()
            .filter(|name| name.len() <= MAX_NAME)
    }

    /// Keeps the text under way. One byte past a name tells that there was more.
    fn keep(&mut self, text: &[u8]) {
        let space = (MAX_NAME + 1).saturating_sub(self.name.len());
        self.name
            .extend_from_slice(text.get(..space).unwrap_or(text));
    }

    /// The string at hand, whose text is to be kept, is of this field.
    const fn named(&mut self) -> Option<&mut Option<String>> {
        match (self.field, self.depth, self.nested) {
            (Field::CacheSalt, 1, _) => Some(&mut self.request.cache_salt),
            (Field::User, 1, _) | (Field::Metadata, 2, Nested::UserId) => {
                Some(&mut self.request.user)
            }
            _ => None,
        }
    }

    /// The value at hand, if it is not a string. Before every value it is none, so that of a key that
    /// comes twice the last counts.
    fn set(&mut self, scalar: Scalar<'_>) {
        let integer = match scalar {
            Scalar::Integer(integer) => Some(integer),
            _ => None,
        };
        match (self.field, self.depth, self.nested) {
            (Field::Stream, 1, _) => self.request.stream = scalar == Scalar::Bool(true),
            (Field::StreamOptions, 2, Nested::IncludeUsage) => {
                self.request.include_usage = scalar == Scalar::Bool(true);
            }
            (Field::MaxTokens, 1, _) | (Field::SamplingParams, 2, Nested::MaxTokens) => {
                self.max_tokens.0 = integer;
            }
            (Field::MaxOutputTokens, 1, _) => self.max_tokens.1 = integer,
            (Field::N, 1, _) | (Field::SamplingParams, 2, Nested::N) => self.request.n = integer,
            (Field::Priority, 1, _) => {
                self.request.priority = match scalar {
                    Scalar::Integer(integer) => integer.try_into().ok(),
                    Scalar::Number(number) => negative(number),
                    _ => None,
                };
            }
            _ => return,
        }
        self.tell_max_tokens();
    }

    fn tell_max_tokens(&mut self) {
        let (first, later) = self.max_tokens;
        self.request.max_tokens = later.or(first);
    }

    /// The value of a field begins, which takes the place of one before.
    fn begin_field(&mut self, key: &[u8]) {
        self.field = Field::of(self.api, key);
        self.nested = Nested::Other;
        match self.field {
            Field::Prompt(part) => {
                self.content.begin_field(part, key);
                self.request.prompt.section_mut(part).begin_field(part);
            }
            Field::Model => self.request.model = None,
            Field::StreamOptions => self.request.include_usage = false,
            Field::SamplingParams => {
                self.request.n = None;
                self.max_tokens.0 = None;
                self.tell_max_tokens();
            }
            Field::Metadata => self.request.user = None,
            _ => {}
        }
        self.begin_value();
    }

    fn begin_value(&mut self) {
        self.set(Scalar::Null);
        if let Some(name) = self.named() {
            *name = None;
        }
    }
}

fn negative(number: &[u8]) -> Option<i64> {
    let number = core::str::from_utf8(number).ok()?.parse().ok();
    number.filter(|number| *number < 0)
}

impl Visitor for Body {
    fn key(&mut self, key: &[u8]) {
        if self.is_own() {
            return self.begin_field(key);
        }
        if let Field::Prompt(part) = self.field {
            self.content.key(key);
            self.request.prompt.section_mut(part).key(key);
            return;
        }
        if self.depth == 2 && self.field != Field::Other {
            self.nested = Nested::of(key);
            self.begin_value();
        }
    }

    fn begin(&mut self, container: Container) {
        self.depth += 1;
        if let Field::Prompt(part) = self.field {
            self.content.begin();
            self.request.prompt.section_mut(part).begin(container);
        }
    }

    fn end(&mut self) -> ControlFlow<()> {
        self.depth = self.depth.saturating_sub(1);
        match self.field {
            // The body's own end belongs to no field.
            Field::Prompt(part) if self.depth > 0 => {
                self.content.end();
                self.request.prompt.section_mut(part).end();
            }
            _ => {}
        }
        self.go_on()
    }

    fn begin_string(&mut self, at: u64) -> bool {
        if let Field::Prompt(part) = self.field {
            let section = self.request.prompt.section_mut(part);
            self.keeps_text = self.content.is_type_of_source();
            self.name.clear();
            return section.begin_string(self.content.is_medium());
        }
        let is_kept = (self.field, self.depth) == (Field::Model, 1) || self.named().is_some();
        if is_kept {
            self.name.clear();
            self.name_start = at;
        }
        is_kept
    }

    fn text(&mut self, text: &[u8]) -> ControlFlow<()> {
        if let Field::Prompt(part) = self.field {
            self.request.prompt.section_mut(part).text(text);
            if self.keeps_text {
                self.keep(text);
            }
            return self.go_on();
        }
        self.keep(text);
        ControlFlow::Continue(())
    }

    fn end_string(&mut self, end: u64) -> ControlFlow<()> {
        match self.field {
            Field::Prompt(part) => {
                if self.keeps_text {
                    self.content.set_type_of_source(&self.name);
                }
                self.request.prompt.section_mut(part).end_string();
            }
            Field::Model if self.is_own() => {
                let span = self.name_start..end;
                let name = self.take_name();
                self.request.model = name.map(|name| RequestedModel { name, span });
            }
            _ => {
                if self.named().is_some() {
                    let name = self.take_name();
                    if let Some(named) = self.named() {
                        *named = name;
                    }
                }
            }
        }
        self.go_on()
    }

    fn scalar(&mut self, scalar: Scalar<'_>) -> ControlFlow<()> {
        if let Field::Prompt(part) = self.field {
            let is_token_id = self.content.is_token_id();
            let section = self.request.prompt.section_mut(part);
            section.scalar(scalar, is_token_id);
            return self.go_on();
        }
        self.set(scalar);
        ControlFlow::Continue(())
    }
}
