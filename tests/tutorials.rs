//! Follows docs/tutorials and docs/how-to to the letter: each command is run, each file is saved, each page is opened in a browser.

#[path = "tutorials/page.rs"]
mod page;
#[path = "tutorials/reader.rs"]
mod reader;
#[path = "tutorials/running.rs"]
mod running;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use page::Step;
use reader::Reader;
use support::kafka::Kafka;

/// The demo is enough for these, or nothing at all.
const TUTORIALS: [&str; 3] = ["tutorials/first-board.md", "tutorials/nginx.md", "tutorials/kubernetes.md"];
const HOW_TO: [&str; 4] = [
    "how-to/resume-over-a-reload.md",
    "how-to/filter-on-the-server.md",
    "how-to/many-tenants.md",
    "how-to/alert-on-lag.md",
];
/// This one needs a real Kafka.
const WITH_KAFKA: &str = "tutorials/your-kafka.md";
/// Blocks that no test can run, in all pages: a build, an image, a cluster.
const NOT_RUN: usize = 5;

async fn follow(page: &str, kafka: Option<u16>) {
    println!("=== {page}");
    let mut reader = Reader::new(kafka);
    for step in page::steps(page) {
        reader.follow(step).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorials_can_be_followed() {
    for page in TUTORIALS {
        follow(page, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_how_tos_can_be_followed() {
    for page in HOW_TO {
        follow(page, None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tutorial_with_kafka_can_be_followed() {
    let kafka = Kafka::start().await;
    let port = kafka.bootstrap().rsplit(':').next().and_then(|port| port.parse().ok());
    follow(WITH_KAFKA, port).await;
}

#[test]
fn every_page_is_followed_and_few_blocks_are_left_out() {
    let listed = TUTORIALS.iter().chain(&HOW_TO).chain([&WITH_KAFKA]);
    let listed: BTreeSet<String> = listed.map(|page| (*page).to_owned()).collect();
    let there: BTreeSet<String> = ["tutorials", "how-to"].into_iter().flat_map(pages).collect();
    assert_eq!(listed, there);
    let steps: Vec<Step> = listed.iter().flat_map(|page| page::steps(page)).collect();
    let left_out = steps.iter().filter(|step| matches!(step, Step::NotRun(_))).count();
    assert_eq!(left_out, NOT_RUN);
}

/// The pages of a folder of docs/.
fn pages(folder: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(folder);
    let entries = std::fs::read_dir(path).expect("a folder");
    entries
        .map(|entry| format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect()
}
