//! librdkafka's properties from variables of the environment, each checked against librdkafka's own table.

use std::collections::BTreeMap;

use super::error::{SettingsError, refusal};
use super::names::{JAVA, OTHER_NAMES, OWNED, SECRET};
use crate::native::{Conf, SetError};

const PREFIX: &str = "TAILRACE_KAFKA_";
pub(super) const BOOTSTRAP: &str = "TAILRACE_KAFKA_BOOTSTRAP_SERVERS";
/// Appended to a property's variable, it names the file that holds the value.
const FILE_SUFFIX: &str = "_FILE";

/// librdkafka's properties from variables `TAILRACE_KAFKA_<PROPERTY_WITH_UNDERSCORES>`. Other variables are passed over. A
/// value comes from a file where `_FILE` is appended, unless librdkafka itself has a property of that name.
///
/// # Errors
/// A property that librdkafka does not know (the nearest is named), one that Tailrace sets itself, one of the Java
/// clients, a value that is not accepted, a file that cannot be read.
pub fn kafka_properties(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut properties = BTreeMap::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if variable == BOOTSTRAP || value.is_empty() {
            continue;
        }
        let name = property_name(rest);
        let (name, value) = property(&variable, rest, name, value)?;
        if let Some((_, earlier)) = properties.insert(name.clone(), (value, variable.clone())) {
            return Err(refusal(&variable, "", format!("{name} once only; {earlier} sets it, too")));
        }
    }
    Ok(properties.into_iter().map(|(name, (value, _))| (name, value)).collect())
}

fn property(
    variable: &str,
    rest: &str,
    name: String,
    value: String,
) -> Result<(String, String), SettingsError> {
    refuse_owned(variable, &name)?;
    match Conf::new().set(&name, &value) {
        Ok(()) => check_file(variable, &name, &value).map(|()| (name, value)),
        Err(SetError::Invalid(message)) => Err(invalid(variable, &name, &value, &message)),
        Err(SetError::Unknown) => match rest.strip_suffix(FILE_SUFFIX) {
            Some(stem) => from_file(variable, property_name(stem), &value),
            None => Err(unknown(variable, &name)),
        },
    }
}

/// librdkafka reads certificates and keys only when a client is made, and does not say whose they are.
fn check_file(variable: &str, name: &str, value: &str) -> Result<(), SettingsError> {
    if !(name.starts_with("ssl.") && name.ends_with(".location")) || value == "probe" {
        return Ok(());
    }
    // A folder of certificates is taken, too.
    match std::fs::metadata(value) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => std::fs::File::open(value).map(drop),
        Err(error) => Err(error),
    }
    .map_err(|error| refusal(variable, value, format!("a file that can be read ({error})")))
}

fn property_name(rest: &str) -> String {
    rest.to_ascii_lowercase().replace('_', ".")
}

fn from_file(variable: &str, name: String, path: &str) -> Result<(String, String), SettingsError> {
    refuse_owned(variable, &name)?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| refusal(variable, path, format!("a file that can be read ({error})")))?;
    // Editors and `echo` end a file with a line end that is no part of the secret.
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    match Conf::new().set(&name, value) {
        Ok(()) => Ok((name, value.to_owned())),
        Err(SetError::Invalid(message)) => Err(refusal(variable, path, hide(&name, value, &message))),
        Err(SetError::Unknown) => Err(unknown(variable, &name)),
    }
}

fn refuse_owned(variable: &str, name: &str) -> Result<(), SettingsError> {
    let find =
        |table: &[(&str, &'static str)]| table.iter().find(|(known, _)| *known == name).map(|entry| entry.1);
    if let Some(own) = find(&OWNED) {
        return Err(refusal(variable, "", format!("{own} (Tailrace sets {name} itself)")));
    }
    if let Some(way) = find(&JAVA) {
        return Err(refusal(variable, "", format!("{way} ({name} is of Kafka's Java clients)")));
    }
    Ok(())
}

fn invalid(variable: &str, name: &str, value: &str, message: &str) -> SettingsError {
    let shown = if is_secret(name) { "" } else { value };
    let words = hide(name, value, message);
    match Conf::accepted(name) {
        Some(accepted) => refusal(variable, shown, format!("{accepted} (librdkafka: {words})")),
        None => refusal(variable, shown, format!("a value of another kind (librdkafka: {words})")),
    }
}

/// librdkafka repeats the value in its message.
fn hide(name: &str, value: &str, message: &str) -> String {
    if is_secret(name) && !value.is_empty() { message.replace(value, "…") } else { message.to_owned() }
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|word| name.contains(word))
}

/// How alike two names are of which one was likely meant.
const LIKELY: f64 = 0.8;

fn unknown(variable: &str, name: &str) -> SettingsError {
    if let Some((_, meant)) = OTHER_NAMES.iter().find(|(other, _)| *other == name) {
        return refusal(variable, "", format!("a property of librdkafka; what is meant is {PREFIX}{meant}"));
    }
    let names = Conf::names();
    // A letter that is wrong or missing is more likely than another word; else where a name begins says more than how long it is.
    let similarity = |known: &&String| {
        let by_letters = strsim::normalized_damerau_levenshtein(known, name);
        if by_letters >= LIKELY { 1.0 + by_letters } else { strsim::jaro_winkler(known, name) }
    };
    let nearest = names.iter().filter(|known| similarity(known) > LIKELY);
    let nearest = nearest.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let nearest = nearest.map_or_else(String::new, |known| {
        format!("; the nearest is {PREFIX}{}", known.to_ascii_uppercase().replace('.', "_"))
    });
    refusal(variable, "", format!("a property of librdkafka; it has no {name}{nearest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, SettingsError> {
        kafka_properties(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn refused(variable: &str, value: &str) -> SettingsError {
        properties(&[(variable, value)]).expect_err("refused")
    }

    #[test]
    fn a_variable_becomes_the_property_with_dots() {
        let found = properties(&[
            ("TAILRACE_KAFKA_SECURITY_PROTOCOL", "sasl_ssl"),
            ("TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092"),
            ("TAILRACE_TOPICS", "orders"),
        ]);
        assert_eq!(found, Ok(vec![("security.protocol".to_owned(), "sasl_ssl".to_owned())]));
    }

    #[test]
    fn an_unknown_property_names_the_nearest() {
        let error = refused("TAILRACE_KAFKA_SESION_TIMEOUT_MS", "6000");
        assert_eq!(error.variable, "TAILRACE_KAFKA_SESION_TIMEOUT_MS");
        assert!(error.accepted.contains("TAILRACE_KAFKA_SESSION_TIMEOUT_MS"), "{error}");
        // A property without a default.
        let error = refused("TAILRACE_KAFKA_SASL_USERNAM", "x");
        assert!(error.accepted.contains("TAILRACE_KAFKA_SASL_USERNAME"), "{error}");
    }

    #[test]
    fn what_tailrace_sets_itself_is_refused_with_its_own_name() {
        assert!(refused("TAILRACE_KAFKA_GROUP_ID", "x").accepted.contains("TAILRACE_INSTANCE"));
        assert!(refused("TAILRACE_KAFKA_GROUP_INSTANCE_ID", "x").accepted.contains("TAILRACE_INSTANCE"));
        assert!(refused("TAILRACE_KAFKA_AUTO_OFFSET_RESET", "latest").accepted.contains("auto.offset.reset"));
        refused("TAILRACE_KAFKA_ENABLE_AUTO_OFFSET_STORE", "true");
    }

    #[test]
    fn a_java_name_is_answered_with_librdkafka_s() {
        let error = refused("TAILRACE_KAFKA_SASL_JAAS_CONFIG", "password=hunter2");
        assert!(error.accepted.contains("TAILRACE_KAFKA_SASL_USERNAME"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(
            refused("TAILRACE_KAFKA_SSL_TRUSTSTORE_LOCATION", "/x.jks").accepted.contains("SSL_CA_LOCATION")
        );
    }

    #[test]
    fn a_value_that_librdkafka_does_not_take_is_refused() {
        let error = refused("TAILRACE_KAFKA_SESSION_TIMEOUT_MS", "soon");
        assert_eq!(error.value, "soon");
        assert!(error.accepted.contains("session.timeout.ms"), "{error}");
    }

    #[test]
    fn what_is_accepted_is_said() {
        for (property, value, accepted) in [
            ("SECURITY_PROTOCOL", "SSLX", "plaintext, ssl, sasl_plaintext, sasl_ssl"),
            ("ISOLATION_LEVEL", "dirty", "read_uncommitted, read_committed"),
            ("SESSION_TIMEOUT_MS", "0", "1 .. 3600000"),
            ("SOCKET_KEEPALIVE_ENABLE", "perhaps", "true, false"),
        ] {
            let error = refused(&format!("{PREFIX}{property}"), value);
            assert!(error.accepted.starts_with(accepted), "{error}");
        }
    }

    #[test]
    fn a_secret_comes_from_a_file_without_its_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2\n").expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let found = properties(&[("TAILRACE_KAFKA_SASL_PASSWORD_FILE", path)]);
        assert_eq!(found, Ok(vec![("sasl.password".to_owned(), "hunter2".to_owned())]));
        let missing = refused("TAILRACE_KAFKA_SASL_PASSWORD_FILE", "/nowhere/secret");
        assert!(missing.accepted.contains("can be read"), "{missing}");
    }

    #[test]
    fn a_property_is_not_set_twice() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let path = file.path().to_str().expect("UTF-8");
        let both =
            properties(&[("TAILRACE_KAFKA_SASL_PASSWORD", "a"), ("TAILRACE_KAFKA_SASL_PASSWORD_FILE", path)]);
        assert!(both.expect_err("refused").accepted.contains("once only"));
    }

    #[test]
    fn every_owned_property_exists_in_librdkafka() {
        for (name, _) in OWNED {
            assert_ne!(Conf::new().set(name, "1"), Err(SetError::Unknown), "{name}");
        }
    }

    #[test]
    fn no_java_name_is_taken_by_librdkafka() {
        for (name, _) in JAVA {
            assert!(Conf::new().set(name, "1").is_err(), "{name}");
        }
    }
}
