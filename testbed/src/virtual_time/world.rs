//! Users, the gateway and the servers, and what happens among them.

use std::{collections::BTreeMap, mem, vec};

use anyhow::Result;
use endpoint_picker::load::Ticket;
use fastrand::Rng;
use hyper::StatusCode;

use super::{
    Ended, Run,
    events::Events,
    gateway::{Gateway, Routed},
    unix_time,
};
use crate::{
    load::{
        client::Failure,
        conversation::{Conversation, Turn},
        driver::{Limits, Outcome, Seen},
    },
    model_server::{Progress, VirtualServer, answer_text},
};

/// What happens. Users and servers by their positions.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A user's next question is due.
    Due(usize),
    /// A server's step ends.
    StepEnds(usize),
    /// A server is scraped, after so many scrapes of it.
    Scrape(usize, u32),
}

/// Someone who asks.
#[derive(Debug)]
struct User {
    conversation: Conversation,
    /// The questions to come.
    turns: vec::IntoIter<Turn>,
}

/// A request without a whole answer.
#[derive(Debug)]
struct UnderWay {
    user: usize,
    ticket: Ticket,
    due: f64,
    prompt_tokens: usize,
    first_token: Option<f64>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World<'a> {
    limits: Limits,
    interval: f64,
    events: Events<Event>,
    users: Vec<User>,
    pub(super) gateway: Gateway<'a>,
    /// Each tells of its requests by their positions in `outcomes`.
    pub(super) servers: Vec<VirtualServer<usize>>,
    under_way: BTreeMap<usize, UnderWay>,
    /// In the order in which they were due.
    pub(super) outcomes: Vec<Outcome>,
    scrapes: usize,
}

impl<'a> World<'a> {
    pub(super) fn new(run: &Run<'a>, conversations: Vec<Conversation>) -> Result<Self> {
        let servers = (0..run.filter.servers())
            .map(|_| VirtualServer::new(run.server, unix_time(0.0)))
            .collect::<Result<Vec<_>>>()?;
        let users = conversations.into_iter().map(|mut conversation| User {
            turns: mem::take(&mut conversation.turns).into_iter(),
            conversation,
        });
        let mut world = Self {
            limits: run.limits,
            interval: run.filter.interval(),
            events: Events::new(),
            users: users.collect(),
            gateway: Gateway::new(run.filter, Rng::with_seed(run.seed)),
            servers,
            under_way: BTreeMap::new(),
            outcomes: Vec::new(),
            scrapes: 0,
        };
        // All at once in the beginning, so that something is known of each when the first request
        // comes. From then on they are spread over the interval.
        for server in 0..world.servers.len() {
            world.events.plan(0.0, Event::Scrape(server, 0));
        }
        for user in 0..world.users.len() {
            world.plan_question(user, None);
        }
        Ok(world)
    }

    /// Lets everything happen until the limits.
    pub(super) fn go_on(&mut self) -> Result<()> {
        while let Some((now, event)) = self.events.next()
            && now <= self.limits.end
        {
            match event {
                Event::Due(user) => self.ask(user, now)?,
                Event::StepEnds(server) => self.end_step(server, now),
                Event::Scrape(server, round) => self.scrape(server, round, now),
            }
        }
        Ok(())
    }

    pub(super) fn end(self) -> Ended {
        Ended {
            outcomes: self.outcomes,
            scrapes: self.scrapes,
        }
    }

    /// Plans a user's next question, which is due a thought after the answer before it. It is never
    /// asked where that is after the end of the load.
    fn plan_question(&mut self, position: usize, answered: Option<f64>) {
        let Some(user) = self.users.get(position) else {
            return;
        };
        let Some(turn) = user.turns.as_slice().first() else {
            return;
        };
        let due = answered.map_or(user.conversation.start, |answered| answered + turn.think);
        if due < self.limits.duration {
            self.events.plan(due, Event::Due(position));
        }
    }

    fn ask(&mut self, position: usize, now: f64) -> Result<()> {
        let Some(user) = self.users.get_mut(position) else {
            return Ok(());
        };
        let Some(turn) = user.turns.next() else {
            return Ok(());
        };
        let body = user.conversation.ask(&turn)?.body;
        let sent = self.send(position, &body, now);
        self.outcomes.push(Outcome {
            due: now,
            lag: 0.0,
            body_bytes: body.len(),
            // Until it is answered.
            result: Err(sent.err().unwrap_or(Failure::Unfinished)),
        });
        Ok(())
    }

    /// Sends the next request.
    fn send(&mut self, user: usize, body: &[u8], now: f64) -> Result<(), Failure> {
        let number = self.outcomes.len();
        let Routed { server, ticket } = self.gateway.route(body, now)?;
        let submitted = match self.servers.get_mut(server) {
            Some(server) => server.submit(body, number, now),
            None => Err(StatusCode::SERVICE_UNAVAILABLE),
        };
        match submitted {
            Ok(prompt_tokens) => {
                let under_way = UnderWay {
                    user,
                    ticket,
                    due: now,
                    prompt_tokens,
                    first_token: None,
                };
                self.under_way.insert(number, under_way);
                self.begin_step(server, now);
                Ok(())
            }
            Err(status) => {
                self.gateway.end(ticket);
                Err(Failure::Status(status.as_u16()))
            }
        }
    }

    fn begin_step(&mut self, position: usize, now: f64) {
        let server = self.servers.get_mut(position);
        if let Some(end) = server.and_then(|server| server.begin_step(now)) {
            self.events.plan(end, Event::StepEnds(position));
        }
    }

    fn end_step(&mut self, position: usize, now: f64) {
        let mut told = Vec::new();
        if let Some(server) = self.servers.get_mut(position) {
            server.end_step(now, |number, progress| {
                if progress.generated == 1 || progress.finished.is_some() {
                    told.push((*number, progress));
                }
            });
        }
        for (number, progress) in told {
            if progress.generated == 1 {
                self.first_token(number, now);
            }
            if progress.finished.is_some() {
                self.answered(number, progress, now);
            }
        }
        self.begin_step(position, now);
    }

    fn first_token(&mut self, number: usize, now: f64) {
        if let Some(request) = self.under_way.get_mut(&number) {
            request.first_token = Some(now);
            self.gateway.prompt_read(&mut request.ticket);
        }
    }

    fn answered(&mut self, number: usize, progress: Progress, now: f64) {
        let Some(request) = self.under_way.remove(&number) else {
            return;
        };
        self.gateway.end(request.ticket);
        let first_token = request.first_token.unwrap_or(now);
        let gaps = progress.generated.saturating_sub(1);
        if let Some(outcome) = self.outcomes.get_mut(number) {
            outcome.result = Ok(Seen {
                ttft: first_token - request.due,
                tpot: (gaps > 0).then(|| (now - first_token) / gaps as f64),
                e2e: now - request.due,
                tokens: progress.generated as u64,
                prompt_tokens: request.prompt_tokens as u64,
                cached_tokens: progress.cached as u64,
            });
        }
        if let Some(user) = self.users.get_mut(request.user) {
            user.conversation.answered(answer_text(progress.generated));
        }
        self.plan_question(request.user, Some(now));
    }

    fn scrape(&mut self, position: usize, round: u32, now: f64) {
        let Some(server) = self.servers.get_mut(position) else {
            return;
        };
        let exposition = server.metrics(unix_time(now));
        self.gateway.scraped(position, &exposition, now);
        self.scrapes += 1;
        let share = (position + 1) as f64 / self.servers.len() as f64;
        let next = (f64::from(round) + share) * self.interval;
        // After the load there is nothing to decide, and the run ends with the last answer.
        if next < self.limits.duration {
            self.events.plan(next, Event::Scrape(position, round + 1));
        }
    }
}
