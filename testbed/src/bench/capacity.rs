//! How much load brings a fleet near saturation.

use testbed::{
    load::workload::{Shape, Workload},
    model_server::{SpeedClass, Work},
};

/// Tokens in a block of the KV cache.
const BLOCK_TOKENS: f64 = 16.0;

/// Requests a second that a fleet of simulated servers would serve at most if no prompt were ever
/// found in a prefix cache: batches as large as the KV cache holds, prefilled and then decoded.
pub(crate) fn uncached(
    shape: &Shape,
    servers: usize,
    speed: SpeedClass,
    max_num_seqs: usize,
) -> f64 {
    let prompt = mean_prompt(shape);
    let answer = shape.answer.mean();
    let kv_tokens = speed.kv_blocks() as f64 * BLOCK_TOKENS;
    let batch = (kv_tokens / (prompt + answer))
        .min(max_num_seqs as f64)
        .max(1.0);

    let mut prefill = Work::default();
    prefill.add(0, prompt as u64);
    let mut decode = Work::default();
    for _ in 0..batch as u64 {
        decode.add((prompt + answer / 2.0) as u64, 1);
    }
    let seconds = batch * speed.step_seconds(prefill) + answer * speed.step_seconds(decode);
    servers as f64 * batch / seconds
}

/// The mean length of a prompt, in tokens. In a conversation of `n` turns, the prompt of turn `i`
/// repeats the `i` exchanges before it.
fn mean_prompt(shape: &Shape) -> f64 {
    let exchanges = (shape.turns.mean() - 1.0) / 2.0;
    shape.system_prompt.mean()
        + shape.question.mean()
        + exchanges * (shape.follow_up.mean() + shape.answer.mean())
}

/// The load of a workload as a share of [`uncached`] capacity, where no rate is asked for: so high
/// that servers queue, so low that a good policy can keep up. More than one where the prefix caches
/// carry a part.
pub(crate) const fn load(workload: Workload) -> f64 {
    match workload {
        Workload::SharedPrefix => 4.7,
        Workload::Chat => 1.1,
        Workload::Uniform => 1.1,
        Workload::Lora => 0.6,
        Workload::LongContext => 0.8,
        Workload::Mixed => 0.9,
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn capacity_grows_with_the_fleet_and_shrinks_with_the_prompt() {
        let of =
            |workload: Workload, servers| uncached(&workload.shape(), servers, SpeedClass::L4, 256);
        let uniform = of(Workload::Uniform, 4);
        assert!((of(Workload::Uniform, 8) / uniform - 2.0).abs() < 1e-9);
        assert!(of(Workload::LongContext, 4) < uniform / 3.0);
    }

    #[test]
    fn no_server_prefills_faster_than_its_operations_allow() {
        for workload in Workload::value_variants() {
            let shape = workload.shape();
            let tokens = uncached(&shape, 1, SpeedClass::L4, 256) * mean_prompt(&shape);
            // 121 TFLOPS, half of them reached, 16 GFLOP a token.
            assert!(tokens < 3800.0, "{}: {tokens}", workload.name());
        }
    }
}
