//! How requests are read, checked.

use core::time::Duration;

use super::{
    schema::Request,
    settings::{ConfigError, refused},
};

/// A prompt of a hundred thousand tokens. More than this before the model's name is media, and
/// half of the megabyte that Envoy buffers unless it is told otherwise.
const DEFAULT_MAX_HELD_BYTES: usize = 512 << 10;
/// Where its model is renamed, all that is held of a body is in the VM twice, and Envoy lets that have
/// 1 GiB for everything; beyond that it fails.
const MAX_HELD_BYTES: usize = 64 << 20;
/// 8 thousand tokens: what prompts have in common that begin alike, or enough of it to tell who has
/// read it. More of it would be found more exactly, and cost every long request the reading.
const DEFAULT_PREFIX_BYTES: usize = 32 << 10;
/// The block hashes of a prefix are kept while a request is read: 8 bytes for each 256.
const MAX_PREFIX_BYTES: usize = 16 << 20;
/// A client that has sent its headers has its body at hand.
const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);
const BODY_TIMEOUTS: core::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// How requests are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSettings {
    /// Bytes of a body that are held until its model is known, at most 64 MiB; with more the decision
    /// falls without it.
    pub max_held_bytes: usize,
    /// Bytes of each part of a prompt that are hashed.
    pub prefix_bytes: usize,
    /// Time for which a held request may wait for more of its body, 100 ms to 1 h.
    pub body_timeout: Duration,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self {
            max_held_bytes: DEFAULT_MAX_HELD_BYTES,
            prefix_bytes: DEFAULT_PREFIX_BYTES,
            body_timeout: DEFAULT_BODY_TIMEOUT,
        }
    }
}

impl TryFrom<Request> for RequestSettings {
    type Error = ConfigError;

    fn try_from(request: Request) -> Result<Self, ConfigError> {
        let default = Self::default();
        let settings = Self {
            max_held_bytes: request.max_held_bytes.unwrap_or(default.max_held_bytes),
            prefix_bytes: request.prefix_bytes.unwrap_or(default.prefix_bytes),
            body_timeout: request.body_timeout.unwrap_or(default.body_timeout),
        };
        for (field, most, found) in [
            ("maxHeldBytes", MAX_HELD_BYTES, settings.max_held_bytes),
            ("prefixBytes", MAX_PREFIX_BYTES, settings.prefix_bytes),
        ] {
            if found > most {
                let expected = format!("at most {most}");
                return Err(refused(format!("request.{field}"), expected, found));
            }
        }
        if !BODY_TIMEOUTS.contains(&settings.body_timeout) {
            let found = format_args!("{:?}", settings.body_timeout);
            return Err(refused("request.bodyTimeout", "100ms to 1h", found));
        }
        Ok(settings)
    }
}
