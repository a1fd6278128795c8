//! A client's side of a connection, frame by frame.

use proptest::prelude::*;

use super::super::frame::{PREFACE, put, put_head, put_reset, put_settings, put_window_update};
use super::*;

/// A client with its connection.
struct Lab {
    connection: Connection<u32>,
    now: Moment,
    events: Vec<Event<u32>>,
}

/// A frame that the server has sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

const GET: &[u8] = b"\x82\x86\x84\x01\x01a";

impl Lab {
    fn new() -> Lab {
        let now = Moment::now();
        let mut lab = Lab { connection: Connection::new(false, now), now, events: Vec::new() };
        assert!(lab.receive(PREFACE) && lab.say(|out| put_settings(out, &[])));
        lab.sent();
        lab
    }

    fn receive(&mut self, bytes: &[u8]) -> bool {
        self.connection.receive(bytes, self.now, &mut self.events)
    }

    fn say(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut bytes = Vec::new();
        put(&mut bytes);
        self.receive(&bytes)
    }

    fn get(&mut self, stream: u32) -> bool {
        let said = self.say(|out| put(out, kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream, GET));
        if let Some(Event::Request(..)) = self.events.last() {
            let _ = self.connection.own(stream, stream);
        }
        said
    }

    fn sent(&mut self) -> Vec<Sent> {
        let bytes = self.connection.out().take().concat();
        let (mut left, mut all) = (&bytes[..], Vec::new());
        while let Some((head, rest)) = left.split_first_chunk::<9>() {
            let Head { length, kind, flags, stream } = Head::read(head);
            let (payload, rest) = rest.split_at(length);
            all.push(Sent { kind, flags, stream, payload: payload.to_vec() });
            left = rest;
        }
        assert!(left.is_empty());
        all
    }

    /// The code with which the connection has ended.
    fn end(&mut self) -> Option<u8> {
        let sent = self.sent();
        sent.iter().find(|sent| sent.kind == kind::GOAWAY).map(|sent| sent.payload[7])
    }

    fn resets(&mut self) -> Vec<(u32, u8)> {
        let sent = self.sent();
        let resets = sent.iter().filter(|sent| sent.kind == kind::RST_STREAM);
        resets.map(|sent| (sent.stream, sent.payload[3])).collect()
    }

    fn data(&mut self) -> Vec<(u32, usize, bool)> {
        let sent = self.sent();
        let data = sent.iter().filter(|sent| sent.kind == kind::DATA);
        data.map(|sent| (sent.stream, sent.payload.len(), sent.flags & flag::END_STREAM != 0)).collect()
    }
}

fn bytes(size: usize) -> Bytes {
    vec![b'x'; size].into()
}

#[test]
fn a_request_is_answered_and_its_end_is_on_the_last_frame() {
    let mut lab = Lab::new();
    assert!(lab.get(1));
    let Some(Event::Request(1, request)) = lab.events.pop() else { panic!("no request") };
    assert_eq!((request.uri().path(), request.method().as_str()), ("/", "GET"));
    lab.connection.begin(1, b"\x88", false);
    assert_eq!(lab.connection.send(1, &[bytes(300), bytes(2000)]), 2300);
    lab.connection.end(1);
    let sent = lab.sent();
    assert_eq!(
        (sent[0].kind, sent[0].flags, &sent[0].payload[..]),
        (kind::HEADERS, flag::END_HEADERS, &b"\x88"[..])
    );
    assert_eq!((sent[1].kind, sent[1].flags, sent[1].payload.len()), (kind::DATA, flag::END_STREAM, 2300));
    assert!(sent.len() == 2 && lab.connection.is_idle());
    // Where another stream has spoken since, the end is a frame of its own.
    assert!(lab.get(3) && lab.get(5));
    lab.connection.send(3, &[bytes(300)]);
    lab.connection.send(5, &[bytes(300)]);
    lab.connection.end(3);
    assert_eq!(lab.data(), [(3, 300, false), (5, 300, false), (3, 0, true)]);
}

#[test]
fn nothing_is_sent_beyond_a_window_and_no_frame_is_small() {
    let mut lab = Lab::new();
    assert!(lab.get(1) && lab.get(3));
    assert_eq!(lab.connection.send(1, &[bytes(40_000)]), 40_000);
    // That of the connection ends first.
    assert_eq!(lab.connection.send(3, &[bytes(40_000)]), 25_535);
    assert_eq!(lab.connection.send(3, &[bytes(10)]), 0);
    let frames = lab.data();
    assert!(frames.iter().all(|(_, size, _)| *size >= SMALLEST_DATA && *size <= LARGEST), "{frames:?}");
    assert_eq!(frames.iter().map(|(_, size, _)| size).sum::<usize>(), 65_535);
    lab.events.clear();
    assert!(lab.say(|out| put_window_update(out, 0, 1000)));
    assert!(matches!(lab.events[..], [Event::RoomForAll]));
    assert_eq!(lab.connection.send(3, &[bytes(2000)]), 1000);
    // A window may become negative, and is none then.
    assert!(lab.say(|out| put_settings(out, &[(setting::INITIAL_WINDOW_SIZE, 0)])));
    assert!(lab.say(|out| put_window_update(out, 0, 1_000_000)));
    assert_eq!(lab.connection.send(1, &[bytes(2000)]), 0);
    assert!(lab.say(|out| put_window_update(out, 1, 40_100)));
    assert_eq!(lab.connection.send(1, &[bytes(2000)]), 100);
    // 16,384 and then 10 would be a small frame.
    assert!(lab.say(|out| put_window_update(out, 1, 100_000)));
    lab.sent();
    lab.connection.send(1, &[bytes(LARGEST + 10)]);
    assert_eq!(lab.data(), [(1, LARGEST - SMALLEST_DATA, false), (1, SMALLEST_DATA + 10, false)]);
}

#[test]
fn what_a_client_resets_is_gone_and_too_much_of_it_ends_the_connection() {
    let mut lab = Lab::new();
    for stream in (1..2_001).step_by(2) {
        assert!(lab.get(stream));
        lab.connection.begin(stream, b"\x88", false);
        lab.events.clear();
        assert!(
            lab.say(|out| put_reset(out, stream, Code::Cancel)),
            "an answered one costs nothing: {stream}"
        );
        assert!(matches!(lab.events[..], [Event::Gone(gone)] if gone == stream));
    }
    let ended = (2_001..9_001)
        .step_by(2)
        .position(|stream| !(lab.get(stream) && lab.say(|out| put_reset(out, stream, Code::Cancel))));
    assert_eq!((ended, lab.end()), (Some(RESETS.0 as usize), Some(Code::EnhanceYourCalm as u8)));
}

#[test]
fn frames_that_bring_nothing_are_limited_unless_the_client_reads() {
    let mut lab = Lab::new();
    let ended = (0..20_000).position(|_| !lab.say(|out| put(out, kind::PING, flag::ACK, 0, &PING)));
    assert!(ended.is_some_and(|at| at > 9_000), "{ended:?}");
    assert_eq!(lab.end(), Some(Code::EnhanceYourCalm as u8));
    let mut lab = Lab::new();
    assert!(lab.get(1));
    for _ in 0..20_000 {
        assert_eq!(lab.connection.send(1, &[bytes(300)]), 300);
        assert!(
            lab.say(|out| put_window_update(out, 0, 300)) && lab.say(|out| put_window_update(out, 1, 300))
        );
        lab.events.clear();
    }
}

#[test]
fn streams_beyond_the_most_are_refused() {
    let mut lab = Lab::new();
    for stream in (1..=2 * MAX_STREAMS as u32 + 1).step_by(2) {
        assert!(lab.get(stream));
    }
    assert_eq!(lab.resets(), [(2 * MAX_STREAMS as u32 + 1, Code::RefusedStream as u8)]);
    assert_eq!(lab.connection.owners().count(), MAX_STREAMS);
}

/// A body is not read, and bounded by the window of its stream; where it is longer or shorter than it says, it is an error.
#[test]
fn bodies_are_dropped_and_must_be_what_they_say() {
    let post = |lab: &mut Lab, stream, length: &str| {
        let more = [&b"\x0f\x0d"[..], &[length.len() as u8], length.as_bytes()].concat();
        lab.say(|out| put(out, kind::HEADERS, flag::END_HEADERS, stream, &[GET, &more].concat()))
    };
    let data = |lab: &mut Lab, stream, size: usize, ends| {
        let payload = vec![0; size];
        lab.say(|out| put(out, kind::DATA, if ends { flag::END_STREAM } else { 0 }, stream, &payload))
    };
    let mut lab = Lab::new();
    assert!(post(&mut lab, 1, "5") && data(&mut lab, 1, 5, true));
    assert!(post(&mut lab, 3, "5") && data(&mut lab, 3, 4, true));
    assert!(post(&mut lab, 5, "5") && data(&mut lab, 5, 6, false));
    assert_eq!(lab.resets(), [(3, Code::Protocol as u8), (5, Code::Protocol as u8)]);
    // After its end, and more than its window.
    assert!(data(&mut lab, 1, 1, false));
    assert!(post(&mut lab, 7, "1000000") && (0..5).all(|_| data(&mut lab, 7, 16_000, false)));
    assert_eq!(lab.resets(), [(1, Code::StreamClosed as u8), (7, Code::FlowControl as u8)]);
    // What comes for a stream that was reset is dropped, as it may have been sent before.
    assert!(data(&mut lab, 7, 100, true) && lab.resets().is_empty());
    // An answer before the end of the request, which may go on for a while, and not for ever.
    for stream in [9, 11] {
        assert!(post(&mut lab, stream, "1000"));
        lab.connection.begin(stream, b"\x88", true);
    }
    assert!(lab.connection.is_idle() && !lab.connection.has(9));
    assert!(data(&mut lab, 9, 1000, true) && lab.resets().is_empty());
    assert_eq!(lab.connection.look(lab.now), Some(lab.now.plus(REST)));
    assert_eq!(lab.connection.look(lab.now.plus(REST)), None);
    assert_eq!(lab.resets(), [(11, Code::NoError as u8)]);
    // Of nothing.
    assert!(!data(&mut lab, 13, 1, false));
    assert_eq!(lab.end(), Some(Code::Protocol as u8));
}

#[test]
fn after_a_goodbye_nothing_new_is_served_and_the_rest_goes_on() {
    let mut lab = Lab::new();
    assert!(lab.get(1));
    lab.connection.go_away(Code::NoError);
    assert_eq!(lab.end(), Some(0));
    lab.events.clear();
    assert!(lab.get(3) && lab.events.is_empty());
    assert_eq!(lab.connection.send(1, &[bytes(300)]), 300);
    lab.connection.end(1);
    assert_eq!(lab.data(), [(1, 300, true)]);
    assert!(lab.connection.is_idle());
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(GET.to_vec()),
        any::<u32>().prop_map(|number| number.to_be_bytes().to_vec()),
        any::<[u8; 6]>().prop_map(|setting| setting.to_vec()),
    ];
    (0_u8..11, any::<u8>(), 0_u32..12, payload).prop_map(|(kind, flags, stream, payload)| {
        let mut out = Vec::new();
        put(&mut out, kind, flags, stream, &payload);
        out
    })
}

proptest! {
    /// Whatever a client sends, and however it comes: the connection goes on or ends with a reason; each stream is told of
    /// once; and what is sent are whole frames within the windows.
    #[test]
    fn any_frames_are_served_or_refused(
        frames in prop::collection::vec(any_frame(), 0..60), cut in 1_usize..50
    ) {
        let mut lab = Lab::new();
        let mut there = std::collections::BTreeSet::new();
        for part in frames.concat().chunks(cut) {
            let goes_on = lab.receive(part);
            for event in std::mem::take(&mut lab.events) {
                match event {
                    Event::Request(number, _) => {
                        prop_assert!(there.insert(number));
                        if lab.connection.own(number, number).is_err() {
                            there.remove(&number);
                        }
                    }
                    Event::Gone(number) => prop_assert!(there.remove(&number)),
                    Event::Room(_) | Event::RoomForAll => {}
                }
            }
            let owners: Vec<u32> = lab.connection.owners().map(|(number, _)| number).collect();
            prop_assert_eq!(&owners, &there.iter().copied().collect::<Vec<_>>());
            for number in owners {
                lab.connection.send(number, &[bytes(500)]);
            }
            if !goes_on {
                prop_assert!(lab.end().is_some());
                break;
            }
            lab.sent();
        }
    }
}

#[test]
fn a_large_head_is_refused_and_a_larger_one_ends_the_connection() {
    let mut lab = Lab::new();
    let kept = [GET, b"\x40\x01x\x7f\xa1\x1e", &[b'y'; 4000]].concat();
    let say = |lab: &mut Lab, stream, block: &[u8]| {
        lab.say(|out| {
            put_head(out, block.len(), kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, stream);
            out.extend_from_slice(block);
        })
    };
    assert!(say(&mut lab, 1, &kept));
    assert!(say(&mut lab, 3, &[GET, &[0xbe; 9]].concat()));
    let sent = lab.sent();
    assert_eq!((sent[0].stream, &sent[0].payload[..], lab.events.len()), (3, &b"\x08\x03431"[..], 1));
    assert!(!say(&mut lab, 5, &[GET, &[0xbe; 16_000]].concat()));
    assert_eq!(lab.end(), Some(Code::EnhanceYourCalm as u8));
}
