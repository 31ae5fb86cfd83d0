//! Shared data as Envoy has it, and what stands there.

use super::*;

/// Shared data as Envoy has it: a conditional write compares nothing while its key does not exist.
#[derive(Default)]
pub(super) struct Map {
    pub(super) values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    pub(super) reads: Cell<usize>,
    pub(super) writes: Cell<usize>,
    /// Written to the slots when they are next read: by a VM that gets between.
    pub(super) intruder: RefCell<Option<Vec<u8>>>,
}

impl Shared for Map {
    type Error = Infallible;

    fn get(&self, key: &str) -> Result<SharedValue, Infallible> {
        self.reads.set(self.reads.get() + 1);
        let value = self.values.borrow().get(key).cloned();
        if key.ends_with("/slots")
            && let Some(bytes) = self.intruder.take()
        {
            self.set(key, &bytes)?;
        }
        Ok(
            value.map_or_else(SharedValue::default, |(bytes, mark)| SharedValue {
                bytes,
                mark: Some(mark),
            }),
        )
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Infallible> {
        self.writes.set(self.writes.get() + 1);
        let mut values = self.values.borrow_mut();
        let mark = values.get(key).map_or(0, |(_, mark)| *mark) + 1;
        values.insert(key.to_owned(), (value.to_vec(), mark));
        Ok(())
    }

    fn swap(&self, key: &str, value: &[u8], mark: Option<u32>) -> Result<bool, Infallible> {
        let current = self.values.borrow().get(key).map(|(_, mark)| *mark);
        let is_same = current.is_none() || mark.is_none() || mark == current;
        if is_same {
            self.set(key, value)?;
        }
        Ok(is_same)
    }
}

impl Map {
    pub(super) fn slots(&self) -> Slots {
        Slots::decode(&self.get("pool/slots").unwrap().bytes)
    }

    pub(super) fn put_slots(&self, slots: &Slots) {
        self.set("pool/slots", &slots.encode()).unwrap();
    }

    /// What all VMs but the one of this nonce tell of their loads.
    pub(super) fn told_besides(&self, nonce: u64, now: Timestamp) -> BTreeMap<SocketAddr, Load> {
        let slots = self.slots();
        let mut told = BTreeMap::new();
        for slot in 0..slots.len() {
            let bytes = self.get(&format!("pool/load/{slot}")).unwrap().bytes;
            let (Some(owner), Some(report)) = (slots.owner(slot), Report::decode(&bytes)) else {
                continue;
            };
            if owner.nonce == report.head.nonce
                && owner.nonce != nonce
                && now.apart(report.head.heartbeat) < PEER_TIMEOUT
            {
                add_all(&mut told, report.loads());
            }
        }
        told
    }
}

pub(super) fn add_all(
    sum: &mut BTreeMap<SocketAddr, Load>,
    loads: impl IntoIterator<Item = (SocketAddr, Load)>,
) {
    for (address, load) in loads {
        let sum: &mut Load = sum.entry(address).or_default();
        *sum = sum.plus(load);
    }
}
