//! A clock that moves only when a test moves it, and a runtime of one thread.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::task::{ArcWake, noop_waker, waker};
use tailrace_bridge::Clock;

/// Clones share the clock.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<State>>);

struct State {
    start: Instant,
    /// The time since the start.
    now: Duration,
    /// The times at which sleeps end.
    timers: BTreeSet<Duration>,
    tasks: Vec<BoxFuture<'static, ()>>,
    /// How many tasks were ever begun, and how many have ended.
    begun: usize,
    ended: usize,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl ArcWake for Woken {
    fn wake_by_ref(woken: &Arc<Woken>) {
        woken.0.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ManualClock").field(&self.passed()).finish()
    }
}

impl ManualClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "an instant can only be had from the operating system's clock"
    )]
    pub fn new() -> ManualClock {
        let (timers, tasks) = (BTreeSet::new(), Vec::new());
        let state = State { start: Instant::now(), now: Duration::ZERO, timers, tasks, begun: 0, ended: 0 };
        ManualClock(Arc::new(Mutex::new(state)))
    }

    /// How much time has passed.
    pub fn passed(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    /// Lets time pass, and runs what becomes due meanwhile.
    pub fn advance(&self, by: Duration) {
        let target = self.passed() + by;
        self.run_tasks();
        while let Some(due) = self.next_timer().filter(|due| *due <= target) {
            self.set(due);
            self.run_tasks();
        }
        self.set(target);
        self.run_tasks();
    }

    /// Runs a future to its end. Time passes only while the future and all tasks wait for it.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let woken = Arc::new(Woken::default());
        let waker = waker(woken.clone());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            if !self.run_tasks() && !woken.0.swap(false, Ordering::Relaxed) {
                let due = self.next_timer().expect("what is waited for comes by a task, or by time");
                self.set(due);
            }
        }
    }

    fn next_timer(&self) -> Option<Duration> {
        self.0.lock().unwrap().timers.first().copied()
    }

    fn set(&self, now: Duration) {
        let mut state = self.0.lock().unwrap();
        state.now = now;
        state.timers = state.timers.split_off(&(now + Duration::from_nanos(1)));
    }

    /// Polls all tasks until none makes progress; returns whether any did.
    fn run_tasks(&self) -> bool {
        let before = self.moves();
        loop {
            let moves = self.moves();
            let mut tasks = std::mem::take(&mut self.0.lock().unwrap().tasks);
            let all = tasks.len();
            let waker = noop_waker();
            tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let mut state = self.0.lock().unwrap();
            state.ended += all - tasks.len();
            state.tasks.append(&mut tasks);
            drop(state);
            if self.moves() == moves {
                return moves != before;
            }
        }
    }

    fn moves(&self) -> (usize, usize) {
        let state = self.0.lock().unwrap();
        (state.begun, state.ended)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        let state = self.0.lock().unwrap();
        state.start + state.now
    }

    fn unix_millis(&self) -> i64 {
        1_700_000_000_000 + self.passed().as_millis() as i64
    }

    fn sleep_until(&self, time: Instant) -> BoxFuture<'static, ()> {
        let state = self.0.clone();
        Box::pin(poll_fn(move |_| {
            let mut state = state.lock().unwrap();
            let due = time.duration_since(state.start);
            if state.now >= due {
                return Poll::Ready(());
            }
            state.timers.insert(due);
            Poll::Pending
        }))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.0.lock().unwrap();
        state.begun += 1;
        state.tasks.push(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(std::future::ready(()))
    }
}
