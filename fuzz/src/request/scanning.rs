//! The scanner against `serde_json`.

use core::{fmt, ops::ControlFlow};

use endpoint_picker::request::{Container, Malformed, Scalar, Scanner, Visitor};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess};

/// Of a long key or number the beginning is told.
const MAX_TOKEN: usize = Scanner::MAX_TOKEN;

/// A value as it stands in JSON: with every key, also of those that come twice.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Value {
    Object(Vec<(Vec<u8>, Self)>),
    Array(Vec<Self>),
    /// `None` where the text is not wanted.
    String(Option<Vec<u8>>),
    Integer(u64),
    Negative(i64),
    Number(f64),
    Bool(bool),
    #[default]
    Null,
}

/// Builds a value of what it is told, with the texts of all strings or of none, and breaks at an
/// event if it is asked to.
#[derive(Default)]
struct Builder {
    wants_text: bool,
    /// Events until it breaks, where each byte of text is one.
    budget: Option<usize>,
    around: Vec<Value>,
    keys: Vec<Vec<u8>>,
    root: Option<Value>,
    spans: Vec<(u64, u64)>,
}

impl Builder {
    fn put(&mut self, value: Value) {
        match self.around.last_mut() {
            None => assert_eq!(self.root.replace(value), None),
            Some(Value::Array(values)) => values.push(value),
            Some(Value::Object(values)) => values.push((pop(&mut self.keys), value)),
            Some(other) => assert_eq!(*other, Value::Null, "a container around"),
        }
    }

    fn events(&mut self, count: usize) -> ControlFlow<()> {
        if let Some(budget) = &mut self.budget {
            assert_ne!(*budget, 0, "told of more behind a break");
            *budget = budget.saturating_sub(count);
            if *budget == 0 {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }
}

fn pop<T: Default>(stack: &mut Vec<T>) -> T {
    assert!(!stack.is_empty(), "an end without its beginning");
    stack.pop().unwrap_or_default()
}

impl Visitor for Builder {
    fn key(&mut self, key: &[u8]) {
        assert!(key.len() <= MAX_TOKEN);
        self.keys.push(key.to_vec());
    }

    fn begin(&mut self, container: Container) {
        self.around.push(match container {
            Container::Object => Value::Object(Vec::new()),
            Container::Array => Value::Array(Vec::new()),
        });
    }

    fn end(&mut self) -> ControlFlow<()> {
        let value = pop(&mut self.around);
        self.put(value);
        self.events(1)
    }

    fn begin_string(&mut self, at: u64) -> bool {
        self.spans.push((at, at));
        self.around
            .push(Value::String(self.wants_text.then(Vec::new)));
        self.wants_text
    }

    fn text(&mut self, text: &[u8]) -> ControlFlow<()> {
        assert!(!text.is_empty());
        assert!(core::str::from_utf8(text).is_ok(), "{text:?}");
        // No more of it than it breaks at, which may be told of with what follows in its piece.
        let text = self
            .budget
            .and_then(|budget| text.get(..budget))
            .unwrap_or(text);
        match self.around.last_mut() {
            Some(Value::String(Some(before))) => before.extend(text),
            other => assert_eq!(other, None, "a string around"),
        }
        self.events(text.len())
    }

    fn end_string(&mut self, end: u64) -> ControlFlow<()> {
        let (start, _) = pop(&mut self.spans);
        self.spans.push((start, end));
        let value = pop(&mut self.around);
        self.put(value);
        self.events(1)
    }

    fn scalar(&mut self, scalar: Scalar<'_>) -> ControlFlow<()> {
        self.put(match scalar {
            Scalar::Integer(number) => Value::Integer(number),
            Scalar::Number(number) => {
                assert!(number.len() <= MAX_TOKEN);
                let text = core::str::from_utf8(number).unwrap_or_default();
                match text.parse() {
                    Ok(number @ ..0) => Value::Negative(number),
                    // A long one may be cut behind its point or its exponent.
                    _ if number.len() == MAX_TOKEN => Value::Number(f64::INFINITY),
                    _ => Value::Number(text.parse().unwrap_or(f64::INFINITY)),
                }
            }
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Null => Value::Null,
        });
        self.events(1)
    }
}

/// The value as `serde_json` finds it.
pub(super) struct Oracle(pub(super) Value);

impl<'de> Deserialize<'de> for Oracle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Value;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Negative(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Integer(value))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Number(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::String(Some(value.into())))
            }
            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some(Oracle(value)) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Value::Array(values))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut values = Vec::new();
                while let Some((key, Oracle(value))) = map.next_entry::<String, _>()? {
                    let key = key.as_bytes();
                    // Of a long key the scanner tells the beginning.
                    let key = key.get(..MAX_TOKEN).unwrap_or(key);
                    values.push((key.to_vec(), value));
                }
                Ok(Value::Object(values))
            }
        }
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

impl Value {
    /// Whether it is what the scanner tells of `self`, if it wants the texts or not.
    fn is(&self, told: &Self) -> bool {
        match (self, told) {
            (Self::Object(ours), Self::Object(theirs)) => {
                let same = |((key, value), (told_key, told)): (&(_, Self), &(_, Self))| {
                    key == told_key && value.is(told)
                };
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
            }
            (Self::Array(ours), Self::Array(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(value, told)| value.is(told))
            }
            (Self::String(text), Self::String(told)) => told.is_none() || text == told,
            // The oracle rounds in its own way, and of a long one the beginning is told.
            (Self::Number(number), Self::Number(told)) => {
                told.is_infinite() || (number - told).abs() <= number.abs() * 1e-12
            }
            _ => self == told,
        }
    }
}

/// What came of the bytes: how they ended, and what the visitor had been told by then.
type Outcome = (
    Result<ControlFlow<()>, Malformed>,
    Option<Value>,
    Vec<Value>,
    Vec<(u64, u64)>,
);

struct Scan {
    scanner: Scanner,
    builder: Builder,
}

impl Scan {
    fn new(wants_text: bool, budget: Option<usize>) -> Self {
        Self {
            scanner: Scanner::default(),
            builder: Builder {
                wants_text,
                budget,
                ..Builder::default()
            },
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<ControlFlow<()>, Malformed> {
        self.scanner.feed(piece, &mut self.builder)
    }

    fn outcome(mut self, fed: Result<ControlFlow<()>, Malformed>) -> Outcome {
        let result = fed.and_then(|flow| {
            self.scanner.finish(&mut self.builder)?;
            Ok(flow)
        });
        let Builder {
            root,
            around,
            mut spans,
            ..
        } = self.builder;
        // A string that was never told to end has no span.
        spans.retain(|(start, end)| start < end);
        (result, root, around, spans)
    }

    fn of<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut fed = Ok(ControlFlow::Continue(()));
        for piece in pieces {
            fed = self.feed(piece);
        }
        self.outcome(fed)
    }
}

/// The scanner accepts what the oracle accepts, and finds the same values.
pub(super) fn is_scanned_as_serde_json_does(json: &[u8]) {
    let oracle: Result<Oracle, _> = serde_json::from_slice(json);
    for wants_text in [true, false] {
        let (result, root, ..) = Scan::new(wants_text, None).of([json]);
        match &oracle {
            Ok(Oracle(value)) => {
                assert_eq!(
                    result,
                    Ok(ControlFlow::Continue(())),
                    "{}",
                    json.escape_ascii()
                );
                assert!(
                    root.as_ref().is_some_and(|root| value.is(root)),
                    "{value:?} {root:?}"
                );
            }
            // A number that no double is near to is JSON all the same.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(error) => assert!(result.is_err(), "{}: {error}", json.escape_ascii()),
        }
    }
}

/// What the visitor is told, and where the scan stops, is the same in one piece, in single bytes, and
/// in two pieces cut at every `step`th byte.
pub(super) fn is_scanned_alike_in_pieces(
    json: &[u8],
    wants_text: bool,
    budget: Option<usize>,
    step: usize,
) {
    let scan = || Scan::new(wants_text, budget);
    let whole = scan().of([json]);
    // Where single bytes stop is where any piece that goes so far does.
    let mut single = scan();
    let mut stopped = None;
    for (index, byte) in json.iter().enumerate() {
        let fed = single.feed(&[*byte]);
        if fed != Ok(ControlFlow::Continue(())) {
            if let Err(malformed) = fed {
                assert_eq!(malformed.at, index as u64);
            }
            stopped = Some((index + 1, fed));
            break;
        }
    }
    let fed = stopped.map_or(Ok(ControlFlow::Continue(())), |(_, fed)| fed);
    assert_eq!(
        single.outcome(fed),
        whole,
        "in single bytes: {}",
        json.escape_ascii()
    );
    for at in (0..=json.len()).step_by(step) {
        let (start, end) = json.split_at(at);
        let mut scan = scan();
        let expected = match stopped {
            Some((needed, fed)) if at >= needed => fed,
            _ => Ok(ControlFlow::Continue(())),
        };
        let first = scan.feed(start);
        assert_eq!(
            first,
            expected,
            "the first {at} bytes of {}",
            json.escape_ascii()
        );
        let fed = scan.feed(end);
        assert_eq!(
            scan.outcome(fed),
            whole,
            "cut at {at}: {}",
            json.escape_ascii()
        );
    }
}

/// What the visitor is told is the same in these pieces of `json`.
#[cfg(test)]
pub(super) fn is_scanned_alike_in<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    json: &[u8],
    budget: Option<usize>,
) {
    let cut = Scan::new(true, budget).of(pieces);
    assert_eq!(
        cut,
        Scan::new(true, budget).of([json]),
        "{}",
        json.escape_ascii()
    );
}

#[cfg(test)]
pub(super) fn is_json(json: &[u8]) -> bool {
    let (result, ..) = Scan::new(true, None).of([json]);
    result.is_ok()
}
