//! Requests of HTTP/1.1 that are malformed, odd, large, or slow; and bytes of a request that would be lines of its answer.

use std::time::{Duration, Instant};

use crate::http_client::{
    Neighbour, Raw, SOON, a_newcomer_is_served, alone, beside_others, exchange, on_both_doors, streams,
};
use crate::support::{SECRET, Server};
use crate::way::Way;

/// The time for a request's head, and some more on a busy machine.
const HEAD_TIME: Duration = Duration::from_secs(14);
const CLOSED_SOON: Duration = Duration::from_secs(15);

/// Answered with one of these statuses once, and somebody else is served afterwards.
async fn are_answered(way: Way, statuses: &[u16], requests: &[String]) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    for request in requests {
        let raw = exchange(way, &server, request.as_bytes()).await;
        let answers = raw.statuses();
        assert!(
            answers.len() == 1 && statuses.contains(&answers[0]),
            "{answers:?} to {request:?}: {}",
            raw.text()
        );
        assert_eq!(streams(&server).await, 0, "{request:?}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// What a line of an answer must never begin with.
const MARK: &str = "injected";

/// As it is, and encoded for an address.
const BREAKS: [(&str, &str); 4] =
    [("\r\n", "%0D%0A"), ("\n", "%0a"), ("\r", "%0d"), ("\r\n\r\n", "%0d%0a%0d%0a")];

/// Every place of a request that could come back in its answer.
fn requests_with_line_ends() -> Vec<String> {
    let mut requests = Vec::new();
    for (raw, encoded) in BREAKS {
        let (raw, encoded) = (format!("x{raw}{MARK}: 1"), format!("x{encoded}{MARK}:%201"));
        let twice = encoded.replace('%', "%25");
        for text in [&encoded, &twice, &raw] {
            requests.extend(
                [
                    format!("/{text}"),
                    format!("/t/{text}/events"),
                    format!("/events?topic={text}"),
                    format!("/t/acme/events?topic={text}"),
                    format!("/t/acme/events?type={text}"),
                    format!("/t/acme/events?key={text}"),
                    format!("/t/acme/events?where={text}"),
                    format!("/t/acme/events?where=value.{text}=1"),
                    format!("/t/acme/events?where=value.a={text}"),
                    format!("/t/acme/events?from={text}"),
                    format!("/t/acme/events?envelope={text}"),
                    format!("/t/acme/events?heartbeat={text}"),
                    format!("/t/acme/events?retry={text}"),
                    format!("/t/acme/events?last_event_id={text}"),
                    format!("/t/acme/events?access_token={text}"),
                    format!("/t/acme/events?{text}=1"),
                ]
                .iter()
                .map(|target| get(target)),
            );
        }
        // A whole CRLF ends the header, and what follows is a header of the request: also that must not come back.
        for name in [
            "Origin",
            "Authorization",
            "Authorization: Bearer",
            "Last-Event-ID",
            "traceparent",
            "tracestate",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "Forwarded",
            "Cookie",
            "User-Agent",
            "Referer",
            "Accept-Encoding",
            "Access-Control-Request-Headers",
            "X-Request-Id",
        ] {
            let name = if name.contains(':') { name.to_owned() } else { format!("{name}:") };
            for text in [&encoded, &raw] {
                requests.push(format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{name} {text}\r\n\r\n"));
                requests.push(format!("OPTIONS /t/acme/events HTTP/1.1\r\nHost: a\r\n{name} {text}\r\n\r\n"));
            }
        }
        requests.push(format!("GET /t/acme/events HTTP/1.1\r\nHost: {raw}\r\n\r\n"));
        requests.push(format!("GET http://{encoded}/t/acme/events HTTP/1.1\r\nHost: {encoded}\r\n\r\n"));
        requests.push(format!("{raw} /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    requests
}

/// No line of what came back begins with the mark, be it of a head or of a stream.
async fn nothing_is_injected(way: Way, server: &Server) {
    for request in requests_with_line_ends() {
        let mut raw = Raw::open(way, server).await;
        raw.send(request.as_bytes()).await;
        // A stream's first blocks, or a whole answer.
        while !raw.text().contains("\r\n\r\n") && raw.more(Duration::from_secs(5)).await {}
        while raw.more(Duration::from_millis(20)).await {}
        let text = raw.text().to_ascii_lowercase();
        let is_mark = |line: &str| line.trim_start_matches([' ', ':']).starts_with(MARK);
        assert!(!text.split(['\r', '\n']).any(is_mark), "{request:?}: {text}");
        // One answer, or one to each of the parts that the line ends make.
        raw.answers();
    }
}

async fn line_ends_without_tokens(way: Way) {
    let _beside = beside_others().await;
    let trusting = ["--trusted-proxies", "127.0.0.0/8", "--cors-origins", "*"];
    let server = way.server(&trusting).await;
    nothing_is_injected(way, &server).await;
}

/// Here the answer says what is wrong with the token.
async fn line_ends_with_tokens(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&["--auth", "jwt", "--jwt-secret", SECRET, "--cors-origins", "*"]).await;
    nothing_is_injected(way, &server).await;
}

/// Here a request with an id is answered with that id.
async fn line_ends_in_refusals(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&["--max-streams-per-tenant", "1"]).await;
    let _place = Neighbour::open(way, &server).await;
    for (raw, encoded) in BREAKS {
        for (text, name) in [
            (format!("x{encoded}{MARK}:%201"), "last_event_id"),
            (format!("x{raw}{MARK}: 1"), "Last-Event-ID"),
        ] {
            let request = match name {
                "last_event_id" => get(&format!("/t/calm/events?last_event_id={text}")),
                _ => format!("GET /t/calm/events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: {text}\r\n\r\n"),
            };
            let raw = exchange(way, &server, request.as_bytes()).await;
            let text = raw.text();
            assert!(!text.split(['\r', '\n']).any(|line| line.starts_with(MARK)), "{request:?}: {text}");
            assert!(text.contains("too_many_streams") || text.contains(" 400 "), "{text}");
        }
    }
}

async fn absolute_form(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    // The address counts, not the host in it (RFC 9112, section 3.2.2).
    for request in [
        get("http://other.example/t/acme/events"),
        get("https://user:password@other.example:1/t/acme/events?topic=orders"),
    ] {
        let raw = exchange(way, &server, request.as_bytes()).await;
        assert_eq!(raw.statuses(), [200], "{request:?}: {}", raw.text());
        assert!(!raw.text().contains("other.example"));
    }
    for target in
        ["http://", "http:///t/acme/events", "file:///etc/passwd", "//a/t/acme/events", "http://a b/"]
    {
        let raw = exchange(way, &server, get(target).as_bytes()).await;
        assert!(raw.statuses().iter().all(|status| matches!(status, 400 | 404)), "{target}: {}", raw.text());
        assert!(!raw.text().contains("root:"));
    }
}

async fn other_forms(way: Way) {
    let requests = [
        get("a:80"),
        get("*"),
        get("events"),
        get("?topic=a"),
        get("/../../etc/passwd"),
        get("/t//events"),
        get("/t/acme//events"),
        get("/t/acme/events/"),
        get("/T/acme/EVENTS"),
        get("/t/acme/../victim/events"),
        get("/t/acme/%2e%2e/victim/events"),
        get("/%00"),
        get("/t/%00/events"),
        get("/t/%ff%fe/events"),
        get("/t/a%2fb/events;x=1"),
        get("/t/*/events"),
        get("/t/%2a/events"),
        get(""),
        get("/events"),
    ];
    are_answered(way, &[400, 404], &requests).await;
}

async fn odd_methods(way: Way) {
    let methods = [
        "get",
        "GeT",
        "POST",
        "PUT",
        "PATCH",
        "DELETE",
        "PROPFIND",
        "X",
        "!#$%&'*+-.^_`|~",
        "TRACE",
        "TRACK",
    ];
    let mut requests: Vec<String> =
        methods.iter().map(|method| format!("{method} /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    requests.push(format!("{} /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(5000)));
    requests.push("G@T /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    requests.push("G\0T /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n".to_owned());
    are_answered(way, &[400, 405], &requests).await;
}

/// It would show cookies and tokens to a script that must not see them.
async fn trace(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let request =
        "TRACE /t/acme/events HTTP/1.1\r\nHost: a\r\nCookie: a=hidden-value\r\nMax-Forwards: 0\r\n\r\n";
    let raw = exchange(way, &server, request.as_bytes()).await;
    assert_eq!(raw.statuses(), [405]);
    assert!(!raw.text().contains("hidden-value") && !raw.text().contains("message/http"));
}

/// Nothing is connected to, and what follows is no tunnel.
async fn connect(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let admin = server.admin;
    for target in [
        format!("{admin}"),
        "a:80".to_owned(),
        "/t/acme/events".to_owned(),
        format!("http://{admin}/streams"),
    ] {
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        let mut raw = exchange(way, &server, request.as_bytes()).await;
        let statuses = raw.statuses();
        assert!(matches!(statuses[..], [400 | 404 | 405]), "{target}: {statuses:?}");
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw.settle().await;
        assert!(raw.statuses()[1..].iter().all(|status| *status == 404), "{target}: {}", raw.text());
    }
}

async fn hosts(way: Way) {
    let requests = [
        "GET /t/acme/events HTTP/1.1\r\n\r\n",
        "GET /t/acme/events HTTP/1.1\r\nX-Host: a\r\n\r\n",
        "GET http://a/t/acme/events HTTP/1.1\r\n\r\n",
        "GET /t/acme/events HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: a\r\n\r\n",
        "GET /t/acme/events HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    ];
    are_answered(way, &[400], &requests.map(str::to_owned)).await;
}

async fn versions(way: Way) {
    let versions = [
        "HTTP/9.9",
        "HTTP/2.0",
        "HTTP/3",
        "HTTP/1.2",
        "HTTP/0.9",
        "HTTP/1.10",
        "HTTP/11",
        "http/1.1",
        "HTTP/1,1",
        "HTTQ/1.1",
        "HTTP/1.1x",
        "HTTP /1.1",
        "\tHTTP/1.1",
        "HTTP/-1.1",
        "RTSP/1.0",
    ];
    let requests: Vec<String> =
        versions.iter().map(|version| format!("GET /t/acme/events {version}\r\nHost: a\r\n\r\n")).collect();
    are_answered(way, &[400, 505], &requests).await;
}

/// A request line without a version: there is no answer in that protocol, and none that looks like it.
async fn http_0_9(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    for request in ["GET /t/acme/events\r\n\r\n", "GET /\n\n", "GET\r\n\r\n"] {
        let mut raw = exchange(way, &server, request.as_bytes()).await;
        raw.end_within(CLOSED_SOON).await;
        assert_eq!(raw.statuses(), [400], "{request:?}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

/// A request that is not for this protocol at all.
async fn other_protocols(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let begins: [&[u8]; 8] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\x00\x00\x10\x00\x12\x00\x04\x00\x00\x00\x01\xff\xff\x00\x00",
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"EHLO a\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\n",
        b"\xff\xfe\xfd\xfc\r\n\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for begin in begins {
        let mut raw = Raw::open(way, &server).await;
        raw.send(begin).await;
        raw.settle().await;
        raw.end_within(CLOSED_SOON).await;
        assert!(!raw.text().contains(" 200 "), "{}", raw.text());
        assert_eq!(streams(&server).await, 0);
    }
    a_newcomer_is_served(way, &mut server).await;
}

async fn many_headers(way: Way) {
    let headers = |count: usize| "X: y\r\n".repeat(count);
    let requests = [101, 1_000, 5_000]
        .map(|count| format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{}\r\n", headers(count)));
    are_answered(way, &[431], &requests).await;
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let usual = format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{}\r\n", headers(99));
    assert_eq!(exchange(way, &server, usual.as_bytes()).await.statuses(), [200]);
}

async fn large_heads(way: Way) {
    let long = |size: usize| "x".repeat(size);
    let requests = [
        format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(40_000)),
        format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{}: y\r\n\r\n", long(40_000)),
        format!("GET /t/acme/events HTTP/1.1\r\nHost: {}\r\n\r\n", long(40_000)),
        get(&format!("/t/acme/events?key={}", long(40_000))),
        get(&format!("/{}", long(66_000))),
        format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", long(40_000)),
        format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX: {}", long(1 << 20)),
        format!("{}GET /t/acme/events HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(40_000)),
    ];
    are_answered(way, &[400, 414, 431], &requests).await;
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let usual = format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", long(30_000));
    assert_eq!(
        exchange(way, &server, usual.as_bytes()).await.statuses(),
        [200],
        "what two ids need is taken"
    );
}

/// What a header may hold is taken, and what it may not is refused.
async fn odd_headers(way: Way) {
    let with = |header: &str| format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    let wrong = [
        "X\0: y",
        "X: \0",
        "X: a\x01b",
        "X: a\x7fb",
        "X: a\x0bb",
        "X y: z",
        "X",
        ": y",
        "X : y",
        "X\t: y",
        "X: y\r\n z",
        "\u{fc}: y",
        "X: a\rb",
        "X:\r\n y",
    ];
    are_answered(way, &[400], &wrong.map(with)).await;
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    for taken in [
        "X:",
        "X:y",
        "X: \t y \t",
        "X: \u{fc}",
        "X: y\r\nX: z",
        "Connection: Host, Last-Event-ID",
        "Last-Event-ID: \u{fc}\u{1F980}",
    ] {
        let raw = exchange(way, &server, with(taken).as_bytes()).await;
        assert_eq!(raw.statuses(), [200], "{taken:?}: {}", raw.text());
    }
}

/// Ids, tokens and addresses of proxies that are garbage make a problem document, not an error of the server.
async fn garbage_in_known_headers(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--trusted-proxies", "127.0.0.0/8", "--cors-origins", "*"]).await;
    let long = "9,".repeat(5_000);
    for value in [
        "",
        ",",
        ";;;",
        "\"",
        "\"\\",
        "for=",
        "for=\"[::1\"",
        "[",
        "-1",
        "999.999.999.999",
        "unknown",
        "%00",
        "0-0-0-0",
        "\u{fc}",
        &long,
    ] {
        for name in [
            "Last-Event-ID",
            "Forwarded",
            "X-Forwarded-For",
            "traceparent",
            "Origin",
            "Accept-Encoding",
            "Cookie",
            "Range",
            "If-None-Match",
            "Content-Type",
            "Expect",
        ] {
            let request = format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n");
            let mut raw = Raw::open(way, &server).await;
            raw.send(request.as_bytes()).await;
            raw.until("\r\n\r\n").await;
            while raw.more(Duration::from_millis(10)).await {}
            let statuses = raw.statuses();
            assert!(matches!(statuses[..], [200 | 400 | 417]), "{request:?}: {statuses:?}");
        }
    }
    a_newcomer_is_served(way, &mut server).await;
}

/// One byte at a time, for ever: the time is that of the whole head.
async fn drips(way: Way, begin: &str, drip: &str) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut neighbour = Neighbour::open(way, &server).await;
    let mut slow = Raw::open(way, &server).await;
    slow.send(begin.as_bytes()).await;
    let begun = Instant::now();
    while !slow.ended {
        slow.send(drip.as_bytes()).await;
        slow.more(Duration::from_millis(200)).await;
        assert!(begun.elapsed() < HEAD_TIME, "it is still open: {}", slow.text());
        if begun.elapsed() < SOON {
            neighbour.is_served(&mut server).await;
            a_newcomer_is_served(way, &mut server).await;
        }
    }
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "a slow client has time for its request: {:?}",
        begun.elapsed()
    );
}

async fn slow_request_line(way: Way) {
    drips(way, "GET /t/acme/events?key=", "x").await;
}

async fn slow_headers(way: Way) {
    drips(way, "GET /t/acme/events HTTP/1.1\r\nHost: a\r\n", "X: y\r\n").await;
}

async fn slow_empty_lines(way: Way) {
    drips(way, "\r\n", "\r\n").await;
}

/// The time of the second request is bounded as that of the first.
async fn slow_second_request(way: Way) {
    drips(way, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nGET /t/acme/events?key=", "x").await;
}

/// A body that never comes, or by a byte a second, keeps no connection: nobody reads it.
async fn slow_body(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut slow = Raw::open(way, &server).await;
        slow.send(format!("POST /nothing HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes()).await;
        let begun = Instant::now();
        while !slow.ended {
            slow.send(b"x").await;
            slow.more(Duration::from_millis(200)).await;
            assert!(begun.elapsed() < Duration::from_secs(25), "it is still open: {}", slow.text());
        }
        assert_eq!(slow.statuses().len(), 1);
    }
}

/// A client that sends requests and reads no answers: they take no memory, and the connection ends.
async fn answers_that_nobody_reads(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let padding = "y".repeat(2_000);
    let requests = format!("GET /tailrace.js HTTP/1.1\r\nHost: a\r\nX: {padding}\r\n\r\n").repeat(200);
    let before = crate::http_client::resident();
    let mut floods = Vec::new();
    for _ in 0..20 {
        let mut flood = Raw::open(way, &server).await;
        let mut sent = 0;
        while sent < 100 && flood.send_within(requests.as_bytes(), Duration::from_millis(200)).await {
            sent += 1;
        }
        assert!(sent < 100, "the server takes any number of requests whose answers nobody reads");
        floods.push(flood);
    }
    a_newcomer_is_served(way, &mut server).await;
    let grown = crate::http_client::resident().saturating_sub(before);
    println!("{way:?}: 20 connections that read no answers: {} KiB", grown >> 10);
    assert!(grown < 32 << 20, "{} KiB", grown >> 10);
}

/// What the HTTP library refuses by itself is counted, too.
async fn unreadable_requests_count(way: Way) {
    const COUNT: &str = "tailrace_streams_refused_total{reason=\"bad_request\"}";
    let _alone = alone().await;
    let server = way.server(&[]).await;
    for request in [
        "GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n".to_owned(),
        format!("GET /t/acme/events HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(40_000)),
        "GET /t/acme/events HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(),
        "GET /t/acme/events HTTP/1.1\r\n\r\n".to_owned(),
        "GET /a>b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /t/acme/events HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_owned(),
    ] {
        let before = server.metric(COUNT).await;
        let mut raw = exchange(way, &server, request.as_bytes()).await;
        raw.end_within(CLOSED_SOON).await;
        let begun = Instant::now();
        while server.metric(COUNT).await != before + 1.0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{request:?} is not counted once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

on_both_doors! {
    line_ends_in_a_request_are_none_in_its_answer, super::line_ends_without_tokens;
    line_ends_in_a_request_are_none_in_what_is_said_of_its_token, super::line_ends_with_tokens;
    line_ends_in_an_id_are_none_in_the_stream_that_refuses, super::line_ends_in_refusals;
    an_absolute_address_is_its_path, super::absolute_form;
    other_forms_of_an_address_are_no_stream, super::other_forms;
    odd_methods_are_refused, super::odd_methods;
    trace_shows_nothing, super::trace;
    connect_opens_no_tunnel, super::connect;
    no_host_or_two_are_refused, super::hosts;
    other_versions_are_refused, super::versions;
    a_request_without_a_version_is_refused, super::http_0_9;
    other_protocols_end_the_connection, super::other_protocols;
    too_many_headers_are_refused, super::many_headers;
    too_large_a_head_is_refused, super::large_heads;
    headers_that_are_none_are_refused, super::odd_headers;
    garbage_in_known_headers_is_a_problem_of_the_client, super::garbage_in_known_headers;
    a_slow_request_line_is_cut_and_delays_nobody, super::slow_request_line;
    slow_headers_are_cut_and_delay_nobody, super::slow_headers;
    slow_empty_lines_are_cut_and_delay_nobody, super::slow_empty_lines;
    a_slow_second_request_is_cut_and_delays_nobody, super::slow_second_request;
    a_slow_body_keeps_no_connection, super::slow_body;
    answers_that_nobody_reads_take_no_memory, super::answers_that_nobody_reads;
    requests_that_cannot_be_read_are_counted, super::unreadable_requests_count;
}
