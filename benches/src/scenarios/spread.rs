//! The cost of an event for one client out of very many: ten thousand tenants, or filters, compared with ten.
//!
//! The ratio of both server figures is divided by the ratio of both floor figures. The compared sides alternate in short
//! slices; servers and floors do not alternate, since one process cannot have all of their clients.

use std::time::Duration;

use anyhow::Result;

use crate::clients::Clients;
use crate::figures::{Point, Report};
use crate::floor_process::{FloorProcess, To};
use crate::frame::learn;
use crate::pace::Pace;
use crate::producer::{Flow, Topic, tenant};
use crate::scenario::{Scenario, Stage};
use crate::server::Server;
use crate::slice::{self, Slice};

const FEW: usize = 10;
const MANY: usize = 10_000;
const PARTITIONS: i32 = 12;

/// Bursts, each event of which goes to another client, with ten and with ten thousand clients: with single events, most of the
/// cost would be waking up.
const PACE: Pace = Pace { rate: 4000, burst: 10 };
const TENANT: &str = "spread";

/// Long enough for every client to get an event.
const WARM_UP: Duration = Duration::from_secs(4);

pub(crate) struct Spread {
    name: &'static str,
    title: &'static str,
    /// What each client has of its own.
    own: Own,
    /// The most that the cost may rise over the floor's.
    target: f64,
}

/// What a client has of its own, so that each event goes to one client.
#[derive(Clone, Copy)]
enum Own {
    Tenant,
    /// All share a tenant, as with the others that follow.
    Value,
    /// Beside a value, a prefix that no event has: what is measured are looks that find nothing.
    Prefix,
    /// Beside a value, a bound that no event meets. A bound that events meet would bring them to all clients with a lower one.
    Bound,
}

impl Own {
    fn path(self, index: usize) -> String {
        let filter = match self {
            Own::Tenant => return format!("/t/{}/events", tenant(TENANT, index)),
            Own::Value => format!("value.user={index}"),
            Own::Prefix => format!("(value.user={index}|value.pad^=x{index}-)"),
            Own::Bound => format!("(value.user={index}|value.user%3E{})", 1_000_000 + index),
        };
        format!("/t/{}/events?where={filter}", tenant(TENANT, 0))
    }
}

pub(crate) const TENANTS: Spread = Spread {
    name: "many-tenants",
    title: "10,000 tenants with one client each",
    own: Own::Tenant,
    target: 1.1,
};

pub(crate) const FILTERS: Spread = Spread {
    name: "many-filters",
    title: "10,000 filters of one tenant, one client each",
    own: Own::Value,
    target: 1.1,
};

pub(crate) const PREFIXES: Spread = Spread {
    name: "many-prefixes",
    title: "10,000 filters of one tenant with a prefix each",
    own: Own::Prefix,
    target: 1.2,
};

pub(crate) const RANGES: Spread = Spread {
    name: "many-ranges",
    title: "10,000 filters of one tenant with a bound each",
    own: Own::Bound,
    target: 1.2,
};

/// One side with few or many clients, from which pairs of slices are taken.
type Side<'a> = Box<dyn FnMut(Duration) -> Result<Slice> + 'a>;

impl Scenario for Spread {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn run(&self, stage: &Stage) -> Result<Report> {
        let (pairs, seconds) = stage.pick((5, 3), (1, 2));
        let time = Duration::from_secs(seconds);
        let (ours, frame) = self.on_servers(stage, pairs, time)?;
        let floors = on_floors(stage, pairs, time, &frame)?;
        let mut point = Point::new("");
        for ([few, many], [floor_few, floor_many]) in ours.iter().zip(&floors) {
            let (rise, floor_rise) = (many.cpu_us() / few.cpu_us(), floor_many.cpu_us() / floor_few.cpu_us());
            point.add("events per second", 0, many.deliveries_per_second());
            point.add("server CPU per event with 10, µs", 2, few.cpu_us());
            point.add("server CPU per event with 10,000, µs", 2, many.cpu_us());
            point.add("floor CPU per event with 10, µs", 2, floor_few.cpu_us());
            point.add("floor CPU per event with 10,000, µs", 2, floor_many.cpu_us());
            point.add("the server's rises, ×", 3, rise);
            point.add("the floor's rises, ×", 3, floor_rise);
            point.add_target("the server's rise over the floor's, ×", 3, self.target, rise / floor_rise);
            point.add("p99 with 10, ms", 2, few.p99_ms);
            point.add("p99 with 10,000, ms", 2, many.p99_ms);
            point.add("generator's CPU beside the server, % of a core", 0, many.generator * 100.0);
            point.add("generator's CPU beside the floor, % of a core", 0, floor_many.generator * 100.0);
            point.add("missing", 0, few.missing + many.missing);
        }
        let extent =
            format!("{pairs} pairs of slices of {seconds} s, with 10 and with 10,000, on servers and floors");
        Ok(Report { extent, points: vec![point] })
    }
}

impl Spread {
    /// Returns pairs of slices with few and many clients, and the bytes of an event.
    fn on_servers(&self, stage: &Stage, pairs: usize, time: Duration) -> Result<(Vec<[Slice; 2]>, Vec<u8>)> {
        let start = |count| -> Result<(Topic, Server, Clients)> {
            stage.say(format!("a server with {count} clients"));
            let topic = stage.topic(PARTITIONS)?;
            let server = stage.server(&topic, &[])?;
            let own = self.own;
            let clients = Clients::connect(server.address, count, move |index| own.path(index))?;
            Ok((topic, server, clients))
        };
        let (few_topic, few_server, mut few) = start(FEW)?;
        let (many_topic, many_server, mut many) = start(MANY)?;
        let on = |topic, server, clients: &mut Clients, time| {
            let count = clients.len();
            let (tenants, users) = if let Own::Tenant = self.own { (count, 1) } else { (1, count) };
            let flow = Flow { pace: PACE, tenant: TENANT, tenants, users, orders: false };
            slice::on_server(server, clients, (stage.bootstrap(), topic), (flow, To::Each(count)), time)
        };
        stage.say("warm up");
        many.capture();
        on(&many_topic, &many_server, &mut many, WARM_UP)?;
        let frame = learn(&many.captured(), 1)?;
        let slices = take_pairs(
            stage,
            "servers",
            pairs,
            time,
            [
                Box::new(|time| on(&few_topic, &few_server, &mut few, time)),
                Box::new(|time| on(&many_topic, &many_server, &mut many, time)),
            ],
        )?;
        few_server.stop();
        many_server.stop();
        Ok((slices, frame))
    }
}

fn on_floors(stage: &Stage, pairs: usize, time: Duration, frame: &[u8]) -> Result<Vec<[Slice; 2]>> {
    let start = |count| -> Result<(FloorProcess, Clients)> {
        let mut floor = FloorProcess::start()?;
        floor.frame(frame)?;
        let clients = Clients::connect(floor.address, count, |_| "/".to_owned())?;
        Ok((floor, clients))
    };
    let (mut few_floor, mut few) = start(FEW)?;
    let (mut many_floor, mut many) = start(MANY)?;
    take_pairs(
        stage,
        "floors",
        pairs,
        time,
        [
            Box::new(|time| slice::on_floor(&mut few_floor, &mut few, (PACE, To::Each(FEW)), time)),
            Box::new(|time| slice::on_floor(&mut many_floor, &mut many, (PACE, To::Each(MANY)), time)),
        ],
    )
}

fn take_pairs(
    stage: &Stage,
    what: &str,
    pairs: usize,
    time: Duration,
    [mut few, mut many]: [Side<'_>; 2],
) -> Result<Vec<[Slice; 2]>> {
    let pair = |pair| {
        stage.say(format!("{what}: pair {pair} of {pairs}"));
        Ok([few(time)?, many(time)?])
    };
    (1..=pairs).map(pair).collect()
}
