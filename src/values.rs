//! The values of all settings as operators see them at `/config`: without secrets.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};
use tailrace_web::ConfigurationValue;

use crate::cli;

/// Stands for a value that is not shown.
const SET: &str = "(set)";
/// Properties of librdkafka whose values are shown, by the ends of their variables. All others are not: many hold secrets, and a
/// later librdkafka may have more of them.
const HARMLESS: [&str; 10] = [
    "_MS",
    "_BYTES",
    "_KB",
    "_MESSAGES",
    "_KAFKA_SECURITY_PROTOCOL",
    "_KAFKA_SASL_MECHANISM",
    "_KAFKA_SASL_MECHANISMS",
    "_KAFKA_CLIENT_ID",
    "_KAFKA_CLIENT_RACK",
    "_KAFKA_ISOLATION_LEVEL",
];

/// The settings of a parsed command line.
pub(crate) fn of(matches: &ArgMatches) -> Vec<ConfigurationValue> {
    let command = cli::command();
    command.get_arguments().filter_map(|arg| value(arg, matches)).collect()
}

/// Properties of librdkafka that are passed through.
pub(crate) fn of_kafka(properties: &[(String, String)]) -> Vec<ConfigurationValue> {
    let command = cli::command();
    let is_own = |name: &str| command.get_arguments().any(|arg| arg.get_env().is_some_and(|own| own == name));
    let passed = properties.iter().filter(|(name, _)| !is_own(name));
    passed
        .map(|(name, value)| {
            let is_harmless = HARMLESS.iter().any(|end| name.ends_with(end));
            let value = if is_harmless { without_secrets(value) } else { SET.to_owned() };
            ConfigurationValue { variable: name.clone(), value, is_default: false }
        })
        .collect()
}

fn value(arg: &Arg, matches: &ArgMatches) -> Option<ConfigurationValue> {
    let variable = arg.get_env()?.to_string_lossy().into_owned();
    let id = arg.get_id().as_str();
    let raw = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
    let text = raw.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    let is_secret = is_secret(arg, &variable);
    // The content of a secret's file is a default value for clap.
    let is_default = matches!(matches.value_source(id), None | Some(ValueSource::DefaultValue));
    let is_default = is_default && (!is_secret || text.is_empty());
    let value = match (is_secret, text.is_empty()) {
        (_, true) => String::new(),
        (true, false) => SET.to_owned(),
        (false, false) => without_secrets(&text),
    };
    Some(ConfigurationValue { variable, value, is_default })
}

fn is_secret(arg: &Arg, variable: &str) -> bool {
    let names_one = ["PASSWORD", "SECRET"].iter().any(|word| variable.contains(word));
    arg.is_hide_env_values_set()
        || ((names_one || variable.ends_with("_TOKEN")) && !variable.ends_with("_FILE"))
}

/// The value without what a URL in it may carry in confidence: user, password and query. A password may have signs that no URL
/// should have, commas and slashes too, so that rather too much is left out than too little.
fn without_secrets(value: &str) -> String {
    let mut parts = value.split("://").peekable();
    let mut out = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        // After the last comma stands the next URL's scheme.
        let end = if parts.peek().is_some() { part.rfind([',', ' ']) } else { None };
        let (url, next) = part.split_at(end.unwrap_or(part.len()));
        out.push_str(&format!("://{}{next}", shown_part(url)));
    }
    out
}

/// A URL after its scheme.
fn shown_part(url: &str) -> String {
    let (before, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    // It cannot be known on which side of the question mark a password ends.
    if query.contains('@') {
        return SET.to_owned();
    }
    let shown = before.rsplit_once('@').map_or(before.to_owned(), |(_, host)| format!("{SET}@{host}"));
    if query.is_empty() { shown } else { format!("{shown}?{SET}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a secret that is long enough for HS256";

    fn values(args: &[&str]) -> Vec<ConfigurationValue> {
        let line = ["tailrace"].iter().chain(args).map(|arg| arg.to_string());
        let cli = cli::parse(line).expect("parses");
        match cli.command {
            Some(cli::Command::Serve(settings)) => settings.values,
            _ => cli.settings.values,
        }
    }

    fn one<'a>(values: &'a [ConfigurationValue], variable: &str) -> (&'a str, bool) {
        let found = values.iter().find(|one| one.variable == variable).expect("it is there");
        (&found.value, found.is_default)
    }

    #[test]
    fn every_setting_is_there_with_its_value_and_whether_anybody_has_set_it() {
        for args in [&["--linger", "3ms"][..], &["serve", "--linger", "3ms"]] {
            let values = values(args);
            assert_eq!(one(&values, "TAILRACE_LINGER"), ("3ms", false));
            assert_eq!(one(&values, "TAILRACE_HEARTBEAT"), ("15s", true));
            assert_eq!(one(&values, "TAILRACE_JWT_SECRET"), ("", true));
            let all = cli::command().get_arguments().filter(|arg| arg.get_env().is_some()).count();
            assert_eq!(values.len(), all);
        }
    }

    #[test]
    fn secrets_are_not_in_it() {
        let values = values(&["--jwt-secret", SECRET]);
        assert_eq!(one(&values, "TAILRACE_JWT_SECRET"), (SET, false));
        assert!(!format!("{values:?}").contains(SECRET));
    }

    #[test]
    fn properties_of_librdkafka_are_shown_only_where_they_are_known_to_be_harmless() {
        let property = |name: &str| (format!("TAILRACE_KAFKA_{name}"), "hunter2".to_owned());
        for name in [
            "SASL_PASSWORD",
            "SASL_USERNAME",
            "SSL_KEY_PEM",
            "SSL_KEY_PASSWORD",
            "SSL_KEYSTORE_PASSWORD",
            "SASL_OAUTHBEARER_CONFIG",
            "SASL_OAUTHBEARER_CLIENT_SECRET",
            "SOME_LATER_PROPERTY",
        ] {
            assert_eq!(of_kafka(&[property(name)])[0].value, SET, "{name}");
        }
        for name in ["FETCH_WAIT_MAX_MS", "SECURITY_PROTOCOL", "CLIENT_RACK"] {
            assert_eq!(of_kafka(&[property(name)])[0].value, "hunter2", "{name}");
        }
        assert!(of_kafka(&[property("BOOTSTRAP_SERVERS")]).is_empty(), "it is a setting of its own");
    }

    #[test]
    fn a_url_is_shown_without_user_password_and_query() {
        for (value, shown) in [
            ("http://registry:8081/a", "http://registry:8081/a"),
            ("https://ann:hunter2@registry/a", "https://(set)@registry/a"),
            ("https://ann:hun/ter@2@registry", "https://(set)@registry"),
            ("https://ann:hun,ter2@registry", "https://(set)@registry"),
            ("https://ann:hunter?2@registry", "https://(set)"),
            ("https://keys/jwks?token=hunter2@x", "https://(set)"),
            ("https://keys/jwks?token=hunter2", "https://keys/jwks?(set)"),
            ("http://a:hunter2@b,http://c:hunter2@d", "http://(set)@b,http://(set)@d"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_secrets(value), shown);
        }
    }
}
