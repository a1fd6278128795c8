//! The boards of the demo in a real browser: every button at three widths, light or dark, three cuts each; and what they
//! do when the demo goes away and comes back as another one.

mod support;

use serde_json::{Value, json};
use support::demo::Demo;
use support::script::Script;
use tokio::sync::Mutex;

/// Two browsers at a time would take the time from each other that pages are measured by.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
const BOARDS: [&str; 4] = ["orders", "metrics", "logs", "notifications"];
/// Each width, and each scheme: all six pairs would take minutes.
const LOOKS: [(u64, &str); 3] = [(1400, "light"), (768, "dark"), (390, "light")];
/// As tests/browser/boards.mjs cuts.
const CUTS: u64 = 3;
/// From the navigation to the first card, curve, line or notification.
const FIRST_MS: f64 = 3000.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_board_proves_at_every_width_that_cuts_do_no_harm() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let demo = Demo::start(&[]).await;
    let mut firsts = Vec::new();
    for (width, scheme) in LOOKS {
        let seen = look(&demo, &format!("{width} {scheme}")).await;
        println!("{width} pixels, {scheme}: {seen}");
        firsts.extend(BOARDS.iter().map(|board| check(board, &seen[board])));
    }
    demo.stop().await;
    firsts.sort_by(f64::total_cmp);
    println!("first contents, in ms: {firsts:.0?}");
    // The middle one: a machine that is busy for a while adds to some of them.
    let first = firsts[firsts.len() / 2];
    assert!(first <= FIRST_MS, "the first content came after {first} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_outlives_the_demo_its_own_absence_and_a_lost_network() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let demo = Demo::start(&[]).await;
    let port = demo.port;
    let mut script = Script::start("away.mjs", port);
    assert_eq!(script.line().await, "live");
    demo.stop().await;
    assert_eq!(script.line().await, "waiting");
    let demo = Demo::start_at(port, &[]).await;
    let seen = json_line(&mut script).await;
    script.end().await;
    demo.stop().await;
    assert_eq!(seen, json!({ "complaints": [] }));
}

async fn look(demo: &Demo, what: &str) -> Value {
    let mut script = Script::start("boards.mjs", demo.port);
    script.tell(what).await;
    let seen = json_line(&mut script).await;
    script.end().await;
    seen
}

/// Checks what was seen of a board, and returns the time until its first content, in milliseconds.
fn check(board: &str, seen: &Value) -> f64 {
    let compared = seen["compared"].as_u64().expect("a count");
    let first = seen["first"].as_f64().expect("a time");
    assert!(compared > 0, "{board}: {seen}");
    let expected = json!({
        "cuts": CUTS, "lost": 0, "repeated": 0, "verdict": format!("{CUTS} cuts, N compared, all there once"),
        "complaints": [],
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(seen[name], *value, "{board}: {seen}");
    }
    first
}

async fn json_line(script: &mut Script) -> Value {
    serde_json::from_str(&script.line().await).expect("a line of JSON")
}
