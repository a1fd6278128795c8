//! Publishes events to a server, in the fastest way that it has, on a thread of its own.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, sleep};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use super::http::{Http, request};
use crate::pace::Pace;
use crate::payload::{EVENT_BYTES, now_us, write_event};

pub(crate) trait Publish: Send {
    /// Publishes a burst of events. It may return before the server has them.
    fn burst(&mut self, events: u32) -> Result<()>;

    /// Waits until the server has them all.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Appends the JSON of one event, with the time.
pub(crate) fn event(out: &mut Vec<u8>) {
    write_event(out, EVENT_BYTES, 0, now_us());
}

/// One POST for each event; the requests of a burst are one write on one connection.
pub(crate) struct Posts {
    pub(crate) http: Http,
    pub(crate) line: String,
    pub(crate) headers: String,
    /// The bytes before the event in a body.
    pub(crate) prefix: &'static [u8],
}

impl Publish for Posts {
    fn burst(&mut self, events: u32) -> Result<()> {
        let (mut requests, mut body) = (Vec::new(), Vec::new());
        for _ in 0..events {
            body.clear();
            body.extend_from_slice(self.prefix);
            event(&mut body);
            request(&mut requests, &self.line, &self.headers, &body);
        }
        self.http.exchange(&requests, events)
    }
}

/// A thread that publishes until it is stopped.
pub(crate) struct Publisher {
    /// Dropped to stop the thread.
    orders: Sender<Order>,
    thread: JoinHandle<Result<(Box<dyn Publish>, u64)>>,
}

#[derive(PartialEq)]
struct Order;

impl Publisher {
    /// Publishes at an even pace.
    pub(crate) fn paced(publish: Box<dyn Publish>, pace: Pace) -> Publisher {
        Publisher::start(publish, move |publish, orders| {
            let (mut sent, mut outcome) = (0, Ok(()));
            let burst = || {
                outcome = publish.burst(pace.burst);
                sent += u64::from(pace.burst);
                // There are no orders: this only checks whether the sender still exists.
                outcome.is_ok() && orders.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty)
            };
            pace.keep(burst, |next| sleep(next.saturating_duration_since(Instant::now())));
            outcome.map(|()| sent)
        })
    }

    /// Publishes a burst of `events` for each order.
    pub(crate) fn on_demand(publish: Box<dyn Publish>, events: u32) -> Publisher {
        Publisher::start(publish, move |publish, orders| {
            let mut sent = 0;
            while orders.recv().is_ok() {
                publish.burst(events)?;
                sent += u64::from(events);
            }
            Ok(sent)
        })
    }

    fn start(
        mut publish: Box<dyn Publish>,
        run: impl FnOnce(&mut dyn Publish, &Receiver<Order>) -> Result<u64> + Send + 'static,
    ) -> Publisher {
        #[allow(clippy::disallowed_methods, reason = "a few orders in a run")]
        let (orders, receiver) = channel();
        let thread = std::thread::spawn(move || {
            let sent = run(publish.as_mut(), &receiver).context("publish")?;
            publish.finish()?;
            Ok((publish, sent))
        });
        Publisher { orders, thread }
    }

    pub(crate) fn order(&self) -> Result<()> {
        self.orders.send(Order).map_err(|_| anyhow!("the publisher has ended"))
    }

    /// Stops after the orders so far. Returns the number of events.
    pub(crate) fn end(self) -> Result<(Box<dyn Publish>, u64)> {
        drop(self.orders);
        self.thread.join().map_err(|_| anyhow!("the publisher's thread has panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(Vec<u32>);

    impl Publish for Count {
        fn burst(&mut self, events: u32) -> Result<()> {
            self.0.push(events);
            anyhow::ensure!(self.0.len() < 5, "the fifth is refused");
            Ok(())
        }
    }

    #[test]
    fn every_order_that_was_given_is_carried_out_before_the_end() {
        let publisher = Publisher::on_demand(Box::new(Count::default()), 20);
        (0..4).for_each(|_| publisher.order().expect("it runs"));
        assert_eq!(publisher.end().expect("none was refused").1, 80);
    }

    #[test]
    fn a_refusal_comes_out_at_the_end() {
        let publisher = Publisher::paced(Box::new(Count::default()), Pace { rate: 1000, burst: 1 });
        while !publisher.thread.is_finished() {
            std::thread::yield_now();
        }
        assert!(publisher.end().is_err());
    }
}
