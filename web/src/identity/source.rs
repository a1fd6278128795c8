//! Where a request has its token: the header `Authorization`, a subprotocol of a WebSocket, the parameter `access_token`, or a
//! cookie (RFC 6750, section 2).

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use axum::http::request::Parts;

use crate::cors::{self, Origins};
use crate::upgrade;

/// Which ways a token may come by, as configured. The header is always one.
#[derive(Clone, Debug)]
pub struct TokenSources {
    /// Whether `access_token=` is one.
    pub query: bool,
    /// The name of the cookie, if that is one.
    pub cookie: Option<String>,
    /// Whose pages may send the cookie of their visitor, besides the server's own.
    pub origins: Origins,
}

/// Why a request has no token that could be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("send a token: {0}")]
    Missing(String),
    #[error("the header Authorization is not text")]
    NotText,
    #[error("the header Authorization must be `Bearer` and a token")]
    NotBearer,
    #[error("the header Authorization may be sent once")]
    Repeated,
    #[error(
        "access_token= is not accepted here (TAILRACE_JWT_QUERY): send the token in the header `Authorization: Bearer …`"
    )]
    Query,
    #[error("Sec-WebSocket-Protocol has `bearer`, and no token after it")]
    NoProtocol,
    #[error("the cookie {0:?} was sent with different values")]
    Cookies(String),
    #[error("the cookie {0:?} is not text")]
    CookieNotText(String),
    #[error(
        "a cookie is not accepted from a page of another origin: it must be in TAILRACE_CORS_ORIGINS, or send the token in the \
         header `Authorization: Bearer …`"
    )]
    Origin,
}

impl TokenSources {
    /// The token of a request; `parameter` is the value of `access_token=`. The header comes before the subprotocol, this
    /// before the parameter, and all before the cookie, which a browser sends by itself.
    ///
    /// # Errors
    /// There is none, or which one is meant is not certain, or it came by a way that is not one. No message repeats a token.
    pub fn token<'a>(&self, request: &'a Parts, parameter: Option<&'a str>) -> Result<&'a str, SourceError> {
        if let Some(token) = bearer(&request.headers)? {
            return Ok(token);
        }
        if let Some(token) = upgrade::token(&request.headers) {
            return token.ok_or(SourceError::NoProtocol);
        }
        match parameter {
            Some(_) if !self.query => return Err(SourceError::Query),
            Some(token) => return Ok(token),
            None => {}
        }
        self.cookie(request)?.ok_or_else(|| SourceError::Missing(self.ways()))
    }

    fn cookie<'a>(&self, request: &'a Parts) -> Result<Option<&'a str>, SourceError> {
        let Some(name) = &self.cookie else { return Ok(None) };
        let Some(token) = cookie(&request.headers, name)? else { return Ok(None) };
        if self.is_trusted_page(request) { Ok(Some(token)) } else { Err(SourceError::Origin) }
    }

    /// Whether the page that made the request may use the cookie. A browser says `Origin` for other origins, and for the own
    /// one at most `Sec-Fetch-Site`; a request without either is not from a page.
    fn is_trusted_page(&self, request: &Parts) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => match request.headers.get("sec-fetch-site") {
                None => true,
                Some(site) => site == "same-origin" || site == "none",
            },
            (Some(origin), None) => origin
                .to_str()
                .is_ok_and(|origin| cors::is_own(origin, request) || self.origins.allows(origin)),
            (Some(_), Some(_)) => false,
        }
    }

    /// The ways that a client may choose from, as a part of a sentence.
    fn ways(&self) -> String {
        let mut ways = "the header `Authorization: Bearer …`".to_owned();
        if let Some(name) = &self.cookie {
            ways = format!("{ways}, the cookie {name}");
        }
        if self.query {
            ways = format!("{ways}, or access_token= where headers cannot be set");
        }
        ways
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, SourceError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(SourceError::Repeated);
    }
    let text = value.to_str().map_err(|_| SourceError::NotText)?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(SourceError::NotBearer),
    }
}

/// The value of a cookie (RFC 6265, section 4.2). Two values of one name are refused: another host of the same domain may have
/// set one of them. Of cookies with other names nothing is required: browsers send what scripts have set, in UTF-8.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SourceError> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    let mut values =
        values.map(|value| value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value));
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|value| value != first) {
        return Err(SourceError::Cookies(name.to_owned()));
    }
    let first = std::str::from_utf8(first).map_err(|_| SourceError::CookieNotText(name.to_owned()))?;
    Ok(Some(first).filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> TokenSources {
        TokenSources {
            query: true,
            cookie: Some("session".to_owned()),
            origins: "https://app.example".parse().unwrap(),
        }
    }

    fn request(pairs: &[(&str, &str)]) -> Parts {
        let builder = axum::http::Request::builder().uri("/events");
        let builder = pairs.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).unwrap().into_parts().0
    }

    fn token(pairs: &[(&str, &str)], parameter: Option<&str>) -> Result<String, SourceError> {
        sources().token(&request(pairs), parameter).map(str::to_owned)
    }

    #[test]
    fn the_header_comes_before_the_parameter_and_both_before_the_cookie() {
        let (header, cookie) = (("authorization", "bearer  h "), ("cookie", "a=b; session=c"));
        assert_eq!(token(&[header, cookie], Some("p")).as_deref(), Ok("h"));
        assert_eq!(token(&[cookie], Some("p")).as_deref(), Ok("p"));
        assert_eq!(token(&[cookie], None).as_deref(), Ok("c"));
        assert!(matches!(token(&[("cookie", "session=")], None), Err(SourceError::Missing(_))));
        assert!(matches!(token(&[("cookie", "sessions=c; SESSION=c")], None), Err(SourceError::Missing(_))));
    }

    #[test]
    fn the_cookie_of_a_visitor_is_not_for_any_page() {
        let with = |more: &[(&str, &str)]| {
            token(&[&[("host", "stream.example"), ("cookie", "session=\"c\"")], more].concat(), None)
        };
        for trusted in [
            &[("origin", "https://app.example")][..],
            &[("origin", "https://stream.example")],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[],
        ] {
            assert_eq!(with(trusted).as_deref(), Ok("c"), "{trusted:?}");
        }
        for foreign in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "https://app.example.evil.example")],
            &[("origin", "https://app.example"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert_eq!(with(foreign), Err(SourceError::Origin), "{foreign:?}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_refused_unless_they_are_the_same() {
        assert!(matches!(token(&[("cookie", "session=a; session=b")], None), Err(SourceError::Cookies(_))));
        assert!(matches!(
            token(&[("cookie", "session=a"), ("cookie", "session=b")], None),
            Err(SourceError::Cookies(_))
        ));
        assert_eq!(token(&[("cookie", "session=a;session=a")], None).as_deref(), Ok("a"));
    }

    #[test]
    fn a_cookie_is_found_among_others_that_are_no_text() {
        for line in ["city=Zürich; session=c", "session=c; city=Zürich", "=; é; session=c;;"] {
            assert_eq!(token(&[("cookie", line)], None).as_deref(), Ok("c"), "{line}");
        }
        // A second value is one, whatever it is.
        let hidden = [("cookie", "session=c"), ("cookie", "session=é")];
        assert!(matches!(token(&hidden, None), Err(SourceError::Cookies(_))));
    }

    #[test]
    fn what_is_switched_off_is_said_and_not_taken() {
        let strict = TokenSources { query: false, cookie: None, ..sources() };
        let cookie = request(&[("cookie", "session=c")]);
        assert_eq!(strict.token(&cookie, Some("p")), Err(SourceError::Query));
        assert!(matches!(strict.token(&cookie, None), Err(SourceError::Missing(_))));
        assert_eq!(token(&[("authorization", "Basic YQ==")], Some("p")), Err(SourceError::NotBearer));
        assert_eq!(
            token(&[("authorization", "Bearer a"), ("authorization", "Bearer b")], None),
            Err(SourceError::Repeated)
        );
    }
}
