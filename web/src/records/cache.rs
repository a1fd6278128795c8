//! Whether an answer may be kept by the client and by caches on its way: `Cache-Control`, `ETag`, `If-None-Match`, `Vary`
//! (RFC 9110, RFC 9111).
//!
//! A page that can be kept begins at an id in its address and ends because it is full. Whatever happens to its records in
//! Kafka afterwards, who has such a page can go on from its end: what has changed since is a gap there. It is still kept for
//! an hour only, because then the server's settings may be others (masks, keys of sealed ids), or somebody may have a right
//! that the records are gone.

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, COOKIE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// What a request's answer depends on besides its address; `Origin` is added where pages of other origins are let in.
const DEPENDS_ON: &str = "accept, authorization, cookie, last-event-id";
/// For what anybody may see.
const PUBLIC: &str = "public, max-age=3600, immutable";
/// For what one caller may see: the server is asked again, so that the token counts each time.
const PRIVATE: &str = "private, no-cache";
const NOT_KEPT: &str = "no-store";
/// Bytes of the hash that are a tag.
const TAG_BYTES: usize = 16;

/// The tag of a page that can be kept.
pub(super) struct Tag(String);

impl Tag {
    /// By all that the page has but its end. It is a weak one: the id there says when it was made, and differs although it goes
    /// on at the same place.
    pub(super) fn of<'a>(content: impl Iterator<Item = &'a [u8]>) -> Tag {
        let mut hash = Sha256::new();
        content.for_each(|part| hash.update(part));
        Tag(format!("W/\"{}\"", URL_SAFE_NO_PAD.encode(&hash.finalize()[..TAG_BYTES])))
    }

    /// Whether the client says that it has the page.
    pub(super) fn is_known(&self, request: &HeaderMap) -> bool {
        let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = opaque(&self.0);
        // No tag of this server has a comma.
        known.flat_map(|tags| tags.split(',')).any(|tag| tag.trim() == "*" || opaque(tag) == own)
    }
}

/// Whether the request says who its client is. Nobody here asks, but somebody on the way may, and a cache before them must not
/// give the answer to others.
pub(super) fn is_personal(request: &HeaderMap) -> bool {
    request.contains_key(AUTHORIZATION) || request.contains_key(COOKIE)
}

/// `None`: the answer is not kept.
pub(super) fn put_headers(headers: &mut HeaderMap, tag: Option<&Tag>, is_public: bool) {
    headers.insert(VARY, HeaderValue::from_static(DEPENDS_ON));
    let tag = tag.and_then(|tag| HeaderValue::from_str(&tag.0).ok());
    let control = match (&tag, is_public) {
        (None, _) => NOT_KEPT,
        (Some(_), true) => PUBLIC,
        (Some(_), false) => PRIVATE,
    };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(control));
    if let Some(tag) = tag {
        headers.insert(ETAG, tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag_of(content: &[u8]) -> Tag {
        Tag::of([content].into_iter())
    }

    fn asks(tags: &str) -> HeaderMap {
        HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_str(tags).unwrap())])
    }

    #[test]
    fn a_tag_is_found_among_others_and_no_other_is_taken_for_it() {
        let tag = tag_of(b"[1]");
        assert_eq!(tag.0.len(), 26);
        let strong = tag.0.strip_prefix("W/").unwrap();
        for known in [&tag.0, strong, &format!("\"a\", {}", tag.0), "*"] {
            assert!(tag.is_known(&asks(known)), "{known}");
        }
        for unknown in ["", "\"\"", "W/\"a\"", strong.trim_matches('"'), &tag_of(b"[2]").0] {
            assert!(!tag.is_known(&asks(unknown)), "{unknown}");
        }
        assert!(!tag.is_known(&HeaderMap::new()));
    }

    #[test]
    fn only_what_anybody_may_see_is_kept_by_others() {
        let said = |tag: Option<&Tag>, is_public| {
            let mut headers = HeaderMap::new();
            put_headers(&mut headers, tag, is_public);
            (headers[CACHE_CONTROL].to_str().unwrap().to_owned(), headers.contains_key(ETAG))
        };
        let tag = tag_of(b"");
        assert_eq!(said(Some(&tag), true), ("public, max-age=3600, immutable".to_owned(), true));
        assert_eq!(said(Some(&tag), false), ("private, no-cache".to_owned(), true));
        assert_eq!(said(None, true), ("no-store".to_owned(), false));
    }
}
