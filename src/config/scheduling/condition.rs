//! Which requests a profile is for, checked.

use serde::Deserialize;

use crate::{
    config::{
        header_name::client_header_name,
        settings::{ConfigError, refused},
    },
    models::ModelPattern,
    scheduling::{Condition, HeaderCondition, WatchedHeaders},
};

/// Which requests a profile is for: those of which all of it holds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// Headers, all of which must be there.
    pub headers: Vec<Header>,
    /// Models, by name or with a `*` at the end, of which one must be asked for.
    pub models: Vec<String>,
    /// Ends of paths, of which one must be the request's.
    pub paths: Vec<String>,
}

/// What a header must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// Its value; any if it is not said.
    pub value: Option<String>,
}

impl When {
    /// Whether it is for all requests.
    pub(super) const fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.models.is_empty() && self.paths.is_empty()
    }

    /// Checks what is written at `path`.
    pub(super) fn check(
        self,
        path: &str,
        watched: &mut WatchedHeaders,
    ) -> Result<Condition, ConfigError> {
        let headers = (0_usize..).zip(self.headers).map(|(index, header)| {
            let name = client_header_name(&format!("{path}.headers[{index}].name"), &header.name)?;
            Ok(HeaderCondition {
                header: watched.watch(&name),
                value: header.value,
            })
        });
        let headers = headers.collect::<Result<_, _>>()?;
        let models = (0_usize..).zip(self.models).map(|(index, model)| {
            ModelPattern::parse(&model).ok_or_else(|| {
                let path = format!("{path}.models[{index}]");
                refused(path, ModelPattern::EXPECTED, format_args!("{model:?}"))
            })
        });
        let models = models.collect::<Result<_, _>>()?;
        let is_path = |path: &String| path.starts_with('/') && !path.contains(['?', '#']);
        if let Some(index) = self.paths.iter().position(|path| !is_path(path)) {
            let found = self
                .paths
                .get(index)
                .map(String::as_str)
                .unwrap_or_default();
            return Err(refused(
                format!("{path}.paths[{index}]"),
                "the end of a path, which starts with '/' and has no query",
                format_args!("{found:?}"),
            ));
        }
        Ok(Condition {
            headers,
            models,
            paths: self.paths,
        })
    }
}
