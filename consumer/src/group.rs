//! The membership of the consumer group. It shows presence and lag; where reading starts is never its decision.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tailrace_bridge::{Bridge, Partition, Position};

use crate::error::KafkaError;
use crate::native::{Client, List, Rebalance, Role};
use crate::settings::KafkaSettings;
use crate::{metrics, properties};

/// librdkafka's logical offset for the first record that there is.
const BEGINNING: i64 = -2;

/// One assigned partition.
#[derive(Debug, Default)]
struct Place {
    /// The partition that its records belong to; none while the bridge does not know it.
    partition: Option<Arc<Partition>>,
    /// Whether reading began at the partition's head since the last rebalance. Records that come while it did not are
    /// not taken: they come again after the seek.
    settled: bool,
    /// Whether its end has been reached at least once.
    ended: bool,
    /// Whether records were taken since offsets were last stored.
    taken: bool,
}

/// What this member was assigned. Shared by the thread that polls and the one that watches.
#[derive(Default)]
pub(crate) struct Assignment(Mutex<Places>);

#[derive(Default)]
struct Places {
    topics: HashMap<String, HashMap<i32, Place>>,
    /// Whether some partition is to be sought before its records are taken. Looked at with every batch.
    unsettled: bool,
}

impl Places {
    fn get(&mut self, topic: &str, index: i32) -> Option<&mut Place> {
        self.topics.get_mut(topic)?.get_mut(&index)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Place> {
        self.topics.values_mut().flat_map(HashMap::values_mut)
    }

    fn note_unsettled(&mut self) {
        let unsettled = self.all().any(|place| place.partition.is_some() && !place.settled);
        self.unsettled = unsettled;
    }
}

impl Assignment {
    /// The partition that messages of this place belong to, if they may be taken.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let mut places = self.0.lock();
        let place = places.get(topic, index)?;
        place.partition.clone().filter(|_| place.settled)
    }

    /// As [`Assignment::partition`], for who takes them now.
    pub(crate) fn take(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let mut places = self.0.lock();
        let place = places.get(topic, index).filter(|place| place.settled)?;
        place.taken = place.partition.is_some();
        place.partition.clone()
    }

    /// The partitions that were taken from since the last call.
    pub(crate) fn taken(&self) -> Vec<Arc<Partition>> {
        let mut places = self.0.lock();
        let taken = places.all().filter_map(|place| std::mem::take(&mut place.taken).then_some(place));
        taken.filter_map(|place| place.partition.clone()).collect()
    }

    /// Whether some partition is to be sought before its records are taken.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.0.lock().unsettled
    }

    pub(crate) fn note_end(&self, topic: &str, index: i32) {
        if let Some(place) = self.0.lock().get(topic, index) {
            place.ended = true;
        }
    }

    /// Of these partitions, how many are not assigned, and how many have not been read to their end yet.
    pub(crate) fn lacking(&self, partitions: &[Arc<Partition>]) -> (usize, usize) {
        let places = self.0.lock();
        let place = |p: &Arc<Partition>| places.topics.get(&**p.topic_name())?.get(&(p.index() as i32));
        let unassigned = partitions.iter().filter(|p| place(p).is_none()).count();
        let unread = partitions.iter().filter(|p| place(p).is_none_or(|place| !place.ended)).count();
        (unassigned, unread)
    }

    pub(crate) fn clear(&self) {
        *self.0.lock() = Places::default();
    }

    /// Takes up what the bridge knows differently by now (added, created again, deleted).
    fn follow(&self, bridge: &Bridge) {
        let mut all = self.0.lock();
        for (topic, places) in &mut all.topics {
            let known = bridge.topic(topic).map(|topic| topic.partitions()).unwrap_or_default();
            for (index, place) in places.iter_mut() {
                let now = known.get(*index as usize);
                let same = match (&place.partition, now) {
                    (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    *place = Place { partition: now.cloned(), ..Place::default() };
                }
            }
        }
        all.note_unsettled();
    }

    /// What has to be sought.
    fn unsettled(&self) -> Vec<Arc<Partition>> {
        let mut places = self.0.lock();
        let unsettled = places.all().filter(|place| !place.settled);
        unsettled.filter_map(|place| place.partition.clone()).collect()
    }

    fn settle(&self, partitions: &[Arc<Partition>]) {
        let mut places = self.0.lock();
        for partition in partitions {
            if let Some(place) = places.get(partition.topic_name(), partition.index() as i32) {
                place.settled = true;
            }
        }
        places.note_unsettled();
    }

    /// After a rebalance nobody knows where librdkafka goes on. It pauses and resumes what stays assigned, from the
    /// record after the last one that was polled; with the queue's batches it counts the end of a partition as one,
    /// so that the next record would be passed over.
    fn unsettle(&self) {
        let mut places = self.0.lock();
        places.all().for_each(|place| place.settled = false);
        places.note_unsettled();
    }

    fn add(&self, topic: &str, index: i32, partition: Option<Arc<Partition>>) {
        // A head that the leader is to confirm is sought after the callback, which must not wait.
        let settled =
            partition.as_ref().is_some_and(|partition| !is_to_confirm(partition.reading_position()));
        let mut places = self.0.lock();
        places
            .topics
            .entry(topic.to_owned())
            .or_default()
            .insert(index, Place { settled, partition, ..Place::default() });
        places.note_unsettled();
    }

    fn remove(&self, topic: &str, index: i32) {
        if let Some(places) = self.0.lock().topics.get_mut(topic) {
            places.remove(&index);
        }
    }
}

/// The member itself.
pub(crate) struct Group {
    client: Client,
    assignment: Arc<Assignment>,
}

impl Group {
    /// Connects in the background; joins with the first [`Group::subscribe`].
    pub(crate) fn new(
        settings: &KafkaSettings,
        mock: bool,
        bridge: Bridge,
        assignment: Arc<Assignment>,
    ) -> Result<Group, KafkaError> {
        assignment.clear();
        let places = assignment.clone();
        let on_rebalance = Box::new(move |client: &Client, kind: Rebalance, list: &List| match kind {
            Rebalance::Assigned => assigned(client, &bridge, &places, list),
            Rebalance::Revoked => revoked(client, &places, list),
        });
        let client = Client::new(&properties::member(settings, mock), Role::Consumer(Some(on_rebalance)))?;
        Ok(Group { client, assignment })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), KafkaError> {
        match topics {
            [] => {
                self.client.unsubscribe();
                Ok(())
            }
            topics => self.client.subscribe(topics),
        }
    }

    /// Goes on at the heads of what the bridge knows differently by now, and of what a rebalance has disturbed.
    ///
    /// # Errors
    /// librdkafka does not take the positions: the membership is of no use then.
    pub(crate) fn sync(&self, bridge: &Bridge) -> Result<(), KafkaError> {
        self.assignment.follow(bridge);
        self.seek(&self.assignment.unsettled())
    }

    /// Goes on at the heads of these partitions. What was fetched before is not delivered any more.
    ///
    /// Assigned anew rather than sought: a seek does not wake a partition whose reading has stopped with an error.
    ///
    /// # Errors
    /// As [`Group::sync`].
    pub(crate) fn seek(&self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let (mut list, mut confirmed) = (List::new(partitions.len()), List::new(partitions.len()));
        for partition in partitions {
            let (topic, index) = (partition.topic_name(), partition.index() as i32);
            let head = partition.reading_position();
            list.add_position(topic, index, head);
            if is_to_confirm(head) {
                confirmed.add_position(topic, index, head);
            }
        }
        self.client.incremental_unassign(&list)?;
        self.client.incremental_assign(&list)?;
        if confirmed.entries().next().is_some() {
            self.client.confirm(&confirmed)?;
        }
        self.assignment.settle(partitions);
        Ok(())
    }
}

/// Whether the position says of which leader's log it is.
fn is_to_confirm(position: Position) -> bool {
    position.epoch >= 0 && position.offset > 0
}

/// Gives every partition an explicit offset: the log's head. What the bridge does not know yet is read from its first
/// record, to be sought once it does.
fn assigned(client: &Client, bridge: &Bridge, assignment: &Assignment, list: &List) {
    metrics::rebalanced("assigned");
    assignment.unsettle();
    let mut starts = List::new(list.entries().count());
    for entry in list.entries() {
        let known = bridge
            .topic(entry.topic)
            .and_then(|topic| topic.partitions().get(entry.partition as usize).cloned());
        match &known {
            Some(partition) => {
                starts.add_position(entry.topic, entry.partition, partition.reading_position())
            }
            None => starts.add(entry.topic, entry.partition, BEGINNING),
        }
        assignment.add(entry.topic, entry.partition, known);
    }
    tracing::info!(partitions = list.entries().count(), "partitions assigned");
    if let Err(error) = client.incremental_assign(&starts) {
        assignment.unsettle();
        tracing::error!(%error, "the assignment was not taken");
    }
}

fn revoked(client: &Client, assignment: &Assignment, list: &List) {
    metrics::rebalanced("revoked");
    assignment.unsettle();
    list.entries().for_each(|entry| assignment.remove(entry.topic, entry.partition));
    tracing::info!(partitions = list.entries().count(), "partitions revoked");
    if let Err(error) = client.incremental_unassign(list) {
        tracing::error!(%error, "the revocation was not taken");
    }
}
