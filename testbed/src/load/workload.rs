//! Kinds of users.
//!
//! A [`Workload`] is what a seed makes conversations of. The same seed makes the same ones; workloads
//! draw from different streams, so that changing one leaves the others as they are.

use clap::ValueEnum;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp, Zipf};
use serde::Serialize;

use super::{
    Length,
    arrivals::{Arrivals, InvalidArrivals},
    conversation::{Conversation, Message, Turn},
    text::text,
};

/// A kind of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Many users of a few applications, each with a long system prompt of its own.
    SharedPrefix,
    /// Conversations of several turns, each of which repeats all that was said.
    Chat,
    /// Single requests that have nothing in common: no prefix to exploit.
    Uniform,
    /// Single requests for adapters, of which a few are asked for most.
    Lora,
    /// Single requests with prompts of thousands of tokens, of which few fit into a KV cache.
    LongContext,
    /// Short requests, and long ones among them.
    Mixed,
}

/// What the users of a workload do. Lengths are in tokens.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many system prompts there are; a user has one of them.
    pub system_prompts: u32,
    /// Their length.
    pub system_prompt: Length,
    /// The length of the first question.
    pub question: Length,
    /// The length of the questions after it.
    pub follow_up: Length,
    /// The length of an answer.
    pub answer: Length,
    /// How many questions a user asks.
    pub turns: Length,
    /// The mean time between an answer and the next question, in seconds; exponentially distributed.
    pub think: f64,
    /// How many adapters are asked for, the most popular first: Zipf's law with exponent 1.
    pub adapters: u32,
}

impl Workload {
    /// What its users do.
    #[must_use]
    pub const fn shape(self) -> Shape {
        let single = Shape {
            system_prompts: 0,
            system_prompt: Length::Between(0, 0),
            question: Length::Between(500, 2500),
            follow_up: Length::Between(0, 0),
            answer: Length::Between(16, 80),
            turns: Length::Between(1, 1),
            think: 0.0,
            adapters: 0,
        };
        match self {
            Self::SharedPrefix => Shape {
                system_prompts: 24,
                system_prompt: Length::Between(1600, 2000),
                question: Length::Between(50, 250),
                ..single
            },
            Self::Chat => Shape {
                question: Length::Between(600, 1400),
                follow_up: Length::Between(50, 250),
                turns: Length::Between(3, 7),
                think: 4.0,
                ..single
            },
            Self::Uniform => single,
            Self::Lora => Shape {
                adapters: 12,
                ..single
            },
            Self::LongContext => Shape {
                question: Length::Between(3000, 7000),
                ..single
            },
            Self::Mixed => Shape {
                question: Length::ShortOrLong {
                    short: (100, 400),
                    long: (3000, 6000),
                    long_share: 0.15,
                },
                ..single
            },
        }
    }

    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SharedPrefix => "shared-prefix",
            Self::Chat => "chat",
            Self::Uniform => "uniform",
            Self::Lora => "lora",
            Self::LongContext => "long-context",
            Self::Mixed => "mixed",
        }
    }

    /// The adapters that its users ask for, the most popular first.
    #[must_use]
    pub fn adapters(self) -> Vec<String> {
        (0..self.shape().adapters)
            .map(|number| format!("adapter-{number}"))
            .collect()
    }
}

/// How many users come, and what they ask.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Seeds everything.
    pub seed: u64,
    /// Requests a second, on average; a conversation is several.
    pub rate: f64,
    /// As in [`Arrivals::new`].
    pub burstiness: f64,
    /// For how long users come, in simulated seconds.
    pub duration: f64,
    /// How long an answer takes, roughly, in simulated seconds: says how far the conversations have
    /// come that are under way when the run begins.
    pub answer_time: f64,
    /// The model that is asked where there are no adapters.
    pub model: String,
}

impl Workload {
    /// The conversations, by the time of their first turn.
    ///
    /// Users came before the run began: conversations that would be under way are joined in the
    /// middle, at the next question, with what was said so far. So the load is even from the start.
    ///
    /// # Errors
    ///
    /// As [`Arrivals::new`].
    pub fn conversations(self, plan: &Plan) -> Result<Vec<Conversation>, InvalidArrivals> {
        let shape = self.shape();
        let mut random = ChaCha8Rng::seed_from_u64(plan.seed);
        random.set_stream(self as u64);
        let system_prompts: Vec<String> = (0..shape.system_prompts)
            .map(|_| text(shape.system_prompt.sample(&mut random), &mut random))
            .collect();
        let adapters = self.adapters();

        let users = Arrivals::new(plan.rate / shape.turns.mean(), plan.burstiness)?;
        let longest = 2.0 * shape.turns.mean() * (shape.think + plan.answer_time);
        let before = if shape.turns.mean() > 1.0 {
            longest
        } else {
            0.0
        };
        let starts: Vec<f64> = users.between(-before, plan.duration, &mut random).collect();

        let mut conversations: Vec<Conversation> = starts
            .into_iter()
            .filter_map(|start| {
                let mut conversation = Conversation {
                    start,
                    model: popular(&adapters, &mut random)
                        .map_or_else(|| plan.model.clone(), Clone::clone),
                    history: one_of(&system_prompts, &mut random)
                        .map(|prompt| Message::new("system", prompt.clone()))
                        .into_iter()
                        .collect(),
                    turns: turns(&shape, &mut random),
                };
                join(&mut conversation, plan.answer_time, &mut random).then_some(conversation)
            })
            .collect();
        conversations.sort_by(|a, b| a.start.total_cmp(&b.start));
        Ok(conversations)
    }
}

fn turns(shape: &Shape, random: &mut ChaCha8Rng) -> Vec<Turn> {
    (0..shape.turns.sample(random))
        .map(|number| {
            let (length, think) = if number == 0 {
                (shape.question, 0.0)
            } else {
                // Only a mean of zero has no distribution, and needs none.
                let think = Exp::new(1.0 / shape.think).map_or(0.0, |it| it.sample(random));
                (shape.follow_up, think)
            };
            Turn {
                think,
                question: text(length.sample(random), random),
                answer_tokens: shape.answer.sample(random),
            }
        })
        .collect()
}

/// Moves what would have been said before the run into the history. False when that is all.
fn join(conversation: &mut Conversation, answer_time: f64, random: &mut ChaCha8Rng) -> bool {
    let mut turns = std::mem::take(&mut conversation.turns)
        .into_iter()
        .peekable();
    while conversation.start < 0.0 {
        let Some(turn) = turns.next() else {
            return false;
        };
        conversation
            .history
            .push(Message::new("user", turn.question));
        conversation.answered(text(turn.answer_tokens, random));
        conversation.start += answer_time + turns.peek().map_or(0.0, |next| next.think);
    }
    conversation.turns = turns.collect();
    !conversation.turns.is_empty()
}

fn one_of<'items, T>(items: &'items [T], random: &mut ChaCha8Rng) -> Option<&'items T> {
    if items.is_empty() {
        return None;
    }
    items.get(random.random_range(0..items.len()))
}

/// One of `items`, of which the first is the most popular.
fn popular<'items, T>(items: &'items [T], random: &mut ChaCha8Rng) -> Option<&'items T> {
    let rank = Zipf::new(items.len() as f64, 1.0).ok()?.sample(random);
    items.get((rank as usize).saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const ANSWER_TIME: f64 = 3.0;

    fn conversations_of(workload: Workload, seed: u64, duration: f64) -> Vec<Conversation> {
        let plan = Plan {
            seed,
            rate: 10.0,
            burstiness: 1.0,
            duration,
            answer_time: ANSWER_TIME,
            model: "llama".to_owned(),
        };
        workload.conversations(&plan).expect("a valid plan")
    }

    /// Enough for statistics.
    fn conversations(workload: Workload, seed: u64) -> Vec<Conversation> {
        conversations_of(workload, seed, 300.0)
    }

    #[test]
    fn a_seed_makes_the_same_requests_again_and_another_makes_others() {
        for workload in Workload::value_variants() {
            let seeded = |seed| conversations_of(*workload, seed, 10.0);
            assert_eq!(seeded(1), seeded(1), "{}", workload.name());
            assert_ne!(seeded(1), seeded(2), "{}", workload.name());
        }
    }

    #[test]
    fn requests_come_at_the_rate_asked_for() {
        for workload in [Workload::SharedPrefix, Workload::Chat] {
            // As an unloaded fleet would let them come.
            let requests = conversations(workload, 3)
                .iter()
                .flat_map(|conversation| {
                    let follow_ups = conversation.turns.iter().skip(1);
                    std::iter::once(conversation.start)
                        .chain(follow_ups.scan(conversation.start, |now, turn| {
                            *now += ANSWER_TIME + turn.think;
                            Some(*now)
                        }))
                        .collect::<Vec<_>>()
                })
                .filter(|due| *due < 300.0)
                .count();
            // 3000 expected; conversations come in fives, so their number varies by 4 %.
            let rate = requests as f64 / 300.0;
            assert!((8.5..11.5).contains(&rate), "{}: {rate}", workload.name());
        }
    }

    #[test]
    fn conversations_are_in_order_and_ask_something() {
        for workload in Workload::value_variants() {
            let all = conversations_of(*workload, 4, 20.0);
            assert!(all.is_sorted_by_key(|conversation| conversation.start));
            assert!(all.iter().all(|it| it.start >= 0.0 && !it.turns.is_empty()));
        }
    }

    #[test]
    fn lengths_are_those_of_the_shape() {
        let all = conversations_of(Workload::LongContext, 5, 20.0);
        for turn in all.iter().flat_map(|conversation| &conversation.turns) {
            assert!((12_000..=28_000).contains(&turn.question.len()));
            assert!((16..=80).contains(&turn.answer_tokens));
        }
    }

    #[test]
    fn users_share_a_few_system_prompts() {
        let mut users: BTreeMap<String, usize> = BTreeMap::new();
        for conversation in conversations(Workload::SharedPrefix, 6) {
            *users
                .entry(conversation.history[0].content.clone())
                .or_default() += 1;
        }
        assert_eq!(users.len(), 24);
        // 3000 users: 125 each, with a standard deviation of 11.
        assert!(users.values().all(|users| (70..180).contains(users)));
    }

    #[test]
    fn some_conversations_are_joined_in_the_middle() {
        let all = conversations(Workload::Chat, 7);
        let joined: Vec<_> = all.iter().filter(|it| !it.history.is_empty()).collect();
        assert!(!joined.is_empty());
        for conversation in joined {
            // Soon: everyone who was there before is back after an answer and a thought.
            assert!(conversation.start < 60.0);
            let roles: Vec<&str> = conversation.history.iter().map(|it| it.role).collect();
            assert_eq!(roles[..2], ["user", "assistant"]);
        }
    }

    #[test]
    fn adapters_follow_zipfs_law() {
        let mut requests: BTreeMap<String, f64> = BTreeMap::new();
        for conversation in conversations(Workload::Lora, 8) {
            *requests.entry(conversation.model).or_default() += 1.0;
        }
        // The second is asked for half as often as the first, the fourth a quarter.
        let ratio = |number: u32| requests[&format!("adapter-{number}")] / requests["adapter-0"];
        assert!((ratio(1) - 0.5).abs() < 0.1, "{}", ratio(1));
        assert!((ratio(3) - 0.25).abs() < 0.07, "{}", ratio(3));
    }

    #[test]
    fn nothing_is_shared_where_there_is_nothing_to_exploit() {
        let mut beginnings: Vec<String> = conversations(Workload::Uniform, 9)
            .iter()
            .map(|it| it.turns[0].question[..64].to_owned())
            .collect();
        let requests = beginnings.len();
        beginnings.sort();
        beginnings.dedup();
        assert_eq!(beginnings.len(), requests);
    }
}
