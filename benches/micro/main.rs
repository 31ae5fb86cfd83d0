//! What the core's parts cost, one by one: `scripts/bench micro`.
//!
//! The same code natively and, for `wasm32-wasip1`, inside a Wasm VM. Inputs are real where there
//! are any, and generated from fixed seeds where there are none.

mod chat;
mod exposition;
mod pool;
mod prefix;
mod request;
mod scheduling;

use std::error::Error;

use criterion::Criterion;

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    exposition::bench(&mut criterion)?;
    request::bench(&mut criterion)?;
    prefix::bench(&mut criterion)?;
    scheduling::bench(&mut criterion);
    pool::bench(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
