//! The reader of bodies against one that has the whole of one as a tree.

use core::ops::Range;

use endpoint_picker::request::{Api, Malformed, Progress, RequestReader};

use super::{
    naive::{Found, naive},
    scanning::Oracle,
};

struct Reading {
    result: Result<Progress, Malformed>,
    found: Found,
    span: Option<Range<u64>>,
}

fn read<'a>(api: Api, prefix: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut reader = RequestReader::new(api, prefix);
    let mut result = Ok(Progress::More);
    for piece in pieces {
        result = reader.feed(piece);
    }
    let result = result.and_then(|progress| reader.finish().map(|()| progress));
    let request = reader.request();
    Reading {
        result,
        found: request.into(),
        span: request.model.as_ref().map(|model| model.span.clone()),
    }
}

/// The whole body is read as the tree of it is.
pub(super) fn is_read_as_its_tree(api: Api, body: &[u8]) {
    let tree = serde_json::from_slice(body);
    let Reading {
        result,
        found,
        span,
    } = read(api, usize::MAX, [body]);
    match tree {
        Ok(Oracle(tree)) => {
            assert_eq!(result, Ok(Progress::More), "{}", body.escape_ascii());
            let (mut expected, is_known) = naive(api, &tree);
            if !is_known {
                expected.blocks.clone_from(&found.blocks);
            }
            assert_eq!(found, expected, "{api:?} {}", body.escape_ascii());
            if let Some(model) = &found.model {
                let literal =
                    span.and_then(|span| body.get(span.start as usize..span.end as usize));
                let name = literal.map(serde_json::from_slice);
                assert!(name.is_some_and(|name| name.is_ok_and(|name: String| name == *model)));
            }
        }
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(_) => assert!(result.is_err(), "{}", body.escape_ascii()),
    }
}

/// It is read alike in one piece, in single bytes, and in two pieces cut at every `step`th byte; and it
/// is enough at the same byte.
pub(super) fn is_read_alike_in_pieces(api: Api, prefix: usize, body: &[u8], step: usize) {
    let whole = read(api, prefix, [body]);
    let mut single = RequestReader::new(api, prefix);
    let mut enough = usize::MAX;
    for (index, byte) in body.iter().enumerate() {
        match single.feed(&[*byte]) {
            Ok(Progress::More) => {}
            Ok(Progress::Enough) => {
                enough = index + 1;
                break;
            }
            Err(_) => break,
        }
    }
    // A number may be at the end, which only that tells.
    let _ = single.finish();
    assert_eq!(
        Found::from(single.request()),
        whole.found,
        "{}",
        body.escape_ascii()
    );
    let is_enough = whole.result == Ok(Progress::Enough);
    assert_eq!(
        enough < usize::MAX,
        is_enough,
        "{:?} {}",
        whole.result,
        body.escape_ascii()
    );
    for at in (0..=body.len()).step_by(step) {
        let (start, end) = body.split_at(at);
        let cut = read(api, prefix, [start, end]);
        let what = || format!("{api:?} cut at {at}: {}", body.escape_ascii());
        assert_eq!(cut.result, whole.result, "{}", what());
        assert_eq!(cut.found, whole.found, "{}", what());
        assert_eq!(cut.span, whole.span, "{}", what());
        let first = RequestReader::new(api, prefix).feed(start);
        assert_eq!(first == Ok(Progress::Enough), at >= enough, "{}", what());
    }
}
