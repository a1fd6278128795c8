//! An issuer of tokens: keys of every kind, and a server with its key set that can misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A key that signs, and what its public half looks like.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
    /// Without `kid`.
    pub(crate) jwk: Value,
    pub(crate) pem: String,
}

fn pem(tag: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

pub(crate) fn private_pem() -> String {
    let key = Ed25519KeyPair::generate().unwrap();
    pem("PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref())
}

/// SubjectPublicKeyInfo: the header of its kind, and the key.
fn public_pem(header: &[u8], key: &[u8]) -> String {
    pem("PUBLIC KEY", &[header, key].concat())
}

pub(crate) fn rsa(algorithm: Algorithm) -> Signer {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).unwrap();
    let public = pair.public_key();
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let (n, e) = (public.modulus(), public.exponent());
    let jwk = json!({"kty": "RSA", "n": number(n.big_endian_without_leading_zero()), "e": number(e.big_endian_without_leading_zero())});
    Signer { algorithm, key, jwk, pem: pem("RSA PUBLIC KEY", public.as_ref()) }
}

fn ec(algorithm: Algorithm, curve: &str, signing: &'static EcdsaSigningAlgorithm, header: &str) -> Signer {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at((point.len() - 1) / 2);
    let jwk =
        json!({"kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)});
    let header = hex(header);
    Signer { algorithm, key: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk, pem: public_pem(&header, point) }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn p256() -> Signer {
    let header = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
    ec(Algorithm::ES256, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, header)
}

pub(crate) fn p384() -> Signer {
    let header = "3076301006072a8648ce3d020106052b81040022036200";
    ec(Algorithm::ES384, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, header)
}

pub(crate) fn ed25519() -> Signer {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let public = pair.public_key().as_ref();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public)});
    let pem = public_pem(&hex("302a300506032b6570032100"), public);
    Signer { algorithm: Algorithm::EdDSA, key: EncodingKey::from_ed_der(pkcs8.as_ref()), jwk, pem }
}

impl Signer {
    pub(crate) fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// The public key as a JWK with this `kid`.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = json!(id);
        jwk
    }
}

pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// How the issuer answers.
#[derive(Clone)]
pub(crate) enum Answer {
    Status(&'static str, String),
    /// The head, and never a body.
    Slow,
    /// A body that never ends.
    Endless,
    Closed,
}

pub(crate) fn good(keys: &[Value]) -> Answer {
    Answer::Status("200 OK", set(keys))
}

/// A server that answers every request in the same way until that is changed.
pub(crate) struct Issuer {
    pub(crate) address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    pub(crate) async fn start(answer: Answer) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (answers, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(socket, answers.lock().clone()));
            }
        });
        Issuer { address, answer, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(crate) fn set(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Waits until it was asked that often.
    pub(crate) async fn asked_times(&self, times: usize) {
        while self.asked() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn serve(mut socket: TcpStream, answer: Answer) {
    let mut request = [0; 4096];
    let _ = socket.read(&mut request).await;
    let head = "Connection: close\r\nLocation: http://127.0.0.1:1/elsewhere\r\n";
    let text = match &answer {
        Answer::Status(status, body) => {
            format!("HTTP/1.1 {status}\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
        }
        Answer::Slow => format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 1000\r\n\r\n{{"),
        Answer::Endless => format!("HTTP/1.1 200 OK\r\n{head}\r\n"),
        Answer::Closed => return,
    };
    let _ = socket.write_all(text.as_bytes()).await;
    match answer {
        Answer::Slow => tokio::time::sleep(Duration::from_secs(60)).await,
        Answer::Endless => while socket.write_all(&[b' '; 16 * 1024]).await.is_ok() {},
        Answer::Status(..) | Answer::Closed => {}
    }
}
