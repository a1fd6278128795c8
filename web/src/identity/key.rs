//! Keys that check signatures: secrets, public keys in PEM, and JWKs. Each key has its algorithms; a token cannot choose another
//! (RFC 8725, sections 3.1 and 3.2).

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::{Map, Value};

use super::json;

/// The shortest secret, in bytes: as long as the hash of HS256 (RFC 7518, section 3.2).
pub(crate) const MIN_SECRET_BYTES: usize = 32;
/// The shortest RSA modulus, in bits (RFC 7518, section 3.3).
const MIN_RSA_BITS: usize = 2048;
/// The longest RSA modulus, in bits: checking a signature with a longer one takes long.
const MAX_RSA_BITS: usize = 8192;
/// The most keys of one source. A token without `kid` is tried with each key of its algorithm.
const MAX_KEYS: usize = 100;

/// All algorithms that can be configured, by the names of RFC 7518 and RFC 8037.
pub(crate) const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The algorithm of that name.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The name of that algorithm.
pub(super) fn name_of(algorithm: Algorithm) -> &'static str {
    ALGORITHMS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

/// One key with the algorithms that it may check.
#[derive(Clone)]
pub(crate) struct Key {
    /// The `kid` of a JWK.
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// Why a text gives no key. The text is never repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("secret {number} has {bytes} bytes; accepted are {MIN_SECRET_BYTES} or more")]
    ShortSecret { number: usize, bytes: usize },
    #[error("it contains no key")]
    Empty,
    #[error("it contains {0} keys; accepted are at most {MAX_KEYS}")]
    TooMany(usize),
    #[error(
        "it is not PEM: accepted are blocks between -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----"
    )]
    NotPem,
    #[error(
        "block {number} is a private key, which only the issuer of tokens should have; accepted is its public key: openssl \
         pkey -in private.pem -pubout"
    )]
    Private { number: usize },
    #[error("block {number} is a {tag:?}; accepted are PUBLIC KEY and RSA PUBLIC KEY")]
    Tag { number: usize, tag: String },
    #[error("key {number} is not of a supported kind: accepted are RSA, EC on P-256 or P-384, and Ed25519")]
    Unsupported { number: usize },
    #[error("RSA key {number} has {bits} bits; accepted are {MIN_RSA_BITS} to {MAX_RSA_BITS}")]
    RsaBits { number: usize, bits: usize },
    #[error("it is not a key set: accepted is JSON with an array \"keys\" (RFC 7517)")]
    NotKeySet,
    #[error(
        "none of its {0} keys can check signatures: accepted are RSA, EC on P-256 or P-384, and Ed25519, with use \"sig\""
    )]
    NoUsableKey(usize),
}

impl Key {
    /// Whether the key may check a token with this `kid` and algorithm. A key without `kid` checks tokens with any.
    pub(super) fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let is_id = match (self.id.as_deref(), id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        is_id && self.algorithms.contains(&algorithm)
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The names of the algorithms that the key may check.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        self.algorithms.iter().map(|algorithm| name_of(*algorithm)).collect()
    }

    /// Whether this is the `kid` of the key.
    pub(super) fn has_id(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }

    /// Whether `signature`, in base64url, is that of `message`.
    pub(super) fn verifies(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, algorithm);
        self.algorithms.contains(&algorithm) && verified.unwrap_or(false)
    }

    /// The algorithms that are also in `allowed`; empty: all are.
    pub(crate) fn restricted(mut self, allowed: &[Algorithm]) -> Option<Key> {
        self.algorithms.retain(|algorithm| allowed.is_empty() || allowed.contains(algorithm));
        (!self.algorithms.is_empty()).then_some(self)
    }

    fn secret(secret: &str) -> Key {
        let fits = |bytes: usize| secret.len() >= bytes;
        let all = [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)];
        let algorithms = all.into_iter().filter(|(_, bytes)| fits(*bytes)).map(|(algorithm, _)| algorithm);
        Key {
            id: None,
            algorithms: algorithms.collect(),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        }
    }
}

/// Secrets for HMAC, one on each line; the algorithms are those whose hash is not longer than the secret.
pub(crate) fn secrets(text: &str) -> Result<Vec<Key>, KeyError> {
    let lines = text.lines().filter(|line| !line.is_empty()).enumerate();
    let keys = lines.map(|(at, secret)| match secret.len() {
        bytes if bytes < MIN_SECRET_BYTES => Err(KeyError::ShortSecret { number: at + 1, bytes }),
        _ => Ok(Key::secret(secret)),
    });
    some(keys.collect::<Result<_, _>>()?)
}

/// Public keys in PEM, one or several.
pub(crate) fn public_keys(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let blocks = pem::parse_many(text).map_err(|_| KeyError::NotPem)?;
    let keys = blocks.iter().enumerate().map(|(at, block)| public_key(at + 1, block));
    some(keys.collect::<Result<_, _>>()?)
}

fn some(keys: Vec<Key>) -> Result<Vec<Key>, KeyError> {
    match keys.len() {
        0 => Err(KeyError::Empty),
        count if count > MAX_KEYS => Err(KeyError::TooMany(count)),
        _ => Ok(keys),
    }
}

fn public_key(number: usize, block: &pem::Pem) -> Result<Key, KeyError> {
    match block.tag() {
        "PUBLIC KEY" => subject_public_key(number, block.contents()),
        "RSA PUBLIC KEY" => rsa_public_key(number, block.contents()),
        tag if tag.ends_with("PRIVATE KEY") => Err(KeyError::Private { number }),
        tag => Err(KeyError::Tag { number, tag: tag.to_owned() }),
    }
}

/// A SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7).
fn subject_public_key(number: usize, der: &[u8]) -> Result<Key, KeyError> {
    use spki::ObjectIdentifier as Oid;
    use spki::der::Decode as _;
    const EC: Oid = Oid::new_unwrap("1.2.840.10045.2.1");
    const P256: Oid = Oid::new_unwrap("1.2.840.10045.3.1.7");
    const P384: Oid = Oid::new_unwrap("1.3.132.0.34");
    const ED25519: Oid = Oid::new_unwrap("1.3.101.112");
    let unsupported = KeyError::Unsupported { number };
    let info = spki::SubjectPublicKeyInfoRef::from_der(der).map_err(|_| unsupported.clone())?;
    let key = info.subject_public_key.raw_bytes();
    let curve = info.algorithm.parameters_oid().ok();
    match (info.algorithm.oid, curve) {
        (pkcs1::ALGORITHM_OID, _) => rsa_public_key(number, key),
        (EC, Some(P256)) if is_point(key, 32) => Ok(ec(Algorithm::ES256, key)),
        (EC, Some(P384)) if is_point(key, 48) => Ok(ec(Algorithm::ES384, key)),
        (ED25519, _) if key.len() == 32 => Ok(ed25519(key)),
        _ => Err(unsupported),
    }
}

/// An RSAPublicKey (RFC 8017, appendix A.1.1).
fn rsa_public_key(number: usize, der: &[u8]) -> Result<Key, KeyError> {
    let key = pkcs1::RsaPublicKeyRef::try_from(der).map_err(|_| KeyError::Unsupported { number })?;
    rsa(number, key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

/// Whether these are the bytes of an uncompressed point with coordinates of this size.
fn is_point(bytes: &[u8], size: usize) -> bool {
    bytes.len() == 1 + 2 * size && bytes.first() == Some(&4)
}

fn rsa(number: usize, modulus: &[u8], exponent: &[u8]) -> Result<Key, KeyError> {
    let modulus = &modulus[modulus.iter().take_while(|byte| **byte == 0).count()..];
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
        return Err(KeyError::RsaBits { number, bits });
    }
    let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
    Ok(Key { id: None, algorithms: RSA.to_vec(), decoding })
}

fn ec(algorithm: Algorithm, point: &[u8]) -> Key {
    Key { id: None, algorithms: vec![algorithm], decoding: DecodingKey::from_ec_der(point) }
}

fn ed25519(key: &[u8]) -> Key {
    Key { id: None, algorithms: vec![Algorithm::EdDSA], decoding: DecodingKey::from_ed_der(key) }
}

/// The keys of a JWK set that can check signatures; keys of another use or kind are ignored (RFC 7517, section 5).
pub(crate) fn key_set(text: &[u8]) -> Result<Vec<Key>, KeyError> {
    let set = json::object(text).ok_or(KeyError::NotKeySet)?;
    let Some(Value::Array(all)) = set.get("keys") else { return Err(KeyError::NotKeySet) };
    let keys: Vec<Key> = all.iter().filter_map(|key| jwk(key.as_object()?)).collect();
    match keys.is_empty() {
        true => Err(KeyError::NoUsableKey(all.len())),
        false => some(keys),
    }
}

/// A JWK, if it can check signatures. Symmetric keys are ignored: a published secret is none.
fn jwk(members: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| members.get(name).map(|value| value.as_str());
    let bytes = |name: &str| base64url(text(name)??);
    // A member that is not a string is not a member that may be ignored.
    let is = |name: &str, wanted: &str| text(name).is_none_or(|value| value == Some(wanted));
    let verifies = members.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"))
    });
    if !is("use", "sig") || !verifies {
        return None;
    }
    let key = match (text("kty")??, text("crv").flatten()) {
        ("RSA", None) => rsa(0, &bytes("n")?, &bytes("e")?).ok()?,
        ("EC", Some("P-256")) => ec(Algorithm::ES256, &point(&bytes("x")?, &bytes("y")?, 32)?),
        ("EC", Some("P-384")) => ec(Algorithm::ES384, &point(&bytes("x")?, &bytes("y")?, 48)?),
        ("OKP", Some("Ed25519")) => Some(bytes("x")?).filter(|x| x.len() == 32).map(|x| ed25519(&x))?,
        _ => return None,
    };
    let allowed = match text("alg") {
        Some(name) => vec![algorithm(name?)?],
        None => Vec::new(),
    };
    let id = match text("kid") {
        Some(id) => Some(id?.to_owned()),
        None => None,
    };
    Key { id, ..key }.restricted(&allowed)
}

/// An uncompressed point. Coordinates are as long as the curve's field (RFC 7518, section 6.2.1.2).
fn point(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())
}

pub(super) fn base64url(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// The names of the algorithms of keys, for messages.
pub(crate) fn names(keys: &[Key]) -> Vec<&'static str> {
    let has = |algorithm: &Algorithm| keys.iter().any(|key| key.algorithms.contains(algorithm));
    ALGORITHMS.iter().filter(|(_, algorithm)| has(algorithm)).map(|(name, _)| *name).collect()
}

/// Whether the algorithm is one of a shared secret.
pub(crate) fn is_symmetric(algorithm: Algorithm) -> bool {
    algorithm.family() == AlgorithmFamily::Hmac
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A point of P-256 need not be on the curve here: only a signature would tell.
    fn p256(id: &str) -> Value {
        let coordinate = "A".repeat(43);
        json!({"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "kid": id})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut key = p256("k");
        key[name] = value;
        key
    }

    fn rsa(bytes: usize) -> Value {
        let modulus =
            base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, vec![0xff; bytes]);
        json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
    }

    fn parse(keys: &[Value]) -> Result<Vec<Key>, KeyError> {
        key_set(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_of_another_use_is_ignored_and_so_is_one_that_cannot_be_used() {
        let unusable = [
            with("use", json!("enc")),
            with("use", json!(["sig"])),
            with("key_ops", json!(["sign", "encrypt"])),
            with("key_ops", json!("verify")),
            with("alg", json!("RS256")),
            with("alg", json!("HS256")),
            with("alg", json!("none")),
            with("alg", json!(1)),
            with("kid", json!(7)),
            with("crv", json!("P-521")),
            with("crv", json!("P-384")),
            with("kty", json!("RSA")),
            with("x", json!("AA")),
            with("x", json!("A".repeat(43) + "=")),
            json!({"kty": "oct", "k": "A".repeat(64)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "A".repeat(43)}),
            rsa(128),
            rsa(255),
            rsa(1025),
            json!("key"),
            json!(null),
        ];
        for key in &unusable {
            assert_eq!(parse(std::slice::from_ref(key)).err(), Some(KeyError::NoUsableKey(1)), "{key}");
        }
        let usable = [
            with("use", json!("sig")),
            with("key_ops", json!(["verify"])),
            with("alg", json!("ES256")),
            rsa(256),
            rsa(1024),
        ];
        assert_eq!(parse(&[&usable[..], &unusable].concat()).unwrap().len(), usable.len());
    }

    #[test]
    fn what_is_no_key_set_is_refused_whole() {
        for text in
            ["", "<html>sign in</html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "null"]
        {
            assert_eq!(key_set(text.as_bytes()).err(), Some(KeyError::NotKeySet), "{text}");
        }
        assert_eq!(parse(&[]).err(), Some(KeyError::NoUsableKey(0)));
        let many: Vec<Value> = (0..1000).map(|at| p256(&at.to_string())).collect();
        assert_eq!(parse(&many).err(), Some(KeyError::TooMany(1000)));
    }

    #[test]
    fn a_secret_has_the_algorithms_that_it_is_long_enough_for() {
        let names = |bytes: usize| secrets(&"s".repeat(bytes)).map(|keys| names(&keys));
        assert_eq!(names(31), Err(KeyError::ShortSecret { number: 1, bytes: 31 }));
        assert_eq!(names(47), Ok(vec!["HS256"]));
        assert_eq!(names(48), Ok(vec!["HS256", "HS384"]));
        assert_eq!(names(64), Ok(vec!["HS256", "HS384", "HS512"]));
        let several = format!("{}\r\n\n{}\n", "a".repeat(32), "b".repeat(32));
        assert_eq!(secrets(&several).map(|keys| keys.len()), Ok(2));
        assert_eq!(secrets("\n").err(), Some(KeyError::Empty));
    }

    #[test]
    fn a_key_with_an_id_is_not_for_tokens_with_another() {
        let key = &parse(&[p256("k")]).unwrap()[0];
        assert!(key.fits(Some("k"), Algorithm::ES256) && key.fits(None, Algorithm::ES256));
        assert!(!key.fits(Some("K"), Algorithm::ES256) && !key.fits(Some("k"), Algorithm::ES384));
    }

    #[test]
    fn pem_of_other_things_is_refused_with_what_is_accepted() {
        let block = |tag: &str| format!("-----BEGIN {tag}-----\nAAAA\n-----END {tag}-----\n");
        let error = |text: &str| public_keys(text.as_bytes()).err().unwrap();
        assert_eq!(error(&block("PRIVATE KEY")), KeyError::Private { number: 1 });
        assert_eq!(error(&block("EC PRIVATE KEY")), KeyError::Private { number: 1 });
        assert_eq!(error(&block("CERTIFICATE")), KeyError::Tag { number: 1, tag: "CERTIFICATE".to_owned() });
        assert_eq!(error(&block("PUBLIC KEY")), KeyError::Unsupported { number: 1 });
        assert_eq!(error(&block("RSA PUBLIC KEY")), KeyError::Unsupported { number: 1 });
        assert_eq!(error(""), KeyError::Empty);
    }
}
