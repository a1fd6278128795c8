//! What the tail reads: every partition that the bridge knows, assigned by hand, each at the head of its log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tailrace_bridge::{Bridge, Partition, Position, Sabotage, broken};

use crate::error::KafkaError;
use crate::native::{Client, List, Role};
use crate::properties;
use crate::settings::KafkaSettings;

/// One assigned partition.
#[derive(Debug)]
struct Place {
    partition: Arc<Partition>,
    /// Whether its end has been reached at least once.
    ended: bool,
}

/// What is assigned. Shared by the thread that polls and those that watch.
#[derive(Default)]
pub(crate) struct Assignment(Mutex<HashMap<String, Vec<Option<Place>>>>);

impl Assignment {
    /// The partition that messages of this place belong to.
    pub(crate) fn partition(&self, topic: &str, index: i32) -> Option<Arc<Partition>> {
        let places = self.0.lock();
        let place = places.get(topic)?.get(usize::try_from(index).ok()?)?;
        place.as_ref().map(|place| place.partition.clone())
    }

    /// Whether this partition is assigned, rather than one of a topic that had the same name before or after.
    pub(crate) fn has(&self, partition: &Arc<Partition>) -> bool {
        let now = self.partition(partition.topic_name(), partition.index() as i32);
        now.is_some_and(|now| Arc::ptr_eq(&now, partition))
    }

    pub(crate) fn note_end(&self, topic: &str, index: i32) {
        let mut places = self.0.lock();
        let place = places.get_mut(topic).and_then(|topic| topic.get_mut(usize::try_from(index).ok()?));
        if let Some(Some(place)) = place {
            place.ended = true;
        }
    }

    /// Whether the partition has been read to its end at least once.
    pub(crate) fn has_ended(&self, partition: &Arc<Partition>) -> bool {
        let places = self.0.lock();
        let topic = places.get(&**partition.topic_name());
        let place = topic.and_then(|topic| topic.get(partition.index() as usize)?.as_ref());
        place.is_some_and(|place| place.ended && Arc::ptr_eq(&place.partition, partition))
    }

    /// Brings the assignment up to what the bridge knows. Gives the partitions to unassign and those to assign.
    fn follow(&self, bridge: &Bridge) -> Changes {
        let (mut places, mut changes) = (self.0.lock(), Changes::default());
        let topics = bridge.topics();
        let names: HashSet<&str> = topics.iter().map(|topic| &**topic.name()).collect();
        places.retain(|name, topic| {
            let is_known = names.contains(name.as_str());
            if !is_known {
                changes.gone.extend(topic.drain(..).flatten().map(|place| place.partition));
            }
            is_known
        });
        for topic in &topics {
            let places = places.entry(topic.name().to_string()).or_default();
            let mut partitions = topic.partitions();
            if broken(Sabotage::StaleAssignment) && !places.is_empty() {
                partitions.truncate(places.len());
            }
            let count = partitions.len().max(places.len());
            places.resize_with(count, || None);
            for (index, place) in places.iter_mut().enumerate() {
                let now = partitions.get(index);
                if let (Some(old), Some(new)) = (&place, now)
                    && Arc::ptr_eq(&old.partition, new)
                {
                    continue;
                }
                changes.gone.extend(place.take().map(|place| place.partition));
                if let Some(partition) = now {
                    changes.new.push(partition.clone());
                    *place = Some(Place { partition: partition.clone(), ended: false });
                }
            }
            places.truncate(partitions.len());
        }
        changes
    }

    /// All that is to be read.
    fn all(&self) -> Vec<Arc<Partition>> {
        self.0.lock().values().flatten().flatten().map(|place| place.partition.clone()).collect()
    }
}

/// What is to be unassigned and to be assigned.
#[derive(Debug, Default)]
struct Changes {
    gone: Vec<Arc<Partition>>,
    new: Vec<Arc<Partition>>,
}

/// The client of the tail.
pub(crate) struct Tail {
    client: Client,
    assignment: Arc<Assignment>,
    /// Partitions that are not read for now, by their places in memory.
    let_go: Mutex<HashMap<usize, Arc<Partition>>>,
}

impl Tail {
    /// Connects in the background, and reads all that is assigned so far.
    ///
    /// # Errors
    /// librdkafka does not take the properties, or the positions.
    pub(crate) fn new(
        settings: &KafkaSettings,
        mock: bool,
        assignment: Arc<Assignment>,
    ) -> Result<Tail, KafkaError> {
        let client = Client::new(&properties::tail(settings, mock), Role::Consumer)?;
        let tail = Tail { client, assignment, let_go: Mutex::default() };
        tail.assign(&tail.assignment.all())?;
        Ok(tail)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Reads what the bridge knows by now, and nothing else.
    ///
    /// # Errors
    /// librdkafka does not take the positions: this client is of no use then.
    pub(crate) fn follow(&self, bridge: &Bridge) -> Result<(), KafkaError> {
        let Changes { mut gone, new } = self.assignment.follow(bridge);
        gone.retain(|partition| !self.take_back(partition));
        self.unassign(&gone)?;
        self.assign(&new)
    }

    /// Goes on at the partition's head. What was fetched before is not delivered any more.
    ///
    /// Assigned anew rather than sought: a seek does not wake a partition whose reading has stopped with an error.
    ///
    /// # Errors
    /// As [`Tail::follow`].
    pub(crate) fn resume(&self, partition: &Arc<Partition>) -> Result<(), KafkaError> {
        if !self.assignment.has(partition) {
            return Ok(());
        }
        let one = std::slice::from_ref(partition);
        if !self.take_back(partition) {
            self.unassign(one)?;
        }
        self.assign(one)
    }

    /// Reads the partition no more until [`Tail::resume`].
    ///
    /// # Errors
    /// As [`Tail::follow`].
    pub(crate) fn let_go(&self, partition: &Arc<Partition>) -> Result<(), KafkaError> {
        let is_read = self.assignment.has(partition)
            && self.let_go.lock().insert(Arc::as_ptr(partition) as usize, partition.clone()).is_none();
        if is_read { self.unassign(std::slice::from_ref(partition)) } else { Ok(()) }
    }

    /// Whether it was let go. It is not any more.
    fn take_back(&self, partition: &Arc<Partition>) -> bool {
        self.let_go.lock().remove(&(Arc::as_ptr(partition) as usize)).is_some()
    }

    fn unassign(&self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.client.incremental_unassign(&list(partitions, |_| true))
    }

    fn assign(&self, partitions: &[Arc<Partition>]) -> Result<(), KafkaError> {
        if partitions.is_empty() {
            return Ok(());
        }
        self.client.incremental_assign(&list(partitions, |_| true))?;
        let to_confirm = list(partitions, is_to_confirm);
        if to_confirm.entries().next().is_some() {
            self.client.confirm(&to_confirm)?;
        }
        Ok(())
    }
}

fn list(partitions: &[Arc<Partition>], which: impl Fn(Position) -> bool) -> List {
    let mut list = List::new(partitions.len());
    for partition in partitions {
        let at = partition.reading_position();
        if which(at) {
            list.add_position(partition.topic_name(), partition.index() as i32, at);
        }
    }
    list
}

/// Whether the position has a leader epoch for the leader to confirm.
fn is_to_confirm(position: Position) -> bool {
    position.epoch >= 0 && position.offset > 0
}
