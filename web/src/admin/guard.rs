//! Who may call the operators' routes. Liveness, readiness and metrics are for everybody who reaches the address.
//!
//! A page in an operator's browser reaches whatever the browser reaches, loopback included, and with a name that points there
//! (DNS rebinding) it even reads the answers. So a request that a page has made is refused, and so is one for another name
//! than that of this machine, unless a token is asked for, which no page has.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::request::Parts as Head;
use axum::http::uri::Authority;

use crate::admin_tokens::AdminTokens;
use crate::problem::Problem;
use crate::settings::AdminSettings;

/// Which kind of site has made a request: browsers say so in every request.
const FETCH_SITE: &str = "sec-fetch-site";

/// How callers are checked.
#[derive(Clone)]
pub(super) enum Guard {
    /// Callers must have one of these tokens.
    Token(Arc<AdminTokens>),
    /// Callers must be on this machine, and mean it.
    Loopback,
    /// Nobody may call: others reach the address, and there is no token.
    Closed,
}

impl Guard {
    pub(super) fn of(settings: &AdminSettings) -> Guard {
        match &settings.tokens {
            Some(tokens) => Guard::Token(Arc::clone(tokens)),
            None if settings.listen.ip().to_canonical().is_loopback() => Guard::Loopback,
            None => Guard::Closed,
        }
    }

    /// Whether the caller may call. May read a file.
    pub(super) fn check(&self, request: &Head) -> Result<(), Problem> {
        refuse_pages(request)?;
        match self {
            Guard::Token(tokens) => check_token(tokens, request),
            Guard::Loopback => check_host(request),
            Guard::Closed => Err(barred(
                "without a token this route answers on a loopback address only: set TAILRACE_ADMIN_TOKEN_FILE, \
                 or TAILRACE_ADMIN_LISTEN to an address such as 127.0.0.1:9464",
            )),
        }
    }
}

/// Refuses requests that the script or the markup of a page has made. What is typed into a browser has no origin, and comes
/// from no site.
fn refuse_pages(request: &Head) -> Result<(), Problem> {
    let has_origin = request.headers.contains_key(ORIGIN);
    let is_of_a_site = request.headers.get_all(FETCH_SITE).iter().any(|site| site != "none");
    if has_origin || is_of_a_site {
        return Err(barred("pages may not call this route"));
    }
    Ok(())
}

fn check_token(tokens: &AdminTokens, request: &Head) -> Result<(), Problem> {
    let unauthenticated =
        |detail: &str| Problem::Unauthenticated { detail: detail.to_owned(), is_missing: true };
    let mut all = request.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(unauthenticated(
            "send one header `Authorization: Bearer` with a token of TAILRACE_ADMIN_TOKEN_FILE",
        ));
    };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token {
        Some((_, token)) if tokens.admit(token.trim()) => Ok(()),
        Some(_) => Err(unauthenticated("the token is none of TAILRACE_ADMIN_TOKEN_FILE")),
        None => Err(unauthenticated("the header Authorization must be `Bearer` and a token")),
    }
}

/// The name that the client has for this server must be one of this machine.
fn check_host(request: &Head) -> Result<(), Problem> {
    match authority(request) {
        Some(authority) if is_local(authority.host()) => Ok(()),
        _ => Err(barred(
            "the header Host must name this machine: localhost, or a loopback address such as 127.0.0.1. Where a \
             proxy is in between, set TAILRACE_ADMIN_TOKEN_FILE",
        )),
    }
}

/// The authority of the request: of its target where that has one (RFC 9112, section 3.2.2; HTTP/2), else of its only header
/// Host.
fn authority(request: &Head) -> Option<Authority> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let named = request.uri.authority().cloned();
    match (named, host, second) {
        (_, _, Some(_)) => None,
        // Where both are there, they must mean the same.
        (Some(named), Some(host), None) => (named.as_str().as_bytes() == host.as_bytes()).then_some(named),
        (Some(named), None, None) => Some(named),
        (None, host, None) => Authority::try_from(host?.as_bytes()).ok(),
    }
}

fn is_local(host: &str) -> bool {
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn barred(detail: &str) -> Problem {
    Problem::Barred { detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for local in ["localhost", "LocalHost", "127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            "localhost.",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "example.com",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }
}
