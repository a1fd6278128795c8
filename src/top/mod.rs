//! `tailrace top`: the open streams of a running server, as a terminal shows them; asked for at its address for operators.

mod client;
mod report;
mod table;
mod terminal;

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use self::client::Client;
use self::report::Report;
use self::terminal::{Key, Terminal};

/// How often a terminal is drawn anew.
const EVERY: Duration = Duration::from_secs(2);

/// What `tailrace top` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server's address for operators, as HOST:PORT
    #[arg(
        long = "admin-listen",
        env = "TAILRACE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS"
    )]
    address: String,
    /// File with a token of operators on its first line, if the server asks for one
    #[arg(long = "admin-token-file", env = "TAILRACE_ADMIN_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<String>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Behind)]
    sort: Sort,
    /// The most streams and tenants that are asked for
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Print once, and end; so it is wherever the output is no terminal
    #[arg(long)]
    once: bool,
    /// Print one JSON document, for programs, and end
    #[arg(long)]
    json: bool,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// The streams that are furthest behind
    Behind,
    /// Those that got most bytes
    Bytes,
    /// Those that got most events
    Events,
    /// The oldest
    Since,
    /// By the tenants' names
    Tenant,
}

impl Sort {
    /// Each with the key that chooses it.
    const ALL: [(char, Sort); 5] = [
        ('b', Sort::Behind),
        ('y', Sort::Bytes),
        ('e', Sort::Events),
        ('o', Sort::Since),
        ('t', Sort::Tenant),
    ];

    /// As `GET /streams` calls it.
    fn of_streams(self) -> &'static str {
        match self {
            Sort::Behind => "behind",
            Sort::Bytes => "bytes",
            Sort::Events => "events",
            Sort::Since => "since",
            Sort::Tenant => "tenant",
        }
    }

    /// As `GET /tenants` calls it: a tenant has no age.
    fn of_tenants(self) -> &'static str {
        if self == Sort::Since { "streams" } else { self.of_streams() }
    }
}

/// Prints once, or shows until a key ends it.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let client = Client::new(&args.address, args.token_file.as_deref(), args.limit)?;
    let report = client.report(args.sort).await?;
    if args.json {
        return print(&format!("{}\n", report.json(client.address())));
    }
    if args.once || !std::io::stdout().is_terminal() {
        return print(&table::page(&report, None, client.address(), args.sort));
    }
    show(&client, report, args.sort).await
}

/// Who reads a pipe may go at any time, such as `head`.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Draws until a key ends it. A server that does not answer for a while is asked on.
async fn show(client: &Client, first: Report, sort: Sort) -> anyhow::Result<()> {
    let mut terminal = Terminal::open()?;
    let (mut sort, mut flaw) = (sort, None);
    let (mut report, mut before) = (first, None::<Report>);
    let mut next = Instant::now() + EVERY;
    loop {
        let page = table::page(&report, before.as_ref(), client.address(), sort);
        terminal.draw(&page, flaw.as_deref())?;
        let key = tokio::time::timeout(next.saturating_duration_since(Instant::now()), terminal.key()).await;
        match key {
            Ok(None | Some(Key::Quit)) => return Ok(()),
            Ok(Some(Key::Resized)) => continue,
            Ok(Some(Key::Char(char))) => match Sort::ALL.iter().find(|(key, _)| *key == char) {
                Some((_, chosen)) => sort = *chosen,
                None => continue,
            },
            Err(_) => {}
        }
        next = Instant::now() + EVERY;
        match client.report(sort).await {
            Ok(new) => (before, report, flaw) = (Some(std::mem::replace(&mut report, new)), report, None),
            Err(error) => flaw = Some(format!("{error:#}")),
        }
    }
}
