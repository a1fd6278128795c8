//! The alert rules.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{ALERTS, OPERATIONS, anchors, documented, metrics, read, run};

const TESTS: &str = "deploy/prometheus/alerts_test.yaml";

/// Every alert by its name.
pub(crate) fn alerts() -> BTreeMap<String, Value> {
    let file: Value = serde_norway::from_str(&read(ALERTS)).expect("YAML");
    let groups = file["groups"].as_array().expect("groups");
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    let count = rules.len();
    let all: BTreeMap<_, _> = rules
        .into_iter()
        .map(|rule| (rule["alert"].as_str().expect("a name").to_owned(), rule.clone()))
        .collect();
    assert_eq!(all.len(), count, "a name is given twice");
    all
}

#[test]
fn prometheus_takes_the_rules_and_they_fire_when_they_should() {
    let (ok, said) = run("promtool", &["check", "rules", ALERTS]);
    assert!(ok, "{said}");
    let (ok, said) = run("promtool", &["test", "rules", TESTS]);
    assert!(ok, "{said}");
}

#[test]
fn of_every_alert_it_is_tested_that_it_fires_and_when_it_does_not() {
    let file: Value = serde_norway::from_str(&read(TESTS)).expect("YAML");
    let groups = file["tests"].as_array().expect("tests");
    let tests = groups.iter().filter_map(|group| group["alert_rule_test"].as_array()).flatten();
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    for test in tests {
        let alert = test["alertname"].as_str().expect("a name").to_owned();
        if test["exp_alerts"].as_array().expect("what is expected").is_empty() {
            is_silent.insert(alert);
        } else {
            fires.insert(alert);
        }
    }
    let all: BTreeSet<String> = alerts().into_keys().collect();
    assert_eq!(fires, all);
    assert_eq!(is_silent, all);
}

#[test]
fn every_alert_has_a_severity_words_and_a_runbook_and_every_runbook_an_alert() {
    let page = read(OPERATIONS);
    let anchors = anchors(&page);
    let all = alerts();
    for (name, rule) in &all {
        let severity = rule["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning", "info"].contains(&severity), "{name}: {severity}");
        let annotations = &rule["annotations"];
        for words in ["summary", "description"] {
            assert!(
                annotations[words].as_str().is_some_and(|words| words.len() > 10),
                "{name} has no {words}"
            );
        }
        let url = annotations["runbook_url"].as_str().unwrap_or_default();
        let (file, anchor) = url.split_once('#').unwrap_or_else(|| panic!("{name}: {url}"));
        assert!(file.ends_with(OPERATIONS), "{name}: {url}");
        assert!(anchor == name.to_lowercase() && anchors.contains(anchor), "{name} has no runbook");
    }
    let runbooks =
        page.split("## Runbooks\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("runbooks");
    let named: BTreeSet<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(named, all.keys().map(String::as_str).collect());
    for runbook in runbooks.split("\n### ").skip(1) {
        let name = runbook.lines().next().unwrap_or_default();
        let severity = runbook.lines().nth(2).unwrap_or_default().to_lowercase();
        let wanted = all[name]["labels"]["severity"].as_str().unwrap_or_default();
        assert!(severity.starts_with(&format!("*{wanted}.*")), "{name} is {wanted}");
        assert!(runbook.contains("- **Do**: "), "{name} does not say what to do");
    }
}

#[test]
fn alerts_ask_for_documented_metrics_alone() {
    let documented = documented();
    for (name, rule) in alerts() {
        let expression = rule["expr"].as_str().expect("an expression");
        let found = metrics(expression);
        assert!(!found.is_empty(), "{name} asks for nothing");
        for metric in found {
            let base = metric.strip_suffix("_bucket").unwrap_or(&metric);
            assert!(documented.contains(base), "{name}: {metric} is not documented");
        }
    }
}
