//! Files that are read again while the server runs: regularly, and when the operator asks for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// How often files are looked at. By their content: in Kubernetes a file of a ConfigMap is a link to a link that is replaced,
/// and neither its time nor its size need differ.
const LOOK: Duration = Duration::from_secs(2);

/// Asks for all files to be read again at once. Clones ask the same server.
#[derive(Clone, Debug)]
pub struct Reload(Arc<watch::Sender<()>>);

/// When to look at a file.
pub(crate) struct Looks(watch::Receiver<()>);

impl Reload {
    pub(crate) fn new() -> Reload {
        Reload(Arc::new(watch::Sender::new(())))
    }

    /// Asks for it.
    pub fn ask(&self) {
        self.0.send_replace(());
    }

    pub(crate) fn looks(&self) -> Looks {
        Looks(self.0.subscribe())
    }
}

impl Looks {
    /// Waits for the next look. True: it was asked for.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => false,
            // The sender lives as long as the server; if it were gone, this waits for the time alone.
            Ok(()) = self.0.changed() => true,
        }
    }
}
