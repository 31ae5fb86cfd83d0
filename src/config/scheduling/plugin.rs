//! Scorers, filters and pickers as they are written: a type, and its parameters.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::settings::{ConfigError, refused};

/// A type with its parameters, of which nothing is known before the type is.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Plugin<'a> {
    /// The JSON path of what has the two fields.
    pub(in crate::config) path: &'a str,
    /// The name of the type.
    pub(in crate::config) kind: &'a str,
    /// What is said of it.
    pub(in crate::config) parameters: Option<&'a Value>,
}

impl<'a> Plugin<'a> {
    /// Its parameters, with the defaults of those that are left out.
    pub(in crate::config) fn parameters<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let empty = Value::Object(serde_json::Map::new());
        let given = self.parameters.filter(|given| !given.is_null());
        let (path, given) = (self.at("parameters"), given.unwrap_or(&empty));
        serde_path_to_error::deserialize(given).map_err(|error| {
            let inner = error.path().to_string();
            let path = match inner.as_str() {
                "." => path,
                inner => format!("{path}.{inner}"),
            };
            let source = error.into_inner();
            ConfigError::Shape { path, source }
        })
    }

    /// Whether nothing is said of it.
    pub(in crate::config) fn is_bare(&self) -> bool {
        self.parameters.is_none_or(Value::is_null)
    }

    /// Refuses parameters where there is nothing to say.
    pub(in crate::config) fn without_parameters<T>(&self, plain: T) -> Result<T, ConfigError> {
        self.parameters().map(|Nothing {}| plain)
    }

    /// That a parameter is not what it should be.
    pub(in crate::config) fn refused(
        &self,
        parameter: &str,
        expected: impl Into<std::borrow::Cow<'static, str>>,
        found: impl ToString,
    ) -> ConfigError {
        refused(self.at(&format!("parameters.{parameter}")), expected, found)
    }

    /// That there is no such type.
    pub(in crate::config) fn unknown(&self, known: &[&str]) -> ConfigError {
        let expected = format!("one of {}", known.join(", "));
        refused(self.at("type"), expected, format_args!("{:?}", self.kind))
    }

    /// The path of one of its fields.
    pub(in crate::config) fn at(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    /// A number from `least` on.
    pub(in crate::config) fn at_least(
        &self,
        parameter: &str,
        least: f64,
        found: f64,
    ) -> Result<f64, ConfigError> {
        if found.is_finite() && found >= least {
            return Ok(found);
        }
        let expected = format!("a number of at least {least}");
        Err(self.refused(parameter, expected, found))
    }

    /// A share or a chance.
    pub(in crate::config) fn share(&self, parameter: &str, found: f64) -> Result<f64, ConfigError> {
        if (0.0..=1.0).contains(&found) {
            return Ok(found);
        }
        Err(self.refused(parameter, "a number from 0 to 1", found))
    }

    /// A number of more than 0.
    pub(in crate::config) fn positive<T: Default + PartialOrd + ToString>(
        &self,
        parameter: &str,
        found: T,
    ) -> Result<T, ConfigError> {
        if found > T::default() {
            return Ok(found);
        }
        Err(self.refused(parameter, "a number of more than 0", found))
    }

    /// The name of a label.
    pub(in crate::config) fn label(
        &self,
        parameter: &str,
        found: String,
    ) -> Result<String, ConfigError> {
        if !found.is_empty() {
            return Ok(found);
        }
        Err(self.refused(parameter, "the name of a label", "\"\""))
    }
}

/// No parameters.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
