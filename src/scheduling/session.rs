//! Sessions: requests that belong together, and where they belong.

use std::net::SocketAddr;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::Request;
use crate::request::Watched;

/// Clients and what lies between may have dropped the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// More bytes than the longest address has: `[`, 39 of IPv6, `%` and 10 of a scope, `]:`, 5 of a port.
const MAX_ADDRESS_LEN: usize = 60;

/// How requests say which session they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// Where a request has it, a place in [`WatchedHeaders`](super::WatchedHeaders).
    pub place: usize,
    /// What it is.
    pub form: SessionForm,
}

/// What names a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionForm {
    /// The endpoint itself, `ip:port` in base64: the answer gives it to the client, which sends it
    /// back.
    Token,
    /// A key of the client's own. Every gateway finds the same endpoint for it, by rendezvous
    /// hashing.
    Key,
}

impl Session {
    /// The session that a request names, if it does.
    #[must_use]
    pub fn value_of<'a>(&self, request: Request<'a>) -> Option<&'a [u8]> {
        let value = request.headers.get(self.place)?.as_deref()?.trim_ascii();
        (!value.is_empty()).then_some(value)
    }

    /// What stands for the endpoint at `address` in a session of [`SessionForm::Token`].
    #[must_use]
    pub fn token(address: SocketAddr) -> String {
        BASE64.encode(address.to_string())
    }

    /// The address that a [token](Self::token) stands for; `None` if it is none.
    pub(super) fn address(token: &[u8]) -> Option<SocketAddr> {
        let mut text = [0; MAX_ADDRESS_LEN];
        let len = BASE64.decode_slice(token, &mut text).ok()?;
        str::from_utf8(text.get(..len)?).ok()?.parse().ok()
    }
}

/// What the configuration asks of a request's headers, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchedHeaders(Vec<Watched>);

impl WatchedHeaders {
    /// The place of the header `name`, which is watched from now on.
    pub fn watch(&mut self, name: &str) -> usize {
        self.place(Watched::Header(name.to_ascii_lowercase()))
    }

    /// The place of the cookie `name`, which is watched from now on.
    pub fn watch_cookie(&mut self, name: &str) -> usize {
        self.place(Watched::Cookie(name.to_owned()))
    }

    /// All that is watched, in the order of the places.
    #[must_use]
    pub fn all(&self) -> &[Watched] {
        &self.0
    }

    fn place(&mut self, watched: Watched) -> usize {
        let at = self.0.iter().position(|it| *it == watched);
        at.unwrap_or_else(|| {
            self.0.push(watched);
            self.0.len() - 1
        })
    }
}
