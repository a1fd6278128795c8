//! Pages in a browser, with sources that tell what they hear.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::script::{Browser, Script};
use super::writer::PARTITIONS;

/// No source takes longer to come back.
const RECONNECT: Duration = Duration::from_secs(20);
/// What would come twice comes within this.
const REPEATS: Duration = Duration::from_secs(2);

/// What one source has heard.
pub struct Heard {
    pub opened: usize,
    /// Records since it was last opened.
    since: usize,
    by_partition: Vec<Vec<u64>>,
    /// It gave up for good: its `readyState` is 2.
    pub gave_up: bool,
}

impl Default for Heard {
    fn default() -> Heard {
        Heard { opened: 0, since: 0, by_partition: vec![Vec::new(); PARTITIONS], gave_up: false }
    }
}

impl Heard {
    pub fn records(&self) -> usize {
        self.by_partition.iter().map(Vec::len).sum()
    }

    fn take(&mut self, what: &str) -> Result<(), String> {
        match what.split_once(' ').unwrap_or((what, "")) {
            _ if self.gave_up => return Err(format!("had given up, and then: {what}")),
            ("open", _) => (self.opened, self.since) = (self.opened + 1, 0),
            ("closed", _) => self.gave_up = true,
            ("data", data) => {
                let (partition, number) = data.split_once(':').expect("partition:number");
                let partition: usize = partition.parse().expect("a partition");
                self.by_partition[partition].push(number.parse().expect("a number"));
                self.since += 1;
            }
            // A bridge that just started has nothing to serve from yet; the browser comes back.
            ("error", data) if data.contains(r#""code":"not_ready""#) => {}
            _ => return Err(format!("heard what it should not: {what}")),
        }
        Ok(())
    }

    /// Every record once and in order; of a source that gave up, every record until then.
    fn is_exact(&self, sent: &[Vec<u64>]) -> bool {
        let mut partitions = self.by_partition.iter().zip(sent);
        if self.gave_up {
            partitions.all(|(got, sent)| sent.starts_with(got))
        } else {
            partitions.all(|(got, sent)| got == sent)
        }
    }
}

/// A script of `tests/browser` whose pages print as hearing.mjs does.
pub struct Pages {
    pub browser: Browser,
    script: Script,
    heard: BTreeMap<&'static str, Heard>,
}

impl Pages {
    /// Starts the script, and waits until all of its sources are open.
    pub async fn open(browser: Browser, script: &str, port: u16, sources: &[&'static str]) -> Pages {
        let heard = sources.iter().map(|source| (*source, Heard::default())).collect();
        let mut pages = Pages { browser, script: Script::start_with(browser, script, port), heard };
        while pages.heard.values().any(|heard| heard.opened == 0) {
            pages.listen().await;
        }
        pages
    }

    /// The sources that gave up.
    pub fn gave_up(&self) -> Vec<&'static str> {
        self.heard.iter().filter(|(_, heard)| heard.gave_up).map(|(source, _)| *source).collect()
    }

    /// Takes the network away from the pages, or gives it back.
    pub async fn set_network(&mut self, is_there: bool) {
        let word = if is_there { "online" } else { "offline" };
        self.script.tell(word).await;
        loop {
            match self.script.line().await {
                line if line == word => return,
                line => self.take(&line),
            }
        }
    }

    async fn listen(&mut self) {
        let line = self.script.line().await;
        self.take(&line);
    }

    fn take(&mut self, line: &str) {
        let (source, what) = line.split_once(' ').expect("a source, and what it heard");
        let heard = self.heard.get_mut(source).expect("a source that was named");
        heard.take(what).unwrap_or_else(|wrong| panic!("{:?}, {source}: {wrong}", self.browser));
    }

    /// Until so many records came to each, over a connection that was opened after what is heard already. One that gives up
    /// is not waited for.
    pub async fn listen_past_an_open(&mut self, records: usize) {
        let before: BTreeMap<_, _> =
            self.heard.iter().map(|(source, heard)| (*source, heard.opened)).collect();
        let enough = |(source, heard): (&&'static str, &Heard)| {
            heard.gave_up || (heard.opened > before[source] && heard.since >= records)
        };
        while !self.heard.iter().all(enough) {
            self.listen().await;
        }
    }

    /// Until so many records came to each over the connection that it has.
    pub async fn listen_for(&mut self, records: usize) {
        while self.heard.values().any(|heard| heard.since < records) {
            self.listen().await;
        }
    }

    /// Until all records came, or long enough not to be waiting for a reconnect; and then for what comes twice.
    async fn listen_to_the_end(&mut self, all: usize) {
        let until = Instant::now() + RECONNECT;
        while self.heard.values().any(|heard| !heard.gave_up && heard.records() < all) {
            if tokio::time::timeout_at(until, self.listen()).await.is_err() {
                break;
            }
        }
        while tokio::time::timeout(REPEATS, self.listen()).await.is_ok() {}
    }

    /// Hears what is left, closes the browser, and says of each source whether it had every record exactly once.
    pub async fn end(mut self, sent: &[Vec<u64>]) -> BTreeMap<&'static str, Heard> {
        let all = sent.iter().map(Vec::len).sum();
        self.listen_to_the_end(all).await;
        self.script.end().await;
        let heard = std::mem::take(&mut self.heard);
        for (source, heard) in &heard {
            let (browser, opened, records) = (self.browser, heard.opened, heard.records());
            println!("{browser:?}, {source}: {records} of {all} records over {opened} connections");
            assert!(
                heard.is_exact(sent),
                "{browser:?}, {source}: {:?}\nwere sent: {sent:?}",
                heard.by_partition
            );
        }
        heard
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (source, heard) in &self.heard {
            let (opened, since, gave_up) = (heard.opened, heard.since, heard.gave_up);
            println!("{source}: opened {opened} times, {since} records since; gave up: {gave_up}");
        }
    }
}
