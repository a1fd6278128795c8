//! SIGTERM and SIGINT: the first signal starts a drain, the second ends the process at once. SIGHUP has files read again, where
//! there are any; else it ends the process, as it does by default when a terminal is closed.

use anyhow::Context as _;
use tailrace_web::Reload;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// By convention of shells, a process ended by signal n exits with 128 + n.
const SIGNALLED: i32 = 128;

pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches signals from here on.
    pub(crate) fn catch() -> anyhow::Result<Signals> {
        let catch = |kind| signal(kind).context("catch signals");
        Ok(Signals { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// The next signal. Cancel-safe.
    pub(crate) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }

    /// Waits for the first signal, and spawns a task that ends the process at the second one, without waiting for the drain.
    pub(crate) async fn first(mut self) {
        let kind = self.next().await;
        tracing::info!(signal = name(kind), "draining; a second signal stops at once");
        tokio::spawn(async move {
            let kind = self.next().await;
            tracing::warn!(signal = name(kind), "stopped without a drain");
            #[allow(
                clippy::disallowed_methods,
                reason = "what is open is left as it is: that was asked for"
            )]
            std::process::exit(SIGNALLED + kind.as_raw_value());
        });
    }
}

/// The hangup signals, by which operators ask for files to be read again.
pub(crate) struct Hangups(Signal);

impl Hangups {
    /// Catches them from here on.
    pub(crate) fn catch() -> anyhow::Result<Hangups> {
        Ok(Hangups(signal(SignalKind::hangup()).context("catch SIGHUP")?))
    }

    /// Asks at each signal, for ever.
    pub(crate) async fn each(mut self, reload: Reload) {
        while self.0.recv().await.is_some() {
            tracing::info!(signal = "SIGHUP", "files are read again");
            reload.ask();
        }
    }
}

fn name(kind: SignalKind) -> &'static str {
    if kind == SignalKind::interrupt() { "SIGINT" } else { "SIGTERM" }
}
