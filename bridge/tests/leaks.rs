//! What a tenant may not see, looked for in all bytes that it can get: live, replayed from memory and from Kafka, the last
//! records, under each envelope, and by filters. Each attack has a test of its name.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a test is not the core")]

mod support;

use std::sync::Arc;

use support::manual_clock::ManualClock;
use support::*;
use tailrace_bridge::*;

/// Stands in masked fields only.
const TOKEN: &str = "s3cr3t-t0k3n";
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const MASKS: &str =
    "orders=/user/email:redact,orders=/user/phone:hash,*=/ssn:remove,orders=/items/*/note:redact";

fn privacy(masks: &str, headers: &str) -> Privacy {
    let mut masks: Masks = masks.parse().unwrap();
    masks.set_key(MaskKey::parse(KEY).unwrap());
    Privacy { id_keys: None, masks, headers: headers.parse().unwrap(), source: Default::default() }
}

/// Records with the token in each masked field, in each disguise.
fn values() -> Vec<String> {
    vec![
        format!(r#"{{"n":1,"user":{{"email":"{TOKEN}","phone":"{TOKEN}","name":"ann"}},"ssn":"{TOKEN}"}}"#),
        format!(
            r#"{{"n":2,"\u0075ser":{{"em\u0061il":["{TOKEN}",{{"x":"{TOKEN}"}}]}},"\u0073sn":"{TOKEN}"}}"#
        ),
        format!(r#"{{"n":3,"user":{{"email":1,"email":"{TOKEN}"}},"user":{{"email":"{TOKEN}"}}}}"#),
        format!(r#"{{"n":4,"items":[{{"note":"{TOKEN}"}},{{"note":"{TOKEN}","note":"{TOKEN}"}}]}}"#),
        format!("{{\"n\":5,\"user\":{{\"email\":\"{TOKEN}\"}}"),
        format!("\u{feff}{{\"n\":6,\"user\":{{\"email\":\"{TOKEN}\"}}}}"),
        format!("n=7&email={TOKEN}"),
        format!("{{\"n\":8,\"user\":\r\n\t{{\"email\" :\r\"{TOKEN}\"}}}}"),
    ]
}

struct Scene {
    clock: ManualClock,
    kafka: Kafka,
    bridge: Bridge,
}

impl Scene {
    /// With all of the records in memory, or only in Kafka.
    fn new(privacy: Privacy, in_memory: bool) -> Scene {
        let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(1));
        let bridge = bridge_showing(1 << 20, &kafka, Arc::new(clock.clone()), privacy);
        let facts: Vec<Fact> = values()
            .iter()
            .enumerate()
            .map(|(n, value)| kafka.write(0, "acme", value, n as i64, 0))
            .collect();
        let offset = if in_memory { 0 } else { facts.len() as u64 };
        bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset, epoch: 0, log_start: 0 }]);
        let scene = Scene { clock, kafka, bridge };
        if in_memory {
            scene.append(&facts);
        }
        scene
    }

    fn append(&self, facts: &[Fact]) {
        append(&self.bridge, &self.bridge.topic("orders").unwrap().partitions()[0].clone(), facts);
    }

    /// The same records once more, for those who listen now.
    fn write_again(&self) {
        let facts: Vec<Fact> =
            values().iter().map(|value| self.kafka.write(0, "acme", value, 9, 0)).collect();
        self.append(&facts);
    }

    fn subscribe(&self, request: SubscribeRequest) -> Result<Subscription, SubscribeError> {
        self.clock.block_on(self.bridge.subscribe(request))
    }

    /// All bytes until the client is live and has everything.
    fn bytes(&self, subscription: &mut Subscription) -> String {
        let mut all = format!("id: {}\n\n", subscription.id()).into_bytes();
        loop {
            match subscription.next(Budget { records: 3, bytes: 4096 }) {
                Next::Frames { bytes, .. } => all.extend(joined(bytes)),
                Next::Wait if subscription.is_live() => break,
                Next::Wait => self.clock.block_on(subscription.changed()),
            }
        }
        all.extend(subscription.progress().map(|id| format!("id: {id}\n\n")).unwrap_or_default().bytes());
        String::from_utf8(all).unwrap()
    }
}

fn wanting(envelope: Envelope, unmasked: bool, from: StartFrom) -> SubscribeRequest {
    SubscribeRequest { envelope, unmasked, ..request(None, from) }
}

#[test]
fn an_attack_by_each_way_out_finds_no_masked_byte() {
    for in_memory in [true, false] {
        for envelope in [Envelope::None, Envelope::Record, Envelope::CloudEvents] {
            for from in [
                StartFrom::Latest,
                StartFrom::Earliest,
                StartFrom::Last(100),
                StartFrom::Ago(Default::default()),
            ] {
                let scene = Scene::new(privacy(MASKS, "*"), in_memory);
                let mut subscription = scene.subscribe(wanting(envelope, false, from.clone())).unwrap();
                let replayed = scene.bytes(&mut subscription);
                scene.write_again();
                let live = scene.bytes(&mut subscription);
                for bytes in [&replayed, &live] {
                    assert!(!bytes.contains(TOKEN), "{in_memory} {envelope} {from:?}: {bytes}");
                }
                // The records themselves have come, each once.
                let is_all = matches!(from, StartFrom::Earliest | StartFrom::Last(_));
                assert_eq!(
                    replayed.matches("\nid: ").count() >= 8,
                    is_all,
                    "{in_memory} {from:?}: {replayed}"
                );
                assert_eq!(live.matches("\nid: ").count(), 8, "{live}");
                assert!(live.contains("\"name\":\"ann\""), "{live}");
            }
        }
    }
}

#[test]
fn what_was_masked_is_there_for_those_who_may_see_it() {
    let scene = Scene::new(privacy(MASKS, "*"), true);
    let mut subscription = scene.subscribe(wanting(Envelope::None, true, StartFrom::Earliest)).unwrap();
    let bytes = scene.bytes(&mut subscription);
    let expected: usize = values().iter().map(|value| value.matches(TOKEN).count()).sum();
    assert_eq!(bytes.matches(TOKEN).count(), expected);
    assert!(!bytes.contains("tailrace.masked") && !bytes.contains("***"));
}

#[test]
fn an_attack_by_sharing_a_view_with_one_who_may_see_more_finds_nothing() {
    let scene = Scene::new(privacy(MASKS, "*"), true);
    for unmasked_first in [true, false] {
        let open = |unmasked| scene.subscribe(wanting(Envelope::None, unmasked, StartFrom::Latest)).unwrap();
        let (mut one, mut other) = (open(unmasked_first), open(!unmasked_first));
        assert_ne!(one.view(), other.view());
        scene.write_again();
        let (one, other) = (scene.bytes(&mut one), scene.bytes(&mut other));
        assert_eq!((one.contains(TOKEN), other.contains(TOKEN)), (unmasked_first, !unmasked_first));
    }
    // Where nothing is masked, both read the same view.
    let scene = Scene::new(privacy("", "*"), true);
    let views = [true, false]
        .map(|unmasked| scene.subscribe(wanting(Envelope::None, unmasked, StartFrom::Latest)).unwrap());
    assert_eq!(views[0].view(), views[1].view());
}

#[test]
fn a_value_that_cannot_be_searched_is_an_event_that_says_so() {
    let scene = Scene::new(privacy(MASKS, "*"), true);
    let shown =
        |envelope| scene.bytes(&mut scene.subscribe(wanting(envelope, false, StartFrom::Earliest)).unwrap());
    let plain = blocks(shown(Envelope::None).as_bytes());
    let withheld: Vec<_> = plain.iter().filter(|block| block.event == "tailrace.masked").collect();
    assert_eq!(withheld.len(), 3);
    for block in withheld {
        let data: serde_json::Value = serde_json::from_str(block.data.as_deref().unwrap()).unwrap();
        assert_eq!((&data["value"], &data["value_kind"]), (&serde_json::Value::Null, &"masked".into()));
        assert!(data["offset"].is_u64() && block.id.is_some());
    }
    assert_eq!(shown(Envelope::Record).matches(r#""value":null,"value_kind":"masked""#).count(), 3);
    let events = shown(Envelope::CloudEvents);
    assert_eq!(events.matches(r#","valuekind":"masked"}"#).count(), 3, "{events}");
    assert_eq!(events.matches(r#""data":"#).count(), 5, "{events}");
    assert!(!events.contains("event: tailrace.tombstone"), "{events}");
}

#[test]
fn an_attack_by_a_filter_on_a_masked_field_is_refused() {
    let scene = Scene::new(privacy(MASKS, "*"), true);
    let ask = |condition: &str, topics: &[&str], unmasked| {
        let filter = Filter::parse(&[], &[], &[condition.to_owned()]).unwrap();
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        let asked = wanting(Envelope::None, unmasked, StartFrom::Earliest);
        scene.subscribe(SubscribeRequest { filter, topics, ..asked }).map(|_| ())
    };
    for condition in [
        &format!("value.user.email={TOKEN}"),
        "value.user.email!=x",
        "value.user.email^=s",
        "value/user/email>a",
        "value.user.phone=17",
        "value.user=x",
        "value.user!=x",
        "value.user.email.domain=x",
        "value/user/email/0=x",
        "value.ssn^=s",
        "value/ssn=x",
        "value.items.0.note=x",
        "value.items.7=x",
        "value.items!=x",
        "value=x",
        "value^={",
        "value!=x",
        // What was removed is lacking for who may not see it: whether it is there tells of it.
        "value.user.email?",
        "!value.user.email?",
        "value/user/phone?",
        "!value.ssn?",
        "value.user?",
        "value.items.0.note?",
        "!value.items.7?",
        "value?",
        "!value?",
        "(value.n=1|value.ssn?)",
        "(value.user.email^=s|value.n=1)",
        "(value.n=1|value.n=2|!value.items?)",
    ] {
        for topics in [&[][..], &["orders"]] {
            let refused = ask(condition, topics, false).unwrap_err();
            assert!(
                matches!(refused, SubscribeError::Masked(MaskedCondition::Field(_))),
                "{condition}: {refused:?}"
            );
            assert!(refused.to_string().contains("event:unmask:{tenant}"), "{refused}");
        }
        assert!(ask(condition, &[], true).is_ok(), "{condition}");
    }
    for condition in [
        "value.n=1",
        "value.user.name=ann",
        "value.items.0.price=1",
        "key=x",
        "type=x",
        "header.x=y",
        "value.n?",
        "!value.user.name?",
        "(value.n=1|value.user.name?|key=x|header.x?)",
    ] {
        assert!(ask(condition, &[], false).is_ok(), "{condition}");
    }
}

#[test]
fn a_mask_of_a_topic_that_the_stream_does_not_read_refuses_no_filter() {
    let scene = Scene::new(privacy("other=/n:redact", "*"), true);
    let filter = Filter::parse(&[], &[], &["value.n=1".to_owned()]).unwrap();
    let asked = |topics| SubscribeRequest {
        filter: filter.clone(),
        topics,
        ..wanting(Envelope::None, false, StartFrom::Earliest)
    };
    assert!(scene.subscribe(asked(vec!["orders".to_owned()])).is_ok());
    // It would read the other topic once that exists.
    assert!(matches!(scene.subscribe(asked(Vec::new())), Err(SubscribeError::Masked(_))));
}

#[test]
fn an_attack_by_a_header_that_is_not_listed_finds_nothing() {
    let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(1));
    let bridge = bridge_showing(1 << 20, &kafka, Arc::new(clock.clone()), privacy("", "region"));
    bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }]);
    let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
    let mut headers = Vec::new();
    for (name, value) in [
        ("region", &b"eu"[..]),
        ("x-token", TOKEN.as_bytes()),
        (TOKEN, b"1"),
        ("token", TOKEN.as_bytes()),
        ("region", b"us"),
    ] {
        put_header(&mut headers, name, Some(value));
    }
    for (offset, value) in [(0, Some(&b"{}"[..])), (1, None), (2, Some(&b"\xff"[..]))] {
        let record = NewRecord {
            offset,
            epoch: 0,
            timestamp: 1,
            key: None,
            value,
            headers: Headers::written(&headers),
            tenant: TenantId::new("acme").unwrap(),
            event_type: None,
            form: tailrace_bridge::Form::default(),
        };
        bridge.append(&partition, &[record], Position { offset: offset + 1, epoch: 0 });
    }
    let scene = Scene { clock, kafka, bridge };
    for envelope in [Envelope::None, Envelope::Record, Envelope::CloudEvents] {
        for unmasked in [true, false] {
            let mut subscription = scene.subscribe(wanting(envelope, unmasked, StartFrom::Earliest)).unwrap();
            let bytes = scene.bytes(&mut subscription);
            assert!(!bytes.contains(TOKEN), "{bytes}");
            let (carried, times) = match envelope {
                Envelope::None => (r#""headers":{"region":"eu","region":"us"}"#, 2),
                Envelope::Record => (r#""headers":{"region":"eu","region":"us"}"#, 3),
                Envelope::CloudEvents => (r#","region":"us","#, 3),
            };
            assert_eq!(bytes.matches(carried).count(), times, "{bytes}");
        }
    }
    let ask = |condition: &str, unmasked| {
        let filter = Filter::parse(&[], &[], &[condition.to_owned()]).unwrap();
        scene
            .subscribe(SubscribeRequest { filter, ..wanting(Envelope::None, unmasked, StartFrom::Latest) })
            .map(|_| ())
    };
    for condition in ["header.region=eu", "header.region?", "(header.region=eu|!header.region?)"] {
        assert!(ask(condition, false).is_ok(), "{condition}");
    }
    for condition in
        ["header.x-token^=s", "header.x-token?", "!header.x-token?", "(header.region=eu|header.x-token?)"]
    {
        for unmasked in [true, false] {
            let refused = ask(condition, unmasked).unwrap_err();
            assert!(matches!(refused, SubscribeError::Masked(MaskedCondition::Header(_))), "{refused:?}");
        }
    }
}

/// One record in a topic of its own, in all bytes that a stream of CloudEvents has of it.
fn one_event(privacy: Privacy, headers: &[(&str, &[u8])], value: &str) -> String {
    let (clock, kafka) = (ManualClock::new(), Kafka::with_partitions(1));
    let bridge = bridge_showing(1 << 20, &kafka, Arc::new(clock.clone()), privacy);
    bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }]);
    let partition = bridge.topic("orders").unwrap().partitions()[0].clone();
    let mut written = Vec::new();
    headers.iter().for_each(|(name, value)| put_header(&mut written, name, Some(value)));
    let record = NewRecord {
        offset: 0,
        epoch: 0,
        timestamp: 1,
        key: Some(b"k"),
        value: Some(value.as_bytes()),
        headers: Headers::written(&written),
        tenant: TenantId::new("acme").unwrap(),
        event_type: None,
        form: Form::default(),
    };
    bridge.append(&partition, &[record], Position { offset: 1, epoch: 0 });
    let scene = Scene { clock, kafka, bridge };
    let mut subscription =
        scene.subscribe(wanting(Envelope::CloudEvents, false, StartFrom::Earliest)).unwrap();
    scene.bytes(&mut subscription)
}

#[test]
fn an_attack_by_a_record_that_is_an_event_already_finds_nothing() {
    const REQUIRED: [(&str, &[u8]); 4] =
        [("ce_specversion", b"1.0"), ("ce_id", b"own"), ("ce_source", b"/s"), ("ce_type", b"t")];
    let secret =
        [("ce_secret", TOKEN.as_bytes()), ("ce_subject", TOKEN.as_bytes()), ("token", TOKEN.as_bytes())];
    let binary = [&REQUIRED[..], &secret].concat();
    let value = format!(r#"{{"n":1,"ssn":"{TOKEN}"}}"#);
    // All of the required attributes are listed, or not.
    for (listed, id) in
        [("ce_specversion,ce_id,ce_source,ce_type", "own"), ("ce_specversion,ce_id,ce_type", "orders/0/0")]
    {
        for value in [&value, &format!("ssn={TOKEN}")] {
            let bytes = one_event(privacy(MASKS, listed), &binary, value);
            assert!(!bytes.contains(TOKEN), "{bytes}");
            assert!(bytes.contains(&format!(r#""id":"{id}""#)), "{bytes}");
        }
    }
    // The pointers of masks are those of the value, which is the whole event. A mask may take what makes it one.
    let structured = [("content-type", &b"application/cloudevents+json"[..])];
    let value = format!(
        r#"{{"specversion":"1.0","id":"own","source":"/s","type":"t","x":"{TOKEN}","data":{{"ssn":"{TOKEN}","n":1}}}}"#
    );
    for (masks, id) in [
        ("*=/x:redact,*=/data/ssn:remove", "own"),
        ("*=/x:remove,*=/data:redact", "own"),
        ("*=/x:hash,*=/data/ssn:redact,*=/id:remove", "orders/0/0"),
    ] {
        let bytes = one_event(privacy(masks, ""), &structured, &value);
        assert!(!bytes.contains(TOKEN), "{masks}: {bytes}");
        assert!(bytes.contains(&format!(r#""id":"{id}""#)), "{masks}: {bytes}");
    }
    for damaged in [format!("{value}}}"), value.replace("\"1.0\"", "1.0,")] {
        let bytes = one_event(privacy("*=/x:redact", ""), &structured, &damaged);
        assert!(!bytes.contains(TOKEN) && bytes.contains(r#""valuekind":"masked""#), "{bytes}");
    }
}

#[test]
fn an_attack_by_comparing_hashes_of_two_tenants_finds_no_equal_ones() {
    let masks = privacy(MASKS, "*").masks;
    let value = r#"{"user":{"phone":"+1 555 0100"}}"#.as_bytes();
    let of = |tenant: &str| masks.shown("orders", tenant, value).unwrap().into_owned();
    assert_eq!(of("acme"), of("acme"));
    assert_ne!(of("acme"), of("globex"));
}
