//! The bridge's port to what only Kafka still has: reads, offsets and refreshes, none of which blocks its caller's thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tailrace_bridge::{HistoryError, HistoryRead, OffsetsAt, Segment, Source};
use tokio::sync::oneshot;

use crate::admin::Admin;
use crate::error::KafkaError;
use crate::history::Readers;
use crate::native::{Client, Code, OffsetQuery};
use crate::requests::Ask;
use crate::trace::Traces;

const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// A refresh takes so long at the most; whoever waits for it goes on without.
const REFRESH: Duration = Duration::from_secs(1);

/// The implementation of the bridge's port.
pub(crate) struct KafkaSource {
    readers: Arc<Readers>,
    admin: Arc<Admin>,
    committed: bool,
    asks: Mutex<Sender<Ask>>,
    /// `None`: no collector is set.
    traces: Option<Traces>,
    /// Questions for offsets that are under way: whoever asks the same shares the answer. Else a thousand clients that
    /// begin at once would ask for each partition a thousand times, and no answer would come in time.
    asked: Arc<Mutex<HashMap<Question, Answer>>>,
}

/// A topic, and a point in each of its partitions.
type Question = (String, OffsetsAt);
/// An offset for each partition, once Kafka has answered.
type Answer = Shared<BoxFuture<'static, Result<Vec<u64>, HistoryError>>>;

impl KafkaSource {
    pub(crate) fn new(
        readers: Arc<Readers>,
        admin: Arc<Admin>,
        committed: bool,
        asks: Sender<Ask>,
        traces: Option<Traces>,
    ) -> KafkaSource {
        KafkaSource { readers, admin, committed, asks: Mutex::new(asks), traces, asked: Arc::default() }
    }
}

impl Source for KafkaSource {
    fn read(&self, read: HistoryRead) -> BoxFuture<'static, Result<Segment, HistoryError>> {
        let readers = self.readers.clone();
        let asked = read.clone();
        let span = self.traces.as_ref().map(|traces| traces.history(&read));
        async move {
            // It ends with the read, or when nobody waits for that any more.
            let _span = span;
            let result = tokio::task::spawn_blocking(move || readers.read(&asked)).await;
            result.unwrap_or_else(|error| Err(HistoryError::unanswered(&read, error)))
        }
        .boxed()
    }

    fn offsets_at(&self, topic: &str, at: OffsetsAt) -> BoxFuture<'static, Result<Vec<u64>, HistoryError>> {
        let question = (topic.to_owned(), at);
        let mut asked = self.asked.lock();
        if let Some(answer) = asked.get(&question) {
            return answer.clone().boxed();
        }
        let (admin, committed, under_way) = (self.admin.clone(), self.committed, self.asked.clone());
        let key = question.clone();
        let answer = async move {
            let (topic, at) = key.clone();
            let found =
                tokio::task::spawn_blocking(move || offsets_at(&admin.client(), &topic, at, committed)).await;
            let found = found.unwrap_or_else(|error| Err(HistoryError::topic_unanswered(&key.0, error)));
            under_way.lock().remove(&key);
            found
        };
        let answer = answer.boxed().shared();
        asked.insert(question, answer.clone());
        // It goes on for the others when whoever asked first is gone.
        tokio::spawn(answer.clone());
        answer.boxed()
    }

    fn refresh(&self) -> BoxFuture<'static, ()> {
        let (answer, answered) = oneshot::channel();
        let sent = self.asks.lock().send(Ask::Refresh(answer));
        async move {
            if sent.is_ok() {
                // Late or never is the same here: what is known is used.
                let _ = tokio::time::timeout(REFRESH, answered).await;
            }
        }
        .boxed()
    }
}

fn offsets_at(admin: &Client, topic: &str, at: OffsetsAt, committed: bool) -> Result<Vec<u64>, HistoryError> {
    let unavailable = |error: KafkaError| HistoryError::topic_unanswered(topic, error);
    let described = admin.describe_topics(&[topic.to_owned()], ASK_TIMEOUT).map_err(unavailable)?;
    let count = match described.first().map(|topic| &topic.state) {
        Some(Ok(found)) => found.partitions,
        Some(Err(Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)) | None => return Err(HistoryError::Gone),
        Some(Err(code)) => return Err(unavailable(crate::native::describe_error(*code))),
    };
    let places: Vec<(&str, i32)> = (0..count).map(|index| (topic, index as i32)).collect();
    let ask = |query| {
        let offsets = admin.list_offsets(&places, query, committed, ASK_TIMEOUT).map_err(unavailable)?;
        offsets
            .into_iter()
            .map(|offset| offset.map_err(|code| code_error(topic, code)))
            .collect::<Result<Vec<Option<u64>>, _>>()
    };
    let query = match at {
        OffsetsAt::Earliest => OffsetQuery::Earliest,
        OffsetsAt::Latest => OffsetQuery::Latest,
        OffsetsAt::Time(millis) => OffsetQuery::Time(millis),
    };
    let found = ask(query)?;
    if found.iter().all(Option::is_some) {
        return Ok(found.into_iter().flatten().collect());
    }
    let ends = ask(OffsetQuery::Latest)?;
    Ok(found.into_iter().zip(ends).map(|(offset, end)| offset.or(end).unwrap_or(0)).collect())
}

fn code_error(topic: &str, code: Code) -> HistoryError {
    match code {
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => HistoryError::Gone,
        code => HistoryError::topic_unanswered(topic, crate::native::list_error(code)),
    }
}
