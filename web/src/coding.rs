//! Content codings of streams (RFC 9110, section 8.4): which ones the server offers, and which one a client gets.

use std::str::FromStr;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

use crate::accept::weighted;

/// How the body of a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    /// RFC 8878.
    Zstd,
    /// RFC 1952.
    Gzip,
}

impl ContentCoding {
    /// The preferred one first.
    pub(crate) const ALL: [ContentCoding; 2] = [ContentCoding::Zstd, ContentCoding::Gzip];

    /// The value of `Content-Encoding`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ContentCoding::Zstd => "zstd",
            ContentCoding::Gzip => "gzip",
        }
    }

    fn is_named(self, name: &str) -> bool {
        let old = self == ContentCoding::Gzip && name.eq_ignore_ascii_case("x-gzip");
        old || name.eq_ignore_ascii_case(self.as_str())
    }
}

/// The codings that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    All,
    Only(ContentCoding),
    Nothing,
}

impl FromStr for Offer {
    type Err = String;

    fn from_str(text: &str) -> Result<Offer, String> {
        match text {
            "auto" => Ok(Offer::All),
            "off" => Ok(Offer::Nothing),
            "zstd" => Ok(Offer::Only(ContentCoding::Zstd)),
            "gzip" => Ok(Offer::Only(ContentCoding::Gzip)),
            _ => Err("auto, off, zstd or gzip".to_owned()),
        }
    }
}

impl Offer {
    fn has(self, coding: ContentCoding) -> bool {
        match self {
            Offer::All => true,
            Offer::Only(only) => only == coding,
            Offer::Nothing => false,
        }
    }

    /// The offered coding that the client of this request likes best; `None`: it gets the bytes as they are. Of two that it likes
    /// as much, zstd.
    pub(crate) fn best_for(self, headers: &HeaderMap) -> Option<ContentCoding> {
        let accepted = weighted(headers, ACCEPT_ENCODING);
        let named = |is_it: &dyn Fn(&str) -> bool| {
            accepted.iter().find(|(name, _)| is_it(name)).map(|(_, weight)| *weight)
        };
        let any = named(&|name| name == "*");
        // Without coding is accepted by everybody, but liked less than what is asked for.
        let identity = named(&|name| name.eq_ignore_ascii_case("identity")).unwrap_or(0.0);
        let mut best = None;
        for coding in ContentCoding::ALL.into_iter().filter(|coding| self.has(*coding)) {
            let weight = named(&|name| coding.is_named(name)).or(any).unwrap_or(0.0);
            if weight > 0.0 && weight >= identity && best.is_none_or(|(_, least)| weight > least) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }
}

/// How streams are compressed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compression {
    pub(crate) offer: Offer,
    /// 1 (fast) to 9 (small), for either coding.
    pub(crate) level: u8,
    /// Events after which compression begins anew, if a stream waits for that.
    pub(crate) stretch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_coding_that_it_likes_best() {
        const ZSTD: Option<ContentCoding> = Some(ContentCoding::Zstd);
        const GZIP: Option<ContentCoding> = Some(ContentCoding::Gzip);
        for (accepted, all, only_gzip) in [
            ("gzip, deflate, br, zstd", ZSTD, GZIP),
            ("gzip, deflate", GZIP, GZIP),
            ("X-Gzip", GZIP, GZIP),
            ("zstd;q=0.5, gzip", GZIP, GZIP),
            ("zstd ; Q=0.5 , gzip ; q=0.2", ZSTD, GZIP),
            ("*", ZSTD, GZIP),
            ("*;q=0.1, zstd;q=0", GZIP, GZIP),
            ("identity, gzip;q=0.5", None, None),
            ("identity;q=0.5, gzip;q=0.5", GZIP, GZIP),
            ("identity;q=0, *;q=0", None, None),
            ("gzip;q=0", None, None),
            ("gzip;q=0.000", None, None),
            ("br", None, None),
            ("", None, None),
        ] {
            let headers = [(ACCEPT_ENCODING, accepted.parse().unwrap())].into_iter().collect();
            assert_eq!(Offer::All.best_for(&headers), all, "{accepted:?}");
            assert_eq!(Offer::Only(ContentCoding::Gzip).best_for(&headers), only_gzip, "{accepted:?}");
            assert_eq!(Offer::Nothing.best_for(&headers), None, "{accepted:?}");
        }
        assert_eq!(Offer::All.best_for(&HeaderMap::new()), None);
        let lines = [(ACCEPT_ENCODING, "br".parse().unwrap()), (ACCEPT_ENCODING, "gzip".parse().unwrap())];
        assert_eq!(Offer::All.best_for(&lines.into_iter().collect()), GZIP);
    }
}
