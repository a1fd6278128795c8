//! The kinds of trouble with limits, and where each is tested:
//!
//! - a place that is not given back, or twice: after a refusal, a race of open and close, a lowered limit;
//! - a limit that is passed: by address families, by many subjects, by a subject that is left out, by coming back;
//! - a limit of one that harms another: subjects of the same name, a flood of refused requests;
//! - memory that grows with names that an attacker invents.
//!
//! Over HTTP, with HTTP/2 and its streams: `tests/limits.rs`. The rate of a tenant: `pace.rs`.

use std::collections::HashSet;

use super::*;

fn limits(change: impl FnOnce(&mut LimitSettings)) -> Arc<Limits> {
    let mut settings = LimitSettings::default();
    change(&mut settings);
    Limits::new(&settings, Arc::new(Metrics::new()))
}

fn id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn here() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

fn reached<T>(result: Result<T, Passing>) -> Limit {
    result.err().expect("it is refused").limit.expect("by a limit").limit
}

/// Streams, and keys of the three maps.
fn counts(limits: &Limits) -> (usize, usize, usize, usize) {
    let open = limits.open.lock();
    (open.streams, open.tenants.len(), open.subjects.len(), open.addresses.len())
}

#[test]
fn a_place_comes_back_when_it_is_dropped_and_nothing_is_kept_of_who_left() {
    let limits = limits(|settings| settings.tenant.max_streams = 1);
    let (acme, other) = (id("acme"), id("other"));
    let first = limits.enter(&acme, Some("ann"), here()).unwrap();
    assert_eq!(reached(limits.enter(&acme, Some("bob"), here())), Limit::MaxStreamsPerTenant);
    let second = limits.enter(&other, Some("ann"), here()).unwrap();
    assert_eq!(counts(&limits), (2, 2, 2, 1));
    drop((first, second));
    assert_eq!(counts(&limits), (0, 0, 0, 0));
}

#[test]
fn each_limit_is_named_with_its_value_where_that_is_told() {
    let limits = limits(|settings| {
        settings.max_streams = 3;
        settings.max_streams_per_address = 2;
        settings.tenant.max_streams_per_subject = 1;
    });
    let enter = |tenant: &str, subject, address: u8| {
        limits.enter(&id(tenant), Some(subject), IpAddr::from([10, 0, 0, address]))
    };
    let _one = enter("acme", "ann", 1).unwrap();
    let told = enter("acme", "ann", 2).err().unwrap().limit.unwrap();
    assert_eq!((told.limit, told.told()), (Limit::MaxStreamsPerSubject, Some("1")));
    let _two = enter("acme", "bob", 1).unwrap();
    assert_eq!(reached(enter("other", "ann", 1)), Limit::MaxStreamsPerAddress);
    let _three = enter("other", "ann", 3).unwrap();
    let told = enter("third", "eve", 4).err().unwrap().limit.unwrap();
    assert_eq!((told.limit, told.told()), (Limit::MaxStreams, None));
}

#[test]
fn one_ipv6_network_is_one_address_and_what_stands_for_ipv4_is_ipv4() {
    let text = |text: &str| network(text.parse().unwrap());
    assert_eq!(text("2001:db8:1:2:3::4"), text("2001:db8:1:2:ffff::1"));
    assert_ne!(text("2001:db8:1:2::1"), text("2001:db8:1:3::1"));
    assert_eq!(text("::ffff:10.0.0.1"), text("10.0.0.1"));
    assert_eq!(text("64:ff9b::10.0.0.1"), text("10.0.0.1"));
    assert_ne!(text("64:ff9b::10.0.0.1"), text("64:ff9b::10.0.0.2"));
}

#[test]
fn attack_an_address_passes_its_limit_by_other_address_families() {
    let limits = limits(|settings| settings.max_streams_per_address = 1);
    let enter = |address: &str| limits.enter(&id("acme"), None, address.parse().unwrap());
    let _open = enter("10.0.0.1").unwrap();
    for address in ["::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1", "2002:a00:1:ffff::1"] {
        assert_eq!(reached(enter(address)), Limit::MaxStreamsPerAddress, "{address}");
    }
    let _open = enter("2001:db8:1:2::1").unwrap();
    assert_eq!(reached(enter("2001:db8:1:2:ffff::2")), Limit::MaxStreamsPerAddress);
}

#[test]
fn attack_a_subject_takes_all_places_of_its_tenant_and_many_subjects_those_of_all() {
    let limits = limits(|settings| {
        settings.tenant.max_streams_per_subject = 2;
        settings.tenant.max_streams = 4;
    });
    let enter = |tenant: &str, subject: &str| limits.enter(&id(tenant), Some(subject), here());
    let mut places = vec![enter("acme", "eve").unwrap(), enter("acme", "eve").unwrap()];
    assert_eq!(reached(enter("acme", "eve")), Limit::MaxStreamsPerSubject);
    // Who has many subjects still has one tenant.
    places.extend((0..2).map(|n| enter("acme", &format!("eve-{n}")).unwrap()));
    assert_eq!(reached(enter("acme", "eve-3")), Limit::MaxStreamsPerTenant);
    // A subject of that name of another tenant is another one.
    places.push(enter("other", "eve").unwrap());
    // Those without a subject count as one.
    places.extend((0..2).map(|_| enter("third", "").unwrap()));
    assert_eq!(reached(enter("third", "")), Limit::MaxStreamsPerSubject);
    drop(places);
    assert_eq!(counts(&limits), (0, 0, 0, 0));
}

#[test]
fn attack_a_race_of_open_and_close_passes_a_limit_or_leaves_places_taken() {
    const MAX: usize = 5;
    let limits = limits(|settings| {
        settings.tenant.max_streams = MAX;
        settings.tenant.max_streams_per_subject = 3;
        settings.tenant.max_replays = 2;
        settings.max_streams_per_address = 4;
    });
    let most = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (limits, most) = (&limits, &most);
            scope.spawn(move || {
                let mut held = Vec::new();
                for n in 0..20_000_usize {
                    let subject = format!("s{}", n % 3);
                    let address = IpAddr::from([10, 0, 0, (n % 2) as u8 + thread / 2]);
                    if let Ok(place) = limits.enter(&id("acme"), Some(&subject), address) {
                        let replay = place.tenant().enter_replay();
                        assert!(place.tenant().replays() <= 2);
                        held.push((place, replay));
                    }
                    most.fetch_max(limits.streams(), std::sync::atomic::Ordering::Relaxed);
                    if held.len() > n % 4 {
                        drop(held.remove(0));
                    }
                }
            });
        }
    });
    assert_eq!(counts(&limits), (0, 0, 0, 0));
    let most = most.into_inner();
    assert!((2..=MAX).contains(&most), "{most}");
}

#[test]
fn a_lowered_limit_ends_no_stream_and_holds_for_new_ones_until_enough_have_left() {
    let limits = limits(|settings| settings.tenant.max_streams = 3);
    let acme = id("acme");
    let of = |max_streams| {
        HashMap::from([(acme.clone(), TenantLimits { max_streams, ..TenantLimits::default() })])
    };
    let mut places: Vec<Place> = (0..3).map(|_| limits.enter(&acme, None, here()).unwrap()).collect();
    limits.apply(of(1));
    assert_eq!(limits.streams(), 3);
    for _ in 0..3 {
        assert_eq!(reached(limits.enter(&acme, None, here())), Limit::MaxStreamsPerTenant);
        places.pop();
    }
    places.push(limits.enter(&acme, None, here()).unwrap());
    limits.apply(HashMap::new());
    places.push(limits.enter(&acme, None, here()).unwrap());
    limits.apply(of(0));
    places.extend((0..20).map(|_| limits.enter(&acme, None, here()).unwrap()));
    drop(places);
    assert_eq!(counts(&limits), (0, 0, 0, 0));
}

#[test]
fn rates_of_the_file_reach_streams_that_are_open() {
    let limits = limits(|_| {});
    let place = limits.enter(&id("acme"), None, here()).unwrap();
    assert!(!place.tenant().rates().is_limited());
    let rate = |text: &str| text.parse().unwrap();
    let own = TenantLimits {
        event_rate: rate("5"),
        replay_byte_rate: rate("1MiB/s"),
        max_replays: 1,
        ..TenantLimits::default()
    };
    limits.apply(HashMap::from([(id("acme"), own)]));
    assert!(place.tenant().rates().is_limited());
    assert_eq!(place.tenant().replay_rate().per_second(), 1048576.0);
    let _replay = place.tenant().enter_replay().unwrap();
    assert_eq!(reached(place.tenant().enter_replay()), Limit::MaxReplaysPerTenant);
    limits.apply(HashMap::new());
    assert!(!place.tenant().rates().is_limited() && place.tenant().enter_replay().is_ok());
}

#[test]
fn attack_a_tenant_comes_back_to_have_what_it_took_forgotten() {
    let limits = limits(|settings| settings.tenant.event_rate = "10".parse().unwrap());
    let now = Instant::now();
    let place = limits.enter(&id("acme"), None, here()).unwrap();
    place.tenant().rates().book(Amount { events: 1000, bytes: 0 }, now);
    drop(place);
    let back = limits.enter(&id("acme"), None, here()).unwrap();
    assert!(back.tenant().rates().is_behind(now));
    drop(back);
    limits.sweep();
    assert_eq!(counts(&limits), (0, 1, 0, 0));
    limits.open.lock().tenants.sweep(|tenant| tenant.owes(now + Duration::from_secs(101)));
    assert_eq!(counts(&limits), (0, 0, 0, 0));
}

#[test]
fn attack_a_tenant_comes_back_before_its_second_s_worth_is_used_up_to_have_it_again() {
    let limits = limits(|settings| settings.tenant.event_rate = "10".parse().unwrap());
    let now = Instant::now();
    for _ in 0..5 {
        let place = limits.enter(&id("acme"), None, here()).unwrap();
        place.tenant().rates().book(Amount { events: 9, bytes: 0 }, now);
    }
    let back = limits.enter(&id("acme"), None, here()).unwrap();
    assert!(back.tenant().rates().is_behind(now + Duration::from_secs(3)));
}

#[test]
fn attack_tenants_that_are_invented_owe_and_leave_take_no_more_memory_than_a_bound() {
    let limits = limits(|settings| settings.tenant.byte_rate = "1".parse().unwrap());
    for n in 0..MAX_OWING + 500 {
        let place = limits.enter(&id(&format!("t{n}")), None, here()).unwrap();
        place.tenant().rates().book(Amount { events: 1, bytes: 1 << 20 }, Instant::now());
    }
    let (streams, tenants, ..) = counts(&limits);
    assert!(streams == 0 && tenants <= MAX_OWING, "{tenants}");
}

#[test]
fn attack_a_flood_from_one_address_uses_up_the_connect_rate_of_a_tenant() {
    let limits = limits(|settings| {
        settings.connect_rate_per_address = "5".parse().unwrap();
        settings.tenant.connect_rate = "10".parse().unwrap();
    });
    let now = Instant::now();
    let enter = |address: u8| limits.enter_at(&id("acme"), None, IpAddr::from([10, 0, 0, address]), now);
    let refused: HashSet<&str> =
        (0..100).filter_map(|_| enter(1).err()).map(|passing| passing.limit.unwrap().limit.name()).collect();
    assert_eq!(refused, HashSet::from(["connect_rate_per_address"]));
    assert!(enter(2).is_ok(), "the others of the tenant still come");
    assert_eq!(limits.streams(), 0);
}

#[test]
fn attack_ten_thousand_filters_are_opened_with_which_each_record_is_compared() {
    let limits = limits(|settings| settings.tenant.max_conditions = 10);
    let place = limits.enter(&id("acme"), None, here()).unwrap();
    let tenant = place.tenant();
    let mut held: Vec<_> = (0..3).map(|n| tenant.enter_filter(n, 3).unwrap()).collect();
    assert_eq!(reached(tenant.enter_filter(3, 3)), Limit::MaxConditionsPerTenant);
    // One that fits, one that another stream has, and one that is found by an index.
    held.push(tenant.enter_filter(4, 1).unwrap());
    held.extend((0..50).map(|_| tenant.enter_filter(0, 3).unwrap()));
    held.extend((10..1000).map(|n| tenant.enter_filter(n, 0).unwrap()));
    assert_eq!(tenant.conditions(), (4, 10));
    held.pop();
    drop(held);
    assert_eq!(tenant.conditions(), (0, 0));
    assert!(tenant.enter_filter(9, 10).is_ok());
}
