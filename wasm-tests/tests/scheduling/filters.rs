//! Who stays, filter by filter.

use endpoint_picker::{
    pool::Signal,
    scheduling::{
        Candidates, ContextLengthAware, Filter, LabelExpression, LabelOperator, LabelSelector,
        PrefixCacheAffinity, Role, RoleFilter, Utilization, UtilizationCondition,
        UtilizationMetric,
    },
};
use fastrand::Rng;
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    scene::Scene,
    support::{FRESHNESS, Server},
};

/// Which of `servers` stay for a prompt of ten blocks, of which each holds so many as `held` says.
fn stay(filter: &Filter, servers: &[Server], held: &[u32]) -> Vec<bool> {
    stay_by(filter, servers, held, &mut Rng::with_seed(1))
}

fn stay_by(filter: &Filter, servers: &[Server], held: &[u32], rng: &mut Rng) -> Vec<bool> {
    let scene = Scene::new(servers, 10);
    let positions: Vec<_> = (0..servers.len()).collect();
    let request = scene.request();
    let candidates = Candidates::new(scene.view(), &positions, held, FRESHNESS, request);
    let mut keep = Vec::new();
    filter.keep(candidates, rng, &mut keep);
    keep
}

fn labelled(value: &'static str) -> Server {
    Server::silent().label("label", value)
}

#[wasm_bindgen_test(unsupported = test)]
fn labels_are_selected_as_kubernetes_does() {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let servers = [
        labelled("a"),
        labelled("b"),
        labelled(""),
        Server::silent().label("other", "a"),
    ];
    let expression = |operator, values: &[&str]| LabelSelector {
        match_expressions: vec![LabelExpression {
            key: "label".to_owned(),
            operator,
            values: values.iter().map(ToString::to_string).collect(),
        }],
        ..LabelSelector::default()
    };
    let labels = |labels: &[(&str, &str)]| LabelSelector {
        match_labels: labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        ..LabelSelector::default()
    };
    let both = LabelSelector {
        match_expressions: expression(NotIn, &["a"]).match_expressions,
        ..labels(&[("label", "b")])
    };
    let contradiction = LabelSelector {
        match_expressions: expression(NotIn, &["b"]).match_expressions,
        ..labels(&[("label", "b")])
    };
    for (selector, expected) in [
        (LabelSelector::default(), [true, true, true, true]),
        (labels(&[("label", "a")]), [true, false, false, false]),
        (labels(&[("label", "")]), [false, false, true, false]),
        (labels(&[("label", "a"), ("other", "a")]), [false; 4]),
        (expression(In, &["a", "b"]), [true, true, false, false]),
        (expression(In, &["c"]), [false; 4]),
        (expression(NotIn, &["a", "c"]), [false, true, true, true]),
        (expression(Exists, &[]), [true, true, true, false]),
        (expression(DoesNotExist, &[]), [false, false, false, true]),
        (both, [false, true, false, false]),
        (contradiction, [false; 4]),
    ] {
        let filter = Filter::LabelSelector(selector);
        assert_eq!(stay(&filter, &servers, &[]), expected, "{filter:?}");
        assert!(!filter.falls_back());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn roles_are_those_of_the_label() {
    let cases = [
        // (label, prefills, decodes)
        (Some("prefill"), true, false),
        (Some("decode"), false, true),
        (Some("both"), true, true),
        (Some("prefill-decode"), true, true),
        (Some("decode,prefill"), true, true),
        (Some("prefill, decode"), true, true),
        (Some("encode-prefill"), true, false),
        (Some("encode-prefill-decode"), true, true),
        (Some("encode"), false, false),
        (Some("decoder"), false, false),
        (Some(""), false, false),
        (None, false, true),
    ];
    let servers = cases.map(|(label, ..)| label.map_or_else(Server::silent, labelled));
    let by_role = |role| {
        let label = "label".to_owned();
        stay(&Filter::Role(RoleFilter { label, role }), &servers, &[])
    };
    assert_eq!(
        by_role(Role::Prefill),
        cases.map(|(_, prefills, _)| prefills)
    );
    assert_eq!(by_role(Role::Decode), cases.map(|(.., decodes)| decodes));
}

fn utilization(conditions: &[(UtilizationMetric, f64)]) -> Filter {
    let condition = |&(metric, max_value)| UtilizationCondition { metric, max_value };
    Filter::Utilization(Utilization {
        conditions: conditions.iter().map(condition).collect(),
        fallback_on_empty: false,
    })
}

#[wasm_bindgen_test(unsupported = test)]
fn utilization_is_bounded_at_this_moment() {
    use UtilizationMetric::{ActiveRequests, KvCacheUtilization, RunningRequests, WaitingQueue};
    let waiting = |value| Server::told(Signal::WaitingRequests, value);
    let running = |value| Server::told(Signal::RunningRequests, value);
    let usage = |value| Server::told(Signal::KvCacheUsage, value);
    for (case, conditions, server, expected) in [
        (
            "at the bound",
            &[(WaitingQueue, 5.0)][..],
            waiting(5.0),
            true,
        ),
        ("beyond", &[(WaitingQueue, 5.0)], waiting(6.0), false),
        ("silent", &[(WaitingQueue, 5.0)], Server::silent(), false),
        (
            "not a number",
            &[(WaitingQueue, 5.0)],
            waiting(f64::NAN),
            false,
        ),
        (
            "told long ago",
            &[(WaitingQueue, 5.0)],
            Server::silent().told_long_ago(Signal::WaitingRequests, 0.0),
            false,
        ),
        (
            "more since",
            &[(WaitingQueue, 5.0)],
            waiting(4.0).in_flight(3, 0).at_scrape(1),
            false,
        ),
        (
            "fewer since",
            &[(WaitingQueue, 5.0)],
            waiting(7.0).in_flight(1, 0).at_scrape(3),
            true,
        ),
        ("running", &[(RunningRequests, 2.0)], running(2.0), true),
        (
            "more running",
            &[(RunningRequests, 2.0)],
            running(2.0).in_flight(1, 0),
            false,
        ),
        ("full", &[(KvCacheUtilization, 0.8)], usage(0.81), false),
        (
            "not full",
            &[(KvCacheUtilization, 0.8)],
            usage(0.8).in_flight(9, 900),
            true,
        ),
        (
            "active",
            &[(ActiveRequests, 1.0)],
            Server::silent().in_flight(1, 0),
            true,
        ),
        (
            "more active",
            &[(ActiveRequests, 1.0)],
            Server::silent().in_flight(2, 0),
            false,
        ),
        (
            "one of two",
            &[(WaitingQueue, 5.0), (KvCacheUtilization, 0.8)],
            waiting(0.0).tells(Signal::KvCacheUsage, 0.9),
            false,
        ),
        (
            "the other of two",
            &[(WaitingQueue, 5.0), (KvCacheUtilization, 0.8)],
            waiting(6.0).tells(Signal::KvCacheUsage, 0.1),
            false,
        ),
        (
            "both",
            &[(WaitingQueue, 5.0), (KvCacheUtilization, 0.8)],
            waiting(5.0).tells(Signal::KvCacheUsage, 0.1),
            true,
        ),
        ("no condition", &[], Server::silent(), true),
    ] {
        assert_eq!(
            stay(&utilization(conditions), &[server], &[]),
            [expected],
            "{case}"
        );
    }
}

fn affinity(max_ttft_penalty_ms: f64) -> PrefixCacheAffinity {
    PrefixCacheAffinity {
        peak_prefill_throughput: 1000.0,
        max_ttft_penalty_ms,
        ..PrefixCacheAffinity::default()
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn affinity_binds_to_those_that_hold_most_while_it_pays_off() {
    let filter = Filter::PrefixCacheAffinity(affinity(500.0));
    assert!(filter.falls_back() && filter.needs_prefixes());
    for (case, tokens, held, expected) in [
        (
            "from eight of ten on",
            [0, 0, 0],
            [8, 7, 10],
            [true, false, true],
        ),
        (
            "as long as the wait is no longer than the penalty",
            [500, 0, 0],
            [10, 0, 0],
            [true, false, false],
        ),
        (
            "no longer than that",
            [501, 0, 0],
            [10, 0, 0],
            [true, true, true],
        ),
        (
            "beyond the best of the others",
            [901, 400, 1000],
            [10, 0, 0],
            [true, true, true],
        ),
        (
            "by the best of those that hold it",
            [900, 0, 500],
            [10, 0, 10],
            [true, false, true],
        ),
        (
            "where the others wait longer",
            [0, 9000, 9000],
            [10, 0, 0],
            [true, false, false],
        ),
        (
            "unless there are no others",
            [9000, 0, 1],
            [10, 10, 10],
            [true, true, true],
        ),
        (
            "who holds too little",
            [0, 0, 0],
            [7, 7, 0],
            [true, true, true],
        ),
    ] {
        let servers = tokens.map(|tokens| Server::silent().in_flight(1, tokens));
        assert_eq!(stay(&filter, &servers, &held), expected, "{case}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn exploration_is_by_chance() {
    let servers = [Server::silent(), Server::silent()];
    let mut rng = Rng::with_seed(5);
    for (exploration_probability, expected) in [(0.0, 0..=0), (0.25, 200..=300), (1.0, 1000..=1000)]
    {
        let filter = Filter::PrefixCacheAffinity(PrefixCacheAffinity {
            exploration_probability,
            ..affinity(0.0)
        });
        let free = (0..1000).filter(|_| {
            let stay = stay_by(&filter, &servers, &[10, 0], &mut rng);
            assert!(stay[0]);
            stay[1]
        });
        assert!(
            expected.contains(&free.count()),
            "{exploration_probability}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn context_lengths_are_those_of_the_label() {
    // Of ten blocks of 64 tokens, which are 640.
    let cases = [
        ("0-639", false),
        ("0-640", true),
        ("640-640", true),
        ("641-9000", false),
        ("9000-0", false),
        ("many", false),
        ("", false),
    ];
    let servers = cases.map(|(label, _)| labelled(label));
    let filter = Filter::ContextLengthAware(ContextLengthAware {
        label: "label".to_owned(),
    });
    assert!(filter.falls_back());
    assert_eq!(stay(&filter, &servers, &[]), cases.map(|(_, stays)| stays));
    assert_eq!(stay(&filter, &[Server::silent()], &[]), [true]);
}
