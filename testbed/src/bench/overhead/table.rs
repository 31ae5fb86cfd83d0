//! The results as a person reads them.

use comfy_table::Table;

use super::{
    bound::{self, Bound, Limit},
    results::{BodyResult, Results, SaturationResult},
    statistics::Repeated,
    variant::Variant,
};
use crate::bench::table::{aligned, table};

/// The least share of a core at which Envoy's worker counts as busy without a pause.
const SATURATED: f64 = 0.95;

/// The share of a core that other programs may take before it is said.
const DISTURBED: f64 = 0.2;

/// How late a client may be before it is said.
const LATE_MICROS: f64 = 1_000.0;

/// All tables, one below the other, as Markdown.
pub(super) fn text(results: &Results, bounds: &[Bound]) -> String {
    let mut parts = vec![
        format!(
            "Saturation: {} endpoints, medians of {} repeats of {} s. Ratios within a repeat, (least..greatest).\n\
             worker us/req: processor time of Envoy's only worker; by cost: bare Envoy's of that, the ratio to bare on \
             a machine of its own. After it: what threads were busy, in shares of a core.\n{}",
            results.pool,
            results.repeats,
            results.window,
            saturation(
                results
                    .bodies
                    .iter()
                    .map(|it| (it.body.to_string(), it.saturation.as_slice())),
                "body"
            ),
        ),
        format!(
            "Latency in us, at half of what the slowest variant takes; added to bare Envoy's.\n{}",
            latency(&results.bodies)
        ),
    ];
    if !results.pools.is_empty() {
        let pools = results
            .pools
            .iter()
            .map(|it| (it.endpoints.to_string(), it.saturation.as_slice()));
        parts.push(format!(
            "Saturation by endpoints, 1k\n{}",
            saturation(pools, "endpoints")
        ));
    }
    if !results.memory.is_empty() {
        parts.push(format!(
            "Linear memory of each VM, largest first, after each body in this order\n{}",
            memory(results)
        ));
    }
    if let Some(it) = &results.scraping {
        parts.push(format!(
            "Scraping {} endpoints ({:.0} scrapes/s) without requests, over {:.0} s: {} of a core, bare Envoy {}",
            it.endpoints,
            it.scrapes,
            it.window,
            percent(it.with),
            percent(it.without)
        ));
    }
    parts.push(format!("Bounds\n{}", against_bounds(bounds)));
    let doubts = doubts(results);
    if !doubts.is_empty() {
        parts.push(format!("Doubts\n{}", doubts.join("\n")));
    }
    parts.join("\n\n")
}

fn saturation<'results>(
    rows: impl Iterator<Item = (String, &'results [SaturationResult])>,
    what: &str,
) -> Table {
    let mut table = table(&[
        what,
        "variant",
        "req/s",
        "to bare",
        "to ext_proc",
        "worker us/req",
        "by cost",
        "worker",
        "main",
        "ext_proc",
        "backend",
        "client",
    ]);
    for (name, variants) in rows {
        for it in variants {
            let busy = it.busy;
            table.add_row([
                name.clone(),
                it.variant.name().to_owned(),
                format!("{:.0}", it.rate.median),
                ratio(it.to_bare),
                ratio(it.to_ext_proc),
                format!("{:.1}", it.worker_micros.median),
                ratio(it.to_bare_by_cost),
                percent(busy.worker),
                percent(busy.main),
                percent(busy.ext_proc),
                percent(busy.backend),
                percent(busy.client),
            ]);
        }
    }
    aligned(table, 2)
}

fn latency(bodies: &[BodyResult]) -> Table {
    let mut table = table(&[
        "body",
        "req/s",
        "variant",
        "p50",
        "p99",
        "added p50",
        "added p99",
    ]);
    for body in bodies {
        for it in &body.latency {
            table.add_row([
                body.body.to_string(),
                format!("{:.0}", body.latency_rate),
                it.variant.name().to_owned(),
                format!("{:.0}", it.p50.median),
                format!("{:.0}", it.p99.median),
                added(it.added_p50),
                added(it.added_p99),
            ]);
        }
    }
    aligned(table, 3)
}

fn memory(results: &Results) -> Table {
    let mut table = table(&[
        "body",
        "endpoints",
        "linear memories, MiB",
        "Envoy RSS, MiB",
    ]);
    for it in &results.memory {
        let memories: Vec<String> = it
            .linear_memories
            .iter()
            .map(|bytes| format!("{:.1}", bound::mebibytes(*bytes)))
            .collect();
        table.add_row([
            it.body.to_string(),
            it.endpoints.to_string(),
            memories.join(", "),
            format!("{:.0}", bound::mebibytes(it.resident)),
        ]);
    }
    aligned(table, 1)
}

fn against_bounds(bounds: &[Bound]) -> Table {
    let mut table = table(&["what", "bound", "measured", "", "by cost"]);
    for it in bounds {
        let limit = match it.limit {
            Limit::AtLeast(least) => format!(">= {least}"),
            Limit::AtMost(most) => format!("<= {most}"),
        };
        table.add_row([
            it.what.clone(),
            limit,
            format!("{:.2} {}", it.measured, it.unit),
            if it.met { "met" } else { "NOT MET" }.to_owned(),
            it.by_cost.map_or_else(String::new, |it| format!("{it:.2}")),
        ]);
    }
    table
}

/// What casts doubt on the numbers.
fn doubts(results: &Results) -> Vec<String> {
    let bodies = results
        .bodies
        .iter()
        .map(|it| (it.body.to_string(), &it.saturation));
    let pools = results
        .pools
        .iter()
        .map(|it| (format!("1k, {} endpoints", it.endpoints), &it.saturation));
    let mut doubts = Vec::new();
    let mut others: f64 = 0.0;
    for (what, variants) in bodies.chain(pools) {
        for it in variants {
            let busy = it.busy;
            others = others.max(busy.others);
            // Behind ext_proc the worker may wait for the server; that is part of what it costs.
            let idle = it.variant != Variant::ExtProc && busy.worker < SATURATED;
            if idle && busy.others <= DISTURBED {
                doubts.push(format!(
                    "- {what}, {}: Envoy's worker was busy {} only, so something else was the limit; \
                     client {}, backend {}",
                    it.variant.name(),
                    percent(busy.worker),
                    percent(busy.client),
                    percent(busy.backend),
                ));
            }
        }
    }
    if others > DISTURBED {
        doubts.push(format!(
            "- other programs took up to {} of a core at saturation: throughputs and latencies are those of \
             a disturbed machine; costs of the worker, and ratios by cost, hold best",
            percent(others)
        ));
    }
    let late = results
        .bodies
        .iter()
        .flat_map(|it| &it.latency)
        .map(|it| it.lag_p99.median)
        .fold(0.0, f64::max);
    if late > LATE_MICROS {
        doubts.push(format!(
            "- the client was late with 1 % of its requests, by {late:.0} us where it was worst; that is part \
             of their latencies"
        ));
    }
    doubts
}

fn ratio(ratio: Option<Repeated>) -> String {
    ratio.map_or_else(String::new, |it| {
        format!("{:.2} ({:.2}..{:.2})", it.median, it.min, it.max)
    })
}

fn added(added: Option<Repeated>) -> String {
    added.map_or_else(String::new, |it| {
        format!("{:+.0} ({:+.0}..{:+.0})", it.median, it.min, it.max)
    })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
