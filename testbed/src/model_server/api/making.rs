//! Answers in the making, each token sent when it is made.

use std::{io, sync::Arc};

use axum::{
    Json,
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::{
    super::{
        Backend, State,
        canned::{self, Generation},
        engine::{FinishReason, Progress, Request, token_text},
        simulator::{SimulatorConfig, Ticket},
    },
    Asked, Form, Head, Length, Refusal,
    form::Made,
    next_number, now, openai, served_model, simulated_model,
};

/// Answers a request for generated text.
pub(super) async fn generate(state: &State, asked: Asked) -> Result<Response, Refusal> {
    let model = served_model(state, asked.model)?;
    let (making, prompt_tokens) = match &state.backend {
        Backend::Canned(engine) => (
            Making::Canned(engine.generate(asked.length.asked)),
            asked.prompt.estimate(),
        ),
        Backend::Simulated(simulator) => {
            let prompt = asked.prompt.tokens(&model);
            let prompt_tokens = prompt.len();
            let max_tokens = answer_tokens(simulator.config(), prompt_tokens, &asked.length)?;
            if state.fails() {
                return Err(Refusal::Failing);
            }
            let stops = asked.length.ends_by_itself();
            let adapter = simulator.lora(&model);
            let simulated = Simulated {
                ticket: simulator.submit(prompt, max_tokens, stops, adapter),
                breaks: state.resets(),
                begun: false,
            };
            (Making::Simulated(simulated), prompt_tokens)
        }
    };
    let form = (asked.form)(Head {
        number: next_number(),
        created: now(),
        model,
        prompt_tokens,
    });
    Ok(if asked.stream {
        streamed(making, form)
    } else {
        whole(making, form).await
    })
}

/// Lets an engine read prompts to which no answer is generated, and returns how many tokens they
/// are. Such a request ends with its prefill, which here makes one token that nobody gets.
pub(super) async fn prefill(
    state: &State,
    model: &str,
    prompts: &[super::Prompt],
) -> Result<usize, Refusal> {
    let Backend::Simulated(simulator) = &state.backend else {
        return Ok(prompts.iter().map(super::Prompt::estimate).sum());
    };
    let length = Length {
        asked: Some(1),
        default: 1,
        stops: false,
    };
    let mut tickets = Vec::new();
    let mut prompt_tokens = 0;
    for prompt in prompts {
        let prompt = prompt.tokens(model);
        prompt_tokens += prompt.len();
        let max_tokens = answer_tokens(simulator.config(), prompt.len(), &length)?;
        tickets.push(simulator.submit(prompt, max_tokens, false, simulator.lora(model)));
    }
    if state.fails() {
        return Err(Refusal::Failing);
    }
    for mut ticket in tickets {
        while let Some(Progress { finished: None, .. }) = ticket.more().await {}
    }
    Ok(prompt_tokens)
}

/// What the body of a chat completion asks of the engine of a server like this.
pub(super) fn chat_request<T>(
    config: &SimulatorConfig,
    body: &[u8],
    client: T,
) -> Result<Request<T>, Refusal> {
    let asked = openai::chat(body)?;
    let model = simulated_model(config, asked.model)?;
    let prompt = asked.prompt.tokens(&model);
    Ok(Request {
        max_tokens: answer_tokens(config, prompt.len(), &asked.length)?,
        stops: asked.length.ends_by_itself(),
        adapter: (model != config.model).then(|| Arc::from(model)),
        prompt,
        client,
    })
}

/// How many tokens an answer to a prompt of this length has.
fn answer_tokens(
    config: &SimulatorConfig,
    prompt: usize,
    length: &Length,
) -> Result<usize, Refusal> {
    let max_model_len = config.max_model_len;
    let left = max_model_len.saturating_sub(prompt);
    if prompt == 0 {
        return Err(Refusal::Bad(
            "The decoder prompt cannot be empty".to_owned(),
        ));
    }
    if left == 0 {
        return Err(Refusal::Bad(format!(
            "This model's maximum context length is {max_model_len} tokens. However, your request \
             has {prompt} input tokens. Please reduce the length of the input messages."
        )));
    }
    match length.asked {
        Some(0) => Err(Refusal::Bad(
            "max_tokens must be at least 1, got 0.".to_owned(),
        )),
        Some(asked) if asked > left => Err(Refusal::Bad(format!(
            "'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum \
             context length is {max_model_len} tokens and your request has {prompt} input tokens \
             ({asked} > {max_model_len} - {prompt})."
        ))),
        Some(asked) => Ok(asked),
        None => Ok(length.default.min(left)),
    }
}

/// What makes an answer.
enum Making {
    Canned(Generation),
    Simulated(Simulated),
}

/// An answer that an engine is making.
struct Simulated {
    ticket: Ticket,
    /// Whether its connection is closed after the first token.
    breaks: bool,
    begun: bool,
}

impl Making {
    /// Waits for more of the answer.
    ///
    /// # Errors
    ///
    /// When there will not be more, although it has not ended. An error in a response's body closes
    /// the connection.
    async fn more(&mut self) -> io::Result<Progress> {
        match self {
            Self::Canned(generation) => Ok(generation.more().await),
            Self::Simulated(simulated) => simulated.more().await,
        }
    }

    fn made(&self, progress: Progress) -> Made {
        Made {
            tokens: progress.generated,
            cached: progress.cached,
            word: match self {
                Self::Canned(_) => canned::token_text,
                Self::Simulated(_) => token_text,
            },
        }
    }
}

impl Simulated {
    async fn more(&mut self) -> io::Result<Progress> {
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        if self.breaks && self.begun {
            // Lets hyper send what it has.
            tokio::task::yield_now().await;
            return Err(broken());
        }
        let mut progress = self.ticket.more().await.ok_or_else(broken)?;
        self.begun = true;
        if self.breaks {
            progress.generated = 1;
            progress.finished = None;
        }
        Ok(progress)
    }
}

async fn whole(mut making: Making, form: Box<dyn Form>) -> Response {
    loop {
        match making.more().await {
            Ok(Progress { finished: None, .. }) => {}
            Ok(
                progress @ Progress {
                    finished: Some(reason),
                    ..
                },
            ) => return Json(form.whole(&making.made(progress), reason)).into_response(),
            Err(error) => {
                let begun = stream::once(async { Ok(Bytes::from_static(b"{")) });
                let broken = stream::once(async {
                    tokio::task::yield_now().await;
                    Err(error)
                });
                return Body::from_stream(begun.chain(broken)).into_response();
            }
        }
    }
}

fn streamed(making: Making, form: Box<dyn Form>) -> Response {
    let begun = Some((making, form, 0_usize));
    let pieces = stream::unfold(begun, async |state| {
        let (mut making, form, sent) = state?;
        match making.more().await {
            Err(error) => Some((Err(error), None)),
            Ok(progress) => {
                let made = making.made(progress);
                let piece = events(&*form, &made, sent, progress.finished);
                let state =
                    progress
                        .finished
                        .is_none()
                        .then_some((making, form, progress.generated));
                Some((Ok(Bytes::from(piece)), state))
            }
        }
    });
    let head = [(CONTENT_TYPE, "text/event-stream; charset=utf-8")];
    (head, Body::from_stream(pieces)).into_response()
}

/// The events of an answer's progress since `sent` of its tokens were sent. What comes before the
/// first token is sent with it.
fn events(form: &dyn Form, made: &Made, sent: usize, finished: Option<FinishReason>) -> String {
    let mut events = String::with_capacity(256 * (made.tokens - sent + 2 * usize::from(sent == 0)));
    if sent == 0 {
        form.begin(&mut events);
    }
    for index in sent..made.tokens {
        let tokens = index + 1;
        let reason = finished.filter(|_| tokens == made.tokens);
        form.token(&mut events, &Made { tokens, ..*made }, reason);
    }
    if let Some(reason) = finished {
        form.end(&mut events, made, reason);
    }
    events
}
