//! Masks: JSON fields that only those may see whose token says so. [`mask_rule`](super::mask_rule) reads the setting,
//! [`masked_paths`](super::masked_paths) has the masked paths of a topic, [`mask_edit`] takes the fields out of a document, and
//! [`pseudonym`](super::pseudonym) computes what stands for a hashed value.
//!
//! A value that is not JSON, or that cannot be decoded, cannot be searched for a field, so its topic's masks withhold all of it.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::record::mask_edit::{self, Masked};
use crate::record::mask_rule::steps;
use crate::record::masked_paths::Paths;
use crate::record::pseudonym::{MaskKey, TenantKey};

/// The value of `TAILRACE_MASK`: which fields of which topics are masked, and how.
#[derive(Debug, Default)]
pub struct Masks {
    /// Of topics without masks of their own.
    everywhere: Paths,
    /// Of topics that have masks of their own, those of every topic included.
    by_topic: HashMap<String, Paths>,
    hashes: bool,
    key: Option<MaskKey>,
}

impl Masks {
    /// Masks of single topics, and of every topic.
    pub(crate) fn new(mut by_topic: HashMap<String, Paths>, everywhere: Paths, hashes: bool) -> Masks {
        by_topic.values_mut().for_each(|paths| paths.add_all(&everywhere));
        Masks { everywhere, by_topic, hashes, key: None }
    }

    /// Whether nothing is masked anywhere.
    pub fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.by_topic.is_empty()
    }

    /// Whether a field is replaced by a hash: then a key is needed.
    pub fn hashes(&self) -> bool {
        self.hashes
    }

    /// Sets the key of hashes. Without one, fields to be hashed are redacted.
    pub fn set_key(&mut self, key: MaskKey) {
        self.key = Some(key);
    }

    /// The topics that have masks of their own.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }

    /// Whether a JSON pointer, in any topic, leads to a masked field, into one, or to something that has one.
    pub fn touches(&self, pointer: &str) -> bool {
        let steps: Vec<String> = steps(pointer).unwrap_or_default();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        self.by_topic.values().chain([&self.everywhere]).any(|paths| paths.touch(&steps))
    }

    /// Whether a path of names leads to a masked field of the topic, into one, or to something that has one.
    pub(crate) fn touches_in(&self, topic: &str, steps: &[&str]) -> bool {
        self.of(topic).touch(steps)
    }

    /// What `touches_in` says of a topic that has no masks of its own.
    pub(crate) fn touches_anywhere(&self, steps: &[&str]) -> bool {
        self.everywhere.touch(steps)
    }

    /// The value of a record of the topic, as the tenant's clients see it that may not see masked fields; `None`: they do not
    /// see it at all.
    pub fn shown<'v>(&self, topic: &str, tenant: &str, value: &'v [u8]) -> Option<Cow<'v, [u8]>> {
        match self.mask(topic, value, self.key_of(tenant).as_ref()) {
            Masked::Same => Some(Cow::Borrowed(value)),
            Masked::Changed(value) => Some(Cow::Owned(value)),
            Masked::Withheld => None,
        }
    }

    /// The value with the masked fields of the topic taken out.
    pub(crate) fn mask(&self, topic: &str, value: &[u8], key: Option<&TenantKey>) -> Masked {
        if self.has(topic) { mask_edit::mask(value, self.of(topic), key) } else { Masked::Same }
    }

    /// The key of the tenant's hashes, if there are hashes.
    pub(crate) fn key_of(&self, tenant: &str) -> Option<TenantKey> {
        self.key.as_ref().filter(|_| self.hashes).map(|key| key.of_tenant(tenant))
    }

    /// Whether fields of the topic are masked.
    pub(crate) fn has(&self, topic: &str) -> bool {
        !self.of(topic).is_empty()
    }

    fn of(&self, topic: &str) -> &Paths {
        self.by_topic.get(topic).unwrap_or(&self.everywhere)
    }
}
