//! All that may happen to VMs and their requests, at random.

use super::*;

/// Some VMs, a clock and what may happen to them.
struct World {
    map: Map,
    rng: Rng,
    now: u64,
    vms: Vec<Vm>,
}

impl World {
    const ENDPOINTS: usize = 12;

    fn new(seed: u64) -> Self {
        Self {
            map: Map::default(),
            rng: Rng::with_seed(seed),
            now: 0,
            vms: Vec::new(),
        }
    }

    fn any_pool(&mut self) -> Pool {
        let mut endpoints: Vec<_> = (0..Self::ENDPOINTS).collect();
        self.rng.shuffle(&mut endpoints);
        endpoints.truncate(self.rng.usize(1..=Self::ENDPOINTS));
        pool_of(endpoints)
    }

    fn start_vm(&mut self) {
        let pool = self.any_pool();
        self.vms.push(Vm::new(&self.map, self.rng.u64(..), pool));
    }

    fn step(&mut self) {
        let now = at(self.now);
        let index = self.rng.usize(..self.vms.len());
        let endpoint = address(self.rng.usize(..Self::ENDPOINTS));
        let vm = &mut self.vms[index];
        let request = self.rng.usize(..vm.requests.len().max(1));
        match self.rng.u32(..10_000) {
            // A request sets out.
            0..3_500 => {
                let position = self.rng.usize(..vm.pool.endpoints().len());
                let tokens = self.rng.u64(..3_000);
                let load = Load {
                    requests: 1,
                    tokens,
                };
                vm.begin(&self.map, position, load, now);
            }
            // A prompt is read, perhaps for the second time.
            3_500..5_000 => {
                if let Some((ticket, _, load)) = vm.requests.get_mut(request) {
                    ticket.prompt_read(&mut vm.load, &vm.pool);
                    load.tokens = 0;
                }
            }
            // A retry goes to another host, of the pool or not.
            5_000..5_500 => {
                if let Some((ticket, address, _)) = vm.requests.get_mut(request) {
                    ticket.moved(&mut vm.load, &vm.pool, endpoint);
                    *address = endpoint;
                }
            }
            5_500..8_700 if !vm.requests.is_empty() => vm.end(request),
            8_700..9_500 => {
                vm.tick(&self.map, now);
                // Not each time: adding up anew what is otherwise followed takes long.
                if self.rng.u32(..10) == 0 {
                    let told = self.map.told_besides(vm.peers.nonce, now);
                    vm.check(&told);
                }
            }
            9_500..9_900 => self.now += self.rng.u64(..200),
            // A thread gets no processor for long.
            9_900..9_905 => self.now += 3_000,
            // A VM fails, and its streams are reset.
            9_905..9_910 if self.vms.len() > 1 => {
                self.vms.swap_remove(index);
            }
            // A VM of the last configuration is done.
            9_910..9_915 if self.vms.len() > 1 => {
                let mut vm = self.vms.swap_remove(index);
                vm.peers.leave(&self.map).unwrap();
            }
            9_915..9_930 if self.vms.len() < 8 => self.start_vm(),
            // Endpoints come and go.
            9_930..9_960 => {
                let pool = self.any_pool();
                self.vms[index].rearrange(pool);
            }
            _ => {}
        }
    }

    /// Time passes with nothing but ticks, until whoever is gone is known to be.
    fn settle(&mut self) {
        for _ in 0..30 {
            self.now += 100;
            for vm in &mut self.vms {
                vm.tick(&self.map, at(self.now));
            }
        }
        for (index, vm) in self.vms.iter().enumerate() {
            let mut others = BTreeMap::new();
            for (other, vm) in self.vms.iter().enumerate() {
                if other != index {
                    add_all(&mut others, vm.own());
                }
            }
            vm.check(&others);
        }
    }
}

/// All that may happen, a million times.
#[test]
fn nothing_is_left_of_a_million_requests() {
    for seed in 0..8 {
        let mut world = World::new(seed);
        world.start_vm();
        for _ in 0..5 {
            for _ in 0..25_000 {
                world.step();
            }
            world.settle();
        }
        for vm in &mut world.vms {
            while !vm.requests.is_empty() {
                vm.end(0);
            }
        }
        world.settle();
        for vm in &world.vms {
            assert_eq!(vm.load.own_by_address(&vm.pool).count(), 0);
            let positions = 0..vm.pool.endpoints().len();
            assert!(positions.into_iter().all(|at| vm.load.at(at).is_none()));
        }
        // However many have come and gone, there are no more slots than VMs at once.
        assert!(world.map.slots().len() <= 24, "{}", world.map.slots().len());
    }
}
