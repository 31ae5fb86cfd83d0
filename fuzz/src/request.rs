//! Bodies of requests, cut anywhere: JSON as `serde_json` has it, and what is found in them.

mod naive;
mod reading;
mod scanning;

#[cfg(test)]
mod generated;

use endpoint_picker::request::Api;

const APIS: [Api; 9] = [
    Api::ChatCompletions,
    Api::Completions,
    Api::Responses,
    Api::Embeddings,
    Api::Rerank,
    Api::Score,
    Api::Messages,
    Api::VllmGenerate,
    Api::SglangGenerate,
];

/// Scans and reads `body`, by an API and with other choices that follow from its length: as
/// `serde_json` and a naive reader of its tree do, whole and in any two pieces.
pub fn request(body: &[u8]) {
    let length = body.len();
    let step = length / 64 + 1;
    scanning::is_scanned_as_serde_json_does(body);
    scanning::is_scanned_alike_in_pieces(body, length.is_multiple_of(2), None, step);
    scanning::is_scanned_alike_in_pieces(body, true, Some(length / 3 + 1), step);
    for &api in APIS.iter().cycle().skip(length % APIS.len()).take(2) {
        reading::is_read_as_its_tree(api, body);
        reading::is_read_alike_in_pieces(api, usize::MAX, body, step);
        reading::is_read_alike_in_pieces(api, length / 2, body, step);
    }
}
