//! `TAILRACE_LIMITS_FILE`: limits of single tenants, in TOML.
//!
//! ```toml
//! [tenant."acme"]
//! max_streams = 500
//! byte_rate = "2MiB/s"
//! ```

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use tailrace_bridge::{Rate, TenantId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::whole_file::{ReadError, read_text};

/// A larger file is not read.
const MAX_FILE: u64 = 1 << 20;
const ACCEPTED_COUNT: &str = "a whole number; 0 is no limit";

/// The limits of one tenant. Zero: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TenantLimits {
    pub(crate) max_streams: usize,
    pub(crate) max_streams_per_subject: usize,
    pub(crate) connect_rate: Rate,
    pub(crate) stream_event_rate: Rate,
    pub(crate) stream_byte_rate: Rate,
    pub(crate) event_rate: Rate,
    pub(crate) byte_rate: Rate,
    pub(crate) max_replays: usize,
    pub(crate) max_conditions: usize,
    pub(crate) replay_byte_rate: Rate,
}

/// The file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct LimitsFile {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tenants: HashMap<TenantId, TenantLimits>,
}

/// What is wrong with the file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileError {
    #[error("there is no such file")]
    Missing,
    #[error("it cannot be read: {0}")]
    Unreadable(ReadError),
    /// Line and column from 1, the column in characters.
    #[error("line {line}, column {column}: {detail}")]
    Wrong { line: usize, column: usize, detail: String },
}

impl FileError {
    /// The label of the metric.
    pub(crate) fn outcome(&self) -> &'static str {
        if *self == FileError::Missing { "missing" } else { "refused" }
    }
}

/// Checks the text of a limits file; returns how many tenants it names.
///
/// # Errors
/// What is wrong, with line and column.
pub fn check_limits_file(text: &str) -> Result<usize, String> {
    parse(text, &TenantLimits::default()).map(|all| all.len()).map_err(|error| error.to_string())
}

type Count = fn(&mut TenantLimits) -> &mut usize;
type PerSecond = fn(&mut TenantLimits) -> &mut Rate;

const COUNTS: [(&str, Count); 4] = [
    ("max_streams", |limits| &mut limits.max_streams),
    ("max_streams_per_subject", |limits| &mut limits.max_streams_per_subject),
    ("max_replays", |limits| &mut limits.max_replays),
    ("max_conditions", |limits| &mut limits.max_conditions),
];
const RATES: [(&str, PerSecond); 6] = [
    ("connect_rate", |limits| &mut limits.connect_rate),
    ("stream_event_rate", |limits| &mut limits.stream_event_rate),
    ("stream_byte_rate", |limits| &mut limits.stream_byte_rate),
    ("event_rate", |limits| &mut limits.event_rate),
    ("byte_rate", |limits| &mut limits.byte_rate),
    ("replay_byte_rate", |limits| &mut limits.replay_byte_rate),
];

impl LimitsFile {
    /// Reads the file. What it does not name is as in `usual`.
    pub(crate) fn read(path: &str, usual: &TenantLimits) -> Result<LimitsFile, FileError> {
        let text = read_text(Path::new(path), MAX_FILE).map_err(|error| match error {
            ReadError::Io { kind: std::io::ErrorKind::NotFound, .. } => FileError::Missing,
            error => FileError::Unreadable(error),
        })?;
        let tenants = parse(&text, usual)?;
        Ok(LimitsFile { path: path.to_owned(), text, tenants })
    }
}

/// The limits of the tenants that the text names; the others in `usual` hold for them too.
pub(crate) fn parse(text: &str, usual: &TenantLimits) -> Result<HashMap<TenantId, TenantLimits>, FileError> {
    let wrong = |(span, detail): Flaw| {
        let (line, column) = place(text, span.start);
        FileError::Wrong { line, column, detail }
    };
    let whole = DeTable::parse(text).map_err(|error| {
        wrong((error.span().unwrap_or(0..0), format!("it is not TOML: {}", one_line(error.message()))))
    })?;
    tables(whole.get_ref(), usual).map_err(wrong)
}

/// What is wrong, and the bytes of the text where.
type Flaw = (Range<usize>, String);

fn tables(whole: &DeTable<'_>, usual: &TenantLimits) -> Result<HashMap<TenantId, TenantLimits>, Flaw> {
    let mut all = HashMap::new();
    for (key, value) in whole.iter() {
        if key.get_ref() != "tenant" {
            return Err((key.span(), unknown(key.get_ref(), &["tenant"])));
        }
        let tenants = table(value, "a table for each tenant: [tenant.\"NAME\"]")?;
        for (name, limits) in tenants.iter() {
            let tenant = TenantId::new(name.get_ref()).map_err(|flaw| (name.span(), flaw))?;
            let limits = table(limits, "a table of limits, such as max_streams = 500")?;
            all.insert(tenant, of_tenant(limits, *usual)?);
        }
    }
    Ok(all)
}

fn table<'a>(value: &'a Spanned<DeValue<'_>>, accepted: &str) -> Result<&'a DeTable<'a>, Flaw> {
    let found = value.get_ref();
    let wrong = || (value.span(), format!("{} is found here; accepted is {accepted}", found.type_str()));
    found.as_table().ok_or_else(wrong)
}

fn of_tenant(table: &DeTable<'_>, mut limits: TenantLimits) -> Result<TenantLimits, Flaw> {
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        if let Some((_, count)) = COUNTS.iter().find(|(known, _)| *known == name) {
            *count(&mut limits) = read_count(name, value)?;
        } else if let Some((_, rate)) = RATES.iter().find(|(known, _)| *known == name) {
            *rate(&mut limits) = read_rate(name, value)?;
        } else {
            let known: Vec<&str> =
                COUNTS.iter().map(|(name, _)| *name).chain(RATES.iter().map(|(name, _)| *name)).collect();
            return Err((key.span(), unknown(name, &known)));
        }
    }
    Ok(limits)
}

fn read_count(name: &str, value: &Spanned<DeValue<'_>>) -> Result<usize, Flaw> {
    let text = text_of(value);
    let count = text.as_ref().and_then(|text| text.parse().ok());
    count.ok_or_else(|| wrong_value(name, value, ACCEPTED_COUNT))
}

fn read_rate(name: &str, value: &Spanned<DeValue<'_>>) -> Result<Rate, Flaw> {
    let rate = text_of(value).map(|text| text.parse::<Rate>());
    match rate {
        Some(Ok(rate)) => Ok(rate),
        Some(Err(why)) => Err(wrong_value(name, value, why.rsplit("accepted: ").next().unwrap_or(&why))),
        None => Err(wrong_value(name, value, "a number a second, or a rate in quotes, such as \"1MiB/s\"")),
    }
}

/// A whole number, or what is in quotes.
fn text_of(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().replace('_', "")),
        _ => None,
    }
}

fn wrong_value(name: &str, value: &Spanned<DeValue<'_>>, accepted: &str) -> Flaw {
    let shown = text_of(value).unwrap_or_else(|| value.get_ref().type_str().to_owned());
    let shown: String = shown.chars().take(64).collect();
    (value.span(), format!("{name} = {shown:?} cannot be used: accepted is {accepted}"))
}

fn unknown(name: &str, known: &[&str]) -> String {
    let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
    let nearest = known.iter().min_by_key(distance).copied().unwrap_or_default();
    let shown: String = name.chars().take(64).collect();
    format!("{shown:?} is no limit of a tenant; the nearest is {nearest:?}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The line and the column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> TenantLimits {
        TenantLimits { max_streams: 10_000, event_rate: "100".parse().unwrap(), ..TenantLimits::default() }
    }

    fn said(text: &str) -> String {
        parse(text, &usual()).unwrap_err().to_string()
    }

    #[test]
    fn what_a_file_does_not_name_is_as_usual() {
        let text = "[tenant.\"acme\"]\nmax_streams = 500\nbyte_rate = \"2MiB/s\"\n[tenant.\"täglich.de\"]\nevent_rate = 0\n\
                    max_replays = 1_000\nconnect_rate = \"60/m\"\n";
        let all = parse(text, &usual()).unwrap();
        assert_eq!(all.len(), 2);
        let acme = all[&TenantId::new("acme").unwrap()];
        let expected = TenantLimits { max_streams: 500, byte_rate: "2MiB/s".parse().unwrap(), ..usual() };
        assert_eq!(acme, expected);
        let other = all[&TenantId::new("täglich.de").unwrap()];
        assert_eq!((other.max_streams, other.max_replays, other.event_rate.is_none()), (10_000, 1000, true));
        assert_eq!(other.connect_rate.per_second(), 1.0);
        assert!(parse("", &usual()).unwrap().is_empty());
        assert!(parse("# nothing\n[tenant]\n", &usual()).unwrap().is_empty());
    }

    #[test]
    fn a_misspelt_name_is_said_with_its_place_and_the_nearest() {
        assert_eq!(
            said("[tenant.acme]\nmax_stream = 5\n"),
            "line 2, column 1: \"max_stream\" is no limit of a tenant; the nearest is \"max_streams\""
        );
        assert_eq!(
            said("\n[tenants.acme]\nmax_streams = 5\n"),
            "line 2, column 2: \"tenants\" is no limit of a tenant; the nearest is \"tenant\""
        );
    }

    #[test]
    fn a_wrong_value_is_said_with_its_place_and_what_is_accepted() {
        for (text, place, part) in [
            ("[tenant.\"ä\"]\nmax_streams = -1", "line 2, column 15", "max_streams = \"-1\""),
            ("[tenant.a]\nmax_streams = 1.5", "line 2, column 15", "a whole number"),
            ("[tenant.a]\nmax_streams = \"many\"", "line 2, column 15", "a whole number"),
            ("[tenant.a]\nbyte_rate = \"fast\"", "line 2, column 13", "1MiB/s"),
            ("[tenant.a]\nbyte_rate = true", "line 2, column 13", "in quotes"),
            ("[tenant.a]\nevent_rate = 0x10", "line 2, column 14", "in quotes"),
            ("[tenant.a]\nmax_streams = 99999999999999999999999", "line 2, column 15", "a whole number"),
            ("tenant = 5", "line 1, column 10", "[tenant.\"NAME\"]"),
            ("tenant.a = 5", "line 1, column 12", "max_streams = 500"),
            ("[tenant.\"*\"]\nmax_streams = 5", "line 1, column 9", "a tenant's name"),
            ("[tenant.\"\"]\nmax_streams = 5", "line 1, column 9", "a tenant's name"),
            ("[tenant.a]\nmax_streams = ", "line 2", "it is not TOML"),
            ("[tenant.a]\nmax_streams = 1\nmax_streams = 2", "line 3", "it is not TOML"),
            ("[tenant.a]\n[tenant.a]", "line 2", "it is not TOML"),
            ("max_streams: 5", "line 1", "it is not TOML"),
        ] {
            let said = said(text);
            assert!(said.contains(place) && said.contains(part), "{text:?}: {said}");
            assert!(!said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn attack_a_file_that_nests_deeply_is_refused_and_nothing_overflows() {
        let deep = format!("tenant = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep, &usual()).is_err());
        let dotted = format!("{} = 1", vec!["tenant"; 100_000].join("."));
        assert!(parse(&dotted, &usual()).is_err());
    }

    #[test]
    fn a_folder_a_missing_file_a_large_one_and_one_that_is_no_text_are_said() {
        let folder = std::env::temp_dir().join(format!("tailrace-limits-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("limits.toml");
        let said = || LimitsFile::read(path.to_str().unwrap(), &usual()).unwrap_err().to_string();
        assert!(said().contains("no such file"), "{}", said());
        std::fs::write(&path, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
        assert!(said().contains("larger than 1048576 bytes"), "{}", said());
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(said().contains("it cannot be read"), "{}", said());
        let said = LimitsFile::read(folder.to_str().unwrap(), &usual()).unwrap_err().to_string();
        assert!(said.contains("not a file"), "{said}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
