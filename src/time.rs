//! Time as an argument: the core never asks a clock.

use core::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Expected, Visitor},
};

/// A moment, in milliseconds since the Unix epoch.
///
/// Every VM of one Envoy reads the same wall clock, so moments written by one are compared by
/// the others. Wall clocks step; all arithmetic here saturates instead of failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How far it is from `other`, whichever is earlier.
    #[must_use]
    pub const fn apart(self, other: Self) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }

    /// How long ago `earlier` was, zero if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole milliseconds, saturating: what timers and timestamps count in.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reads a duration as people write them, `"200ms"` or `"1m 30s"`; for serde's `deserialize_with`
/// on a field that may be left out.
///
/// # Errors
/// When it is no text, or a text that is no duration.
pub fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as \"200ms\" or \"1m 30s\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            let expected: &dyn Expected = &self;
            humantime::parse_duration(text)
                .map_err(|_| E::custom(format_args!("expected {expected}, found {text:?}")))
        }
    }

    deserializer.deserialize_str(Text).map(Some)
}
