//! The cost of very many views: a vector is shared by all views whose positions are the heads, and a further view only costs
//! what it needs for itself.

mod support;

use std::alloc::System;

use cap::Cap;
use support::*;
use tailrace_bridge::*;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

const VIEWS: usize = 10_000;
const PARTITIONS: usize = 64;

fn tenant_request(number: usize) -> SubscribeRequest {
    SubscribeRequest {
        tenant: TenantId::new(&format!("tenant-{number}")).unwrap(),
        ..request(None, StartFrom::Latest)
    }
}

/// One record for each of the tenants, in a partition chosen by the tenant's number.
fn one_for_each(bridge: &Bridge, kafka: &Kafka) {
    for (index, partition) in bridge.topic("orders").unwrap().partitions().iter().enumerate() {
        let tenants = (index..VIEWS).step_by(PARTITIONS);
        let facts: Vec<Fact> =
            tenants.map(|number| kafka.write(index, &format!("tenant-{number}"), "a value", 0, 0)).collect();
        append(bridge, partition, &facts);
    }
}

#[tokio::test]
async fn ten_thousand_views_of_sixty_four_partitions_fit_into_twenty_megabytes() {
    let kafka = Kafka::with_partitions(PARTITIONS);
    let bridge = bridge(64 << 20, &kafka);
    bridge.add_topic("orders", TopicId([1; 16]), &[Start { offset: 0, epoch: -1, log_start: 0 }; PARTITIONS]);
    // The log takes the same memory with and without views.
    one_for_each(&bridge, &kafka);
    let before = MEMORY.allocated();
    let mut all = Vec::with_capacity(VIEWS);
    for number in 0..VIEWS {
        all.push(bridge.subscribe(tenant_request(number)).await.unwrap());
    }
    let idle = MEMORY.allocated() - before;
    assert!(idle < 20_000_000, "{idle} bytes idle");

    let log = MEMORY.allocated();
    one_for_each(&bridge, &kafka);
    for subscription in &mut all {
        let mut records = 0;
        while let Next::Frames { records: more, .. } =
            subscription.next(Budget { records: 100, bytes: 1 << 20 })
        {
            records += more;
        }
        assert_eq!(records, 1);
    }
    let busy = MEMORY.allocated() - log;
    println!("{} bytes a view idle, {} more with a frame each", idle / VIEWS, busy / VIEWS);
    // After a heartbeat, the positions of all are the heads again.
    all.iter_mut().for_each(|subscription| drop(subscription.progress()));
    let calm = MEMORY.allocated() - before;
    println!("{} bytes a view with a frame in the ring, after a heartbeat", calm / VIEWS);
    assert!(calm < 20_000_000, "{calm} bytes with a frame each");
}
