//! The server: wiring of the packages, start-up, and drain.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use tailrace_bridge::{Bridge, BridgeConfig};
use tailrace_consumer::{Kafka, Running};
use tailrace_web::Web;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::config::{Plan, Refusal};
use crate::signals::Signals;
use crate::{memory, recorder};

/// How often rings are trimmed, gauges set, and histograms folded.
const TICK: Duration = Duration::from_secs(1);
/// Ticks after which free memory is given back.
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
    let server = Server::start(plan).await?;
    summary.log(&server);
    doubts.iter().for_each(|doubt| tracing::warn!("{doubt}"));
    let kafka = server.run_until(signals.first()).await;
    // The consumer group is left and deleted.
    kafka.stop().await;
    tracing::info!("stopped");
    Ok(())
}

impl Server {
    /// Binds, then begins to read: a port that is taken leaves no consumer group behind.
    pub(crate) async fn start(plan: Plan) -> anyhow::Result<Server> {
        let prometheus = recorder::install()?;
        let rules = plan.kafka.rules.clone();
        let memory = plan.process.records();
        let kafka = Kafka::new(plan.kafka).map_err(|error| Refusal::kafka(&error))?;
        let config = BridgeConfig { memory, rules: rules.clone(), linger: plan.process.linger };
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

    /// Serves until `shutdown`, then ends all streams. The reading of Kafka goes on for its owner to stop.
    pub(crate) async fn run_until(self, shutdown: impl Future<Output = ()>) -> Running {
        self.web.run(shutdown).await;
        self.ticker.abort();
        // Cancelled, as asked.
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

/// What one line at start-up says.
struct Summary {
    topics: String,
    group: String,
    auth: &'static str,
}

impl Summary {
    fn of(plan: &Plan) -> Summary {
        Summary {
            topics: plan.kafka.topics.to_string(),
            group: plan.kafka.group(),
            auth: if plan.web.is_open() { "none" } else { "jwt" },
        }
    }

    fn log(&self, server: &Server) {
        tracing::info!(
            listen = %server.address(),
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
