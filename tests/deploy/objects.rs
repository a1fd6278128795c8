//! Rendering the chart, and finding one's way in what comes of it.

use std::io::Write as _;

use serde_json::Value;

use super::{root, run};

/// Objects of Kubernetes, and what Helm prints.
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Value>,
    pub(crate) notes: String,
}

impl Rendered {
    /// The objects of a kind.
    pub(crate) fn all(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| object["kind"] == kind).collect()
    }

    /// The object of a kind of which there is one.
    pub(crate) fn one(&self, kind: &str) -> &Value {
        let found = self.all(kind);
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        found[0]
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.one("StatefulSet")["spec"]["template"]
    }

    pub(crate) fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }

    /// The settings of the container.
    pub(crate) fn settings(&self) -> &Value {
        let name = &self.container()["envFrom"][0]["configMapRef"]["name"];
        let maps = self.all("ConfigMap");
        let map = maps.iter().find(|map| map["metadata"]["name"] == *name);
        &map.unwrap_or_else(|| panic!("no ConfigMap {name}"))["data"]
    }
}

/// Files of values, of the chart's folder.
pub(crate) fn helm(command: &str, values: &[&str]) -> Result<String, String> {
    const CHART: &str = "deploy/helm/tailrace";
    let path = |values: &&str| match values.starts_with('/') {
        true => (*values).to_owned(),
        false => format!("{CHART}/{values}"),
    };
    let paths: Vec<String> = values.iter().map(path).collect();
    let mut arguments = vec![command, CHART];
    arguments.extend(paths.iter().map(String::as_str));
    let (ok, said) = run(root().join(".tailrace/helm/helm"), &arguments);
    if ok { Ok(said) } else { Err(said) }
}

pub(crate) fn rendered(values: &[&str]) -> Rendered {
    let said = helm("render", values).unwrap_or_else(|error| panic!("{values:?}: {error}"));
    let mut said: Value = serde_json::from_str(&said).expect("JSON");
    let Value::Array(objects) = said["objects"].take() else { panic!("no objects") };
    assert!(objects.len() > 4, "{objects:?}");
    Rendered { objects, notes: said["notes"].as_str().expect("notes").to_owned() }
}

/// The values of ci/minimal.yaml, and these.
pub(crate) fn rendered_with(values: &str) -> Rendered {
    let file = file_with(values);
    rendered(&["ci/minimal.yaml", file.path().to_str().expect("UTF-8")])
}

/// What is said about values that are refused, after those of ci/minimal.yaml.
pub(crate) fn refusal(values: &str) -> String {
    let file = file_with(values);
    helm("render", &["ci/minimal.yaml", file.path().to_str().expect("UTF-8")])
        .err()
        .unwrap_or_else(|| panic!("{values} is not refused"))
}

fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

/// Whether everything that a selector asks for is among labels.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().expect("a selector");
    assert!(!wanted.is_empty(), "it selects everything");
    wanted.iter().all(|(label, value)| labels[label] == *value)
}
