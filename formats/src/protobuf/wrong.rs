//! What is wrong with bytes, while it is being found out where.

use crate::Undecodable;

/// The longest path that is told. What encloses it is then left out.
const MAX_PATH: usize = 200;

/// Why bytes are not decoded. Small, since every step returns it.
#[derive(Debug)]
pub(super) enum Wrong {
    /// They are no such message.
    Bytes(Box<Place>),
    /// They nest too deep.
    TooDeep,
    /// Their text is too long.
    TooLong,
}

/// Where something is wrong, and what.
#[derive(Debug)]
pub(super) struct Place {
    /// The fields in which it is, `order.items`.
    path: String,
    what: &'static str,
}

impl Wrong {
    #[cold]
    pub(super) fn bytes(what: &'static str) -> Self {
        Wrong::Bytes(Box::new(Place { path: String::new(), what }))
    }

    /// The same, in a field.
    #[cold]
    pub(super) fn within(mut self, field: &str) -> Self {
        if let Wrong::Bytes(place) = &mut self
            && place.path.len() + field.len() < MAX_PATH
        {
            let dot = if place.path.is_empty() { "" } else { "." };
            place.path.insert_str(0, &format!("{field}{dot}"));
        }
        self
    }

    /// As it is told, for a message of this name.
    #[cold]
    pub(super) fn of(self, message: &str) -> Undecodable {
        match self {
            Wrong::Bytes(place) if place.path.is_empty() => {
                Undecodable::Mismatch(format!("{message}: {}", place.what))
            }
            Wrong::Bytes(place) => {
                Undecodable::Mismatch(format!("{message}: {}: {}", place.path, place.what))
            }
            Wrong::TooDeep => Undecodable::TooDeep,
            Wrong::TooLong => Undecodable::TooLong,
        }
    }
}
