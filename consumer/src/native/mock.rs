//! librdkafka's mock cluster: a broker inside of the process, for the demo.

use rdkafka_sys as sys;

use super::client::{c_string, check};
use super::{Client, Role};
use crate::error::KafkaError;

/// A mock cluster of one broker. It listens on a free port of loopback and ends when dropped.
pub(crate) struct Mock {
    cluster: *mut sys::rd_kafka_mock_cluster_t,
    /// Whose threads the cluster lives on; it goes after the cluster.
    _client: Client,
}

// SAFETY: the mock cluster's functions lock it, or hand over to its own thread.
unsafe impl Send for Mock {}
// SAFETY: as above.
unsafe impl Sync for Mock {}

impl Mock {
    pub(crate) fn new() -> Result<Mock, KafkaError> {
        let client = Client::new(&[], Role::Admin)?;
        // SAFETY: the handle is valid, and outlives the cluster.
        let cluster = unsafe { sys::rd_kafka_mock_cluster_new(client.rk(), 1) };
        if cluster.is_null() {
            return Err(KafkaError::Config("the mock cluster finds no port on loopback".to_owned()));
        }
        // SAFETY: the cluster is valid. Nobody else joins a demo's group, so nobody is waited for.
        unsafe { sys::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0) };
        Ok(Mock { cluster, _client: client })
    }

    /// Where clients connect, as `host:port`.
    pub(crate) fn bootstrap_servers(&self) -> String {
        // SAFETY: the string lives as long as the cluster.
        unsafe { super::text(sys::rd_kafka_mock_cluster_bootstraps(self.cluster)) }
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: i32) -> Result<(), KafkaError> {
        let name = c_string(name);
        // SAFETY: the cluster is valid; the name is copied.
        let code = unsafe { sys::rd_kafka_mock_topic_create(self.cluster, name.as_ptr(), partitions, 1) };
        check("create a topic", code)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: owned by this value alone, and destroyed before its client.
        unsafe { sys::rd_kafka_mock_cluster_destroy(self.cluster) };
    }
}
