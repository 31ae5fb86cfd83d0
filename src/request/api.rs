//! Which API a request speaks, by its path.

/// An inference API whose bodies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI chat completions: the prompt is in `messages`.
    ChatCompletions,
    /// OpenAI completions: the prompt is in `prompt`.
    Completions,
}

impl Api {
    /// The API behind a path, `None` where the body is not to be read. Gateways mount the API
    /// under prefixes, so the path's end decides; a query string is no part of it.
    #[must_use]
    pub fn of_path(path: &[u8]) -> Option<Self> {
        let path = path.split(|&byte| byte == b'?').next()?;
        [
            (&b"/v1/chat/completions"[..], Self::ChatCompletions),
            (&b"/v1/completions"[..], Self::Completions),
        ]
        .into_iter()
        .find_map(|(end, api)| path.ends_with(end).then_some(api))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_path_decides() {
        for (path, expected) in [
            ("/v1/chat/completions", Some(Api::ChatCompletions)),
            (
                "/v1/chat/completions?a=/v1/models",
                Some(Api::ChatCompletions),
            ),
            ("/team-a/v1/completions", Some(Api::Completions)),
            ("/v1/completions/render", None),
            ("/v1/models", None),
            ("/health?x=/v1/completions", None),
            ("", None),
        ] {
            assert_eq!(Api::of_path(path.as_bytes()), expected, "{path}");
        }
        assert_eq!(Api::of_path(b"\xff/v1/completions"), Some(Api::Completions));
    }
}
