//! Pickers, checked.

use crate::scheduling::Picker;

/// The picker called `name`, here or by the Endpoint Picker.
pub(in crate::config) fn picker(name: &str) -> Option<Picker> {
    let name = name.strip_suffix("-picker").unwrap_or(name);
    Picker::ALL.into_iter().find(|picker| picker.name() == name)
}

/// The names of all of them.
pub(super) fn names() -> String {
    Picker::ALL.map(Picker::name).join(", ")
}
