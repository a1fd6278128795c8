//! docs/configuration.md, generated from the same definitions as `tailrace --help`.

use std::fmt::Write as _;

use clap::Arg;

use crate::cli;

/// The text around the tables.
const PAGE: &str = include_str!("configuration.template.md");
/// The line that the tables replace.
const MARKER: &str = "<!-- settings -->\n";
/// Required settings; the page shows `required` as their default.
const REQUIRED: [&str; 3] = ["TAILRACE_KAFKA_BOOTSTRAP_SERVERS", "TAILRACE_TOPICS", "TAILRACE_TENANT_FROM"];

/// Prints the tables alone, or the whole page.
pub(crate) fn print(whole: bool) -> anyhow::Result<()> {
    print!("{}", if whole { page() } else { tables() });
    Ok(())
}

fn page() -> String {
    PAGE.replace(MARKER, &tables())
}

/// One table for each group of settings, in the order of `--help`.
fn tables() -> String {
    let command = cli::command();
    let settings: Vec<&Arg> =
        command.get_arguments().filter(|arg| arg.get_env().is_some() && !arg.is_hide_set()).collect();
    let mut headings: Vec<&str> = Vec::new();
    for heading in settings.iter().map(|arg| heading(arg)) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    let tables: Vec<String> = headings.iter().map(|title| table(title, &settings)).collect();
    tables.join("\n")
}

fn heading(arg: &Arg) -> &str {
    arg.get_help_heading().unwrap_or("Settings")
}

fn table(title: &str, settings: &[&Arg]) -> String {
    let mut out = format!("### {title}\n\n| variable | flag | default | |\n| --- | --- | --- | --- |\n");
    for arg in settings.iter().filter(|arg| heading(arg) == title) {
        out.push_str(&row(arg));
    }
    out
}

fn row(arg: &Arg) -> String {
    let variable = arg.get_env().unwrap_or_default().to_string_lossy();
    let flag = arg.get_long().unwrap_or_default();
    let mut out = format!("| `{variable}` | `--{flag}` | {} | ", default(arg, &variable));
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let secret = if arg.is_hide_env_values_set() { " Secret." } else { "" };
    let end = if help.ends_with(['.', '!', '?']) { "" } else { "." };
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{help}{end}{secret} |");
    out
}

fn default(arg: &Arg, variable: &str) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match values.join(",").as_str() {
        "" if REQUIRED.contains(&variable) => "required".to_owned(),
        "" => "–".to_owned(),
        value => format!("`{value}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_the_generated_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let committed = std::fs::read_to_string(path).expect("docs/configuration.md is there");
        assert!(
            committed == page(),
            "docs/configuration.md is stale; write it anew with\n  \
             cargo run -q -- configuration --markdown > docs/configuration.md"
        );
    }

    #[test]
    fn every_setting_is_on_the_page() {
        let page = page();
        for variable in cli::command()
            .get_arguments()
            .filter_map(|arg| arg.get_env().map(|v| v.to_string_lossy().into_owned()))
        {
            assert!(page.contains(&format!("| `{variable}` |")), "{variable} is missing");
        }
        for required in REQUIRED {
            assert!(page.contains(&format!("| `{required}` |")), "{required} is no setting");
        }
    }
}
