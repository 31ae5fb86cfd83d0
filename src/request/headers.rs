//! The header contract: what the headers of a request may say, and who may say it.
//!
//! Anyone may say what a request is worth: its objective, whom to be fair to, how fast the answer
//! should be. Only a gateway in front that is trusted may rename the model or narrow the endpoints.
//! And some headers are this filter's own: what a client sends of those is removed, whether or not
//! anything listens to them here, since something behind may.
//!
//! | what | header | alias |
//! | --- | --- | --- |
//! | objective | `x-llm-d-inference-objective` | `x-gateway-inference-objective` |
//! | fairness id | `x-llm-d-inference-fairness-id` | `x-gateway-inference-fairness-id` |
//! | time to the first token, ms | `x-llm-d-slo-ttft-ms` | `x-slo-ttft-ms` |
//! | time per token after it, ms | `x-llm-d-slo-tpot-ms` | `x-slo-tpot-ms` |
//! | another name for the model | `x-llm-d-model-name-rewrite` | `x-gateway-model-name-rewrite` |
//! | the endpoints to choose from | `x-gateway-destination-endpoint-subset` | |
//!
//! Beside these the configuration may ask about headers of any name, for its profiles and sessions, and
//! name one that asks for an explanation, which is not to go on since it carries a secret.
//!
//! The names are the Endpoint Picker's. Where a header comes with its alias, the alias says nothing;
//! of two of one name the first counts, of subsets all. Values are bytes, and bounded: what is too long
//! or means nothing is ignored and counted.

use super::{
    Api, RequestHints, Watched,
    hints::{Hint, HintReader, Name, parse},
};

/// The header by which an `ORIGINAL_DST` cluster is told its host, unless it is configured otherwise.
pub const ORIGINAL_DST_HOST: &str = "x-envoy-original-dst-host";
/// The header of the Endpoint Picker protocol that names the endpoints chosen.
pub const DESTINATION_ENDPOINT: &str = "x-gateway-destination-endpoint";
/// The header that tells routes the model asked for.
pub const MODEL_NAME: &str = "x-gateway-model-name";
/// The header that tells routes the base of the model that will answer.
pub const BASE_MODEL_NAME: &str = "x-gateway-base-model-name";

/// The header that tells a decoding server who has read the prompt.
pub const PREFILLER: &str = "x-prefiller-host-port";
/// The header that tells Dynamo's frontend which worker is to answer.
pub const WORKER_INSTANCE: &str = "x-worker-instance-id";
/// The header that tells Dynamo's frontend which worker is to read the prompt.
pub const PREFILL_INSTANCE: &str = "x-prefill-instance-id";

const SERVED_ENDPOINT: &[u8] = b"x-gateway-destination-endpoint-served";
const SUBSET: &str = "x-gateway-destination-endpoint-subset";
const REWRITE: &str = "x-llm-d-model-name-rewrite";
const REWRITE_ALIAS: &str = "x-gateway-model-name-rewrite";

/// Which of the headers that say where a request goes come from a gateway that is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trusted {
    subset: bool,
    rewrite: bool,
    rewrite_alias: bool,
}

impl Trusted {
    /// What can be trusted.
    pub const NAMES: [&'static str; 3] = [SUBSET, REWRITE, REWRITE_ALIAS];

    /// Trusts the header `name`; `false` if there is nothing to trust in it.
    pub fn trust(&mut self, name: &str) -> bool {
        let trusted = match name.to_ascii_lowercase().as_str() {
            SUBSET => &mut self.subset,
            REWRITE => &mut self.rewrite,
            REWRITE_ALIAS => &mut self.rewrite_alias,
            _ => return false,
        };
        *trusted = true;
        true
    }

    /// Whether a hint by this name counts.
    const fn lets(self, hint: Hint, name: Name) -> bool {
        match (hint, name) {
            (Hint::ModelRewrite, Name::Proper) => self.rewrite,
            (Hint::ModelRewrite, Name::Alias) => self.rewrite_alias,
            (Hint::Subset, _) => self.subset,
            (Hint::Objective | Hint::FairnessId | Hint::SloTtft | Hint::SloTpot, _) => true,
        }
    }

    /// Whether a model may be renamed by a header.
    #[must_use]
    pub const fn renames_models(self) -> bool {
        self.rewrite || self.rewrite_alias
    }
}

/// Longer than any value that the configuration asks about.
const MAX_WATCHED: usize = 4096;

/// What the configuration says of a request's headers. Names are in lowercase.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderRules {
    /// Who is trusted.
    pub trusted: Trusted,
    /// The filter's own by configuration, which no client may send.
    pub own: Vec<String>,
    /// What counts for scheduling, in the order of the places there.
    pub watched: Vec<Watched>,
    /// The one that asks for an explanation.
    pub explain: Option<String>,
}

/// What counts of a request's headers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestHead<'a> {
    /// The path, with its query.
    pub path: &'a [u8],
    /// Whether the method is `POST`.
    pub is_post: bool,
    /// The length of the body, where it is told.
    pub content_length: Option<u64>,
    /// Whether the body is compressed, and so not to be read.
    pub is_compressed: bool,
    /// Whether the client takes compressed answers.
    pub takes_compressed: bool,
    /// The request's id in logs.
    pub request_id: Option<&'a [u8]>,
    /// What is to count in its routing.
    pub hints: RequestHints,
    /// Headers that are not to go on: those that the client had no right to send, and the one that asks
    /// for an explanation.
    pub removed: Vec<&'a [u8]>,
    /// The values of [`HeaderRules::watched`], in their order; of several the first counts.
    pub watched: Vec<Option<Box<[u8]>>>,
    /// What the header that asks for an explanation says.
    pub explain: Option<&'a [u8]>,
}

/// What a header is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Path,
    Method,
    ContentLength,
    ContentEncoding,
    AcceptEncoding,
    RequestId,
    Hint(Hint, Name),
    /// The filter's own.
    Own,
}

impl Known {
    /// Of a header's name in lowercase.
    fn of(name: &[u8]) -> Option<Self> {
        use Name::{Alias, Proper};
        if !matches!(name.first(), Some(b':' | b'a' | b'c' | b'x')) {
            return None;
        }
        Some(match name {
            b":path" => Self::Path,
            b":method" => Self::Method,
            b"content-length" => Self::ContentLength,
            b"content-encoding" => Self::ContentEncoding,
            b"accept-encoding" => Self::AcceptEncoding,
            b"x-request-id" => Self::RequestId,
            b"x-llm-d-inference-objective" => Self::Hint(Hint::Objective, Proper),
            b"x-gateway-inference-objective" => Self::Hint(Hint::Objective, Alias),
            b"x-llm-d-inference-fairness-id" => Self::Hint(Hint::FairnessId, Proper),
            b"x-gateway-inference-fairness-id" => Self::Hint(Hint::FairnessId, Alias),
            b"x-llm-d-slo-ttft-ms" => Self::Hint(Hint::SloTtft, Proper),
            b"x-slo-ttft-ms" => Self::Hint(Hint::SloTtft, Alias),
            b"x-llm-d-slo-tpot-ms" => Self::Hint(Hint::SloTpot, Proper),
            b"x-slo-tpot-ms" => Self::Hint(Hint::SloTpot, Alias),
            name if name == REWRITE.as_bytes() => Self::Hint(Hint::ModelRewrite, Proper),
            name if name == REWRITE_ALIAS.as_bytes() => Self::Hint(Hint::ModelRewrite, Alias),
            name if name == SUBSET.as_bytes() => Self::Hint(Hint::Subset, Proper),
            name if name == ORIGINAL_DST_HOST.as_bytes()
                || name == DESTINATION_ENDPOINT.as_bytes()
                || name == SERVED_ENDPOINT
                || name == MODEL_NAME.as_bytes()
                || name == BASE_MODEL_NAME.as_bytes()
                || name == PREFILLER.as_bytes()
                || name == WORKER_INSTANCE.as_bytes()
                || name == PREFILL_INSTANCE.as_bytes() =>
            {
                Self::Own
            }
            _ => return None,
        })
    }
}

/// Whether the header `name` says something else than which endpoint was chosen, so that it cannot
/// say that.
#[must_use]
pub fn has_another_use(name: &str) -> bool {
    let known = Known::of(name.as_bytes());
    known.is_some_and(|known| known != Known::Own) || [MODEL_NAME, BASE_MODEL_NAME].contains(&name)
}

impl<'a> RequestHead<'a> {
    /// Reads the headers of a request.
    pub fn read(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>, rules: &HeaderRules) -> Self {
        let mut head = Self {
            watched: vec![None; rules.watched.len()],
            ..Self::default()
        };
        let mut hints = HintReader::default();
        for (name, value) in headers {
            head.watch(name, value, rules);
            if rules
                .explain
                .as_ref()
                .is_some_and(|asks| asks.as_bytes() == name)
            {
                head.explain = Some(value);
                head.remove(name);
                continue;
            }
            if rules.own.iter().any(|own| own.as_bytes() == name) {
                head.remove(name);
                continue;
            }
            let Some(known) = Known::of(name) else {
                continue;
            };
            match known {
                Known::Path => head.path = value,
                Known::Method => head.is_post = value == b"POST",
                Known::ContentLength => head.content_length = parse(value),
                Known::ContentEncoding => head.is_compressed |= !is_identity(value),
                Known::AcceptEncoding => head.takes_compressed |= !is_identity(value),
                Known::RequestId => head.request_id = head.request_id.or(Some(value)),
                Known::Hint(hint, by) if rules.trusted.lets(hint, by) => {
                    hints.take(hint, by, value);
                }
                Known::Hint(..) | Known::Own => head.remove(name),
            }
        }
        head.hints = hints.finish();
        head
    }

    /// Takes what the configuration asks about, which may be of any name.
    fn watch(&mut self, name: &[u8], value: &[u8], rules: &HeaderRules) {
        let places = self.watched.iter_mut().zip(&rules.watched);
        for (place, watched) in places {
            if place.is_none()
                && let Some(value) = watched.of(name, value)
                && value.len() <= MAX_WATCHED
            {
                *place = Some(value.into());
            }
        }
    }

    /// The API whose body is to be read: of a `POST` to one of its paths, with a body that is not
    /// compressed.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        let is_read = self.is_post && !self.is_compressed;
        Api::of_path(self.path).filter(|_| is_read)
    }

    /// All values of a name are removed at once.
    fn remove(&mut self, name: &'a [u8]) {
        if !self.removed.contains(&name) {
            self.removed.push(name);
        }
    }
}

fn is_identity(encoding: &[u8]) -> bool {
    let encoding = encoding.trim_ascii();
    encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity")
}

#[cfg(test)]
mod tests;
