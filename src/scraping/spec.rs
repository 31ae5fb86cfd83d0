//! What a configuration may say of scraping.

use core::{fmt, ops::RangeInclusive, time::Duration};
use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Deserializer, de::Error};

use super::Secret;
use crate::time::optional_duration;

/// Below this, scraping is a load of its own; above, a metric says nothing of the present.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(3600);
/// Envoy's timers count milliseconds.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(3600);
/// Headers that tell of the message or its connection, and are Envoy's to set.
const RESERVED_HEADERS: [&str; 5] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
];
const AUTHORIZATION: &str = "authorization";

/// What one place of a configuration says of scraping. What it leaves out is as the place around
/// it has it: the pool's for an engine, the engine's for an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ScrapeSpec {
    /// The Envoy cluster that scrapes go through.
    pub cluster: Option<String>,
    /// The path of the exposition.
    pub path: Option<String>,
    /// The port of the exposition, where it is not the one that serves.
    pub port: Option<u16>,
    /// Where the exposition is, if not at the endpoint's own IP address; for one endpoint alone.
    #[serde(deserialize_with = "socket_address")]
    pub address: Option<SocketAddr>,
    /// Time between two scrapes of an endpoint with traffic.
    #[serde(deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    /// Time between two scrapes of an endpoint without traffic.
    #[serde(deserialize_with = "optional_duration")]
    pub idle_interval: Option<Duration>,
    /// Time after which a scrape has failed.
    #[serde(deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// The longest time between two scrapes of an endpoint that fails.
    #[serde(deserialize_with = "optional_duration")]
    pub max_back_off: Option<Duration>,
    /// The token of an `authorization: Bearer …` header.
    pub bearer_token: Option<Secret>,
    /// Further request headers.
    pub headers: BTreeMap<String, Secret>,
}

/// A value of a [`ScrapeSpec`] that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct ScrapeSpecError {
    /// The field's name in the configuration.
    pub field: &'static str,
    /// What is accepted.
    pub expected: &'static str,
    /// What was there; never a secret.
    pub found: String,
}

impl ScrapeSpec {
    /// This with what it leaves out as `base` has it, headers one by one. Port and address are two
    /// ways to say one thing, as are the bearer token and an authorization header: who says either
    /// takes neither.
    #[must_use]
    pub fn over(self, base: &Self) -> Self {
        let base = base.clone();
        let (port, address) = match (self.port, self.address) {
            (None, None) => (base.port, base.address),
            own => own,
        };
        let mut headers: BTreeMap<_, _> = lowercase(base.headers).collect();
        headers.extend(lowercase(self.headers));
        let bearer_token = if headers.contains_key(AUTHORIZATION) {
            self.bearer_token
        } else {
            self.bearer_token.or(base.bearer_token)
        };
        if bearer_token.is_some() {
            headers.remove(AUTHORIZATION);
        }
        Self {
            cluster: self.cluster.or(base.cluster),
            path: self.path.or(base.path),
            port,
            address,
            interval: self.interval.or(base.interval),
            idle_interval: self.idle_interval.or(base.idle_interval),
            timeout: self.timeout.or(base.timeout),
            max_back_off: self.max_back_off.or(base.max_back_off),
            bearer_token,
            headers,
        }
    }

    /// Checks every value on its own, and those that must fit together.
    ///
    /// # Errors
    /// On the first value that cannot be.
    pub fn check(&self) -> Result<(), ScrapeSpecError> {
        let demand = |holds: bool, field, expected, found: &dyn fmt::Debug| {
            if holds {
                Ok(())
            } else {
                Err(ScrapeSpecError {
                    field,
                    expected,
                    found: format!("{found:?}"),
                })
            }
        };
        if let Some(cluster) = &self.cluster {
            let expected = "the name of a cluster";
            demand(!cluster.is_empty(), "cluster", expected, cluster)?;
        }
        if let Some(path) = &self.path {
            let expected = "a path that starts with '/', without blanks";
            let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
            demand(plain, "path", expected, path)?;
        }
        if let Some(port) = self.port {
            demand(port != 0, "port", "1 to 65535", &port)?;
            let expected = "none beside an address, which has its own";
            demand(self.address.is_none(), "port", expected, &port)?;
        }
        if let Some(address) = self.address {
            demand(address.port() != 0, "address", ADDRESS, &address)?;
        }
        for (field, duration) in [
            ("interval", self.interval),
            ("idleInterval", self.idle_interval),
            ("maxBackOff", self.max_back_off),
        ] {
            let Some(duration) = duration else { continue };
            demand(
                INTERVALS.contains(&duration),
                field,
                "20ms to 1h",
                &duration,
            )?;
            let long_enough = self.interval.is_none_or(|interval| interval <= duration);
            demand(long_enough, field, "at least the interval", &duration)?;
        }
        if let Some(timeout) = self.timeout {
            demand(
                TIMEOUTS.contains(&timeout),
                "timeout",
                "1ms to 1h",
                &timeout,
            )?;
        }
        if let Some(token) = &self.bearer_token {
            let token = token.reveal();
            let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
            let expected = "a token of visible ASCII characters";
            let found = format_args!("another text of {} bytes", token.len());
            demand(plain, "bearerToken", expected, &found)?;
        }
        let mut names = Vec::new();
        for (name, value) in &self.headers {
            let lowercase = name.to_ascii_lowercase();
            demand(
                is_settable(&lowercase),
                "headers",
                "names of headers other than host, those of the connection and x-envoy-…",
                name,
            )?;
            demand(
                self.bearer_token.is_none() || lowercase != AUTHORIZATION,
                "headers",
                "no authorization beside a bearerToken",
                name,
            )?;
            demand(
                !names.contains(&lowercase),
                "headers",
                "each name once, in whatever case",
                name,
            )?;
            demand(
                is_field_value(value.reveal()),
                "headers",
                "values of visible ASCII characters, with blanks between them at most",
                &format_args!("another for {name:?}"),
            )?;
            names.push(lowercase);
        }
        Ok(())
    }
}

fn lowercase(headers: BTreeMap<String, Secret>) -> impl Iterator<Item = (String, Secret)> {
    let headers = headers.into_iter();
    headers.map(|(name, value)| (name.to_ascii_lowercase(), value))
}

/// Whether a configuration may set the header of this lowercase name: a token of RFC 9110, and
/// neither Envoy's nor HTTP's own.
fn is_settable(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty()
        && name.bytes().all(is_token)
        && !name.starts_with("x-envoy-")
        && !RESERVED_HEADERS.contains(&name)
}

fn is_field_value(value: &str) -> bool {
    let visible_or_blank = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    value.bytes().all(visible_or_blank) && value.trim() == value
}

const ADDRESS: &str = "an IP address and port such as 10.0.0.1:9400 or [fd00::1]:9400";

fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map(Some)
        .map_err(|_| D::Error::custom(format_args!("expected {ADDRESS}, found {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> ScrapeSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        for (json, field) in [
            (r#"{"cluster": ""}"#, "cluster"),
            (r#"{"path": "metrics"}"#, "path"),
            (r#"{"path": "/with blank"}"#, "path"),
            (r#"{"path": "/with\ncontrol"}"#, "path"),
            (r#"{"port": 0}"#, "port"),
            (r#"{"port": 1, "address": "10.0.0.1:2"}"#, "port"),
            (r#"{"address": "10.0.0.1:0"}"#, "address"),
            (r#"{"interval": "19ms"}"#, "interval"),
            (r#"{"interval": "61m"}"#, "interval"),
            (r#"{"idleInterval": "19ms"}"#, "idleInterval"),
            (
                r#"{"interval": "1s", "idleInterval": "999ms"}"#,
                "idleInterval",
            ),
            (r#"{"maxBackOff": "2h"}"#, "maxBackOff"),
            (r#"{"interval": "1s", "maxBackOff": "999ms"}"#, "maxBackOff"),
            (r#"{"timeout": "0s"}"#, "timeout"),
            (r#"{"timeout": "2h"}"#, "timeout"),
            (r#"{"bearerToken": ""}"#, "bearerToken"),
            (r#"{"bearerToken": "two words"}"#, "bearerToken"),
            (r#"{"bearerToken": "ünlaut"}"#, "bearerToken"),
            (r#"{"headers": {"": "x"}}"#, "headers"),
            (r#"{"headers": {":path": "/"}}"#, "headers"),
            (r#"{"headers": {"Host": "x"}}"#, "headers"),
            (r#"{"headers": {"content-length": "1"}}"#, "headers"),
            (
                r#"{"headers": {"X-Envoy-Original-Dst-Host": "x"}}"#,
                "headers",
            ),
            (r#"{"headers": {"x y": "x"}}"#, "headers"),
            (r#"{"headers": {"x-key": "1", "X-Key": "2"}}"#, "headers"),
            (r#"{"headers": {"x-key": "a\r\nb"}}"#, "headers"),
            (r#"{"headers": {"x-key": " a"}}"#, "headers"),
            (
                r#"{"bearerToken": "t", "headers": {"Authorization": "x"}}"#,
                "headers",
            ),
        ] {
            let error = spec(json).check().unwrap_err();
            assert_eq!(error.field, field, "{json}: {error}");
        }
    }

    #[test]
    fn what_can_be_is_taken() {
        for json in [
            "{}",
            r#"{"path": "/v1/metrics?format=text", "port": 9400}"#,
            r#"{"address": "[fd00::1]:9400"}"#,
            r#"{"interval": "20ms", "idleInterval": "20ms", "maxBackOff": "20ms", "timeout": "1ms"}"#,
            r#"{"interval": "1h", "idleInterval": "1h", "maxBackOff": "1h", "timeout": "1h"}"#,
            r#"{"headers": {"Authorization": "Basic dXNlcjpwYXNz", "X-Key": ""}}"#,
        ] {
            assert_eq!(spec(json).check(), Ok(()), "{json}");
        }
    }

    #[test]
    fn what_a_spec_leaves_out_is_as_its_base_has_it() {
        for (own, base, merged) in [
            (
                r#"{"path": "/a", "interval": "1s"}"#,
                r#"{"path": "/b", "timeout": "2s", "idleInterval": "3s", "maxBackOff": "4s"}"#,
                r#"{"path": "/a", "interval": "1s", "timeout": "2s", "idleInterval": "3s", "maxBackOff": "4s"}"#,
            ),
            (
                r#"{"port": 1}"#,
                r#"{"address": "10.0.0.1:2", "cluster": "c"}"#,
                r#"{"port": 1, "cluster": "c"}"#,
            ),
            (
                r#"{"headers": {"X-Key": "1"}}"#,
                r#"{"port": 2, "headers": {"x-key": "2", "X-Other": "3"}}"#,
                r#"{"port": 2, "headers": {"x-key": "1", "x-other": "3"}}"#,
            ),
            (
                r#"{"headers": {"Authorization": "a"}}"#,
                r#"{"bearerToken": "b"}"#,
                r#"{"headers": {"authorization": "a"}}"#,
            ),
            (
                r#"{"bearerToken": "a"}"#,
                r#"{"headers": {"Authorization": "b"}}"#,
                r#"{"bearerToken": "a"}"#,
            ),
            ("{}", r#"{"bearerToken": "b"}"#, r#"{"bearerToken": "b"}"#),
        ] {
            assert_eq!(spec(own).over(&spec(base)), spec(merged), "{own}, {base}");
        }
    }

    #[test]
    fn what_is_of_another_shape_is_refused_at_once() {
        for json in [
            r#"{"prot": 9400}"#,
            r#"{"address": "metrics:9400"}"#,
            r#"{"interval": 200}"#,
            r#"{"interval": "soon"}"#,
            r#"{"bearerToken": 123456}"#,
        ] {
            let error = serde_json::from_str::<ScrapeSpec>(json).unwrap_err();
            assert!(!error.to_string().contains("123456"), "{error}");
        }
    }
}
