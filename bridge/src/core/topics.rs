//! Topics are added, grow, are created again, and are removed: views and clients get each change in one step.

use std::collections::HashSet;
use std::slice;
use std::sync::Arc;

use crate::base::sabotage::{Sabotage, broken};
use crate::core::{Inner, Structure};
use crate::log::partition::{Partition, Start};
use crate::log::topic::Topic;
use crate::position::TopicId;
use crate::position::gap::{Gap, GapCode};

impl Inner {
    /// Adds a topic that was not known so far, with a start for each of its partitions.
    pub(crate) fn add_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        let mut structure = self.structure.lock();
        let Structure { topics, views, coverages, .. } = &mut *structure;
        let topic = self.new_topic(name, id, starts);
        let before = topics.insert(topic.name().clone(), topic.clone());
        debug_assert!(before.is_none(), "{name} is known: its views would have it twice");
        for view in views.iter() {
            if self.covers(view.key(), name) {
                let listed = Some((topic.clone(), topic.partitions()));
                self.attach(view, coverages.with(&view.coverage(), name, listed), slice::from_ref(&topic));
            }
        }
        self.list_partitions(&structure);
    }

    /// Adds partitions to a known topic, after its existing ones.
    pub(crate) fn grow_topic(&self, name: &str, more: &[Start]) {
        let mut structure = self.structure.lock();
        let Structure { topics, coverages, .. } = &mut *structure;
        let Some(topic) = topics.get(name) else { return };
        let more = topic.prepare(more);
        let all = [topic.partitions(), more.clone()].concat();
        for view in self.fan_out.of(topic.key()).all() {
            let coverage = coverages.with(&view.coverage(), name, Some((topic.clone(), all.clone())));
            view.extend(coverage, more.iter().cloned());
        }
        topic.publish(more);
        self.list_partitions(&structure);
    }

    /// The topic was deleted and created again: its logs are purged, every view gets the gaps, and reading begins anew.
    pub(crate) fn recreate_topic(&self, name: &str, id: TopicId, starts: &[Start]) {
        if broken(Sabotage::KeepRecreated) {
            return;
        }
        let new = self.new_topic(name, id, starts);
        self.replace_topic(name, Some(new));
    }

    /// The topic was deleted.
    pub(crate) fn remove_topic(&self, name: &str) {
        self.replace_topic(name, None);
    }

    fn replace_topic(&self, name: &str, new: Option<Arc<Topic>>) {
        let mut structure = self.structure.lock();
        let old = match &new {
            Some(topic) => structure.topics.insert(topic.name().clone(), topic.clone()),
            None => structure.topics.remove(name),
        };
        debug_assert!(old.is_some() || new.is_none(), "{name} is not known: no view would read it");
        let Some(old) = old else { return };
        let gaps: Vec<Gap> = old.partitions().iter().map(|gone| gap_of_gone(gone, new.as_ref())).collect();
        for partition in old.partitions() {
            partition.ingest.lock().retired = true;
        }
        for view in self.fan_out.of(old.key()).all() {
            if let Some(topic) = &new {
                self.fan_out.of(topic.key()).insert(&view);
            }
            let listed = new.as_ref().map(|topic| (topic.clone(), topic.partitions()));
            let coverage = structure.coverages.with(&view.coverage(), name, listed);
            view.replace_topic(&old, new.as_ref(), coverage, &gaps);
        }
        for partition in old.partitions() {
            partition.log.write().reset(partition.head());
        }
        self.list_partitions(&structure);
    }

    fn new_topic(&self, name: &str, id: TopicId, starts: &[Start]) -> Arc<Topic> {
        let topic = Topic::new(name, id, starts, self.tails.budget.tail.clone());
        topic.set_indexed(self.indexed.lock().contains(name));
        topic
    }

    /// Sets of which topics, by name, indexes of keys are kept: these, also when they are created later, and no others.
    pub(crate) fn set_indexed(&self, names: HashSet<String>) {
        let structure = self.structure.lock();
        structure.topics.values().for_each(|topic| topic.set_indexed(names.contains(&**topic.name())));
        *self.indexed.lock() = names;
    }
}

fn gap_of_gone(partition: &Partition, new: Option<&Arc<Topic>>) -> Gap {
    let successor = new.and_then(|topic| topic.partitions().get(partition.index() as usize).cloned());
    Gap {
        code: if successor.is_some() { GapCode::Recreated } else { GapCode::Deleted },
        topic: Some(partition.topic_name().clone()),
        partition: Some(partition.index()),
        from: None,
        to: None,
        next: successor.map(|partition| partition.origin().offset),
    }
}
