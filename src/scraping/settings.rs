//! How an endpoint is scraped, everything decided.

use core::time::Duration;
use std::{collections::BTreeMap, net::SocketAddr};

use super::{ScrapeSpec, Secret};

/// The path by Prometheus' convention; every engine with another has it in its preset.
const DEFAULT_PATH: &str = "/metrics";
/// The Endpoint Picker's users complain of what its 50 ms cost their model servers; 200 ms is a
/// quarter of that and still shorter than most prefills.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(200);
/// Nothing changes on an idle endpoint but that it may get traffic from elsewhere, and half the
/// time that metrics stay fresh by default is soon enough to see that.
const DEFAULT_IDLE_INTERVALS: u32 = 5;
/// Often enough to see a failed endpoint come back, seldom enough not to matter if it never does.
const DEFAULT_MAX_BACK_OFF_INTERVALS: u32 = 16;
/// A busy model server answers late; slower than this it tells of another time.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// What every scrape says of itself, unless a configured header of that name says otherwise.
const DEFAULT_HEADERS: [(&str, &str); 2] = [
    ("accept", "text/plain;version=0.0.4"),
    ("user-agent", "endpoint-picker"),
];

/// Where an endpoint's exposition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScrapeTarget {
    /// Where the endpoint serves.
    #[default]
    Endpoint,
    /// At the endpoint's IP address, on this port.
    Port(u16),
    /// At this address, whatever the endpoint's.
    Address(SocketAddr),
}

/// How an endpoint is scraped, everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrapeSettings {
    /// The Envoy cluster that scrapes go through.
    pub cluster: String,
    /// The path of the exposition, starting with `/`.
    pub path: String,
    /// Where the exposition is.
    pub target: ScrapeTarget,
    /// Time between two scrapes of an endpoint with traffic, 20 ms to 1 h.
    pub interval: Duration,
    /// Time after which a scrape has failed, 1 ms to 1 h.
    pub timeout: Duration,
    /// Request headers, by lowercase names.
    pub headers: BTreeMap<String, Secret>,
    /// As configured; the default depends on the interval, which may be overlaid alone.
    idle_interval: Option<Duration>,
    max_back_off: Option<Duration>,
}

impl ScrapeSettings {
    /// The defaults, with scrapes through `cluster`.
    #[must_use]
    pub fn through(cluster: impl Into<String>) -> Self {
        let headers = DEFAULT_HEADERS.map(|(name, value)| (name.to_owned(), value.into()));
        Self {
            cluster: cluster.into(),
            path: DEFAULT_PATH.to_owned(),
            target: ScrapeTarget::Endpoint,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            headers: headers.into(),
            idle_interval: None,
            max_back_off: None,
        }
    }

    /// These settings with those of `spec` in their place, headers one by one.
    #[must_use]
    pub fn overlaid(&self, spec: &ScrapeSpec) -> Self {
        let target = match (spec.address, spec.port) {
            (Some(address), _) => ScrapeTarget::Address(address),
            (None, Some(port)) => ScrapeTarget::Port(port),
            (None, None) => self.target,
        };
        let mut headers = self.headers.clone();
        for (name, value) in &spec.headers {
            headers.insert(name.to_ascii_lowercase(), value.clone());
        }
        if let Some(token) = &spec.bearer_token {
            let value = Secret::from(format!("Bearer {}", token.reveal()));
            headers.insert("authorization".to_owned(), value);
        }
        Self {
            cluster: spec.cluster.as_ref().unwrap_or(&self.cluster).clone(),
            path: spec.path.as_ref().unwrap_or(&self.path).clone(),
            target,
            interval: spec.interval.unwrap_or(self.interval),
            timeout: spec.timeout.unwrap_or(self.timeout),
            headers,
            idle_interval: spec.idle_interval.or(self.idle_interval),
            max_back_off: spec.max_back_off.or(self.max_back_off),
        }
    }

    /// Time between two scrapes of an endpoint without traffic: five intervals if it is not
    /// configured, and never less than one.
    #[must_use]
    pub fn idle_interval(&self) -> Duration {
        self.idle_interval
            .unwrap_or(self.interval * DEFAULT_IDLE_INTERVALS)
            .max(self.interval)
    }

    /// The longest time between two scrapes of an endpoint that fails: sixteen intervals if it is
    /// not configured, and never less than one.
    #[must_use]
    pub fn max_back_off(&self) -> Duration {
        self.max_back_off
            .unwrap_or(self.interval * DEFAULT_MAX_BACK_OFF_INTERVALS)
            .max(self.interval)
    }

    /// Where the exposition of the endpoint at `endpoint` is.
    #[must_use]
    pub const fn target_of(&self, endpoint: SocketAddr) -> SocketAddr {
        match self.target {
            ScrapeTarget::Endpoint => endpoint,
            ScrapeTarget::Port(port) => SocketAddr::new(endpoint.ip(), port),
            ScrapeTarget::Address(address) => address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> ScrapeSpec {
        serde_json::from_str(json).unwrap()
    }

    fn settings(specs: &[&str]) -> ScrapeSettings {
        specs
            .iter()
            .fold(ScrapeSettings::through("scrapes"), |settings, json| {
                settings.overlaid(&spec(json))
            })
    }

    #[test]
    fn what_a_spec_leaves_out_is_inherited() {
        let settings = settings(&[
            r#"{"path": "/a", "timeout": "2s", "headers": {"X-Key": "1", "x-other": "2"}}"#,
            r#"{"cluster": "https", "port": 9400, "headers": {"x-key": "3", "user-agent": "me"}}"#,
            r#"{"path": "/b", "bearerToken": "t"}"#,
        ]);
        assert_eq!(settings.cluster, "https");
        assert_eq!(settings.path, "/b");
        assert_eq!(settings.timeout, Duration::from_secs(2));
        assert_eq!(settings.target, ScrapeTarget::Port(9400));
        let headers: Vec<_> = settings
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.reveal()))
            .collect();
        assert_eq!(
            headers,
            [
                ("accept", "text/plain;version=0.0.4"),
                ("authorization", "Bearer t"),
                ("user-agent", "me"),
                ("x-key", "3"),
                ("x-other", "2"),
            ]
        );
    }

    #[test]
    fn the_idle_interval_and_the_back_off_grow_with_the_interval_unless_given() {
        for (specs, interval, idle, back_off) in [
            (&["{}"] as &[_], 200, 1_000, 3_200),
            (&[r#"{"interval": "500ms"}"#], 500, 2_500, 8_000),
            (
                &[
                    r#"{"idleInterval": "1s", "maxBackOff": "10s"}"#,
                    r#"{"interval": "500ms"}"#,
                ],
                500,
                1_000,
                10_000,
            ),
            (
                &[
                    r#"{"idleInterval": "1s", "maxBackOff": "1s"}"#,
                    r#"{"interval": "2s"}"#,
                ],
                2_000,
                2_000,
                2_000,
            ),
            (
                &[
                    r#"{"idleInterval": "1s"}"#,
                    r#"{"idleInterval": "200ms", "maxBackOff": "200ms"}"#,
                ],
                200,
                200,
                200,
            ),
        ] {
            let settings = settings(specs);
            let found = [
                settings.interval,
                settings.idle_interval(),
                settings.max_back_off(),
            ];
            assert_eq!(
                found,
                [interval, idle, back_off].map(Duration::from_millis),
                "{specs:?}"
            );
        }
    }

    #[test]
    fn the_exposition_is_where_the_settings_say() {
        for (specs, endpoint, target) in [
            (&["{}"] as &[_], "10.0.0.1:8000", "10.0.0.1:8000"),
            (&[r#"{"port": 9400}"#], "[fd00::1]:8000", "[fd00::1]:9400"),
            (
                &[r#"{"port": 9400}"#, r#"{"address": "10.0.0.2:1"}"#],
                "10.0.0.1:8000",
                "10.0.0.2:1",
            ),
        ] {
            let found = settings(specs).target_of(endpoint.parse().unwrap());
            assert_eq!(found.to_string(), target, "{specs:?}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let json = r#"{"bearerToken": "s3cret", "headers": {"x-key": "s3cret"}}"#;
        let bad = r#"{"bearerToken": "s3cret\n", "headers": {}}"#;
        let bad_header = r#"{"headers": {"x-key": "s3cret\n"}}"#;
        let shown = [
            format!("{:?}", spec(json)),
            format!("{:?}", settings(&[json])),
            spec(bad).check().unwrap_err().to_string(),
            spec(bad_header).check().unwrap_err().to_string(),
        ];
        for text in shown {
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
