//! What holds of every way out of a stream: over HTTP/1.1, HTTP/1.0 and HTTP/2, also over TLS; compressed; as JSON lines and over a WebSocket. One proof is one function, and is held against each of them.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/pki.rs"]
mod pki;

mod compressed;
mod cut;
mod drain;
mod fairness;
mod heartbeat;
mod pacing;
mod partial;
mod pipelined;
mod slow;
mod small_frames;
mod way;
mod web_socket;
mod writer;

use std::time::{Duration, Instant};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Metrics, memory and processor time are the process's: a test that looks at them runs alone.
static PROCESS: RwLock<()> = RwLock::const_new(());

pub(crate) async fn beside_others() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().await
}

pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    PROCESS.write().await
}

/// Waits until it holds, no longer than twenty seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: not within 20 s");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

/// A test for each of the ways, all with the same body.
macro_rules! on_every_way {
    ($name:ident, $proof:path) => {
        mod $name {
            use super::*;
            use crate::way::Way;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn by_a_writer_thread() {
                $proof(Way::Writer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_http_1_0() {
                $proof(Way::Http10).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_http_2() {
                $proof(Way::Http2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tls() {
                $proof(Way::Tls).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_http_2_and_tls() {
                $proof(Way::Http2Tls).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn as_lines() {
                $proof(Way::Lines).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_gzip() {
                $proof(Way::Gzip).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn with_zstd_over_http_2() {
                $proof(Way::Zstd).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_a_web_socket() {
                $proof(Way::WebSocket).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_a_web_socket_and_tls() {
                $proof(Way::WebSocketTls).await;
            }
        }
    };
}
pub(crate) use on_every_way;

/// The same for what HTTP/2 has no words for.
macro_rules! on_every_way_of_http_1 {
    ($name:ident, $proof:path) => {
        mod $name {
            use super::*;
            use crate::way::Way;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn by_a_writer_thread() {
                $proof(Way::Writer).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_http_1_0() {
                $proof(Way::Http10).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_tls() {
                $proof(Way::Tls).await;
            }
        }
    };
}
pub(crate) use on_every_way_of_http_1;
