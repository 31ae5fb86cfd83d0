//! What libFuzzer starts from: the corpus, and what real servers and clients write.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Calls `target` with every file of `folder`, which is relative to this crate.
fn replay(folder: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(&folder).expect("a folder");
    let files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    assert!(!files.is_empty(), "{}", folder.display());
    for file in files {
        println!("{}", file.display());
        target(&fs::read(&file).expect("a file that can be read"));
    }
}

#[test]
fn expositions() {
    replay("corpus/exposition", crate::exposition);
    replay("corpus/metrics", crate::exposition);
    replay("../fixtures/metrics", crate::exposition);
}

#[test]
fn metrics() {
    replay("corpus/metrics", crate::metrics);
    replay("corpus/exposition", crate::metrics);
    replay("../fixtures/metrics", crate::metrics);
}

#[test]
fn expressions() {
    replay("corpus/expression", crate::expression);
}

#[test]
fn requests() {
    replay("../fixtures/requests", crate::request);
}
