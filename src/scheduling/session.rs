//! Sessions: requests that belong together, and where they belong.

use std::net::SocketAddr;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::Request;

/// Clients and what lies between may have dropped the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// More bytes than the longest address has: `[`, 39 of IPv6, `%` and 10 of a scope, `]:`, 5 of a port.
const MAX_ADDRESS_LEN: usize = 60;

/// How requests say which session they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Where it stands.
    pub source: SessionSource,
    /// What it is.
    pub form: SessionForm,
}

/// Where a request has its session, by a place in [`WatchedHeaders`](super::WatchedHeaders).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSource {
    /// In a header of its own.
    Header(usize),
    /// In the header `cookie`, under this name.
    Cookie(usize, String),
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
        let header = |place: usize| request.headers.get(place)?.as_deref();
        let value = match &self.source {
            SessionSource::Header(place) => header(*place)?,
            SessionSource::Cookie(place, name) => cookie(header(*place)?, name)?,
        };
        let value = value.trim_ascii();
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

/// The value of the first cookie `name` in the header `cookie`.
fn cookie<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header.split(|&byte| byte == b';').find_map(|pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?;
        value.strip_prefix(b"=")
    })
}

/// The headers that the configuration asks about, each once, in lowercase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WatchedHeaders {
    names: Vec<String>,
}

impl WatchedHeaders {
    /// The place of the header `name`, which is watched from now on.
    pub fn watch(&mut self, name: &str) -> usize {
        let name = name.to_ascii_lowercase();
        let at = self.names.iter().position(|watched| *watched == name);
        at.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    /// The names, in the order of their places.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}
