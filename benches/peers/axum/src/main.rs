//! What one would write with axum: a broadcast channel, `Sse` for event streams, `ws` for WebSockets. A POST to `/publish` is an event
//! for all clients.

use std::convert::Infallible;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::http::StatusCode;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures::{Stream, StreamExt};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio_stream::wrappers::BroadcastStream;

/// Events that may wait for a client; one that is further behind loses them.
const WAITING: usize = 1024;

async fn publish(State(sender): State<Sender<Utf8Bytes>>, event: String) -> StatusCode {
    // Fails if there is nobody.
    let _ = sender.send(event.into());
    StatusCode::NO_CONTENT
}

async fn events(State(sender): State<Sender<Utf8Bytes>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = BroadcastStream::new(sender.subscribe());
    Sse::new(events.filter_map(async |event| Some(Ok(Event::default().data(event.ok()?.as_str())))))
}

async fn socket(State(sender): State<Sender<Utf8Bytes>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| serve(socket, sender.subscribe()))
}

async fn serve(mut socket: WebSocket, mut events: Receiver<Utf8Bytes>) {
    loop {
        tokio::select! {
            event = events.recv() => {
                let Ok(event) = event else { return };
                if socket.send(Message::Text(event)).await.is_err() {
                    return;
                }
            }
            // Pings and the close are handled while something reads.
            message = socket.recv() => {
                if !matches!(message, Some(Ok(_))) {
                    return;
                }
            }
        }
    }
}

#[tokio::main]
async fn main() {
    let (sender, _) = channel(WAITING);
    let router = Router::new()
        .route("/publish", post(publish))
        .route("/events", get(events))
        .route("/ws", get(socket))
        .with_state(sender);
    let address = std::env::args().nth(1).expect("the address is the only argument");
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
    axum::serve(listener, router).await.expect("it serves until it is killed");
}
