//! A small HTTP server that answers as a test tells it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

const JSON: &str = "application/vnd.schemaregistry.v1+json";
pub(crate) const UNKNOWN: &str = r#"{"error_code":40403,"message":"Schema not found"}"#;

/// An answer: status, type, body.
#[derive(Clone)]
pub(crate) struct Reply(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

pub(crate) fn json(status: u16, body: impl Into<String>) -> Reply {
    Reply(status, JSON, body.into())
}

/// The schema of JSON documents: the least that can be found.
pub(crate) fn found() -> Reply {
    json(200, r#"{"schema":"{}","schemaType":"JSON"}"#)
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

/// Answers until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::at(TcpListener::bind("127.0.0.1:0").expect("bound"), handler)
    }

    pub(crate) fn at(
        listener: TcpListener,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let address = listener.local_addr().expect("bound");
        let (asked, is_over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (handler, counts): (Arc<Handler>, Arc<Mutex<HashMap<String, usize>>>) =
            (Arc::new(handler), Arc::default());
        let (all, over) = (asked.clone(), is_over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let (handler, counts, all) = (handler.clone(), counts.clone(), all.clone());
                std::thread::spawn(move || serve(stream, &*handler, &counts, &all));
            }
        });
        Server { address, asked, is_over }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
    }
}

/// One request, then the end of the connection.
fn serve(
    stream: TcpStream,
    handler: &Handler,
    counts: &Mutex<HashMap<String, usize>>,
    all: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let authorization = head.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let before = {
        let mut counts = counts.lock();
        let count = counts.entry(path.clone()).or_default();
        *count += 1;
        *count - 1
    };
    all.lock().push(path.clone());
    let Reply(status, kind, body) = handler(&Request { path, authorization, before });
    let location =
        if (300..400).contains(&status) { "location: http://127.0.0.1:1/elsewhere\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{location}content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = &stream;
    // The other end may have hung up.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
