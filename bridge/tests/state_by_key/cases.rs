//! Single cases, each of which the run of random events may miss.

use crate::ledger::Log;
use crate::page::{Kind, Page};
use crate::support::{blocks, joined};
use crate::{Event, New, Scene, Setup, positions};
use tailrace_bridge::*;

const SNAPSHOT: usize = 0;
const SNAPSHOT_CONFLATED: usize = 1;
const SNAPSHOT_OF_GROUP: usize = 3;

fn scene(is_indexed: bool) -> Scene {
    Scene::new([Setup { memory: 16 << 20, is_indexed }; 2])
}

fn of(key: u8, group: u8) -> New {
    New { tenant: "acme", key: Some(key), group: Some(group) }
}

/// Writes to partition 0, and has both replicas ingest it.
fn write(scene: &mut Scene, records: Vec<New>) {
    write_only(scene, records);
    scene.ingest(0, 0);
    scene.ingest(1, 0);
}

fn write_only(scene: &mut Scene, records: Vec<New>) {
    scene.play(&Event::Write { partition: 0, records }).unwrap();
}

/// Reads until the page is live or has nothing to wait for but other replicas.
fn read(scene: &mut Scene, page: usize) {
    for _ in 0..20 {
        scene.read(page, 4, 64).unwrap();
    }
}

fn came(scene: &Scene, page: usize) -> Vec<u64> {
    scene.pages[page].0.came.get(&0).cloned().unwrap_or_default()
}

fn is_synced(scene: &Scene, page: usize) -> bool {
    scene.pages[page].0.synced_at.is_some()
}

fn cut(scene: &mut Scene, page: usize, replica: usize) {
    scene.play(&Event::Cut { page, lost: false, replica }).unwrap();
}

/// Six records of three keys, one of which is ended, one without a key, and one of another tenant.
fn table() -> Vec<New> {
    vec![
        of(1, 0),                                               // 0
        of(2, 0),                                               // 1
        of(1, 1),                                               // 2
        New { tenant: "acme", key: Some(2), group: None },      // 3
        New { tenant: "acme", key: None, group: Some(0) },      // 4
        of(3, 0),                                               // 5
        New { tenant: "globex", key: Some(1), group: Some(0) }, // 6
    ]
}

#[test]
fn a_snapshot_has_each_key_once_and_none_that_has_ended() {
    for is_indexed in [false, true] {
        let mut scene = scene(is_indexed);
        write(&mut scene, table());
        read(&mut scene, SNAPSHOT);
        assert_eq!(came(&scene, SNAPSHOT), [2, 4, 5], "indexed: {is_indexed}");
        assert_eq!(scene.pages[SNAPSHOT].0.synced_at, Some(vec![7, 0]));
        assert_eq!(scene.checked, 3, "its keys were compared with the ledger");
    }
}

#[test]
fn after_the_snapshot_everything_comes_also_what_is_missed() {
    for (page, expected) in
        [(SNAPSHOT, vec![2, 4, 5, 7, 8, 9, 10]), (SNAPSHOT_CONFLATED, vec![2, 4, 5, 7, 8, 10])]
    {
        let mut scene = scene(true);
        write(&mut scene, table());
        read(&mut scene, page);
        write(&mut scene, vec![of(1, 0), of(1, 0)]);
        read(&mut scene, page);
        cut(&mut scene, page, 1);
        write(&mut scene, vec![of(3, 1), New { tenant: "acme", key: Some(3), group: None }]);
        read(&mut scene, page);
        // The tombstone of a key that it has comes, whichever way.
        assert_eq!(came(&scene, page), expected);
    }
}

#[test]
fn an_id_in_the_middle_has_the_bound_and_the_one_at_the_end_has_none() {
    let mut scene = scene(true);
    write(&mut scene, table());
    scene.read(SNAPSHOT, 1, 1).unwrap();
    let parts = |scene: &Scene| {
        let id: EventId = scene.pages[SNAPSHOT].0.id.clone().unwrap().parse().unwrap();
        id.vector.parts
    };
    let bound = &parts(&scene)[1];
    assert_eq!(bound.positions[0].offset, 7, "{bound:?}");
    read(&mut scene, SNAPSHOT);
    assert!(is_synced(&scene, SNAPSHOT));
    assert_eq!(parts(&scene).len(), 1);
}

#[test]
fn who_is_cut_after_each_frame_gets_each_key_all_the_same() {
    for is_indexed in [false, true] {
        let mut scene = scene(is_indexed);
        write(&mut scene, (0..40).map(|number| of(number % 17, 0)).collect());
        for round in 0..60 {
            // At most one frame, and perhaps the wait for what the replica has to find out before.
            for _ in 0..6 {
                let before = came(&scene, SNAPSHOT).len();
                scene.read(SNAPSHOT, 1, 1).unwrap();
                if came(&scene, SNAPSHOT).len() > before {
                    break;
                }
            }
            cut(&mut scene, SNAPSHOT, round % 2);
        }
        read(&mut scene, SNAPSHOT);
        let expected: Vec<u64> = (23..40).collect();
        assert_eq!(came(&scene, SNAPSHOT), expected);
        assert!(is_synced(&scene, SNAPSHOT));
    }
}

#[test]
fn a_replica_that_is_behind_the_bound_says_nothing_before_it_is_there() {
    let mut scene = scene(true);
    write(&mut scene, vec![of(1, 0), of(2, 0)]);
    // Only the first replica has the later record of key 1, for which the first one is left out.
    write_only(&mut scene, vec![of(3, 0), of(1, 1)]);
    scene.ingest(0, 0);
    while came(&scene, SNAPSHOT).is_empty() {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    assert_eq!(came(&scene, SNAPSHOT), [1]);
    cut(&mut scene, SNAPSHOT, 1);
    read(&mut scene, SNAPSHOT);
    assert!(!is_synced(&scene, SNAPSHOT));
    scene.ingest(1, 0);
    read(&mut scene, SNAPSHOT);
    assert!(is_synced(&scene, SNAPSHOT));
    assert_eq!(came(&scene, SNAPSHOT), [1, 2, 3]);
}

#[test]
fn a_key_leaves_a_filter_and_an_older_record_of_it_is_not_shown() {
    let mut scene = scene(true);
    write(&mut scene, vec![of(1, 1), of(2, 1), of(1, 0)]);
    read(&mut scene, SNAPSHOT_OF_GROUP);
    let shown =
        |scene: &Scene| -> Vec<u64> { scene.pages[SNAPSHOT_OF_GROUP].0.shown.values().copied().collect() };
    // The client has nothing yet, so it is not told that key 1 has left.
    assert_eq!((came(&scene, SNAPSHOT_OF_GROUP), shown(&scene)), (vec![1], vec![1]));
    write(&mut scene, vec![of(2, 0)]);
    read(&mut scene, SNAPSHOT_OF_GROUP);
    assert_eq!((came(&scene, SNAPSHOT_OF_GROUP), shown(&scene)), (vec![1, 3], vec![]));
    // And while it is away.
    write(&mut scene, vec![of(2, 1)]);
    read(&mut scene, SNAPSHOT_OF_GROUP);
    cut(&mut scene, SNAPSHOT_OF_GROUP, 1);
    write(&mut scene, vec![New { tenant: "acme", key: Some(2), group: None }]);
    read(&mut scene, SNAPSHOT_OF_GROUP);
    assert_eq!((came(&scene, SNAPSHOT_OF_GROUP), shown(&scene)), (vec![1, 3, 4, 5], vec![]));
}

#[test]
fn a_filter_on_the_key_leaves_nobody() {
    let mut scene = scene(true);
    write(&mut scene, vec![of(1, 0), of(2, 0)]);
    let mut request = Page::new(Kind { from_snapshot: true, conflate: true, group: None }).request();
    request.filter = Filter::parse(&[], &["k1".to_owned()], &[]).unwrap();
    let mut subscription = scene.clock.block_on(scene.replicas[0].subscribe(request)).unwrap();
    let mut page = Page::new(Kind { from_snapshot: true, conflate: true, group: None });
    let mut read = |scene: &Scene| {
        for _ in 0..20 {
            match subscription.next(Budget { records: 64, bytes: 4096 }) {
                Next::Frames { bytes, .. } => drop(page.take(&bytes.concat()).unwrap()),
                Next::Wait if subscription.is_live() => break,
                Next::Wait => scene.clock.block_on(subscription.changed()),
            }
        }
        page.came.get(&0).cloned().unwrap_or_default()
    };
    assert_eq!(read(&scene), [0]);
    write(&mut scene, vec![of(2, 1), of(1, 1)]);
    assert_eq!(read(&scene), [0, 3]);
}

/// A client has key 2. Key 1 was left out, since it comes again at the end of the log, which is truncated.
fn before_a_truncation(replica: usize) -> Scene {
    let mut scene = scene(true);
    write(&mut scene, vec![of(1, 0), of(2, 0), of(3, 0), of(1, 1)]);
    while came(&scene, SNAPSHOT).is_empty() {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    assert_eq!(came(&scene, SNAPSHOT), [1]);
    if replica != 0 {
        cut(&mut scene, SNAPSHOT, replica);
    }
    scene.play(&Event::Truncate { partition: 0, back: 1, noticed: [true; 2] }).unwrap();
    scene
}

#[test]
fn a_log_that_is_truncated_above_the_position_is_a_gap_within_a_snapshot() {
    for replica in [0, 1] {
        let mut scene = before_a_truncation(replica);
        scene.ingest(0, 0);
        scene.ingest(1, 0);
        // A page that is told of it begins anew.
        let is_anew = (0..20).any(|_| {
            scene.read(SNAPSHOT, 1, 1).unwrap();
            scene.pages[SNAPSHOT].0.id.is_none()
        });
        assert!(is_anew, "at replica {replica}");
        scene.settle().unwrap();
    }
}

/// A client that reads on after the gap is told of it once, and gets the snapshot of the log as it is now.
#[test]
fn after_a_gap_within_a_snapshot_another_bound_is_taken() {
    let mut scene = before_a_truncation(0);
    let mut subscription = scene.pages[SNAPSHOT].0.subscription.take().unwrap();
    let (mut told, mut id_of_gap) = (Vec::new(), None);
    for _ in 0..40 {
        match subscription.next(Budget { records: 1, bytes: 4096 }) {
            Next::Frames { bytes, .. } => {
                for block in blocks(&joined(bytes)) {
                    let data: serde_json::Value = serde_json::from_str(&block.data.unwrap()).unwrap();
                    if block.event == "tailrace.gap" {
                        id_of_gap = block.id;
                        told.push(format!("{} {} {}", data["code"], data["from"], data["next"]));
                    } else {
                        told.push(format!("{}{}", block.event, data["offset"]));
                    }
                }
            }
            Next::Wait if subscription.is_live() => break,
            Next::Wait => scene.clock.block_on(subscription.changed()),
        }
    }
    // The log has key 3 at offset 2, and a record without a key in place of the one that was cut.
    assert_eq!(told, [r#""truncated" 2 2"#, "2", "3", "tailrace.syncednull"]);
    let mut vector = id_of_gap.unwrap().parse::<EventId>().unwrap().vector;
    assert_eq!(vector.take_bounds(), []);
}

/// Where a client was told that it gets everything, nothing is left out: the bound of another partition is carried along.
#[test]
fn a_snapshot_that_goes_on_leaves_nothing_out_where_it_has_ended() {
    let mut scene = scene(true);
    scene
        .play(&Event::Write { partition: 1, records: vec![of(1, 0), of(2, 0), of(3, 0), of(1, 1)] })
        .unwrap();
    (0..2).for_each(|replica| scene.ingest(replica, 1));
    write(&mut scene, vec![of(7, 0)]);
    while !scene.pages[SNAPSHOT].0.came.contains_key(&1) {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    // A replica that does not see the second partition says that the first one is whole.
    let half = scene.started(1, 0);
    half.remove_topic("orders");
    half.add_topic("orders", scene.topic, &[Start { offset: 1, epoch: 0, log_start: 0 }]);
    scene.replicas[1] = half;
    cut(&mut scene, SNAPSHOT, 1);
    read(&mut scene, SNAPSHOT);
    assert!(is_synced(&scene, SNAPSHOT));
    cut(&mut scene, SNAPSHOT, 0);
    write_only(&mut scene, vec![of(7, 0), of(7, 1)]);
    scene.ingest(0, 0);
    read(&mut scene, SNAPSHOT);
    assert_eq!(came(&scene, SNAPSHOT), [0, 1, 2]);
    assert_eq!(scene.pages[SNAPSHOT].0.came[&1], [1, 2, 3]);
}

/// A replica that begins in the middle of a log is told no epoch: nothing would show a truncation below a bound that it takes.
#[test]
fn a_log_that_is_truncated_below_a_bound_of_no_epoch_is_a_gap() {
    let mut scene = scene(false);
    write(&mut scene, vec![of(1, 0), of(2, 0), of(3, 0), of(1, 1), of(4, 0)]);
    scene.play(&Event::Restart { replica: 0, back: 1 }).unwrap();
    while came(&scene, SNAPSHOT).is_empty() {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    // Key 1 was left out at its first record.
    assert_eq!(came(&scene, SNAPSHOT), [1]);
    cut(&mut scene, SNAPSHOT, 0);
    scene.play(&Event::Truncate { partition: 0, back: 2, noticed: [true; 2] }).unwrap();
    write(&mut scene, vec![of(5, 0), of(6, 0)]);
    scene.settle().unwrap();
}

/// Page 0 has key 2. Key 1 was left out, since it comes again below the bound. The page goes to a replica that does not see the
/// topic, which says that it is live, and must not forget the bound.
fn at_a_replica_without_the_topic() -> Scene {
    let mut scene = scene(true);
    write(&mut scene, vec![of(1, 0), of(2, 0), of(3, 0), of(1, 1)]);
    while came(&scene, SNAPSHOT).is_empty() {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    assert_eq!(came(&scene, SNAPSHOT), [1]);
    let blind = scene.started(1, 4);
    blind.remove_topic("orders");
    scene.replicas[1] = blind;
    cut(&mut scene, SNAPSHOT, 1);
    scene
}

#[test]
fn the_bound_of_a_topic_that_a_replica_does_not_see_is_carried_along() {
    let mut scene = at_a_replica_without_the_topic();
    read(&mut scene, SNAPSHOT);
    assert_eq!(came(&scene, SNAPSHOT), [1]);
    // The next replica has the topic, and has not read as far as the bound.
    scene.replicas[1] = scene.started(1, 4);
    cut(&mut scene, SNAPSHOT, 1);
    scene.pages[SNAPSHOT].0.synced_at = None;
    read(&mut scene, SNAPSHOT);
    assert!(
        !is_synced(&scene, SNAPSHOT),
        "the first record of key 1 was left out, and its next one is not read yet"
    );
    scene.ingest(1, 0);
    read(&mut scene, SNAPSHOT);
    assert_eq!(came(&scene, SNAPSHOT), [1, 2, 3]);
    assert!(is_synced(&scene, SNAPSHOT), "it is told when it has the topic's state");
    scene.settle().unwrap();
}

#[test]
fn a_bound_that_was_carried_along_holds_when_the_topic_appears() {
    let mut scene = at_a_replica_without_the_topic();
    read(&mut scene, SNAPSHOT);
    // The replica begins to read the topic, and has read less of it than the bound says.
    let starts = [Start { offset: 0, epoch: -1, log_start: 0 }; 2];
    let topic = scene.topic;
    scene.replicas[1].add_topic("orders", topic, &starts);
    let partition = scene.replicas[1].topic("orders").unwrap().partitions()[0].clone();
    let logs = scene.kafka.0.lock().unwrap();
    let records: Vec<NewRecord<'_>> = logs[0].facts().take(3).map(crate::ledger::record).collect();
    scene.replicas[1].append(&partition, &records, Position { offset: 3, epoch: 0 });
    drop(records);
    drop(logs);
    scene.pages[SNAPSHOT].0.synced_at = None;
    read(&mut scene, SNAPSHOT);
    assert!(!is_synced(&scene, SNAPSHOT), "it lacks key 1");
    scene.ingest(1, 0);
    read(&mut scene, SNAPSHOT);
    assert!(is_synced(&scene, SNAPSHOT));
    assert_eq!(came(&scene, SNAPSHOT), [1, 2, 3]);
    // From here on everything comes.
    write(&mut scene, vec![of(1, 0), of(1, 0)]);
    read(&mut scene, SNAPSHOT);
    assert_eq!(came(&scene, SNAPSHOT), [1, 2, 3, 4, 5]);
}

/// The bound is that of the start, whatever is written meanwhile: a stream of a busy topic arrives, and shows one time.
#[test]
fn a_snapshot_ends_at_the_bound_that_was_taken_at_its_start() {
    for is_indexed in [false, true] {
        let mut scene = scene(is_indexed);
        write(&mut scene, table());
        for _ in 0..20 {
            scene.read(SNAPSHOT, 1, 1).unwrap();
            write(&mut scene, vec![of(1, 0), of(4, 0)]);
        }
        assert_eq!(scene.pages[SNAPSHOT].0.synced_at, Some(vec![7, 0]), "indexed: {is_indexed}");
        scene.settle().unwrap();
    }
}

/// A replica that has not noticed a truncation must not leave records out for later ones that are gone.
#[test]
fn a_replica_whose_memory_is_of_a_log_that_was_truncated_leaves_nothing_out_for_it() {
    let mut scene = scene(false);
    write(&mut scene, vec![of(9, 0), of(1, 0), of(2, 0), of(1, 1)]);
    scene.play(&Event::Truncate { partition: 0, back: 1, noticed: [true, false] }).unwrap();
    while came(&scene, SNAPSHOT).is_empty() {
        scene.read(SNAPSHOT, 1, 1).unwrap();
    }
    cut(&mut scene, SNAPSHOT, 1);
    for _ in 0..10 {
        if came(&scene, SNAPSHOT).len() == 1 {
            scene.read(SNAPSHOT, 1, 1).unwrap();
        }
    }
    scene.ingest(1, 0);
    read(&mut scene, SNAPSHOT);
    scene.settle().unwrap();
    assert_eq!(came(&scene, SNAPSHOT)[..3], [0, 1, 2]);
}

#[test]
fn a_slow_client_that_conflates_gets_what_is_true_now() {
    let mut scene = scene(false);
    let page = 2;
    write(&mut scene, vec![of(1, 0)]);
    read(&mut scene, page);
    for number in 0..50 {
        write(&mut scene, vec![of(number % 3, 0)]);
    }
    // Frames are dropped after a while.
    scene.play(&Event::Pass { seconds: 30 }).unwrap();
    read(&mut scene, page);
    assert_eq!(came(&scene, page), [0, 48, 49, 50]);
}

#[test]
fn an_index_is_built_by_one_read_and_later_snapshots_read_only_what_they_deliver() {
    let log = |scene: &Scene, change: &dyn Fn(&mut Log)| change(&mut scene.kafka.0.lock().unwrap()[0]);
    let mut scene = Scene::new([Setup { memory: 64 * 1024, is_indexed: true }; 2]);
    // One key is changed five thousand times, between two others.
    log(&scene, &|log| {
        log.write("acme", Some("first".to_owned()), Some(0), 0);
        (0..5_000).for_each(|_| log.write("globex", Some("busy".to_owned()), Some(0), 0));
        log.write("acme", Some("last".to_owned()), Some(0), 0);
    });
    scene.ingest(0, 0);
    read(&mut scene, SNAPSHOT);
    assert_eq!(came(&scene, SNAPSHOT), [0, 5_001]);
    let built = scene.kafka.reads();
    assert!(built > 5, "{built} reads");
    read(&mut scene, SNAPSHOT_CONFLATED);
    assert_eq!(came(&scene, SNAPSHOT_CONFLATED), [0, 5_001]);
    let later = scene.kafka.reads() - built;
    assert!(later <= 3, "{later} reads");
    assert_eq!(positions(scene.pages[SNAPSHOT].0.id.as_ref().unwrap(), scene.topic).unwrap(), [5_002, 0]);
}
