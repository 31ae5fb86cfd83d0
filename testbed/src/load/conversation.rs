//! What one user sends.

use bytes::Bytes;
use serde::Serialize;
use xxhash_rust::xxh64::xxh64;

/// How many of a prompt's first bytes go into its hash.
const HASHED_BYTES: usize = 256;

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
}

impl Message {
    pub(super) fn new(role: &'static str, content: String) -> Self {
        Self { role, content }
    }
}

/// One question of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// How long the user thinks after the answer before, in simulated seconds. The first turn is due
    /// at the conversation's start.
    pub think: f64,
    /// The text.
    pub question: String,
    /// The length of the answer, in tokens.
    pub answer_tokens: u32,
}

/// What one user sends: one request, or several of which each repeats all that was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// When the first turn is due, in simulated seconds after the start of the run.
    pub start: f64,
    /// The model or adapter that is asked.
    pub model: String,
    /// What was said before the first turn.
    pub history: Vec<Message>,
    /// The questions to come; at least one.
    pub turns: Vec<Turn>,
}

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The JSON body.
    pub body: Bytes,
    /// A hash of the prompt's first bytes, for balancers that look at a header.
    pub prompt_hash: String,
}

/// The body of a streamed chat completion.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    max_tokens: u32,
    stream: bool,
    stream_options: StreamOptions,
    /// An extension of vLLM: answers are as long as asked for, whatever the model says.
    ignore_eos: bool,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Conversation {
    /// The request in which `turn` is asked after all that was said before it; the question becomes
    /// part of the history.
    ///
    /// # Errors
    ///
    /// None that can happen: texts are always JSON.
    pub fn ask(&mut self, turn: &Turn) -> serde_json::Result<ChatRequest> {
        self.history
            .push(Message::new("user", turn.question.clone()));
        let body = serde_json::to_vec(&Body {
            model: &self.model,
            messages: &self.history,
            max_tokens: turn.answer_tokens,
            stream: true,
            stream_options: StreamOptions {
                include_usage: true,
            },
            ignore_eos: true,
        })?;
        Ok(ChatRequest {
            body: body.into(),
            prompt_hash: self.prompt_hash(),
        })
    }

    /// Puts an answer into the history, as it came.
    pub fn answered(&mut self, answer: String) {
        self.history.push(Message::new("assistant", answer));
    }

    fn prompt_hash(&self) -> String {
        let bytes: Vec<u8> = self
            .history
            .iter()
            .flat_map(|message| message.content.bytes())
            .take(HASHED_BYTES)
            .collect();
        format!("{:016x}", xxh64(&bytes, 0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn turn(question: &str) -> Turn {
        Turn {
            think: 0.0,
            question: question.to_owned(),
            answer_tokens: 7,
        }
    }

    fn conversation(system: &str) -> Conversation {
        Conversation {
            start: 0.0,
            model: "llama".to_owned(),
            history: vec![Message::new("system", system.to_owned())],
            turns: Vec::new(),
        }
    }

    #[test]
    fn each_turn_repeats_what_was_said() {
        let mut conversation = conversation("be kind");
        conversation.ask(&turn("one?")).expect("JSON");
        conversation.answered("1".to_owned());
        let second = conversation.ask(&turn("two?")).expect("JSON");
        let body: Value = serde_json::from_slice(&second.body).expect("JSON");
        let contents: Vec<&str> = body["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .filter_map(|message| message["content"].as_str())
            .collect();
        assert_eq!(contents, ["be kind", "one?", "1", "two?"]);
        assert_eq!(body["max_tokens"], 7);
        assert_eq!(body["stream"], true);
    }

    #[test]
    fn the_hash_is_of_the_first_bytes_alone() {
        let long = "x".repeat(HASHED_BYTES);
        let hash = |system: &str, question: &str| {
            let request = conversation(system).ask(&turn(question));
            request.expect("JSON").prompt_hash
        };
        assert_eq!(hash(&long, "one?"), hash(&long, "two?"));
        assert_ne!(hash("short", "one?"), hash("short", "two?"));
        assert_ne!(hash(&long, "one?"), hash("short", "one?"));
    }
}
