//! The parameters of `session-affinity`, checked.

use serde::Deserialize;

use super::plugin::Plugin;
use crate::{
    config::{
        header_name::{client_header_name, is_token},
        settings::ConfigError,
    },
    scheduling::{Session, SessionForm, WatchedHeaders},
};

/// The Endpoint Picker's header.
const DEFAULT_HEADER: &str = "x-session-token";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    header: Option<String>,
    cookie: Option<String>,
    key_header: Option<String>,
    key_cookie: Option<String>,
    /// The Endpoint Picker's form of header and key header.
    header_name: Option<String>,
    algorithm: Option<Algorithm>,
    profile_name: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    EncodedEndpointHeader,
    #[serde(alias = "session_id")]
    SessionIdHeader,
}

/// How requests tell the session that `plugin` is about.
pub(super) fn session(
    plugin: Plugin<'_>,
    watched: &mut WatchedHeaders,
) -> Result<Session, ConfigError> {
    let mut given: Parameters = plugin.parameters()?;
    if let Some(profile) = given.profile_name.filter(|name| !name.is_empty()) {
        let expected = "none, since a session stays with who answers it";
        return Err(plugin.refused("profileName", expected, format_args!("{profile:?}")));
    }
    let is_key = given.algorithm == Some(Algorithm::SessionIdHeader);
    let named = given.header_name.filter(|name| !name.is_empty());
    let named = named.or_else(|| given.algorithm.map(|_| DEFAULT_HEADER.to_owned()));
    let theirs = if is_key {
        &mut given.key_header
    } else {
        &mut given.header
    };
    if theirs.is_some() && named.is_some() {
        let expected = "none beside header or keyHeader, which say the same";
        return Err(plugin.refused("headerName", expected, "both"));
    }
    *theirs = theirs.take().or(named);

    let mut written = [
        ("header", given.header, SessionForm::Token),
        ("cookie", given.cookie, SessionForm::Token),
        ("keyHeader", given.key_header, SessionForm::Key),
        ("keyCookie", given.key_cookie, SessionForm::Key),
    ]
    .into_iter()
    .filter_map(|(field, name, form)| Some((field, name?, form)));
    let default = || ("header", DEFAULT_HEADER.to_owned(), SessionForm::Token);
    let (field, name, form) = written.next().unwrap_or_else(default);
    if let Some((other, ..)) = written.next() {
        let expected = format!("none beside {field}");
        return Err(plugin.refused(other, expected, "both"));
    }
    let place = if field.to_ascii_lowercase().ends_with("cookie") {
        if !is_token(&name) {
            return Err(plugin.refused(field, "the name of a cookie", format_args!("{name:?}")));
        }
        watched.watch_cookie(&name)
    } else {
        let name = client_header_name(&plugin.at(&format!("parameters.{field}")), &name)?;
        watched.watch(&name)
    };
    Ok(Session { place, form })
}
