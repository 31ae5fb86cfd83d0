//! How long a step takes: a roofline over the datasheet of a GPU.

use clap::ValueEnum;

use super::BLOCK_TOKENS;

/// The model that every simulated server runs: Llama 3.1 8B in bfloat16.
///
/// Numbers from its configuration: 32 layers, hidden size 4096, 8 KV heads of 128.
mod model {
    /// Its parameters.
    pub(super) const PARAMETERS: f64 = 8.03e9;
    /// Their bytes, two each, all read once in a step.
    pub(super) const WEIGHT_BYTES: f64 = 16.06e9;
    /// Bytes of keys and values of one token: 2 × 32 layers × 8 heads × 128 × 2 bytes.
    pub(super) const KV_BYTES_PER_TOKEN: f64 = 131_072.0;
    /// Operations to attend from one token to one other: 4 × 32 layers × 4096.
    pub(super) const ATTENTION_FLOPS: f64 = 524_288.0;
}

/// The share of the datasheet's memory bandwidth that a step reaches. With the overhead below, one
/// sequence makes 74 tokens a second on an A100 of 40 GB (1555 GB/s), where 75 were measured with
/// vLLM: <https://johnmusgrave.com/p/vllm-throughput-latency-sweep-on>.
const BANDWIDTH_EFFICIENCY: f64 = 0.85;

/// The share of the datasheet's operations a second that a prefill reaches: some 9,700 prompt
/// tokens a second on an A100. An assumption: large matrix products in 16 bits reach about half.
const COMPUTE_EFFICIENCY: f64 = 0.5;

/// What a step costs whatever is in it, in seconds: scheduling, launching kernels, sampling, and
/// passing tokens on. Chosen with [`BANDWIDTH_EFFICIENCY`].
const STEP_OVERHEAD: f64 = 0.0012;

/// The share of the GPU's memory that vLLM takes by default.
const MEMORY_UTILIZATION: f64 = 0.9;

/// Memory for activations and CUDA graphs, in bytes: vLLM measures it at start, about this much for
/// a model of this size at 2048 tokens a step.
const ACTIVATION_BYTES: f64 = 2e9;

/// The GPU that a simulated server stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SpeedClass {
    /// NVIDIA A100 80GB SXM: 2039 GB/s, 312 TFLOPS in bfloat16, 80 GiB.
    #[default]
    A100,
    /// NVIDIA L4: 300 GB/s, 121 TFLOPS in bfloat16 without sparsity, 22.5 GiB usable of its 24 GB.
    L4,
}

/// What a step has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Tokens that pass through the model: one for each decoding sequence, and those of prefills.
    pub tokens: u64,
    /// Tokens whose keys and values are read or written: the contexts of all sequences of the step.
    pub context_tokens: u64,
    /// Pairs of a token and one that it attends to.
    pub attention_pairs: u64,
}

impl Work {
    /// Adds a sequence of which `computed` tokens are in the KV cache and `new` are to be computed.
    pub fn add(&mut self, computed: u64, new: u64) {
        self.tokens += new;
        self.context_tokens += computed + new;
        self.attention_pairs += new * computed + new * (new + 1) / 2;
    }
}

impl SpeedClass {
    /// Memory bandwidth, in bytes a second.
    #[must_use]
    pub const fn memory_bandwidth(self) -> f64 {
        match self {
            Self::A100 => 2039e9,
            Self::L4 => 300e9,
        }
    }

    /// Operations a second in bfloat16, dense.
    #[must_use]
    pub const fn flops(self) -> f64 {
        match self {
            Self::A100 => 312e12,
            Self::L4 => 121e12,
        }
    }

    /// Memory, in bytes, as its driver reports it.
    #[must_use]
    pub const fn memory_bytes(self) -> f64 {
        const MIB: f64 = 1_048_576.0;
        match self {
            Self::A100 => 81_920.0 * MIB,
            Self::L4 => 23_034.0 * MIB,
        }
    }

    /// How many blocks of the KV cache fit beside the weights.
    #[must_use]
    pub fn kv_blocks(self) -> usize {
        let bytes =
            self.memory_bytes() * MEMORY_UTILIZATION - model::WEIGHT_BYTES - ACTIVATION_BYTES;
        (bytes / model::KV_BYTES_PER_TOKEN) as usize / BLOCK_TOKENS
    }

    /// How long a step takes, in seconds: a fixed overhead, and the longer of moving the bytes and
    /// doing the operations.
    #[must_use]
    pub fn step_seconds(self, work: Work) -> f64 {
        let bytes = model::WEIGHT_BYTES + work.context_tokens as f64 * model::KV_BYTES_PER_TOKEN;
        let flops = 2.0 * model::PARAMETERS * work.tokens as f64
            + model::ATTENTION_FLOPS * work.attention_pairs as f64;
        let moving = bytes / (self.memory_bandwidth() * BANDWIDTH_EFFICIENCY);
        let computing = flops / (self.flops() * COMPUTE_EFFICIENCY);
        STEP_OVERHEAD + moving.max(computing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(sequences: u64, context: u64) -> Work {
        let mut work = Work::default();
        for _ in 0..sequences {
            work.add(context, 1);
        }
        work
    }

    /// Within a thousandth.
    fn close(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 1e-3
    }

    #[test]
    fn steps_take_what_the_documentation_says() {
        for (speed, work, seconds) in [
            (SpeedClass::A100, decode(1, 0), 0.010466),
            (SpeedClass::L4, decode(1, 0), 0.064181),
            (SpeedClass::A100, decode(64, 1000), 0.015311),
            (SpeedClass::L4, decode(16, 1000), 0.072413),
        ] {
            let value = speed.step_seconds(work);
            assert!(close(value, seconds), "{speed:?} {work:?}: {value}");
        }
        let mut prefill = Work::default();
        prefill.add(0, 2048);
        assert!(close(SpeedClass::A100.step_seconds(prefill), 0.219091));
        assert!(close(SpeedClass::L4.step_seconds(prefill), 0.563034));
    }

    #[test]
    fn the_kv_cache_is_what_the_weights_leave() {
        assert_eq!(SpeedClass::A100.kv_blocks(), 28252);
        assert_eq!(SpeedClass::L4.kv_blocks(), 1753);
    }

    #[test]
    fn decoding_is_bound_by_memory_and_prefill_by_compute() {
        let alone = SpeedClass::A100.step_seconds(decode(1, 100));
        let batched = SpeedClass::A100.step_seconds(decode(32, 100));
        assert!(batched < 1.05 * alone);

        let (mut half, mut whole) = (Work::default(), Work::default());
        half.add(0, 1024);
        whole.add(0, 2048);
        let ratio = SpeedClass::A100.step_seconds(whole) / SpeedClass::A100.step_seconds(half);
        assert!((1.9..2.1).contains(&ratio));
    }
}
