//! The fixed corpus of the web side's fuzz targets, run as plain tests.

use std::path::PathBuf;

#[path = "../../fuzz/checks_request.rs"]
mod checks_request;
#[path = "../../fuzz/checks_web.rs"]
mod checks_web;

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
fn the_corpus_of_headers_of_the_proxy_protocol_holds() {
    run_corpus("proxy_protocol", checks_web::proxy_protocol);
}

#[test]
fn the_corpus_of_forwarded_headers_holds() {
    run_corpus("forwarded", checks_web::forwarded);
}

#[test]
fn the_corpus_of_limits_files_holds() {
    run_corpus("limits_file", checks_web::limits_file);
}

#[test]
fn the_corpus_of_web_sockets_holds() {
    run_corpus("web_socket", checks_web::web_socket);
}

#[test]
fn the_corpus_of_http_2_holds() {
    run_corpus("http2", checks_web::http2);
}

#[test]
fn the_corpus_of_parameters_holds() {
    run_corpus("parameters", checks_request::parameters);
}

#[test]
fn the_corpus_of_credentials_holds() {
    run_corpus("credentials", checks_request::credentials);
}

#[test]
fn the_corpus_of_headers_of_tokens_holds() {
    run_corpus("token_header", checks_request::token_header);
}
