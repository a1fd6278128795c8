//! The limit of open files: every stream holds one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside streams: listeners, brokers, epolls, and connections that have not become streams yet.
const BESIDE_STREAMS: u64 = 1024;

/// Raises the limit so that `streams` can be open at once, as far as the system lets it, and warns where that is not enough.
pub(crate) fn raise_open_files(streams: u64) {
    let wanted = streams.saturating_add(BESIDE_STREAMS);
    let before = getrlimit(Resource::Nofile);
    // Root may lift the hard limit as well; everybody else only the soft one up to it.
    let lifted = Rlimit { current: Some(wanted), maximum: before.maximum.map(|hard| hard.max(wanted)) };
    if reaches(before.current, wanted) || setrlimit(Resource::Nofile, lifted).is_ok() {
        return;
    }
    let _ = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    let limit = getrlimit(Resource::Nofile).current;
    if !reaches(limit, wanted) {
        let limit = limit.unwrap_or(u64::MAX);
        tracing::warn!(limit, wanted, streams, "the limit of open files is too low for TAILRACE_MAX_STREAMS; raise it (ulimit -n)");
    }
}

/// No limit reaches everything.
fn reaches(limit: Option<u64>, wanted: u64) -> bool {
    limit.is_none_or(|limit| limit >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_what_streams_need() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let streams = hard.map_or(4096, |hard| hard.saturating_sub(BESIDE_STREAMS).min(4096));
        raise_open_files(streams);
        assert!(reaches(getrlimit(Resource::Nofile).current, streams + BESIDE_STREAMS) || hard < Some(BESIDE_STREAMS));
    }
}
