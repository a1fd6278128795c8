//! Requests to the cluster. Each blocks its thread for at most the given time.

use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka_sys as sys;
use sys::rd_kafka_admin_op_t as Op;
use tailrace_bridge::{Position, TopicId};

use super::client::{c_string, check, millis};
use super::{Client, Code, List};
use crate::error::KafkaError;

/// The cluster's id comes with the first metadata. A question for it before that waits so long.
const CLUSTER_ID_TIMEOUT_MS: i32 = 1000;

/// What the cluster says of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) name: String,
    /// `Ok` for a topic that is there and may be seen.
    pub(crate) state: Result<Found, Code>,
}

/// A topic that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: TopicId,
    pub(crate) partitions: usize,
    /// Whether these credentials may read it (KIP-430). A broker that does not say so is taken to allow it.
    pub(crate) is_readable: bool,
    /// Whether every partition has a leader. Where one has none, a request for its offset fails, and with it for all others in it.
    pub(crate) has_leaders: bool,
}

/// Partitions in one request for offsets. librdkafka finds each partition of an answer by going through all of them: with
/// thousands in one answer, an idle process would do little else.
const LISTED_AT_ONCE: usize = 400;

/// What was found in one partition's log; none where there is no such record.
type Listed<T> = Result<Option<T>, Code>;

/// Which offset of a partition to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetQuery {
    Earliest,
    Latest,
    /// The first record with at least this timestamp, in milliseconds.
    Time(i64),
}

/// A member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance: String,
    pub(crate) client: String,
    pub(crate) host: String,
}

/// A topic's configuration, as names and values.
type TopicConfig = Vec<(String, String)>;
/// Those of some topics, each with its topic's name.
pub(crate) type TopicConfigs = Vec<(String, Result<TopicConfig, KafkaError>)>;

const DESCRIBE_CONFIG: &str = "describe the configuration";

/// The answer to an admin request.
struct Answer(*mut sys::rd_kafka_event_t);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone.
        unsafe { sys::rd_kafka_event_destroy(self.0) };
    }
}

impl Client {
    /// Sends one admin request and waits for its answer.
    fn ask(
        &self,
        what: &'static str,
        op: Op,
        timeout: Duration,
        send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
    ) -> Result<Answer, KafkaError> {
        let mut message = [0 as c_char; 128];
        // SAFETY: options and queue are valid between their making and their destruction below; the request copies
        // the options and holds its own reference to the queue.
        let event = unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.rk(), op);
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                millis(timeout),
                message.as_mut_ptr(),
                message.len(),
            );
            let queue = sys::rd_kafka_queue_new(self.rk());
            send(options, queue);
            // The request ends by itself at its timeout; the second more is for the answer to reach the queue.
            let event = sys::rd_kafka_queue_poll(queue, millis(timeout + Duration::from_secs(1)));
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            event
        };
        if event.is_null() {
            let code = Code::RD_KAFKA_RESP_ERR__TIMED_OUT;
            return Err(KafkaError::Request { what, code, message: super::describe(code) });
        }
        let answer = Answer(event);
        // SAFETY: the event is valid.
        let code = unsafe { sys::rd_kafka_event_error(answer.0) };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            // SAFETY: the event is valid.
            let message = unsafe { super::text(sys::rd_kafka_event_error_string(answer.0)) };
            return Err(KafkaError::Request { what, code, message });
        }
        Ok(answer)
    }

    /// The names of all topics that may be seen.
    pub(crate) fn topic_names(&self, timeout: Duration) -> Result<Vec<String>, KafkaError> {
        let mut metadata = ptr::null();
        // SAFETY: the metadata is ours to destroy; its arrays hold as many entries as it says.
        unsafe {
            let code = sys::rd_kafka_metadata(self.rk(), 1, ptr::null_mut(), &mut metadata, millis(timeout));
            check("list topics", code)?;
            let names = (0..(*metadata).topic_cnt as usize)
                .map(|index| super::text((*(*metadata).topics.add(index)).topic))
                .collect();
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(names)
        }
    }

    /// A broker that answers now. Requests that any broker could serve go there rather than to the controller, which the
    /// mock cluster does not have.
    fn any_broker(&self, timeout: Duration) -> Result<i32, KafkaError> {
        let mut metadata = ptr::null();
        // SAFETY: the metadata is ours to destroy.
        unsafe {
            check(
                "find a broker",
                sys::rd_kafka_metadata(self.rk(), 0, ptr::null_mut(), &mut metadata, millis(timeout)),
            )?;
            let broker = (*metadata).orig_broker_id;
            // While it bootstraps, librdkafka does not know yet who answered.
            let first = || (*(*metadata).brokers).id;
            let broker = if broker < 0 && (*metadata).broker_cnt > 0 { first() } else { broker };
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(broker)
        }
    }

    /// Topic ids and partition counts (KIP-516). Never creates a topic.
    pub(crate) fn describe_topics(
        &self,
        names: &[String],
        timeout: Duration,
    ) -> Result<Vec<Described>, KafkaError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let broker = self.any_broker(timeout)?;
        let c_names: Vec<CString> = names.iter().map(|name| c_string(name)).collect();
        let mut pointers: Vec<*const c_char> = c_names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the names live until the collection has copied them.
        let collection =
            unsafe { sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()) };
        let answer =
            self.ask("describe topics", Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout, |options, queue| {
                set_broker(options, broker);
                // SAFETY: all four are valid; an error object of the option is null for this operation.
                unsafe { sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1) };
                // SAFETY: as above.
                unsafe { sys::rd_kafka_DescribeTopics(self.rk(), collection, options, queue) };
            });
        // SAFETY: made above; the request has its own copy.
        unsafe { sys::rd_kafka_TopicCollection_destroy(collection) };
        let answer = answer?;
        let mut count = 0;
        // SAFETY: the result and its array live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_DescribeTopics_result(answer.0);
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
            Ok((0..count).map(|index| described(*topics.add(index))).collect())
        }
    }

    /// An offset for each partition, in one request per broker. `committed` counts only what read_committed may see.
    pub(crate) fn list_offsets(
        &self,
        partitions: &[(&str, i32)],
        at: OffsetQuery,
        committed: bool,
        timeout: Duration,
    ) -> Result<Vec<Listed<u64>>, KafkaError> {
        let positions = self.list_positions(partitions, at, committed, timeout)?;
        Ok(positions.into_iter().map(|found| found.map(|at| at.map(|at| at.offset))).collect())
    }

    /// When the first record of each partition was written, in milliseconds since the Unix epoch; none of an empty one.
    pub(crate) fn first_times(
        &self,
        partitions: &[(&str, i32)],
        timeout: Duration,
    ) -> Result<Vec<Listed<i64>>, KafkaError> {
        let listed = self.list(partitions, OffsetQuery::Time(0), false, timeout)?;
        Ok(listed.into_iter().map(|found| found.map(|at| at.map(|(_, time)| time))).collect())
    }

    /// As [`Client::list_offsets`], each with the leader epoch that belongs to it: that of an end is the current leader's.
    pub(crate) fn list_positions(
        &self,
        partitions: &[(&str, i32)],
        at: OffsetQuery,
        committed: bool,
        timeout: Duration,
    ) -> Result<Vec<Listed<Position>>, KafkaError> {
        let listed = self.list(partitions, at, committed, timeout)?;
        Ok(listed.into_iter().map(|found| found.map(|at| at.map(|(position, _)| position))).collect())
    }

    /// Positions, each with the timestamp of its record, which means something only where a time was asked for.
    fn list(
        &self,
        partitions: &[(&str, i32)],
        at: OffsetQuery,
        committed: bool,
        timeout: Duration,
    ) -> Result<Vec<Listed<(Position, i64)>>, KafkaError> {
        let mut all = Vec::with_capacity(partitions.len());
        for some in partitions.chunks(LISTED_AT_ONCE) {
            all.extend(self.list_some(some, at, committed, timeout)?);
        }
        Ok(all)
    }

    fn list_some(
        &self,
        partitions: &[(&str, i32)],
        at: OffsetQuery,
        committed: bool,
        timeout: Duration,
    ) -> Result<Vec<Listed<(Position, i64)>>, KafkaError> {
        let spec = match at {
            OffsetQuery::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
            OffsetQuery::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
            OffsetQuery::Time(millis) => millis.max(0),
        };
        let mut list = List::new(partitions.len());
        partitions.iter().for_each(|(topic, partition)| list.add(topic, *partition, spec));
        let answer =
            self.ask("list offsets", Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout, |options, queue| {
                // SAFETY: all four are valid; an error object of the option is null for this operation.
                unsafe {
                    if committed {
                        sys::rd_kafka_AdminOptions_set_isolation_level(
                            options,
                            sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
                        );
                    }
                    sys::rd_kafka_ListOffsets(self.rk(), list.ptr(), options, queue);
                }
            })?;
        let mut found = std::collections::HashMap::new();
        let mut count = 0;
        // SAFETY: the result, its array and the entries live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_ListOffsets_result(answer.0);
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
            for index in 0..count {
                let entry = &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index));
                let offset = match entry.err {
                    Code::RD_KAFKA_RESP_ERR_NO_ERROR => {
                        let epoch = sys::rd_kafka_topic_partition_get_leader_epoch(entry);
                        let time = sys::rd_kafka_ListOffsetsResultInfo_timestamp(*infos.add(index));
                        let offset = u64::try_from(entry.offset).ok();
                        Ok(offset.map(|offset| (Position { offset, epoch }, time)))
                    }
                    code => Err(code),
                };
                found.insert((super::text(entry.topic), entry.partition), offset);
            }
        }
        let missing = Err(Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION);
        let key = |(topic, partition): &(&str, i32)| ((*topic).to_owned(), *partition);
        Ok(partitions.iter().map(|place| found.get(&key(place)).copied().unwrap_or(missing)).collect())
    }

    /// Whether this is librdkafka's mock cluster. It serves no requests about groups, and being told so for one of those
    /// corrupts librdkafka's memory (the reply queue is released twice), so they must not be sent there.
    pub(crate) fn is_mock(&self) -> bool {
        // SAFETY: the string is ours to free, by librdkafka's allocator.
        unsafe {
            let id = sys::rd_kafka_clusterid(self.rk(), CLUSTER_ID_TIMEOUT_MS);
            let name = super::text(id);
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.rk(), id.cast());
            }
            name.starts_with("mockCluster")
        }
    }

    /// The members of a group; empty where there is no such group.
    pub(crate) fn group_members(&self, group: &str, timeout: Duration) -> Result<Vec<Member>, KafkaError> {
        if self.is_mock() {
            return Ok(Vec::new());
        }
        let name = c_string(group);
        let mut names = [name.as_ptr()];
        let op = Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let answer = self.ask("describe the group", op, timeout, |options, queue| {
            // SAFETY: all are valid; the name is copied.
            unsafe { sys::rd_kafka_DescribeConsumerGroups(self.rk(), names.as_mut_ptr(), 1, options, queue) };
        })?;
        let mut count = 0;
        // SAFETY: the result and all that it gives live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            if count == 0 {
                return Ok(Vec::new());
            }
            let group = *groups;
            let members = sys::rd_kafka_ConsumerGroupDescription_member_count(group);
            Ok((0..members)
                .map(|i| member(sys::rd_kafka_ConsumerGroupDescription_member(group, i)))
                .collect())
        }
    }

    /// The names of all consumer groups that may be seen.
    pub(crate) fn group_names(&self, timeout: Duration) -> Result<Vec<String>, KafkaError> {
        if self.is_mock() {
            return Ok(Vec::new());
        }
        let op = Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
        let answer = self.ask("list the groups", op, timeout, |options, queue| {
            // SAFETY: all are valid.
            unsafe { sys::rd_kafka_ListConsumerGroups(self.rk(), options, queue) };
        })?;
        let mut count = 0;
        // SAFETY: the result and all that it gives live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroups_result(answer.0);
            let groups = sys::rd_kafka_ListConsumerGroups_result_valid(result, &mut count);
            let name = |index| super::text(sys::rd_kafka_ConsumerGroupListing_group_id(*groups.add(index)));
            Ok((0..count).map(name).collect())
        }
    }

    /// Deletes a group that has no members any more.
    pub(crate) fn delete_group(&self, group: &str, timeout: Duration) -> Result<(), KafkaError> {
        if self.is_mock() {
            return Ok(());
        }
        let name = c_string(group);
        // SAFETY: the name is copied; the object is destroyed below.
        let mut groups = [unsafe { sys::rd_kafka_DeleteGroup_new(name.as_ptr()) }];
        let op = Op::RD_KAFKA_ADMIN_OP_DELETEGROUPS;
        let answer = self.ask("delete the group", op, timeout, |options, queue| {
            // SAFETY: all are valid.
            unsafe { sys::rd_kafka_DeleteGroups(self.rk(), groups.as_mut_ptr(), 1, options, queue) };
        });
        // SAFETY: made above.
        unsafe { sys::rd_kafka_DeleteGroup_destroy(groups[0]) };
        let answer = answer?;
        let mut count = 0;
        // SAFETY: the result and all that it gives live as long as the event.
        unsafe {
            let result = sys::rd_kafka_event_DeleteGroups_result(answer.0);
            let groups = sys::rd_kafka_DeleteGroups_result_groups(result, &mut count);
            if count == 0 {
                return Ok(());
            }
            let error = sys::rd_kafka_group_result_error(*groups);
            check("delete the group", sys::rd_kafka_error_code(error))
        }
    }

    /// The configuration of a topic, as names and values.
    pub(crate) fn topic_config(&self, topic: &str, timeout: Duration) -> Result<TopicConfig, KafkaError> {
        let configs = self.topic_configs(&[topic], timeout)?;
        configs.into_iter().next().map_or(Err(KafkaError::Silent("the broker")), |(_, config)| config)
    }

    /// The configurations of some topics, each with its topic's name.
    pub(crate) fn topic_configs(
        &self,
        topics: &[&str],
        timeout: Duration,
    ) -> Result<TopicConfigs, KafkaError> {
        let resource = |topic: &&str| {
            let name = c_string(topic);
            // SAFETY: the name is copied; the object is destroyed below.
            unsafe {
                sys::rd_kafka_ConfigResource_new(
                    sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
                    name.as_ptr(),
                )
            }
        };
        let mut resources: Vec<_> = topics.iter().map(resource).collect();
        let op = Op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
        let answer = self.ask(DESCRIBE_CONFIG, op, timeout, |options, queue| {
            let count = resources.len();
            // SAFETY: all are valid.
            unsafe {
                sys::rd_kafka_DescribeConfigs(self.rk(), resources.as_mut_ptr(), count, options, queue)
            };
        });
        // SAFETY: made above.
        resources.into_iter().for_each(|one| unsafe { sys::rd_kafka_ConfigResource_destroy(one) });
        // SAFETY: the result and all that it gives live as long as the event.
        unsafe { configs(&answer?) }
    }
}

/// Where there is no such broker, the controller is asked, as without the option.
fn set_broker(options: *mut sys::rd_kafka_AdminOptions_t, broker: i32) {
    let mut message = [0 as c_char; 128];
    if broker >= 0 {
        // SAFETY: the options are valid, the buffer's length is given.
        unsafe {
            sys::rd_kafka_AdminOptions_set_broker(options, broker, message.as_mut_ptr(), message.len())
        };
    }
}

/// # Safety
/// The answer is one to DescribeConfigs.
unsafe fn configs(answer: &Answer) -> Result<TopicConfigs, KafkaError> {
    let mut count = 0;
    // SAFETY: by this function's own contract; everything lives as long as the event.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConfigs_result(answer.0);
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        let all = (0..count).map(|index| *resources.add(index));
        Ok(all
            .map(|one| (super::text(sys::rd_kafka_ConfigResource_name(one)), config_entries(one)))
            .collect())
    }
}

/// # Safety
/// The resource is one of an answer to DescribeConfigs.
unsafe fn config_entries(resource: *const sys::rd_kafka_ConfigResource_t) -> Result<TopicConfig, KafkaError> {
    let mut count = 0;
    // SAFETY: by this function's own contract; everything lives as long as the answer.
    unsafe {
        check(DESCRIBE_CONFIG, sys::rd_kafka_ConfigResource_error(resource))?;
        let entries = sys::rd_kafka_ConfigResource_configs(resource, &mut count);
        Ok((0..count)
            .map(|index| *entries.add(index))
            .map(|entry| {
                (
                    super::text(sys::rd_kafka_ConfigEntry_name(entry)),
                    super::text(sys::rd_kafka_ConfigEntry_value(entry)),
                )
            })
            .collect())
    }
}

/// # Safety
/// `topic` is valid.
unsafe fn described(topic: *const sys::rd_kafka_TopicDescription_t) -> Described {
    // SAFETY: by this function's own contract.
    unsafe {
        let name = super::text(sys::rd_kafka_TopicDescription_name(topic));
        let error = sys::rd_kafka_TopicDescription_error(topic);
        let code =
            if error.is_null() { Code::RD_KAFKA_RESP_ERR_NO_ERROR } else { sys::rd_kafka_error_code(error) };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Described { name, state: Err(code) };
        }
        let mut partitions = 0;
        let infos = sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let leader = |index| sys::rd_kafka_TopicPartitionInfo_leader(*infos.add(index));
        let has_leaders = (0..partitions).all(|index| !leader(index).is_null());
        let id = topic_id(sys::rd_kafka_TopicDescription_topic_id(topic));
        Described { name, state: Ok(Found { id, partitions, is_readable: is_readable(topic), has_leaders }) }
    }
}

/// # Safety
/// `topic` is valid.
unsafe fn is_readable(topic: *const sys::rd_kafka_TopicDescription_t) -> bool {
    let mut count = 0;
    // SAFETY: by this function's own contract; the array lives as long as the topic.
    unsafe {
        let allowed = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut count);
        let operations = (0..count).map(|index| *allowed.add(index));
        allowed.is_null()
            || operations.into_iter().any(|operation| {
                operation == sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ
                    || operation == sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_ALL
            })
    }
}

/// # Safety
/// `uuid` is null or valid.
unsafe fn topic_id(uuid: *const sys::rd_kafka_Uuid_t) -> TopicId {
    if uuid.is_null() {
        return TopicId::ZERO;
    }
    // SAFETY: by this function's own contract.
    let (high, low) = unsafe {
        (sys::rd_kafka_Uuid_most_significant_bits(uuid), sys::rd_kafka_Uuid_least_significant_bits(uuid))
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    TopicId(bytes)
}

/// # Safety
/// `member` is valid.
unsafe fn member(member: *const sys::rd_kafka_MemberDescription_t) -> Member {
    // SAFETY: by this function's own contract.
    unsafe {
        Member {
            id: super::text(sys::rd_kafka_MemberDescription_consumer_id(member)),
            instance: super::text(sys::rd_kafka_MemberDescription_group_instance_id(member)),
            client: super::text(sys::rd_kafka_MemberDescription_client_id(member)),
            host: super::text(sys::rd_kafka_MemberDescription_host(member)),
        }
    }
}
