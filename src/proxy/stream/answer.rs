//! The answer of a model server, where it does not pass as it is.

use std::net::SocketAddr;

use crate::{
    config::DestinationSettings,
    models::{AnswerKind, NameRestorer},
    proxy::host::{self, HostError, ResponseHeaders},
    request::Watched,
    scheduling::Session,
};

const SET_COOKIE: &str = "set-cookie";

/// What is done with the answer's body.
#[derive(Debug, Default)]
pub(super) enum Answer {
    /// Nothing: it is not even looked at.
    #[default]
    Passes,
    /// The model's name in it is not the one that was asked for.
    Renamed(Box<Renamed>),
    /// That name is put back.
    Restored(Box<NameRestorer>),
}

/// What the answer tells the client, beside what the server does.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) session: Option<SessionToken>,
    /// Why the endpoint was chosen, with the name of the header that says so.
    pub(super) explanation: Option<(String, String)>,
}

impl Told {
    pub(super) const NOTHING: Self = Self {
        session: None,
        explanation: None,
    };
}

/// By which the client says next time where its session is.
#[derive(Debug)]
pub(super) struct SessionToken {
    /// What the client sends.
    watched: Watched,
    /// Who answers, as far as it is known.
    pub(super) endpoint: SocketAddr,
}

impl SessionToken {
    /// Of a session that stands at `place` of `watched`.
    pub(super) fn new(place: usize, watched: &[Watched], endpoint: SocketAddr) -> Option<Self> {
        Some(Self {
            watched: watched.get(place)?.clone(),
            endpoint,
        })
    }

    /// Puts it into an answer, beside the server's own cookies.
    fn tell(&self, headers: &ResponseHeaders) -> Result<(), HostError> {
        let token = Session::token(self.endpoint);
        match &self.watched {
            Watched::Header(name) => headers.set(name, token.as_bytes()),
            Watched::Cookie(name) => {
                let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax");
                headers.add(SET_COOKIE, cookie.as_bytes())
            }
        }
    }
}

/// A model that was asked for by another name.
#[derive(Debug)]
pub(super) struct Renamed {
    pub(super) requested: String,
    pub(super) served: String,
}

impl Answer {
    /// Takes the headers of the answer, with its body to come or not.
    pub(super) fn begin(
        self,
        destination: &DestinationSettings,
        told: &Told,
        end_of_stream: bool,
    ) -> Result<Self, HostError> {
        let headers = ResponseHeaders::arrived();
        let served_header = destination.served_header.as_ref();
        let tells_who = served_header.is_some() || told.session.is_some();
        // Nobody has served where Envoy answers, and nobody is bound to who did not.
        if tells_who && host::is_upstream_response()? {
            if let Some(name) = served_header
                && let Some(address) = host::upstream_address()?
            {
                headers.set(name, &address)?;
            }
            if let Some(session) = &told.session {
                session.tell(&headers)?;
            }
        }
        if let Some((name, explanation)) = &told.explanation {
            headers.set(name, explanation.as_bytes())?;
        }
        let Self::Renamed(renamed) = self else {
            return Ok(Self::Passes);
        };
        if end_of_stream || headers.get("content-encoding")?.is_some() {
            return Ok(Self::Passes);
        }
        let content_type = headers.get("content-type")?.unwrap_or_default();
        let Some(kind) = AnswerKind::of_content_type(&content_type) else {
            return Ok(Self::Passes);
        };
        // Names differ in length.
        headers.remove("content-length")?;
        let restorer = NameRestorer::new(kind, &renamed.served, &renamed.requested);
        Ok(Self::Restored(Box::new(restorer)))
    }

    /// Takes the next `size` bytes of its body.
    pub(super) fn pass(&mut self, size: usize, end_of_stream: bool) -> Result<(), HostError> {
        let Self::Restored(restorer) = self else {
            return Ok(());
        };
        let piece = host::response_body(size)?;
        let restored = restorer.feed(&piece, end_of_stream);
        if restorer.is_done() {
            *self = Self::Passes;
        }
        match restored {
            Some(restored) => host::set_response_body(&restored),
            None => Ok(()),
        }
    }
}
