//! The views that require a field to be on one side of a bound: the bounds are sorted, and those that a record's value meets are a
//! stretch of them.
//!
//! A number and a text compare as texts, two numbers by value. So a bound that is a number is sorted twice, among the numbers for
//! fields that are numbers, and by its text for the others.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

use crate::live::view::View;
use crate::live::view_list::ViewList;
use crate::record::condition::{self, Wanted};
use crate::record::number::Number;

#[derive(Debug, Default)]
pub(super) struct RangeViews {
    less: Side,
    less_or_equal: Side,
    greater: Side,
    greater_or_equal: Side,
}

/// The bounds of one operator.
#[derive(Debug, Default)]
struct Side {
    numbers: BTreeMap<Number, ViewList>,
    /// The same bounds by their texts.
    texts_of_numbers: BTreeMap<Box<str>, ViewList>,
    /// The other bounds.
    texts: BTreeMap<Box<str>, ViewList>,
}

/// A stretch of sorted bounds.
type Stretch<T> = (Bound<T>, Bound<T>);

impl RangeViews {
    pub(super) fn add(&mut self, wanted: Wanted, bound: &condition::Bound, view: &Arc<View>) {
        let side = self.side_mut(wanted);
        match bound.number {
            Some(number) => {
                side.numbers.entry(number).or_default().add(view);
                add(&mut side.texts_of_numbers, &bound.text, view);
            }
            None => add(&mut side.texts, &bound.text, view),
        }
    }

    pub(super) fn remove(&mut self, wanted: Wanted, bound: &condition::Bound, view: &Arc<View>) {
        let side = self.side_mut(wanted);
        match bound.number {
            Some(number) => {
                remove(&mut side.numbers, &number, view);
                remove(&mut side.texts_of_numbers, &*bound.text, view);
            }
            None => remove(&mut side.texts, &*bound.text, view),
        }
    }

    /// Hands over the views whose bounds a field with this text meets; `number`: what the text is as a number.
    pub(super) fn find<'v>(
        &'v self,
        text: &str,
        number: Option<Number>,
        mut found: impl FnMut(&'v Arc<View>),
    ) {
        for (wanted, side) in self.sides() {
            let by_text = texts_met(wanted, text);
            side.texts.range::<str, _>(by_text).for_each(|(_, views)| views.iter().for_each(&mut found));
            let Some(number) = number else {
                let met = side.texts_of_numbers.range::<str, _>(by_text);
                met.for_each(|(_, views)| views.iter().for_each(&mut found));
                continue;
            };
            for stretch in numbers_met(wanted, number).into_iter().flatten() {
                side.numbers.range(stretch).for_each(|(_, views)| views.iter().for_each(&mut found));
            }
        }
    }

    /// Some come more than once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<View>> {
        self.sides().into_iter().flat_map(|(_, side)| side.lists()).flat_map(ViewList::iter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sides().into_iter().all(|(_, side)| side.numbers.is_empty() && side.texts.is_empty())
    }

    fn sides(&self) -> [(Wanted, &Side); 4] {
        [
            (Wanted::Less, &self.less),
            (Wanted::LessOrEqual, &self.less_or_equal),
            (Wanted::Greater, &self.greater),
            (Wanted::GreaterOrEqual, &self.greater_or_equal),
        ]
    }

    fn side_mut(&mut self, wanted: Wanted) -> &mut Side {
        match wanted {
            Wanted::Less => &mut self.less,
            Wanted::LessOrEqual => &mut self.less_or_equal,
            Wanted::Greater => &mut self.greater,
            Wanted::GreaterOrEqual => &mut self.greater_or_equal,
        }
    }
}

impl Side {
    /// Each bound once.
    fn lists(&self) -> impl Iterator<Item = &ViewList> {
        self.numbers.values().chain(self.texts.values())
    }
}

fn add(bounds: &mut BTreeMap<Box<str>, ViewList>, text: &str, view: &Arc<View>) {
    match bounds.get_mut(text) {
        Some(views) => views.add(view),
        None => bounds.entry(text.into()).or_default().add(view),
    }
}

fn remove<K: Borrow<Q> + Ord, Q: Ord + ?Sized>(
    bounds: &mut BTreeMap<K, ViewList>,
    bound: &Q,
    view: &Arc<View>,
) {
    let Some(views) = bounds.get_mut(bound) else { return };
    views.remove(view);
    if views.is_empty() {
        bounds.remove(bound);
    }
}

/// The bounds that a text meets: greater than a bound is what the bound is less than.
fn texts_met(wanted: Wanted, text: &str) -> Stretch<&str> {
    match wanted {
        Wanted::Less => (Excluded(text), Unbounded),
        Wanted::LessOrEqual => (Included(text), Unbounded),
        Wanted::Greater => (Unbounded, Excluded(text)),
        Wanted::GreaterOrEqual => (Unbounded, Included(text)),
    }
}

/// The bounds that a number meets. Those with its own double are, in this order: bounds that compare as doubles, which are equal to it;
/// and whole ones, which are sorted by value if the number is whole, too, and else are equal to it.
fn numbers_met(wanted: Wanted, number: Number) -> [Option<Stretch<Number>>; 2] {
    let (first, last) = (number.first_of_its_double(), number.last_of_its_double());
    match (wanted, number.is_whole()) {
        (Wanted::Greater, false) => [Some((Unbounded, Excluded(first))), None],
        (Wanted::Greater, true) => {
            [Some((Unbounded, Excluded(first))), Some((Excluded(first), Excluded(number)))]
        }
        (Wanted::GreaterOrEqual, false) => [Some((Unbounded, Included(last))), None],
        (Wanted::GreaterOrEqual, true) => [Some((Unbounded, Included(number))), None],
        (Wanted::Less, false) => [Some((Excluded(last), Unbounded)), None],
        (Wanted::Less, true) => [Some((Excluded(number), Unbounded)), None],
        (Wanted::LessOrEqual, false) => [Some((Included(first), Unbounded)), None],
        (Wanted::LessOrEqual, true) => {
            [Some((Included(first), Included(first))), Some((Included(number), Unbounded))]
        }
    }
}
