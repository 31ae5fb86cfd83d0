//! What the VMs of one process share, as a map.

/// A map that several VMs write to: each of its values is read and written as a whole.
pub trait Shared {
    /// What can go wrong.
    type Error;

    /// What stands under `key`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn get(&self, key: &str) -> Result<SharedValue, Self::Error>;

    /// Puts `value` under `key`, whatever is there.
    ///
    /// # Errors
    /// When it cannot be written.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Self::Error>;

    /// Puts `value` under `key` if nobody has written there since `mark` was read; tells whether it
    /// did. A key that was never written has nothing to compare, and is written.
    ///
    /// # Errors
    /// When it cannot be written.
    fn swap(&self, key: &str, value: &[u8], mark: Option<u32>) -> Result<bool, Self::Error>;
}

/// A value of a [`Shared`] map.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SharedValue {
    /// Its bytes; empty where there is none.
    pub bytes: Vec<u8>,
    /// Changes with each write; `None` before the first.
    pub mark: Option<u32>,
}
