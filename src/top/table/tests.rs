use std::time::Instant;

use super::*;

fn report(events: u64, subject: &str, at: Instant) -> Report {
    let tenant = Tenant {
        tenant: "acme".to_owned(),
        streams: 1,
        replaying: 0,
        lagging: 1,
        behind: 7,
        events,
        bytes: events * 1024,
    };
    let stream = Stream {
        id: "0123456789abcdef".to_owned(),
        tenant: "acme".to_owned(),
        subject: Some(subject.to_owned()),
        address: "10.0.0.1".to_owned(),
        topics: Vec::new(),
        state: "lagging".to_owned(),
        behind: 7,
        waits_ms: Some(61_000),
        events,
        bytes: events * 1024,
        since: "2024-01-01T00:00:00Z".to_owned(),
    };
    Report {
        tenants: List { first: vec![tenant], total: 1 },
        streams: List { first: vec![stream], total: 3 },
        at,
    }
}

#[test]
fn a_page_has_both_tables_and_what_came_a_second() {
    let begin = Instant::now();
    let (before, now) = (report(100, "ann", begin), report(300, "ann", begin + Duration::from_secs(2)));
    let page = page(&now, Some(&before), "127.0.0.1:9464", Sort::Behind);
    let lines: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(
        page.starts_with(
            "tailrace 127.0.0.1:9464   1 tenants, 3 streams: 1 lagging, 0 replaying   by behind\n"
        )
    );
    assert_eq!(lines[3][..7], ["acme", "1", "1", "0", "7", "100.0", "100.0"]);
    assert_eq!(
        lines[6][..9],
        ["0123456789abcdef", "acme", "ann", "10.0.0.1", "lagging", "all", "7", "1:01", "min"]
    );
    assert_eq!(page.lines().last(), Some("… and 2 streams more"));
}

#[test]
fn without_an_earlier_report_and_after_a_fall_there_is_no_rate() {
    let begin = Instant::now();
    let now = report(100, "ann", begin + Duration::from_secs(2));
    let rates = Rates::between(None, &now);
    assert_eq!(rates.of("tenant acme", 100, 100).0, "–");
    let rates = Rates::between(Some(&report(300, "ann", begin)), &now);
    assert_eq!(rates.of("tenant acme", 100, 100 * 1024).0, "–");
}

/// A subject is what the issuer of tokens lets users choose.
#[test]
fn a_name_that_would_drive_the_terminal_is_only_shown() {
    let page = page(
        &report(1, "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\nroot", Instant::now()),
        None,
        "x",
        Sort::Since,
    );
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    assert!(!page.contains('\u{202e}'));
    assert_eq!(page.lines().count(), 8);
    assert_eq!(name(&"é".repeat(100)).chars().count(), MAX_NAME + 1);
}

#[test]
fn sizes_and_times_are_short() {
    assert_eq!([0, 1023, 1536, 5 << 30].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    let times = [0, 59, 61, 3661, 90_000].map(|seconds| time(Duration::from_secs(seconds)));
    assert_eq!(times, ["0 ms", "59 s", "1:01 min", "1:01 h", "1 d"]);
}
