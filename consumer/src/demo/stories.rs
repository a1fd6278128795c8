//! What the demo tells: orders that move through their states, a board of metrics, log lines, notifications.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// Whose stories they are.
pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Orders under way per tenant; the oldest goes on first when there are more.
const MAX_ORDERS: usize = 24;
/// Chances per tenant and step, in a thousand: about nine events a second and tenant in all.
const NEW_ORDER: u32 = 60;
const ORDER_MOVES: u32 = 150;
const LOG_LINE: u32 = 220;
const NOTIFICATION: u32 = 150;
/// Every gauge is written once in two seconds, one at a time.
const METRIC: u32 = 250;
/// An incident begins, of this many steps.
const INCIDENT: u32 = 1;
const INCIDENT_STEPS: u32 = 150;

const STATES: [(&str, &str); 5] = [
    ("order.created", "created"),
    ("order.paid", "paid"),
    ("order.packed", "packed"),
    ("order.shipped", "shipped"),
    ("order.delivered", "delivered"),
];
const ITEMS: [(&str, u32); 6] =
    [("lamp", 39), ("desk", 249), ("chair", 129), ("shelf", 89), ("mug", 12), ("monitor", 319)];
/// Each with its usual value, that in an incident, and how far it walks at a time.
const GAUGES: [(&str, f64, f64, f64); 5] = [
    ("cpu_percent", 38.0, 71.0, 4.0),
    ("requests_per_second", 420.0, 330.0, 25.0),
    ("p99_ms", 84.0, 290.0, 6.0),
    ("queue_depth", 12.0, 64.0, 3.0),
    ("error_percent", 0.6, 4.2, 0.15),
];
const SERVICES: [&str; 4] = ["checkout", "inventory", "payments", "gateway"];
const LINES: [(&str, &str); 8] = [
    ("info", "request completed"),
    ("info", "session opened"),
    ("info", "cache refreshed"),
    ("info", "job finished"),
    ("debug", "connection reused"),
    ("warn", "slow query"),
    ("warn", "retrying upstream"),
    ("error", "payment provider timed out"),
];
/// Of an incident.
const TROUBLES: [(&str, &str); 3] = [
    ("error", "payment provider timed out"),
    ("error", "no connection left in the pool"),
    ("warn", "retrying upstream"),
];
const PEOPLE: [&str; 6] = ["ada", "grace", "linus", "margaret", "dennis", "barbara"];
const NOTICES: [(&str, &str); 4] = [
    ("mention", "mentioned you in a comment"),
    ("assignment", "assigned an order to you"),
    ("approval", "asked for your approval"),
    ("reminder", "reminds you of a delivery"),
];

/// One record to produce.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) topic: &'static str,
    pub(super) tenant: &'static str,
    pub(super) kind: &'static str,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) time: i64,
}

/// An order that is not delivered yet.
struct Order {
    number: u64,
    state: usize,
    customer: &'static str,
    item: &'static str,
    quantity: u32,
    total: u32,
}

/// What goes on at one tenant.
struct Tenant {
    name: &'static str,
    orders: Vec<Order>,
    next_order: u64,
    gauges: [f64; GAUGES.len()],
    next_gauge: usize,
    /// Steps until the incident is over; zero if there is none.
    incident: u32,
}

/// The state of all stories.
pub(super) struct Stories {
    random: SmallRng,
    tenants: Vec<Tenant>,
}

/// Milliseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX)
}

impl Stories {
    pub(super) fn new() -> Stories {
        let tenant = |(index, &name): (usize, &&'static str)| Tenant {
            name,
            orders: Vec::new(),
            next_order: 1000 * (index as u64 + 1),
            gauges: GAUGES.map(|(_, usual, _, _)| usual),
            next_gauge: index,
            incident: 0,
        };
        Stories { random: SmallRng::from_os_rng(), tenants: TENANTS.iter().enumerate().map(tenant).collect() }
    }

    /// What happens in one tenth of a second.
    pub(super) fn step(&mut self, time: i64) -> Vec<Event> {
        let Stories { random, tenants } = self;
        tenants.iter_mut().flat_map(|tenant| tenant.step(random, time)).collect()
    }
}

impl Tenant {
    fn step(&mut self, random: &mut SmallRng, time: i64) -> Vec<Event> {
        let mut events = Vec::new();
        self.incident = match self.incident {
            0 if chance(random, INCIDENT) => INCIDENT_STEPS,
            left => left.saturating_sub(1),
        };
        if chance(random, NEW_ORDER) && self.orders.len() < MAX_ORDERS {
            events.push(self.new_order(random, time));
        }
        if chance(random, ORDER_MOVES) || self.orders.len() >= MAX_ORDERS {
            events.extend(self.move_order(random, time));
        }
        if chance(random, METRIC) {
            events.push(self.metric(random, time));
        }
        if chance(random, LOG_LINE) {
            events.push(self.log_line(random, time));
        }
        if chance(random, NOTIFICATION) {
            events.push(self.notification(random, time));
        }
        events
    }

    fn event(
        &self,
        topic: &'static str,
        kind: &'static str,
        key: String,
        value: &[(&str, Value)],
        time: i64,
    ) -> Event {
        Event { topic, tenant: self.name, kind, key, value: object(value), time }
    }

    fn new_order(&mut self, random: &mut SmallRng, time: i64) -> Event {
        let (item, price) = pick(random, &ITEMS);
        let quantity = random.random_range(1..=3);
        let order = Order {
            number: self.next_order,
            state: 0,
            customer: pick(random, &PEOPLE),
            item,
            quantity,
            total: price * quantity,
        };
        self.next_order += 1;
        let event = self.order_event(&order, time);
        self.orders.push(order);
        event
    }

    fn move_order(&mut self, random: &mut SmallRng, time: i64) -> Option<Event> {
        if self.orders.is_empty() {
            return None;
        }
        let index = random.random_range(0..self.orders.len());
        let order = &mut self.orders[index];
        order.state += 1;
        let done = order.state + 1 == STATES.len();
        let event = self.order_event(&self.orders[index], time);
        if done {
            self.orders.remove(index);
        }
        Some(event)
    }

    fn order_event(&self, order: &Order, time: i64) -> Event {
        let (kind, state) = STATES[order.state.min(STATES.len() - 1)];
        let id = format!("{}-{}", self.name, order.number);
        let value = [
            ("state", json!(state)),
            ("item", json!(order.item)),
            ("quantity", json!(order.quantity)),
            ("total", json!(order.total)),
            ("currency", json!("EUR")),
            ("customer", json!(order.customer)),
            ("id", json!(id)),
        ];
        self.event("orders", kind, id, &value, time)
    }

    fn metric(&mut self, random: &mut SmallRng, time: i64) -> Event {
        let index = self.next_gauge % GAUGES.len();
        self.next_gauge += 1;
        let (name, usual, strained, step) = GAUGES[index];
        let home = if self.incident > 0 { strained } else { usual };
        // A walk that is drawn home.
        let drift = random.random_range(-step..step) + (home - self.gauges[index]) * 0.2;
        self.gauges[index] = (self.gauges[index] + drift).max(0.0);
        let value = (self.gauges[index] * 10.0).round() / 10.0;
        let value = [("name", json!(name)), ("value", json!(value))];
        self.event("metrics", "metric", name.to_owned(), &value, time)
    }

    fn log_line(&self, random: &mut SmallRng, time: i64) -> Event {
        let troubled = self.incident > 0 && random.random_bool(0.5);
        let (level, message) = if troubled { pick(random, &TROUBLES) } else { pick(random, &LINES) };
        let service = pick(random, &SERVICES);
        let kind = match level {
            "error" => "log.error",
            "warn" => "log.warn",
            _ => "log",
        };
        let trace = format!("{:08x}", random.random::<u32>());
        let millis = random.random_range(2..900);
        let value = [
            ("level", json!(level)),
            ("service", json!(service)),
            ("message", json!(message)),
            ("ms", json!(millis)),
            ("trace", json!(trace)),
        ];
        self.event("logs", kind, service.to_owned(), &value, time)
    }

    fn notification(&self, random: &mut SmallRng, time: i64) -> Event {
        let (kind, text) = pick(random, &NOTICES);
        let (user, from) = (pick(random, &PEOPLE), pick(random, &PEOPLE));
        let value = [("text", json!(format!("{from} {text}"))), ("from", json!(from)), ("user", json!(user))];
        self.event("notifications", kind, user.to_owned(), &value, time)
    }
}

/// A JSON object with its fields in this order, for people read its beginning; `json!` would sort them.
fn object(fields: &[(&str, Value)]) -> String {
    let members: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn chance(random: &mut SmallRng, in_a_thousand: u32) -> bool {
    random.random_ratio(in_a_thousand, 1000)
}

fn pick<T: Copy, const N: usize>(random: &mut SmallRng, from: &[T; N]) -> T {
    from[random.random_range(0..N)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenant_has_every_kind_of_story_and_every_value_is_json() {
        let mut stories = Stories::new();
        let events: Vec<Event> = (0..3000).flat_map(|step| stories.step(step)).collect();
        for tenant in TENANTS {
            for topic in ["orders", "metrics", "logs", "notifications"] {
                assert!(events.iter().any(|event| event.tenant == tenant && event.topic == topic));
            }
        }
        assert!(events.iter().all(|event| serde_json::from_str::<serde_json::Value>(&event.value).is_ok()));
    }

    #[test]
    fn a_value_begins_with_what_tells_most() {
        let mut stories = Stories::new();
        let events: Vec<Event> = (0..3000).flat_map(|step| stories.step(step)).collect();
        for event in events {
            let first = match event.topic {
                "orders" => "state",
                "metrics" => "name",
                "logs" => "level",
                _ => "text",
            };
            assert!(event.value.starts_with(&format!("{{\"{first}\":\"")), "{}", event.value);
        }
    }

    #[test]
    fn an_incident_raises_latency_and_passes() {
        let mut stories = Stories { random: SmallRng::seed_from_u64(1), ..Stories::new() };
        let mut latencies = |steps: u32, incident: u32| -> Vec<f64> {
            stories.tenants[0].incident = incident;
            let events = (0..steps.into()).flat_map(|step| stories.step(step));
            let latencies = events.filter(|event| event.tenant == TENANTS[0] && event.key == "p99_ms");
            let value =
                |event: Event| serde_json::from_str::<Value>(&event.value).expect("JSON")["value"].as_f64();
            latencies.filter_map(value).collect()
        };
        let highest = latencies(1000, 1000).into_iter().fold(0.0, f64::max);
        assert!(highest > 200.0, "{highest}");
        let lowest = latencies(1000, 0).into_iter().fold(f64::MAX, f64::min);
        assert!(lowest < 150.0, "{lowest}");
    }

    #[test]
    fn an_order_moves_through_its_states_in_order() {
        let mut stories = Stories::new();
        let events: Vec<Event> = (0..3000).flat_map(|step| stories.step(step)).collect();
        let key = &events.iter().find(|event| event.kind == "order.delivered").expect("one is delivered").key;
        let kinds: Vec<&str> = events
            .iter()
            .filter(|event| event.topic == "orders" && event.key == *key)
            .map(|event| event.kind)
            .collect();
        assert_eq!(kinds, STATES.map(|(kind, _)| kind));
    }
}
