//! Clients of several views that share a thread's contexts: whatever they get, and in whichever order, each can decode all of it as
//! soon as it has it, and it is what it would have got without compression.

#[path = "../../../tests/support/decoder.rs"]
mod decoder;

use std::ops::Range;

use decoder::Decoder;
use proptest::prelude::*;

use super::*;
use crate::coding::Offer;

const GROUPS: usize = 40;

struct Client {
    group: usize,
    /// The number of the next frame.
    cursor: u64,
    body: Body,
    decoder: Decoder,
    decoded: Vec<u8>,
    content: Vec<u8>,
    /// How many bytes it has got.
    coded: usize,
}

struct Lab {
    compressor: Compressor,
    chunks: Chunks,
    groups: Vec<Compressed>,
    /// The frames of each group's view.
    views: Vec<Vec<Bytes>>,
    clients: Vec<Client>,
    now: Moment,
}

impl Lab {
    fn new(stretch: u64) -> Lab {
        let compression = Compression { offer: Offer::All, level: 5, stretch };
        Lab {
            compressor: Compressor::new(compression, 10),
            chunks: Chunks::default(),
            groups: (1..=GROUPS as u64).map(Compressed::new).collect(),
            views: vec![Vec::new(); GROUPS],
            clients: Vec::new(),
            now: Moment::now(),
        }
    }

    fn join(&mut self, group: usize, coding: ContentCoding) {
        let (body, mut decoder) = (Body::new(coding), Decoder::new(coding.as_str()));
        let begin = body.begin();
        decoder.take(&begin, &mut Vec::new());
        self.groups[group].add(coding);
        let cursor = self.views[group].len() as u64;
        self.clients.push(Client {
            group,
            cursor,
            body,
            decoder,
            decoded: Vec::new(),
            content: Vec::new(),
            coded: begin.len(),
        });
    }

    fn publish(&mut self, group: usize, frames: usize) {
        for _ in 0..frames {
            let number = self.views[group].len();
            let frame = format!(
                "data: {{\"group\":{group},\"order\":{number},\"state\":\"shipped\"}}\nid: AQ{number}\n\n"
            );
            self.views[group].push(frame.into());
        }
    }

    /// As a thread does it: clients at the same place get the same batch.
    fn serve(&mut self, group: usize, is_served: impl Fn(usize) -> bool) {
        let end = self.views[group].len() as u64;
        let mut last: Option<Batch> = None;
        for (_, client) in
            self.clients.iter_mut().enumerate().filter(|(at, other)| other.group == group && is_served(*at))
        {
            if client.cursor == end {
                continue;
            }
            let frames = client.cursor..end;
            let batch = match &mut last {
                Some(batch) if batch.frames() == frames => batch,
                _ => last.insert(batch(&self.views[group], frames)),
            };
            let compressed = &mut self.groups[group];
            let shared = self.compressor.shared(&mut client.body, compressed, batch, self.now, &self.chunks);
            client.cursor = end;
            client.take(&shared, &batch.slices().concat());
        }
    }

    fn say(&mut self, at: usize, content: Bytes) {
        let Some(client) = self.clients.get_mut(at) else { return };
        let chunk = self.compressor.own(&mut client.body, std::slice::from_ref(&content), &self.chunks);
        client.take(&[chunk], &content);
    }

    fn end(&mut self, at: usize) {
        let mut client = self.clients.remove(at);
        self.groups[client.group].remove(client.body.coding());
        let last = client.body.end(Bytes::from_static(b"event: tailrace.drain\n\n"));
        client.decoder.take(&last, &mut client.decoded);
        assert!(client.decoder.may_end());
        client.content.extend_from_slice(b"event: tailrace.drain\n\n");
        assert!(client.decoded == client.content);
    }
}

impl Client {
    fn take(&mut self, chunks: &[Bytes], content: &[u8]) {
        self.content.extend_from_slice(content);
        for chunk in chunks {
            let coded = Coding::Plain.of(chunk.clone());
            self.coded += coded.len();
            self.decoder.take(&coded, &mut self.decoded);
        }
        assert!(self.decoded == self.content, "it was not flushed, or is wrong");
    }
}

fn batch(view: &[Bytes], frames: Range<u64>) -> Batch {
    let frames_of = &view[frames.start as usize..frames.end as usize];
    let sizes = frames_of.iter().map(|frame| frame.len() as u32).collect();
    // As in a view, frames lie in pages.
    let pages = frames_of.chunks(3).map(|page| page.concat().into()).collect();
    Batch::new((frames.start, sizes), pages)
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, bool),
    Publish(usize, usize),
    /// All clients of the group, or only those of one parity.
    Serve(usize, Option<usize>),
    Own(usize, usize),
    Leave(usize),
    Time(u64),
    /// A round ends, after which others are still to be served, or none.
    Rest(bool),
}

fn step(groups: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..groups, any::<bool>()).prop_map(|(group, zstd)| Step::Join(group, zstd)),
        6 => (0..groups, 1_usize..6).prop_map(|(group, frames)| Step::Publish(group, frames)),
        6 => (0..groups, prop_oneof![4 => Just(None), 1 => (0_usize..2).prop_map(Some)])
            .prop_map(|(group, part)| Step::Serve(group, part)),
        2 => (0_usize..30, prop_oneof![0_usize..60, Just(70_000), Just(300_000)])
            .prop_map(|(client, size)| Step::Own(client, size)),
        1 => (0_usize..30).prop_map(Step::Leave),
        1 => (0_u64..1500).prop_map(Step::Time),
        2 => any::<bool>().prop_map(Step::Rest),
    ]
}

fn run(steps: Vec<Step>, stretch: u64) {
    let (mut lab, metrics) = (Lab::new(stretch), Metrics::new());
    for step in steps {
        match step {
            Step::Join(group, zstd) => {
                lab.join(group, if zstd { ContentCoding::Zstd } else { ContentCoding::Gzip });
            }
            Step::Publish(group, frames) => lab.publish(group, frames),
            Step::Serve(group, part) => lab.serve(group, |at| part.is_none_or(|part| at % 2 == part)),
            Step::Own(at, size) => lab.say(at, vec![b' '; size].into()),
            Step::Leave(at) if at < lab.clients.len() => lab.end(at),
            Step::Leave(_) => {}
            Step::Time(millis) => lab.now = lab.now.plus_millis(millis),
            Step::Rest(is_idle) => lab.compressor.rest(&metrics, is_idle),
        }
    }
    while !lab.clients.is_empty() {
        lab.end(0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn clients_get_what_they_would_get_without(
        steps in prop::collection::vec(step(2), 1..80), stretch in 1_u64..12
    ) {
        run(steps, stretch);
    }

    /// More views than contexts.
    #[test]
    fn views_that_take_each_other_s_contexts_do_not_mix(
        steps in prop::collection::vec(step(GROUPS), 1..300), stretch in 1_u64..12
    ) {
        run(steps, stretch);
    }
}

#[test]
fn what_all_get_together_is_small_and_what_one_gets_is_stored() {
    for coding in ContentCoding::ALL {
        let mut lab = Lab::new(64);
        (0..3).for_each(|_| lab.join(0, coding));
        lab.join(1, coding);
        for _ in 0..64 {
            for group in 0..2 {
                lab.publish(group, 1);
                lab.serve(group, |_| true);
            }
        }
        let [shared, .., alone] = &lab.clients[..] else { unreachable!() };
        assert!(shared.coded * 2 < shared.content.len(), "{} of {}", shared.coded, shared.content.len());
        assert!(alone.coded > alone.content.len(), "{} of {}", alone.coded, alone.content.len());
        // Who has had something of its own is outside until the next stretch, which begins for it once 64 events have gone.
        let sizes = |lab: &mut Lab| {
            let before: Vec<usize> = lab.clients.iter().map(|client| client.coded).collect();
            lab.publish(0, 1);
            lab.serve(0, |_| true);
            let now = lab.clients.iter().map(|client| client.coded);
            now.zip(before).map(|(now, before)| now - before).collect::<Vec<_>>()
        };
        lab.say(0, Bytes::from_static(b":\n\n"));
        let got = sizes(&mut lab);
        assert!(got[0] > got[1] && got[1] == got[2], "{got:?}");
        let got = sizes(&mut lab);
        assert!(got[0] == got[1] && got[1] == got[2], "{got:?}");
        lab.say(0, Bytes::from_static(b":\n\n"));
        for _ in 0..63 {
            let got = sizes(&mut lab);
            assert!(got[0] > got[1] && got[1] == got[2], "{got:?}");
        }
        let got = sizes(&mut lab);
        assert!(got[0] == got[1] && got[1] == got[2], "{got:?}");
        // Or after a second.
        lab.say(0, Bytes::from_static(b":\n\n"));
        sizes(&mut lab);
        lab.now = lab.now.plus_millis(1000);
        let got = sizes(&mut lab);
        assert!(got[0] == got[1] && got[1] == got[2], "{got:?}");
    }
}

#[test]
fn a_context_of_zstd_is_as_small_as_is_documented() {
    for level in 1..=9 {
        let mut encoder = Encoder::new(ContentCoding::Zstd, level).unwrap();
        encoder.begin(&mut Vec::new()).unwrap();
        encoder.encode(&[Bytes::from(vec![b'x'; 1 << 20])], &mut Vec::new()).unwrap();
        let Encoder::Zstd(context) = &encoder else { unreachable!() };
        assert!(context.sizeof() <= 640 << 10, "{level}: {}", context.sizeof());
    }
}

#[test]
fn padding_moves_nothing() {
    for coding in ContentCoding::ALL {
        let mut lab = Lab::new(64);
        (0..2).for_each(|_| lab.join(0, coding));
        for size in 1..200 {
            lab.publish(0, 1);
            lab.clients[0].decoder.take(&padding(coding, size), &mut Vec::new());
            lab.serve(0, |_| true);
        }
        lab.end(0);
    }
}
