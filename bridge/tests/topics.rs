//! Topics that are added and removed while clients have ids with them: each change is announced once, under the topic's name.

mod support;

use support::*;
use tailrace_bridge::*;

const START: Start = Start { offset: 0, epoch: -1, log_start: 0 };

async fn subscribe(bridge: &Bridge, client: &mut Client) -> Subscription {
    let mut subscription = bridge.subscribe(request(client.id.clone(), StartFrom::Latest)).await.unwrap();
    client.begin(&subscription.id());
    subscription
}

/// Reads all that there is.
fn read(subscription: &mut Subscription, client: &mut Client) {
    let mut waits = 0;
    while waits < 4 {
        match subscription.next(Budget { records: 10, bytes: 1 << 16 }) {
            Next::Frames { bytes, .. } => client.take(&joined(bytes)),
            Next::Wait => waits += 1,
        }
    }
}

/// Reads up to the first gap.
fn hear_of_one(subscription: &mut Subscription, client: &mut Client) {
    for _ in 0..10 {
        if let Next::Frames { bytes, .. } = subscription.next(Budget { records: 1, bytes: 1 }) {
            client.take(&joined(bytes));
        }
        if !client.gaps.is_empty() {
            break;
        }
    }
    assert_eq!(client.gaps.len(), 1, "{:?}", client.gaps);
}

fn topics_of(client: &Client) -> Vec<usize> {
    let id: EventId = client.id.as_deref().unwrap().parse().unwrap();
    id.vector.parts.iter().map(|part| part.positions.len()).collect()
}

fn of(topic: &str) -> impl Fn(&&String) -> bool {
    let named = format!("\"topic\":\"{topic}\"");
    move |gap| gap.contains("\"code\":\"deleted\"") && gap.contains(&named)
}

fn bridge_of_two() -> Bridge {
    let bridge = bridge(1 << 20, &Kafka::with_partitions(2));
    bridge.add_topic("orders", TopicId([1; 16]), &[START, START]);
    bridge.add_topic("calm", TopicId([2; 16]), &[START, START, START]);
    bridge
}

#[tokio::test]
async fn what_an_id_has_of_a_topic_that_is_not_there_is_carried_while_others_come() {
    let (bridge, mut client) = (bridge_of_two(), Client::default());
    drop(subscribe(&bridge, &mut client).await);
    bridge.remove_topic("orders");
    bridge.remove_topic("calm");
    let mut subscription = subscribe(&bridge, &mut client).await;
    read(&mut subscription, &mut client);
    assert!(client.gaps.is_empty(), "{:?}", client.gaps);
    // One topic exists again; nothing is known of the other one yet.
    bridge.add_topic("orders", TopicId([3; 16]), &[START, START]);
    read(&mut subscription, &mut client);
    let recreated =
        |gap: &String| gap.contains("\"code\":\"recreated\"") && gap.contains("\"topic\":\"orders\"");
    assert!(client.gaps.len() == 2 && client.gaps.iter().all(recreated), "{:?}", client.gaps);
    assert!(topics_of(&client).contains(&3), "the id has the other topic still: {:?}", topics_of(&client));
    client.gaps.clear();
    bridge.add_topic("calm", TopicId([4; 16]), &[START; 3]);
    read(&mut subscription, &mut client);
    assert!(
        client.gaps.len() == 3 && client.gaps.iter().all(|gap| gap.contains("calm")),
        "{:?}",
        client.gaps
    );
}

#[tokio::test]
async fn topics_that_go_one_after_another_are_told_once_and_by_name() {
    let (bridge, mut client) = (bridge_of_two(), Client::default());
    let mut subscription = subscribe(&bridge, &mut client).await;
    read(&mut subscription, &mut client);
    bridge.remove_topic("orders");
    // The client has got the gap of one partition when the second topic is removed.
    hear_of_one(&mut subscription, &mut client);
    bridge.remove_topic("calm");
    read(&mut subscription, &mut client);
    assert_eq!(client.gaps.iter().filter(of("orders")).count(), 2, "{:?}", client.gaps);
    assert_eq!(client.gaps.iter().filter(of("calm")).count(), 3, "{:?}", client.gaps);
    assert_eq!(client.gaps.len(), 5, "{:?}", client.gaps);
}

#[tokio::test]
async fn a_topic_that_is_back_before_its_end_was_told_is_one_gap() {
    let (bridge, mut client) = (bridge_of_two(), Client::default());
    let mut subscription = subscribe(&bridge, &mut client).await;
    read(&mut subscription, &mut client);
    bridge.remove_topic("calm");
    hear_of_one(&mut subscription, &mut client);
    bridge.add_topic("calm", TopicId([4; 16]), &[START; 3]);
    read(&mut subscription, &mut client);
    assert_eq!(client.gaps.len(), 3, "{:?}", client.gaps);
    read(&mut subscription, &mut client);
    let id: EventId = client.id.as_deref().unwrap().parse().unwrap();
    assert!(id.vector.parts.iter().all(|part| part.positions.iter().all(Position::is_known)), "{id:?}");
}

/// The client has taken a part of the view's records of the new topic when the rest leaves the ring: that part does not come
/// again.
#[tokio::test]
async fn a_topic_that_appears_while_a_client_lags_is_given_once() {
    let (bridge, mut client) = (bridge(16 << 20, &Kafka::with_partitions(1)), Client::default());
    bridge.add_topic("orders", TopicId([1; 16]), &[START]);
    let mut subscription = subscribe(&bridge, &mut client).await;
    read(&mut subscription, &mut client);
    bridge.add_topic("calm", TopicId([2; 16]), &[START]);
    let calm = bridge.topic("calm").unwrap().partitions()[0].clone();
    let fact = |offset: u64| Fact {
        offset,
        timestamp: offset as i64,
        tenant: "acme".to_owned(),
        value: format!("{offset}:{}", "x".repeat(10_000)),
    };
    append(&bridge, &calm, &[fact(0), fact(1)]);
    match subscription.next(Budget { records: 1, bytes: 1 }) {
        Next::Frames { bytes, records: 1 } => client.take(&joined(bytes)),
        other => panic!("{other:?}"),
    }
    // More bytes than a ring holds.
    (2..300).for_each(|offset| append(&bridge, &calm, &[fact(offset)]));
    read(&mut subscription, &mut client);
    assert!(client.gaps.is_empty(), "{:?}", client.gaps);
    let number = |value: &String| value.split_once(':').unwrap().0.parse::<u64>().unwrap();
    assert_eq!(client.values.iter().map(number).collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
}
