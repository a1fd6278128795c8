//! One question to one address of the registry, by Confluent's API.
//!
//! An answer counts as the registry's only where it has the API's form: a proxy's page, another server, or a path that is wrong
//! must not make every schema look absent.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use tailrace_formats::confluent::SchemaId;

use crate::settings::{Login, RegistrySettings};

/// The longest time of one question, and of connecting.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The most bytes of an answer. A schema that does not fit cannot be used.
pub(super) const MAX_ANSWER: usize = 8 << 20;
/// The API's types. With others, some registries answer in a form of their own.
const TYPES: &str = "application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json; q=0.9, application/json; q=0.8";
/// The codes of the API that say that something is not there: a subject, a version, a schema. A path that it does not have is
/// answered with others.
const ABSENT: [u32; 3] = [40401, 40402, 40403];

/// Asks one registry.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    client: Client,
    login: Login,
}

/// A schema, as an answer has it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) schema: String,
    pub(super) schema_type: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(super) references: Vec<Reference>,
}

/// Another schema, under the name by which this one uses it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: i64,
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Why an address gave no schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Miss {
    #[error("it has none")]
    Absent,
    #[error("its answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why nothing is known of a schema. Nothing of this says anything about whether it is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("does not answer: {0}")]
    Http(String),
    #[error("did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    #[error("refuses these credentials (status {})", .0.as_u16())]
    Refused(StatusCode),
    #[error("redirects (status {}): the address that is set is the one that is asked", .0.as_u16())]
    Redirects(StatusCode),
    #[error("answers with the status {}", .0.as_u16())]
    Status(StatusCode),
    #[error("answers as no registry does: is the path of its address right?")]
    NoRegistry,
    #[error("cannot be asked: {0}")]
    Secret(String),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::Timeout;
        }
        // The cause says more than the error, whose own text is that a request failed.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::Http(cause.to_string())
    }
}

impl Asker {
    /// # Errors
    /// Certificates that make no client.
    pub(super) fn new(settings: &RegistrySettings) -> Result<Asker, reqwest::Error> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("tailrace/", env!("CARGO_PKG_VERSION")));
        let client = match settings.authorities.as_slice() {
            [] => client,
            authorities => client.tls_certs_only(authorities.iter().cloned()),
        };
        Ok(Asker { client: client.build()?, login: settings.login.clone() })
    }

    /// The schema of an id.
    pub(super) async fn schema(&self, base: &Url, id: SchemaId) -> Result<Answer, Miss> {
        let id_text = id.to_string();
        let url = match id {
            SchemaId::Id(_) => {
                let mut url = at(base, &["schemas", "ids", &id_text]);
                // Else the registry looks for its highest id each time.
                url.query_pairs_mut().append_pair("fetchMaxId", "false");
                url
            }
            SchemaId::Guid(_) => at(base, &["schemas", "guids", &id_text]),
        };
        self.ask(url).await
    }

    /// What a schema refers to. It may have been deleted since, as long as nothing but its subject has forgotten it.
    pub(super) async fn reference(&self, base: &Url, reference: &Reference) -> Result<Answer, Miss> {
        let version = reference.version.to_string();
        let mut url = at(base, &["subjects", &reference.subject, "versions", &version]);
        url.query_pairs_mut().append_pair("deleted", "true");
        self.ask(url).await
    }

    /// The subjects and versions that a schema has, for people: `orders-value 3`. An empty list where it is not known.
    pub(super) async fn names(&self, base: &Url, id: SchemaId) -> Vec<String> {
        #[derive(Deserialize)]
        struct Named {
            subject: String,
            version: i64,
        }
        let SchemaId::Id(id) = id else { return Vec::new() };
        let url = at(base, &["schemas", "ids", &id.to_string(), "versions"]);
        let Ok(body) = self.body(url).await else { return Vec::new() };
        let named: Vec<Named> = serde_json::from_slice(&body).unwrap_or_default();
        let names: BTreeSet<String> =
            named.into_iter().map(|named| format!("{} version {}", named.subject, named.version)).collect();
        names.into_iter().collect()
    }

    /// A question that every registry answers, and with few bytes: which kinds of schemas it has.
    pub(super) async fn probe(&self, base: &Url) -> Result<(), Miss> {
        self.body(at(base, &["schemas", "types"])).await.map(drop)
    }

    async fn ask(&self, url: Url) -> Result<Answer, Miss> {
        let body = self.body(url).await?;
        serde_json::from_slice(&body).map_err(|_| Failure::NoRegistry.into())
    }

    /// The body of a good answer.
    async fn body(&self, url: Url) -> Result<Vec<u8>, Miss> {
        let request = self.with_login(self.client.get(url).header(ACCEPT, TYPES))?;
        let response = request.send().await.map_err(Failure::from)?;
        let (status, is_json) = (response.status(), is_json(&response));
        match status {
            StatusCode::OK if is_json => read(response).await,
            StatusCode::NOT_FOUND if is_json => Err(not_found(&read(response).await?)),
            StatusCode::OK | StatusCode::NOT_FOUND => Err(Failure::NoRegistry.into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::Refused(status).into()),
            _ if status.is_redirection() => Err(Failure::Redirects(status).into()),
            _ => Err(Failure::Status(status).into()),
        }
    }

    fn with_login(&self, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
        match &self.login {
            Login::None => Ok(request),
            Login::Basic { user, password } => {
                let password = password
                    .read()
                    .map_err(|why| Failure::Secret(format!("the file of the password: {why}")))?;
                Ok(request.basic_auth(user, Some(password)))
            }
            Login::Bearer(token) => {
                let token =
                    token.read().map_err(|why| Failure::Secret(format!("the file of the token: {why}")))?;
                Ok(request.bearer_auth(token))
            }
        }
    }
}

/// Below the address that is set, whatever path that has.
fn at(base: &Url, steps: &[&str]) -> Url {
    let mut url = base.clone();
    // It was checked to be of HTTP, so that it has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(steps);
    }
    url
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.ends_with("/json") || kind.ends_with("+json")
}

async fn read(mut response: Response) -> Result<Vec<u8>, Miss> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Failure::from)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Miss::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn not_found(body: &[u8]) -> Miss {
    #[derive(Deserialize)]
    struct Error {
        error_code: u32,
    }
    match serde_json::from_slice::<Error>(body) {
        Ok(error) if ABSENT.contains(&error.error_code) => Miss::Absent,
        _ => Failure::NoRegistry.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_below_that_of_the_address() {
        let path =
            |base: &str| at(&base.parse().unwrap(), &["subjects", "a/b c", "versions", "1"]).to_string();
        let end = "subjects/a%2Fb%20c/versions/1";
        assert_eq!(path("http://r:8081"), format!("http://r:8081/{end}"));
        assert_eq!(path("http://r:8081/"), format!("http://r:8081/{end}"));
        assert_eq!(path("http://r/apis/ccompat/v7"), format!("http://r/apis/ccompat/v7/{end}"));
        assert_eq!(path("http://r/apis/ccompat/v7/"), format!("http://r/apis/ccompat/v7/{end}"));
    }

    #[test]
    fn only_the_codes_of_the_api_say_that_a_schema_is_not_there() {
        assert_eq!(not_found(br#"{"error_code":40403,"message":"Schema 17 not found"}"#), Miss::Absent);
        for other in
            [&br#"{"error_code":404,"message":"HTTP 404 Not Found"}"#[..], b"{}", b"", b"[]", b"40403"]
        {
            assert_eq!(not_found(other), Miss::Failed(Failure::NoRegistry));
        }
    }
}
