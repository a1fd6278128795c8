//! Issues tokens (RFC 7519), and rotates the keys that replicas check them with: shared secrets, public keys, and a key set,
//! beside each other.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::pki::replace;

/// How long half of a file is there before the other half: less than replicas wait before they take a change.
const HALF: Duration = Duration::from_millis(400);

/// The issuer of a trial.
pub struct Issuer {
    /// Lifetimes of tokens, in seconds.
    lives: RangeInclusive<u64>,
    files: Mutex<[KeyFile; 3]>,
    folder: TempDir,
}

/// A token that a client has.
#[derive(Clone, Debug)]
pub struct Token {
    pub text: String,
    /// The second after which it is invalid, since 1970.
    pub expires: u64,
}

/// What a file of keys consists of.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Secrets,
    PublicKeys,
    KeySet,
}

const KINDS: [Kind; 3] = [Kind::Secrets, Kind::PublicKeys, Kind::KeySet];

struct KeyFile {
    kind: Kind,
    /// Those that are in the file, the oldest first.
    keys: Vec<Key>,
    /// The number of the key that signs.
    signing: usize,
    /// How many keys there ever were.
    made: u32,
}

enum Key {
    Secret(String),
    Pair { pair: EcdsaKeyPair, pem: String, id: String },
}

impl Issuer {
    /// Writes files with one key each.
    pub fn new(lives: RangeInclusive<u64>) -> Result<Issuer> {
        let file = |kind| KeyFile { kind, keys: Vec::new(), signing: 0, made: 0 };
        let issuer = Issuer {
            lives,
            files: Mutex::new(KINDS.map(file)),
            folder: tempfile::tempdir().context("create a folder")?,
        };
        issuer.files.lock().iter_mut().try_for_each(KeyFile::add)?;
        issuer.write()?;
        Ok(issuer)
    }

    /// The settings of a replica that takes its tokens.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let path = |kind: Kind| (kind.variable(), self.path(kind).display().to_string());
        let mut all = vec![("TAILRACE_AUTH", "jwt".to_owned())];
        all.extend(KINDS.map(path));
        all
    }

    /// The number of files with keys.
    pub fn files(&self) -> usize {
        KINDS.len()
    }

    /// A token of a tenant, signed by the current key of one of the files.
    pub fn token(&self, which: u32, tenant: &str, random: &mut impl Rng) -> Result<Token> {
        self.token_for(random.random_range(self.lives.clone()), which, tenant)
    }

    /// As [`Issuer::token`], valid for so many seconds.
    pub fn token_for(&self, life: u64, which: u32, tenant: &str) -> Result<Token> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let expires = now.as_secs() + life;
        let claims = json!({
            "tenant_id": tenant, "scope": format!("event:read:{tenant}"), "sub": format!("client-{which}"), "exp": expires,
        });
        let files = self.files.lock();
        let file = &files[which as usize % files.len()];
        Ok(Token { text: file.keys[file.signing].sign(&claims)?, expires })
    }

    /// The longest time for which a token is valid.
    pub fn longest_life(&self) -> Duration {
        Duration::from_secs(*self.lives.end())
    }

    /// Adds a key to each file, which does not sign yet. Each file is written in two halves.
    pub async fn add(&self) -> Result<()> {
        self.files.lock().iter_mut().try_for_each(KeyFile::add)?;
        let texts = self.texts();
        for (kind, text) in KINDS.iter().zip(&texts) {
            replace(&self.path(*kind), &text[..text.len() / 2])?;
        }
        tokio::time::sleep(HALF).await;
        self.write()
    }

    /// Tokens are signed by the newest keys from now on.
    pub fn move_on(&self) {
        self.files.lock().iter_mut().for_each(|file| file.signing = file.keys.len() - 1);
    }

    /// Removes all keys that do not sign.
    pub fn remove_old(&self) -> Result<()> {
        for file in self.files.lock().iter_mut() {
            file.keys.drain(..file.signing);
            file.signing = 0;
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        KINDS.iter().zip(self.texts()).try_for_each(|(kind, text)| replace(&self.path(*kind), &text))
    }

    fn texts(&self) -> Vec<String> {
        self.files.lock().iter().map(KeyFile::text).collect()
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.folder.path().join(format!("{kind:?}"))
    }
}

impl Token {
    pub fn has_expired(&self) -> bool {
        SystemTime::now().duration_since(UNIX_EPOCH).is_ok_and(|now| now.as_secs() >= self.expires)
    }
}

impl Kind {
    fn variable(self) -> &'static str {
        match self {
            Kind::Secrets => "TAILRACE_JWT_SECRET_FILE",
            Kind::PublicKeys => "TAILRACE_JWT_PUBLIC_KEY_FILE",
            Kind::KeySet => "TAILRACE_JWT_JWKS_FILE",
        }
    }
}

impl KeyFile {
    fn add(&mut self) -> Result<()> {
        self.made += 1;
        self.keys.push(match self.kind {
            Kind::Secrets => Key::Secret(format!("{:032x}-{}", rand::random::<u128>(), self.made)),
            Kind::PublicKeys | Kind::KeySet => Key::pair(format!("key-{}", self.made))?,
        });
        Ok(())
    }

    fn text(&self) -> String {
        match self.kind {
            Kind::Secrets => self.keys.iter().map(|key| format!("{}\n", key.public())).collect(),
            Kind::PublicKeys => self.keys.iter().map(Key::public).collect(),
            Kind::KeySet => {
                json!({ "keys": self.keys.iter().map(Key::json).collect::<Vec<_>>() }).to_string()
            }
        }
    }
}

impl Key {
    fn pair(id: String) -> Result<Key> {
        let generated = rcgen::KeyPair::generate().context("generate a key")?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &generated.serialize_der());
        let pair = pair.map_err(|error| anyhow!("read a key: {error}"))?;
        Ok(Key::Pair { pair, pem: generated.public_key_pem(), id })
    }

    /// What stands in a file of its kind.
    fn public(&self) -> &str {
        match self {
            Key::Secret(text) => text,
            Key::Pair { pem, .. } => pem,
        }
    }

    /// A key of a key set (RFC 7517).
    fn json(&self) -> Value {
        let Key::Pair { pair, id, .. } = self else { return Value::Null };
        // An uncompressed point: a byte 4, then both coordinates.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let text = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": id, "x": text(x), "y": text(y) })
    }

    /// The compact form of RFC 7515.
    fn sign(&self, claims: &Value) -> Result<String> {
        let header = match self {
            Key::Secret(_) => json!({ "alg": "HS256", "typ": "JWT" }),
            Key::Pair { id, .. } => json!({ "alg": "ES256", "typ": "JWT", "kid": id }),
        };
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = match self {
            Key::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()))
            }
            Key::Pair { pair, .. } => {
                let signed = pair.sign(&SystemRandom::new(), message.as_bytes());
                URL_SAFE_NO_PAD.encode(signed.map_err(|error| anyhow!("sign a token: {error}"))?)
            }
        };
        Ok(format!("{message}.{signature}"))
    }
}
