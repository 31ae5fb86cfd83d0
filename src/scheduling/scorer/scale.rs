//! From values of any unit to scores.

/// Where `value` lies between `worst` (0) and `best` (1), what is beyond them at them. If they are
/// one, nothing sets the candidates apart: 1.
pub(super) fn between(worst: f64, best: f64, value: f64) -> f64 {
    // By halves: the difference of two finite numbers may be infinite.
    let (offset, width) = (value / 2.0 - worst / 2.0, best / 2.0 - worst / 2.0);
    if width == 0.0 {
        return 1.0;
    }
    (offset / width).clamp(0.0, 1.0)
}

/// The least and the greatest of `values`; `None` if there is none.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (least, greatest) = range.unwrap_or((value, value));
        Some((lesser(value, least), greater(value, greatest)))
    })
}

/// The lesser of two numbers. What `f64::min` does for NaN costs the call of a function in Wasm.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    if a < b { a } else { b }
}

/// The greater of two numbers, as [`lesser`].
pub(super) fn greater(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}
