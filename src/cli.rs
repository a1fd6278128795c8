//! The command line. Every setting is a flag and an environment variable; the definitions here and in the packages are
//! also the source of docs/configuration.md.

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use tailrace_web::ConfigurationValue;

use crate::config::Refusal;
use crate::{demo, health, id, top, values, version};

const AFTER_HELP: &str = "\
Any librdkafka property can be set as TAILRACE_KAFKA_<PROPERTY_WITH_UNDERSCORES>, such as
TAILRACE_KAFKA_SECURITY_PROTOCOL=SASL_SSL. A secret can come from a file: append _FILE to its variable.
A flag wins over a variable, a variable over a file.

Exit codes: 0 stopped as asked, 1 failed, 64 a setting is wrong.";

/// Kafka topics as per-tenant Server-Sent Event streams; reconnect and lose nothing, repeat nothing.
#[derive(Parser)]
#[command(name = "tailrace", version = version::SHORT, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve streams (what happens without a command, too)
    Serve(Box<Settings>),
    /// Try it: an embedded broker with lively topics, everything on loopback
    #[command(after_help = "")]
    Demo(Box<Settings>),
    /// Explain an event id
    Id(id::Args),
    /// Say what would be served with these settings, and why not
    Check {
        #[command(flatten)]
        settings: Box<Settings>,
        /// As JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Ask a running server whether it is alive, for probes in images without a shell: exit code 0 or 1
    #[command(after_help = "")]
    Health(health::Args),
    /// Show the open streams of a running server: tenants, streams, how far behind
    #[command(after_help = "")]
    Top(top::Args),
    /// Print the reference of all settings
    #[command(hide = true)]
    Configuration {
        /// As the whole page docs/configuration.md
        #[arg(long)]
        markdown: bool,
    },
}

/// All settings of a server.
#[derive(Clone, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) kafka: tailrace_consumer::Args,
    #[command(flatten)]
    pub(crate) web: tailrace_web::Args,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    /// All of them as operators see them.
    #[arg(skip)]
    pub(crate) values: Vec<ConfigurationValue>,
}

/// The settings that no package owns.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// Memory for records, history and frames together; the consumer's prefetch comes out of it
    #[arg(long, env = "TAILRACE_CACHE_SIZE", default_value = "256MiB", value_name = "SIZE")]
    pub(crate) cache_size: String,
    /// How long events gather before streams are woken: a little latency for much less CPU under high fan-out
    #[arg(long, env = "TAILRACE_LINGER", default_value = "0ms", value_name = "TIME")]
    pub(crate) linger: String,
    /// What is logged: a level, or directives such as `info,tailrace_web=debug`
    #[arg(long, env = "TAILRACE_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How it is written: `text` or `json`
    #[arg(long, env = "TAILRACE_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub(crate) log_format: String,
}

/// Why parsing returns no [`Cli`].
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help or version was requested, or the command line is invalid: clap has the message.
    Clap(clap::Error),
    /// A value is wrong.
    Refused(Refusal),
}

/// The definition of the whole command line.
pub(crate) fn command() -> clap::Command {
    Cli::command().args_override_self(true).mut_subcommand("demo", demo::command)
}

/// Parses the command line. `args` begins with the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Cli, Stop> {
    let mut args: Vec<String> = args.into_iter().collect();
    let mut command = command();
    if version::is_verbose(&args) {
        args.retain(|arg| arg != "--verbose");
        command = command.version(version::verbose());
    }
    let matches = command.clone().try_get_matches_from(args).map_err(|error| explain(error, &command))?;
    if let Some(matches) = matches.subcommand_matches("demo") {
        demo::refuse_own(matches).map_err(Stop::Refused)?;
    }
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| explain(error, &command))?;
    if let Some(settings) = settings_of(&mut cli) {
        settings.values = values_of(&matches);
    }
    Ok(cli)
}

/// The settings of the server that is to run, if one is.
fn settings_of(cli: &mut Cli) -> Option<&mut Settings> {
    match &mut cli.command {
        None => Some(&mut cli.settings),
        Some(Command::Serve(settings) | Command::Demo(settings)) => Some(settings),
        Some(_) => None,
    }
}

/// The values of these settings.
fn values_of(matches: &clap::ArgMatches) -> Vec<ConfigurationValue> {
    values::of(matches.subcommand().map_or(matches, |(_, matches)| matches))
}

/// Parses the command line of `tailrace demo` again, with other defaults by their flags' names.
pub(crate) fn parse_demo(defaults: &[(&str, String)]) -> anyhow::Result<Settings> {
    let command = command().mut_subcommand("demo", |demo| with_defaults(demo, defaults));
    let matches = command.get_matches();
    match Cli::from_arg_matches(&matches)?.command {
        Some(Command::Demo(settings)) => Ok(Settings { values: values_of(&matches), ..*settings }),
        _ => anyhow::bail!("this is not the demo's command line"),
    }
}

/// The same settings with other defaults.
pub(crate) fn with_defaults<V: AsRef<str>>(command: clap::Command, defaults: &[(&str, V)]) -> clap::Command {
    let find = |flag: Option<&str>| defaults.iter().find(|(name, _)| Some(*name) == flag);
    command.mut_args(|arg| match find(arg.get_long()) {
        Some((_, value)) => arg.default_value(value.as_ref().to_owned()),
        None => arg,
    })
}

/// Names a wrong value by its variable, like every other wrong value.
fn explain(error: clap::Error, command: &clap::Command) -> Stop {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if !matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) {
        return Stop::Clap(error);
    }
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return Stop::Clap(error);
    };
    let Some(variable) = variable_of(flag, command) else { return Stop::Clap(error) };
    let accepted = match (error.get(ContextKind::ValidValue), std::error::Error::source(&error)) {
        (Some(ContextValue::Strings(values)), _) => values.join(", "),
        (_, Some(source)) => source.to_string(),
        _ => "another value".to_owned(),
    };
    Stop::Refused(Refusal::value(variable, value, accepted))
}

/// The variable of a flag as clap writes it in errors: `--linger <TIME>`.
fn variable_of(flag: &str, command: &clap::Command) -> Option<String> {
    let long = flag.split_whitespace().next()?.strip_prefix("--")?;
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long))?;
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Cli, Stop> {
        let line = ["tailrace"].iter().chain(args).map(|arg| arg.to_string());
        parse(line)
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn without_a_command_the_flags_are_those_of_serve() {
        let cli = parsed(&["--cache-size", "1GiB"]).expect("parses");
        assert!(cli.command.is_none());
        assert_eq!(cli.settings.process.cache_size, "1GiB");
    }

    #[test]
    fn every_setting_has_a_flag_a_variable_and_a_help_text() {
        for arg in
            command().get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        {
            let variable = arg.get_env().unwrap_or_else(|| panic!("{} has no variable", arg.get_id()));
            let flag = arg.get_long().unwrap_or_else(|| panic!("{} has no flag", arg.get_id()));
            let expected = format!("TAILRACE_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(variable.to_string_lossy(), expected);
            assert!(arg.get_help().is_some(), "{expected} has no help");
        }
    }

    #[test]
    fn a_later_flag_wins_over_an_earlier_one() {
        let cli = parsed(&["serve", "--linger", "1ms", "--linger", "2ms"]).expect("parses");
        let Some(Command::Serve(settings)) = cli.command else { panic!("not serve") };
        assert_eq!(settings.process.linger, "2ms");
    }

    #[test]
    fn an_unknown_flag_is_clap_s_to_explain() {
        assert!(matches!(parsed(&["--topicz", "a"]), Err(Stop::Clap(_))));
    }

    #[test]
    fn a_verbose_version_says_what_a_report_needs() {
        let Err(Stop::Clap(said)) = parsed(&["--version", "--verbose"]) else { panic!("no version") };
        let said = said.to_string();
        for what in [version::SHORT, "rustc ", "librdkafka   2.", "event ids    1, sealed 2", "(debug)"] {
            assert!(said.contains(what), "{what}: {said}");
        }
        let Err(Stop::Clap(short)) = parsed(&["-V"]) else { panic!("no version") };
        assert_eq!(short.to_string(), format!("tailrace {}\n", version::SHORT));
        assert!(matches!(parsed(&["--verbose"]), Err(Stop::Clap(error)) if error.use_stderr()));
    }

    #[test]
    fn the_demo_has_its_own_kafka_and_topics() {
        let refused = |args: &[&str]| match parsed(args) {
            Err(Stop::Refused(refusal)) => refusal.to_string(),
            _ => panic!("{args:?} was taken"),
        };
        assert!(refused(&["demo", "--topics", "mine"]).contains("takes no --topics"));
        assert!(refused(&["demo", "--kafka-bootstrap-servers", "b:9092"]).contains("tailrace serve"));
    }

    #[test]
    fn the_demo_stays_on_loopback_without_keys() {
        let cli = parsed(&["demo"]).expect("parses");
        let Some(Command::Demo(settings)) = cli.command else { panic!("not demo") };
        let web = settings.web.settings().expect("good defaults");
        assert!(web.listen().ip().is_loopback());
    }
}
