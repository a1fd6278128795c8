//! The key set of an issuer (RFC 7517, section 5), fetched by HTTP: ahead of its expiry, and when a token has a key that is not
//! in it. The last good set stays while the issuer cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, StatusCode};
use jsonwebtoken::Algorithm;
use reqwest::{Client, Url, redirect};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::key::{self, Key, KeyError};
use super::keys::{allowed_keys, count_reload};
use super::token::Token;

/// The longest time of one request to the issuer, and of connecting to it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest key set, in bytes.
const MAX_SET: usize = 256 * 1024;
/// Requests to the issuer are at least this far apart, however many tokens have keys that are not known.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a request waits for the issuer's answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a set is used before it is fetched again, where the issuer does not say, and the bounds of what it may say.
const USUAL_AGE: Duration = Duration::from_secs(300);
const AGE_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// The part of its age after which a set is fetched again.
const AHEAD: f64 = 0.8;

/// The keys of an issuer, as last fetched.
pub(crate) struct IssuerKeys {
    url: Url,
    allowed: Vec<Algorithm>,
    keys: ArcSwap<Vec<Key>>,
    last: watch::Sender<Option<Fetch>>,
    /// Why the newest answer gave no keys.
    flaw: ArcSwapOption<String>,
    wanted: Notify,
}

/// A request to the issuer.
#[derive(Clone, Copy, Debug)]
struct Fetch {
    begun: Instant,
    /// Whether it gave keys; `None`: it is not answered yet.
    is_good: Option<bool>,
}

/// What became of the wish for the issuer's present keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// They were fetched after the wish.
    Done,
    /// They were fetched shortly before it; the time until they may be fetched again.
    TooSoon(Duration),
    /// The issuer did not answer; the time until it is asked again.
    Failed(Duration),
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(String),
    #[error("it did not answer within {} s", FETCH_TIMEOUT.as_secs())]
    Timeout,
    #[error("it answered with the status {0}, expected is 200")]
    Status(StatusCode),
    #[error("the key set is larger than {MAX_SET} bytes")]
    TooLarge,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("none of its keys has an algorithm of TAILRACE_JWT_ALGORITHMS")]
    NoneAllowed,
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> FetchError {
        if error.is_timeout() {
            return FetchError::Timeout;
        }
        // The cause says more than the error, whose own text is that a request failed.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        FetchError::Http(cause.to_string())
    }
}

impl IssuerKeys {
    pub(crate) fn new(url: Url, allowed: &[Algorithm]) -> IssuerKeys {
        IssuerKeys {
            url,
            allowed: allowed.to_vec(),
            keys: ArcSwap::default(),
            last: watch::Sender::new(None),
            flaw: ArcSwapOption::empty(),
            wanted: Notify::new(),
        }
    }

    pub(super) fn keys(&self) -> Arc<Vec<Key>> {
        self.keys.load_full()
    }

    /// What an operator should know: that the keys cannot be fetched now.
    pub(super) fn note(&self) -> Option<String> {
        let flaw = self.flaw.load_full()?;
        let kept = match self.keys.load().len() {
            0 => "no token that needs them is accepted until they can be".to_owned(),
            count => format!("the last {count} stay"),
        };
        Some(format!("the keys at TAILRACE_JWT_JWKS_URL cannot be read: {flaw}; {kept}"))
    }

    /// Whether the issuer may have signed the token with a key that is not known yet.
    pub(super) fn may_add_key_of(&self, token: &Token<'_>) -> bool {
        let keys = self.keys.load();
        let is_known = token.key_id.as_deref().is_some_and(|id| keys.iter().any(|key| key.has_id(id)));
        !is_known && !key::is_symmetric(token.algorithm)
    }

    /// Waits for keys that are fetched after this call, or as soon as it is allowed and answered in time. Cancel-safe: the
    /// request to the issuer goes on.
    pub(super) async fn refresh(&self) -> Refresh {
        let asked = Instant::now();
        let mut last = self.last.subscribe();
        let recent = last.borrow_and_update().filter(|fetch| fetch.is_recent(asked));
        if let Some(fetch) = recent {
            return fetch.as_refresh(asked);
        }
        self.wanted.notify_one();
        // One that was being fetched when this was asked counts, too.
        let answered = last.wait_for(|fetch| fetch.is_some_and(|fetch| fetch.is_recent(asked)));
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(fetch)) => fetch.map_or(Refresh::Failed(PAUSE), |fetch| fetch.as_refresh(asked)),
            Ok(Err(_)) | Err(_) => Refresh::Failed(PAUSE),
        }
    }

    /// Fetches the keys for ever.
    pub(super) async fn watch(&self) {
        let client = client();
        let (mut next, mut failures) = (Instant::now(), 0);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.wanted.notified() => {
                    let earliest = self.last.borrow().map(|fetch| fetch.begun + PAUSE);
                    tokio::time::sleep_until(earliest.unwrap_or(next).min(next)).await;
                }
            }
            let begun = Instant::now();
            self.last.send_replace(Some(Fetch { begun, is_good: None }));
            let fetched = match &client {
                Ok(client) => self.fetch(client).await,
                Err(error) => Err(FetchError::Http(error.to_string())),
            };
            next = begun + self.take(fetched, &mut failures);
        }
    }

    /// Stores what was fetched, and returns the time until the next fetch.
    fn take(&self, fetched: Result<(Vec<Key>, Duration), FetchError>, failures: &mut u32) -> Duration {
        let is_good = fetched.is_ok();
        count_reload("jwks_url", is_good);
        let next = match fetched {
            Ok((keys, age)) => {
                if *failures > 0 || self.keys.load().is_empty() {
                    tracing::info!(
                        issuer = self.host(),
                        keys = keys.len(),
                        "the issuer's keys have been read"
                    );
                }
                *failures = 0;
                self.flaw.store(None);
                self.keys.store(Arc::new(keys));
                age.mul_f64(AHEAD)
            }
            Err(error) => {
                if *failures == 0 {
                    let keys = self.keys.load().len();
                    tracing::warn!(issuer = self.host(), %error, keys, "the issuer's keys cannot be read: the last good ones stay");
                }
                *failures += 1;
                self.flaw.store(Some(Arc::new(error.to_string())));
                PAUSE
            }
        };
        self.last.send_modify(|fetch| {
            if let Some(fetch) = fetch {
                fetch.is_good = Some(is_good);
            }
        });
        next
    }

    async fn fetch(&self, client: &Client) -> Result<(Vec<Key>, Duration), FetchError> {
        let request =
            client.get(self.url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let age = age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_SET {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let keys = allowed_keys(key::key_set(&body)?, &self.allowed);
        if keys.is_empty() { Err(FetchError::NoneAllowed) } else { Ok((keys, age)) }
    }

    /// For logs: the rest of the address may contain a secret.
    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }
}

impl Fetch {
    /// Whether it is answered, and the next one may not begin yet.
    fn is_recent(&self, now: Instant) -> bool {
        self.is_good.is_some() && now < self.begun + PAUSE
    }

    fn as_refresh(&self, asked: Instant) -> Refresh {
        let left = (self.begun + PAUSE).saturating_duration_since(Instant::now());
        match self.is_good {
            Some(true) if self.begun >= asked => Refresh::Done,
            Some(true) => Refresh::TooSoon(left),
            _ => Refresh::Failed(left),
        }
    }
}

/// Connections are checked against the certificates of the system (or of `SSL_CERT_FILE`). Redirects are not followed: the
/// address that is configured is the one that is trusted.
fn client() -> reqwest::Result<Client> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(FETCH_TIMEOUT)
        .user_agent(concat!("tailrace/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// How long a response may be used (RFC 9111, section 5.2.2.1), within bounds.
fn age(headers: &HeaderMap) -> Duration {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let ages = directives.filter_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    });
    let (low, high) = AGE_BOUNDS;
    ages.min().map_or(USUAL_AGE, Duration::from_secs).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_the_issuers_within_bounds() {
        let of = |value: &'static str| {
            age(&[(CACHE_CONTROL, value.parse().unwrap())].into_iter().collect()).as_secs()
        };
        assert_eq!(of("public, max-age=600, must-revalidate"), 600);
        assert_eq!(of("Max-Age=\"600\""), 600);
        assert_eq!(of("max-age=0"), 60);
        assert_eq!(of("max-age=999999999"), 3600);
        assert_eq!(of("max-age=99999999999999999999999"), 300);
        assert_eq!(of("no-store"), 300);
        assert_eq!(age(&HeaderMap::new()).as_secs(), 300);
    }
}
