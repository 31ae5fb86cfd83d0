//! The configuration checked, with its defaults in place.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    DestinationSettings, ExplanationSettings, HeaderSettings, RequestSettings,
    duplicates::refuse_duplicates,
    pool_chooser::PoolChooser,
    pools::{self, OnePool, PoolSettings},
    schema::Config,
};
use crate::{model_server::EngineError, models::ModelCatalog, scheduling::WatchedHeaders};

/// What the configuration means. Every value has been checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The pools, at least one, each of another name.
    pub pools: Vec<PoolSettings>,
    /// Which of them a request goes to.
    pub pool_chooser: PoolChooser,
    /// Which models requested names stand for.
    pub models: ModelCatalog,
    /// How requests are read.
    pub request: RequestSettings,
    /// Which headers count.
    pub headers: HeaderSettings,
    /// How Envoy is told.
    pub destination: DestinationSettings,
    /// The headers that scheduling asks about.
    pub watched: WatchedHeaders,
    /// Who may ask why an endpoint was chosen.
    pub explanation: Option<ExplanationSettings>,
    /// Tells this configuration from another; equal for equal texts.
    pub digest: u64,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No object at all.
    #[error(
        "expected a JSON object; Envoy hands over a google.protobuf.StringValue as its text, and \
         any other type as protobuf bytes"
    )]
    NotAnObject,
    /// Not JSON, or not of the schema's shape.
    #[error("{path}: {}", in_words(source))]
    Shape {
        /// The JSON path.
        path: String,
        /// What serde says of it.
        source: serde_json::Error,
    },
    /// Of the right shape with a value that cannot be.
    #[error("{path}: expected {expected}, found {found}")]
    Value {
        /// The JSON path.
        path: String,
        /// What is accepted.
        expected: Cow<'static, str>,
        /// What was there; never a secret.
        found: String,
    },
    /// Engines that cannot be made of each other as they are written.
    #[error("metrics.engines.{0}")]
    Engine(EngineError),
    /// In one of several pools.
    #[error("pools[{index}].{source}")]
    InPool {
        /// Which, counted from 0.
        index: usize,
        /// What is wrong in it.
        source: Box<ConfigError>,
    },
}

pub(super) fn refused(
    path: impl Into<String>,
    expected: impl Into<Cow<'static, str>>,
    found: impl ToString,
) -> ConfigError {
    ConfigError::Value {
        path: path.into(),
        expected: expected.into(),
        found: found.to_string(),
    }
}

impl ConfigError {
    /// This, found in the pool at `index` of several.
    pub(super) fn in_pool(self, index: usize) -> Self {
        let source = Box::new(self);
        Self::InPool { index, source }
    }
}

impl Settings {
    /// Reads the plugin configuration as Envoy hands it over.
    ///
    /// # Errors
    /// When it is not JSON, has unknown or missing fields, one key twice, or a value that cannot be.
    pub fn from_json(json: &[u8]) -> Result<Self, ConfigError> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(ConfigError::NotAnObject);
        }
        refuse_duplicates(json)?;
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let config: Config =
            serde_path_to_error::deserialize(&mut deserializer).map_err(of_another_shape)?;
        deserializer.end().map_err(|source| ConfigError::Shape {
            path: ".".to_owned(),
            source,
        })?;

        let mut hasher = DefaultHasher::new();
        json.hash(&mut hasher);
        let one = OnePool {
            name: config.pool,
            endpoints: config.endpoints,
            metrics: config.metrics,
            scheduling: config.scheduling,
            prefix_cache: config.prefix_cache,
        };
        let hand_over = config.destination.hand_over;
        let mut watched = WatchedHeaders::default();
        let pools = pools::pools(one, config.pools, hand_over, &mut watched)?;
        let headers = HeaderSettings::new(&config.headers, hand_over)?;
        Ok(Self {
            pool_chooser: PoolChooser::new(&pools)?,
            pools,
            models: config.models.try_into()?,
            request: config.request.try_into()?,
            headers,
            destination: config.destination.try_into()?,
            watched,
            explanation: config.explanation.map(TryInto::try_into).transpose()?,
            digest: hasher.finish(),
        })
    }
}

/// What serde says, with the words of JSON in the place of the types of Rust.
fn in_words(source: &serde_json::Error) -> String {
    let message = source.to_string();
    let Some((found, expected)) = message.rsplit_once(", expected ") else {
        return message;
    };
    let found = match found {
        "invalid type: sequence" => "invalid type: list",
        "invalid type: map" => "invalid type: object",
        found if found.starts_with("invalid ") => found,
        _ => return message,
    };
    let (kind, place) = expected.split_at(expected.find(" at line ").unwrap_or(expected.len()));
    let whole = |max: u64| format!("a whole number from 0 to {max}");
    let kind = match kind {
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" => whole(u64::MAX),
        "usize" => whole(usize::MAX as u64),
        "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "an object".to_owned(),
        "a tuple of size 2" => "a list of two".to_owned(),
        kind if kind.starts_with("struct ") => "an object".to_owned(),
        kind => kind.to_owned(),
    };
    format!("{found}, expected {kind}{place}")
}

fn of_another_shape(error: serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    // Serde's message would show what is there in the place of an object, which may be a secret.
    for (secrets, expected) in [
        ("metrics.headers", "an object of texts"),
        ("scrape.headers", "an object of texts"),
        ("explanation", "an object"),
    ] {
        let shows = error.inner().to_string().starts_with("invalid");
        if shows && path.ends_with(secrets) {
            return refused(path, expected, "something else");
        }
    }
    ConfigError::Shape {
        path,
        source: error.into_inner(),
    }
}
