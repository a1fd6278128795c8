//! The masked paths of one topic, as a tree of their steps.

use smallvec::SmallVec;

/// What happens to a masked field. Where several masks meet, the one that tells least wins: the least in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// The field is left out.
    Remove,
    /// Its value becomes `"***"`.
    Redact,
    /// Its value becomes a hash under a key.
    Hash,
}

/// Steps that begin alike share a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    /// What happens to the value that the steps so far lead to.
    action: Option<Action>,
    /// The nodes after a name, or the number of an element.
    named: Vec<(String, Paths)>,
    /// The node after any name and any number: the step `*`.
    any: Option<Box<Paths>>,
}

/// The nodes that a place in a document has reached: more than one if `*` and a name meet.
pub(crate) type Reached<'p> = SmallVec<[&'p Paths; 4]>;

impl Paths {
    pub(crate) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none()
    }

    /// Adds a path. Returns the action that it has already.
    pub(crate) fn add(&mut self, steps: &[String], action: Action) -> Option<Action> {
        let Some((first, rest)) = steps.split_first() else { return self.action.replace(action) };
        self.after(first).add(rest, action)
    }

    /// Adds all paths of another tree.
    pub(crate) fn add_all(&mut self, other: &Paths) {
        self.action = self.action.into_iter().chain(other.action).min();
        for (name, more) in &other.named {
            self.after(name).add_all(more);
        }
        if let Some(more) = &other.any {
            self.after("*").add_all(more);
        }
    }

    fn after(&mut self, step: &str) -> &mut Paths {
        if step == "*" {
            return self.any.get_or_insert_default();
        }
        let at = self.named.iter().position(|(name, _)| name == step).unwrap_or_else(|| {
            self.named.push((step.to_owned(), Paths::default()));
            self.named.len() - 1
        });
        &mut self.named[at].1
    }

    /// Whether the steps lead to a masked value, into one, or to one that has a masked one in it.
    pub(crate) fn touch(&self, steps: &[&str]) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut reached: Reached<'_> = SmallVec::from_slice(&[self]);
        for step in steps {
            reached = next(&reached, step);
            if reached.is_empty() {
                return false;
            }
            if action(&reached).is_some() {
                return true;
            }
        }
        true
    }
}

/// The nodes after a step.
pub(crate) fn next<'p>(reached: &[&'p Paths], step: &str) -> Reached<'p> {
    let mut after = Reached::new();
    for node in reached {
        let named = node.named.iter().find(|(name, _)| name == step);
        after.extend(named.map(|(_, node)| node));
        after.extend(node.any.as_deref());
    }
    after
}

/// What happens to the value at these nodes.
pub(crate) fn action(reached: &[&Paths]) -> Option<Action> {
    reached.iter().filter_map(|node| node.action).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(all: &[(&str, Action)]) -> Paths {
        let mut paths = Paths::default();
        for (path, action) in all {
            let steps: Vec<String> = path.split('/').map(str::to_owned).collect();
            paths.add(&steps, *action);
        }
        paths
    }

    #[test]
    fn a_path_touches_what_it_leads_to_what_is_in_that_and_what_has_it() {
        let paths = paths(&[("user/email", Action::Redact), ("items/*/price", Action::Hash)]);
        for touched in [
            &["user", "email"][..],
            &["user"],
            &["user", "email", "domain"],
            &[],
            &["items"],
            &["items", "0"],
            &["items", "name", "price"],
            &["items", "7", "price", "0"],
        ] {
            assert!(paths.touch(touched), "{touched:?}");
        }
        for free in [&["email"][..], &["user", "name"], &["items", "0", "name"], &["User", "email"]] {
            assert!(!paths.touch(free), "{free:?}");
        }
        assert!(!Paths::default().touch(&[]));
    }

    #[test]
    fn where_masks_meet_the_one_that_tells_least_wins() {
        let mut all = paths(&[("a/b", Action::Hash), ("a/*", Action::Redact)]);
        all.add_all(&paths(&[("*/c", Action::Remove), ("a/c", Action::Hash)]));
        let at = |steps: &[&str]| {
            let start: Reached<'_> = SmallVec::from_slice(&[&all]);
            action(&steps.iter().fold(start, |reached, step| next(&reached, step)))
        };
        assert_eq!(at(&["a", "b"]), Some(Action::Redact));
        assert_eq!(at(&["a", "c"]), Some(Action::Remove));
        assert_eq!(at(&["z", "c"]), Some(Action::Remove));
        assert_eq!(at(&["z", "b"]), None);
    }
}
