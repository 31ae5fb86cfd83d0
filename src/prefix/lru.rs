//! Which blocks one endpoint holds, the least recently used first to go.

/// No entry. An [`Lru`] has fewer entries than this.
const NONE: u16 = u16::MAX;

/// The blocks of one endpoint by their places in [`Holders`](super::holders::Holders), in the order of
/// their use. Of a fixed size: it is allocated once, and never grows or is arranged anew.
#[derive(Debug, Clone)]
pub(super) struct Lru {
    entries: Box<[Entry]>,
    newest: u16,
    oldest: u16,
    /// The first of those that hold nothing; the next stands in its `older`.
    free: u16,
    len: u16,
}

/// What an entry holds, and, apart from that, one bucket of the hash table that finds them: an array
/// for both is four bytes a block smaller than one for each.
#[derive(Debug, Clone, Copy)]
struct Entry {
    block: u32,
    older: u16,
    newer: u16,
    /// The next of the same bucket.
    next: u16,
    /// The first entry of the bucket that has this one's index.
    bucket: u16,
}

impl Lru {
    /// The most blocks that one can hold.
    pub(super) const MAX: usize = NONE as usize;

    /// What one that holds up to `blocks` takes.
    pub(super) const fn bytes(blocks: usize) -> usize {
        blocks * size_of::<Entry>()
    }

    /// An empty one for up to `blocks` blocks.
    pub(super) fn new(blocks: usize) -> Self {
        let blocks = u16::try_from(blocks).unwrap_or(NONE);
        let entry = |at: u16| Entry {
            block: 0,
            older: if at + 1 < blocks { at + 1 } else { NONE },
            newer: NONE,
            next: NONE,
            bucket: NONE,
        };
        Self {
            entries: (0..blocks).map(entry).collect(),
            newest: NONE,
            oldest: NONE,
            free: if blocks > 0 { 0 } else { NONE },
            len: 0,
        }
    }

    /// What this one takes.
    pub(super) fn taken(&self) -> usize {
        size_of_val(&*self.entries)
    }

    pub(super) fn len(&self) -> usize {
        self.len.into()
    }

    /// Makes a block the most recently used, if it is held; tells whether it is.
    pub(super) fn touch(&mut self, block: u32) -> bool {
        let Some((at, entry)) = self.find(block) else {
            return false;
        };
        if at != self.newest {
            self.unlink(entry);
            self.link(at);
        }
        true
    }

    /// Holds a block that it does not hold, as the most recently used; tells whether there was space.
    pub(super) fn insert(&mut self, block: u32) -> bool {
        let at = self.free;
        let Some(entry) = self.entry(at) else {
            return false;
        };
        self.free = entry.older;
        self.len += 1;
        let bucket = self.bucket_of(block);
        let next = self.entry(bucket).map_or(NONE, |entry| entry.bucket);
        self.change(bucket, |entry| entry.bucket = at);
        self.change(at, |entry| {
            entry.block = block;
            entry.next = next;
        });
        self.link(at);
        true
    }

    /// Lets go of the least recently used block.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
        let entry = self.entry(self.oldest)?;
        self.let_go(self.oldest, entry);
        Some(entry.block)
    }

    /// Lets go of a block, if it is held; tells whether it was.
    pub(super) fn remove(&mut self, block: u32) -> bool {
        let Some((at, entry)) = self.find(block) else {
            return false;
        };
        self.let_go(at, entry);
        true
    }

    fn let_go(&mut self, at: u16, entry: Entry) {
        self.unlink(entry);
        self.take_from_bucket(at, entry);
        let free = core::mem::replace(&mut self.free, at);
        self.change(at, |entry| entry.older = free);
        self.len -= 1;
    }

    fn find(&self, block: u32) -> Option<(u16, Entry)> {
        let mut at = self.entry(self.bucket_of(block))?.bucket;
        while let Some(entry) = self.entry(at) {
            if entry.block == block {
                return Some((at, entry));
            }
            at = entry.next;
        }
        None
    }

    fn take_from_bucket(&mut self, at: u16, taken: Entry) {
        let bucket = self.bucket_of(taken.block);
        let mut before = self.entry(bucket).map_or(NONE, |entry| entry.bucket);
        if before == at {
            return self.change(bucket, |entry| entry.bucket = taken.next);
        }
        while let Some(entry) = self.entry(before) {
            if entry.next == at {
                return self.change(before, |entry| entry.next = taken.next);
            }
            before = entry.next;
        }
    }

    /// Joins those before and behind an entry.
    fn unlink(&mut self, Entry { older, newer, .. }: Entry) {
        match older {
            NONE => self.oldest = newer,
            _ => self.change(older, |entry| entry.newer = newer),
        }
        match newer {
            NONE => self.newest = older,
            _ => self.change(newer, |entry| entry.older = older),
        }
    }

    /// Puts the entry at `at`, which has no place in the order, behind the newest.
    fn link(&mut self, at: u16) {
        let older = core::mem::replace(&mut self.newest, at);
        match older {
            NONE => self.oldest = at,
            _ => self.change(older, |entry| entry.newer = at),
        }
        self.change(at, |entry| {
            entry.older = older;
            entry.newer = NONE;
        });
    }

    /// Places are given out in a row to the blocks of a prompt, so they need no more hashing.
    fn bucket_of(&self, block: u32) -> u16 {
        let buckets = self.entries.len().max(1) as u32;
        u16::try_from(block % buckets).unwrap_or(NONE)
    }

    fn entry(&self, at: u16) -> Option<Entry> {
        self.entries.get(usize::from(at)).copied()
    }

    fn change(&mut self, at: u16, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.entries.get_mut(usize::from(at)) {
            change(entry);
        }
    }
}
