//! The fuzz targets' fixed corpus, run as plain tests.

use std::path::PathBuf;

#[path = "../../fuzz/checks.rs"]
mod checks;

fn run_corpus(target: &str, check: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("an entry").path();
        check(&std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display())));
        count += 1;
    }
    assert!(count >= 8, "only {count} inputs in {}", folder.display());
}

#[test]
fn the_corpus_of_event_ids_holds() {
    run_corpus("event_id", checks::event_id);
}

#[test]
fn the_corpus_of_filters_holds() {
    run_corpus("filter", checks::filter);
}

#[test]
fn the_corpus_of_sealed_ids_holds() {
    run_corpus("sealed_id", checks::sealed_id);
}

#[test]
fn the_corpus_of_masks_holds() {
    run_corpus("mask", checks::mask);
}

#[test]
fn ids_from_another_encoder_are_read() {
    // Written byte by byte from the layout, by a script that shares no code with the encoder.
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/event_id");
    for (name, positions) in [
        ("empty-vector", 0),
        ("no-partitions", 0),
        ("one-partition", 1),
        ("twelve-partitions", 12),
        ("two-incarnations", 4),
        ("uneven-epochs", 3),
        ("pinned", 2),
    ] {
        let text = std::fs::read_to_string(folder.join(name)).expect("the corpus is there");
        let id: tailrace_bridge::EventId = text.parse().unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(
            id.vector.parts.iter().map(|part| part.positions.len()).sum::<usize>(),
            positions,
            "{name}"
        );
    }
}
