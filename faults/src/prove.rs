//! Tests the suite itself: with each of the program's deliberate defects switched on, a fault must fail.

use crate::kafka::Kafka;
use crate::suite::{Plan, line};
use crate::trial::{Fault, Scale, play};

/// The variable that switches a defect on, in a server that was built with the feature `sabotage`.
const SWITCH: &str = "TAILRACE_SABOTAGE";
/// The load factors of the tries. A defect that shows only for a short time, or only to clients that are far behind, may need
/// several tries, the later ones with more load.
const TRIES: [u32; 3] = [1, 3, 3];

/// Each defect, and the faults that detect it first.
const DEFECTS: [(&str, &[&str]); 14] = [
    ("head_before_frames", &["bridge-killed"]),
    ("id_without_view", &["bridge-killed"]),
    ("register_without_waiting", &["bridge-killed"]),
    ("progress_anywhere", &["readers-slow"]),
    ("leave_mid_frame", &["readers-slow"]),
    ("take_below_head", &["fetches-mute"]),
    ("keep_recreated", &["recreated-live"]),
    ("join_ahead", &["bridge-stopped"]),
    ("ids_without_other_partitions", &["bridge-killed"]),
    ("off_by_one", &["bridge-killed"]),
    ("silent_gap", &["deleted-away"]),
    ("blank_line_first", &["bridge-killed"]),
    ("stale_assignment", &["partitions-live"]),
    ("keep_client", &["cluster-wiped"]),
];

/// Runs faults until each defect (of those named, if any are) is detected. Returns how many were not.
pub async fn run(faults: &[Fault], plan: &Plan, names: &[String]) -> usize {
    let (mut kafka, mut unnoticed) = (Kafka::start().await, 0);
    let is_named = |name: &str| names.is_empty() || names.iter().any(|named| named == name);
    let named = (0..).zip(DEFECTS).filter(|(_, (defect, _))| is_named(defect));
    for (index, (defect, felt_by)) in named {
        let mut is_noticed = false;
        let tries =
            (0..).zip(TRIES).flat_map(|(round, load)| felt_by.iter().map(move |name| (round, load, *name)));
        for (round, load, name) in tries {
            let found = faults.iter().find(|fault| fault.name == name);
            let mut fault = found.expect("defects are felt by faults that are there").clone();
            fault.stage.env.push((SWITCH, defect.to_owned()));
            let seed = plan.seed + index * TRIES.len() as u64 + round;
            let scale = Scale { load: plan.scale.load * load, ..plan.scale };
            let (row, again) = play(&fault, kafka, seed, scale).await;
            kafka = again;
            is_noticed = !row.verdict.is_clean();
            println!("{defect}: {}\n    {}", if is_noticed { "noticed" } else { "not yet" }, line(&row));
            row.verdict.remarks.iter().take(2).for_each(|remark| println!("    {remark}"));
            if is_noticed {
                break;
            }
        }
        unnoticed += usize::from(!is_noticed);
    }
    println!("{unnoticed} defects were not noticed");
    unnoticed
}
