//! Bodies of inference requests.

use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::{
    Api,
    text::{Text, TextVisitor},
};

/// What the scheduler knows of a request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferenceRequest<'a> {
    /// The model asked for. Model servers have a default, so it may be missing.
    pub model: Option<Text<'a>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// What the model is to read.
    pub prompt: Prompt<'a>,
}

/// What a model is to read.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Prompt<'a> {
    /// None, or one of a form that is not known here.
    #[default]
    Unknown,
    /// A conversation.
    Chat(Vec<Message<'a>>),
    /// One text, or a batch of them.
    Texts(Vec<Text<'a>>),
    /// The token ids of one prompt or of a batch, one after another.
    Tokens(Vec<u32>),
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Message<'a> {
    /// Who speaks.
    #[serde(borrow, default)]
    pub role: Option<Text<'a>>,
    /// What is said: the texts among its parts.
    #[serde(borrow, default, deserialize_with = "content")]
    pub content: Vec<Text<'a>>,
}

/// A body that is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the request body is not valid JSON: {0}")]
pub struct MalformedBody(#[source] serde_json::Error);

impl<'a> InferenceRequest<'a> {
    /// Reads the body of a request to `api`, borrowing from it.
    ///
    /// JSON of another shape than the API documents is the model server's to judge: of such a
    /// body nothing is known, and it is routed by load.
    ///
    /// # Errors
    /// When the body is not JSON.
    pub fn parse(api: Api, body: &'a [u8]) -> Result<Self, MalformedBody> {
        match serde_json::from_slice::<Body<'a>>(body) {
            Ok(body) => Ok(Self {
                model: body.model,
                stream: body.stream.unwrap_or(false),
                prompt: match api {
                    Api::ChatCompletions => body.messages.map_or(Prompt::Unknown, Prompt::Chat),
                    Api::Completions => body.prompt.unwrap_or_default(),
                },
            }),
            // Of another shape so far; what follows has not been read yet.
            Err(error) if error.is_data() => serde_json::from_slice::<IgnoredAny>(body)
                .map(|_| Self::default())
                .map_err(MalformedBody),
            Err(error) => Err(MalformedBody(error)),
        }
    }
}

impl Prompt<'_> {
    /// Its texts in their order.
    pub fn text(&self) -> impl Iterator<Item = &str> {
        let (messages, texts): (&[Message<'_>], &[Text<'_>]) = match self {
            Self::Chat(messages) => (messages, &[]),
            Self::Texts(texts) => (&[], texts),
            Self::Unknown | Self::Tokens(_) => (&[], &[]),
        };
        messages
            .iter()
            .flat_map(|message| &message.content)
            .chain(texts)
            .map(|text| &**text)
    }

    /// Its size in bytes of text, a token id counting as the four bytes of text that a token
    /// stands for on average.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Tokens(tokens) => tokens.len().saturating_mul(4),
            _ => self.text().map(str::len).sum(),
        }
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(borrow, default)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow, default)]
    prompt: Option<Prompt<'a>>,
}

/// `content` of a message: a string, a list of parts, or null beside tool calls.
fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Text<'de>>, D::Error> {
    struct ContentVisitor;

    impl<'de> Visitor<'de> for ContentVisitor {
        type Value = Vec<Text<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, a list of content parts or null")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
            Ok(vec![TextVisitor.visit_borrowed_str(value)?])
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
            Ok(vec![TextVisitor.visit_str(value)?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
            let mut texts = Vec::new();
            while let Some(part) = parts.next_element::<Part<'de>>()? {
                texts.extend(part.text);
            }
            Ok(texts)
        }
    }

    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        text: Option<Text<'a>>,
    }

    deserializer.deserialize_any(ContentVisitor)
}

/// `prompt` of a completion: a text, token ids, or a batch of either.
impl<'de: 'a, 'a> Deserialize<'de> for Prompt<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of strings, of token ids or of lists of token ids")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Prompt::Texts(vec![TextVisitor.visit_borrowed_str(value)?]))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Prompt::Texts(vec![TextVisitor.visit_str(value)?]))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let token = u32::try_from(value).map_err(|_| E::custom("a token id has 32 bits"))?;
        Ok(Prompt::Tokens(vec![token]))
    }

    /// A batch is what its members are, one after another.
    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut batch = Prompt::Unknown;
        while let Some(member) = members.next_element_seed(BatchMember)? {
            batch = match (batch, member) {
                (Prompt::Unknown, member) => member,
                (Prompt::Texts(mut texts), Prompt::Texts(more)) => {
                    texts.extend(more);
                    Prompt::Texts(texts)
                }
                (Prompt::Tokens(mut tokens), Prompt::Tokens(more)) => {
                    tokens.extend(more);
                    Prompt::Tokens(tokens)
                }
                _ => return Err(A::Error::custom("a prompt mixes texts and token ids")),
            };
        }
        Ok(batch)
    }
}

/// A member of a batch: a text, a token id, or the token ids of one prompt. Lists end here, so
/// that nothing recurses as deep as a client likes.
struct BatchMember;

impl<'de> serde::de::DeserializeSeed<'de> for BatchMember {
    type Value = Prompt<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BatchMember {
    type Value = Prompt<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id or a list of token ids")
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        PromptVisitor.visit_borrowed_str(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        PromptVisitor.visit_str(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        PromptVisitor.visit_u64(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, tokens: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(tokens)).map(Prompt::Tokens)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Prompt::Unknown)
    }
}
