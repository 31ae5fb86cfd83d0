//! What the demo prints, for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use testbed::{client::Reply, decision::Decision, model_server::Load};

use super::stage::Stage;

/// A routed inference request: what the model servers reported, what they scored, and where the
/// request arrived.
pub(super) fn scored(
    decision: &Decision,
    loads: &BTreeMap<SocketAddr, Load>,
    arrived: SocketAddr,
    reply: &Reply,
) -> String {
    format!(
        "   model {}\n\n{}\n   It arrived at {arrived}, which answered {}{}.",
        model(decision),
        table(decision, loads),
        reply.status.as_u16(),
        if decision.stream {
            " as a stream of events"
        } else {
            ""
        },
    )
}

/// A request that was routed without scores.
pub(super) fn unscored(arrived: SocketAddr) -> String {
    format!("   It arrived at {arrived}.")
}

/// A decision on a request of somebody else.
pub(super) fn decided(decision: &Decision) -> String {
    let id = decision.request_id.as_deref().unwrap_or("without id");
    format!(
        "Request {id}\n   model {}\n\n{}",
        model(decision),
        table(decision, &BTreeMap::new())
    )
}

/// What to try while the demo runs.
pub(super) fn invitation<S: Stage>(stage: &S) -> String {
    format!(
        r#"
Everything keeps running. Try it; the decision on each of your requests is shown here:

  curl -i {} -H 'content-type: application/json' \
    -d '{{"model": "{}", "messages": [{{"role": "user", "content": "Hi"}}]}}'

{} Ctrl-C stops everything."#,
        stage.envoy().url("/v1/chat/completions"),
        S::MODEL,
        S::WHERE,
    )
}

fn model(decision: &Decision) -> &str {
    decision.model.as_deref().unwrap_or("not named")
}

/// One line for each candidate: its load if that is known, its scores, their weighted sum.
fn table(decision: &Decision, loads: &BTreeMap<SocketAddr, Load>) -> String {
    let candidates = &decision.candidates;
    let scorers: BTreeSet<&str> = candidates
        .iter()
        .flat_map(|it| it.scores.keys())
        .map(String::as_str)
        .collect();
    let show_loads = !loads.is_empty();

    let mut rows = vec![header(&scorers, show_loads)];
    for candidate in candidates {
        let mut row = vec![candidate.endpoint.to_string()];
        if show_loads {
            row.extend(load_cells(loads.get(&candidate.endpoint)));
        }
        let score = |scorer: &&str| {
            candidate
                .scores
                .get(*scorer)
                .map_or("-".to_owned(), |score| format!("{score:.2}"))
        };
        row.extend(scorers.iter().map(score));
        row.push(format!("{:.2}", candidate.total));
        row.push(if candidate.endpoint == decision.endpoint {
            "<- picked".to_owned()
        } else {
            String::new()
        });
        rows.push(row);
    }
    align(&rows)
}

fn header(scorers: &BTreeSet<&str>, show_loads: bool) -> Vec<String> {
    let loads: &[&str] = if show_loads {
        &["waiting", "running", "KV used"]
    } else {
        &[]
    };
    let mut row = vec!["model server".to_owned()];
    row.extend(loads.iter().map(|&name| name.to_owned()));
    row.extend(scorers.iter().map(|&scorer| scorer.to_owned()));
    row.extend(["total".to_owned(), String::new()]);
    row
}

fn load_cells(load: Option<&Load>) -> [String; 3] {
    load.map_or([const { String::new() }; 3], |load| {
        let used = format!("{:.0} %", load.kv_cache_usage * 100.0);
        [load.waiting.to_string(), load.running.to_string(), used]
    })
}

/// Columns as wide as their widest cell: the first and the last to the left, the others, which are
/// numbers, to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(String::len)
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                if column == 0 || column + 1 == columns {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        format!("   {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
