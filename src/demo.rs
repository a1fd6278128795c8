//! `tailrace demo`: an embedded broker with generated records, and a server that reads them, all on loopback. Its Kafka, topics and
//! rules are its own; all other settings are those of a server.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args as _;
use tailrace_bridge::{Bridge, Envelope, EventName, Filter, Framing, StartFrom, SubscribeRequest, TenantId};
use tailrace_consumer::demo::{self, TENANTS};

use crate::config::{self, Environment, Refusal};
use crate::serve::Server;
use crate::signals::Signals;
use crate::{cli, log};

/// Settings of the demo that differ from a server's, unless a flag or a variable overrides them.
const DEFAULTS: [(&str, &str); 11] = [
    ("topics", "orders,metrics,logs,notifications"),
    ("tenant-from", "header:tenant"),
    ("event-type-from", "header:type"),
    ("listen", "127.0.0.1:8080"),
    ("admin-listen", "127.0.0.1:9464"),
    ("auth", "none"),
    ("cors-origins", "http://localhost:*,http://127.0.0.1:*"),
    ("log", "warn"),
    // This many streams stay below the limit of open files in any shell.
    ("max-streams", "500"),
    // There is no load balancer to wait for.
    ("drain-delay", "0s"),
    ("drain-timeout", "2s"),
];
/// The tenant in the example commands of the banner.
const TENANT: &str = TENANTS[0];
/// How many records before the end the id of the third command is: that stream gets these records at once, then new ones.
const RESUME_BEFORE: u32 = 5;
/// The timeout until the demo is ready; an embedded broker usually answers within a second or two.
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Long enough for the first records to be in memory.
const FIRST_RECORDS: Duration = Duration::from_millis(300);

/// The definition of `tailrace demo`: a server's settings with other defaults. Those of Kafka are the demo's own: no variable sets
/// them, and [`refuse_own`] refuses their flags.
pub(crate) fn command(command: clap::Command) -> clap::Command {
    let own = own();
    let command = command.mut_args(|arg| match own.contains(arg.get_id().as_str()) {
        true => arg.hide(true).env(None::<&str>),
        false => arg,
    });
    cli::with_defaults(command, &DEFAULTS)
}

/// The ids of the settings that are the demo's own.
fn own() -> HashSet<String> {
    let of_kafka = tailrace_consumer::Args::augment_args(clap::Command::new("kafka"));
    of_kafka.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// The variables of these settings.
fn own_variables() -> HashSet<String> {
    let of_kafka = tailrace_consumer::Args::augment_args(clap::Command::new("kafka"));
    of_kafka.get_arguments().filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned())).collect()
}

/// Refuses flags that would have no effect.
pub(crate) fn refuse_own(matches: &clap::ArgMatches) -> Result<(), Refusal> {
    let is_given =
        |id: &&String| matches.value_source(id.as_str()) == Some(clap::parser::ValueSource::CommandLine);
    let own = own();
    match own.iter().filter(is_given).min() {
        None => Ok(()),
        Some(id) => Err(Refusal::flag_of_demo(&id.replace('_', "-"))),
    }
}

/// Runs until a signal.
pub(crate) async fn run(environment: Environment) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let broker = demo::start().await.context("start the embedded broker")?;
    let settings = cli::parse_demo(&[
        ("listen", free("listen")),
        ("admin-listen", free("admin-listen")),
        ("kafka-bootstrap-servers", broker.bootstrap_servers().to_owned()),
    ])?;
    let (environment, ignored) = environment.without_kafka(&own_variables());
    let mut plan = config::plan(&settings, &environment)?;
    plan.web.be_demo(&TENANTS);
    let doors = Doors { console: plan.web.has_console(), tokens: !plan.web.is_open() };
    log::start(&plan.process)?;
    for variable in ignored {
        tracing::warn!("{variable} is ignored: the demo has its own Kafka and topics");
    }
    let scheme = plan.web.scheme();
    let moved = is_taken(default("listen")) && plan.web.listen().port() == 0;
    let server = Server::start(plan).await?;
    let greeting =
        greet(server.bridge.clone(), scheme, server.address(), server.admin_address(), (doors, moved));
    let greeting = tokio::spawn(async move {
        match greeting.await {
            Ok(banner) => print!("{banner}"),
            Err(error) => tracing::error!("{error:#}"),
        }
    });
    let kafka = server.run_until(signals.first()).await;
    kafka.stop().await;
    greeting.abort();
    broker.stop().await;
    Ok(())
}

fn default(flag: &str) -> &'static str {
    DEFAULTS.iter().find(|(name, _)| *name == flag).map_or("", |(_, value)| value)
}

/// The default address of a flag. If another program uses its port, the address with port 0.
fn free(flag: &str) -> String {
    let address = default(flag);
    match is_taken(address) {
        true => format!("{}:0", address.rsplit_once(':').map_or(address, |(host, _)| host)),
        false => address.to_owned(),
    }
}

fn is_taken(address: &str) -> bool {
    let bound = address.parse::<SocketAddr>().map(TcpListener::bind);
    bound.is_ok_and(|bound| bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse))
}

/// What is open to whoever reads the banner.
#[derive(Clone, Copy)]
struct Doors {
    console: bool,
    /// Whether streams ask for a token.
    tokens: bool,
}

/// Waits until there are records, then returns the banner with the addresses.
async fn greet(
    bridge: Bridge,
    scheme: &'static str,
    address: SocketAddr,
    admin: SocketAddr,
    (doors, moved): (Doors, bool),
) -> anyhow::Result<String> {
    ready(&bridge).await?;
    tokio::time::sleep(FIRST_RECORDS).await;
    let base = format!("{scheme}://{}", reachable(address));
    Ok(banner(&base, reachable(admin), &an_id(&bridge).await?, (doors, moved)))
}

async fn ready(bridge: &Bridge) -> anyhow::Result<()> {
    let waiting = async {
        while !bridge.health().readiness().ready {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if tokio::time::timeout(READY_WITHIN, waiting).await.is_err() {
        bail!("the demo is not ready: {}", bridge.health().readiness().reasons.join("; "));
    }
    Ok(())
}

/// An id as a client would have it whose connection was cut a few records ago.
async fn an_id(bridge: &Bridge) -> anyhow::Result<String> {
    let request = SubscribeRequest {
        tenant: TenantId::new(TENANT).map_err(anyhow::Error::msg)?,
        topics: vec!["orders".to_owned()],
        filter: Filter::default(),
        framing: Framing::Sse,
        event_name: EventName::Type,
        envelope: Envelope::None,
        unmasked: false,
        conflate: false,
        from: StartFrom::Last(RESUME_BEFORE),
        last_event_id: None,
    };
    let mut subscription = bridge.subscribe(request).await.context("take an id to resume from")?;
    Ok(subscription.id())
}

/// The address that a browser on this machine can open.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// `base`: scheme and address of the streams; `moved`: whether another program has the port of the demo.
fn banner(base: &str, admin: SocketAddr, id: &str, (doors, moved): (Doors, bool)) -> String {
    let moved = match moved {
        true => format!("  (another program uses {}; --listen HOST:PORT chooses)\n", default("listen")),
        false => String::new(),
    };
    let pages = match doors.console {
        true => format!(
            "Console   {base}/\n{moved}  Boards    {base}/demo/orders, …/metrics, …/logs, …/notifications"
        ),
        false => format!(
            "Streams   {base}/t/{TENANT}/events\n{moved}  Console   off, and the boards with it: TAILRACE_CONSOLE=on"
        ),
    };
    let (curl, token) = match doors.tokens {
        true => (
            "curl -N -H \"Authorization: Bearer $TOKEN\"",
            format!(
                "  Streams ask for a token: with \"tenant_id\": \"{TENANT}\" and \"scope\": \"event:read:{TENANT}\", for example.\n\n"
            ),
        ),
        false => ("curl -N", String::new()),
    };
    format!(
        "
  Tailrace {version} · demo

  {pages}
  Metrics   http://{admin}/metrics

{token}  All of one tenant:
    {curl} {base}/t/{TENANT}/events

  The last ten orders over 100, with key, headers and offset, then what comes:
    {curl} '{base}/t/{TENANT}/events?topic=orders&where=value.total%3E100&from=-10&envelope=record'

  Resume where another connection was cut; nothing is lost, nothing comes twice:
    {curl} -H 'Last-Event-ID: {id}' '{base}/t/{TENANT}/events?topic=orders'

  Ctrl-C ends it.

",
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = taken.local_addr().expect("bound").to_string();
        assert!(is_taken(&address));
        drop(taken);
        assert!(!is_taken(&address) && !is_taken("not an address"));
    }

    #[test]
    fn the_banner_has_the_console_and_three_lines_to_try() {
        let with = |doors| {
            let admin = "127.0.0.1:9464".parse().expect("an address");
            banner("https://127.0.0.1:8080", admin, "AbC", (doors, true))
        };
        let banner = with(Doors { console: true, tokens: false });
        assert!(banner.contains("https://127.0.0.1:8080/\n") && banner.contains("--listen"));
        assert_eq!(banner.matches("curl -N").count(), 3);
        assert!(banner.contains("-H 'Last-Event-ID: AbC'") && !banner.contains("Bearer"));
        let banner = with(Doors { console: false, tokens: true });
        assert!(banner.contains("TAILRACE_CONSOLE=on") && !banner.contains("/demo/"));
        assert_eq!(banner.matches("Bearer $TOKEN").count(), 3);
    }
}
