//! Values of settings: how they are parsed, and the error for one that cannot be used.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use tailrace_bridge::{Rate, Span};

/// A value that cannot be used: the variable, its value, and what is accepted there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={value:?} cannot be used: accepted is {accepted}")]
pub struct SettingError {
    /// The environment variable.
    pub variable: &'static str,
    /// The rejected value; a secret is not repeated.
    pub value: String,
    /// What is accepted in its place.
    pub accepted: String,
}

pub(super) fn wrong(variable: &'static str, value: &str, accepted: impl Into<String>) -> SettingError {
    SettingError { variable, value: value.to_owned(), accepted: accepted.into() }
}

pub(super) fn parse<T: FromStr<Err = String>>(
    variable: &'static str,
    value: &str,
) -> Result<T, SettingError> {
    value.trim().parse().map_err(|accepted: String| wrong(variable, value, accepted))
}

pub(super) fn address(variable: &'static str, value: &str) -> Result<SocketAddr, SettingError> {
    let accepted = "an address and a port, such as 0.0.0.0:8080, [::]:8080 or localhost:8080";
    let found = value.trim().to_socket_addrs().ok().and_then(|mut all| all.next());
    found.ok_or_else(|| wrong(variable, value, accepted))
}

pub(super) fn span(variable: &'static str, value: &str) -> Result<Duration, SettingError> {
    parse::<Span>(variable, value).map(|span| span.get())
}

pub(super) fn span_within(
    variable: &'static str,
    value: &str,
    (low, high): (Duration, Duration),
) -> Result<Duration, SettingError> {
    let span = span(variable, value)?;
    if span < low || span > high {
        let (low, high) = (Span::new(low), Span::new(high));
        return Err(wrong(variable, value, format!("a time from {low} to {high}")));
    }
    Ok(span)
}

pub(super) fn count(variable: &'static str, value: &str) -> Result<usize, SettingError> {
    value.trim().parse().map_err(|_| wrong(variable, value, "a whole number; 0 is no limit"))
}

pub(super) fn rate(variable: &'static str, value: &str) -> Result<Rate, SettingError> {
    parse(variable, value)
}
