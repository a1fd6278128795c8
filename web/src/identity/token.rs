//! A signed token (RFC 7515, 7519): its three parts, its header, and its signature.
//!
//! What the header says about where a key could be found (`jwk`, `jku`, `x5u`, `x5c`) is ignored: keys are configured.

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::json;
use super::key::{algorithm, base64url};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// The longest `kid`, in bytes.
const MAX_KEY_ID: usize = 1024;
/// The types of tokens that are taken: a plain JWT and an access token (RFC 9068). Others, such as an ID token's logout
/// statement, may be signed with the same key for another purpose (RFC 8725, section 3.11).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// Why a token is not taken. No message repeats a part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the token cannot be read")]
    Unreadable,
    #[error("the token's header has \"crit\", which names extensions that are not known here")]
    Critical,
    #[error("the token's header has a \"typ\" that is not JWT or at+jwt")]
    Type,
    #[error("the token's algorithm is not one that is accepted here")]
    Algorithm,
}

/// A token whose signature has not been checked.
#[derive(Debug)]
pub(super) struct Token<'a> {
    /// The `kid` of the header.
    pub(super) key_id: Option<String>,
    pub(super) algorithm: Algorithm,
    /// Header and payload, as they are signed.
    pub(super) message: &'a str,
    /// In base64url.
    pub(super) signature: &'a str,
    payload: &'a str,
}

impl<'a> Token<'a> {
    /// Splits the token, and reads its header.
    pub(super) fn parse(text: &'a str) -> Result<Token<'a>, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Unreadable)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Unreadable)?;
        let header = part(header).ok_or(TokenError::Unreadable)?;
        if header.contains_key("crit") {
            return Err(TokenError::Critical);
        }
        if !header.get("typ").is_none_or(is_known_type) {
            return Err(TokenError::Type);
        }
        let Some(Value::String(name)) = header.get("alg") else { return Err(TokenError::Unreadable) };
        let algorithm = algorithm(name).ok_or(TokenError::Algorithm)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return Err(TokenError::Unreadable),
        };
        Ok(Token { key_id, algorithm, message, signature, payload })
    }

    /// The claims. They may be believed only once a key has verified the signature.
    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenError> {
        part(self.payload).ok_or(TokenError::Unreadable)
    }
}

/// A part of a token: an object in base64url. A payload with another dot in it is no base64url.
fn part(text: &str) -> Option<Map<String, Value>> {
    json::object(&base64url(text)?)
}

/// Types are compared without regard to case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_known_type(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let text = text.to_ascii_lowercase();
    TYPES.contains(&text.strip_prefix("application/").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn parse(header: &str) -> Result<Option<String>, TokenError> {
        let text = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(header));
        Token::parse(&text).map(|token| token.key_id)
    }

    #[test]
    fn the_header_chooses_no_algorithm_that_is_not_known() {
        for name in ["none", "None", "nOnE", "NONE", "", "hs256", "HS1", "RSA1_5", "ES512", "ES256K", "dir"] {
            assert_eq!(parse(&format!(r#"{{"alg":"{name}"}}"#)), Err(TokenError::Algorithm), "{name}");
        }
        for header in
            ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"alg":"HS256","alg":"none"}"#, "[]"]
        {
            assert_eq!(parse(header), Err(TokenError::Unreadable), "{header}");
        }
    }

    #[test]
    fn extensions_and_types_of_other_purposes_are_refused() {
        for crit in [r#"["exp"]"#, "[]", "null", r#"["b64"],"b64":false"#] {
            assert_eq!(parse(&format!(r#"{{"alg":"HS256","crit":{crit}}}"#)), Err(TokenError::Critical));
        }
        for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "jwt ", ""] {
            assert_eq!(parse(&format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#)), Err(TokenError::Type), "{typ}");
        }
        for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
            assert_eq!(parse(&format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#)), Ok(None), "{typ}");
        }
        assert_eq!(parse(r#"{"alg":"HS256","typ":1}"#), Err(TokenError::Type));
    }

    #[test]
    fn a_key_id_is_text_and_compared_only() {
        for id in ["../../../../dev/null", "' OR 1=1 --", "https://evil.example/key", "\u{0}"] {
            let header = serde_json::json!({"alg": "HS256", "kid": id, "jku": "https://evil.example", "x5u": "file:///"});
            assert_eq!(parse(&header.to_string()), Ok(Some(id.to_owned())));
        }
        assert_eq!(parse(r#"{"alg":"HS256","kid":1}"#), Err(TokenError::Unreadable));
        let long = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(MAX_KEY_ID + 1));
        assert_eq!(parse(&long), Err(TokenError::Unreadable));
    }

    #[test]
    fn what_has_not_three_parts_of_base64url_is_no_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        for text in
            ["", ".", "..", "...", "a", "a.b", &header, &format!("{header}."), &format!("{header}=.e30.AA")]
        {
            assert_eq!(Token::parse(text).err(), Some(TokenError::Unreadable), "{text}");
        }
        // Five parts are an encrypted token.
        let five = format!("{header}.e30.e30.e30.AAAA");
        assert_eq!(Token::parse(&five).unwrap().claims().err(), Some(TokenError::Unreadable));
        assert_eq!(Token::parse(&"a".repeat(64 * 1024)).err(), Some(TokenError::TooLong));
    }
}
