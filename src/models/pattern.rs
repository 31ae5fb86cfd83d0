//! Names, and all names that begin alike.

use core::fmt;

use hashbrown::HashMap;

/// Bytes of the longest name: more than any model's name has.
pub const MAX_NAME: usize = 512;

/// A model, or all whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ModelPattern {
    /// The model of this name.
    Name(String),
    /// Every model whose name begins so, written with a `*` behind it.
    Prefix(String),
}

impl ModelPattern {
    /// What [`parse`](Self::parse) accepts, for messages.
    pub const EXPECTED: &str =
        "a model's name of 1 to 512 bytes without control characters, '*' at its end alone";

    /// Reads one as it is written.
    #[must_use]
    pub fn parse(written: &str) -> Option<Self> {
        let (name, pattern): (_, fn(String) -> Self) = match written.strip_suffix('*') {
            Some(prefix) => (prefix, Self::Prefix),
            None => (written, Self::Name),
        };
        let is_name = is_name(name) || (name.is_empty() && !written.is_empty());
        is_name.then(|| pattern(name.to_owned()))
    }

    /// Whether it stands for the model `name` too.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Name(only) => only == name,
            Self::Prefix(prefix) => name.starts_with(prefix.as_str()),
        }
    }
}

/// As it is written.
impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// Whether this can be the name of a model. Names are put into headers, so they have no control
/// characters.
#[must_use]
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c != '*' && !c.is_control();
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain)
}

/// Values by pattern. A name counts before every prefix, and a longer prefix before a shorter one.
///
/// ```
/// use endpoint_picker::models::{ModelPattern, PatternTable};
///
/// let mut table = PatternTable::default();
/// for (pattern, value) in [("llama-*", 1), ("*", 2), ("llama-70b", 3), ("llama-7*", 4)] {
///     table.insert(ModelPattern::parse(pattern).unwrap(), value);
/// }
/// let find = |name| table.get(name).copied();
/// assert_eq!(find("llama-70b"), Some(3));
/// assert_eq!(find("llama-70b-next"), Some(4));
/// assert_eq!(find("llama-8b"), Some(1));
/// assert_eq!(find("phi-4"), Some(2));
/// ```
#[derive(Debug, Clone)]
pub struct PatternTable<T> {
    names: HashMap<String, T>,
    /// The longest first.
    prefixes: Vec<(String, T)>,
}

impl<T> Default for PatternTable<T> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            prefixes: Vec::new(),
        }
    }
}

impl<T> PatternTable<T> {
    /// Puts in a value. Of equal patterns the last counts.
    pub fn insert(&mut self, pattern: ModelPattern, value: T) {
        match pattern {
            ModelPattern::Name(name) => {
                self.names.insert(name, value);
            }
            ModelPattern::Prefix(prefix) => {
                // Before those that are no longer, so before one that is equal.
                let longer = |other: &(String, T)| other.0.len() > prefix.len();
                let place = self.prefixes.partition_point(longer);
                self.prefixes.insert(place, (prefix, value));
            }
        }
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        self.names.get(name).or_else(|| {
            let mut prefixes = self.prefixes.iter();
            let found = prefixes.find(|(prefix, _)| name.starts_with(&**prefix));
            found.map(|(_, value)| value)
        })
    }
}
