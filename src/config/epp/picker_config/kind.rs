//! What the Endpoint Picker's types of plugins are here.

/// What a type of plugin is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Filter,
    Scorer,
    /// A scorer that its parameters make a filter too.
    FilteringScorer,
    Picker,
    /// A detector of saturation, which a profile may use as a filter.
    Detector,
    /// One profile for all requests.
    SingleProfile,
    /// A profile by the value of a header.
    HeaderProfile,
    /// Prefill and decode by a profile each.
    Disaggregation,
    /// Its predecessor, which splits where nobody decides.
    PrefillDecode,
    /// Splits every prompt.
    AlwaysSplit,
    /// Splits prompts of which much is not cached.
    PrefixSplit,
    MetricsSource,
    MetricsExtractor,
    /// What it does is done here without it.
    Built,
}

/// Those that are supported.
pub(super) const TYPES: [(&str, Kind); 42] = [
    ("queue-scorer", Kind::Scorer),
    ("running-requests-size-scorer", Kind::Scorer),
    ("kv-cache-utilization-scorer", Kind::Scorer),
    ("lora-affinity-scorer", Kind::Scorer),
    ("prefix-cache-scorer", Kind::Scorer),
    ("no-hit-lru-scorer", Kind::Scorer),
    ("active-request-scorer", Kind::Scorer),
    ("token-load-scorer", Kind::Scorer),
    ("load-aware-scorer", Kind::Scorer),
    ("session-affinity-scorer", Kind::Scorer),
    ("context-length-aware", Kind::FilteringScorer),
    ("endpoint-attribute-scorer", Kind::Scorer),
    ("latency-scorer", Kind::Scorer),
    ("label-selector-filter", Kind::Filter),
    ("decode-filter", Kind::Filter),
    ("prefill-filter", Kind::Filter),
    ("utilization-filter", Kind::Filter),
    ("prefix-cache-affinity-filter", Kind::Filter),
    ("utilization-detector", Kind::Detector),
    ("concurrency-detector", Kind::Detector),
    ("max-score-picker", Kind::Picker),
    ("random-picker", Kind::Picker),
    ("weighted-random-picker", Kind::Picker),
    ("single-profile-handler", Kind::SingleProfile),
    ("header-profile-handler", Kind::HeaderProfile),
    ("disagg-profile-handler", Kind::Disaggregation),
    ("pd-profile-handler", Kind::PrefillDecode),
    ("always-disagg-pd-decider", Kind::AlwaysSplit),
    (PREFIX_SPLIT, Kind::PrefixSplit),
    ("metrics-data-source", Kind::MetricsSource),
    ("core-metrics-extractor", Kind::MetricsExtractor),
    // What that was called before.
    ("model-server-protocol-metrics", Kind::MetricsExtractor),
    ("disagg-headers-handler", Kind::Built),
    ("prefill-header-handler", Kind::Built),
    (PREFIX_PRODUCER, Kind::Built),
    ("inflight-load-producer", Kind::Built),
    (TOKEN_PRODUCER, Kind::Built),
    ("openai-parser", Kind::Built),
    ("anthropic-parser", Kind::Built),
    ("vllmhttp-parser", Kind::Built),
    ("sglanghttp-parser", Kind::Built),
    ("passthrough-parser", Kind::Built),
];

/// The decider of a `pd-profile-handler` that names none.
pub(super) const PREFIX_SPLIT: &str = "prefix-based-pd-decider";

/// Hashes prompts, as is done here, unless its parameters name another source of hashes.
pub(super) const PREFIX_PRODUCER: &str = "approx-prefix-cache-producer";

/// Estimates tokens, as is done here, unless its parameters name a tokenizer.
pub(super) const TOKEN_PRODUCER: &str = "token-producer";

impl Kind {
    /// Of the type `name`.
    pub(super) fn of(name: &str) -> Option<Self> {
        let found = TYPES.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    /// Whether it chooses profiles.
    pub(super) const fn is_handler(self) -> bool {
        matches!(
            self,
            Self::SingleProfile | Self::HeaderProfile | Self::Disaggregation | Self::PrefillDecode
        )
    }

    /// Whether it splits prefill from decode.
    pub(super) const fn splits(self) -> bool {
        matches!(self, Self::Disaggregation | Self::PrefillDecode)
    }
}

/// Parameters of a type that only say how the Endpoint Picker does what is done otherwise here.
pub(super) fn without_effect(name: &str) -> &'static [&'static str] {
    match name {
        "prefix-cache-scorer" => &[
            "prefixMatchInfoProducerName",
            "autoTune",
            "blockSize",
            "blockSizeTokens",
            "hashBlockSize",
            "maxPrefixBlocksToMatch",
            "maxPrefixTokensToMatch",
            "lruCapacityPerServer",
        ],
        "no-hit-lru-scorer" => &[
            "lruSize",
            "prefixMatchInfoProducerName",
            "prefixPluginType",
            "prefixPluginName",
        ],
        "active-request-scorer" => &["requestTimeout", "inFlightLoadProducerName"],
        "token-load-scorer" => &["inFlightLoadProducerName"],
        "session-affinity-scorer" => &[
            "evictionTtlSeconds",
            "evictionSweepSeconds",
            "missThreshold",
        ],
        "context-length-aware" => &["enableFiltering"],
        "pd-profile-handler" => &[
            "hashBlockSize",
            "blockSize",
            "maxPrefixBlocksToMatch",
            "lruCapacityPerServer",
            "prefixPluginType",
            "prefixPluginName",
            "prefixMatchInfoProducerName",
        ],
        "prefix-based-pd-decider" => &["prefixMatchInfoProducerName"],
        "latency-scorer" => &[
            "compositeKVWeight",
            "compositeQueueWeight",
            "compositePrefixWeight",
            "latencyPredictionInfoProducerName",
            "prefixMatchInfoProducerName",
        ],
        "prefix-cache-affinity-filter" => {
            &["inFlightLoadProducerName", "prefixMatchInfoProducerName"]
        }
        _ => &[],
    }
}
