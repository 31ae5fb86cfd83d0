//! All conversations of a run, each request at its time.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    client::{Answer, Client, Failure},
    conversation::Conversation,
};

/// Simulated time: seconds since the start of a run.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    time_scale: f64,
}

impl Clock {
    /// Starts at a moment, and goes `time_scale` times as fast as real time.
    #[must_use]
    pub fn new(start: Instant, time_scale: f64) -> Self {
        Self { start, time_scale }
    }

    /// The moment at which so many seconds have passed.
    #[must_use]
    pub fn at(&self, seconds: f64) -> Instant {
        self.start + Duration::from_secs_f64((seconds / self.time_scale).max(0.0))
    }

    /// How many seconds have passed at a moment.
    #[must_use]
    pub fn read(&self, moment: Instant) -> f64 {
        moment.saturating_duration_since(self.start).as_secs_f64() * self.time_scale
    }
}

/// The end of a run, in simulated seconds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No request is sent after this.
    pub duration: f64,
    /// No answer is waited for after this.
    pub end: f64,
}

/// What came of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// When it was due, in seconds since the start of the run.
    pub due: f64,
    /// By how much later the client got to it, in seconds. Part of every other duration.
    pub lag: f64,
    /// The length of its body, in bytes.
    pub body_bytes: usize,
    /// What was seen of the answer.
    pub result: Result<Seen, Failure>,
}

/// What a user saw of an answer. Durations in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seen {
    /// Time to first token: from when the request was due.
    pub ttft: f64,
    /// Mean time for each token after the first; none where there is no second.
    pub tpot: Option<f64>,
    /// End to end: from when the request was due to the last token.
    pub e2e: f64,
    /// Tokens of the answer.
    pub tokens: u64,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them that came from the server's prefix cache.
    pub cached_tokens: u64,
}

/// Sends every request of the conversations when it is due, and returns what came of them, in the
/// order in which they were due.
pub async fn drive(
    conversations: Vec<Conversation>,
    client: &Client,
    clock: Clock,
    limits: Limits,
) -> Vec<Outcome> {
    let client = Arc::new(client.clone());
    let mut under_way = JoinSet::new();
    for conversation in conversations {
        under_way.spawn(hold(conversation, Arc::clone(&client), clock, limits));
    }
    let mut outcomes: Vec<Outcome> = under_way.join_all().await.into_iter().flatten().collect();
    outcomes.sort_by(|a, b| a.due.total_cmp(&b.due));
    outcomes
}

/// Holds one conversation. It ends early when an answer fails, and where a question would be due
/// after the end of the load.
async fn hold(
    mut conversation: Conversation,
    client: Arc<Client>,
    clock: Clock,
    limits: Limits,
) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut due = conversation.start;
    for turn in std::mem::take(&mut conversation.turns) {
        due += turn.think;
        if due >= limits.duration {
            break;
        }
        sleep_until(clock.at(due)).await;
        let Ok(request) = conversation.ask(&turn) else {
            break;
        };
        let body_bytes = request.body.len();
        let lag = clock.read(Instant::now()) - due;
        let answer = timeout_at(clock.at(limits.end), client.send(request))
            .await
            .unwrap_or(Err(Failure::Unfinished));
        outcomes.push(Outcome {
            due,
            lag,
            body_bytes,
            result: answer
                .as_ref()
                .map(|answer| seen(answer, due, clock))
                .map_err(|failure| *failure),
        });
        let Ok(answer) = answer else { break };
        due = clock.read(answer.last_token);
        conversation.answered(answer.text);
    }
    outcomes
}

fn seen(answer: &Answer, due: f64, clock: Clock) -> Seen {
    let first = clock.read(answer.first_token);
    let last = clock.read(answer.last_token);
    let gaps = answer.tokens.saturating_sub(1);
    Seen {
        ttft: first - due,
        tpot: (gaps > 0).then(|| (last - first) / gaps as f64),
        e2e: last - due,
        tokens: answer.tokens,
        prompt_tokens: answer.prompt_tokens,
        cached_tokens: answer.cached_tokens,
    }
}

#[cfg(test)]
mod tests {
    use crate::{load::conversation::Turn, model_server::ModelServer};

    use super::*;

    #[test]
    fn durations_count_from_when_a_request_was_due() {
        let start = Instant::now();
        let clock = Clock::new(start, 10.0);
        let answer = Answer {
            first_token: start + Duration::from_millis(300),
            last_token: start + Duration::from_millis(500),
            tokens: 5,
            prompt_tokens: 9,
            cached_tokens: 0,
            text: String::new(),
        };
        let seen = seen(&answer, 2.0, clock);
        assert!((seen.ttft - 1.0).abs() < 1e-6);
        assert!((seen.e2e - 3.0).abs() < 1e-6);
        assert!((seen.tpot.expect("four gaps") - 0.5).abs() < 1e-6);
    }

    fn conversation(questions: &[(f64, &str)]) -> Conversation {
        let turns = questions.iter().map(|(think, question)| Turn {
            think: *think,
            question: (*question).to_owned(),
            answer_tokens: 4,
        });
        Conversation {
            start: 1.0,
            model: "tiny".to_owned(),
            history: Vec::new(),
            turns: turns.collect(),
        }
    }

    /// Hours, in real time: what is late because the machine was is not too late.
    const LIMITS: Limits = Limits {
        duration: 1e6,
        end: 2e6,
    };

    #[tokio::test]
    async fn a_turn_is_due_a_thought_after_the_answer_before_it() -> anyhow::Result<()> {
        let server = ModelServer::start().await?;
        let client = Client::new(server.address());
        let clock = Clock::new(Instant::now(), 100.0);
        let turns = [(0.0, "one?"), (5.0, "two?"), (5e6, "too late?")];
        let outcomes = drive(vec![conversation(&turns)], &client, clock, LIMITS).await;

        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
        let first = outcomes[0].result.expect("an answer");
        assert_eq!(first.tokens, 4);
        assert!((outcomes[1].due - (outcomes[0].due + first.e2e + 5.0)).abs() < 1e-6);
        assert!(outcomes.iter().all(|outcome| outcome.lag >= 0.0));
        // The second request repeats the first, and its answer.
        let bodies: Vec<usize> = server.requests().iter().map(|it| it.body.len()).collect();
        assert_eq!(bodies.len(), 2);
        assert!(bodies[1] > bodies[0]);
        Ok(())
    }

    #[tokio::test]
    async fn a_conversation_ends_with_an_answer_that_fails() -> anyhow::Result<()> {
        // Bound and not listening: nobody else gets the port, and connections are refused.
        let nobody = tokio::net::TcpSocket::new_v4()?;
        nobody.bind((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
        let client = Client::new(nobody.local_addr()?);
        let clock = Clock::new(Instant::now(), 100.0);
        let turns = [(0.0, "one?"), (0.0, "two?")];
        let outcomes = drive(vec![conversation(&turns)], &client, clock, LIMITS).await;
        let failures: Vec<Failure> = outcomes.iter().filter_map(|it| it.result.err()).collect();
        assert_eq!(failures, [Failure::Connection]);
        Ok(())
    }

    #[test]
    fn a_clock_reads_what_it_is_set_to() {
        let clock = Clock::new(Instant::now(), 10.0);
        assert!((clock.read(clock.at(25.0)) - 25.0).abs() < 1e-6);
        assert_eq!(clock.at(-1.0), clock.at(0.0));
    }
}
