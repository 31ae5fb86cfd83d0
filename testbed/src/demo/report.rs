//! What the demo prints, for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use testbed::{client::Reply, decision::Decision};

use super::stage::{Server, Stage};

/// A routed inference request: what the model servers reported, what they scored, and where the
/// request arrived.
pub(super) fn scored(
    decision: &Decision,
    servers: &BTreeMap<SocketAddr, Server>,
    arrived: SocketAddr,
    reply: &Reply,
) -> String {
    format!(
        "   model {}\n\n{}\n   It arrived at {arrived}, which answered {}{}.",
        model(decision),
        table(decision, servers),
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

/// One line for each candidate: its engine and load if they are known, its scores, their weighted
/// sum.
fn table(decision: &Decision, servers: &BTreeMap<SocketAddr, Server>) -> String {
    let candidates = &decision.candidates;
    let scorers: BTreeSet<&str> = candidates
        .iter()
        .flat_map(|it| it.scores.keys())
        .map(String::as_str)
        .collect();
    let show_servers = !servers.is_empty();

    let mut rows = vec![header(&scorers, show_servers)];
    for candidate in candidates {
        let mut row = vec![candidate.endpoint.to_string()];
        if show_servers {
            row.extend(server_cells(servers.get(&candidate.endpoint)));
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
    align(&rows, 1 + usize::from(show_servers))
}

fn header(scorers: &BTreeSet<&str>, show_servers: bool) -> Vec<String> {
    let server: &[&str] = if show_servers {
        &["engine", "waiting", "running", "KV used"]
    } else {
        &[]
    };
    let mut row = vec!["model server".to_owned()];
    row.extend(server.iter().map(|&name| name.to_owned()));
    row.extend(scorers.iter().map(|&scorer| scorer.to_owned()));
    row.extend(["total".to_owned(), String::new()]);
    row
}

fn server_cells(server: Option<&Server>) -> [String; 4] {
    server.map_or([const { String::new() }; 4], |Server { engine, load }| {
        [
            (*engine).to_owned(),
            load.waiting.to_string(),
            load.running.to_string(),
            format!("{:.0} %", load.kv_cache_usage * 100.0),
        ]
    })
}

/// Columns as wide as their widest cell: the first `texts` and the last to the left, the others,
/// which are numbers, to the right.
fn align(rows: &[Vec<String>], texts: usize) -> String {
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
                if column < texts || column + 1 == columns {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        format!("   {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
