//! Scores by which adapters are loaded.

use xxhash_rust::xxh64::xxh64;

use crate::{
    pool::LoraAdapters,
    scheduling::{Candidates, turns::rendezvous},
};

/// The adapter is at work.
const RUNNING: f64 = 1.0;
/// There is room for it.
const ROOM: f64 = 0.8;
/// There is room for it, but elsewhere too, and that is where it belongs. Less by so little that it
/// decides between equals only: what is asked for may be no adapter at all, but the base model.
const ROOM_ELSEWHERE: f64 = 0.75;
/// It waits to be loaded in the place of another.
const WAITING: f64 = 0.6;

pub(super) fn score(candidates: Candidates<'_>, scores: &mut Vec<f64>) {
    let model = candidates.request().model;
    let key = model.map(|model| xxh64(model.as_bytes(), 0));
    let start = scores.len();
    let mut home = None;
    for (index, endpoint) in candidates.endpoints().enumerate() {
        let told = endpoint.metrics().lora();
        let fresh = told.filter(|adapters| candidates.freshness().holds(adapters.at));
        let mut score = fresh.map_or(0.0, |adapters| class(adapters, model));
        if let Some(key) = key
            && score == ROOM
        {
            home = home.max(Some((rendezvous(key, endpoint), start + index)));
            score = ROOM_ELSEWHERE;
        }
        scores.push(score);
    }
    if let Some((_, home)) = home
        && let Some(score) = scores.get_mut(home)
    {
        *score = ROOM;
    }
}

fn class(adapters: &LoraAdapters, model: Option<&str>) -> f64 {
    // Both lists are in the order of the names.
    let is_among = |names: &[String]| {
        let search = |model| names.binary_search_by(|name| name.as_str().cmp(model));
        model.is_some_and(|model| search(model).is_ok())
    };
    if is_among(&adapters.running) {
        RUNNING
    } else if adapters.running.len() + adapters.waiting.len() < adapters.max as usize {
        ROOM
    } else if is_among(&adapters.waiting) {
        WAITING
    } else {
        0.0
    }
}
