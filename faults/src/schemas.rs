//! A topic of Avro: its values, which a page sees as the same JSON as those of other topics, and a registry of their schemas.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::{Number, padding, tenant_name};

/// By their ids from 1 on. They differ in what they write, and not in what a page sees.
const SCHEMAS: [&str; 3] = [
    r#"{"type":"record","name":"Fact","fields":[{"name":"n","type":"long"},{"name":"p","type":"int"},
        {"name":"t","type":"string"},{"name":"x","type":"string"}]}"#,
    r#"{"type":"record","name":"Fact","fields":[{"name":"n","type":"int"},{"name":"p","type":["null","long"]},
        {"name":"t","type":["string","null"]},{"name":"x","type":"string"}]}"#,
    r#"{"type":"record","name":"Fact","fields":[{"name":"n","type":["int","long"]},{"name":"p","type":"int"},
        {"name":"t","type":"string"},{"name":"x","type":["null","string"]}]}"#,
];

/// How many of the schemas are in use.
#[derive(Clone, Debug)]
pub struct InUse(Arc<AtomicU32>);

impl InUse {
    /// A value in Confluent's frame: a zero, the id of its schema, and the datum. One schema after the other, by the number.
    pub(crate) fn value(&self, number: Number, partition: u32, tenant: u32) -> Vec<u8> {
        let id = 1 + number as u32 % self.0.load(Ordering::Relaxed);
        let mut out = vec![0];
        out.extend(id.to_be_bytes());
        if id == 3 {
            put_long(&mut out, 1);
        }
        put_long(&mut out, number as i64);
        if id == 2 {
            put_long(&mut out, 1);
        }
        put_long(&mut out, i64::from(partition));
        if id == 2 {
            put_long(&mut out, 0);
        }
        put_text(&mut out, &tenant_name(tenant));
        if id == 3 {
            put_long(&mut out, 1);
        }
        put_text(&mut out, &padding(number, 1));
        out
    }
}

/// Avro's long: the sign in the lowest bit, then seven bits in each byte, the lowest first.
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as i64);
    out.extend(text.as_bytes());
}

/// A registry that knows the schemas. It can be shut: connections are then closed without an answer.
#[derive(Clone, Debug)]
pub struct Registry {
    port: u16,
    is_shut: Arc<AtomicBool>,
    in_use: InUse,
}

impl Registry {
    /// Listens on a port of its own. One schema is in use.
    pub async fn start() -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (is_shut, in_use) = (Arc::new(AtomicBool::new(false)), InUse(Arc::new(AtomicU32::new(1))));
        let shut = is_shut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !shut.load(Ordering::Relaxed) {
                    tokio::spawn(answer(client));
                }
            }
        });
        Registry { port, is_shut, in_use }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn in_use(&self) -> InUse {
        self.in_use.clone()
    }

    pub fn shut(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
    }

    pub fn open(&self) {
        self.is_shut.store(false, Ordering::Relaxed);
    }

    /// From now on, one more schema is written.
    pub fn use_one_more(&self) {
        let most = SCHEMAS.len() as u32;
        let more = |count: u32| Some((count + 1).min(most));
        let _ = self.in_use.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

/// Answers one request: `GET /schemas/ids/1`.
async fn answer(mut client: TcpStream) -> std::io::Result<()> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = client.read(&mut piece).await?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..count]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let id = path.strip_prefix("/schemas/ids/").and_then(|id| id.parse::<usize>().ok());
    let schema = id.and_then(|id| SCHEMAS.get(id.checked_sub(1)?));
    let (status, body) = match schema {
        Some(schema) => ("200 OK", json!({ "schema": schema })),
        None => ("404 Not Found", json!({ "error_code": 40403, "message": "no such schema" })),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all((head + &body).as_bytes()).await
}
