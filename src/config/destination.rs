//! How Envoy is told of the choice, checked.

use super::{
    header_name::header_name,
    schema::{Destination, HandOver},
    settings::{ConfigError, refused},
};
use crate::request::{DESTINATION_ENDPOINT, ORIGINAL_DST_HOST};

/// The first choice, and two more for retries: a second server that fails at the same moment is rare.
const DEFAULT_RANKED: usize = 3;
/// A list of more hosts would be a header longer than many servers take.
const MAX_RANKED: usize = 16;

/// How Envoy is told of the choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationSettings {
    /// By which of the ways.
    pub hand_over: HandOver,
    /// The request header that takes the choice, in lowercase; unused with
    /// `original-dst-filter-state`.
    pub header: String,
    /// How many endpoints are handed over, the best first: 1 to 16, and 1 where there can be but one.
    pub ranked: usize,
    /// The response header that tells who has served, in lowercase.
    pub served_header: Option<String>,
}

impl HandOver {
    /// Whether the choice is a request header, so that the headers are held until it has fallen.
    #[must_use]
    pub const fn is_header(self) -> bool {
        match self {
            Self::OriginalDstHeader | Self::OverrideHost => true,
            Self::OriginalDstFilterState => false,
        }
    }

    /// Whether a retry may go to another endpoint than the one that was chosen.
    #[must_use]
    pub const fn may_move(self) -> bool {
        matches!(self, Self::OverrideHost)
    }
}

impl TryFrom<Destination> for DestinationSettings {
    type Error = ConfigError;

    fn try_from(destination: Destination) -> Result<Self, ConfigError> {
        let hand_over = destination.hand_over;
        if let (HandOver::OriginalDstFilterState, Some(header)) = (hand_over, &destination.header) {
            return Err(refused(
                "destination.header",
                "none with original-dst-filter-state, which uses no header",
                format_args!("{header:?}"),
            ));
        }
        let default_header = match hand_over {
            HandOver::OriginalDstHeader | HandOver::OriginalDstFilterState => ORIGINAL_DST_HOST,
            HandOver::OverrideHost => DESTINATION_ENDPOINT,
        };
        let header = match destination.header {
            Some(name) => header_name("destination.header", &name)?,
            None => default_header.to_owned(),
        };
        let served_header = destination
            .served_header
            .map(|name| header_name("destination.servedHeader", &name))
            .transpose()?;
        Ok(Self {
            hand_over,
            header,
            ranked: ranked(hand_over, destination.ranked)?,
            served_header,
        })
    }
}

fn ranked(hand_over: HandOver, given: Option<usize>) -> Result<usize, ConfigError> {
    match (hand_over, given) {
        (HandOver::OverrideHost, given) => {
            let ranked = given.unwrap_or(DEFAULT_RANKED);
            if (1..=MAX_RANKED).contains(&ranked) {
                return Ok(ranked);
            }
            let expected = format!("1 to {MAX_RANKED}");
            Err(refused("destination.ranked", expected, ranked))
        }
        (_, None | Some(1)) => Ok(1),
        (_, Some(ranked)) => Err(refused(
            "destination.ranked",
            "1, since only override-host takes more than one endpoint",
            ranked,
        )),
    }
}
