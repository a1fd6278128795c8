//! Mistaken settings, each with its exact answer: `mistakes.txt` has both, and is read as a whole.
//!
//! A line that begins with `$` is a start of the program: variables on top of the least that a server starts with (`-NAME`
//! takes one away), then the command line. Under it stand what the program says and how it ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TABLE: &str = include_str!("mistakes.txt");
/// The least that the table is to hold.
const LEAST_MISTAKES: usize = 60;

/// A mistake is told at once; who still runs then has taken it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The least that a server starts with, on ports of the system's choice.
const LEAST: [(&str, &str); 6] = [
    ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
    ("TAILRACE_TOPICS", "orders"),
    ("TAILRACE_TENANT_FROM", "none"),
    ("TAILRACE_AUTH", "none"),
    ("TAILRACE_LISTEN", "127.0.0.1:0"),
    ("TAILRACE_ADMIN_LISTEN", "127.0.0.1:0"),
];

/// What the program says of a line of the table, and its exit code.
fn answer(line: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tailrace"));
    command.env_clear().envs(LEAST);
    for word in line.split_whitespace() {
        // A space within a value is written as an underlined one.
        let word = word.replace('␣', " ");
        match (word.strip_prefix('-'), word.split_once('=')) {
            _ if word == "tailrace" => {}
            (Some("all"), _) => drop(command.env_clear()),
            (Some(name), _) if name.starts_with("TAILRACE_") => drop(command.env_remove(name)),
            (None, Some((name, value))) if name.starts_with("TAILRACE_") => drop(command.env(name, value)),
            _ => drop(command.arg(word)),
        }
    }
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program can be started");
    let until = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child can be looked at").is_none() {
        if Instant::now() >= until {
            child.kill().expect("a child can be killed");
            let _ = child.wait();
            return "it starts".to_owned();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("its output can be read");
    assert!(output.stdout.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    format!("{}exit {}", said, output.status.code().expect("it ends by itself"))
}

#[test]
fn every_mistake_gets_the_answer_of_the_table() {
    let questions = TABLE.lines().filter_map(|line| line.strip_prefix("$ "));
    let table: Vec<String> = questions.map(|line| format!("$ {line}\n{}\n", answer(line))).collect();
    assert!(table.len() >= LEAST_MISTAKES, "{} mistakes", table.len());
    let table = table.join("\n");
    let differ = table.lines().zip(TABLE.lines()).find(|(now, then)| now != then);
    if let Some((now, then)) = differ {
        panic!("the table has\n{then}\nthe program says\n{now}\n\nthe whole table would be:\n{table}");
    }
    assert_eq!(table, TABLE);
}
