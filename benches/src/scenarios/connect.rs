//! What checking a token adds to the opening of a stream.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::process::cpu;
use crate::producer::tenant;
use crate::scenario::{Scenario, Stage};
use crate::server::Setting;

const TENANT: &str = "crowd";
const SECRET: &str = "a secret that is long enough for HS256";
/// The `kid` of the key.
const KEY_ID: &str = "bench";
/// How long a token is valid: much longer than a run takes.
const VALID: Duration = Duration::from_secs(3600);
/// The timeout until all clients have a stream.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Connect;

impl Scenario for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn title(&self) -> &'static str {
        "Opening a stream with a token"
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (runs, clients) = stage.pick((5, 10_000), (1, 10_000));
        let es256 = Es256::new()?;
        let set = es256.set.path().to_str().context("a path is UTF-8")?;
        let hs256 = EncodingKey::from_secret(SECRET.as_bytes());
        let hs256 = sign(&Header::default(), &hs256)?;
        let mut point = Point::new("");
        for run in 1..=runs {
            let open = |what: &str, settings: &[Setting<'_>], token: &str| {
                stage.say(format!("run {run} of {runs}: {what}"));
                cpu_of_each(stage, settings, token, clients)
            };
            let anonymous = open("no token", &[], "")?;
            let secret = open("HS256", &[("TAILRACE_AUTH", "jwt"), ("TAILRACE_JWT_SECRET", SECRET)], &hs256)?;
            let key_set =
                open("ES256", &[("TAILRACE_AUTH", "jwt"), ("TAILRACE_JWT_JWKS_FILE", set)], &es256.token)?;
            point.add("server CPU without a token, µs", 1, anonymous);
            point.add("HS256, µs", 1, secret);
            point.add("ES256 from a key set, µs", 1, key_set);
            point.add_target("HS256 / no token, ×", 2, 1.3, secret / anonymous);
            point.add_target("ES256 / no token, ×", 2, 2.5, key_set / anonymous);
        }
        let extent =
            format!("{runs} runs: {clients} clients connect for the first time, each with one stream");
        Ok(Report { extent, points: vec![point] })
    }
}

/// The server's CPU for each client that connects and is synced, in µs. Without a token, the server asks for none.
fn cpu_of_each(stage: &Stage, settings: &[Setting<'_>], token: &str, count: usize) -> Result<f64> {
    let topic = stage.topic(1)?;
    let server = stage.server(&topic, settings)?;
    let path = format!("/t/{}/events", tenant(TENANT, 0));
    let header = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let mut clients = Clients::new(server.address, move |_| format!("{path}\n{header}"))?;
    // The first streams touch what all others use.
    clients.add(count / 10)?;
    let used = cpu(server.pid())?;
    clients.add(count)?;
    let all = clients.run_until(PATIENCE, |seen| seen.synced >= count + count / 10)?;
    ensure!(all, "{} streams are there after {PATIENCE:?}\n{}", clients.seen.synced, server.said());
    let used = cpu(server.pid())? - used;
    server.stop();
    Ok(used.as_secs_f64() * 1e6 / count as f64)
}

fn sign(header: &Header, key: &EncodingKey) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let tenant = tenant(TENANT, 0);
    let claims = json!({
        "tenant_id": tenant, "scope": format!("event:read:{tenant}"), "exp": (now + VALID).as_secs(), "sub": "bench",
    });
    jsonwebtoken::encode(header, &claims, key).context("sign a token")
}

/// A key on P-256: its key set, and a token.
struct Es256 {
    set: NamedTempFile,
    token: String,
}

impl Es256 {
    fn new() -> Result<Es256> {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
        let private = private.map_err(|error| anyhow!("generate a key: {error}"))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref());
        let pair = pair.map_err(|error| anyhow!("read a key: {error}"))?;
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        let set = NamedTempFile::new().context("create a file")?;
        std::fs::write(set.path(), json!({ "keys": [key] }).to_string()).context("write a key set")?;
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        let token = sign(&header, &EncodingKey::from_ec_der(private.as_ref()))?;
        Ok(Es256 { set, token })
    }
}
