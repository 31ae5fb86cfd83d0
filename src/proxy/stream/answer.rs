//! The answer of a model server, where it does not pass as it is.

use crate::{
    config::DestinationSettings,
    models::{AnswerKind, NameRestorer},
    proxy::host::{self, HostError, ResponseHeaders},
    scheduling::SessionSource,
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

/// A header that the answer gets on its way to the client.
#[derive(Debug)]
pub(super) struct AnswerHeader {
    pub(super) name: String,
    pub(super) value: String,
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
            SessionSource::Header(place) => Self {
                name: watched.get(*place)?.clone(),
                value: token,
            },
            SessionSource::Cookie(_, name) => Self {
                name: SET_COOKIE.to_owned(),
                value: format!("{name}={token}; Path=/; HttpOnly; SameSite=Lax"),
            },
        })
    }

    /// Puts it into an answer, beside the server's own cookies.
    pub(super) fn tell(&self, headers: &ResponseHeaders) -> Result<(), HostError> {
        if self.name == SET_COOKIE {
            headers.add(&self.name, self.value.as_bytes())
        } else {
            headers.set(&self.name, self.value.as_bytes())
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
        if let Some(name) = &destination.served_header
            && let Some(address) = host::upstream_address()?
        {
            headers.set(name, &address)?;
        }
        for header in told {
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
        match restorer.feed(&piece, end_of_stream) {
            Some(restored) => host::set_response_body(&restored),
            None => Ok(()),
        }
    }
}
