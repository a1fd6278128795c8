//! Faults under TLS and tokens: cuts at any byte of TCP, and certificates and keys that are replaced meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use tempfile::NamedTempFile;

use crate::access::{Answer, Counted};
use crate::client::Habit;
use crate::eventually;
use crate::issuer::{Issuer, Token};
use crate::ledger::tenant_name;
use crate::pki::{Issued, Pki};
use crate::scene::{Scene, Stage};
use crate::trial::Fault;

const CERTIFICATES: &str = "tailrace_tls_reloads_total";
const KEYS: &str = "tailrace_key_reloads_total";
/// The timeout until a changed file is taken or refused: replicas look every two seconds, and decide at the second look.
const LOOKS: Duration = Duration::from_secs(10);
/// Lifetime of tokens that do not expire in a trial, in seconds.
const LONG: u64 = 3_600;
/// Longer than `TAILRACE_JWT_LEEWAY` in [`rotated_keys`], during which a token is still accepted.
const LEEWAY: Duration = Duration::from_secs(3);

pub(super) fn faults() -> Vec<Fault> {
    let two = || Stage { replicas: 2, is_tls: true, tokens: Some(LONG..=LONG), ..Stage::default() };
    let habits = vec![Habit::Cut, Habit::Cut, Habit::HalfClosed, Habit::Steady, Habit::Slow(5_000)];
    let expiring = [("TAILRACE_JWT_LEEWAY", "2s"), ("TAILRACE_TOKEN_NOTICE", "1s")];
    vec![
        Fault::new(
            "tls-cut",
            "TLS, cut within handshakes and records; one of two replicas after the other: SIGKILL, and started again",
            |scene| Box::pin(cut(scene)),
        )
        .on(Stage { clients: 40, habits, ..two() }),
        Fault::new(
            "tls-certificate-rotated",
            "TLS: the certificate replaced five times, once with the key late; wrong pairs between",
            |scene| Box::pin(rotated_certificate(scene)),
        ).long()
        .on(two())
        .keeps_streams(),
        Fault::new(
            "tls-keys-rotated",
            "TLS: tokens of 3 to 7 s; the keys of tokens replaced in order, and at once as after a theft",
            |scene| Box::pin(rotated_keys(scene)),
        )
        .on(Stage {
            tokens: Some(3..=7),
            env: expiring.map(|(name, value)| (name, value.to_owned())).to_vec(),
            ..two()
        }),
        Fault::new(
            "tls-seals-rotated",
            "TLS: event ids sealed for the first time, then by another key, in rolling restarts",
            |scene| Box::pin(rotated_seals(scene)),
        )
        .on(two())
        .long(),
    ]
}

async fn cut(scene: &mut Scene) -> Result<()> {
    for round in 0..4 {
        let replica = round % scene.bridges.len();
        scene.bridges[replica].kill();
        scene.breathe().await;
        scene.bridges[replica].start().await;
        scene.breathe().await;
    }
    let counted = &scene.access.counted;
    for (counter, what) in [
        (&counted.resumed, "no handshake was resumed"),
        (&counted.cut_handshakes, "no handshake was cut"),
        (&counted.cut, "no connection was cut after its handshake"),
    ] {
        ensure!(Counted::get(counter) > 0, what);
    }
    scene.note(scene.access.note());
    Ok(())
}

async fn rotated_certificate(scene: &mut Scene) -> Result<()> {
    let first = pki(scene)?.certificate()?;
    serves(scene, &first).await?;
    let second = pki(scene)?.issue(0)?;
    put(scene, &second, &second.key)?;
    reloaded(scene, CERTIFICATES, "taken", 1).await;
    serves(scene, &second.certificate).await?;

    // A key of another certificate.
    let third = pki(scene)?.issue(0)?;
    put(scene, &third, &second.key)?;
    reloaded(scene, CERTIFICATES, "refused", 1).await;
    serves(scene, &second.certificate).await?;
    scene.breathe().await;
    pki(scene)?.put_key(&third.key)?;
    reloaded(scene, CERTIFICATES, "taken", 2).await;
    serves(scene, &third.certificate).await?;

    // In two steps, by another authority: the key is so late that the certificate without it is looked at.
    let fourth = pki(scene)?.issue(1)?;
    pki(scene)?.put_certificate(&fourth.pem)?;
    reloaded(scene, CERTIFICATES, "refused", 2).await;
    serves(scene, &third.certificate).await?;
    pki(scene)?.put_key(&fourth.key)?;
    reloaded(scene, CERTIFICATES, "taken", 3).await;
    serves(scene, &fourth.certificate).await?;

    // Half of a certificate, as when a disk is full.
    let fifth = pki(scene)?.issue(0)?;
    pki(scene)?.put_certificate(&fifth.pem[..fifth.pem.len() / 2])?;
    reloaded(scene, CERTIFICATES, "refused", 3).await;
    serves(scene, &fourth.certificate).await?;
    put(scene, &fifth, &fifth.key)?;
    reloaded(scene, CERTIFICATES, "taken", 4).await;
    serves(scene, &fifth.certificate).await?;

    // A replica that starts reads what is there.
    let sixth = pki(scene)?.issue(1)?;
    put(scene, &sixth, &sixth.key)?;
    reloaded(scene, CERTIFICATES, "taken", 5).await;
    serves(scene, &sixth.certificate).await?;
    scene.breathe().await;
    ensure!(Counted::get(&scene.access.counted.resumed) > 0, "no handshake was resumed");
    scene.note(scene.access.note());
    Ok(())
}

fn put(scene: &Scene, issued: &Issued, key: &str) -> Result<()> {
    pki(scene)?.put_certificate(&issued.pem)?;
    pki(scene)?.put_key(key)
}

/// Whether all replicas serve with this certificate.
async fn serves(scene: &mut Scene, certificate: &CertificateDer<'_>) -> Result<()> {
    let token = token(scene);
    for port in ports(scene) {
        let answer = ask(scene, port, &token, "").await?;
        ensure!(answer.connection.status == 200, "a replica answers with {}", answer.connection.status);
        ensure!(
            answer.certificate.as_ref() == Some(certificate),
            "a replica serves with another certificate"
        );
    }
    Ok(())
}

async fn rotated_keys(scene: &mut Scene) -> Result<()> {
    let files = issuer(scene)?.files();
    scene.breathe().await;
    for round in 0..2 {
        let is_stolen = round == 1;
        let old = one_of_each_file(scene)?;
        issuer(scene)?.add().await?;
        reloaded(scene, KEYS, "taken", files * (2 * round + 1)).await;
        issuer(scene)?.move_on();
        match is_stolen {
            // No token of the old keys is in use any more.
            false => scene.wait(issuer(scene)?.longest_life() + LEEWAY).await,
            true => scene.breathe().await,
        }
        issuer(scene)?.remove_old()?;
        if is_stolen {
            scene.bridges.iter().for_each(|bridge| bridge.signal(Signal::HUP));
        }
        reloaded(scene, KEYS, "taken", files * (2 * round + 2)).await;
        let new = one_of_each_file(scene)?;
        for port in ports(scene) {
            for (tokens, status) in [(&new, 200), (&old, 401)] {
                for token in tokens {
                    let answer = ask(scene, port, token, "").await?;
                    let got = answer.connection.status;
                    ensure!(got == status, "round {round}: a token is answered with {got}, not {status}");
                }
            }
        }
        if !is_stolen {
            let refused = Counted::get(&scene.access.counted.unauthorized);
            ensure!(refused == 0, "{refused} tokens were refused, although each was valid");
        }
        scene.breathe().await;
    }
    for bridge in &scene.bridges {
        let refused = bridge.metric_of(KEYS, "result=\"refused\"").await;
        ensure!(refused == 0.0, "{refused} files were refused: they were not complete yet");
    }
    let counted = &scene.access.counted;
    ensure!(Counted::get(&counted.notices) > 0, "no stream got a notice");
    ensure!(Counted::get(&counted.expired) > 0, "no stream ended with its token");
    scene.note(scene.access.note());
    Ok(())
}

/// Tokens by the current keys, which do not expire in a trial.
fn one_of_each_file(scene: &Scene) -> Result<Vec<Option<Token>>> {
    let issuer = issuer(scene)?;
    (0..issuer.files() as u32).map(|file| issuer.token_for(LONG, file, &tenant_name(0)).map(Some)).collect()
}

/// Ids without a seal, then with one, then with another; replicas are terminated first, and killed the second time.
async fn rotated_seals(scene: &mut Scene) -> Result<()> {
    let file = NamedTempFile::new().context("create a file")?;
    let [first, second] =
        [0, 1].map(|_| format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()));
    let path = file.path().display().to_string();
    scene.bridges.iter_mut().for_each(|bridge| bridge.set("TAILRACE_ID_KEY_FILE", &path));
    let mut old = vec![an_id(scene).await?];
    for (old_form, new, is_killed) in [("unsealed", &first, false), (&first, &second, true)] {
        for lines in [format!("{old_form}\n{new}\n"), format!("{new}\n{old_form}\n"), format!("{new}\n")] {
            std::fs::write(file.path(), lines).context("write the keys of ids")?;
            for replica in 0..scene.bridges.len() {
                match is_killed {
                    true => scene.bridges[replica].kill(),
                    false => drop(scene.bridges[replica].terminate().await),
                }
                scene.bridges[replica].start().await;
            }
            // All clients come back, and get an id in the new form.
            scene.breathe().await;
            scene.breathe().await;
        }
        old.push(an_id(scene).await?);
    }
    let newest = old.pop().context("an id of the last key")?;
    ensure!(!is_unknown(scene, &newest).await?, "an id of the last key is unknown");
    for id in old {
        ensure!(is_unknown(scene, &id).await?, "an id of a key that was removed is known: {id}");
    }
    scene.note(scene.access.note());
    Ok(())
}

/// The last event id of a stream that was read for a moment.
async fn an_id(scene: &mut Scene) -> Result<String> {
    let (port, token) = (scene.bridges[0].port, token(scene));
    let Answer { mut source, mut connection, .. } = ask(scene, port, &token, "").await?;
    source.read_for(&mut connection, usize::MAX, Duration::from_secs(1)).await;
    ensure!(!source.last_event_id.is_empty(), "a stream without an id");
    Ok(source.last_event_id)
}

/// Whether a client that comes with this id is told that it is unknown.
async fn is_unknown(scene: &mut Scene, id: &str) -> Result<bool> {
    let (port, token) = (scene.bridges[0].port, token(scene));
    let Answer { mut source, mut connection, .. } = ask(scene, port, &token, id).await?;
    let (events, _) = source.read_for(&mut connection, usize::MAX, Duration::from_secs(1)).await;
    Ok(events.iter().any(|event| event.name == "tailrace.gap" && event.data.contains("\"unknown_id\"")))
}

/// Waits until each replica has taken or refused files so often since its start.
async fn reloaded(scene: &Scene, metric: &str, result: &str, times: usize) {
    let label = format!("result=\"{result}\"");
    for bridge in &scene.bridges {
        eventually(&format!("{metric}: {result} {times} times"), LOOKS, async || {
            (bridge.metric_of(metric, &label).await >= times as f64).then_some(())
        })
        .await;
    }
}

async fn ask(scene: &Scene, port: u16, token: &Option<Token>, id: &str) -> Result<Answer> {
    let path = format!("/t/{}/events?from=earliest&heartbeat=1s", tenant_name(0));
    scene.access.ask(port, &path, token.as_ref(), id).await
}

/// A token of the tenant that [`ask`] names.
fn token(scene: &mut Scene) -> Option<Token> {
    scene.access.clone().token(0, &tenant_name(0), &mut scene.random)
}

fn ports(scene: &Scene) -> Vec<u16> {
    scene.bridges.iter().map(|bridge| bridge.port).collect()
}

fn pki(scene: &Scene) -> Result<&Pki> {
    scene.access.pki.as_ref().context("the stage has TLS")
}

fn issuer(scene: &Scene) -> Result<&Issuer> {
    scene.access.issuer.as_ref().context("the stage has tokens")
}
