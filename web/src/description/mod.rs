//! The interface, described for programs: OpenAPI 3.2 at `/openapi.json`, AsyncAPI 3 at `/asyncapi.json`.
//!
//! Both are made once, from what the server itself goes by: the table of parameters, the enums of their values, the codes of
//! problems and gaps, and its settings. They describe this server: routes that its settings rule out are not in them, and
//! defaults are its own. [`events`] lists what else a stream has but records, [`schemas`] the objects, [`parameters`] what a
//! request says; [`openapi`] and [`asyncapi`] are the two documents.

mod asyncapi;
mod events;
mod openapi;
mod parameters;
mod schemas;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Response};
use axum::routing::get;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::app::App;
use crate::identity::{Auth, TokenSources};
use crate::query::{Defaults, Parameter, Route};
use crate::settings::WebSettings;

pub(crate) const OPENAPI: &str = "/openapi.json";
pub(crate) const ASYNCAPI: &str = "/asyncapi.json";
/// How the tenant stands in a path.
const OF_TENANT: &str = "/t/{tenant}";
/// An event id, as one looks.
const ID: &str = "ARcxVAEPT5WTcrMEkgGLAZcBlQED5WA";

/// Adds the routes of both documents.
pub(crate) fn add_to(router: Router<Arc<App>>, app: &App) -> Router<Arc<App>> {
    let server = Server { settings: &app.settings, has_one_tenant: app.rules.is_none() };
    let (open, asynchronous) = (text(&openapi::document(&server)), text(&asyncapi::document(&server)));
    router
        .route(OPENAPI, get(async move || answer(open)))
        .route(ASYNCAPI, get(async move || answer(asynchronous)))
}

fn text(document: &Value) -> Bytes {
    format!("{document:#}\n").into()
}

fn answer(document: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Other settings, or another version, make another one.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What the documents are about.
struct Server<'a> {
    settings: &'a WebSettings,
    has_one_tenant: bool,
}

impl Server<'_> {
    /// The paths of a route that can have an answer here: with the tenant, without, or both.
    fn paths(&self, route: Route) -> Vec<String> {
        let (own, of_tenant) = (route.path().to_owned(), format!("{OF_TENANT}{}", route.path()));
        match (self.has_one_tenant, self.settings.is_open()) {
            (true, _) => vec![own],
            // Nobody says which tenant is meant but the path.
            (false, true) => vec![of_tenant],
            (false, false) => vec![of_tenant, own],
        }
    }

    /// The parameters of a route without the token, which is part of how requests are authenticated.
    fn parameters(&self, route: Route) -> impl Iterator<Item = &'static Parameter> {
        route.parameters().filter(|parameter| !parameter.is_token())
    }

    fn defaults(&self, route: Route) -> Defaults {
        Defaults::of(self.settings, route, route.formats().first().copied().unwrap_or_default())
    }

    /// Where a token may be; `None`: no token is asked for.
    fn tokens(&self) -> Option<&TokenSources> {
        match &self.settings.auth {
            Auth::None => None,
            Auth::Jwt(jwt) => Some(&jwt.sources),
        }
    }

    fn info(&self, title: &str, description: &str) -> Value {
        json!({
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        })
    }
}

fn tenant_schema() -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 128,
        "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        "not": { "const": "*" },
    })
}
const TENANT: &str =
    "The name of the tenant, percent-encoded: 1 to 128 bytes of UTF-8 without control characters.";
