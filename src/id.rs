//! `tailrace id`: explains an event id.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use tailrace_bridge::{EventId, EventIdError, Fingerprint, IdKeys, Part, Position, TopicId};

/// What `tailrace id` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The id, as in `id:` or Last-Event-ID
    #[arg(allow_hyphen_values = true)]
    id: String,
    /// Names of topics that the id may speak of: an id has only hashes of them
    #[arg(long = "topic", value_name = "NAME")]
    topics: Vec<String>,
    /// The tenant of a sealed id
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// File with the keys that event ids are sealed with
    #[arg(long = "id-key-file", env = "TAILRACE_ID_KEY_FILE", value_name = "PATH")]
    id_key_file: Option<PathBuf>,
}

/// Prints the explanation.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let text = args.id.trim();
    let id = match &args.tenant {
        Some(tenant) => EventId::read(text, tenant, args.keys()?.as_ref()),
        None => text.parse(),
    };
    let id =
        id.map_err(|error| anyhow!("{text:?} is no event id of Tailrace: {error}{}", args.advice(&error)))?;
    print!("{}", explain(&id, text.len(), &args.topics)?);
    Ok(())
}

impl Args {
    fn keys(&self) -> anyhow::Result<Option<IdKeys>> {
        let Some(path) = self.id_key_file.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let keys = IdKeys::parse(&text).map_err(|why| anyhow!("{}: {why}", path.display()))?;
        Ok(Some(keys))
    }

    fn advice(&self, error: &EventIdError) -> &'static str {
        match (error, &self.tenant, &self.id_key_file) {
            (EventIdError::Sealed, None, _) | (EventIdError::Sealed, _, None) => {
                "; a sealed id is opened with --tenant and --id-key-file"
            }
            _ => "",
        }
    }
}

fn explain(id: &EventId, length: usize, names: &[String]) -> anyhow::Result<String> {
    let mut vector = id.vector.clone();
    let bounds = vector.take_bounds();
    let parts = &vector.parts;
    let partitions: usize = parts.iter().map(|part| part.positions.len()).sum();
    let time = Timestamp::from_second(i64::from(id.minutes) * 60).context("read the id's time")?;
    let mut out = String::new();
    writeln!(
        out,
        "event id of {length} characters: {}, {}",
        count(parts.len(), "topic"),
        count(partitions, "partition")
    )?;
    writeln!(out, "list of topics as of {}", time.strftime("%Y-%m-%d %H:%M UTC"))?;
    if !bounds.is_empty() {
        writeln!(out, "of each key only the newest record is delivered, up to the bound")?;
    }
    for part in parts {
        let bound = bounds.iter().find(|bound| bound.fingerprint == part.fingerprint);
        explain_part(&mut out, part, bound, names)?;
    }
    Ok(out)
}

fn explain_part(out: &mut String, part: &Part, bound: Option<&Part>, names: &[String]) -> std::fmt::Result {
    let Fingerprint { name, id } = part.fingerprint;
    let known = names.iter().find(|candidate| Fingerprint::new(candidate, TopicId::ZERO).name == name);
    let title = known.map_or("a topic", String::as_str);
    writeln!(out, "\n{title}  name hash {}, topic id hash {}", hex(name), id_hash(id))?;
    write!(out, "{:>11}  {:>20}  {:>6}", "partition", "next offset", "epoch")?;
    writeln!(out, "{}", bound.map_or(String::new(), |_| format!("  {:>20}  {:>6}", "bound", "epoch")))?;
    for (index, position) in part.positions.iter().enumerate() {
        write!(out, "{index:>11}  {:>20}  {:>6}", offset(position), epoch(position))?;
        match bound.and_then(|bound| bound.positions.get(index)).filter(|bound| bound.is_known()) {
            Some(bound) => writeln!(out, "  {:>20}  {:>6}", offset(bound), epoch(bound))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn hex(bytes: [u8; 3]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_hash(id: [u8; 3]) -> String {
    if id == [0; 3] { "none (the broker has no topic ids)".to_owned() } else { hex(id) }
}

fn offset(position: &Position) -> String {
    if position.is_known() { position.offset.to_string() } else { "not known yet".to_owned() }
}

fn epoch(position: &Position) -> String {
    if position.epoch < 0 { "–".to_owned() } else { position.epoch.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_bridge::Vector;

    fn an_id() -> EventId {
        let positions = vec![Position { offset: 1042, epoch: 3 }, Position::UNKNOWN];
        let fingerprint = Fingerprint::new("orders", TopicId([7; 16]));
        EventId { minutes: 29_000_000, vector: Vector { parts: vec![Part { fingerprint, positions }] } }
    }

    fn ask(id: &str, topics: &[&str]) -> anyhow::Result<()> {
        let topics = topics.iter().map(|name| name.to_string()).collect();
        run(&Args { id: id.to_owned(), topics, tenant: None, id_key_file: None })
    }

    #[test]
    fn an_explanation_has_the_time_the_positions_and_the_epochs() {
        let text = explain(&an_id(), 30, &[]).expect("explains");
        assert!(text.contains("1 topic, 2 partitions"), "{text}");
        assert!(text.contains("2025-02-19 21:20 UTC"), "{text}");
        assert!(text.contains("0                  1042       3"), "{text}");
        assert!(text.contains("1         not known yet       –"), "{text}");
    }

    #[test]
    fn a_bound_stands_beside_its_position() {
        let mut id = an_id();
        let positions = vec![Position { offset: 2000, epoch: 4 }, Position::UNKNOWN];
        id.vector.put_bound(Part { fingerprint: id.vector.parts[0].fingerprint, positions });
        let text = explain(&id, 30, &[]).expect("explains");
        assert!(text.contains("1 topic, 2 partitions") && text.contains("up to the bound"), "{text}");
        assert!(text.contains("0                  1042       3                  2000       4\n"), "{text}");
        assert!(text.contains("1         not known yet       –\n"), "{text}");
        assert!(!explain(&an_id(), 30, &[]).expect("explains").contains("bound"));
    }

    #[test]
    fn a_topic_is_named_if_its_name_is_given() {
        let names = ["shipments".to_owned(), "orders".to_owned()];
        assert!(explain(&an_id(), 30, &names).expect("explains").contains("\norders  name hash"));
        assert!(explain(&an_id(), 30, &[]).expect("explains").contains("\na topic  name hash"));
    }

    #[test]
    fn a_bad_id_says_why() {
        let good = an_id().to_string();
        ask(&good, &["orders"]).expect("good");
        let damaged = ask(&good[..good.len() - 4], &[]).expect_err("damaged").to_string();
        assert!(damaged.contains("checksum"), "{damaged}");
        assert!(ask("42", &[]).expect_err("no id").to_string().contains("is no event id"));
    }

    #[test]
    fn a_sealed_id_is_opened_with_its_tenant_and_the_keys() {
        let keys = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, keys).expect("writes");
        let keys = IdKeys::parse(keys).expect("keys");
        let (id, mut text) = (an_id(), String::new());
        EventId::encode(&mut text, id.minutes, &id.vector, keys.seal("acme"));
        let ask = |tenant: Option<&str>, file: Option<&PathBuf>| {
            let (tenant, id_key_file) = (tenant.map(str::to_owned), file.cloned());
            run(&Args { id: text.clone(), topics: Vec::new(), tenant, id_key_file })
        };
        ask(Some("acme"), Some(&path)).expect("opens");
        for (tenant, file) in [(None, Some(&path)), (Some("acme"), None), (None, None)] {
            let why = ask(tenant, file).expect_err("does not open").to_string();
            assert!(why.contains("--tenant and --id-key-file"), "{why}");
        }
        assert!(
            ask(Some("globex"), Some(&path)).expect_err("another's").to_string().contains("another tenant")
        );
    }
}
