//! Which strings of a prompt are text, and which are pictures, sounds and films; which integers are
//! token ids.
//!
//! A medium is base64, or an address where it is. Content parts have it in places of their own:
//! `image_url` itself or `url` in it (OpenAI, vLLM), `data` in `input_audio`, `file_data` in `file`,
//! `data` or `url` in `source` (Anthropic). The same keys are ordinary ones in a tool's schema or in
//! the input of its call, which the model reads as text.

use super::Part;

/// Where in a prompt's value a reader is.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    key: Key,
    inside: Inside,
    /// What the containers around are inside of, from the outermost in.
    around: Vec<Inside>,
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

/// What the containers around say of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Inside {
    Source,
    Media,
    Text,
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
    /// Goes to the value of a field.
    pub(super) fn begin_field(&mut self, part: Part, key: &[u8]) {
        self.key = match part {
            Part::Tools => Key::Text,
            Part::Media => Key::of(key),
            Part::System | Part::Messages => Key::Other,
        };
        self.inside = Inside::Content;
        self.around.clear();
        self.has_key = part != Part::Messages;
    }

    #[inline]
    pub(super) fn key(&mut self, key: &[u8]) {
        self.key = Key::of(key);
        self.has_key = true;
    }

    /// A container begins.
    pub(super) fn begin(&mut self) {
        self.around.push(self.inside);
        self.inside = match (self.inside, self.key) {
            (Inside::Media | Inside::Text, _) => return,
            (_, Key::Media) => Inside::Media,
            (_, Key::Text) => Inside::Text,
            (_, Key::Medium | Key::Source) => Inside::Source,
            _ => return,
        };
    }

    pub(super) fn end(&mut self) {
        self.key = Key::Other;
        self.inside = self.around.pop().unwrap_or_default();
    }

    /// Whether an integer at hand is a token id.
    pub(super) const fn is_token_id(&self) -> bool {
        !self.has_key
    }

    /// Whether the string at hand is a medium.
    pub(super) const fn is_medium(&self) -> bool {
        match self.inside {
            Inside::Text => false,
            Inside::Media => true,
            Inside::Source => matches!(self.key, Key::Medium | Key::Data | Key::Url),
            Inside::Content => matches!(self.key, Key::Medium | Key::Data | Key::Media),
        }
    }

    /// Whether the string at hand says what the source around is.
    pub(super) const fn is_type_of_source(&self) -> bool {
        matches!((self.inside, self.key), (Inside::Source, Key::Type))
    }

    /// The source around is of this type. A document may be in it as it is.
    pub(super) fn set_type_of_source(&mut self, name: &[u8]) {
        if name == b"text" {
            self.inside = Inside::Text;
        }
    }
}
