//! A Kafka of one topic that keeps everything, and replicas that have taken in as much of it as the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tailrace_bridge::{
    Form, Headers, HistoryError, HistoryRead, NewRecord, OffsetsAt, Position, Segment, SegmentBuilder,
    Source, TenantId,
};

use crate::support::Server;

/// A record of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) offset: u64,
    pub(crate) tenant: &'static str,
    pub(crate) value: String,
}

#[derive(Clone, Default)]
pub(crate) struct Ledger {
    partitions: Arc<Mutex<Vec<Vec<Fact>>>>,
    /// How long each read of history takes, and how many records it gives.
    pub(crate) slow: Option<(Duration, usize)>,
}

impl Ledger {
    pub(crate) fn new(partitions: usize) -> Ledger {
        Ledger { partitions: Arc::new(Mutex::new(vec![Vec::new(); partitions])), slow: None }
    }

    /// Writes a record after a hole of so many offsets.
    pub(crate) fn write(&self, partition: usize, tenant: &'static str, value: String, hole: u64) {
        let facts = &mut self.partitions.lock().unwrap()[partition];
        let offset = facts.last().map_or(0, |fact| fact.offset + 1) + hole;
        facts.push(Fact { offset, tenant, value });
    }

    /// The first offset of each partition that is not written yet.
    pub(crate) fn ends(&self) -> Vec<u64> {
        let partitions = self.partitions.lock().unwrap();
        partitions.iter().map(|facts| facts.last().map_or(0, |fact| fact.offset + 1)).collect()
    }

    /// The values of a tenant in a partition.
    pub(crate) fn of(&self, partition: usize, tenant: &str) -> Vec<String> {
        let facts = &self.partitions.lock().unwrap()[partition];
        facts.iter().filter(|fact| fact.tenant == tenant).map(|fact| fact.value.clone()).collect()
    }

    /// A replica that has read everything up to now before it started, and so has none of it in memory.
    pub(crate) async fn replica(&self, flags: &[&str]) -> Server {
        let flags = [&["--auth", "none"], flags].concat();
        let server = Server::over(Arc::new(self.clone()), &self.ends(), "header:tenant", &flags).await;
        server.bridge.health().set_ready();
        server
    }

    /// The replica takes in what is new.
    pub(crate) fn ingest(&self, server: &Server) {
        let topic = server.bridge.topic("orders").unwrap();
        for (facts, partition) in self.partitions.lock().unwrap().iter().zip(topic.partitions()) {
            let head = partition.head().offset;
            let new: Vec<&Fact> = facts.iter().filter(|fact| fact.offset >= head).collect();
            let Some(last) = new.last() else { continue };
            let end = Position { offset: last.offset + 1, epoch: 0 };
            let records: Vec<NewRecord<'_>> = new.iter().map(|fact| record(fact)).collect();
            server.bridge.append(&partition, &records, end);
        }
    }

    fn read_now(&self, read: &HistoryRead) -> Segment {
        let facts = &self.partitions.lock().unwrap()[read.partition as usize];
        let mut builder = SegmentBuilder::new(read.from);
        let mut reached = facts.last().map_or(read.from, |fact| read.from.max(fact.offset + 1));
        let most = self.slow.map_or(usize::MAX, |(_, most)| most);
        for (count, fact) in facts.iter().filter(|fact| fact.offset >= read.from).enumerate() {
            if fact.offset >= read.until || builder.bytes() > read.max_bytes || count == most {
                reached = fact.offset;
                break;
            }
            builder.push(&record(fact));
        }
        builder.finish(Position { offset: reached, epoch: -1 })
    }
}

fn record(fact: &Fact) -> NewRecord<'_> {
    NewRecord {
        offset: fact.offset,
        epoch: 0,
        timestamp: 1_700_000_000_000 + fact.offset as i64,
        key: Some(b"k"),
        value: Some(fact.value.as_bytes()),
        headers: Headers::default(),
        tenant: TenantId::new(fact.tenant).unwrap(),
        event_type: None,
        form: Form::default(),
    }
}

impl Source for Ledger {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let (result, slow) = (self.read_now(&read), self.slow);
        async move {
            if let Some((time, _)) = slow {
                tokio::time::sleep(time).await;
            }
            Ok(result)
        }
        .boxed()
    }

    fn offsets_at(&self, _: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        let ends = self.ends();
        let offsets = if at == OffsetsAt::Latest { ends } else { vec![0; ends.len()] };
        async move { Ok(offsets) }.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}
