//! Why a setting cannot be used, and what would be accepted.

use std::fmt;

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value} is not accepted; accepted: {accepted}")]
pub struct SettingsError {
    /// The variable that has to change.
    pub variable: String,
    /// Its value; empty where it is missing, or where it is a secret.
    pub value: String,
    /// What would be accepted.
    pub accepted: String,
}

pub(super) fn refusal(variable: &str, value: &str, accepted: impl fmt::Display) -> SettingsError {
    SettingsError { variable: variable.to_owned(), value: value.to_owned(), accepted: accepted.to_string() }
}
