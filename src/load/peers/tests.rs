//! Several VMs over one map, as the workers of an Envoy are over its shared data.

mod map;
mod world;

use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    num::NonZeroUsize,
};
use std::{collections::BTreeMap, net::SocketAddr};

use fastrand::Rng;
use proptest::prelude::{ProptestConfig, prop, prop_assert_eq, proptest};

use super::*;
use crate::{
    discovery::DiscoveredEndpoint,
    load::{Load, MAX_SLOTS, Report, SharedValue, Ticket},
    prefix::{BlockHasher, Blocks},
};
use map::{Map, add_all};

fn address(endpoint: usize) -> SocketAddr {
    ([10, 0, 0, 1], 8000 + endpoint as u16).into()
}

fn pool_of(endpoints: impl IntoIterator<Item = usize>) -> Pool {
    let endpoints = endpoints.into_iter();
    let discovered: Vec<_> = endpoints
        .map(|endpoint| DiscoveredEndpoint::at(address(endpoint)))
        .collect();
    Pool::new(&discovered)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000 + millis)
}

const PROMPT: Load = Load {
    requests: 1,
    tokens: 100,
};

/// The VM of a worker.
struct Vm {
    pool: Pool,
    load: InFlight,
    prefixes: PrefixIndex,
    peers: Peers,
    /// Each with what it should be worth.
    requests: Vec<(Ticket, SocketAddr, Load)>,
}

impl Vm {
    fn new(map: &Map, seed: u64, pool: Pool) -> Self {
        let peers = Peers::new("pool", Rng::with_seed(seed));
        peers.prepare(map).unwrap();
        let endpoints = pool.endpoints().len();
        Self {
            load: InFlight::new(endpoints),
            prefixes: PrefixIndex::new(endpoints, 1 << 20),
            pool,
            peers,
            requests: Vec::new(),
        }
    }

    fn split(&mut self) -> (&mut Peers, ViewMut<'_>) {
        let view = ViewMut {
            pool: &self.pool,
            load: &mut self.load,
            prefixes: &mut self.prefixes,
        };
        (&mut self.peers, view)
    }

    fn tick(&mut self, map: &Map, now: Timestamp) -> Option<Notice> {
        let (peers, view) = self.split();
        peers.tick(map, view, now).unwrap()
    }

    fn begin(&mut self, map: &Map, position: usize, load: Load, now: Timestamp) -> Option<Notice> {
        let ticket = Ticket::begin(&mut self.load, &self.pool, position, load);
        let endpoint = &self.pool.endpoints()[position];
        self.requests.push((ticket, endpoint.address(), load));
        let (peers, view) = self.split();
        peers.after_decision(map, view, now).unwrap()
    }

    fn end(&mut self, request: usize) {
        let (ticket, ..) = self.requests.swap_remove(request);
        ticket.end(&mut self.load, &self.pool);
    }

    fn rearrange(&mut self, pool: Pool) {
        self.load.rearrange(&self.pool, &pool);
        self.peers.rearrange();
        self.prefixes = PrefixIndex::new(pool.endpoints().len(), 1 << 20);
        self.pool = pool;
    }

    /// What its requests are worth.
    fn own(&self) -> BTreeMap<SocketAddr, Load> {
        let mut own = BTreeMap::new();
        let requests = self.requests.iter();
        add_all(
            &mut own,
            requests.map(|(_, address, load)| (*address, *load)),
        );
        own
    }

    /// Whether it counts its own requests, and of the others as many as `told`.
    fn check(&self, told: &BTreeMap<SocketAddr, Load>) {
        let own = self.own();
        let counted: BTreeMap<_, _> = self.load.own_by_address(&self.pool).collect();
        assert_eq!(counted, own);
        for (position, endpoint) in self.pool.endpoints().iter().enumerate() {
            let of = |loads: &BTreeMap<_, Load>| {
                let load = loads.get(&endpoint.address());
                load.copied().unwrap_or_default()
            };
            let expected = of(&own).plus(of(told));
            assert_eq!(self.load.at(position), expected, "{}", endpoint.address());
        }
    }

    fn matched(&self, blocks: &[BlockHash]) -> Vec<u32> {
        let mut matched = Vec::new();
        self.prefixes.matched(blocks, &mut matched);
        matched
    }
}

#[test]
fn a_vm_without_requests_has_no_slot_and_hears_all() {
    let map = Map::default();
    let mut vms = [1, 2, 3].map(|seed| Vm::new(&map, seed, pool_of(0..4)));
    for vm in &mut vms {
        vm.tick(&map, at(0));
    }
    assert!(map.slots().is_empty());

    let [one, other, main] = &mut vms;
    for vm in [one, other] {
        vm.begin(&map, 2, PROMPT, at(1));
    }
    main.tick(&map, at(2));
    assert_eq!(map.slots().len(), 2);
    assert_eq!(main.load.at(2), PROMPT.plus(PROMPT));
}

#[test]
fn load_is_load_whatever_the_configuration() {
    let map = Map::default();
    let mut old = Vm::new(&map, 1, pool_of([0, 1, 2]));
    let mut new = Vm::new(&map, 2, pool_of([2, 3]));
    for position in 0..3 {
        old.begin(&map, position, PROMPT, at(0));
    }
    old.tick(&map, at(1));
    new.tick(&map, at(1));
    assert_eq!([0, 1].map(|at| new.load.at(at).requests), [1, 0]);
}

#[test]
fn a_vm_that_fails_is_forgotten_in_time() {
    let map = Map::default();
    let mut vms = [1, 2].map(|seed| Vm::new(&map, seed, pool_of(0..2)));
    for vm in &mut vms {
        vm.begin(&map, 0, PROMPT, at(0));
    }
    let [_failed, other] = &mut vms;
    for (millis, expected) in [(1_999, 2), (2_000, 1)] {
        other.tick(&map, at(millis));
        assert_eq!(other.load.at(0).requests, expected, "{millis}");
    }
    // Some VM that comes later takes its slot, and what it had there counts no more.
    for (millis, seed, slots) in [(59_000, 3, 3), (61_000, 4, 3)] {
        let mut next = Vm::new(&map, seed, pool_of(0..2));
        other.tick(&map, at(millis - 1));
        next.begin(&map, 1, PROMPT, at(millis));
        assert_eq!(map.slots().len(), slots, "{millis}");
        other.tick(&map, at(millis + 1));
        assert_eq!([0, 1].map(|at| other.load.at(at).requests), [1, 1]);
    }
}

#[test]
fn a_vm_that_leaves_is_forgotten_at_once() {
    let map = Map::default();
    let mut vms = [1, 2].map(|seed| Vm::new(&map, seed, pool_of(0..2)));
    for vm in &mut vms {
        vm.begin(&map, 0, PROMPT, at(0));
    }
    let [leaving, other] = &mut vms;
    other.tick(&map, at(1));
    assert_eq!(other.load.at(0).requests, 2);
    leaving.peers.leave(&map).unwrap();
    other.tick(&map, at(2));
    assert_eq!(other.load.at(0).requests, 1);
    let mut next = Vm::new(&map, 3, pool_of(0..2));
    next.begin(&map, 1, PROMPT, at(3));
    assert_eq!(map.slots().len(), 2);
}

#[test]
fn a_vm_that_lives_keeps_its_slot() {
    let map = Map::default();
    let mut one = Vm::new(&map, 1, pool_of(0..2));
    one.begin(&map, 0, PROMPT, at(0));
    let mut other = Vm::new(&map, 2, pool_of(0..2));
    for millis in (0..10_000).step_by(100) {
        one.tick(&map, at(millis));
        other.tick(&map, at(millis));
        assert_eq!(other.load.at(0), PROMPT, "{millis}");
    }
    other.begin(&map, 0, PROMPT, at(10_000));
    assert_eq!(map.slots().len(), 2);
    // With nothing to say, a VM says so twice a second: 20 times here, besides what else it wrote.
    assert!(map.writes.get() < 30, "{}", map.writes.get());
}

#[test]
fn a_vm_that_was_silent_for_too_long_takes_another_slot() {
    let map = Map::default();
    let mut stopped = Vm::new(&map, 1, pool_of(0..2));
    stopped.begin(&map, 0, PROMPT, at(0));
    let mut other = Vm::new(&map, 2, pool_of(0..2));
    other.begin(&map, 1, PROMPT, at(65_000));
    assert_eq!(map.slots().len(), 1);

    // It looks before it writes into what is another's.
    let notice = stopped.begin(&map, 0, PROMPT, at(65_001));
    assert_eq!(notice, Some(Notice::SlotLost));
    for _ in 1..DECISIONS_TO_EXCHANGE {
        assert_eq!(stopped.begin(&map, 0, PROMPT, at(65_001)), None);
    }
    assert_eq!(stopped.tick(&map, at(65_010)), None);
    assert_eq!(map.slots().len(), 2);
    for millis in [65_500, 65_600] {
        for vm in [&mut stopped, &mut other] {
            assert_eq!(vm.tick(&map, at(millis)), None);
        }
    }
    for vm in [&stopped, &other] {
        assert_eq!([0, 1].map(|at| vm.load.at(at).requests), [9, 1]);
    }
}

/// As long as Envoy drains a listener, ten minutes if it is told nothing else, its VMs live on.
#[test]
fn vms_that_have_nothing_to_do_take_no_slots_from_others() {
    let map = Map::default();
    let mut vms = Vec::new();
    for configuration in 0..60 {
        let now = |millis| at(configuration * 10_000 + millis);
        vms.extend((0..4).map(|seed| Vm::new(&map, configuration * 4 + seed, pool_of(0..2))));
        let first = vms.len() - 4;
        for vm in &mut vms[first..] {
            assert_eq!(vm.begin(&map, 0, PROMPT, now(0)), None);
        }
        for vm in &mut vms {
            assert_eq!(vm.tick(&map, now(1)), None);
            assert_eq!(vm.load.at(0).requests, 4);
        }
        for vm in &mut vms[first..] {
            vm.end(0);
        }
        for millis in [2, 1_000, 4_000, 9_000] {
            for vm in &mut vms {
                assert_eq!(vm.tick(&map, now(millis)), None);
            }
        }
    }
    assert!(map.slots().len() < MAX_SLOTS, "{}", map.slots().len());
}

#[test]
fn who_gets_no_slot_says_so_once_and_hears_all_the_same() {
    let map = Map::default();
    let mut vms: Vec<_> = (0..=MAX_SLOTS)
        .map(|seed| Vm::new(&map, seed as u64, pool_of(0..2)))
        .collect();
    let mut notices = Vec::new();
    for vm in &mut vms {
        notices.extend(vm.begin(&map, 0, PROMPT, at(0)));
    }
    assert_eq!(notices, [Notice::NoSlot]);
    for vm in &mut vms {
        assert_eq!(vm.tick(&map, at(1)), None);
    }
    let counts = |vm: &Vm| vm.load.at(0).requests as usize;
    assert_eq!(counts(&vms[MAX_SLOTS]), MAX_SLOTS + 1);
    assert_eq!(counts(&vms[0]), MAX_SLOTS);

    // It does not ask at every decision.
    map.reads.set(0);
    for _ in 0..2 * MAX_SLOTS {
        vms[MAX_SLOTS].begin(&map, 1, PROMPT, at(1));
    }
    assert_eq!(map.reads.get(), 2 * (1 + MAX_SLOTS));

    // When one is free it is taken.
    vms[7].peers.leave(&map).unwrap();
    vms.remove(7);
    for vm in vms.iter_mut().rev() {
        vm.tick(&map, at(2));
    }
    assert_eq!(counts(&vms[0]), MAX_SLOTS);
}

#[test]
fn of_two_that_want_one_slot_one_gets_it() {
    let map = Map::default();
    let mut vm = Vm::new(&map, 1, pool_of(0..2));
    let mut theirs = Slots::default();
    let intruder = Owner {
        nonce: 7,
        since: at(0),
    };
    theirs.claim(intruder, |_| Duration::ZERO);
    *map.intruder.borrow_mut() = Some(theirs.encode());
    vm.begin(&map, 0, PROMPT, at(0));
    assert_eq!(map.slots(), theirs);
    vm.tick(&map, at(1));
    assert_eq!(map.slots().owner(0), Some(intruder));
    assert_eq!(map.slots().len(), 2);
}

#[test]
fn one_is_to_notice_that_its_slot_was_freed() {
    let map = Map::default();
    let mut vm = Vm::new(&map, 1, pool_of(0..2));
    vm.begin(&map, 0, PROMPT, at(0));
    map.put_slots(&Slots::default());
    assert_eq!(vm.tick(&map, at(1)), Some(Notice::SlotLost));
    assert_eq!(map.slots().len(), 1);
}

#[test]
fn a_prompt_is_known_a_tick_later_though_nothing_else_has_changed() {
    let map = Map::default();
    let mut vms = [1, 2].map(|seed| Vm::new(&map, seed, pool_of(0..2)));
    vms[0].begin(&map, 0, PROMPT, at(0));
    for (millis, prompt, loses_slot) in [(10, 1, false), (20, 2, false), (30, 3, true)] {
        if loses_slot {
            // It takes the very slot again, and begins another log there.
            map.put_slots(&Slots::default());
            vms[0].tick(&map, at(millis));
        }
        let blocks = prompt_blocks(prompt, 3);
        vms[0].peers.record(address(1), &blocks, false);
        for vm in &mut vms {
            vm.tick(&map, at(millis));
        }
        assert_eq!(vms[1].matched(&blocks), [0, 3], "{prompt}");
    }
}

#[test]
fn what_was_not_read_is_unlearned_a_tick_later() {
    let map = Map::default();
    let mut vms = [1, 2].map(|seed| Vm::new(&map, seed, pool_of(0..2)));
    vms[0].begin(&map, 0, PROMPT, at(0));
    let blocks = prompt_blocks(1, 5);
    let (sent, retried) = (address(0), address(1));
    vms[0].peers.record(sent, &blocks[..2], true);
    vms[0].peers.record(sent, &blocks, false);
    for (millis, expected) in [(10, [5, 0]), (20, [2, 5])] {
        for vm in &mut vms {
            vm.tick(&map, at(millis));
        }
        assert_eq!(vms[1].matched(&blocks), expected, "{millis}");
        vms[0].peers.take_back(sent, &blocks[2..]);
        vms[0].peers.record(retried, &blocks, false);
    }
    // One that comes late reads all of it at once.
    let mut late = Vm::new(&map, 3, pool_of(0..2));
    late.tick(&map, at(30));
    assert_eq!(late.matched(&blocks), [2, 5]);
}

#[test]
fn what_an_exchange_costs_does_not_weigh_on_a_decision() {
    for (vms, endpoints, decisions_to_exchange) in [(4, 10, 8), (4, 320, 20), (21, 10, 20)] {
        let map = Map::default();
        let mut vms: Vec<_> = (0..vms)
            .map(|seed| Vm::new(&map, seed, pool_of(0..endpoints)))
            .collect();
        for vm in &mut vms {
            vm.begin(&map, 0, PROMPT, at(0));
        }
        for vm in &mut vms {
            vm.tick(&map, at(1));
        }
        map.reads.set(0);
        map.writes.set(0);
        for decision in 0..10 * decisions_to_exchange {
            vms[0].begin(&map, decision % 10, PROMPT, at(2));
        }
        // The slots and each other VM, and its own.
        let expected = (10 * vms.len(), 10);
        assert_eq!((map.reads.get(), map.writes.get()), expected);

        let (peers, view) = vms[0].split();
        peers.hear(&map, view.pool, view.load, at(3)).unwrap();
        peers.hear(&map, view.pool, view.load, at(3)).unwrap();
        assert_eq!(map.reads.get(), 11 * vms.len() - 1, "once a moment");
    }
}

#[test]
fn a_log_is_not_mistaken_for_the_one_before_it() {
    let map = Map::default();
    let mut vms = [1, 2, 3].map(|seed| Vm::new(&map, seed, pool_of(0..2)));
    let [one, next, reader] = &mut vms;
    // Several segments long.
    for prompt in 0..5 {
        let blocks = prompt_blocks(prompt, 1_500);
        one.peers.record(address(0), &blocks, false);
    }
    one.begin(&map, 0, PROMPT, at(0));
    reader.tick(&map, at(1));
    assert_eq!(reader.matched(&prompt_blocks(4, 1_500)), [1_500, 0]);

    // The slot is another's, who has not yet said anything.
    let mut slots = map.slots();
    slots.free(0, one.peers.nonce);
    let owner = Owner {
        nonce: next.peers.nonce,
        since: at(2),
    };
    assert_eq!(slots.claim(owner, |_| Duration::ZERO), Some(0));
    map.put_slots(&slots);
    next.peers.own = Some(OwnSlot::new("pool", 0));
    reader.tick(&map, at(3));

    let blocks = prompt_blocks(9, 3);
    next.peers.record(address(1), &blocks, false);
    next.tick(&map, at(4));
    reader.tick(&map, at(5));
    assert_eq!(reader.matched(&blocks), [0, 3]);
}

/// A burst between two ticks: what each knows of the others' share of it, in all states that a VM may
/// be in when it begins.
#[test]
fn a_burst_is_known_while_it_lasts() {
    for (state, decided, idle) in [
        ("just begun", false, 0),
        ("at work", true, 0),
        ("idle for a while", true, 5_000),
        ("idle for long", true, 500_000),
    ] {
        let map = Map::default();
        let mut vms = [1, 2, 3, 4].map(|seed| Vm::new(&map, seed, pool_of(0..10)));
        if decided {
            for vm in &mut vms {
                vm.begin(&map, 0, PROMPT, at(0));
                vm.end(0);
            }
        }
        for millis in [1, 2, idle + 3] {
            for vm in &mut vms {
                vm.tick(&map, at(millis));
            }
        }
        for decision in 0..50 {
            for vm in &mut vms {
                let now = at(idle + 4 + decision as u64 / 10);
                assert_eq!(vm.begin(&map, decision % 10, PROMPT, now), None);
            }
        }
        for vm in &vms {
            let known: u32 = (0..10).map(|at| vm.load.at(at).requests).sum();
            // Of each other, what it has not yet told, and what it has told since it was heard.
            assert!((200 - 3 * 10..=200).contains(&known), "{state}: {known}");
        }
    }
}

/// A prompt that begins like all that are longer of this number.
fn prompt_blocks(number: u8, count: usize) -> Vec<BlockHash> {
    let blocks = Blocks {
        size: NonZeroUsize::MIN,
        limit: count,
    };
    let mut hashes = Vec::new();
    BlockHasher::new(BlockHash::NEUTRAL, blocks).update(&vec![number; count], |hash| {
        hashes.push(hash);
    });
    hashes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn what_one_has_sent_all_know_a_tick_later(
        sent in prop::collection::vec(
            (0..4_usize, 0..6_usize, 0..40_u8, 1..30_usize, prop::bool::weighted(0.2)), 1..120,
        ),
        dies in 0..4_usize,
    ) {
        let map = Map::default();
        let mut vms: Vec<_> = (0..4).map(|seed| Vm::new(&map, seed, pool_of(0..6))).collect();
        // By itself, to compare with.
        let mut all = Vm::new(&Map::default(), 9, pool_of(0..6));
        for (now, (vm, endpoint, prompt, count, ticks)) in sent.iter().copied().enumerate() {
            let blocks = prompt_blocks(prompt, count);
            vms[vm].prefixes.insert(endpoint, &blocks, false);
            all.prefixes.insert(endpoint, &blocks, false);
            vms[vm].peers.record(address(endpoint), &blocks, false);
            vms[vm].begin(&map, endpoint, PROMPT, at(now as u64));
            if ticks {
                vms[vm].tick(&map, at(now as u64));
            }
        }
        let now = at(1_000);
        for _ in 0..2 {
            for vm in &mut vms {
                vm.tick(&map, now);
            }
        }
        // One that comes late, when another is gone, reads what that one has left.
        vms.remove(dies);
        vms.push(Vm::new(&map, 8, pool_of(0..6)));
        let late = at(10_000);
        for vm in &mut vms {
            vm.tick(&map, late);
        }
        for (_, _, prompt, count, _) in sent {
            let blocks = prompt_blocks(prompt, count);
            let expected = all.matched(&blocks);
            for vm in &vms {
                prop_assert_eq!(vm.matched(&blocks), expected.clone());
            }
        }
    }
}
