//! The server: connects the packages, starts them, and drains them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tailrace_bridge::{Bridge, BridgeConfig};
use tailrace_consumer::{Kafka, Running};
use tailrace_web::{Reload, Web};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::config::{Plan, Refusal};
use crate::signals::{Hangups, Signals};
use crate::{memory, recorder};

/// How often rings are trimmed, gauges are set, and histograms are updated.
const TICK: Duration = Duration::from_secs(1);
/// How many ticks pass between two returns of free memory to the system.
const GIVE_BACK: u32 = 2;

/// A server that has bound its addresses and reads Kafka.
pub(crate) struct Server {
    pub(crate) bridge: Bridge,
    web: Web,
    kafka: Running,
    ticker: JoinHandle<()>,
}

/// Serves until a signal has drained everything.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let signals = Signals::catch()?;
    let summary = Summary::of(&plan);
    let doubts = plan.web.doubts();
    let hangups = plan.web.reads_files_again().then(Hangups::catch).transpose()?;
    let server = Server::start(plan).await?;
    let _reloading = hangups.map(|hangups| tokio::spawn(hangups.each(server.reload())));
    summary.log(&server);
    doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    let kafka = server.run_until(signals.first()).await;
    // This also leaves and deletes the consumer group.
    kafka.stop().await;
    tracing::info!("stopped");
    Ok(())
}

impl Server {
    /// Binds first, then begins to read, so that a port in use leaves no consumer group behind.
    pub(crate) async fn start(plan: Plan) -> anyhow::Result<Server> {
        let prometheus = recorder::install()?;
        let rules = plan.kafka.rules.clone();
        let memory = plan.process.records();
        let kafka = Kafka::new(plan.kafka).map_err(|error| Refusal::kafka(&error))?;
        let (linger, privacy) = (plan.process.linger, plan.web.privacy());
        let config = BridgeConfig { memory, rules: rules.clone(), linger, privacy };
        let bridge = Bridge::new(config, kafka.source());
        let web = Web::bind(plan.web, bridge.clone(), rules, prometheus.clone()).await.context("listen")?;
        let ticker = tokio::spawn(tick(bridge.clone(), prometheus));
        let kafka = kafka.start(bridge.clone());
        Ok(Server { bridge, web, kafka, ticker })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.web.address()
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.web.admin_address()
    }

    pub(crate) fn reload(&self) -> Reload {
        self.web.reload()
    }

    /// Serves until `shutdown`, then ends all streams. The returned consumer still reads Kafka until the caller stops it.
    pub(crate) async fn run_until(self, shutdown: impl Future<Output = ()>) -> Running {
        self.web.run(shutdown).await;
        self.ticker.abort();
        // Returns an error, as the task was aborted.
        let _ = self.ticker.await;
        self.kafka
    }
}

/// The upkeep of the process.
async fn tick(bridge: Bridge, prometheus: PrometheusHandle) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 1_u32.. {
        clock.tick().await;
        bridge.tick();
        prometheus.run_upkeep();
        if count.is_multiple_of(GIVE_BACK) {
            memory::give_back();
        }
    }
}

/// The content of the log line at start-up.
struct Summary {
    topics: String,
    group: String,
    auth: &'static str,
    scheme: &'static str,
}

impl Summary {
    fn of(plan: &Plan) -> Summary {
        Summary {
            topics: plan.kafka.topics.to_string(),
            group: plan.kafka.group(),
            auth: if plan.web.is_open() { "none" } else { "jwt" },
            scheme: plan.web.scheme(),
        }
    }

    fn log(&self, server: &Server) {
        tracing::info!(
            listen = %server.address(),
            scheme = self.scheme,
            admin = %server.admin_address(),
            topics = self.topics,
            auth = self.auth,
            group = self.group,
            version = env!("CARGO_PKG_VERSION"),
            commit = env!("GIT_COMMIT"),
            "serving"
        );
    }
}
