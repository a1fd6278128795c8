//! Streams over TLS: exact whatever happens to the connection or the certificate.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustls::version::{TLS12, TLS13};

use crate::pki::Files;
use crate::way::{AUTHORITY, Ask, Reader, Way};
use crate::{alone, beside_others, connect, eventually, serve};

const TAKEN: &str = "tailrace_tls_reloads_total{result=\"taken\"}";
const REFUSED: &str = "tailrace_tls_reloads_total{result=\"refused\"}";

/// Cut at any byte, while the certificate is replaced, and once by a pair that does not fit: each record once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_random_cuts_and_new_certificates_each_record_comes_once() {
    const RECORDS: usize = 3000;
    let _alone = alone().await;
    let files = Files::of(&AUTHORITY.issue());
    let mut server = serve(&files, &["--heartbeat", "100ms"]).await;
    let (address, mut random) = (server.address, StdRng::seed_from_u64(17));
    let (taken, refused) = (server.metric(TAKEN).await, server.metric(REFUSED).await);
    let new = AUTHORITY.issue();
    let mut first = Reader::open(Way::Tls, address, &Ask::of("acme")).await;
    let mut clients = Vec::new();
    for seed in 0..6 {
        let mut reader = Reader::open(Way::Tls, address, &Ask::of("acme")).await;
        let id = reader.next().await.unwrap().id.unwrap();
        clients.push(tokio::spawn(reads_with_cuts(seed, reader, id, address, RECORDS)));
    }
    for n in 0..RECORDS {
        server.append("acme", &record(n));
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..70))).await;
        }
        if n == 0 {
            files.put_cert(&new.cert);
        }
        if n == RECORDS / 2 {
            eventually("the wrong pair is refused", async || server.metric(REFUSED).await == refused + 1.0)
                .await;
            files.put_key(&new.key);
        }
    }
    eventually("the new pair is taken", async || server.metric(TAKEN).await == taken + 1.0).await;
    let cuts: usize = futures::future::try_join_all(clients).await.unwrap().into_iter().sum();
    assert!(cuts > 30, "only {cuts} cuts");
    // The first one was there all the time: what it began with is what it keeps.
    for n in 0..RECORDS {
        assert_eq!(first.next_record().await.data, Some(record(n)));
    }
}

fn record(n: usize) -> String {
    format!("{n} {}", "x".repeat(n * 37 % 3000))
}

/// Reads, cuts the connection at random, and goes on with the last id; returns the number of cuts.
async fn reads_with_cuts(
    seed: u64,
    mut reader: Reader,
    mut id: String,
    address: std::net::SocketAddr,
    records: usize,
) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut next, mut cuts) = (0, 0);
    while next < records {
        reader.part = random.random_range(1..20_000);
        for _ in 0..random.random_range(1..120) {
            let block = reader.next().await.unwrap_or_else(|| panic!("ended: {:?}", reader.end));
            assert!(!block.is("tailrace.gap"), "{block:?}");
            if block.event.is_none() && block.data.is_some() {
                assert_eq!(block.data, Some(record(next)));
                next += 1;
            }
            id = block.id.unwrap_or(id);
            if next == records {
                return cuts;
            }
        }
        cuts += 1;
        if cuts % 2 == 0 {
            reader.reset().await
        } else {
            reader.close().await
        }
        reader = Reader::open(Way::Tls, address, &Ask::of("acme").last_event_id(&id)).await;
    }
    cuts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_connections_get_the_new_certificate_and_a_wrong_pair_is_kept_out() {
    let _alone = alone().await;
    let old = AUTHORITY.issue();
    let files = Files::of(&old);
    let mut server = serve(&files, &[]).await;
    let mut reader = Reader::open(Way::Tls, server.address, &Ask::of("acme")).await;
    reader.next().await.unwrap();
    let (taken, refused) = (server.metric(TAKEN).await, server.metric(REFUSED).await);
    let config = Arc::new(AUTHORITY.client(&[&TLS13, &TLS12], None));
    let shown = async || {
        let config = Arc::new((*config).clone());
        let socket = connect(server.address, &config).await.unwrap();
        socket.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let new = AUTHORITY.issue_until(3000);
    files.put_cert(&new.cert);
    eventually("the wrong pair is refused", async || server.metric(REFUSED).await == refused + 1.0).await;
    assert_eq!(shown().await, old.cert_der());
    files.put_key(&new.key);
    eventually("the new pair is taken", async || server.metric(TAKEN).await == taken + 1.0).await;
    // Without a ticket: a resumed session shows the certificate that it began with.
    let fresh = Arc::new(AUTHORITY.client(&[&TLS13], None));
    let socket = connect(server.address, &fresh).await.unwrap();
    assert_eq!(socket.get_ref().1.peer_certificates().unwrap(), [new.cert_der()]);
    let expiry = server.metric("tailrace_tls_certificate_expiry_timestamp_seconds").await;
    assert_eq!(expiry, 32_503_680_000.0);
    server.append("acme", "still there");
    assert_eq!(reader.next_record().await.data.as_deref(), Some("still there"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_replaces_its_keys_reads_on() {
    let _beside = beside_others().await;
    let files = Files::of(&AUTHORITY.issue());
    let mut server = serve(&files, &["--heartbeat", "100ms"]).await;
    let mut reader = Reader::open(Way::Tls, server.address, &Ask::of("acme")).await;
    reader.next().await.unwrap();
    for n in 0..25 {
        reader.replace_keys().await;
        server.append("acme", &record(n));
        assert_eq!(reader.next_record().await.data, Some(record(n)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_clients_gets_everything() {
    const CLIENTS: usize = 300;
    let _beside = beside_others().await;
    let files = Files::of(&AUTHORITY.issue());
    let mut server = serve(&files, &[]).await;
    let mut readers = Vec::new();
    for n in 0..CLIENTS {
        let way = if n % 10 == 0 { Way::Http2Tls } else { Way::Tls };
        let mut reader = Reader::open(way, server.address, &Ask::of("acme")).await;
        reader.next().await.unwrap();
        readers.push(reader);
    }
    for n in 0..50 {
        server.append("acme", &record(n));
    }
    for reader in &mut readers {
        for n in 0..50 {
            assert_eq!(reader.next_record().await.data, Some(record(n)));
        }
    }
}

/// By a client that shares nothing with the product, with both protocols and versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_reads_a_stream() {
    let _beside = beside_others().await;
    let files = Files::of(&AUTHORITY.issue());
    files.put_ca(&AUTHORITY.pem());
    let mut server = serve(&files, &["--heartbeat", "100ms"]).await;
    server.append("acme", "by curl");
    for flags in [["--http1.1", "--tlsv1.3"], ["--http2", "--tlsv1.3"], ["--http1.1", "--tls-max=1.2"]] {
        let url = format!("https://localhost:{}/t/acme/events?from=earliest", server.address.port());
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "--max-time", "2", "--cacert"]).arg(files.path("ca.pem"));
        curl.args(flags.iter().flat_map(|flag| flag.split('='))).arg(url);
        let Ok(output) = tokio::task::spawn_blocking(move || curl.output()).await.unwrap() else {
            return println!("not looked at: there is no curl here");
        };
        let (said, error) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            said.contains("data: by curl\n") && said.contains("tailrace.synced"),
            "{flags:?}: {said}{error}"
        );
    }
}
