//! Names of models: which target a name has, which tables are refused, and names in bodies.

use endpoint_picker::{config::Settings, models::ModelCatalog};
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

mod catalog;
mod refused;
mod restoring;
mod rewriting;

/// The catalog of a configuration with this object as its `models`, or why it is refused.
fn catalog(models: &Value) -> Result<ModelCatalog, String> {
    let config = json!({
        "endpoints": {"static": ["10.0.0.1:8000"]},
        "metrics": {"cluster": "scrapes"},
        "models": models,
    });
    let settings = Settings::from_json(config.to_string().as_bytes());
    settings
        .map(|settings| settings.models)
        .map_err(|error| error.to_string())
}

#[wasm_bindgen_test(unsupported = test)]
fn the_examples_of_the_reference_are_taken() {
    let reference = include_str!("../../../docs/models.md");
    let examples = reference.split("```json\n").skip(1);
    let mut count = 0;
    for example in examples.filter_map(|rest| rest.split("```").next()) {
        let mut config: Value = serde_json::from_str(&format!("{{{example}}}")).unwrap();
        if config.get("pools").is_none() {
            config["endpoints"] = json!({"static": []});
            config["metrics"] = json!({"cluster": "scrapes"});
        }
        let settings = Settings::from_json(config.to_string().as_bytes());
        assert!(settings.is_ok(), "{settings:?}: {example}");
        count += 1;
    }
    assert_eq!(count, 6);
}
