//! The answer of a model server, where it does not pass as it is.

use crate::{
    config::DestinationSettings,
    models::{AnswerKind, NameRestorer},
    proxy::host::{self, HostError, ResponseHeaders},
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
        end_of_stream: bool,
    ) -> Result<Self, HostError> {
        let headers = ResponseHeaders::arrived();
        if let Some(name) = &destination.served_header
            && let Some(address) = host::upstream_address()?
        {
            headers.set(name, &address)?;
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
