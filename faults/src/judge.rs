//! The verdict on one client: what it got, compared with what was written and what happened to Kafka's logs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::client::{Gap, Got, Seen};
use crate::ledger::{Entry, Fate, Number, Truth};

/// Something that happened to a partition's log, and must be announced once to each client that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// `retention`, `truncated`, `recreated`, `deleted` or `replaced`. A client that is connected while a topic does not exist
    /// gets `deleted`, one that connects later `recreated`; both are right for `replaced`.
    pub code: &'static str,
    pub topic: Arc<str>,
    pub partition: u32,
    /// The generation that it ends, or from which it removes a part.
    pub generation: u32,
    pub edge: Edge,
}

/// Where reading continues: the gap's `to` or `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    At(u64),
    /// At any offset up to this one: retention proceeded in steps, and each step may be announced by a gap of its own.
    UpTo(u64),
    Nowhere,
}

impl Edge {
    fn is(self, edge: Option<u64>) -> bool {
        match self {
            Edge::At(own) => edge == Some(own),
            Edge::UpTo(own) => edge.is_some_and(|edge| edge <= own),
            Edge::Nowhere => edge.is_none(),
        }
    }

    fn is_after(self, offset: u64) -> bool {
        matches!(self, Edge::At(to) | Edge::UpTo(to) if offset < to)
    }
}

impl Fact {
    fn is_told_by(&self, gap: &Gap) -> bool {
        match self.code {
            "replaced" if gap.code == "deleted" => gap.edge.is_none(),
            "replaced" => gap.code == "recreated" && self.edge.is(gap.edge),
            code => code == gap.code && self.edge.is(gap.edge),
        }
    }
}

/// All facts of a trial.
pub type Facts = Vec<Fact>;

/// The differences between what a client got and what it should have got, or the sum over several clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub deliveries: u64,
    pub lost: u64,
    pub repeated: u64,
    pub out_of_order: u64,
    /// Records of another tenant, not committed, or not written by the suite.
    pub foreign: u64,
    /// Records whose bytes differ from what was written, or which have another offset.
    pub altered: u64,
    pub gaps: u64,
    /// Gaps that had to be announced.
    pub gaps_expected: u64,
    /// Gaps that should not have been announced, are missing, or state something wrong.
    pub gaps_wrong: u64,
    /// The first few differences, in words.
    pub remarks: Vec<String>,
}

const MAX_REMARKS: usize = 12;

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.lost + self.repeated + self.out_of_order + self.foreign + self.altered + self.gaps_wrong == 0
            && self.gaps >= self.gaps_expected
    }

    pub fn add(&mut self, other: Verdict) {
        self.deliveries += other.deliveries;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.foreign += other.foreign;
        self.altered += other.altered;
        self.gaps += other.gaps;
        self.gaps_expected += other.gaps_expected;
        self.gaps_wrong += other.gaps_wrong;
        other.remarks.into_iter().for_each(|remark| self.remark(|| remark));
    }

    /// The verdict on a client that could not read what it got.
    pub(crate) fn unreadable(why: &dyn std::fmt::Display) -> Verdict {
        Verdict { altered: 1, remarks: vec![format!("unreadable: {why}")], ..Verdict::default() }
    }

    pub(crate) fn remark(&mut self, text: impl FnOnce() -> String) {
        if self.remarks.len() < MAX_REMARKS {
            self.remarks.push(text());
        }
    }
}

type Place = (Arc<str>, u32);

/// What is known of a client's progress through one partition.
#[derive(Default)]
struct Way {
    generation: u32,
    /// Generation and offset of the furthest record.
    furthest: Option<(u32, u64)>,
    /// Offsets that gaps have announced as missing, with their generation.
    announced: Vec<(u32, std::ops::Range<u64>)>,
}

struct Judge<'a> {
    truth: &'a Truth,
    facts: &'a Facts,
    tenant: u32,
    verdict: Verdict,
    delivered: HashSet<Number>,
    ways: HashMap<Place, Way>,
    /// How often each fact was announced.
    told: Vec<u64>,
    /// The number of gaps of a partition that are still to be judged, except those by retention.
    coming: HashMap<(String, u32), usize>,
}

/// Compares one client's records and gaps with the truth.
pub fn judge(got: &Got, truth: &Truth, facts: &Facts) -> Verdict {
    let mut judge = Judge {
        truth,
        facts,
        tenant: got.tenant,
        verdict: Verdict::default(),
        delivered: HashSet::new(),
        ways: HashMap::new(),
        told: vec![0; facts.len()],
        coming: HashMap::new(),
    };
    for seen in &got.seen {
        if let Seen::Gap(gap) = seen
            && gap.code != "retention"
        {
            *judge.coming.entry((gap.topic.clone(), gap.partition)).or_default() += 1;
        }
    }
    for seen in &got.seen {
        match seen {
            Seen::Record { number, place, is_whole, .. } => judge.record(*number, place.as_ref(), *is_whole),
            Seen::Gap(gap) => judge.gap(gap),
            Seen::Began(_) => {}
            Seen::Strange(text) => {
                judge.verdict.foreign += 1;
                judge.verdict.remark(|| format!("strange: {text}"));
            }
        }
    }
    judge.what_is_missing();
    judge.verdict
}

impl Judge<'_> {
    fn record(&mut self, number: Number, place: Option<&(String, u32, u64)>, is_whole: bool) {
        self.verdict.deliveries += 1;
        let number = self.copy_of(number, place);
        let Some(entry) = self.truth.entries.get(number as usize) else {
            return self.foreign(number, "written by nobody");
        };
        match entry.fate {
            Fate::Open | Fate::Aborted => return self.foreign(number, "not committed"),
            _ if entry.tenant != self.tenant => return self.foreign(number, "of another tenant"),
            _ => {}
        }
        let is_there = |(topic, partition, offset): &(String, u32, u64)| {
            **topic == *entry.topic
                && *partition == entry.partition
                && entry.offset.is_none_or(|own| own == *offset)
        };
        if !is_whole || !place.is_none_or(is_there) {
            self.verdict.altered += 1;
            self.verdict.remark(|| format!("altered: record {number} as {place:?}, written as {entry:?}"));
        }
        if !self.delivered.insert(number) {
            self.verdict.repeated += 1;
            self.verdict.remark(|| format!("repeated: record {number}, {entry:?}"));
            return;
        }
        self.keep_order(number, entry);
    }

    /// The number of the copy that this record is: the copy at that place, or the first one that was not delivered yet.
    fn copy_of(&self, number: Number, place: Option<&(String, u32, u64)>) -> Number {
        let Some(copies) = self.truth.copies.get(&number) else { return number };
        let offset_of = |copy: Number| self.truth.entries[copy as usize].offset;
        let of_place = |copy: &Number| place.is_some_and(|(_, _, offset)| offset_of(*copy) == Some(*offset));
        let is_new = |copy: &Number| place.is_none() && !self.delivered.contains(copy);
        copies.iter().copied().find(|copy| of_place(copy) || is_new(copy)).unwrap_or(number)
    }

    fn foreign(&mut self, number: Number, why: &str) {
        self.verdict.foreign += 1;
        self.verdict.remark(|| format!("foreign: record {number} is {why}"));
    }

    fn keep_order(&mut self, number: Number, entry: &Entry) {
        let Some(offset) = entry.offset else { return };
        let way = self.ways.entry((entry.topic.clone(), entry.partition)).or_default();
        let here = (entry.generation, offset);
        if way.furthest.is_some_and(|furthest| here < furthest) {
            self.verdict.out_of_order += 1;
            self.verdict.remark(|| format!("out of order: record {number}, {entry:?}"));
            return;
        }
        way.furthest = Some(here);
    }

    fn gap(&mut self, gap: &Gap) {
        self.verdict.gaps += 1;
        let Some(index) = self.fact_of(gap) else {
            return self.wrong_gap(gap, "nothing of the kind happened, or it was announced before");
        };
        self.told[index] += 1;
        if self.told[index] > 1 && !matches!(self.facts[index].edge, Edge::UpTo(_)) {
            return self.wrong_gap(gap, "it was announced before");
        }
        let fact = &self.facts[index];
        if self.contradicts(gap, fact) {
            return self.wrong_gap(gap, "some of it has come");
        }
        let way = self.ways.entry((fact.topic.clone(), fact.partition)).or_default();
        let range = match (gap.code.as_str(), gap.edge) {
            ("retention", Some(to)) => gap.from..to,
            // Delivered records above the cut are void; those that were not delivered need not come either.
            ("truncated", Some(next)) => next..u64::MAX,
            _ => gap.from..u64::MAX,
        };
        way.announced.push((fact.generation, range));
        if gap.code != "retention" {
            way.generation = fact.generation + 1;
        }
        // By leader epochs, records of a new log come only after its gap.
        if !matches!(gap.code.as_str(), "retention" | "truncated") {
            self.begin_again(fact, gap.edge.unwrap_or(0));
        }
    }

    /// If a log was replaced several times, a client that was away gets a gap only for the last time: gaps are matched from the
    /// end.
    fn fact_of(&mut self, gap: &Gap) -> Option<usize> {
        let facts = self.facts;
        let here = |fact: &Fact| *fact.topic == *gap.topic && fact.partition == gap.partition;
        if gap.code == "retention" {
            return facts.iter().position(|fact| fact.is_told_by(gap) && here(fact));
        }
        let of_place = |index: &usize| here(&facts[*index]) && facts[*index].code != "retention";
        let candidates: Vec<usize> = (0..facts.len()).filter(of_place).collect();
        let coming = self.coming.get_mut(&(gap.topic.clone(), gap.partition))?;
        *coming -= 1;
        let index = candidates[candidates.len().checked_sub(*coming + 1)?];
        facts[index].is_told_by(gap).then_some(index)
    }

    /// Whether a record was delivered that the gap announces as missing.
    fn contradicts(&self, gap: &Gap, fact: &Fact) -> bool {
        let Some(furthest) =
            self.ways.get(&(fact.topic.clone(), fact.partition)).and_then(|way| way.furthest)
        else {
            return false;
        };
        furthest.0 == fact.generation && furthest.1 >= gap.from
    }

    /// Until a new incarnation of a topic is noticed, its records may come as if they belonged to the old one. After the gap,
    /// all of them come.
    fn begin_again(&mut self, fact: &Fact, from: u64) {
        let truth = self.truth;
        self.delivered.retain(|number| {
            let entry = &truth.entries[*number as usize];
            entry.topic != fact.topic
                || entry.partition != fact.partition
                || entry.generation <= fact.generation
                || entry.offset.is_none_or(|offset| offset < from)
        });
        if let Some(way) = self.ways.get_mut(&(fact.topic.clone(), fact.partition)) {
            way.furthest = None;
        }
    }

    fn wrong_gap(&mut self, gap: &Gap, why: &str) {
        self.verdict.gaps_wrong += 1;
        self.verdict.remark(|| format!("{gap:?}: {why}"));
    }

    /// Counts records that were not delivered as lost, unless a gap announced them.
    fn what_is_missing(&mut self) {
        let mut concerned = HashSet::new();
        let Some(expected) = self.truth.expected.get(&self.tenant) else { return };
        for ((topic, generation, partition), stretch) in expected {
            let way = self.ways.get(&(topic.clone(), *partition));
            for (offset, number) in stretch.iter().filter(|(_, number)| !self.delivered.contains(number)) {
                let is_announced = way.is_some_and(|way| {
                    let covers = |(of, range): &(u32, std::ops::Range<u64>)| {
                        of == generation && range.contains(offset)
                    };
                    // A client that was away for several generations gets a gap only for the last one.
                    *generation < way.generation || way.announced.iter().any(covers)
                });
                concerned.extend(self.concerned(topic, *generation, *partition, *offset));
                if !is_announced {
                    self.verdict.lost += 1;
                    self.verdict.remark(|| {
                        format!(
                            "lost: record {number}, {topic}[{partition}]@{offset}, generation {generation}"
                        )
                    });
                }
            }
        }
        concerned.extend((0..self.facts.len()).filter(|index| self.must_be_told(&self.facts[*index])));
        // One gap may announce several causes: if a client was away for all of them, it announces the last.
        concerned.retain(|index| self.told[*index] > 0 || !self.is_told_by_later(*index));
        self.verdict.gaps_expected = concerned.len() as u64;
        for index in concerned.into_iter().filter(|index| self.told[*index] == 0) {
            let fact = &self.facts[index];
            self.verdict.gaps_wrong += 1;
            self.verdict.remark(|| format!("not announced: {fact:?}"));
        }
    }

    /// Whether a later gap covers the fact: one of a later generation, or by retention that proceeded further.
    fn is_told_by_later(&self, index: usize) -> bool {
        let fact = &self.facts[index];
        let covers = |other: &Fact| {
            let is_further = fact.code == "retention" && other.code == "retention";
            other.topic == fact.topic
                && other.partition == fact.partition
                && (other.generation > fact.generation || is_further)
        };
        (index + 1..self.facts.len()).any(|later| self.told[later] > 0 && covers(&self.facts[later]))
    }

    /// Whether the fact must be announced even if no record is missing: where offsets are used again, each client that was
    /// connected before must get the gap.
    fn must_be_told(&self, fact: &Fact) -> bool {
        let saw_what_was_cut = || {
            self.delivered.iter().any(|number| {
                let entry = &self.truth.entries[*number as usize];
                entry.fate == Fate::Cut && entry.topic == fact.topic && entry.partition == fact.partition
            })
        };
        match fact.code {
            "retention" => false,
            "truncated" => saw_what_was_cut(),
            _ => true,
        }
    }

    /// The fact that explains why a record is missing.
    fn concerned(&self, topic: &Arc<str>, generation: u32, partition: u32, offset: u64) -> Option<usize> {
        self.facts.iter().position(|fact| {
            fact.topic == *topic
                && fact.partition == partition
                && fact.generation == generation
                && (fact.code != "retention" || fact.edge.is_after(offset))
        })
    }
}
