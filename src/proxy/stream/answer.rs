//! The answer of a model server, where it does not pass as it is.

use std::net::SocketAddr;

use crate::{
    config::DestinationSettings,
    models::{AnswerKind, NameRestorer},
    proxy::host::{self, HostError, ResponseHeaders},
    scheduling::{Session, SessionSource},
};

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

/// A header that the answer gets on its way to the client.
#[derive(Debug)]
pub(super) enum AnswerHeader {
    /// Says why it was sent where it was.
    Explanation { name: String, value: String },
    /// By which the client says next time where its session is.
    Session { name: String, token: String },
    /// The same in the cookie of this name.
    SessionCookie { name: String, token: String },
}

impl AnswerHeader {
    /// By which the client says next time where its session is; `watched` are the names of the
    /// headers that sessions stand in.
    pub(super) fn of_session(
        source: &SessionSource,
        token: String,
        watched: &[String],
    ) -> Option<Self> {
        Some(match source {
            SessionSource::Header(place) => {
                let name = watched.get(*place)?.clone();
                Self::Session { name, token }
            }
            SessionSource::Cookie(_, name) => {
                let name = name.clone();
                Self::SessionCookie { name, token }
            }
        })
    }

    /// Whether it tells of the endpoint that answers: not where Envoy does.
    const fn is_of_server(&self) -> bool {
        match self {
            Self::Explanation { .. } => false,
            Self::Session { .. } | Self::SessionCookie { .. } => true,
        }
    }

    /// The answer comes from the endpoint at `address`, not from the one that was chosen.
    pub(super) fn moved(&mut self, address: SocketAddr) {
        match self {
            Self::Explanation { .. } => {}
            Self::Session { token, .. } | Self::SessionCookie { token, .. } => {
                *token = Session::token(address);
            }
        }
    }

    /// Puts it into an answer, beside the server's own cookies.
    pub(super) fn tell(&self, headers: &ResponseHeaders) -> Result<(), HostError> {
        match self {
            Self::Explanation { name, value } | Self::Session { name, token: value } => {
                headers.set(name, value.as_bytes())
            }
            Self::SessionCookie { name, token } => {
                let cookie = format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax");
                headers.add("set-cookie", cookie.as_bytes())
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
        told: &[AnswerHeader],
        end_of_stream: bool,
    ) -> Result<Self, HostError> {
        let headers = ResponseHeaders::arrived();
        let served_header = destination.served_header.as_ref();
        let is_asked = served_header.is_some() || told.iter().any(AnswerHeader::is_of_server);
        let is_served = is_asked && host::is_upstream_response()?;
        if let Some(name) = served_header.filter(|_| is_served)
            && let Some(address) = host::upstream_address()?
        {
            headers.set(name, &address)?;
        }
        for header in told.iter().filter(|it| is_served || !it.is_of_server()) {
            header.tell(&headers)?;
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
