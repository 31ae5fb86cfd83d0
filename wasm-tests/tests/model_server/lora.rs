//! LoRA adapters: facts in the labels of series that outlive their truth.

use endpoint_picker::{model_server::Engines, pool::LoraAdapters};
use wasm_bindgen_test::wasm_bindgen_test;

use super::support::{at, engines, read_in_turn};

fn adapters(max: u32, running: &[&str], waiting: &[&str]) -> Option<LoraAdapters> {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Some(LoraAdapters {
        max,
        running: owned(running),
        waiting: owned(waiting),
        at: at(1),
    })
}

fn read(engines: &Engines, engine: &str, exposition: &str) -> Option<LoraAdapters> {
    let read = read_in_turn(engines, engine, &[exposition]).remove(0);
    read.lora().cloned()
}

fn info(running: &str, waiting: &str, value: &str) -> String {
    format!(
        "vllm:lora_requests_info{{max_lora=\"4\",running_lora_adapters=\"{running}\",\
         waiting_lora_adapters=\"{waiting}\"}} {value}\n"
    )
}

#[wasm_bindgen_test(unsupported = test)]
fn the_newest_series_counts() {
    let engines = Engines::default();
    let oldest = info("a,b", "c", "1.795319188e+09");
    let older = info("", "", "1.7953191904457915e+09");
    let newest = info("chat, code", "sql", "1.79531919115238e+09");
    for (case, exposition, expected) in [
        ("absent", "vllm:num_requests_running 1\n".to_owned(), None),
        (
            "one",
            info("b,a", "", "1.8e+09"),
            adapters(4, &["a", "b"], &[]),
        ),
        (
            "several, the newest first",
            newest.clone() + &older + &oldest,
            adapters(4, &["chat", "code"], &["sql"]),
        ),
        (
            "several, the newest in the middle",
            oldest.clone() + &newest + &older,
            adapters(4, &["chat", "code"], &["sql"]),
        ),
        (
            "idle since",
            oldest + &older,
            adapters(4, &[], &[]),
        ),
        (
            "a time that is none, in either order",
            info("z", "z", "NaN") + &newest + &info("z", "z", "NaN"),
            adapters(4, &["chat", "code"], &["sql"]),
        ),
        (
            "two of one time: the later in the exposition",
            newest.clone() + &info("sql", "", "1.79531919115238e+09"),
            adapters(4, &["sql"], &[]),
        ),
        (
            "an adapter twice, and nothing between commas",
            info("a,,a, b ,", "", "1.8e+09"),
            adapters(4, &["a", "b"], &[]),
        ),
        (
            "as engine V0 has it",
            "vllm:lora_requests_info{max_lora=\"0\",running_lora_adapters=\"\",waiting_lora_adapters=\"\"} 1.0\n"
                .to_owned(),
            adapters(0, &[], &[]),
        ),
        (
            "labels that are not there",
            "vllm:lora_requests_info{max_lora=\"None\"} 1.8e+09\n".to_owned(),
            adapters(0, &[], &[]),
        ),
        (
            "a real exposition",
            include_str!("../../../fixtures/metrics/vllm-0.32-lora.prom").to_owned(),
            adapters(2, &["chat", "code"], &["chat", "code"]),
        ),
        (
            "and one without LoRA",
            include_str!("../../../fixtures/metrics/vllm-0.32-busy.prom").to_owned(),
            None,
        ),
    ] {
        assert_eq!(read(&engines, "vllm", &exposition), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn adapters_past_any_that_a_server_holds_are_passed_over() {
    let names: Vec<_> = (0..600).map(|number| format!("adapter-{number}")).collect();
    let exposition = info(&names.join(","), "sql", "1.8e+09");
    let found = read(&Engines::default(), "vllm", &exposition).unwrap();
    assert_eq!((found.running.len(), found.waiting.len()), (512, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn an_adapter_can_have_a_series_of_its_own() {
    let engines = engines(
        r#"{
            "mine": { "lora": {
                "running": "lora_requests{state=\"running\"}",
                "waiting": "lora_requests{state=\"waiting\"}",
                "adapterLabel": "adapter",
                "max": "lora_slots - lora_slots_reserved"
            } },
            "vllm": { "lora": null }
        }"#,
    );
    let slots = "lora_slots 8\nlora_slots_reserved 2\n";
    let series = "lora_requests{adapter=\"sql\",state=\"running\"} 2\n\
                  lora_requests{adapter=\"chat\",state=\"running\"} 1\n\
                  lora_requests{adapter=\"code\",state=\"running\"} 0\n\
                  lora_requests{adapter=\"code\",state=\"waiting\"} 3\n\
                  lora_requests{state=\"running\"} 9\n";
    for (exposition, expected) in [
        (
            format!("{slots}{series}"),
            adapters(6, &["chat", "sql"], &["code"]),
        ),
        (series.to_owned(), adapters(0, &["chat", "sql"], &["code"])),
        (slots.to_owned(), None),
    ] {
        assert_eq!(
            read(&engines, "mine", &exposition),
            expected,
            "{exposition}"
        );
    }
    let vllm = info("a", "", "1.8e+09");
    assert_eq!(read(&engines, "vllm", &vllm), None, "disabled");
}
