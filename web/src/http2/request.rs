//! A request from its fields (RFC 9113, section 8). What HTTP/1.1 would read as a line end, as framing, or as another request is
//! malformed, and opens nothing.

use std::str::FromStr as _;

use axum::http::header::{CONTENT_LENGTH, TE};
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

/// The most bytes of a request's fields, as SETTINGS_MAX_HEADER_LIST_SIZE counts them (section 6.5.2).
pub(super) const MAX_SIZE: usize = 32 * 1024;

/// Headers of a connection, which has none here (section 8.2.2).
const OF_CONNECTION: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// What has been decoded of a block.
#[derive(Default)]
pub(super) struct Fields {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    headers: HeaderMap,
    /// Whether a field was there that is none of a pseudo-header.
    has_regular: bool,
    is_malformed: bool,
    is_too_large: bool,
}

/// Why fields are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Malformed,
    TooLarge,
}

/// A request whose head has come.
pub(super) struct Asked {
    pub(super) request: Request<()>,
    /// How long its body is, if it says so.
    pub(super) length: Option<u64>,
}

impl Fields {
    /// Adds a field. `size`: that of all so far.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8], size: usize) {
        if size > MAX_SIZE {
            // What has come is of no use any more.
            self.is_too_large = true;
            self.headers = HeaderMap::new();
        }
        if self.is_too_large || self.is_malformed {
            return;
        }
        let added = match name.strip_prefix(b":") {
            Some(pseudo) => self.add_pseudo(pseudo, value),
            None => self.add_header(name, value),
        };
        self.is_malformed = added.is_none();
    }

    fn add_pseudo(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        if self.has_regular {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?;
        match name {
            b"method" => set(&mut self.method, Method::from_bytes(value).ok()?),
            b"scheme" => set(&mut self.scheme, Scheme::from_str(text).ok()?),
            b"authority" => set(&mut self.authority, Authority::from_str(text).ok()?),
            b"path" if !text.is_empty() => set(&mut self.path, PathAndQuery::from_str(text).ok()?),
            _ => None,
        }
    }

    fn add_header(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        self.has_regular = true;
        if name.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value).ok()?;
        if OF_CONNECTION.contains(&name.as_str()) || (name == TE && value != "trailers") {
            return None;
        }
        self.headers.try_append(name, value).ok().map(|_| ())
    }

    /// The request. `ends`: nothing follows the head.
    pub(super) fn into_request(self, ends: bool) -> Result<Asked, Unfit> {
        if self.is_too_large {
            return Err(Unfit::TooLarge);
        }
        self.build(ends).ok_or(Unfit::Malformed)
    }

    fn build(self, ends: bool) -> Option<Asked> {
        if self.is_malformed {
            return None;
        }
        let length = length(&self.headers)?;
        if ends && length.is_some_and(|length| length > 0) {
            return None;
        }
        let (method, scheme, path) = (self.method?, self.scheme?, self.path?);
        let is_whole_server = path == "*" && method == Method::OPTIONS;
        if !path.as_str().starts_with('/') && !is_whole_server {
            return None;
        }
        let mut uri = Uri::builder().path_and_query(path);
        // An address without an authority has no scheme either.
        if let Some(authority) = self.authority {
            uri = uri.scheme(scheme).authority(authority);
        }
        let mut request = Request::new(());
        *request.uri_mut() = uri.build().ok()?;
        (*request.method_mut(), *request.version_mut()) = (method, Version::HTTP_2);
        *request.headers_mut() = self.headers;
        Some(Asked { request, length })
    }

    /// Whether these are trailers: fields without pseudo-headers (section 8.1).
    pub(super) fn are_trailers(&self) -> bool {
        let has_pseudo = self.method.is_some() || self.scheme.is_some() || self.authority.is_some();
        !self.is_malformed && !has_pseudo && self.path.is_none()
    }
}

/// Sets what may be there once.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    match place {
        Some(_) => None,
        None => {
            *place = Some(value);
            Some(())
        }
    }
}

/// The length that the headers name. `None`: they name none that is one.
fn length(headers: &HeaderMap) -> Option<Option<u64>> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Some(None) };
    let text = first.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let agree = lengths.all(|other| other == first);
    (is_number && agree).then(|| text.parse().ok()).flatten().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&str, &str)], ends: bool) -> Result<Asked, Unfit> {
        let (mut all, mut size) = (Fields::default(), 0);
        for (name, value) in fields {
            size += name.len() + value.len() + 32;
            all.add(name.as_bytes(), value.as_bytes(), size);
        }
        all.into_request(ends)
    }

    const GET: [(&str, &str); 4] = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "board.example"),
        (":path", "/t/a/events?x=1"),
    ];

    fn unfit(more: &[(&str, &str)]) -> Option<Unfit> {
        asked(&[&GET[..], more].concat(), true).err()
    }

    #[test]
    fn a_request_has_its_address_and_its_headers() {
        let Asked { request, length } =
            asked(&[&GET[..], &[("last-event-id", "x"), ("te", "trailers")]].concat(), true).ok().unwrap();
        assert_eq!(request.uri(), "https://board.example/t/a/events?x=1");
        assert_eq!((request.method(), request.version()), (&Method::GET, Version::HTTP_2));
        assert_eq!((&request.headers()["last-event-id"], length), (&HeaderValue::from_static("x"), None));
        let without = asked(&[GET[0], GET[1], GET[3], ("host", "b")], true).ok().unwrap().request;
        assert_eq!((without.uri().authority(), without.uri().path()), (None, "/t/a/events"));
        assert!(asked(&[(":method", "OPTIONS"), GET[1], GET[2], (":path", "*")], true).is_ok());
    }

    #[test]
    fn what_is_not_allowed_is_malformed() {
        let wrong: [&[(&str, &str)]; 14] = [
            &[("Upper", "1")],
            &[("connection", "close")],
            &[("upgrade", "h2c")],
            &[("te", "gzip")],
            &[("x", "a\r\nb")],
            &[("x y", "1")],
            &[("", "1")],
            &[(":path", "/")],
            &[(":protocol", "websocket")],
            &[(":status", "200")],
            &[("x", "1"), (":authority", "b")],
            &[("content-length", "-1")],
            &[("content-length", "0"), ("content-length", "5")],
            &[("content-length", "5")],
        ];
        for more in wrong {
            assert_eq!(unfit(more), Some(Unfit::Malformed), "{more:?}");
        }
        for left_out in [0, 1, 3] {
            let fields: Vec<_> = (0..4).filter(|at| *at != left_out).map(|at| GET[at]).collect();
            assert_eq!(asked(&fields, true).err(), Some(Unfit::Malformed), "without {}", GET[left_out].0);
        }
        for path in ["", "t/a", "*", "/a b", "/a\r\nb"] {
            let fields = [GET[0], GET[1], GET[2], (":path", path)];
            assert_eq!(asked(&fields, true).err(), Some(Unfit::Malformed), "{path:?}");
        }
    }

    #[test]
    fn a_length_counts_only_where_something_follows() {
        let fields = [&GET[..], &[("content-length", "5"), ("content-length", "5")]].concat();
        assert_eq!(asked(&fields, false).ok().unwrap().length, Some(5));
        assert_eq!(unfit(&[("content-length", "0")]), None);
    }

    #[test]
    fn too_many_fields_are_too_large_whatever_else_they_are() {
        let value = "y".repeat(5000);
        let many: Vec<_> = (0..7).map(|_| ("x", &value[..])).collect();
        assert_eq!(unfit(&many), Some(Unfit::TooLarge));
    }
}
