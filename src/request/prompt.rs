//! What a model is to read, measured and hashed while it passes.

use core::{fmt, num::NonZeroUsize};

use xxhash_rust::xxh64::Xxh64;

use super::{Container, Part, Scalar};
use crate::prefix::{BlockHash, BlockHasher, Blocks, Scope};

/// Bytes of text that a token stands for on average, the rule of thumb for English; also the bytes
/// by which a token id is hashed.
const BYTES_PER_TOKEN: u64 = 4;

/// Bytes that count at the most of a text that has not come: 16 million tokens, more than any model
/// reads. A length is what a client says, and costs it nothing.
const MAX_UNREAD: u64 = 64 << 20;

/// Tokens of a block unless a server's are larger, as the Endpoint Picker has it.
pub(super) const BLOCK_TOKENS: u32 = 64;

/// How prompts are cut into blocks of so many tokens, up to `prefix` bytes of each part.
#[must_use]
pub fn prompt_blocks(block_tokens: u32, prefix: usize) -> Blocks {
    let size = usize::try_from(u64::from(block_tokens) * BYTES_PER_TOKEN).ok();
    let size = size
        .and_then(NonZeroUsize::new)
        .unwrap_or(NonZeroUsize::MIN);
    Blocks {
        size,
        limit: prefix.div_ceil(size.get()),
    }
}

/// What a model is to read, without the text itself.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    parts: [Section; 4],
}

/// One part of a prompt.
///
/// What is hashed is its values in the order of the body: texts as they are decoded, token ids as
/// four bytes each, media as the hash of theirs, and between them what tells one structure from
/// another. The marks are bytes that no text has in UTF-8.
#[derive(Clone)]
pub(super) struct Section {
    blocks: Blocks,
    hasher: BlockHasher,
    hashes: Vec<BlockHash>,
    /// The picture, sound or film under way.
    medium: Option<Xxh64>,
    counts: Counts,
}

/// How much there is to read. Of a prompt longer than is hashed, what lies past that may not be
/// counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes of text, decoded.
    pub text_bytes: u64,
    /// Token ids.
    pub token_ids: u64,
    /// Pictures, sounds and films.
    pub media: u64,
    /// Their bytes as they stand in the body, base64 or an address.
    pub media_bytes: u64,
}

/// What stands between values.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Mark {
    Number = 0xF7,
    Object = 0xF8,
    Array = 0xF9,
    End = 0xFA,
    Key = 0xFB,
    String = 0xFC,
    True = 0xFD,
    False = 0xFE,
    Null = 0xFF,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("counts", &self.counts)
            .field("blocks", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

impl Default for Section {
    fn default() -> Self {
        Self::new(prompt_blocks(BLOCK_TOKENS, 0))
    }
}

impl Prompt {
    /// A prompt of which nothing has been read, whose parts are cut into `blocks` each.
    #[must_use]
    pub(super) fn new(blocks: Blocks) -> Self {
        Self {
            parts: core::array::from_fn(|_| Section::new(blocks)),
        }
    }

    /// How much there is to read.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.parts
            .iter()
            .fold(Counts::default(), |sum, part| Counts {
                text_bytes: sum.text_bytes + part.counts.text_bytes,
                token_ids: sum.token_ids + part.counts.token_ids,
                media: sum.media + part.counts.media,
                media_bytes: sum.media_bytes + part.counts.media_bytes,
            })
    }

    /// How many tokens its texts and token ids are, by estimate, when `unread` more bytes of the body
    /// follow, of which no more count than a model could read. Media are not among them; where there
    /// are any, nobody knows what follows.
    #[must_use]
    pub fn estimated_tokens(&self, unread: u64) -> u64 {
        let counts = self.counts();
        let unread = if counts.media == 0 {
            unread.min(MAX_UNREAD)
        } else {
            0
        };
        (counts.text_bytes + unread).div_ceil(BYTES_PER_TOKEN) + counts.token_ids
    }

    /// How many tokens one of its blocks stands for.
    #[must_use]
    pub fn block_tokens(&self) -> u32 {
        let [.., messages] = &self.parts;
        let tokens = messages.blocks.size.get() as u64 / BYTES_PER_TOKEN;
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }

    /// The hashes of its blocks within `scope`, in the order in which the model reads them. A part
    /// follows on all of the parts before it, whichever came first in the body.
    pub fn block_hashes(&self, scope: Scope<'_>) -> impl Iterator<Item = BlockHash> {
        self.parts
            .iter()
            .scan(scope.root(), |root, part| {
                let before = *root;
                *root = part.hasher.digest().within(before);
                Some(part.hashes.iter().map(move |hash| hash.within(before)))
            })
            .flatten()
    }

    /// Whether all is hashed that is to be.
    pub(super) const fn is_enough(&self) -> bool {
        let [.., messages] = &self.parts;
        messages.hasher.is_done()
    }

    pub(super) const fn section_mut(&mut self, part: Part) -> &mut Section {
        let [tools, system, media, messages] = &mut self.parts;
        match part {
            Part::Tools => tools,
            Part::System => system,
            Part::Media => media,
            Part::Messages => messages,
        }
    }
}

impl Section {
    fn new(blocks: Blocks) -> Self {
        Self {
            blocks,
            hasher: BlockHasher::new(BlockHash::NEUTRAL, blocks),
            hashes: Vec::new(),
            medium: None,
            counts: Counts::default(),
        }
    }

    /// Of a field that comes twice the last counts. Media are in several, and all of them count.
    pub(super) fn begin_field(&mut self, part: Part) {
        if part != Part::Media {
            self.hasher.restart(BlockHash::NEUTRAL, self.blocks.limit);
            self.hashes.clear();
            self.medium = None;
            self.counts = Counts::default();
        }
    }

    pub(super) fn key(&mut self, key: &[u8]) {
        self.hash(key);
        self.mark(Mark::Key);
    }

    pub(super) fn begin(&mut self, container: Container) {
        self.mark(match container {
            Container::Object => Mark::Object,
            Container::Array => Mark::Array,
        });
    }

    pub(super) fn end(&mut self) {
        self.mark(Mark::End);
    }

    /// Tells whether the string's text counts: past what is hashed, none does.
    pub(super) fn begin_string(&mut self, is_medium: bool) -> bool {
        let counts = !self.hasher.is_done();
        if is_medium && counts {
            self.medium = Some(Xxh64::new(0));
            self.counts.media += 1;
        }
        counts
    }

    #[inline]
    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some(medium) = &mut self.medium {
            medium.update(text);
            self.counts.media_bytes += text.len() as u64;
            return;
        }
        self.counts.text_bytes += self.hash(text) as u64;
    }

    pub(super) fn end_string(&mut self) {
        if let Some(medium) = self.medium.take() {
            self.hash(&medium.digest().to_le_bytes());
        }
        self.mark(Mark::String);
    }

    pub(super) fn scalar(&mut self, scalar: Scalar<'_>, is_token_id: bool) {
        match scalar {
            Scalar::Bool(true) => self.mark(Mark::True),
            Scalar::Bool(false) => self.mark(Mark::False),
            Scalar::Null => self.mark(Mark::Null),
            Scalar::Integer(number) if is_token_id && let Ok(id) = u32::try_from(number) => {
                if self.hash(&id.to_le_bytes()) > 0 {
                    self.counts.token_ids += 1;
                }
            }
            Scalar::Integer(number) => {
                self.hash(&number.to_le_bytes());
                self.mark(Mark::Number);
            }
            Scalar::Number(number) => {
                self.hash(number);
                self.mark(Mark::Number);
            }
        }
    }

    #[inline]
    fn mark(&mut self, mark: Mark) {
        self.hash(&[mark as u8]);
    }

    /// Hashes the next bytes, and tells how many of them it took.
    #[inline]
    fn hash(&mut self, bytes: &[u8]) -> usize {
        let Self { hasher, hashes, .. } = self;
        hasher.update(bytes, |hash| hashes.push(hash))
    }
}
