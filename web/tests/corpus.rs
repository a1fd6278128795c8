//! The fuzz targets' fixed corpus, run as plain tests.

use std::path::PathBuf;

#[path = "../../fuzz/web_checks.rs"]
mod web_checks;

#[test]
fn the_corpus_of_limits_files_holds() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/limits_file");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is there") {
        let path = entry.expect("an entry").path();
        web_checks::limits_file(
            &std::fs::read(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display())),
        );
        count += 1;
    }
    assert!(count >= 8, "only {count} inputs in {}", folder.display());
}
