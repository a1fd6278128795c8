//! Where the schema registry is, and how it is asked.

use std::fmt;
use std::path::PathBuf;

use reqwest::header::HeaderValue;
use reqwest::{Certificate, Url};

use super::error::{SettingsError, refusal};

const URL: &str = "TAILRACE_SCHEMA_REGISTRY_URL";
const USERNAME: &str = "TAILRACE_SCHEMA_REGISTRY_USERNAME";
const PASSWORD: &str = "TAILRACE_SCHEMA_REGISTRY_PASSWORD";
const PASSWORD_FILE: &str = "TAILRACE_SCHEMA_REGISTRY_PASSWORD_FILE";
const TOKEN_FILE: &str = "TAILRACE_SCHEMA_REGISTRY_TOKEN_FILE";
const CA_FILE: &str = "TAILRACE_SCHEMA_REGISTRY_CA_FILE";

const URLS: &str = "addresses such as https://registry.example:8081 or https://registry.example/apis/ccompat/v7, \
     comma-separated, without a user (TAILRACE_SCHEMA_REGISTRY_USERNAME and …_PASSWORD), a query or a fragment";

/// The settings of the registry, as flags and variables.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Addresses of a schema registry with Confluent's API, comma-separated: tried in order
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_URL", value_name = "URLS")]
    schema_registry_url: Option<String>,
    /// User of the registry (basic authentication)
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_USERNAME", value_name = "NAME")]
    schema_registry_username: Option<String>,
    /// That user's password
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    schema_registry_password: Option<String>,
    /// File with the password; read for each request
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_PASSWORD_FILE", value_name = "PATH")]
    schema_registry_password_file: Option<String>,
    /// File with a bearer token for the registry; read for each request
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_TOKEN_FILE", value_name = "PATH")]
    schema_registry_token_file: Option<String>,
    /// PEM file with the certificates of the authorities that the registry's certificate may be of, in place of the system's
    #[arg(long, env = "TAILRACE_SCHEMA_REGISTRY_CA_FILE", value_name = "PATH")]
    schema_registry_ca_file: Option<String>,
}

/// Where the schema registry is, and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct RegistrySettings {
    /// At least one, in the order in which they are tried.
    pub(crate) urls: Vec<Url>,
    pub(crate) login: Login,
    /// The authorities that its certificate may be of; none: the system's.
    pub(crate) authorities: Vec<Certificate>,
}

/// How this process tells the registry who it is.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    None,
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

/// Something that is never shown.
#[derive(Clone)]
pub(crate) enum Secret {
    Text(String),
    /// It is read each time: what it holds may be replaced.
    File(PathBuf),
}

impl Secret {
    /// # Errors
    /// What is wrong with the file, without what is in it.
    pub(crate) fn read(&self) -> Result<String, String> {
        let path = match self {
            Secret::Text(text) => return Ok(text.clone()),
            Secret::File(path) => path,
        };
        let text = std::fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
        // Editors and `echo` end a file with a line end that is no part of the secret.
        let line = text.trim_end_matches(['\r', '\n']);
        match line {
            "" => Err("it is empty".to_owned()),
            _ if HeaderValue::from_str(line).is_err() => {
                Err("it holds more than one line of text".to_owned())
            }
            _ => Ok(line.to_owned()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Args {
    /// The registry, if there is one.
    pub(super) fn settings(&self) -> Result<Option<RegistrySettings>, SettingsError> {
        let Some(urls) = given(&self.schema_registry_url) else {
            return self.refuse_idle().map(|()| None);
        };
        let urls = urls.split(',').map(|text| url(text.trim(), urls)).collect::<Result<Vec<Url>, _>>()?;
        Ok(Some(RegistrySettings { urls, login: self.login()?, authorities: self.authorities()? }))
    }

    /// Without an address, nothing else is of use.
    fn refuse_idle(&self) -> Result<(), SettingsError> {
        let others = [
            (USERNAME, &self.schema_registry_username),
            (PASSWORD, &self.schema_registry_password),
            (PASSWORD_FILE, &self.schema_registry_password_file),
            (TOKEN_FILE, &self.schema_registry_token_file),
            (CA_FILE, &self.schema_registry_ca_file),
        ];
        let idle = others.into_iter().find_map(|(name, value)| given(value).map(|_| name));
        idle.map_or(Ok(()), |name| {
            Err(refusal(URL, "", format!("the address of a registry, since {name} is set")))
        })
    }

    fn login(&self) -> Result<Login, SettingsError> {
        let user = given(&self.schema_registry_username);
        let token = given(&self.schema_registry_token_file);
        let text = given(&self.schema_registry_password).map(|text| Secret::Text(text.to_owned()));
        let file = given(&self.schema_registry_password_file);
        if let (Some(_), Some(path)) = (&text, file) {
            return Err(refusal(
                PASSWORD_FILE,
                path,
                format!("a file with the password, or {PASSWORD}, not both"),
            ));
        }
        let password = text.or(file.map(|path| Secret::File(path.into())));
        match (user, password, token) {
            (None, None, None) => Ok(Login::None),
            (None, None, Some(path)) => {
                let secret = Secret::File(path.into());
                check(&secret, TOKEN_FILE, path, "a file with a token")?;
                Ok(Login::Bearer(secret))
            }
            (_, _, Some(path)) => {
                let accepted =
                    format!("a token, or a user with a password ({USERNAME}, {PASSWORD}), not both");
                Err(refusal(TOKEN_FILE, path, accepted))
            }
            (Some(_), None, None) => {
                Err(refusal(PASSWORD, "", format!("the password of {USERNAME}; or {PASSWORD_FILE}")))
            }
            (None, Some(_), None) => Err(refusal(USERNAME, "", "the user whose password is set")),
            (Some(user), Some(_), None) if user.contains(':') => {
                Err(refusal(USERNAME, user, "a name without a colon"))
            }
            (Some(user), Some(password), None) => {
                let path = file.unwrap_or_default();
                check(&password, PASSWORD_FILE, path, "a file with a password")?;
                Ok(Login::Basic { user: user.to_owned(), password })
            }
        }
    }

    fn authorities(&self) -> Result<Vec<Certificate>, SettingsError> {
        let Some(path) = given(&self.schema_registry_ca_file) else { return Ok(Vec::new()) };
        let refused = |why: String| refusal(CA_FILE, path, format!("a PEM file with certificates; {why}"));
        let pem = std::fs::read(path).map_err(|error| refused(format!("it cannot be read: {error}")))?;
        let all = Certificate::from_pem_bundle(&pem)
            .map_err(|_| refused("it has one that is damaged".to_owned()))?;
        if all.is_empty() {
            return Err(refused("it has none".to_owned()));
        }
        Ok(all)
    }
}

fn check(secret: &Secret, variable: &str, path: &str, what: &str) -> Result<(), SettingsError> {
    secret.read().map(drop).map_err(|why| refusal(variable, path, format!("{what}; {why}")))
}

fn url(text: &str, all: &str) -> Result<Url, SettingsError> {
    // What stands before an @ may be a password.
    let shown = if all.contains('@') { "(not shown)" } else { all };
    let refused = || refusal(URL, shown, URLS);
    let url = Url::parse(text).map_err(|_| refused())?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    let has_more = url.query().is_some() || url.fragment().is_some();
    let is_good = matches!(url.scheme(), "https" | "http") && url.has_host() && !has_user && !has_more;
    if is_good { Ok(url) } else { Err(refused()) }
}

/// A variable that is set to nothing is not set.
fn given(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}
