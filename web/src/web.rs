//! The two listeners together: bind, serve, drain.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use metrics_exporter_prometheus::PrometheusHandle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tailrace_bridge::{Bridge, TenantRules};

use crate::admin;
use crate::app::App;
use crate::drain::Drain;
use crate::limits::Limits;
use crate::limits::file::Watched;
use crate::metrics::Metrics;
use crate::news::News;
use crate::records::PageMemory;
use crate::registry::Registry;
use crate::reload::{Looks, Reload};
use crate::route;
use crate::server::{Server, StreamTransports};
use crate::settings::WebSettings;
use crate::tls::{Certificate, TlsFiles};
use crate::trace::Traces;
use crate::writer::Writers;

/// Connections that are not streams: refusals, the console, requests being read.
const SPARE_CONNECTIONS: usize = 1024;
/// The limit of connections where streams have no limit.
const MAX_CONNECTIONS: usize = 1 << 20;
/// Descriptors reserved for connections to Kafka, for operators, and for the files of the process itself; clients never get
/// them.
const KEPT_DESCRIPTORS: u64 = 256;
/// The limit of connections from operators and scrapers.
const ADMIN_CONNECTIONS: u32 = 64;
/// How often old entries of the rate limiters are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The bound web side.
pub struct Web {
    app: Arc<App>,
    server: Server,
    admin: Server,
    writers: Arc<Writers>,
    /// Looks at the certificate's files; never ends.
    watch: BoxFuture<'static, ()>,
    reload: Reload,
}

impl Web {
    /// Binds both addresses; requests are answered only once [`Web::run`] is called. The recorder's upkeep is left to the
    /// caller.
    ///
    /// # Errors
    /// If an address cannot be bound, or the certificate cannot be read; the message names it.
    pub async fn bind(
        settings: WebSettings,
        bridge: Bridge,
        rules: Arc<TenantRules>,
        prometheus: PrometheusHandle,
    ) -> io::Result<Web> {
        let descriptors = raise_descriptors();
        let metrics = Arc::new(Metrics::new());
        let limits = Limits::new(&settings.limits, Arc::clone(&metrics));
        let (listen, admin_listen) = (settings.listen, settings.admin.listen);
        let peers = Arc::clone(&settings.peers);
        let max_connections = connections(settings.limits.max_streams, descriptors);
        let registry = Registry::new();
        let traces = settings.traces.then(Traces::new);
        if settings.traces {
            bridge.tell_deliveries(Arc::new(Traces::new()));
        }
        let (drain, page_memory) = (Drain::new(), PageMemory::default());
        let app =
            Arc::new(App { settings, bridge, rules, limits, registry, drain, metrics, page_memory, traces });
        let news = News {
            status: app.bridge.health().watch_status(),
            phase: app.drain.watch(),
            revocations: app.registry.watch(),
            metrics: Arc::clone(&app.metrics),
        };
        let writers = Writers::start(news.clone(), app.settings.unread, app.settings.compression)?;
        let transports = StreamTransports { writers: Arc::clone(&writers), news, is_public: true };
        let reload = Reload::new();
        let (certificate, watch) = certificate(app.settings.tls.clone(), reload.looks())?;
        let router = route::router(Arc::clone(&app));
        let server = Server::bind(
            listen,
            router,
            transports.clone(),
            Arc::clone(&peers),
            certificate,
            max_connections,
        )
        .map_err(naming("TAILRACE_LISTEN", listen))?;
        let transports = StreamTransports { is_public: false, ..transports };
        let peers = Arc::new(peers.without_proxy_protocol());
        let admin = admin::router(app.bridge.clone(), prometheus, Arc::clone(&app.registry), &app.settings);
        let admin = Server::bind(admin_listen, admin, transports, peers, None, ADMIN_CONNECTIONS)
            .map_err(naming("TAILRACE_ADMIN_LISTEN", admin_listen))?;
        Ok(Web { app, server, admin, writers, watch, reload })
    }

    /// The address of the streams; where port 0 was asked for, it has the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The address for operators, with /healthz, /readyz and /metrics.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// With it, files that may change while the server runs are read again at once.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// Serves until `shutdown` resolves, then drains, then returns.
    ///
    /// While draining, /readyz answers 503 from the start; new streams are still accepted during the drain delay; then all
    /// streams are ended within the drain timeout, each with `tailrace.drain` and its id. Dropping the future only stops
    /// accepting.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Web { app, server, admin, writers, watch, reload } = self;
        let (streams, operators) = (server.shutdown_handle(), admin.shutdown_handle());
        let end = async {
            shutdown.await;
            // The listener still accepts during the drain: new requests are then refused, with the time of the next attempt.
            drain(&app).await;
        };
        tokio::select! {
            () = end => {}
            () = server.run() => {}
            () = admin.run() => {}
            () = sweep(&app) => {}
            () = app.settings.auth.watch(&reload) => {}
            () = watch_limits_file(&app, &reload) => {}
            () = writers.herald() => {}
            () = watch => {}
        }
        // Connections whose last block is written get a moment until their clients have read it.
        writers.finish();
        streams.finish().await;
        writers.stop();
        streams.stop().await;
        operators.finish().await;
        operators.stop().await;
    }
}

/// The certificate in use, and the future that watches its files.
fn certificate(
    files: Option<TlsFiles>,
    looks: Looks,
) -> io::Result<(Option<Arc<Certificate>>, BoxFuture<'static, ()>)> {
    let Some(files) = files else { return Ok((None, std::future::pending().boxed())) };
    let (certificate, watch) = Certificate::load(files, looks).map_err(io::Error::other)?;
    Ok((Some(certificate), watch.boxed()))
}

async fn drain(app: &App) {
    let settings = &app.settings;
    app.bridge.health().set_draining();
    tracing::info!(streams = app.limits.streams(), delay = ?settings.drain_delay, "draining");
    tokio::time::sleep(settings.drain_delay).await;
    if !app.drain.close(&app.limits, settings.drain_timeout, settings.drain_retry).await {
        tracing::warn!(
            streams = app.limits.streams(),
            "streams are cut: they did not end within the drain timeout"
        );
    }
}

async fn sweep(app: &App) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        app.limits.sweep();
    }
}

/// Never ends.
async fn watch_limits_file(app: &App, reload: &Reload) {
    let limits = &app.settings.limits;
    let Some(file) = limits.file.clone() else { return std::future::pending().await };
    let watched = Watched::new(file, limits.tenant);
    watched.watch(reload.looks(), Arc::clone(&app.limits), Arc::clone(&app.metrics)).await;
}

fn naming(variable: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> io::Error {
    move |error| {
        let next = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program has it: end that one, or choose another port",
            _ => "",
        };
        io::Error::new(error.kind(), format!("{variable}={address} cannot be used: {error}{next}"))
    }
}

/// The limit of connections. Some descriptors are kept from clients, so that reconnecting to Kafka and answering health checks
/// stay possible.
fn connections(max_streams: usize, descriptors: Option<u64>) -> u32 {
    let wanted =
        if max_streams == 0 { MAX_CONNECTIONS } else { max_streams.saturating_add(SPARE_CONNECTIONS) };
    let wanted = wanted.min(MAX_CONNECTIONS) as u64;
    let Some(limit) = descriptors else { return wanted as u32 };
    let possible = limit - KEPT_DESCRIPTORS.min(limit / 2);
    if possible < wanted {
        tracing::warn!(
            limit,
            connections = possible,
            wanted,
            "the limit of file descriptors is below TAILRACE_MAX_STREAMS; raise it (ulimit -n)"
        );
    }
    possible.min(wanted) as u32
}

/// Raises the limit of file descriptors to the maximum, since each stream takes one. Returns the limit; `None`: there is none.
fn raise_descriptors() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_never_get_all_descriptors() {
        assert_eq!(connections(100, None), 1_124);
        assert_eq!(connections(100_000, Some(1_048_576)), 101_024);
        assert_eq!(connections(100_000, Some(20_000)), 19_744);
        assert_eq!(connections(0, Some(1_024)), 768);
        assert_eq!(connections(0, Some(100)), 50);
    }
}
