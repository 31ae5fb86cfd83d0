//! Tables of a report: Markdown that is aligned, to be read as text too.

use comfy_table::{CellAlignment, Table, presets};

/// A table without rows.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .set_header(header.iter().copied());
    table
}

/// Numbers to the right; the first `names` columns are none.
pub(crate) fn aligned(mut table: Table, names: usize) -> Table {
    for column in table.column_iter_mut().skip(names) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
