//! What stands for a hashed value: HMAC-SHA256 under a key that only the replicas have, cut to 16 bytes, as base64url.
//!
//! A plain hash of an e-mail address or of a telephone number is found by hashing all of them; without the key, this one is
//! not. Equal values of one tenant have equal hashes, in all fields, topics and replicas, so that a page can still count and
//! join by them. Those of different tenants have not, since each tenant's key is derived from its name.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::base::key::{ACCEPTED_KEY, key_lines, parse_key};

/// Bytes of a hash that are shown: by chance, two of 2⁶⁴ values have the same.
const SHOWN: usize = 16;

/// The content of the file `TAILRACE_MASK_KEY_FILE`.
#[derive(Clone)]
pub struct MaskKey(Hmac<Sha256>);

/// The key of one tenant's hashes.
#[derive(Clone)]
pub(crate) struct TenantKey(Hmac<Sha256>);

impl MaskKey {
    /// Parses the content of a key file: one key.
    ///
    /// # Errors
    /// What is wrong and what is accepted. Never the key.
    pub fn parse(text: &str) -> Result<MaskKey, String> {
        let accepted = format!("accepted: one key, {ACCEPTED_KEY}");
        let mut lines = key_lines(text);
        match (lines.next(), lines.next()) {
            (Some((number, line)), None) => {
                let key = parse_key(line).map_err(|why| format!("line {number} {why}; {accepted}"))?;
                Ok(MaskKey(keyed(&key)))
            }
            (None, _) => Err(format!("there is no key in it; {accepted}")),
            (Some(_), Some((number, _))) => Err(format!("line {number} is one too many; {accepted}")),
        }
    }

    pub(crate) fn of_tenant(&self, tenant: &str) -> TenantKey {
        TenantKey(keyed(&digest(&self.0, tenant.as_bytes())))
    }
}

impl TenantKey {
    /// Appends the hash of a value, without quotes.
    pub(crate) fn put_hash(&self, out: &mut Vec<u8>, value: &[u8]) {
        let hash = digest(&self.0, value);
        let start = out.len();
        out.resize(start + base64::encoded_len(SHOWN, false).unwrap_or_default(), 0);
        let written = URL_SAFE_NO_PAD.encode_slice(&hash[..SHOWN], &mut out[start..]);
        debug_assert!(written.is_ok(), "{written:?}");
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn digest(key: &Hmac<Sha256>, bytes: &[u8]) -> [u8; 32] {
    key.clone().chain_update(bytes).finalize().into_bytes().into()
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey")
    }
}

impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn hash(key: &str, tenant: &str, value: &str) -> String {
        let mut out = Vec::new();
        MaskKey::parse(key).unwrap().of_tenant(tenant).put_hash(&mut out, value.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_hash_is_the_same_at_every_replica_and_differs_by_key_and_tenant() {
        let one = hash(KEY, "acme", "a@b.example");
        assert_eq!(one.len(), 22);
        assert_eq!(one, hash(&format!("# of 2026\n{KEY}\n"), "acme", "a@b.example"));
        let other_key = KEY.replace("00", "ff");
        for other in [
            hash(KEY, "globex", "a@b.example"),
            hash(KEY, "acme", "b@b.example"),
            hash(&other_key, "acme", "a@b.example"),
        ] {
            assert_ne!(one, other);
        }
    }

    /// Pages store hashes: a later release must compute the same ones. Python's `hmac` computes this one, too.
    #[test]
    fn a_known_hash_stays_as_it_is() {
        assert_eq!(hash(KEY, "acme", "a@b.example"), "E-OoQdwUp_Qz5ltJIx3QKQ");
    }

    #[test]
    fn a_key_file_has_one_key() {
        for (text, why) in [
            ("", "no key"),
            ("# key\n", "no key"),
            ("secret\n", "line 1"),
            (&format!("{KEY}\n\n{KEY}"), "line 3 is one too many"),
        ] {
            let said = MaskKey::parse(text).unwrap_err();
            assert!(
                said.contains(why) && said.contains("openssl rand -hex 32") && !said.contains("secret"),
                "{said}"
            );
        }
    }
}
