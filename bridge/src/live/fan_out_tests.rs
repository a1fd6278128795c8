//! Which views a record finds: those that match, each once, and few others.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::TokioClock;
use crate::live::fan_out::ViewIndex;
use crate::live::ring_memory::RingMemory;
use crate::live::text_views::MAX_LISTED;
use crate::live::view::{Shared, View};
use crate::live::view_key::ViewKey;
use crate::log::coverage::Coverages;
use crate::record::filter::Filter;
use crate::record::form::Form;
use crate::record::selector::{Selector, Sought};
use crate::record::tenant::TenantId;
use crate::record::{Headers, NewRecord, RecordRef, encode, written_headers};
use crate::sse::envelope::Envelope;
use crate::sse::framing::{EventName, Framing};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn view(keys: &[String], wheres: &[String]) -> Arc<View> {
    view_of(Filter::parse(&[], keys, wheres).unwrap())
}

fn view_of(filter: Filter) -> Arc<View> {
    let key = ViewKey::new(
        tenant(),
        Vec::new(),
        filter,
        (Framing::Sse, EventName::Type, Envelope::None),
        false,
        false,
    );
    let shared =
        Shared::new(RingMemory::default(), Duration::ZERO, Arc::new(TokioClock::new()), Arc::default());
    View::new(key, shared, Coverages::default().of(Vec::new()))
}

fn record<'a>(bytes: &'a mut Vec<u8>, key: &'a str, value: &'a str) -> RecordRef<'a> {
    let new = NewRecord {
        offset: 0,
        epoch: 0,
        timestamp: 0,
        key: Some(key.as_bytes()),
        value: Some(value.as_bytes()),
        headers: Headers::default(),
        tenant: tenant(),
        event_type: None,
        form: Form::default(),
    };
    encode(bytes, &new);
    RecordRef::decode(bytes, 0, 0, 0)
}

fn wheres(all: &[&str]) -> Vec<String> {
    all.iter().map(|&one| one.to_owned()).collect()
}

#[test]
fn of_ten_thousand_users_only_the_one_is_looked_at() {
    let index = ViewIndex::default();
    for user in 0..10_000 {
        index.insert(&view(&[], &wheres(&["value.region=eu", &format!("value.user={user}")])));
    }
    let mut bytes = Vec::new();
    let found = index
        .concerned(&tenant(), std::iter::once((7, record(&mut bytes, "k", r#"{"region":"eu","user":17}"#))));
    // The first view is indexed by region: both fields were empty then.
    assert!(found.all.is_empty() && found.some.len() <= 2, "{}", found.some.len());
    assert!(found.some.iter().all(|(_, records)| records == &[7]));
}

#[test]
fn what_is_removed_leaves_nothing() {
    let index = ViewIndex::default();
    let views: Vec<_> = [
        view(&[], &[]),
        view(&["a".to_owned(), "b".to_owned()], &[]),
        view(&[], &wheres(&["value.user=1,1.0,2"])),
        view(&[], &wheres(&["value.user>1"])),
        view(&[], &wheres(&["value.user>=-0", "value.user<1e400"])),
        view(&[], &wheres(&["value.user<=x"])),
        view(&[], &wheres(&["value.user^=a,ab,", "value.x?"])),
        view(
            &[],
            &wheres(&["(value.user>1|value.user>1.0|value.user^=1|value.user=1|value.x?)", "!value.y?"]),
        ),
    ]
    .into();
    views.iter().for_each(|view| index.insert(view));
    assert_eq!(index.all().len(), 8);
    views.iter().for_each(|view| index.remove(view));
    assert!(index.is_empty() && index.all().is_empty());
}

/// How often a filter is evaluated for the record, and for how many views it holds.
fn evaluations(index: &ViewIndex, value: &str) -> (usize, usize) {
    let mut bytes = Vec::new();
    let record = record(&mut bytes, "user-17", value);
    let found = index.concerned(&tenant(), std::iter::once((0, record)));
    assert!(found.all.is_empty());
    let holds = found.some.iter().filter(|(view, _)| view.key().filter().matches(&record)).count();
    (found.some.iter().map(|(_, records)| records.len()).sum(), holds)
}

#[test]
fn of_ten_thousand_bounds_those_that_a_number_meets_are_looked_at() {
    let index = ViewIndex::default();
    for n in 0..10_000 {
        index.insert(&view(&[], &wheres(&[&format!("value.total>{n}")])));
    }
    for (total, matches) in
        [("-1", 0), ("0", 0), ("0.5", 1), ("10", 10), ("1e1", 10), ("10000", 10_000), ("\"17\"", 17)]
    {
        let value = format!("{{\"total\":{total}}}");
        assert_eq!(evaluations(&index, &value), (matches, matches), "{value}");
    }
    for value in ["{\"total\":null}", "{\"total\":{}}", "{}", "no json"] {
        assert_eq!(evaluations(&index, value), (0, 0), "{value}");
    }
}

#[test]
fn each_operator_has_the_bounds_that_are_met_and_no_other() {
    for (operator, total, matches) in [
        ("<", "9990", 9),
        ("<=", "9990", 10),
        (">", "10", 10),
        (">=", "10", 11),
        ("<", "9990.5", 9),
        ("<=", "9990.0", 10),
        (">", "9.5", 10),
        (">=", "10.0", 11),
    ] {
        let index = ViewIndex::default();
        (0..10_000).for_each(|n| index.insert(&view(&[], &wheres(&[&format!("value.total{operator}{n}")]))));
        let value = format!("{{\"total\":{total}}}");
        assert_eq!(evaluations(&index, &value), (matches, matches), "{operator} {total}");
    }
}

#[test]
fn of_ten_thousand_prefixes_those_that_a_text_has_are_looked_at() {
    let index = ViewIndex::default();
    for n in 0..10_000 {
        index.insert(&view(&[], &wheres(&[&format!("value.path^=/site-{n}/")])));
    }
    index.insert(&view(&[], &wheres(&["value.path^="])));
    index.insert(&view(&[], &wheres(&["value.path^=/site-17/a,/site-17/,/site-17/a/b"])));
    for (path, matches) in
        [("/site-17/a/b", 3), ("/site-17/", 3), ("/site-1", 1), ("", 1), ("/site-9999/x", 2)]
    {
        let value = format!("{{\"path\":\"{path}\"}}");
        assert_eq!(evaluations(&index, &value), (matches, matches), "{value}");
    }
}

#[test]
fn a_prefix_is_found_while_another_of_its_length_comes_and_goes() {
    let index = ViewIndex::default();
    let [one, same, other] =
        ["ab", "ab", "cd"].map(|prefix| view(&[], &wheres(&[&format!("key^={prefix}")])));
    let [stays, path] = ["key^=us", "value.path^=cd"].map(|condition| view(&[], &wheres(&[condition])));
    for view in [&stays, &path, &one, &same, &other] {
        index.insert(view);
    }
    for view in [&one, &other, &same] {
        index.remove(view);
        assert_eq!(evaluations(&index, "{\"path\":\"cde\"}"), (2, 2));
    }
    index.remove(&stays);
    assert_eq!(evaluations(&index, "{\"path\":\"cde\"}"), (1, 1));
    index.remove(&path);
    assert!(index.is_empty());
}

#[test]
fn a_view_is_found_by_each_of_its_alternatives_and_once() {
    let index = ViewIndex::default();
    for n in 0..1000 {
        index.insert(&view(
            &[],
            &wheres(&[&format!("(value.total>{n}|value.user={n}|key^=u{n}|value.vip?)")]),
        ));
    }
    for (value, matches) in [
        (r#"{"total":3}"#, 3),
        (r#"{"user":500}"#, 1),
        (r#"{"total":3,"user":2}"#, 3),
        (r#"{"total":3,"user":500}"#, 4),
        (r#"{"total":5000,"user":500,"vip":[]}"#, 1000),
        (r#"{"total":3,"vip":null}"#, 3),
    ] {
        assert_eq!(evaluations(&index, value), (matches, matches), "{value}");
    }
}

#[test]
fn a_view_is_indexed_by_the_condition_that_the_fewest_records_meet() {
    let index = ViewIndex::default();
    for n in 0..1000 {
        index.insert(&view(&[], &wheres(&["value.total>0", "value.vip?", &format!("value.user={n}")])));
        index.insert(&view(&[], &wheres(&["value.total>0", &format!("value.path^=/{n}/")])));
        // By its path: its type is that of many.
        index.insert(&view(&[], &wheres(&["type=message", &format!("value.path^=/{n}.")])));
        index.insert(&view(&[], &wheres(&["value.vip?", &format!("value.price<{n}")])));
    }
    let record = r#"{"total":5,"vip":1,"user":17,"path":"/17/","price":998}"#;
    let (evaluated, matches) = evaluations(&index, record);
    // The first of the views with a type has nothing to choose by.
    assert!(evaluated <= 4 && matches == 3, "{evaluated} {matches}");
}

#[test]
fn of_ten_thousand_bounds_beside_one_value_or_prefix_those_that_are_met_are_looked_at() {
    let created = ["created".to_owned()];
    for beside in [None, Some("key=user-17"), Some("key^=user-"), Some("header.a?")] {
        let index = ViewIndex::default();
        let mut views = Vec::new();
        for n in 0..10_000 {
            let bound = format!("value.total>{n}");
            let wheres = wheres(&[beside.as_slice(), &[&*bound]].concat());
            let types = if beside.is_none() { &created[..] } else { &[] };
            views.push(view_of(Filter::parse(types, &[], &wheres).unwrap()));
            index.insert(&views[n]);
        }
        let mut bytes = Vec::new();
        let mut record = record(&mut bytes, "user-17", "{\"total\":9}");
        record.event_type = Some("created");
        let found = index.concerned(&tenant(), std::iter::once((0, record)));
        assert!(found.all.is_empty() && found.some.len() <= 9 + MAX_LISTED, "{}", found.some.len());
        let holds = found.some.iter().filter(|(view, _)| view.key().filter().matches(&record)).count();
        assert_eq!(holds, if beside == Some("header.a?") { 0 } else { 9 }, "{beside:?}");
        views.iter().for_each(|view| index.remove(view));
        assert!(index.is_empty());
    }
}

/// Texts that compare in surprising ways: one number in several spellings, whole ones with one double, numbers and names.
const OPERANDS: [&str; 43] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1",
    "1.0",
    "1e0",
    "10e-1",
    "2",
    "100",
    "1e2",
    "1E+2",
    "99.5",
    "-5",
    "-5.5",
    "17",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9007199254740994",
    "9007199254740992.0",
    "170141183460469231731687303715884105727",
    "170141183460469231731687303715884105728",
    "-170141183460469231731687303715884105728",
    "1e400",
    "1e500",
    "-1e400",
    "NaN",
    "inf",
    "2026-01-31",
    "1-2",
    "007",
    "abc",
    "ab",
    "a",
    "a|b",
    "é",
    "éa",
    "e\u{301}",
    "aé",
    "ê",
    "true",
    "null",
];

fn operand() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&OPERANDS[..])
}

fn condition() -> impl Strategy<Value = String> {
    let field = || {
        proptest::sample::select(&["value.a", "value.n.b", "value.n", "value", "key", "type", "header.h"][..])
    };
    let compared = (
        field(),
        proptest::sample::select(&["=", "!=", "^=", "<", "<=", ">", ">="][..]),
        operand(),
        operand(),
    );
    prop_oneof![
        8 => compared.prop_map(|(field, operator, one, two)| {
            let (one, two) = (one.replace('|', "\\|"), two.replace('|', "\\|"));
            match operator.starts_with(['<', '>']) || one.len() % 3 > 0 {
                true => format!("{field}{operator}{one}"),
                false => format!("{field}{operator}{one},{two}"),
            }
        }),
        1 => field().prop_map(|field| format!("{field}^=")),
        1 => field().prop_map(|field| format!("{field}?")),
        1 => field().prop_map(|field| format!("!{field}?")),
    ]
}

/// One `where=`. A prefix may be empty.
fn clause() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => condition(),
        1 => proptest::collection::vec(condition(), 1..4).prop_map(|all| format!("({})", all.join("|"))),
    ]
}

/// The text of a JSON value.
fn json() -> impl Strategy<Value = String> {
    let number = operand()
        .prop_filter("JSON", |text| serde_json::from_str::<Box<serde_json::value::RawValue>>(text).is_ok());
    prop_oneof![
        4 => number.prop_map(str::to_owned),
        3 => operand().prop_map(|text| format!("\"{text}\"")),
        1 => proptest::sample::select(&["null", "{}", "[]", "[1]", "\"\"", "false"][..]).prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        6 => (json(), json()).prop_map(|(a, b)| Some(format!("{{\"a\":{a},\"n\":{{\"b\":{b}}}}}"))),
        2 => json().prop_map(Some),
        1 => Just(Some("{\"a\":1".to_owned())),
        1 => Just(Some("{\"n\":3}".to_owned())),
        1 => Just(None),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    /// Adds so many views with these types, keys and conditions.
    Add(Vec<String>, Vec<String>, Vec<String>, usize),
    /// Removes the view with this number, modulo how many there are.
    Remove(usize),
    Record {
        key: Option<&'static str>,
        event_type: Option<&'static str>,
        header: Option<&'static str>,
        value: Option<String>,
    },
}

/// What `type=` or `key=` say: mostly nothing.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let some = proptest::collection::vec(operand().prop_map(str::to_owned), 1..3);
    prop_oneof![5 => Just(Vec::new()), 1 => some]
}

/// Many are found in another way than few.
fn number_of_views() -> impl Strategy<Value = usize> {
    prop_oneof![9 => Just(1), 1 => Just(MAX_LISTED + 2)]
}

fn step() -> impl Strategy<Value = Step> {
    let text = || proptest::option::of(operand());
    prop_oneof![
        4 => (texts(), texts(), proptest::collection::vec(clause(), 0..3), number_of_views())
            .prop_map(|(types, keys, wheres, count)| Step::Add(types, keys, wheres, count)),
        2 => any::<usize>().prop_map(Step::Remove),
        4 => (text(), text(), text(), value())
            .prop_map(|(key, event_type, header, value)| Step::Record { key, event_type, header, value }),
    ]
}

/// What is found is what matches, once each: by an index of one condition exactly, by one of several nothing less.
fn is_found(index: &ViewIndex, views: &[Arc<View>], record: RecordRef<'_>) -> Result<(), TestCaseError> {
    let found = index.concerned(&tenant(), [(4, record), (9, record)].into_iter());
    prop_assert!(found.some.iter().all(|(_, records)| records == &[4, 9]), "{:?}", found.some.len());
    let mut known = 0;
    for view in views {
        let filter = view.key().filter();
        let times = found.all.iter().filter(|other| Arc::ptr_eq(other, view)).count()
            + found.some.iter().filter(|(other, _)| Arc::ptr_eq(other, view)).count();
        prop_assert!(times <= 1, "{:?} is found {} times", filter, times);
        prop_assert!(times == 1 || !filter.matches(&record), "{:?} is not found", filter);
        if is_exact(filter) {
            prop_assert!(times == 0 || filter.matches(&record), "{:?} is found in vain", filter);
        }
        known += times;
    }
    prop_assert_eq!(known, found.all.len() + found.some.len(), "a view that was removed is found");
    Ok(())
}

/// Whether the index alone decides. Equal values of large numbers share a hash with others.
fn is_exact(filter: &Filter) -> bool {
    let selectors = filter.selectors();
    let is_value =
        |selector: &Selector<'_>| selector.any_of.iter().any(|one| matches!(one.sought, Sought::Equal(_)));
    filter.conditions() == 0 && !selectors.is_empty() && !is_value(&selectors[0])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_view_whose_filter_matches_is_found_once(steps in proptest::collection::vec(step(), 1..40)) {
        let (index, mut views) = (ViewIndex::default(), Vec::<Arc<View>>::new());
        for step in steps {
            match step {
                Step::Add(types, keys, wheres, count) => {
                    let filter = Filter::parse(&types, &keys, &wheres).unwrap();
                    let more = (0..count).map(|_| view_of(filter.clone()));
                    views.extend(more.inspect(|view| index.insert(view)));
                }
                Step::Remove(_) if views.is_empty() => {}
                Step::Remove(number) => index.remove(&views.swap_remove(number % views.len())),
                Step::Record { key, event_type, header, value } => {
                    let headers = header.map(|text| written_headers(&[("h", Some(text.as_bytes()))])).unwrap_or_default();
                    let (key, value) = (key.map(str::as_bytes), value.as_deref().map(str::as_bytes));
                    let headers = Headers::written(&headers);
                    let record = RecordRef { offset: 0, epoch: 0, timestamp: 0, key, value, event_type, headers, form: Form::default() };
                    is_found(&index, &views, record)?;
                }
            }
        }
        prop_assert_eq!(index.all().len(), views.len());
        views.iter().for_each(|view| index.remove(view));
        prop_assert!(index.is_empty() && index.all().is_empty());
    }
}
