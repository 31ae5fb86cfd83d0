//! Expositions, against the naive reading.

use endpoint_picker::exposition::{
    FamilySet, InvalidLine, Line, MetricType, Sample, parse_line, samples,
};

use crate::naive;

/// Families asked for: common ones, one of each size class of the set's filter by length, and
/// those of a real exposition which have many series, odd labels, or a name that begins others.
pub(crate) const WANTED: [&str; 9] = [
    "a",
    "up",
    "a:b_total",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:cache_config_info",
    "vllm:lora_requests_info",
    "vllm:e2e_request_latency_seconds_bucket",
    "a_name_that_is_longer_than_the_127_bytes_which_the_filter_by_length_of_a_set_of_families_tells_apart_and_so_is_only_found_by_its_hash",
];

/// Reads `text` line by line and as a whole, and compares both with the naive reading.
pub fn exposition(text: &[u8]) {
    for line in text.split(|&byte| byte == b'\n') {
        assert_eq!(
            plain(parse_line(line)),
            naive::line(line),
            "what is parsed, and what it is naively: {}",
            line.escape_ascii()
        );
    }

    let mut families = FamilySet::default();
    let ids = WANTED.map(|family| families.insert(family));
    let found: Vec<_> = samples(text, &families)
        .flatten()
        .map(|(id, sample)| {
            let asked = WANTED.iter().zip(ids).find(|(_, other)| *other == id);
            assert_eq!(asked.map(|(family, _)| *family), Some(sample.family));
            plain_sample(&sample)
        })
        .collect();
    assert_eq!(
        found,
        naive::samples(text, &WANTED),
        "what is found, and what is there naively"
    );
}

/// What the parser reads, as the naive reading would say it.
fn plain(line: Result<Line<'_>, InvalidLine>) -> naive::Line {
    match line {
        Ok(Line::Blank) => naive::Line::Blank,
        Ok(Line::Comment) => naive::Line::Comment,
        Ok(Line::Help { family, text }) => naive::Line::Help {
            family: family.to_owned(),
            text: text.to_owned(),
        },
        Ok(Line::Type {
            family,
            metric_type,
        }) => naive::Line::Type {
            family: family.to_owned(),
            metric_type: match metric_type {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
                MetricType::Summary => "summary",
                MetricType::Untyped => "untyped",
            },
        },
        Ok(Line::Sample(sample)) => naive::Line::Sample(plain_sample(&sample)),
        Err(InvalidLine) => naive::Line::Invalid,
    }
}

fn plain_sample(sample: &Sample<'_>) -> naive::Sample {
    let labels = sample.labels.iter();
    naive::Sample {
        family: sample.family.to_owned(),
        labels: labels
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        value: sample.value,
        timestamp: sample.timestamp,
    }
}
