//! Floods and wrong frames over HTTP/2: the connection is ended, or what is sent is absorbed with bounded memory; others are
//! served meanwhile, and nothing is left.

use std::time::{Duration, Instant};

use crate::frames::*;
use crate::http_client::{
    Neighbour, a_newcomer_is_served, alone, beside_others, resident, streams, streams_become,
};
use crate::support::Server;
use crate::way::{Ask, Reader, Way};

/// What a connection may take, with what the client of the test holds itself.
const BOUND: usize = 24 << 20;
const END_SOON: Duration = Duration::from_secs(15);
/// The most streams that the server says it takes.
const MAX_STREAMS: usize = 256;

macro_rules! on_both_doors_of_http_2 {
    ($($name:ident, $proof:path;)*) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn plain() {
                $proof($crate::way::Way::Http2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tls() {
                $proof($crate::way::Way::Http2Tls).await;
            }
        }
    )*};
}

fn acme(stream: u32) -> Vec<u8> {
    get(stream, "/t/acme/events")
}

/// The numbers of a client's streams.
fn numbers(count: usize) -> impl Iterator<Item = u32> {
    (0..count as u32).map(|n| 2 * n + 1)
}

/// Sends the same until the connection ends or this much was taken, and looks after a neighbour beside it; whether it ended.
/// Nothing of what the server answers is read.
async fn flood(
    way: Way,
    server: &mut Server,
    connection: &mut Connection,
    mut part: impl FnMut(usize) -> Vec<u8>,
    most: usize,
) -> usize {
    let mut neighbour = Neighbour::open(way.beside(), server).await;
    let (mut taken, mut n, before) = (0, 0, resident());
    while taken < most {
        let bytes = part(n);
        if !connection.raw.send_within(&bytes, Duration::from_millis(500)).await {
            break;
        }
        taken += bytes.len();
        n += 1;
        if n % 16 == 0 {
            neighbour.is_served(server).await;
        }
    }
    neighbour.is_served(server).await;
    a_newcomer_is_served(way.beside(), server).await;
    let grown = resident().saturating_sub(before);
    println!("{way:?}: took {} KiB, memory grew by {} KiB", taken >> 10, grown >> 10);
    assert!(grown < BOUND, "memory grew by {} KiB", grown >> 10);
    taken
}

/// CVE-2023-44487.
async fn rapid_reset(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    let part = |n: usize| {
        numbers(200)
            .flat_map(|number| {
                let number = number + 400 * n as u32;
                [acme(number), reset(number)].concat()
            })
            .collect()
    };
    flood(way, &mut server, &mut connection, part, 4 << 20).await;
    assert_eq!(connection.end_within(END_SOON).await, Some(11), "ENHANCE_YOUR_CALM");
    streams_become(&server, 0).await;
}

/// The same in steps, so that each request is being served when it is reset: no place is left behind, and limits count each.
async fn resets_of_served_requests(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--max-streams-per-tenant", "20"]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    for number in numbers(200) {
        connection.send(&acme(number)).await;
        assert_eq!(connection.status(number).await, Some(200), "request {number}");
        connection.send(&reset(number)).await;
        if number % 20 == 1 {
            streams_become(&server, 0).await;
        }
    }
    streams_become(&server, 0).await;
    a_newcomer_is_served(way, &mut server).await;
}

/// CVE-2025-8671: the client makes the server reset its own streams.
async fn made_resets(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    let part = |n: usize| {
        numbers(100)
            .flat_map(|number| {
                let number = number + 200 * n as u32;
                [acme(number), window_update(number, 0x7fff_ffff)].concat()
            })
            .collect()
    };
    flood(way, &mut server, &mut connection, part, 4 << 20).await;
    assert_eq!(connection.end_within(END_SOON).await, Some(11), "ENHANCE_YOUR_CALM");
    streams_become(&server, 0).await;
}

/// CVE-2024-27316 and others: headers without an end.
async fn continuations(way: Way, payload: Vec<u8>) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    connection.send(&frame(HEADERS, END_STREAM, 1, &request("GET", b"/t/acme/events"))).await;
    let one = frame(CONTINUATION, 0, 1, &payload);
    let part = one.repeat(1 + 64 * 1024 / one.len());
    let taken = flood(way, &mut server, &mut connection, |_| part.clone(), 64 << 20).await;
    assert!(taken < 64 << 20, "it takes headers without an end");
    connection.end_within(END_SOON).await;
    streams_become(&server, 0).await;
}

async fn continuations_with_headers(way: Way) {
    continuations(way, header("x", &[b'y'; 8000])).await;
}

async fn continuations_with_nothing(way: Way) {
    continuations(way, Vec::new()).await;
}

async fn settings_flood(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    let part = settings(&[(INITIAL_WINDOW_SIZE, 1), (HEADER_TABLE_SIZE, 1 << 20)]).repeat(1000);
    // Each has an answer, and answers that are not read hold up the client.
    let taken = flood(way, &mut server, &mut connection, |_| part.clone(), 64 << 20).await;
    assert!(taken < 64 << 20, "it takes any number of settings whose answers are not read");
}

async fn ping_flood(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    let part = frame(PING, 0, 0, &[7; 8]).repeat(1000);
    let taken = flood(way, &mut server, &mut connection, |_| part.clone(), 64 << 20).await;
    assert!(taken < 64 << 20, "it takes any number of pings whose answers are not read");
}

/// Frames that need no answer: they cost what reading them costs.
async fn floods_without_answers(way: Way) {
    let _alone = alone().await;
    for one in [
        frame(PING, ACK, 0, &[7; 8]),
        frame(SETTINGS, ACK, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        frame(PRIORITY, 0, 0x7fff_ffff, &[0, 0, 0, 3, 255]),
        frame(0xbe, 0xff, 3, &[1; 100]),
        window_update(1, 1),
        reset(1),
        frame(DATA, 0, 1, &[]),
        frame(DATA, 0, 1, &[1; 100]),
    ] {
        let mut server = way.server(&[]).await;
        let mut connection = Connection::open(way, &server, &[]).await;
        connection.send(&acme(1)).await;
        connection.status(1).await;
        let part = one.repeat(1 + 64 * 1024 / one.len());
        flood(way, &mut server, &mut connection, |_| part.clone(), 4 << 20).await;
    }
}

/// The body of a request is not kept, whatever its size, and its stream goes on or is reset.
async fn a_large_body(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    for path in ["/t/acme/events", "/nothing"] {
        let mut connection = Connection::open(way, &server, &[]).await;
        for number in numbers(50) {
            connection.send(&frame(HEADERS, END_HEADERS, number, &request("GET", path.as_bytes()))).await;
        }
        let part: Vec<u8> = numbers(50).flat_map(|number| frame(DATA, 0, number, &[b'x'; 16_000])).collect();
        flood(way, &mut server, &mut connection, |_| part.clone(), 16 << 20).await;
    }
    streams_become(&server, 0).await;
}

/// A client that gives no window gets nothing and holds nothing up; what is for it stays in the shared log.
async fn a_window_of_zero(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&["--heartbeat", "1s"]).await;
    let mut neighbour = Neighbour::open(way, &server).await;
    let mut beside = Reader::open(way, server.address, &Ask::of("acme")).await;
    beside.next().await.unwrap();
    let mut connections = Vec::new();
    for _ in 0..4 {
        let mut connection = Connection::open(way, &server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
        for number in numbers(100) {
            connection.send(&acme(number)).await;
        }
        connections.push(connection);
    }
    streams_become(&server, 402).await;
    let before = resident();
    let padding = "x".repeat(2_000);
    for n in 0..1_500 {
        server.append("acme", &format!("{n} {padding}"));
        if n % 100 == 0 {
            neighbour.is_served(&mut server).await;
        }
    }
    for n in 0..1_500 {
        assert!(beside.next_record().await.data.unwrap().starts_with(&format!("{n} ")));
    }
    let grown = resident().saturating_sub(before);
    println!("{way:?}: 400 streams without a window, 3 MB for each: {} KiB", grown >> 10);
    assert!(grown < 40 << 20, "{} KiB", grown >> 10);
    for connection in &mut connections {
        while let Some(next) = connection.next(Duration::from_millis(50)).await {
            assert!(next.kind != DATA || next.payload.is_empty(), "without a window: {next:?}");
        }
    }
    drop(connections);
    streams_become(&server, 2).await;
}

/// What a client takes nothing of for a minute is reset, as TCP does it with HTTP/1; what it takes goes on, on the same
/// connection.
async fn streams_that_nobody_takes(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--heartbeat", "1s"]).await;
    let mut connection = Connection::open(way, &server, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for number in [1, 3, 5] {
        connection.send(&acme(number)).await;
    }
    connection.send(&get(7, "/nothing")).await;
    connection.send(&window_update(3, 1 << 20)).await;
    streams_become(&server, 3).await;
    let (begun, mut untaken) = (Instant::now(), vec![1, 5, 7]);
    while !untaken.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(75), "{untaken:?} are still open");
        let Some(next) = connection.next(Duration::from_secs(5)).await else { continue };
        match next.kind {
            RST_STREAM => untaken.retain(|number| *number != next.stream),
            PING if next.flags & ACK == 0 => {
                connection.send(&frame(PING, ACK, 0, &next.payload)).await;
            }
            GOAWAY => panic!("the connection ends"),
            _ => {}
        }
    }
    assert!(begun.elapsed() > Duration::from_secs(50), "after {:?}", begun.elapsed());
    streams_become(&server, 1).await;
    server.append("acme", "for who takes it");
    let mut got = String::new();
    while !got.contains("for who takes it") {
        got.push_str(&String::from_utf8_lossy(&connection.next_of(DATA, 3).await.payload));
    }
}

async fn windows_too_large(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    // Of the connection: FLOW_CONTROL_ERROR.
    let mut connection = Connection::open(way, &server, &[]).await;
    connection.send(&window_update(0, 0x7fff_ffff)).await;
    assert_eq!(connection.end_within(END_SOON).await, Some(3));
    // Of a stream: it is reset, or the connection ends.
    let mut connection = Connection::open(way, &server, &[]).await;
    connection.send(&acme(1)).await;
    connection.status(1).await;
    connection.send(&window_update(1, 0x7fff_ffff)).await;
    connection.next_of(RST_STREAM, 1).await;
    streams_become(&server, 0).await;
    // Of all streams at once, by a setting.
    let mut connection = Connection::open(way, &server, &[]).await;
    connection
        .send(
            &[acme(1), window_update(1, 0x7000_0000), settings(&[(INITIAL_WINDOW_SIZE, 0x7fff_ffff)])]
                .concat(),
        )
        .await;
    connection.end_within(END_SOON).await;
    let mut connection = Connection::open(way, &server, &[(INITIAL_WINDOW_SIZE, 0x8000_0000)]).await;
    // h2 says PROTOCOL_ERROR.
    assert!(matches!(connection.end_within(END_SOON).await, Some(1 | 3)));
    streams_become(&server, 0).await;
    a_newcomer_is_served(way, &mut server).await;
}

/// One byte names a header of four thousand: sixteen thousand of them would be 64 MB.
async fn header_bomb(way: Way) {
    let _alone = alone().await;
    let mut server = way.server(&[]).await;
    let before = resident();
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(way, &server, &[]).await;
        let first = [request("GET", b"/nothing"), kept("x", &[b'y'; 4000])].concat();
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &first)).await;
        assert_eq!(connection.status(1).await, Some(404));
        // A little more than is taken is refused, and far more ends the connection.
        for number in [3, 5, 7] {
            let bomb = [request("GET", b"/t/acme/events"), vec![NEWEST; 9]].concat();
            connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, number, &bomb)).await;
            assert!(matches!(connection.status(number).await, None | Some(499)), "431, or a reset");
        }
        let bomb = [request("GET", b"/t/acme/events"), vec![NEWEST; 16_000]].concat();
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 9, &bomb)).await;
        assert_eq!(connection.end_within(END_SOON).await, Some(11), "ENHANCE_YOUR_CALM");
        connections.push(connection);
    }
    let grown = resident().saturating_sub(before);
    println!("{way:?}: 20 bombs of 64 MB: {} KiB", grown >> 10);
    assert!(grown < BOUND, "{} KiB", grown >> 10);
    assert_eq!(streams(&server).await, 0);
    a_newcomer_is_served(way, &mut server).await;
}

/// What the compression of headers does not allow ends the connection: its state is not known any more.
async fn wrong_compression(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let many_zeros = [&[0x3f][..], &[0x80; 60]].concat();
    let blocks: [&[u8]; 8] = [
        // No such entry; entry 0; far away.
        &[0xff, 0xff, 0x7f],
        &[0x80],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        // A table larger than was agreed on.
        &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f],
        // Lengths beyond what follows, and numbers that do not end.
        &[0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f],
        &many_zeros,
        // Huffman's code with its own end within.
        &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00],
        &[0x40, 0x01],
    ];
    for block in blocks {
        let mut connection = Connection::open(way, &server, &[]).await;
        let wrong = [&request("GET", b"/t/acme/events"), block].concat();
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &wrong)).await;
        let error = connection.end_within(END_SOON).await;
        assert!(matches!(error, Some(1 | 9)), "{block:x?}: {error:?}");
        assert_eq!(streams(&server).await, 0, "{block:x?}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

/// More than the server takes are refused, and those that there are go on.
async fn too_many_streams(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[(INITIAL_WINDOW_SIZE, 1 << 20)]).await;
    for number in numbers(MAX_STREAMS + 50) {
        connection.send(&acme(number)).await;
    }
    let (mut opened, mut refused) = (0, 0);
    while opened + refused < MAX_STREAMS + 50 {
        let Some(next) = connection.next(Duration::from_secs(5)).await else { break };
        match next.kind {
            HEADERS => opened += 1,
            RST_STREAM => refused += 1,
            GOAWAY => break,
            _ => {}
        }
    }
    println!("{way:?}: {opened} opened, {refused} refused");
    assert!(opened <= MAX_STREAMS, "{opened} at once");
    assert!(streams(&server).await <= MAX_STREAMS);
    drop(connection);
    streams_become(&server, 0).await;
    a_newcomer_is_served(way, &mut server).await;
}

/// Many streams of one connection count as those of many connections.
async fn limits_of_streams(way: Way) {
    let _beside = beside_others().await;
    for flag in ["--max-streams", "--max-streams-per-tenant", "--max-streams-per-address"] {
        let server = way.server(&[flag, "3"]).await;
        let mut connection = Connection::open(way, &server, &[]).await;
        let mut opened = 0;
        for number in numbers(20) {
            connection.send(&acme(number)).await;
            opened += usize::from(connection.status(number).await == Some(200));
        }
        assert_eq!((opened, streams(&server).await), (3, 3), "{flag}");
        // A place that is given back is there for another one.
        connection.send(&reset(1)).await;
        streams_become(&server, 2).await;
        connection.send(&acme(101)).await;
        assert_eq!(connection.status(101).await, Some(200), "{flag}");
        drop(connection);
        streams_become(&server, 0).await;
    }
}

async fn limits_of_rates(way: Way) {
    let _beside = beside_others().await;
    for flag in ["--connect-rate-per-tenant", "--connect-rate-per-address"] {
        let server = way.server(&[flag, "2"]).await;
        let mut connection = Connection::open(way, &server, &[]).await;
        let mut opened = 0;
        for number in numbers(60) {
            // Each is reset at once, and counts all the same.
            connection.send(&acme(number)).await;
            opened += usize::from(connection.status(number).await == Some(200));
            connection.send(&reset(number)).await;
        }
        println!("{way:?} {flag}: {opened} of 60");
        assert!((1..30).contains(&opened), "{flag}: {opened}");
    }
}

/// However a connection ends, its streams are gone.
async fn a_connection_that_ends(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&["--max-streams-per-tenant", "100"]).await;
    let ends: [&[u8]; 6] = [
        b"",
        // GOAWAY of the client.
        &frame(GOAWAY, 0, 0, &[0; 8]),
        &frame(DATA, 0, 0, b"x"),
        &frame(HEADERS, 0, 101, &[]),
        &frame(PING, 0, 0, b"short"),
        &[0xff; 9],
    ];
    for end in ends {
        let mut connection = Connection::open(way, &server, &[]).await;
        for number in numbers(50) {
            connection.send(&acme(number)).await;
        }
        streams_become(&server, 50).await;
        connection.send(end).await;
        drop(connection);
        streams_become(&server, 0).await;
    }
}

/// Frames that are wrong for where they stand end the connection, with an error that says so, and open no stream.
async fn wrong_frames(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let block = request("GET", b"/t/acme/events");
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("an even number", acme(2)),
        ("no number", acme(0)),
        ("a number that goes back", [get(5, "/nothing"), acme(3)].concat()),
        (
            "a promise of a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[&2u32.to_be_bytes()[..], &block].concat()),
        ),
        ("DATA of the connection", frame(DATA, 0, 0, b"x")),
        ("DATA of nothing", frame(DATA, 0, 9, b"x")),
        ("a reset of nothing", reset(9)),
        ("a reset of the connection", reset(0)),
        ("a window of nothing", window_update(9, 1)),
        ("a window of no more", window_update(0, 0)),
        ("CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &block)),
        (
            "another frame within headers",
            [frame(HEADERS, END_STREAM, 1, &block), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        (
            "another stream within headers",
            [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(),
        ),
        ("SETTINGS of a stream", frame(SETTINGS, 0, 1, &[])),
        ("SETTINGS of a wrong size", frame(SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS ACK with something", frame(SETTINGS, ACK, 0, &[0; 6])),
        ("a frame size that is too small", settings(&[(MAX_FRAME_SIZE, 1)])),
        ("a push setting of two", settings(&[(2, 2)])),
        ("PING of a stream", frame(PING, 0, 1, &[0; 8])),
        ("GOAWAY of a stream", frame(GOAWAY, 0, 1, &[0; 8])),
        ("PRIORITY of a wrong size", frame(PRIORITY, 0, 1, &[0; 4])),
        ("too large a frame", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 16_385])),
        ("padding longer than its frame", frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &[200, 0x82])),
        (
            "a stream that depends on itself",
            frame(HEADERS, END_STREAM | END_HEADERS | 0x20, 1, &[&[0, 0, 0, 1, 0][..], &block].concat()),
        ),
    ];
    for (what, bytes) in wrong {
        let mut connection = Connection::open(way, &server, &[]).await;
        connection.send(&bytes).await;
        // Some are errors of a stream, and some of the connection. A request after it may then be served, or not.
        let mut ended = false;
        let begun = Instant::now();
        while !ended && begun.elapsed() < Duration::from_secs(3) {
            match connection.next(Duration::from_secs(1)).await {
                Some(next) => ended |= matches!(next.kind, GOAWAY | RST_STREAM),
                None => ended |= connection.raw.ended,
            }
        }
        assert!(ended, "{what}: it is ignored");
        assert_eq!(streams(&server).await, 0, "{what}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

/// What HTTP/1.1 would read as line ends, framing or another request, over HTTP/2 (RFC 9113, sections 8.2 and 10.3).
async fn headers_of_another_protocol(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let ok = || request("GET", b"/t/acme/events");
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("CRLF in a value", [ok(), header("x", b"y\r\ninjected: 1")].concat()),
        ("LF in a value", [ok(), header("x", b"y\ninjected: 1")].concat()),
        ("NUL in a value", [ok(), header("x", b"y\0")].concat()),
        ("CRLF in a name", [ok(), header("x: y\r\ninjected", b"1")].concat()),
        ("a space in a name", [ok(), header("x y", b"1")].concat()),
        ("a colon in a name", [ok(), header("x:y", b"1")].concat()),
        ("no name", [ok(), header("", b"1")].concat()),
        ("an upper-case name", [ok(), header("Last-Event-ID", b"1")].concat()),
        ("Connection", [ok(), header("connection", b"close")].concat()),
        ("Transfer-Encoding", [ok(), header("transfer-encoding", b"chunked")].concat()),
        ("Upgrade", [ok(), header("upgrade", b"h2c")].concat()),
        ("TE", [ok(), header("te", b"gzip")].concat()),
        ("no path", [header(":method", b"GET"), header(":scheme", b"http")].concat()),
        ("no method", [header(":scheme", b"http"), header(":path", b"/t/acme/events")].concat()),
        ("two paths", [ok(), header(":path", b"/t/victim/events")].concat()),
        ("two methods", [ok(), header(":method", b"POST")].concat()),
        (
            "a pseudo-header at the end",
            [request("GET", b"/t/acme/events")[..].to_vec(), header("x", b"y"), header(":authority", b"b")]
                .concat(),
        ),
        ("an unknown pseudo-header", [ok(), header(":injected", b"1")].concat()),
        ("a status", [ok(), header(":status", b"200")].concat()),
        ("CRLF in a path", request("GET", b"/t/acme/events HTTP/1.1\r\nHost: b\r\n\r\nGET /")),
        ("a space in a path", request("GET", b"/t/acme/events HTTP/1.1")),
        ("an empty path", request("GET", b"")),
        ("a path without a slash", request("GET", b"t/acme/events")),
        ("CRLF in a method", request("GET / HTTP/1.1\r\nHost: b\r\n\r\nGET", b"/t/acme/events")),
        ("an empty method", request("", b"/t/acme/events")),
        ("a length that is none", [ok(), header("content-length", b"-1")].concat()),
        ("two lengths", [ok(), header("content-length", b"0"), header("content-length", b"5")].concat()),
        ("a length without a body", [ok(), header("content-length", b"5")].concat()),
        (
            "a method of extended CONNECT",
            [request("CONNECT", b"/t/acme/events"), header(":protocol", b"websocket")].concat(),
        ),
    ];
    for (what, block) in wrong {
        let mut connection = Connection::open(way, &server, &[]).await;
        connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await;
        let mut status = None;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            match connection.next(Duration::from_secs(1)).await {
                Some(Frame { kind: HEADERS, payload, .. }) => {
                    status = Some(payload[0]);
                    break;
                }
                Some(Frame { kind: RST_STREAM | GOAWAY, .. }) => break,
                Some(_) => {}
                None if connection.raw.ended => break,
                None => {}
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: no answer");
        assert_ne!(status, Some(0x88), "{what}: it is a stream");
        assert_eq!(streams(&server).await, 0, "{what}");
    }
    a_newcomer_is_served(way, &mut server).await;
}

/// A connection that asks for nothing, or never finishes to ask, is closed as one of HTTP/1 is.
async fn connections_that_ask_for_nothing(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&[]).await;
    let begins: Vec<Vec<u8>> = vec![
        Vec::new(),
        PREFACE.to_vec(),
        [PREFACE, &settings(&[])].concat(),
        [PREFACE, &settings(&[]), &frame(HEADERS, END_STREAM, 1, &request("GET", b"/t/acme/events"))]
            .concat(),
        [PREFACE, &settings(&[]), &frame(SETTINGS, 0, 0, &[0; 60])[..30]].concat(),
    ];
    let mut connections = Vec::new();
    for begin in &begins {
        let mut raw = crate::http_client::Raw::open(way, &server).await;
        raw.send(begin).await;
        connections.push(raw);
    }
    a_newcomer_is_served(way, &mut server).await;
    let begun = Instant::now();
    for connection in &mut connections {
        connection.end_within(Duration::from_secs(30).saturating_sub(begun.elapsed())).await;
    }
    println!("{way:?}: all closed after {:?}", begun.elapsed());
}

/// Pings keep a connection without a request no longer than silence.
async fn pings_are_no_requests(way: Way) {
    let _beside = beside_others().await;
    let server = way.server(&[]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    let begun = Instant::now();
    while !connection.raw.ended {
        assert!(begun.elapsed() < Duration::from_secs(30), "pings keep it open");
        connection.send(&frame(PING, 0, 0, &[1; 8])).await;
        while connection.next(Duration::from_millis(300)).await.is_some() {}
    }
}

/// When the process stops, a client is told at once to ask elsewhere for what is new, and its streams end with their last word. Who comes
/// then is answered that it stops.
async fn the_end_of_the_process(way: Way) {
    let _beside = beside_others().await;
    let mut server = way.server(&["--drain-timeout", "10s"]).await;
    let mut connection = Connection::open(way, &server, &[]).await;
    for number in [1, 3] {
        connection.send(&acme(number)).await;
        assert_eq!(connection.status(number).await, Some(200));
    }
    server.stop();
    let goodbye = connection.next_of(GOAWAY, 0).await.payload;
    assert_eq!(goodbye, [&3_u32.to_be_bytes()[..], &[0; 4]].concat(), "the last stream, and no error");
    let mut newcomer = Connection::open(way, &server, &[]).await;
    newcomer.send(&acme(1)).await;
    assert_eq!(newcomer.status(1).await, Some(499), "503");
    // What comes over the old connection is not served: its client knows, and asks elsewhere.
    connection.send(&acme(5)).await;
    let (mut ended, mut last) = (Vec::new(), String::new());
    while !connection.raw.ended {
        let Some(next) = connection.next(Duration::from_secs(5)).await else { continue };
        assert!(next.stream != 5, "{next:?}");
        if next.kind == DATA {
            last.push_str(&String::from_utf8_lossy(&next.payload));
            ended.extend((next.flags & END_STREAM != 0).then_some(next.stream));
        }
    }
    ended.sort_unstable();
    assert_eq!((ended, last.matches("tailrace.drain").count()), (vec![1, 3], 2));
}

/// Connections that ask for more than their sockets take, and read it late, are no slow readers: their answers stay where they are until the
/// sockets take them, and use none of the memory for what clients have not read.
async fn many_files_at_once(way: Way) {
    const CONNECTIONS: usize = 40;
    const REQUESTS: usize = 60;
    const FILE: &str = "/assets/uplot/uPlot.iife.min.js";
    let _alone = alone().await;
    let tls = way.flags();
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let server = Server::with_unread(4 << 20, &tls).await;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(way, &server, &[(INITIAL_WINDOW_SIZE, 1 << 24)]).await;
        connection.send(&window_update(0, 1 << 28)).await;
        let requests: Vec<u8> = numbers(REQUESTS).flat_map(|number| get(number, FILE)).collect();
        assert!(connection.send(&requests).await);
        connections.push(connection);
    }
    // Time enough to fill every socket.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut sizes = std::collections::HashSet::new();
    for connection in &mut connections {
        let (mut ended, mut bytes) = (0, 0);
        while ended < REQUESTS {
            let next = connection.next(Duration::from_secs(10)).await;
            let next = next.unwrap_or_else(|| panic!("{ended} of {REQUESTS} files have come"));
            assert!(![RST_STREAM, GOAWAY].contains(&next.kind), "{next:?}");
            bytes += if next.kind == DATA { next.payload.len() } else { 0 };
            ended += usize::from(next.kind == DATA && next.flags & END_STREAM != 0);
        }
        sizes.insert(bytes);
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}

on_both_doors_of_http_2! {
    many_files_at_once_are_not_taken_for_slow_readers, super::many_files_at_once;
    the_end_of_the_process_is_announced, super::the_end_of_the_process;
    rapid_resets_end_the_connection, super::rapid_reset;
    requests_that_are_reset_leave_no_place_behind, super::resets_of_served_requests;
    resets_that_the_server_is_made_to_send_end_the_connection, super::made_resets;
    headers_without_an_end_end_the_connection, super::continuations_with_headers;
    empty_continuations_end_the_connection, super::continuations_with_nothing;
    a_flood_of_settings_is_held_up, super::settings_flood;
    a_flood_of_pings_is_held_up, super::ping_flood;
    floods_that_need_no_answer_take_no_memory, super::floods_without_answers;
    bodies_of_requests_take_no_memory, super::a_large_body;
    a_window_of_zero_takes_no_memory_and_delays_nobody, super::a_window_of_zero;
    streams_of_which_nothing_is_taken_are_reset, super::streams_that_nobody_takes;
    windows_that_are_too_large_are_errors, super::windows_too_large;
    a_bomb_of_headers_is_refused, super::header_bomb;
    wrong_compression_ends_the_connection, super::wrong_compression;
    more_streams_than_are_taken_are_refused, super::too_many_streams;
    limits_count_streams_and_not_connections, super::limits_of_streams;
    rates_count_streams_and_not_connections, super::limits_of_rates;
    nothing_is_left_of_a_connection_that_ends, super::a_connection_that_ends;
    wrong_frames_are_errors, super::wrong_frames;
    headers_of_another_protocol_open_no_stream, super::headers_of_another_protocol;
    connections_that_ask_for_nothing_are_closed, super::connections_that_ask_for_nothing;
    pings_keep_no_connection_open, super::pings_are_no_requests;
}
