//! Confluent's wire format, as its own serializers write it.

use proptest::prelude::*;
use tailrace_formats::Undecodable;
use tailrace_formats::confluent::{Frame, SchemaId, take_message_indexes};

#[test]
fn a_frame_is_a_zero_and_an_id() {
    let frame = Frame::of(b"\x00\x00\x01\x00\x02payload").unwrap();
    assert_eq!((frame.schema, frame.rest), (SchemaId::Id(65538), b"payload".as_slice()));
    assert_eq!(Frame::of(b"\x00\xff\xff\xff\xff").unwrap().schema, SchemaId::Id(u32::MAX));
    for bytes in [
        b"".as_slice(),
        b"\x00",
        b"\x00\x00\x00\x01",
        b"{\"a\":1}",
        b"\x01\x00\x00\x00\x01x",
        b"\x02\x00\x00\x00\x01",
    ] {
        assert_eq!(Frame::of(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_header_has_a_guid_or_an_id() {
    // SchemaId("PROTOBUF", guid="89791762-2336-4186-9674-299b90a802e2", message_indexes=[1, 0]).guid_to_bytes()
    let header = b"\x01\x89\x79\x17\x62\x23\x36\x41\x86\x96\x74\x29\x9b\x90\xa8\x02\xe2\x04\x02\x00";
    let mut frame = Frame::of_header(header).unwrap();
    assert_eq!(frame.schema.to_string(), "89791762-2336-4186-9674-299b90a802e2");
    assert_eq!(take_message_indexes(&mut frame.rest).unwrap()[..], [1, 0]);
    assert!(frame.rest.is_empty());
    let frame = Frame::of_header(&header[..17]).unwrap();
    assert!(matches!(frame.schema, SchemaId::Guid(_)) && frame.rest.is_empty());
    assert_eq!(Frame::of_header(&header[..16]), None);
    assert_eq!(Frame::of_header(b"\x00\x00\x00\x00\x07\x00").unwrap().schema, SchemaId::Id(7));
    assert_eq!(Frame::of_header(b"7"), None);
    assert_eq!(SchemaId::Id(7).to_string(), "7");
}

#[test]
fn message_indexes_are_zigzag_varints_after_their_count() {
    // As SchemaId(…).id_to_bytes() of confluent-kafka writes them, behind the id.
    let all: [(&[u8], &[i32]); 5] = [
        (b"\x00", &[0]),
        (b"\x02\x02", &[1]),
        (b"\x06\x02\x00\x04", &[1, 0, 2]),
        (b"\x04\x80\x01\x00", &[64, 0]),
        (b"\x02\xfe\xff\xff\xff\x0f", &[i32::MAX]),
    ];
    for (bytes, indexes) in all {
        let framed = [bytes, b"rest"].concat();
        let mut rest = framed.as_slice();
        assert_eq!(take_message_indexes(&mut rest).unwrap()[..], *indexes);
        assert_eq!(rest, b"rest");
    }
}

#[test]
fn indexes_that_cannot_be_are_a_mismatch() {
    for bytes in [
        b"".as_slice(),
        // A count without what it counts, below zero, and too large.
        b"\x02",
        b"\x01\x00",
        b"\xfe\xff\xff\xff\x0f\x00",
        &[&[66][..], &[0; 40]].concat(),
        // An index below zero; a varint without end, and one of too many bits.
        b"\x02\x01",
        b"\x02\x80",
        b"\x02\xff\xff\xff\xff\xff\xff\x01",
        b"\x02\xff\xff\xff\xff\x1f",
    ] {
        let mut rest = bytes;
        assert!(matches!(take_message_indexes(&mut rest), Err(Undecodable::Mismatch(_))), "{bytes:?}");
        assert_eq!(rest, bytes, "an error takes nothing");
    }
}

proptest! {
    #[test]
    fn indexes_read_back(indexes in proptest::collection::vec(0..=i32::MAX, 1..32)) {
        let mut bytes = Vec::new();
        for number in [indexes.len() as i32].iter().chain(&indexes) {
            prost::encoding::encode_varint(u64::from((*number as u32) << 1), &mut bytes);
        }
        let mut rest = bytes.as_slice();
        prop_assert_eq!(&take_message_indexes(&mut rest).unwrap()[..], &indexes[..]);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
        let _ = (Frame::of(&bytes), Frame::of_header(&bytes));
        let _ = take_message_indexes(&mut bytes.as_slice());
    }
}
