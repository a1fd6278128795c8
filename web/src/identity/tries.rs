//! Which keys a token is tried with: those that may check its algorithm and have its `kid`, and only so many of them.

use super::key::{self, Key, name_of};
use super::token::{Token, TokenError};

/// The most keys that one token is tried with.
const MAX_TRIES: usize = 16;

/// Whether one of the keys has signed the token.
pub(super) fn is_verified<'k>(keys: impl Iterator<Item = &'k Key>, token: &Token<'_>) -> bool {
    tried(keys, token).any(|key| key.verifies(token.message, token.signature, token.algorithm))
}

fn tried<'k>(keys: impl Iterator<Item = &'k Key>, token: &Token<'_>) -> impl Iterator<Item = &'k Key> {
    keys.filter(|key| key.fits(token.key_id.as_deref(), token.algorithm)).take(MAX_TRIES)
}

/// Keys that do not change.
pub struct KeyRing(Vec<Key>);

/// What the header of a token chooses.
#[derive(Debug, PartialEq, Eq)]
pub struct Tries {
    pub algorithm: &'static str,
    pub key_id: Option<String>,
    /// The keys that its signature is compared with: the `kid` of each, and its algorithms.
    pub keys: Vec<(Option<String>, Vec<&'static str>)>,
    pub is_verified: bool,
}

impl KeyRing {
    /// Secrets, one on each line, and the keys of a JWK set; `algorithms` as in the setting, empty: those of the keys. `None`:
    /// one of them cannot be used.
    pub fn parse(secrets: &str, key_set: &str, algorithms: &[&str]) -> Option<KeyRing> {
        let allowed = algorithms.iter().map(|name| key::algorithm(name)).collect::<Option<Vec<_>>>()?;
        let keys = [key::secrets(secrets).ok()?, key::key_set(key_set.as_bytes()).ok()?].concat();
        Some(KeyRing(keys.into_iter().filter_map(|key| key.restricted(&allowed)).collect()))
    }

    /// Checks the signature of a token as for a request.
    ///
    /// # Errors
    /// The token cannot be read, or names an algorithm that is not known.
    pub fn tries(&self, token: &str) -> Result<Tries, TokenError> {
        let token = Token::parse(token)?;
        let keys = tried(self.0.iter(), &token).map(|key| (key.id().map(str::to_owned), key.algorithms()));
        Ok(Tries {
            algorithm: name_of(token.algorithm),
            keys: keys.collect(),
            is_verified: is_verified(self.0.iter(), &token),
            key_id: token.key_id,
        })
    }
}
