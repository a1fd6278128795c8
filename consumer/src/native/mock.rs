//! librdkafka's mock cluster: a broker inside of the process, for the demo.

use rdkafka_sys as sys;

use super::client::{c_string, check};
use super::{Client, Role};
use crate::error::KafkaError;

/// A mock cluster of one broker. It listens on a free port of loopback and ends when dropped.
pub(crate) struct Mock {
    /// Owns the cluster.
    client: Client,
}

impl Mock {
    pub(crate) fn new() -> Result<Mock, KafkaError> {
        let properties = [("test.mock.num.brokers".to_owned(), "1".to_owned())];
        let mock = Mock { client: Client::new(&properties, Role::Admin)? };
        // SAFETY: the cluster lives as long as the client. Nobody else joins a demo's group, so nobody is waited for.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(mock.cluster(), 0) };
        Ok(mock)
    }

    /// Where clients connect, as `host:port`.
    pub(crate) fn bootstrap_servers(&self) -> String {
        // SAFETY: the string lives as long as the cluster.
        unsafe { super::text(sys::rd_kafka_mock_cluster_bootstraps(self.cluster())) }
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        let name = c_string(name);
        // SAFETY: the cluster is valid; the name is copied.
        let code = unsafe { sys::rd_kafka_mock_topic_create(self.cluster(), name.as_ptr(), partitions, 1) };
        check("create a topic", code)
    }

    fn cluster(&self) -> *mut sys::rd_kafka_mock_cluster_t {
        // SAFETY: the handle is valid; it has a cluster because of the property that it was made with.
        unsafe { sys::rd_kafka_handle_mock_cluster(self.client.rk()) }
    }
}
