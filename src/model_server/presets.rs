//! Engines whose metric names are known.

use super::EngineSpec;

/// A known engine.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The versions it was written for.
    pub versions: &'static str,
    json: &'static str,
}

macro_rules! preset {
    ($name:literal, $versions:literal) => {
        Preset {
            name: $name,
            versions: $versions,
            json: include_str!(concat!("presets/", $name, ".json")),
        }
    };
}

/// In the order in which an exposition is tried on them: what wraps another engine, and passes its
/// families on, before that engine, and last the one whose families have no prefix.
pub const PRESETS: &[Preset] = &[
    preset!("dynamo", "0.5 and later, frontend or worker"),
    preset!("vllm", "0.6 to 0.32"),
    preset!("sglang", "0.4 to 0.5"),
    preset!(
        "trtllm-serve",
        "1.3 and later; without request counts, 1.0 and later"
    ),
    preset!("triton-tensorrt-llm", "23.11 and later"),
    preset!("triton", "23.12 and later"),
    preset!("tgi", "1 to 3"),
    preset!("lmdeploy", "0.10 and later"),
    preset!("llama.cpp", "b3000 and later, with --metrics"),
    preset!("jetstream", "0.2 and 0.3"),
    preset!("nim", "NIM for LLMs 1.0 to 1.14"),
];

/// Each preset with what it is.
pub(super) fn presets() -> Vec<(&'static str, EngineSpec)> {
    PRESETS
        .iter()
        // None fails, or its tests do.
        .filter_map(|preset| Some((preset.name, serde_json::from_str(preset.json).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid_and_can_be_recognized() {
        for preset in PRESETS {
            let spec: EngineSpec = serde_json::from_str(preset.json)
                .unwrap_or_else(|error| panic!("{}: {error}", preset.name));
            assert!(
                spec.recognized_by
                    .is_some_and(|families| !families.is_empty())
            );
            assert!(!spec.signals.is_empty(), "{}", preset.name);
            assert_eq!(spec.scrape.check(), Ok(()), "{}", preset.name);
        }
        assert_eq!(presets().len(), PRESETS.len());
    }
}
