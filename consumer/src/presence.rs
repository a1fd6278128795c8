//! What Kafka's tools see of this replica: a consumer group with one member and the true position of each partition.
//!
//! It only shows. The member reads nothing, and nothing that happens to the group reaches the tail.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tailrace_bridge::Bridge;

use crate::admin::Admin;
use crate::error::KafkaError;
use crate::findings::Findings;
use crate::native::{Client, Commits, List, Role};
use crate::settings::KafkaSettings;
use crate::shared::Shared;
use crate::{error, metrics, properties};

/// How often the member's callbacks are served, and what is due is done.
const TURN: Duration = Duration::from_millis(100);
/// How often positions are committed, where they have moved.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often the member's partitions are counted.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Another member is reported after this time. That of a process that was killed is in the group until its session ends, and
/// the group may take as long to learn of new partitions.
const SHARED_FOR: Duration = Duration::from_secs(30);
/// A member whose commits are not answered for so long may have lost all brokers: another client is tried.
const SILENCE: Duration = Duration::from_secs(60);
/// How long to wait before a client that ended is made anew.
const RETRY: Duration = Duration::from_secs(5);
/// How long the end may take, step by step: the last commit, leaving, the deletion. All of it has to fit into a drain's
/// last two seconds, whether a broker answers or not.
const LEAVE: Duration = Duration::from_millis(500);

/// The thread that shows this replica in its group.
pub(crate) struct Presence {
    settings: Arc<KafkaSettings>,
    bridge: Bridge,
    admin: Arc<Admin>,
    findings: Arc<Findings>,
}

/// One membership.
struct Member {
    /// The one commit that may be under way. Before the client: it is a part of it.
    commits: Commits,
    client: Client,
    topics: Vec<String>,
    committed: HashMap<(Arc<str>, u32), u64>,
    committed_at: Instant,
    /// When there was nothing to commit, or a commit was answered, for the last time.
    shown_at: Instant,
    looked_at: Instant,
    shared_since: Option<Instant>,
}

impl Presence {
    pub(crate) fn new(shared: &Shared) -> Presence {
        Presence {
            settings: shared.settings.clone(),
            bridge: shared.bridge.clone(),
            admin: shared.admin.clone(),
            findings: shared.findings.clone(),
        }
    }

    /// Shows the replica until the other end of `stop` is dropped.
    pub(crate) fn run(self, stop: &Receiver<()>) {
        loop {
            match self.be_member(stop) {
                Ok(()) => return,
                Err(error) => {
                    let note = format!(
                        "the consumer group {} does not show this replica: {error}",
                        self.settings.group()
                    );
                    if self.findings.set_group(Some(note.clone())) {
                        tracing::warn!("{note}");
                    }
                }
            }
            if stop.recv_timeout(RETRY) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn be_member(&self, stop: &Receiver<()>) -> Result<(), KafkaError> {
        let client = Client::new(&properties::presence(&self.settings), Role::Member)?;
        let commits = Commits::new(&client);
        let now = Instant::now();
        let mut member = Member {
            commits,
            client,
            topics: Vec::new(),
            committed: HashMap::new(),
            committed_at: now,
            shown_at: now,
            looked_at: now,
            shared_since: None,
        };
        while stop.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Disconnected) {
            self.turn(&mut member)?;
        }
        self.leave(member);
        Ok(())
    }

    /// Serves the member, and does what is due.
    fn turn(&self, member: &mut Member) -> Result<(), KafkaError> {
        self.follow(member)?;
        let mut messages = Vec::new();
        member.client.poll(TURN, 64, &mut messages);
        for message in messages {
            self.note(message.code(), &message.error_text());
        }
        if let Some(outcome) = member.commits.outcome(Duration::ZERO) {
            self.note_commit(member, outcome);
        }
        if member.committed_at.elapsed() >= COMMIT_EVERY && !member.commits.is_under_way() {
            member.committed_at = Instant::now();
            self.commit(member);
        }
        if member.looked_at.elapsed() >= LOOK_EVERY {
            member.looked_at = Instant::now();
            self.look(member);
        }
        if member.shown_at.elapsed() >= SILENCE {
            return Err(KafkaError::Silent("the group's coordinator"));
        }
        member.client.check_fatal("stay in the group")
    }

    /// Is a member for the topics that are served.
    fn follow(&self, member: &mut Member) -> Result<(), KafkaError> {
        let topics: Vec<String> = self.bridge.topics().iter().map(|topic| topic.name().to_string()).collect();
        if topics == member.topics {
            return Ok(());
        }
        match &topics[..] {
            [] => member.client.unsubscribe(),
            topics => member.client.subscribe(topics)?,
        }
        member.topics = topics;
        member.shared_since = None;
        Ok(())
    }

    /// Commits the heads that have moved. Reading never resumes from what is committed: it only tells how far reading is.
    fn commit(&self, member: &mut Member) {
        let topics = self.bridge.topics();
        let mut moved = Vec::new();
        for partition in topics.iter().flat_map(|topic| topic.partitions()) {
            let key = (partition.topic_name().clone(), partition.index());
            let head = partition.head().offset;
            if member.committed.get(&key) != Some(&head) {
                moved.push((key, head));
            }
        }
        if moved.is_empty() {
            member.shown_at = Instant::now();
            return;
        }
        let mut list = List::new(moved.len());
        for ((topic, index), head) in &moved {
            list.add(topic, *index as i32, i64::try_from(*head).unwrap_or(i64::MAX));
        }
        match member.commits.send(&member.client, &list) {
            Ok(()) => member.committed.extend(moved),
            Err(error) => tracing::debug!(%error, "positions were not committed"),
        }
    }

    fn note_commit(&self, member: &mut Member, outcome: Result<(), KafkaError>) {
        match outcome {
            Ok(()) => {
                metrics::committed("ok");
                member.shown_at = Instant::now();
                if member.shared_since.is_none() {
                    self.findings.set_group(None);
                }
            }
            Err(error) => {
                metrics::committed("failed");
                tracing::debug!(%error, "positions were not committed");
                // The next commit is of all of them: this one may have failed for some.
                member.committed.clear();
                if error.is_denied() {
                    member.shown_at = Instant::now();
                    self.note_denied(&error.to_string());
                }
            }
        }
    }

    fn note(&self, code: crate::native::Code, text: &str) {
        if error::is_denied(code) {
            self.note_denied(text);
        } else {
            tracing::debug!(error = text, "an error of the group's member");
        }
    }

    fn note_denied(&self, text: &str) {
        let group = self.settings.group();
        let note = format!(
            "the consumer group {group} does not show this replica: {text} (Read on the group is what is lacking; reading does not need it)"
        );
        if self.findings.set_group(Some(note)) {
            tracing::warn!(
                group,
                error = text,
                "the consumer group does not show this replica; reading does not need it"
            );
        }
    }

    /// Whether there is another member in the group: then not all partitions are this member's. (To ask for the members would
    /// be simpler, but librdkafka can crash the process where such a request times out: the reply to it is released twice once
    /// the coordinator is there, `rd_kafka_admin_coord_request`.)
    fn look(&self, member: &mut Member) {
        let count = |topic: &Arc<tailrace_bridge::Topic>| topic.partitions().len();
        let all: usize = self.bridge.topics().iter().map(count).sum();
        let own = member.client.assigned();
        if own >= all || own == 0 {
            if member.shared_since.take().is_some() {
                self.findings.set_group(None);
            }
            return;
        }
        let since = *member.shared_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= SHARED_FOR {
            let group = self.settings.group();
            let note = format!(
                "the consumer group {group} is shared: {} of {all} partitions are another member's (TAILRACE_INSTANCE should be \
                 unique; reading does not depend on it)",
                all - own
            );
            if self.findings.set_group(Some(note.clone())) {
                tracing::warn!("{note}");
            }
        }
    }

    /// Commits, leaves, and deletes the group: nothing of a replica that was drained stays behind.
    fn leave(&self, mut member: Member) {
        let group = self.settings.group();
        if !member.commits.is_under_way() {
            self.commit(&mut member);
        }
        member.commits.outcome(LEAVE);
        if !member.client.close_within(LEAVE) {
            tracing::info!(group, "the consumer group stays: its coordinator does not answer");
            return;
        }
        match self.admin.client().delete_group(&group, LEAVE) {
            Ok(()) => tracing::info!(group, "the consumer group is deleted"),
            Err(error) => tracing::info!(group, %error, "the consumer group stays"),
        }
    }
}
