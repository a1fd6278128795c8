//! An error in the text of a filter, and where it stands.

use std::borrow::Cow;
use std::fmt;

/// What is wrong at a byte of a text, and what is accepted there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: usize,
    pub(crate) message: Cow<'static, str>,
}

impl SyntaxError {
    pub(crate) const fn new(at: usize, message: &'static str) -> SyntaxError {
        SyntaxError { at, message: Cow::Borrowed(message) }
    }

    pub(crate) fn of(at: usize, message: impl fmt::Display) -> SyntaxError {
        SyntaxError { at, message: Cow::Owned(message.to_string()) }
    }

    /// The same in a longer text, in which its own text begins at that byte.
    pub(crate) fn behind(self, at: usize) -> SyntaxError {
        SyntaxError { at: self.at + at, ..self }
    }

    /// The column in characters, from 1.
    pub(crate) fn column(&self, text: &str) -> usize {
        text.char_indices().take_while(|(at, _)| *at < self.at).count() + 1
    }
}
