//! Which model a requested name stands for.

use fastrand::Rng;

use super::{ModelPattern, PatternTable};

/// Names of models: what clients ask for, what is served.
#[derive(Debug, Clone, Default)]
pub struct ModelCatalog {
    entries: PatternTable<ModelEntry>,
    refuses_unknown: bool,
    rewrites: bool,
    restores_names: bool,
}

/// What is said of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelEntry {
    /// It is served under this name; an adapter, if it has a base model.
    Served {
        /// The base model of an adapter.
        base: Option<String>,
    },
    /// It stands for one of these, which are not looked up again.
    StandsFor(Vec<WeightedTarget>),
}

/// What a name may stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedTarget {
    /// The name that the server knows.
    pub model: String,
    /// Its share is this of the sum over the targets: at least 0, and the sum finite and more.
    pub weight: f64,
}

/// What the catalog says of a requested name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// This is to be asked for.
    Listed(Target<'a>),
    /// Nothing is said of it, and it passes as it is.
    Unlisted,
    /// There is no such model.
    NotFound,
}

/// What a server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The name in the request to the server.
    pub model: &'a str,
    /// The base model of an adapter, else the model itself.
    pub base: &'a str,
}

impl ModelCatalog {
    /// A catalog of `entries`, which lets all other names pass and restores none.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = (ModelPattern, ModelEntry)>) -> Self {
        let mut catalog = Self::default();
        for (pattern, entry) in entries {
            catalog.rewrites |= entry.renames(&pattern);
            catalog.entries.insert(pattern, entry);
        }
        catalog
    }

    /// This catalog, refusing names of which it says nothing, or not.
    #[must_use]
    pub fn refusing_unknown(self, refuses_unknown: bool) -> Self {
        Self {
            refuses_unknown,
            ..self
        }
    }

    /// This catalog, restoring requested names in answers, or not.
    #[must_use]
    pub fn restoring_names(self, restores_names: bool) -> Self {
        Self {
            restores_names,
            ..self
        }
    }

    /// What is to be asked for in the place of `requested`, drawn anew at each call where that is
    /// one of several.
    #[must_use]
    pub fn resolve<'a>(&'a self, requested: &'a str, rng: &mut Rng) -> Resolved<'a> {
        let model = match self.entries.get(requested) {
            Some(ModelEntry::Served { .. }) => requested,
            Some(ModelEntry::StandsFor(targets)) => draw(targets, rng).unwrap_or(requested),
            None if self.refuses_unknown => return Resolved::NotFound,
            None => return Resolved::Unlisted,
        };
        Resolved::Listed(Target {
            model,
            base: self.base_of(model),
        })
    }

    /// The base model of what a server knows by this name: the name itself, unless it is an adapter.
    #[must_use]
    pub fn base_of<'a>(&'a self, model: &'a str) -> &'a str {
        match self.entries.get(model) {
            Some(ModelEntry::Served { base: Some(base) }) => base,
            _ => model,
        }
    }

    /// Whether there is a name that stands for another one: only then are bodies rewritten.
    #[must_use]
    pub const fn rewrites(&self) -> bool {
        self.rewrites
    }

    /// Whether an answer is to have the requested name where another one was asked for.
    #[must_use]
    pub const fn restores_names(&self) -> bool {
        self.restores_names
    }
}

impl ModelEntry {
    fn renames(&self, pattern: &ModelPattern) -> bool {
        let Self::StandsFor(targets) = self else {
            return false;
        };
        match pattern {
            ModelPattern::Name(name) => targets.iter().any(|target| target.model != *name),
            ModelPattern::Prefix(_) => !targets.is_empty(),
        }
    }
}

/// One of the targets, each in proportion to its weight.
fn draw<'a>(targets: &'a [WeightedTarget], rng: &mut Rng) -> Option<&'a str> {
    let all: f64 = targets.iter().map(|target| target.weight).sum();
    let mut rest = rng.f64() * all;
    let drawn = targets.iter().find(|target| {
        let found = rest < target.weight;
        rest -= target.weight;
        found
    });
    // Rounding may leave a little behind the last one.
    let weighty = || targets.iter().rfind(|target| target.weight > 0.0);
    drawn.or_else(weighty).map(|target| &*target.model)
}
