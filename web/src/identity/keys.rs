//! The keys of all sources: a variable, files that are read again on change, and the key set of an issuer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use jsonwebtoken::Algorithm;
use metrics::counter;
use sha2::{Digest as _, Sha256};

use super::jwks::{IssuerKeys, Refresh};
use super::key::{self, Key, KeyError};
use super::token::Token;
use super::tries::is_verified;
use crate::audit;
use crate::reload::{Looks, Reload, Settling};
use crate::whole_file::{ReadError, read_whole};

/// The largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a file of keys contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Secrets,
    PublicKeys,
    KeySet,
}

/// Why a file gives no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("it cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("it is not UTF-8")]
    NotText,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("none of its keys has an algorithm of TAILRACE_JWT_ALGORITHMS")]
    NoneAllowed,
}

/// A file of keys, as it was last read without an error.
pub(crate) struct KeyFile {
    path: PathBuf,
    kind: FileKind,
    allowed: Vec<Algorithm>,
    /// What the file was when it was opened.
    opened: Content,
    keys: ArcSwap<Vec<Key>>,
}

/// Tells one content of a file, or one error, from another.
type Content = [u8; 32];

/// All keys that tokens are checked with.
pub(crate) struct Keys {
    /// Those that do not change.
    pub(crate) fixed: Vec<Key>,
    pub(crate) files: Vec<KeyFile>,
    pub(crate) issuer: Option<Arc<IssuerKeys>>,
}

/// The answer of the keys to a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Verified,
    /// No key has verified it.
    Refused,
    /// The key may be one that the issuer has added since: to be asked again after this time.
    Unknown(Duration),
}

impl FileKind {
    fn parse(self, bytes: &[u8]) -> Result<Vec<Key>, FileError> {
        let text = || std::str::from_utf8(bytes).map_err(|_| FileError::NotText);
        Ok(match self {
            FileKind::Secrets => key::secrets(text()?)?,
            FileKind::PublicKeys => key::public_keys(bytes)?,
            FileKind::KeySet => key::key_set(bytes)?,
        })
    }

    fn variable(self) -> &'static str {
        match self {
            FileKind::Secrets => "TAILRACE_JWT_SECRET_FILE",
            FileKind::PublicKeys => "TAILRACE_JWT_PUBLIC_KEY_FILE",
            FileKind::KeySet => "TAILRACE_JWT_JWKS_FILE",
        }
    }

    /// The label of the metric.
    fn source(self) -> &'static str {
        match self {
            FileKind::Secrets => "secret_file",
            FileKind::PublicKeys => "public_key_file",
            FileKind::KeySet => "jwks_file",
        }
    }
}

/// Those of the keys that may be used, each with the algorithms that are allowed (empty: all).
pub(crate) fn allowed_keys(keys: Vec<Key>, allowed: &[Algorithm]) -> Vec<Key> {
    keys.into_iter().filter_map(|key| key.restricted(allowed)).collect()
}

impl KeyFile {
    /// Reads the file for the first time.
    pub(crate) fn open(path: &Path, kind: FileKind, allowed: &[Algorithm]) -> Result<KeyFile, FileError> {
        let bytes = read_whole(path, MAX_FILE)?;
        let file = KeyFile {
            path: path.to_owned(),
            kind,
            allowed: allowed.to_vec(),
            opened: Sha256::digest(&bytes).into(),
            keys: ArcSwap::default(),
        };
        file.take(&bytes)?;
        Ok(file)
    }

    /// Replaces the keys by those of the file, or leaves them if one is wrong.
    fn take(&self, bytes: &[u8]) -> Result<(), FileError> {
        let keys = allowed_keys(self.kind.parse(bytes)?, &self.allowed);
        if keys.is_empty() {
            return Err(FileError::NoneAllowed);
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// Reads the file again for ever. Whoever replaces a file may have written half of it, so a change is taken once two looks
    /// have found the same; an error leaves the last good keys, and is said once.
    async fn watch(&self, mut looks: Looks) {
        let mut settling = Settling::new(self.opened);
        loop {
            let was_asked = looks.next().await;
            let path = self.path.clone();
            let read = tokio::task::spawn_blocking(move || read_whole(&path, MAX_FILE)).await;
            let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error).into()));
            let content: Content = match &read {
                Ok(bytes) => Sha256::digest(bytes).into(),
                Err(error) => Sha256::digest(error.to_string()).into(),
            };
            if settling.is_new(content, was_asked) {
                self.say(read.map_err(FileError::from).and_then(|bytes| self.take(&bytes)), was_asked);
            }
        }
    }

    fn say(&self, taken: Result<(), FileError>, was_asked: bool) {
        count_reload(self.kind.source(), taken.is_ok());
        let taken =
            taken.map_err(|error| format!("the last good keys stay: {}: {error}", self.path.display()));
        audit::reloaded(self.kind.variable(), was_asked, taken.as_ref().map_err(String::as_str).copied());
    }
}

pub(super) fn count_reload(source: &'static str, is_good: bool) {
    let result = if is_good { "taken" } else { "refused" };
    counter!("tailrace_key_reloads_total", "source" => source, "result" => result).increment(1);
}

impl Keys {
    /// Whether a key has signed the token. Asks the issuer for its keys if a new one may have.
    pub(super) async fn verify(&self, token: &Token<'_>) -> Verdict {
        if self.verified_by_known(token) {
            return Verdict::Verified;
        }
        let Some(issuer) = self.issuer.as_ref().filter(|issuer| issuer.may_add_key_of(token)) else {
            return Verdict::Refused;
        };
        let refresh = issuer.refresh().await;
        if self.verified_by_known(token) {
            return Verdict::Verified;
        }
        match refresh {
            Refresh::Done => Verdict::Refused,
            // The set is at most that old. A key without an id cannot be told from the others in it.
            Refresh::TooSoon(_) if token.key_id.is_none() => Verdict::Refused,
            Refresh::TooSoon(after) | Refresh::Failed(after) => Verdict::Unknown(after),
        }
    }

    fn verified_by_known(&self, token: &Token<'_>) -> bool {
        let files = self.files.iter().map(|file| file.keys.load_full());
        let changing: Vec<Arc<Vec<Key>>> =
            files.chain(self.issuer.iter().map(|issuer| issuer.keys())).collect();
        let keys = self.fixed.iter().chain(changing.iter().flat_map(|keys| keys.iter()));
        is_verified(keys, token)
    }

    /// Reads files and the issuer's key set again, for ever.
    pub(super) async fn watch(&self, reload: &Reload) {
        let issuer = async {
            match &self.issuer {
                Some(issuer) => issuer.watch().await,
                None => std::future::pending().await,
            }
        };
        let files = self.files.iter().map(|file| file.watch(reload.looks()));
        tokio::join!(join_all(files), issuer);
    }

    /// The names of all algorithms that a known key has.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        let files = self.files.iter().flat_map(|file| file.keys.load().iter().cloned().collect::<Vec<_>>());
        let issuer = self.issuer.iter().flat_map(|issuer| issuer.keys().iter().cloned().collect::<Vec<_>>());
        key::names(&self.fixed.iter().cloned().chain(files).chain(issuer).collect::<Vec<_>>())
    }
}
