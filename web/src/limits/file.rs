//! `TAILRACE_LIMITS_FILE` while the server runs: it is read again, and its limits are applied if all of it is right.

use std::sync::Arc;

use super::Limits;
use crate::audit;
use crate::metrics::Metrics;
use crate::reload::{Looks, Settling};
use crate::settings::{FileError, LimitsFile, TenantLimits};

/// The file, as it was when its limits were applied.
pub(crate) struct Watched {
    applied: LimitsFile,
    /// What the limits of a tenant are that the file does not name.
    usual: TenantLimits,
    /// The last error, if the file is wrong or missing now: each is said once.
    error: Option<FileError>,
    content: Settling<Result<String, FileError>>,
}

/// The result of a look at the file.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Unchanged,
    /// It says something else, which is to be applied.
    Changed,
    /// It was wrong, and is again what was applied.
    Restored,
    /// It is wrong: what was applied last still holds.
    Wrong,
}

const VARIABLE: &str = "TAILRACE_LIMITS_FILE";

impl Watched {
    pub(crate) fn new(applied: LimitsFile, usual: TenantLimits) -> Watched {
        let content = Settling::new(Ok(applied.text.clone()));
        Watched { applied, usual, error: None, content }
    }

    /// Looks at the file for ever.
    pub(crate) async fn watch(mut self, mut looks: Looks, limits: Arc<Limits>, metrics: Arc<Metrics>) {
        loop {
            let was_asked = looks.next().await;
            let (path, usual) = (self.applied.path.clone(), self.usual);
            let read = tokio::task::spawn_blocking(move || LimitsFile::read(&path, &usual)).await;
            // The task only fails if it panics, which was reported then.
            let Ok(read) = read else { continue };
            self.note(read, was_asked, &limits, &metrics);
        }
    }

    fn note(
        &mut self,
        read: Result<LimitsFile, FileError>,
        was_asked: bool,
        limits: &Limits,
        metrics: &Metrics,
    ) {
        let seen = self.look(read, was_asked);
        let file = &self.applied.path;
        match (seen, &self.error) {
            (Seen::Changed, _) => {
                limits.apply(self.applied.tenants.clone());
                metrics.limits_file("ok");
                audit::reloaded(VARIABLE, was_asked, Ok(()));
                tracing::info!(file, tenants = self.applied.tenants.len(), "the limits file was read again");
            }
            (Seen::Restored, _) => {
                metrics.limits_file("ok");
                audit::reloaded(VARIABLE, was_asked, Ok(()));
                tracing::info!(file, "the limits file is again what it was, and its limits hold");
            }
            (Seen::Wrong, Some(error)) => {
                metrics.limits_file(error.outcome());
                audit::reloaded(VARIABLE, was_asked, Err(&error.to_string()));
                tracing::error!(file, %error, "the limits file was refused; the limits that it had before still hold");
            }
            (_, None) if was_asked => tracing::info!(file, "the limits file has not changed"),
            (_, Some(error)) if was_asked => {
                tracing::error!(file, %error, "the limits file is still refused; the limits that it had before still hold");
            }
            _ => {}
        }
    }

    fn look(&mut self, read: Result<LimitsFile, FileError>, was_asked: bool) -> Seen {
        let content = read.as_ref().map(|file| file.text.clone()).map_err(FileError::clone);
        if !self.content.is_new(content, was_asked) {
            return Seen::Unchanged;
        }
        match read {
            Ok(file) => {
                let had_error = self.error.take().is_some();
                if file.text != self.applied.text {
                    self.applied = file;
                    return Seen::Changed;
                }
                if had_error { Seen::Restored } else { Seen::Unchanged }
            }
            Err(error) => {
                self.error = Some(error);
                Seen::Wrong
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse_limits;

    fn file(text: &str) -> Result<LimitsFile, FileError> {
        let tenants = parse_limits(text, &TenantLimits::default())?;
        Ok(LimitsFile { path: "limits.toml".to_owned(), text: text.to_owned(), tenants })
    }

    fn missing() -> Result<LimitsFile, FileError> {
        Err(FileError::Missing)
    }

    const FIRST: &str = "[tenant.acme]\nmax_streams = 5\n";
    const SECOND: &str = "[tenant.acme]\nmax_streams = 7\n";
    const WRONG: &str = "[tenant.acme]\nmax_streams = 7\nmax_stream = 8\n";

    fn watched() -> Watched {
        Watched::new(file(FIRST).unwrap(), TenantLimits::default())
    }

    #[test]
    fn a_wrong_file_is_refused_whole_and_said_once_and_a_right_one_is_taken() {
        let mut watched = watched();
        let mut look = |read: Result<LimitsFile, FileError>| {
            watched.look(read.clone(), false);
            let seen = watched.look(read, false);
            (seen, watched.applied.text.clone())
        };
        let first = |seen| (seen, FIRST.to_owned());
        assert_eq!(look(file(FIRST)), first(Seen::Unchanged));
        assert_eq!(look(file(WRONG)), first(Seen::Wrong));
        assert_eq!(look(file(WRONG)), first(Seen::Unchanged));
        assert_eq!(look(missing()), first(Seen::Wrong));
        assert_eq!(look(missing()), first(Seen::Unchanged));
        assert_eq!(look(file(FIRST)), first(Seen::Restored));
        assert_eq!(look(file(SECOND)), (Seen::Changed, SECOND.to_owned()));
        assert_eq!(look(file(SECOND)), (Seen::Unchanged, SECOND.to_owned()));
    }

    #[test]
    fn a_file_that_is_half_written_is_not_taken() {
        let mut watched = watched();
        // The beginning of a file may be a right one, with another number.
        let half = &"[tenant.acme]\nmax_streams = 500\n"[.."[tenant.acme]\nmax_streams = 50".len()];
        assert_eq!(watched.look(file(half), false), Seen::Unchanged);
        assert_eq!(watched.look(file(SECOND), false), Seen::Unchanged);
        assert_eq!(watched.applied.text, FIRST);
        assert_eq!(watched.look(file(SECOND), false), Seen::Changed);
    }

    #[test]
    fn who_asks_has_finished_writing() {
        let mut watched = watched();
        assert_eq!(watched.look(file(SECOND), true), Seen::Changed);
        assert_eq!(watched.look(file(WRONG), true), Seen::Wrong);
        assert_eq!(watched.applied.text, SECOND);
    }
}
