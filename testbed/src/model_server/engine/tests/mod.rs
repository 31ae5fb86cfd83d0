//! The engine in virtual time.

mod lab;

use super::{BLOCK_TOKENS, FinishReason, Limits, Progress, Request, SpeedClass, Tokens, Work};
use lab::{Client, LIMITS, Lab};

fn close(value: f64, expected: f64, tolerance: f64) -> bool {
    (value / expected - 1.0).abs() < tolerance
}

/// Steps of one decoding batch, which the formula gives.
fn decode_step(speed: SpeedClass, sequences: u64, context: u64) -> f64 {
    let mut work = Work::default();
    for _ in 0..sequences {
        work.add(context, 1);
    }
    speed.step_seconds(work)
}

#[test]
fn throughput_against_batch_size_follows_the_formula() {
    for speed in [SpeedClass::A100, SpeedClass::L4] {
        let mut last = 0.0;
        for batch in [1_u64, 4, 16, 64, 256] {
            let mut lab = Lab::new(Limits { speed, ..LIMITS });
            for _ in 0..batch {
                lab.submit(32, 200);
            }
            lab.run();
            lab.assert_idle();
            // While all of them decode, and none has ended.
            let began = (0..batch as usize).map(|client| lab.first_token(client));
            let (began, ended) = (began.fold(0.0, f64::max), lab.end(0));
            let tokens = lab
                .events
                .iter()
                .filter(|event| event.time > began && event.time <= ended)
                .count();
            let throughput = tokens as f64 / (ended - began);
            // The context is on average 32 tokens and half of 200.
            let formula = batch as f64 / decode_step(speed, batch, 132);
            assert!(
                close(throughput, formula, 0.01),
                "{speed:?} {batch}: {throughput} is not {formula}"
            );
            assert!(throughput > last);
            last = throughput;
        }
    }
}

#[test]
fn an_answer_has_as_many_tokens_as_asked_for() {
    let mut lab = Lab::new(LIMITS);
    lab.submit(10, 3);
    lab.run();
    let progress: Vec<Progress> = lab.events.iter().map(|event| event.progress).collect();
    let token = |generated, finished| Progress {
        generated,
        cached: 0,
        finished,
    };
    let expected = [
        token(1, None),
        token(2, None),
        token(3, Some(FinishReason::Length)),
    ];
    assert_eq!(progress, expected);
    lab.assert_idle();
}

#[test]
fn a_cached_prefix_shortens_the_prefill() {
    let mut lab = Lab::new(LIMITS);
    lab.submit_text(1, 1600, 1);
    lab.run();
    let cold = lab.now;
    let began = lab.now;
    lab.submit_text(1, 1600, 1);
    lab.run();
    let warm = lab.now - began;

    let mut work = Work::default();
    work.add(0, 1600);
    assert!(close(cold, LIMITS.speed.step_seconds(work), 1e-9));
    // All blocks but the last, of which one token has to be computed.
    let mut work = Work::default();
    work.add(1584, 16);
    assert!(close(warm, LIMITS.speed.step_seconds(work), 1e-9));
    assert!(warm < cold / 10.0);
    assert_eq!(lab.events[1].progress.cached, 1584);
    let statistics = lab.engine.statistics();
    assert_eq!(
        (statistics.prefix_queries, statistics.prefix_hits),
        (3200, 1584)
    );

    // Another model's keys and values are others.
    lab.submit_for(Some("adapter"), 1, 1600, 1);
    lab.run();
    assert_eq!(lab.events[2].progress.cached, 0);
}

#[test]
fn the_next_turn_of_a_conversation_finds_the_answer_cached() {
    let mut lab = Lab::new(LIMITS);
    let conversation = |answered: usize| {
        let mut tokens = Tokens::new("base");
        tokens.push_text(&"question ".repeat(64));
        for index in 0..answered {
            tokens.push_generated(index);
        }
        tokens
    };
    let request = |prompt, client| Request {
        prompt,
        max_tokens: 64,
        stops: false,
        adapter: None,
        client,
    };
    lab.engine.submit(request(conversation(0), 0), 0.0);
    lab.run();
    let mut next = conversation(64);
    next.push_text("and another one?");
    lab.engine.submit(request(next, 1), lab.now);
    lab.run();
    // 144 tokens of question and 64 of answer, of which the last was never computed.
    assert_eq!(lab.events.last().unwrap().progress.cached, 192);
}

#[test]
fn long_prompts_are_computed_in_chunks_beside_the_decoding() {
    let mut lab = Lab::new(LIMITS);
    lab.submit(16, 100);
    lab.step();
    lab.submit(5000, 1);
    for _ in 0..3 {
        lab.step();
    }
    assert_eq!(lab.first_token(1), lab.now);
    // The first one made a token in every step, each as long as its chunk.
    let beside: Vec<f64> = lab
        .events
        .iter()
        .filter(|event| event.client == 0)
        .map(|event| event.time)
        .collect();
    assert_eq!(beside.len(), 4);
    let mut work = Work::default();
    work.add(16, 1);
    work.add(0, 2047);
    assert!(close(
        beside[1] - beside[0],
        LIMITS.speed.step_seconds(work),
        1e-9
    ));
}

#[test]
fn a_queue_under_overload_grows_with_time_and_is_served_in_order() {
    let limits = Limits {
        max_num_seqs: 8,
        ..LIMITS
    };
    let mut lab = Lab::new(limits);
    // Eight at a time finish after about 100 steps; twice as many arrive.
    let service = 8.0 / (100.0 * decode_step(SpeedClass::A100, 8, 60));
    let interval = 1.0 / (2.0 * service);
    let mut queue = Vec::new();
    let mut next = 0.0;
    while lab.now < 60.0 {
        while next <= lab.now {
            lab.submit(16, 100);
            next += interval;
        }
        lab.step();
        queue.push((lab.now, lab.engine.gauges().waiting as f64));
    }
    // Arrivals less departures: half of what arrives is left over.
    for (time, waiting) in queue.into_iter().filter(|(time, _)| *time > 20.0) {
        let expected = service * time;
        assert!(
            close(waiting, expected, 0.15),
            "at {time}: {waiting} is not {expected}"
        );
    }
    let order: Vec<Client> = lab
        .events
        .iter()
        .filter(|event| event.progress.generated == 1)
        .map(|event| event.client)
        .collect();
    assert!(order.is_sorted());
    assert!(lab.engine.gauges().running <= 8);
}

#[test]
fn who_came_last_is_preempted_when_the_kv_cache_is_full() {
    let limits = Limits {
        kv_blocks: 40,
        ..LIMITS
    };
    let mut lab = Lab::new(limits);
    // Each ends with 25 blocks of the 40.
    lab.submit(200, 200);
    lab.submit(200, 200);
    lab.run();
    lab.assert_idle();
    assert!(lab.engine.statistics().preemptions >= 1);
    assert!(lab.end(0) < lab.end(1));
    // Nothing of what was told is taken back or told twice.
    for client in [0, 1] {
        let told: Vec<usize> = lab
            .events
            .iter()
            .filter(|event| event.client == client)
            .map(|event| event.progress.generated)
            .collect();
        assert_eq!(told, (1..=200).collect::<Vec<_>>());
    }
    let gaps = |client: Client| {
        let times: Vec<f64> = lab
            .events
            .iter()
            .filter(|event| event.client == client)
            .map(|event| event.time)
            .collect();
        times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .fold(0.0, f64::max)
    };
    assert!(gaps(1) > 10.0 * gaps(0), "the second waited for the first");
    assert_eq!(lab.engine.statistics().request_preemptions.count(), 2);
}

#[test]
fn the_prefix_used_least_recently_is_evicted() {
    let limits = Limits {
        kv_blocks: 64,
        ..LIMITS
    };
    let mut lab = Lab::new(limits);
    // Prompts of 20 blocks; three do not fit beside each other with the tokens they make.
    for text in [1, 2, 1, 3, 4] {
        lab.submit_text(text, 20 * BLOCK_TOKENS, 20);
        lab.run();
    }
    let before = lab.engine.statistics().prefix_hits;
    lab.submit_text(1, 20 * BLOCK_TOKENS, 1);
    lab.run();
    let one = lab.engine.statistics().prefix_hits - before;
    lab.submit_text(2, 20 * BLOCK_TOKENS, 1);
    lab.run();
    let two = lab.engine.statistics().prefix_hits - before - one;
    assert_eq!(two, 0, "2 was used before 1");
    assert!(one > 0, "1 was used after 2");
}

#[test]
fn requests_wait_for_a_lora_slot_and_others_pass_them() {
    let mut lab = Lab::new(LIMITS);
    for adapter in ["a", "b", "c"] {
        lab.submit_for(Some(adapter), 1, 16, 50);
    }
    lab.submit_for(None, 1, 16, 50);
    let seconds = lab.step().unwrap();
    let gauges = lab.engine.gauges();
    assert_eq!((gauges.running, gauges.waiting, gauges.deferred), (3, 1, 1));
    assert_eq!(
        (
            gauges.running_adapters.as_str(),
            gauges.waiting_adapters.as_str()
        ),
        ("a,b", "c")
    );
    assert!(
        (1.0..1.1).contains(&seconds),
        "two adapters are loaded: {seconds}"
    );

    lab.run();
    lab.assert_idle();
    assert!(lab.first_token(2) > lab.end(0));
    assert_eq!(lab.engine.statistics().adapter_loads, 3);
    // The ones used last are still there.
    lab.submit_for(Some("c"), 1, 16, 1);
    assert!(lab.step().unwrap() < 0.1);
    lab.submit_for(Some("a"), 1, 16, 1);
    assert!(lab.step().unwrap() > 0.5);
}

#[test]
fn a_cancelled_request_leaves_nothing_behind() {
    let mut lab = Lab::new(Limits {
        max_num_seqs: 1,
        ..LIMITS
    });
    let running = lab.submit(100, 100);
    let waiting = lab.submit(100, 100);
    lab.step();
    assert!(lab.engine.begin_step(lab.now).is_some());
    lab.engine.cancel(running);
    lab.engine.cancel(waiting);
    lab.engine.cancel(waiting);
    lab.engine
        .end_step(lab.now + 1.0, |_, _| panic!("nobody is left"));
    assert!(lab.step().is_none());
    lab.assert_idle();
    assert_eq!(lab.engine.statistics().aborted, 2);
}

#[test]
fn times_add_up() {
    let mut lab = Lab::new(Limits {
        max_num_seqs: 2,
        ..LIMITS
    });
    for _ in 0..6 {
        lab.submit(500, 50);
    }
    lab.run();
    let statistics = lab.engine.statistics();
    let parts =
        statistics.queue_time.sum() + statistics.prefill_time.sum() + statistics.decode_time.sum();
    assert!(close(parts, statistics.end_to_end.sum(), 1e-9));
    assert!(close(
        statistics.inter_token_latency.sum(),
        statistics.decode_time.sum(),
        1e-9
    ));
    assert_eq!(statistics.inter_token_latency.count(), 6 * 49);
    assert_eq!(statistics.time_to_first_token.count(), 6);
    let requests: f64 = (0..6).map(|client| lab.end(client)).sum();
    assert!(close(statistics.end_to_end.sum(), requests, 1e-9));
}
