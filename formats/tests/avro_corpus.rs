//! The fixed corpus of Avro's fuzz targets, run as plain tests.

use std::path::PathBuf;

#[path = "../../fuzz/checks_avro.rs"]
mod checks_avro;

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
fn the_corpus_of_bytes_holds() {
    run_corpus("avro_bytes", checks_avro::avro_bytes);
}

#[test]
fn the_corpus_of_schemas_holds() {
    run_corpus("avro_schema", checks_avro::avro_schema);
}
