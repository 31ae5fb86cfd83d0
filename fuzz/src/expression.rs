//! Texts of a configuration: selectors and expressions.

use core::{fmt::Debug, fmt::Display, str::FromStr};

use endpoint_picker::{
    exposition::Selector,
    model_server::{Alternatives, EngineSpec, Engines, Expression, History},
    pool::{Observation, Signal},
    time::Timestamp,
};

/// What is displayed has parentheses around each operand, and escapes, so that of a long text it may
/// be more than is read: 32 parentheses and signs inside each other, and 2048 bytes.
const MAX_PARENTHESES: usize = 15;
const MAX_BYTES: usize = 2048;

/// What expressions are evaluated on, twice, so that a counter has grown by nothing.
const EXPOSITION: &[u8] =
    b"a 1\nb 0\na_total{b=\"1\"} NaN 5\na_total{b=\"2\"} 1e308\na{b=\"c\"} -3\n";

/// Reads `text` as a selector and as an expression. What is read must be what it displays, and an
/// expression's value a number or none.
pub fn expression(text: &[u8]) {
    if let Ok(text) = core::str::from_utf8(text) {
        displayed_as_read::<Selector>(text);
        if let Some(expression) = displayed_as_read::<Expression>(text) {
            evaluate(expression);
        }
    }
}

fn displayed_as_read<T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(
    text: &str,
) -> Option<T> {
    let read: T = text.parse().ok()?;
    let displayed = read.to_string();
    if displayed.len() <= MAX_BYTES && displayed.matches('(').count() <= MAX_PARENTHESES {
        let again = displayed.parse::<T>();
        assert_eq!(
            again.as_ref(),
            Ok(&read),
            "{text:?} is displayed as {displayed}"
        );
    }
    Some(read)
}

fn evaluate(expression: Expression) {
    let mut spec = EngineSpec::default();
    let signal = Signal::TimeToFirstToken;
    spec.signals
        .insert(signal, Some(Alternatives(vec![expression])));
    let engines = Engines::new([("own".to_owned(), spec)].into()).unwrap_or_default();
    let Some(engine) = engines.find("own").and_then(|own| engines.get(own)) else {
        return;
    };
    let mut history = History::default();
    for second in 1..=2 {
        let at = Timestamp::from_millis(second * 1_000);
        let metrics = engine.mapping().read(EXPOSITION, at, &mut history, None);
        if let Observation::Value { value, .. } = metrics.observation(signal) {
            assert!(value.is_finite());
        }
    }
}
