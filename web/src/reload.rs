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

/// What is known of a file that is looked at again and again. Whoever replaces a file may have written half of it, so a change is
/// taken once two looks have found the same.
pub(crate) struct Settling<T> {
    /// What was taken or refused last.
    known: T,
    found: T,
}

impl<T: Clone + PartialEq> Settling<T> {
    pub(crate) fn new(known: T) -> Settling<T> {
        Settling { found: known.clone(), known }
    }

    /// Whether the content is to be taken: it is not known, and the look before has found it, too. `was_asked`: whoever asks has
    /// finished writing.
    pub(crate) fn is_new(&mut self, content: T, was_asked: bool) -> bool {
        let is_settled = std::mem::replace(&mut self.found, content.clone()) == content || was_asked;
        is_settled && std::mem::replace(&mut self.known, content.clone()) != content
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_two_looks_have_found_the_same() {
        let (old, half, whole) = (1, 2, 3);
        let mut settling = Settling::new(old);
        assert!(!settling.is_new(old, false));
        assert!(!settling.is_new(half, false), "it may be half of it");
        assert!(!settling.is_new(whole, false));
        assert!(settling.is_new(whole, false));
        assert!(!settling.is_new(whole, false), "it is known");
        assert!(settling.is_new(old, true), "whoever asks has finished");
        assert!(
            !settling.is_new(half, false) && !settling.is_new(old, false) && !settling.is_new(old, false)
        );
    }
}
