//! What the demo tells: orders that move through their states, a board of metrics, log lines, notifications.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;

/// Whose stories they are.
pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Orders under way per tenant; the oldest goes on first when there are more.
const MAX_ORDERS: usize = 24;
/// Chances per tenant and step, in a thousand: about five events a second and tenant in all.
const NEW_ORDER: u32 = 60;
const ORDER_MOVES: u32 = 150;
const LOG_LINE: u32 = 220;
const NOTIFICATION: u32 = 30;
/// Every board is written once a second, one gauge at a time.
const METRIC: u32 = 100;

const STATES: [(&str, &str); 5] = [
    ("order.created", "created"),
    ("order.paid", "paid"),
    ("order.packed", "packed"),
    ("order.shipped", "shipped"),
    ("order.delivered", "delivered"),
];
const ITEMS: [(&str, u32); 6] =
    [("lamp", 39), ("desk", 249), ("chair", 129), ("shelf", 89), ("mug", 12), ("monitor", 319)];
const GAUGES: [(&str, f64, f64); 5] = [
    ("cpu_percent", 38.0, 4.0),
    ("requests_per_second", 420.0, 25.0),
    ("p99_ms", 84.0, 6.0),
    ("queue_depth", 12.0, 3.0),
    ("error_percent", 0.6, 0.15),
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
            gauges: GAUGES.map(|(_, start, _)| start),
            next_gauge: index,
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
        value: serde_json::Value,
        time: i64,
    ) -> Event {
        Event { topic, tenant: self.name, kind, key, value: value.to_string(), time }
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
        let value = json!({
            "id": id, "state": state, "customer": order.customer, "item": order.item, "quantity": order.quantity,
            "total": order.total, "currency": "EUR",
        });
        self.event("orders", kind, id, value, time)
    }

    fn metric(&mut self, random: &mut SmallRng, time: i64) -> Event {
        let index = self.next_gauge % GAUGES.len();
        self.next_gauge += 1;
        let (name, home, step) = GAUGES[index];
        // A walk that is drawn back to where it began.
        let drift = random.random_range(-step..step) + (home - self.gauges[index]) * 0.1;
        self.gauges[index] = (self.gauges[index] + drift).max(0.0);
        let value = (self.gauges[index] * 10.0).round() / 10.0;
        self.event("metrics", "metric", name.to_owned(), json!({ "name": name, "value": value }), time)
    }

    fn log_line(&self, random: &mut SmallRng, time: i64) -> Event {
        let (level, message) = pick(random, &LINES);
        let service = pick(random, &SERVICES);
        let kind = match level {
            "error" => "log.error",
            "warn" => "log.warn",
            _ => "log",
        };
        let trace = format!("{:08x}", random.random::<u32>());
        let millis = random.random_range(2..900);
        let value =
            json!({ "level": level, "service": service, "message": message, "ms": millis, "trace": trace });
        self.event("logs", kind, service.to_owned(), value, time)
    }

    fn notification(&self, random: &mut SmallRng, time: i64) -> Event {
        let (kind, text) = pick(random, &NOTICES);
        let (user, from) = (pick(random, &PEOPLE), pick(random, &PEOPLE));
        let value = json!({ "user": user, "from": from, "text": format!("{from} {text}") });
        self.event("notifications", kind, user.to_owned(), value, time)
    }
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
