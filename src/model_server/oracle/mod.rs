//! The mapping against what `docs/engines.md` says of expressions, done plainly: generated engines
//! read the generated expositions of one server in turn.

mod generated;
mod plain;

use proptest::prelude::*;

use super::{Alternatives, History, Mapping};
use crate::{pool::EndpointMetrics, time::Timestamp};
use plain::{Engine, Scrape};

fn mapping(engine: &Engine) -> Mapping {
    let signals: Vec<_> = engine
        .iter()
        .map(|(signal, formulas)| {
            let expressions = formulas.iter().map(|formula| {
                let text = formula.to_string();
                text.parse().unwrap_or_else(|error| panic!("{error}"))
            });
            (*signal, Alternatives(expressions.collect()))
        })
        .collect();
    Mapping::new(
        signals
            .iter()
            .map(|(signal, alternatives)| (*signal, alternatives)),
        None,
    )
}

fn text(scrapes: &[Scrape]) -> String {
    scrapes
        .iter()
        .map(|scrape| format!("at {} ms:\n{scrape}", scrape.millis))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn reads_what_the_rules_written_plainly_say(
        engine in generated::engine(), scrapes in generated::scrapes(),
    ) {
        let mapping = mapping(&engine);
        let mut history = History::default();
        let mut before: Option<EndpointMetrics> = None;
        for count in 1..=scrapes.len() {
            let scrapes = &scrapes[..count];
            let scrape = &scrapes[count - 1];
            let at = Timestamp::from_millis(scrape.millis);
            let exposition = scrape.to_string();
            let metrics = mapping.read(exposition.as_bytes(), at, &mut history, before.as_ref());
            for (signal, formulas) in &engine {
                let found = metrics.observation(*signal);
                let expected = plain::read(&engine, *signal, scrapes);
                let texts: Vec<_> = formulas.iter().map(ToString::to_string).collect();
                prop_assert_eq!(found, expected, "{}: {:?} of\n{}", signal, texts, text(scrapes));
            }
            let restarts = plain::restarts(&engine, scrapes);
            prop_assert_eq!(metrics.process().incarnation, restarts, "{}", text(scrapes));
            before = Some(metrics);
        }
    }
}
