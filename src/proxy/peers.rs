//! Envoy's shared data, as the core takes part in it.

use super::host::{self, HostError};
use crate::load::{Shared, SharedValue};

/// Envoy's shared data: one map for all VMs, behind one lock, copied at each access.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedData;

impl Shared for SharedData {
    type Error = HostError;

    fn get(&self, key: &str) -> Result<SharedValue, HostError> {
        let value = host::shared(key)?;
        Ok(SharedValue {
            bytes: value.bytes,
            mark: value.cas,
        })
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), HostError> {
        host::set_shared(key, value)
    }

    fn swap(&self, key: &str, value: &[u8], mark: Option<u32>) -> Result<bool, HostError> {
        host::swap_shared(key, value, mark)
    }
}
