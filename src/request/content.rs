//! Which strings of a prompt are text, and which are pictures, sounds and films; which integers are
//! token ids.
//!
//! A medium is base64, or an address where it is. Content parts have it in places of their own:
//! `image_url` itself or `url` in it (OpenAI, vLLM), `data` in `input_audio`, `file_data` in `file`,
//! `data` or `url` in `source` (Anthropic). The same keys are ordinary ones in a tool's schema or in
//! the input of its call, which the model reads as text.

use super::Part;

/// Where in a prompt's value a reader is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Content {
    key: Key,
    inside: Inside,
    /// Whether there has been a key: token ids come in lists alone.
    has_key: bool,
}

/// What the last key says of the value behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Key {
    /// It is a medium, or holds one.
    Medium,
    /// It holds a medium, or a document's text.
    Source,
    /// It is a medium, in a content part as in a source.
    Data,
    /// It is a medium in a source.
    Url,
    /// It says what the source around it is.
    Type,
    /// All strings in it are media.
    Media,
    /// All strings in it are text.
    Text,
    #[default]
    Other,
}

/// The container around that decides, by its depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inside {
    Source(u32),
    Media(u32),
    Text(u32),
    #[default]
    Content,
}

impl Key {
    fn of(key: &[u8]) -> Self {
        match key {
            b"url" => Self::Url,
            b"data" => Self::Data,
            b"file" | b"source" | b"input_audio" => Self::Source,
            b"image" | b"file_url" | b"file_data" | b"image_url" | b"audio_url" | b"video_url" => {
                Self::Medium
            }
            b"image_data" | b"audio_data" | b"video_data" | b"kwargs_data" | b"image_embeds"
            | b"audio_embeds" | b"video_embeds" | b"prompt_embeds" => Self::Media,
            b"type" => Self::Type,
            b"input" | b"mm_hashes" | b"mm_metadata" => Self::Text,
            _ => Self::Other,
        }
    }
}

impl Content {
    /// At the value of a field.
    pub(super) fn of_field(part: Part, key: &[u8]) -> Self {
        let key = match part {
            Part::Tools => Key::Text,
            Part::Media => Key::of(key),
            Part::System | Part::Messages => Key::Other,
        };
        Self {
            key,
            inside: Inside::Content,
            has_key: part != Part::Messages,
        }
    }

    #[inline]
    pub(super) fn key(&mut self, key: &[u8]) {
        self.key = Key::of(key);
        self.has_key = true;
    }

    /// A container begins, which is the `depth`th around what comes.
    pub(super) const fn begin(&mut self, depth: u32) {
        self.inside = match (self.inside, self.key) {
            (Inside::Media(_) | Inside::Text(_), _) => return,
            (_, Key::Media) => Inside::Media(depth),
            (_, Key::Text) => Inside::Text(depth),
            (_, Key::Medium | Key::Source) => Inside::Source(depth),
            _ => return,
        };
    }

    pub(super) const fn end(&mut self, depth: u32) {
        self.key = Key::Other;
        if let Inside::Source(outer) | Inside::Media(outer) | Inside::Text(outer) = self.inside
            && outer >= depth
        {
            self.inside = Inside::Content;
        }
    }

    /// Whether an integer at hand is a token id.
    pub(super) const fn is_token_id(self) -> bool {
        !self.has_key
    }

    /// Whether the string at hand is a medium.
    pub(super) const fn is_medium(self) -> bool {
        match self.inside {
            Inside::Text(_) => false,
            Inside::Media(_) => true,
            Inside::Source(_) => matches!(self.key, Key::Medium | Key::Data | Key::Url),
            Inside::Content => matches!(self.key, Key::Medium | Key::Data | Key::Media),
        }
    }

    /// Whether the string at hand says what the source around is.
    pub(super) const fn is_type_of_source(self) -> bool {
        matches!((self.inside, self.key), (Inside::Source(_), Key::Type))
    }

    /// The source around is of this type. A document may be in it as it is.
    pub(super) fn set_type_of_source(&mut self, name: &[u8]) {
        if let Inside::Source(depth) = self.inside
            && name == b"text"
        {
            self.inside = Inside::Text(depth);
        }
    }
}
