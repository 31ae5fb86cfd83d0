//! Which engine an endpoint runs, by what its expositions tell.

use super::EngineId;

/// Of so many expositions that tell of their engine one is looked through for a better one: a look takes
/// a part of what reading takes, and a server that begins to tell more does so once.
pub(super) const SCRAPES_A_LOOK: u32 = 16;

/// So many expositions that tell nothing of an engine, but of one beside it as before, end it, with none
/// between them that tells of it. Families may be away for a moment, while a model is loaded anew for one.
pub(super) const SCRAPES_TO_GO_BACK: u32 = 16;

/// What is known of an endpoint's engine, from one exposition to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Recognition {
    engine: Option<EngineId>,
    /// Whether the process that answers is known to be of that engine, by its families.
    is_recognized: bool,
    /// The other engines that its expositions tell of.
    beside: Vec<EngineId>,
    /// Expositions since one was looked through.
    unlooked: u32,
    /// Expositions that told of one beside the engine alone, since one told of the engine.
    beside_alone: u32,
}

impl Recognition {
    /// The engine; `None` while none is known.
    pub(super) const fn engine(&self) -> Option<EngineId> {
        self.engine
    }

    /// While none is known it is `engine`, until an exposition tells of another.
    pub(super) fn assume(&mut self, engine: Option<EngineId>) {
        self.engine = self.engine.or(engine);
    }

    /// Whether an exposition is to be looked through for its engine, one that tells of the engine known
    /// or not, of a process that has started anew or not.
    pub(super) fn looks(&mut self, is_told: bool, is_anew: bool) -> bool {
        if is_told {
            self.beside_alone = 0;
        }
        if is_anew {
            self.is_recognized = false;
        }
        self.unlooked += 1;
        !is_told || !self.is_recognized || self.unlooked >= SCRAPES_A_LOOK
    }

    /// Takes in the engines of which an exposition has families, in the order in which it is tried on
    /// them. Returns whether the engine is another thereby.
    pub(super) fn look(&mut self, told: &[EngineId], is_told: bool) -> bool {
        self.unlooked = 0;
        let Some((&found, beside)) = told.split_first() else {
            self.is_recognized |= is_told;
            return false;
        };
        if self.stays(found, is_told) {
            return false;
        }
        self.is_recognized = true;
        self.beside = beside.to_vec();
        self.beside_alone = 0;
        self.engine.replace(found) != Some(found)
    }

    /// Whether it goes on as before with an exposition that would be recognised as `found`: with the better
    /// engine of two as long as that is told, or not told for a moment only.
    fn stays(&mut self, found: EngineId, is_told: bool) -> bool {
        match self.engine {
            Some(engine) if self.is_recognized && is_told => found > engine,
            Some(_) if self.is_recognized && self.beside.contains(&found) => {
                self.beside_alone += 1;
                self.beside_alone < SCRAPES_TO_GO_BACK
            }
            _ => false,
        }
    }
}
