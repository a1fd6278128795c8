//! Requests whose end two servers may see in different places. What would be a second request to one of them is never served as
//! one: behind a proxy, its answer would go to somebody else.

use std::time::Duration;

use crate::http_client::{
    Neighbour, Raw, a_newcomer_is_served, beside_others, exchange, on_both_doors, streams,
};
use crate::support::{Client, Server};
use crate::way::Way;

/// What is smuggled: a stream of somebody else.
const SMUGGLED: &str = "GET /t/victim/events HTTP/1.1\r\nHost: a\r\n\r\n";
const OVER_SOON: Duration = Duration::from_secs(15);

/// Each of these gets one answer at most, of such a status, and the connection is closed: no second request is seen.
async fn ends_with(way: Way, statuses: &[u16], attacks: &[String]) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    for attack in attacks {
        let mut raw = exchange(way, &server, attack.as_bytes()).await;
        let answers = raw.statuses();
        assert!(
            answers.len() == 1 && statuses.contains(&answers[0]),
            "{answers:?} to {attack:?}: {}",
            raw.text()
        );
        raw.end_within(OVER_SOON).await;
        assert_eq!(raw.statuses().len(), 1, "{attack:?}: {}", raw.text());
        assert_eq!(streams(&server).await, 0, "{attack:?}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /nothing HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}")
}

async fn two_framings(way: Way) {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let attacks = [
        post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), &body),
        post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}", body.len()), &body),
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive", &body),
        post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\nConnection: keep-alive", &body),
    ];
    ends_with(way, &[400, 404, 405], &attacks).await;
}

async fn two_codings(way: Way) {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let codings = [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    ];
    let attacks: Vec<String> = codings.iter().map(|coding| post(coding, &body)).collect();
    ends_with(way, &[400, 404, 405, 501], &attacks).await;
}

async fn odd_spellings_of_chunked(way: Way) {
    let body = format!("0\r\n\r\n{SMUGGLED}");
    let codings = [
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: \x0cchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked\t",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding:",
        "Transfer-Encoding: identity",
    ];
    let attacks: Vec<String> = codings.iter().map(|coding| post(coding, &body)).collect();
    ends_with(way, &[400, 404, 405, 501], &attacks).await;
}

async fn two_lengths(way: Way) {
    let length = SMUGGLED.len();
    let attacks = [
        post(&format!("Content-Length: 0\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("Content-Length: {length}\r\nContent-Length: 0"), SMUGGLED),
        post(&format!("Content-Length: {length}, 0"), SMUGGLED),
        post(&format!("Content-Length: 0, {length}"), SMUGGLED),
        post(&format!("Content-Length: 0\r\nX: y\r\ncontent-length: {length}"), SMUGGLED),
    ];
    ends_with(way, &[400], &attacks).await;
}

async fn lengths_that_are_no_number(way: Way) {
    let lengths = [
        "-1",
        "+5",
        "+0",
        "0x5",
        "5 5",
        "5;",
        "5.0",
        "1e1",
        "a",
        "",
        " ",
        "\u{665}",
        "-0",
        "18446744073709551616",
        "18446744073709551615",
        "99999999999999999999999999",
    ];
    let attacks: Vec<String> =
        lengths.iter().map(|length| post(&format!("Content-Length: {length}"), SMUGGLED)).collect();
    ends_with(way, &[400, 431], &attacks).await;
}

/// The most that the type holds: nothing is set aside for it, and nobody waits for it.
async fn a_length_beyond_all_memory(way: Way) {
    let attacks = [
        post("Content-Length: 9223372036854775807", SMUGGLED),
        post("Content-Length: 18446744073709551613", SMUGGLED),
        "POST /t/attacker/events HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n"
            .to_owned(),
    ];
    ends_with(way, &[404, 405], &attacks).await;
}

async fn odd_chunks(way: Way) {
    let sizes = [
        "-1",
        "+5",
        "0x5",
        "5 5",
        "g",
        "",
        " 0",
        "FFFFFFFFFFFFFFFFF",
        "100000000000000000",
        "0;a=\nb",
        "0;\n",
        "0\n",
        "5;ext=\"\r\nx\"",
        "\0",
        "0\x0b",
    ];
    let chunk = |size: &&str| post("Transfer-Encoding: chunked", &format!("{size}\r\n\r\n{SMUGGLED}"));
    let mut attacks: Vec<String> = sizes.iter().map(chunk).collect();
    // Data that is longer than its size says, and trailers that would be headers.
    attacks.push(post("Transfer-Encoding: chunked", &format!("1\r\nxyz\r\n0\r\n\r\n{SMUGGLED}")));
    attacks.push(post("Transfer-Encoding: chunked", &format!("1\r\nx0\r\n\r\n{SMUGGLED}")));
    attacks.push(post(
        "Transfer-Encoding: chunked\r\nTrailer: Content-Length, Host",
        &format!("0\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\r\n{SMUGGLED}"),
    ));
    ends_with(way, &[400, 404, 405], &attacks).await;
}

/// An extension of a chunk has no end.
async fn an_endless_chunk_extension(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut raw = Raw::open(way, &server).await;
    raw.send(post("Transfer-Encoding: chunked", "5;").as_bytes()).await;
    let flood = "a".repeat(64 * 1024);
    let mut taken = 0;
    while taken < 64 << 20 && raw.send(flood.as_bytes()).await {
        taken += flood.len();
    }
    raw.end_within(OVER_SOON).await;
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    a_newcomer_is_served(way, &mut server).await;
}

/// Line ends and names on which parsers differ: no line that one of them could overlook makes a body, or ends one.
async fn odd_lines(way: Way) {
    let length = SMUGGLED.len();
    let attacks = [
        // A bare CR is no line end.
        post(&format!("X: y\rContent-Length: {length}"), SMUGGLED),
        post("X: y\rTransfer-Encoding: chunked", SMUGGLED),
        post(&format!("Content-Length : {length}"), SMUGGLED),
        post(&format!("Content-Length\t: {length}"), SMUGGLED),
        post(&format!("Content-Length:\r\n {length}"), SMUGGLED),
        post(&format!("X: y\r\n Content-Length: {length}"), SMUGGLED),
        post(&format!("X: y\r\n\tz\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("\0Content-Length: {length}"), SMUGGLED),
        post(&format!("Content\0-Length: {length}"), SMUGGLED),
        post(&format!("X: \0\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("Content Length: {length}"), SMUGGLED),
        post(&format!(": y\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("no colon\r\nContent-Length: {length}"), SMUGGLED),
        post(&format!("X(: y\r\nContent-Length: {length}"), SMUGGLED),
    ];
    ends_with(way, &[400], &attacks).await;
}

/// A line may end with LF alone (RFC 9112, section 2.2): then it does so everywhere, and a body is a body.
async fn lines_without_cr(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let length = SMUGGLED.len();
    let request = format!("POST /nothing HTTP/1.1\nHost: a\nContent-Length: {length}\n\n{SMUGGLED}");
    assert_eq!(exchange(way, &server, request.as_bytes()).await.statuses().len(), 1);
    let request = format!(
        "POST /nothing HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    );
    let mut raw = exchange(way, &server, request.as_bytes()).await;
    raw.end_within(OVER_SOON).await;
    assert_eq!(raw.statuses().len(), 1);
    assert_eq!(streams(&server).await, 0);
}

/// Opens a stream of the attacker by these bytes, and has the victim get a record: the attacker's connection has one answer, and
/// only its own records.
async fn gets_only_its_own(way: Way, server: &mut Server, request: &str, later: &str) {
    let mut raw = Raw::open(way, server).await;
    raw.send(request.as_bytes()).await;
    raw.until("tailrace.synced").await;
    raw.send(later.as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.append("victim", "a secret of the victim");
    server.append("attacker", "of the attacker");
    raw.until("of the attacker").await;
    raw.settle().await;
    let answers = raw.answers();
    assert!(answers.len() == 1 && answers[0].status == 200, "{request:?}: {answers:?}");
    assert!(!raw.text().contains("secret"), "{request:?}: {}", raw.text());
    let listed = Client::request(server.admin, "GET", "/streams?tenant=victim", &[]).await.json().await;
    assert_eq!(listed.as_array().unwrap().len(), 0, "{request:?}: {listed}");
}

/// The socket goes from hyper to a writer thread in between.
async fn requests_after_a_stream(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let stream = "GET /t/attacker/events HTTP/1.1\r\nHost: a\r\n";
    let smuggled = [SMUGGLED.to_owned(), SMUGGLED.repeat(50), format!("\r\n\r\n{SMUGGLED}")];
    for after in smuggled {
        gets_only_its_own(way, &mut server, &format!("{stream}\r\n{after}"), &after).await;
        gets_only_its_own(way, &mut server, &format!("{stream}Connection: keep-alive\r\n\r\n"), &after).await;
    }
    // One byte at a time, so that some of them come while it is handed over.
    let mut raw = Raw::open(way, &server).await;
    for byte in format!("{stream}\r\n{SMUGGLED}").bytes() {
        raw.send(&[byte]).await;
    }
    raw.until("tailrace.synced").await;
    server.append("victim", "a secret of the victim");
    server.append("attacker", "at the end");
    raw.until("at the end").await;
    assert!(!raw.text().contains("secret") && raw.answers().len() == 1);
    a_newcomer_is_served(way, &mut server).await;
}

async fn a_body_of_a_stream_request(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let length = SMUGGLED.len();
    for (framing, body) in [
        (format!("Content-Length: {length}"), SMUGGLED.to_owned()),
        ("Content-Length: 3".to_owned(), format!("abc{SMUGGLED}")),
        ("Content-Length: 1000000".to_owned(), SMUGGLED.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), format!("0\r\n\r\n{SMUGGLED}")),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n{SMUGGLED}")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3".to_owned(), format!("0\r\n\r\n{SMUGGLED}")),
        ("Transfer-Encoding: chunked".to_owned(), format!("zzz\r\n{SMUGGLED}")),
    ] {
        let head = format!("GET /t/attacker/events HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n");
        gets_only_its_own(way, &mut server, &format!("{head}{body}"), SMUGGLED).await;
        gets_only_its_own(way, &mut server, &head, &body).await;
    }
}

/// Requests before the stream each have their own answer, in their order, and the stream is the last.
async fn requests_before_a_stream(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let before = "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /tailrace.js HTTP/1.1\r\nHost: a\r\n\r\n\
                  POST /three HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    let stream = "GET /t/attacker/events HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut raw = Raw::open(way, &server).await;
    raw.send(format!("{before}{stream}{SMUGGLED}").as_bytes()).await;
    // The module has the event's name, too.
    raw.until("event: tailrace.synced").await;
    server.append("victim", "a secret of the victim");
    server.append("attacker", "of the attacker");
    raw.until("of the attacker").await;
    let answers = raw.answers();
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(matches!(statuses[..], [404, 200, 404 | 405, 200]), "{statuses:?}");
    assert!(
        answers[0].body.contains("/one") && answers[1].header("content-type").unwrap().contains("javascript")
    );
    assert!(!raw.text().contains("secret"));
}

async fn what_comes_after_a_close(way: Way) {
    let request = |line: &str| format!("{line}\r\n\r\n{SMUGGLED}");
    let attacks = [
        request("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close"),
        request("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive"),
        request("GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close"),
        request("GET /nothing HTTP/1.0\r\nHost: a"),
    ];
    ends_with(way, &[404], &attacks).await;
}

/// HTTP/1.0 has no chunks.
async fn chunks_of_http_1_0(way: Way) {
    let coding = "Transfer-Encoding: chunked";
    let attacks = [
        format!("POST /nothing HTTP/1.0\r\nHost: a\r\n{coding}\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        format!("POST /nothing HTTP/1.0\r\nConnection: keep-alive\r\n{coding}\r\n\r\n0\r\n\r\n{SMUGGLED}"),
    ];
    ends_with(way, &[400], &attacks).await;
}

/// No change to another protocol is agreed to, so nothing of one is read.
async fn a_change_of_protocol(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for upgrade in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Connection: Upgrade\r\nUpgrade: TLS/1.2",
    ] {
        let request = format!("GET /nothing HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n\r\n{preface}");
        let mut raw = exchange(way, &server, request.as_bytes()).await;
        raw.end_within(OVER_SOON).await;
        let statuses = raw.statuses();
        assert!(statuses[0] == 404 && statuses[1..].iter().all(|status| *status == 400), "{statuses:?}");
        let request = format!("GET /t/attacker/events HTTP/1.1\r\nHost: a\r\n{upgrade}\r\n\r\n{preface}");
        let raw = exchange(way, &server, request.as_bytes()).await;
        assert_eq!(raw.statuses(), [200], "{}", raw.text());
        assert!(raw.text().contains("tailrace.synced"));
    }
}

/// The answer does not wait for a body that was announced, and no interim answer asks for it.
async fn a_body_that_waits_to_be_asked_for(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    for method in ["POST", "GET"] {
        let request = format!(
            "{method} /nothing HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        );
        let mut raw = exchange(way, &server, request.as_bytes()).await;
        let statuses = raw.statuses();
        assert!(matches!(statuses[..], [404 | 405]), "{statuses:?}");
        raw.send(SMUGGLED.as_bytes()).await;
        raw.end_within(OVER_SOON).await;
        assert_eq!(streams(&server).await, 0);
        assert_eq!(raw.statuses().len(), 1, "{}", raw.text());
    }
}

/// The neighbour's stream beside all that is still its own.
async fn a_neighbour(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut neighbour = Neighbour::open(way, &server).await;
    for attack in [
        post("Content-Length: 4\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{SMUGGLED}")),
        format!("GET /t/attacker/events HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}"),
        post("Content-Length: 5\r\nContent-Length: 6", SMUGGLED),
    ] {
        exchange(way, &server, attack.as_bytes()).await;
        neighbour.is_served(&mut server).await;
    }
}

on_both_doors! {
    a_length_and_chunks_in_one_request_are_its_connections_last, super::two_framings;
    two_transfer_codings_are_the_connections_last, super::two_codings;
    an_odd_spelling_of_chunked_hides_no_request, super::odd_spellings_of_chunked;
    two_lengths_that_differ_are_refused, super::two_lengths;
    a_length_that_is_no_number_is_refused, super::lengths_that_are_no_number;
    a_length_beyond_all_memory_is_answered_and_ends, super::a_length_beyond_all_memory;
    odd_chunks_hide_no_request, super::odd_chunks;
    an_endless_chunk_extension_ends, super::an_endless_chunk_extension;
    lines_that_parsers_read_differently_are_refused, super::odd_lines;
    lines_that_end_without_cr_are_lines_everywhere, super::lines_without_cr;
    a_request_after_a_streams_is_nobodys, super::requests_after_a_stream;
    a_body_of_a_request_for_a_stream_is_no_request, super::a_body_of_a_stream_request;
    requests_before_a_streams_have_their_own_answers, super::requests_before_a_stream;
    what_comes_after_a_close_is_not_served, super::what_comes_after_a_close;
    chunks_of_http_1_0_are_refused, super::chunks_of_http_1_0;
    no_change_of_protocol_hides_a_request, super::a_change_of_protocol;
    a_body_that_waits_to_be_asked_for_is_no_request, super::a_body_that_waits_to_be_asked_for;
    a_neighbour_is_served_beside_smugglers, super::a_neighbour;
}
