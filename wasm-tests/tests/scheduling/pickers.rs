//! Who wins, and who comes next.

use std::collections::BTreeSet;

use endpoint_picker::{
    load::InFlight,
    pool::Pool,
    prefix::PrefixIndex,
    scheduling::{Picker, Profile, Scheduler, View},
};
use fastrand::Rng;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::{self, Scene, bare, by_total, prompt, server},
    support::{FRESHNESS, Server, address},
};

#[wasm_bindgen_test(unsupported = test)]
fn the_highest_total_wins() {
    for (totals, expected) in [
        (&[0.25, 0.75, 0.5][..], &[1, 2, 0][..]),
        (&[0.0, 0.0, 1e-6], &[2]),
        (&[1.0], &[0]),
    ] {
        let servers: Vec<_> = totals.iter().map(|&total| server(total)).collect();
        let ranking = Scene::new(&servers, 0).ranking(by_total());
        assert_eq!(ranking[..expected.len()], *expected, "{totals:?}");
        assert_eq!(ranking.len(), totals.len());
    }
}

/// The indexes of those chosen in so many decisions of one scheduler.
fn choices(scene: &Scene, profile: Profile, decisions: usize, seed: u64) -> Vec<usize> {
    let mut scheduler = Scheduler::new(profile);
    let mut rng = Rng::with_seed(seed);
    let choose = |_| {
        let decision = scheduler.schedule(scene.view(), scene.terms(), &mut rng);
        decision.unwrap().position()
    };
    (0..decisions).map(choose).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn equals_go_round_without_a_prompt() {
    let servers = [0.5, 1.0, 1.0, 0.5, 1.0 - 1e-12].map(server);
    let scene = Scene::new(&servers, 0);
    let choices = |seed| choices(&scene, by_total(), 9, seed);
    for seed in 0..20 {
        let choices = choices(seed);
        let (first, rest) = choices.split_at(3);
        assert_eq!(BTreeSet::from_iter(first), BTreeSet::from([&1, &2, &4]));
        assert_eq!(rest, [first, first].concat());
    }
    // Not every VM starts with the same.
    assert_eq!(
        (0..20)
            .map(|seed| choices(seed)[0])
            .collect::<BTreeSet<_>>()
            .len(),
        3
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn equals_share_prompts_by_how_they_begin() {
    let scene =
        |kind, blocks| Scene::new(&[1.0, 0.5, 1.0, 1.0].map(server), 0).asks(prompt(kind, blocks));
    let mut homes = [0; 4];
    for kind in 0..90 {
        let home = choices(&scene(kind, 12), by_total(), 1, 1)[0];
        homes[home] += 1;
        for blocks in 4..12 {
            // Each gateway by itself, and as often as it is asked.
            for seed in 0..3 {
                let choices = choices(&scene(kind, blocks), by_total(), 3, seed);
                assert_eq!(choices, [home; 3], "{kind}, {blocks} blocks");
            }
        }
    }
    // A third of 90 each: the standard deviation is 4.5.
    assert!(
        homes[1] == 0 && [0, 2, 3].iter().all(|&at| homes[at] > 15),
        "{homes:?}"
    );
    // Two prompts that go apart behind the fourth block are sent one way, and a shorter one its own.
    let of_three = (0..90).filter(|&kind| {
        let [three, four] = [3, 4].map(|blocks| choices(&scene(kind, blocks), by_total(), 1, 1));
        three != four
    });
    assert!(of_three.count() > 30);
}

#[wasm_bindgen_test(unsupported = test)]
fn where_a_prompt_belongs_depends_on_addresses_alone() {
    // The servers of one gateway stand in another order at the other.
    let servers: Vec<_> = (0..5).map(|_| Server::silent()).collect();
    let (pool, load) = super::support::pool(&servers);
    let reversed: Vec<_> = pool
        .endpoints()
        .iter()
        .rev()
        .map(|it| it.discovered().clone())
        .collect();
    let mut other = Pool::new(&reversed);
    for endpoint in pool.endpoints() {
        other.record(
            endpoint.address(),
            endpoint.metrics().clone(),
            FRESHNESS.now,
        );
    }
    let prefixes = PrefixIndex::new(5, 1 << 20);
    let choose = |pool: &Pool, load: &InFlight, kind| {
        let scene = Scene::new(&[], 0).asks(prompt(kind, 8));
        let view = View {
            pool,
            load,
            prefixes: &prefixes,
        };
        let mut scheduler = Scheduler::new(bare());
        let decision = scheduler.schedule(view, scene.terms(), &mut Rng::with_seed(3));
        decision.unwrap().endpoint().address()
    };
    for kind in 0..50 {
        assert_eq!(choose(&pool, &load, kind), choose(&other, &load, kind));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn random_is_of_all_and_two_of_the_better() {
    let servers = [0.0, 0.25, 0.5, 0.75].map(server);
    let scene = Scene::new(&servers, 4);
    let shares = |picker| {
        let profile = Profile {
            picker,
            ..by_total()
        };
        let mut shares = [0_usize; 4];
        for choice in choices(&scene, profile, 6000, 3) {
            shares[choice] += 1;
        }
        shares
    };
    for (picker, expected) in [
        (Picker::MaxScore, [0, 0, 0, 6000]),
        (Picker::Random, [1500, 1500, 1500, 1500]),
        (Picker::WeightedRandom, [0, 1000, 2000, 3000]),
        (Picker::PowerOfTwo, [0, 1000, 2000, 3000]),
    ] {
        let shares = shares(picker);
        // The standard deviation is 39 at most.
        let near = |(share, expected): (&usize, usize)| share.abs_diff(expected) < 150;
        assert!(
            shares.iter().zip(expected).all(near),
            "{picker:?}: {shares:?}"
        );
        let exact = |(share, expected): (&usize, usize)| (*share == 0) == (expected == 0);
        assert!(
            shares.iter().zip(expected).all(exact),
            "{picker:?}: {shares:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_ranking_is_as_long_as_it_can_be() {
    let scene = Scene::new(&[0.0, 0.25, 0.5, 0.75].map(server), 4);
    for picker in Picker::ALL {
        for (ranked, expected) in [(0, 1), (1, 1), (3, 3), (4, 4), (9, 4)] {
            let profile = Profile {
                picker,
                ..by_total()
            };
            let terms = endpoint_picker::scheduling::Terms {
                ranked,
                ..scene.terms()
            };
            scene.decide_on(profile, terms, |decision| {
                let decision = decision.unwrap();
                let ranking = scene::indexes(&scene, &decision);
                assert_eq!(ranking.len(), expected, "{picker:?}");
                assert_eq!(BTreeSet::from_iter(&ranking).len(), expected, "{picker:?}");
                assert_eq!(decision.position(), ranking[0]);
                assert_eq!(decision.endpoint().address(), address(ranking[0]));
            });
        }
    }
}
