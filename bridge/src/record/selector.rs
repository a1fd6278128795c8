//! What a record must have in a field for a filter to match: by this, an index finds the filters that a record may match.

use std::hash::{BuildHasher, Hasher};

use crate::record::condition::{Bound, Clause, Condition, Test, Wanted};
use crate::record::field::Field;
use crate::record::number::Number;

/// Requirements of which a record meets one at least if it matches the filter.
#[derive(Debug)]
pub(crate) struct Selector<'a> {
    pub(crate) any_of: Vec<Requirement<'a>>,
}

/// What a field must be.
#[derive(Debug)]
pub(crate) struct Requirement<'a> {
    pub(crate) field: &'a Field,
    pub(crate) sought: Sought<'a>,
}

#[derive(Debug)]
pub(crate) enum Sought<'a> {
    /// One of these.
    Equal(Vec<&'a str>),
    /// Beginning with one of these.
    Begins(&'a [String]),
    /// On one side of the bound.
    Order(Wanted, &'a Bound),
    There,
}

impl<'a> Selector<'a> {
    pub(crate) fn equal(field: &'a Field, values: impl IntoIterator<Item = &'a String>) -> Selector<'a> {
        Selector { any_of: vec![Requirement::equal(field, values)] }
    }

    /// `None`: a record may match whatever it has in its fields, for a condition says what a field is not.
    pub(crate) fn of(clause: &'a Clause) -> Option<Selector<'a>> {
        let any_of: Option<Vec<_>> = clause.any_of().iter().map(Requirement::of).collect();
        any_of.map(|any_of| Selector { any_of })
    }

    /// Whether it is met, or not, by all records of a key.
    pub(crate) fn is_of_key(&self) -> bool {
        self.any_of.iter().all(|one| *one.field == Field::Key)
    }

    /// How many records meet it, roughly: a few texts are rarer than what begins with one, and that is rarer than one side of a bound.
    pub(crate) fn breadth(&self) -> Breadth {
        self.any_of.iter().map(|one| one.sought.breadth()).max().unwrap_or(Breadth::Values)
    }
}

/// From few records to many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breadth {
    Values,
    Prefixes,
    Ranges,
    Presence,
}

impl Sought<'_> {
    fn breadth(&self) -> Breadth {
        match self {
            Sought::Equal(_) => Breadth::Values,
            Sought::Begins(_) => Breadth::Prefixes,
            Sought::Order(..) => Breadth::Ranges,
            Sought::There => Breadth::Presence,
        }
    }
}

impl<'a> Requirement<'a> {
    fn equal(field: &'a Field, values: impl IntoIterator<Item = &'a String>) -> Requirement<'a> {
        Requirement { field, sought: Sought::Equal(values.into_iter().map(String::as_str).collect()) }
    }

    fn of(condition: &'a Condition) -> Option<Requirement<'a>> {
        let field = &condition.field;
        let sought = match &condition.test {
            Test::Any(values) => return Some(Requirement::equal(field, values)),
            Test::Begins(prefixes) => Sought::Begins(prefixes),
            Test::Order(wanted, bound) => Sought::Order(*wanted, bound),
            Test::There => Sought::There,
            Test::None(_) | Test::Lacking => return None,
        };
        Some(Requirement { field, sought })
    }
}

/// A hash that is the same for all texts that are equal, as numbers or as text. `number`: what the text is as a number.
pub(crate) fn hash_of(text: &str, number: Option<Number>, hasher: &impl BuildHasher) -> u64 {
    match number {
        Some(number) => hasher.hash_one(number.bits()),
        None => hasher.hash_one(text),
    }
}

/// The hash of a prefix, as [`hashes_of_prefixes`] computes it for the beginning of a text.
pub(crate) fn hash_of_prefix(prefix: &str, hasher: &impl BuildHasher) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(prefix.as_bytes());
    state.finish()
}

/// The hashes of a text's first bytes, for each of these ascending lengths: the text is read once, however many there are.
pub(crate) fn hashes_of_prefixes<S: BuildHasher>(
    text: &str,
    lengths: impl Iterator<Item = usize>,
    hasher: &S,
) -> impl Iterator<Item = u64>
where
    S::Hasher: Clone,
{
    let (mut state, mut at) = (hasher.build_hasher(), 0);
    lengths.map_while(move |length| {
        state.write(text.as_bytes().get(at..length)?);
        at = length;
        Some(state.clone().finish())
    })
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;

    #[test]
    fn a_text_s_prefixes_have_the_hashes_that_they_have_alone() {
        let (text, hasher) = ("user-17/é/a-longer-name-than-a-block-of-the-hash", RandomState::new());
        for lengths in
            [&[0, 1, 2, 5, 8, 10, 16, 17, text.len()][..], &[3, 13, 40], &[text.len()], &[text.len() + 1]]
        {
            let together: Vec<u64> = hashes_of_prefixes(text, lengths.iter().copied(), &hasher).collect();
            let within = lengths.iter().filter(|&&length| length <= text.len());
            let alone: Vec<u64> = within.map(|&length| hash_of_prefix(&text[..length], &hasher)).collect();
            assert_eq!(together, alone, "{lengths:?}");
        }
    }
}
