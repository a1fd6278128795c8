//! The Helm chart.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::objects::{Rendered, helm, refusal, rendered, rendered_with, selects};
use super::{ALERTS, DASHBOARD, duration, files, is_setting, read, settings};

/// Sets of values: those of ci/, and the examples upon the least.
fn sets() -> Vec<Vec<String>> {
    let name = |path: &std::path::Path, folder: &str| {
        format!("{folder}/{}", path.file_name().and_then(|name| name.to_str()).expect("a name"))
    };
    let mut sets: Vec<Vec<String>> =
        files("deploy/helm/tailrace/ci", "yaml").iter().map(|path| vec![name(path, "ci")]).collect();
    for path in files("deploy/helm/tailrace/examples", "yaml") {
        // Those are values of another chart.
        if !path.ends_with("prometheus-adapter.yaml") {
            sets.push(vec!["ci/minimal.yaml".to_owned(), name(&path, "examples")]);
        }
    }
    assert!(sets.len() >= 5, "{sets:?}");
    sets
}

fn each(check: impl Fn(&str, &Rendered)) {
    for set in sets() {
        let values: Vec<&str> = set.iter().map(String::as_str).collect();
        check(&set.join(" "), &rendered(&values));
    }
}

#[test]
fn helm_finds_nothing_to_complain_about_and_every_object_is_of_the_api() {
    for set in sets() {
        let values: Vec<&str> = set.iter().map(String::as_str).collect();
        helm("lint", &values).unwrap_or_else(|error| panic!("{set:?}: {error}"));
    }
    // Rendering decodes strictly.
    each(|_, all| assert!(all.notes.contains("Tailrace serves")));
}

#[test]
fn values_that_cannot_be_right_are_refused_with_a_reason() {
    for (values, said) in [
        ("replica: 3", "replica"),
        ("kafka: { bootstrapServer: x }", "bootstrapServer"),
        ("kafka: { bootstrapServers: '' }", "kafka.bootstrapServers is required"),
        ("topics: []", "topics is required"),
        ("topics: orders", "topics"),
        ("tenantFrom: ''", "tenantFrom is required"),
        ("auth: jwt", "auth: jwt needs a key"),
        ("auth: token", "auth"),
        ("config: { TAILRACE_JWT_SECRET: a-secret }", "TAILRACE_JWT_SECRET"),
        ("config: { TAILRACE_SCHEMA_REGISTRY_PASSWORD: x }", "TAILRACE_SCHEMA_REGISTRY_PASSWORD"),
        ("config: { TAILRACE_KAFKA_SSL_KEY_PEM: x }", "TAILRACE_KAFKA_SSL_KEY_PEM"),
        ("kafka: { properties: { sasl.password: x } }", "sasl.password"),
        ("config: { TAILRACE_INSTANCE: x }", "TAILRACE_INSTANCE"),
        ("config: { OTEL_SERVICE_NAME: x }", "OTEL_SERVICE_NAME"),
        ("config: { TAILRACE_HEARTBEAT: 15 }", "TAILRACE_HEARTBEAT"),
        ("files: { TAILRACE_LIMITS_FILE: { secret: a, configMap: b, key: c } }", "TAILRACE_LIMITS_FILE"),
        ("files: { TAILRACE_LIMITS_FILE: { secret: a } }", "key"),
        ("ingress: { enabled: true }", "ingress.host is required"),
        ("route: { enabled: true }", "route.parentRefs is required"),
        ("image: { digest: latest }", "digest"),
        ("cacheMiB: 256MiB", "cacheMiB"),
        ("resources: { limits: { cpu: 1 } }", "limits"),
    ] {
        let refusal = refusal(values);
        assert!(refusal.contains(said), "{values}: {refusal}");
    }
}

#[test]
fn what_is_no_field_of_the_api_is_found() {
    // Values that the chart hands on as they are.
    for values in
        ["affinity: { podAffinities: {} }", "tolerations: [{ keys: a }]", "env: [{ name: A, values: b }]"]
    {
        assert!(refusal(values).contains("unknown field"), "{values}");
    }
}

#[test]
fn every_setting_is_known_to_the_program_and_a_flag_of_helm_is_as_it_was_written() {
    let known = settings();
    each(|set, all| {
        let of_pod = all.container()["env"].as_array().expect("variables").iter();
        let of_pod = of_pod.filter_map(|variable| variable["name"].as_str());
        let settings = all.settings().as_object().expect("settings");
        for variable in
            settings.keys().map(String::as_str).chain(of_pod.filter(|name| name.starts_with("TAILRACE_")))
        {
            assert!(is_setting(&known, variable), "{set}: {variable} is no setting");
        }
        for (variable, value) in settings {
            assert!(value.is_string(), "{set}: {variable}: a ConfigMap has only text");
        }
    });
    let full = rendered(&["ci/full.yaml"]);
    // Helm reads numbers as floating-point numbers, and would write 5.24288e+07.
    assert_eq!(full.settings()["TAILRACE_KAFKA_FETCH_MAX_BYTES"], "52428800");
    assert_eq!(full.settings()["TAILRACE_KAFKA_SASL_MECHANISM"], "SCRAM-SHA-512");
    let target = &full.one("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"];
    assert_eq!(target["averageValue"], "2000000");
}

#[test]
fn selectors_ports_and_names_agree() {
    each(|set, all| {
        let labels = &all.pod()["metadata"]["labels"];
        let spec = &all.one("StatefulSet")["spec"];
        // It can never be changed: nothing of a version may be in it.
        let selector = spec["selector"]["matchLabels"].as_object().expect("a selector");
        assert_eq!(
            selector.keys().collect::<Vec<_>>(),
            ["app.kubernetes.io/instance", "app.kubernetes.io/name"]
        );
        let ports: Vec<&str> =
            array(&all.container()["ports"]).iter().map(|port| text(&port["name"])).collect();
        let mut selecting = vec![&spec["selector"]["matchLabels"]];
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            let field = if kind == "NetworkPolicy" { "podSelector" } else { "selector" };
            selecting.extend(all.all(kind).iter().map(|object| &object["spec"][field]["matchLabels"]));
        }
        for spread in array(&all.pod()["spec"]["topologySpreadConstraints"]) {
            selecting.push(&spread["labelSelector"]["matchLabels"]);
        }
        let services = all.all("Service");
        for service in &services {
            selecting.push(&service["spec"]["selector"]);
            for port in array(&service["spec"]["ports"]) {
                assert!(ports.contains(&text(&port["targetPort"])), "{set}: {port}");
            }
        }
        for selector in selecting {
            assert!(selects(selector, labels), "{set}: {selector} does not select {labels}");
        }
        // `helm test` starts a pod, which must not get the clients of the service.
        assert!(!selects(&services[0]["spec"]["selector"], &all.one("Pod")["metadata"]["labels"]), "{set}");

        let service = |name: &Value| services.iter().find(|one| one["metadata"]["name"] == *name);
        let headless = service(&spec["serviceName"]).unwrap_or_else(|| panic!("{set}: no headless service"));
        assert_eq!(
            (text(&headless["spec"]["clusterIP"]), &headless["spec"]["publishNotReadyAddresses"]),
            ("None", &json!(true))
        );
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = &all.container()[probe]["httpGet"];
            assert!(ports.contains(&text(&probe["port"])), "{set}: {probe}");
        }
        let to_services = |name: &Value, port: &Value| {
            let service = service(name).unwrap_or_else(|| panic!("{set}: no service {name}"));
            let of_service = array(&service["spec"]["ports"]);
            assert!(of_service.iter().any(|one| one["port"] == *port), "{set}: {name} has no port {port}");
        };
        for ingress in all.all("Ingress") {
            let backend = &ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
            to_services(&backend["name"], &backend["port"]["number"]);
        }
        for route in all.all("HTTPRoute") {
            let backend = &route["spec"]["rules"][0]["backendRefs"][0];
            to_services(&backend["name"], &backend["port"]);
        }
        for scaler in all.all("HorizontalPodAutoscaler") {
            assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], all.one("StatefulSet")["metadata"]["name"]);
            assert!(spec["replicas"].is_null(), "{set}: an upgrade would undo what the autoscaler did");
        }
        for monitor in all.all("ServiceMonitor") {
            let selector = &monitor["spec"]["selector"]["matchLabels"];
            let found: Vec<_> =
                services.iter().filter(|one| selects(selector, &one["metadata"]["labels"])).collect();
            assert_eq!(found.len(), 1, "{set}: replicas are scraped by one service, once");
            let port = &monitor["spec"]["endpoints"][0]["port"];
            assert!(
                array(&found[0]["spec"]["ports"]).iter().any(|one| one["name"] == *port),
                "{set}: {port}"
            );
        }
    });
}

#[test]
fn files_are_mounted_where_their_variables_say() {
    each(|set, all| {
        let (container, spec) = (all.container(), &all.pod()["spec"]);
        let (mounts, volumes) = (array(&container["volumeMounts"]), array(&spec["volumes"]));
        let names: BTreeSet<&str> = volumes.iter().map(|volume| text(&volume["name"])).collect();
        assert_eq!(names.len(), volumes.len(), "{set}: a volume's name is given twice");
        assert_eq!(names, mounts.iter().map(|mount| text(&mount["name"])).collect(), "{set}");
        let of_files: Vec<&str> = all.settings().as_object().expect("settings").values().map(text).collect();
        for mount in &mounts {
            let path = text(&mount["mountPath"]);
            assert!(
                of_files.iter().any(|file| file.starts_with(&format!("{path}/"))),
                "{set}: {path} is not used"
            );
            // With subPath, a change would never arrive.
            assert!(mount["subPath"].is_null() && mount["readOnly"] == true, "{set}: {mount}");
        }
        assert!(all.all("Secret").is_empty(), "{set}: secrets exist already");
    });
    let full = rendered(&["ci/full.yaml"]);
    assert_eq!(array(&full.container()["volumeMounts"]).len(), 8);
    assert_eq!(full.settings()["TAILRACE_TLS_KEY_FILE"], "/etc/tailrace/files/tailrace_tls_key_file/tls.key");
}

#[test]
fn pods_meet_the_restricted_standard_and_run_as_the_images_user() {
    let dockerfile = read("compose/Dockerfile");
    let user = dockerfile.lines().find_map(|line| line.strip_prefix("USER ")).expect("a user");
    let user: u64 = user.split(':').next().and_then(|id| id.parse().ok()).expect("a number");
    each(|set, all| {
        let test = &all.one("Pod")["spec"];
        for spec in [&all.pod()["spec"], test] {
            let of_pod = &spec["securityContext"];
            assert_eq!(
                (&of_pod["runAsNonRoot"], &of_pod["runAsUser"]),
                (&json!(true), &json!(user)),
                "{set}"
            );
            assert_eq!(of_pod["seccompProfile"]["type"], "RuntimeDefault", "{set}");
            assert_eq!(spec["automountServiceAccountToken"], false, "{set}");
            // A service called tailrace would set TAILRACE_* variables.
            assert_eq!(spec["enableServiceLinks"], false, "{set}");
            let of_container = &spec["containers"][0]["securityContext"];
            let wanted = json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }
            });
            assert_eq!(*of_container, wanted, "{set}");
        }
    });
}

#[test]
fn a_replica_is_given_the_time_to_drain_and_the_memory_that_its_cache_needs() {
    each(|set, all| {
        let drain = ["TAILRACE_DRAIN_DELAY", "TAILRACE_DRAIN_TIMEOUT"]
            .map(|name| duration(text(&all.settings()[name])));
        let grace = all.pod()["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        assert!(grace >= (drain[0] + drain[1]).as_secs() + 5, "{set}: {grace} s for a drain of {drain:?}");
    });
    let memory = |values: &str| {
        let all = rendered_with(values);
        let resources = &all.container()["resources"];
        assert_eq!(resources["requests"]["memory"], resources["limits"]["memory"], "{values}");
        assert!(resources["limits"]["cpu"].is_null(), "a limit of the processor makes every event late");
        (
            text(&resources["limits"]["memory"]).to_owned(),
            text(&all.settings()["TAILRACE_CACHE_SIZE"]).to_owned(),
        )
    };
    let own = |limit: &str, cache: &str| (limit.to_owned(), cache.to_owned());
    assert_eq!(memory("{}"), own("512Mi", "256MiB"));
    assert_eq!(memory("cacheMiB: 2048"), own("3200Mi", "2048MiB"));
    assert_eq!(memory("resources: { memory: 4Gi }"), own("4Gi", "256MiB"));
}

#[test]
fn a_change_of_settings_restarts_the_pods_and_one_of_limits_does_not() {
    let of = |values: &str| rendered_with(values).pod().clone();
    let before = of("limits: '[tenant.a]'");
    assert_ne!(before, of("{ limits: '[tenant.a]', config: { TAILRACE_HEARTBEAT: 5s } }"));
    // Limits are read again by themselves.
    assert_eq!(before, of("limits: '[tenant.b]'"));
}

#[test]
fn replicas_have_names_of_their_own_that_stay() {
    let all = rendered(&["ci/minimal.yaml"]);
    let instance = array(&all.container()["env"]).into_iter().find(|one| one["name"] == "TAILRACE_INSTANCE");
    // Two releases of one name in two namespaces may read from one Kafka.
    assert_eq!(instance.expect("a name")["value"], "$(POD_NAMESPACE).$(POD_NAME)");
    let long = rendered(&["ci/jwt-secret.yaml"]);
    let name = text(&long.one("StatefulSet")["metadata"]["name"]);
    // Kubernetes makes a label of it with a hash.
    assert!(name.len() + "-0123456789".len() <= 63, "{name}");
    for object in &long.objects {
        assert!(text(&object["metadata"]["name"]).len() <= 63, "{}", object["metadata"]["name"]);
    }
}

#[test]
fn the_network_policy_lets_out_what_is_needed_and_in_who_is_named() {
    let full = rendered(&["ci/full.yaml"]);
    let policy = &full.one("NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let out: BTreeSet<u64> = array(&policy["egress"])
        .iter()
        .flat_map(|rule| array(&rule["ports"]))
        .map(|port| port["port"].as_u64().expect("a port"))
        .collect();
    // Names, both brokers, the key set, the registry.
    assert_eq!(out, BTreeSet::from([53, 443, 8081, 9093, 9094]));
    let admin =
        array(&policy["ingress"]).into_iter().find(|rule| rule["ports"][0]["port"] == 9464).expect("a rule");
    assert!(!array(&admin["from"]).is_empty(), "the admin address is open to all");
    let default = rendered_with(
        "{ networkPolicy: { enabled: true, adminFrom: [] }, kafka: { bootstrapServers: 'a, [::1]:19092' } }",
    );
    let policy = &default.one("NetworkPolicy")["spec"];
    assert_eq!(policy["egress"][1]["ports"], json!([{ "port": 9092 }, { "port": 19092 }]));
    assert_eq!(
        array(&policy["ingress"][1]["from"]).len(),
        1,
        "nobody but the test may ask the admin address"
    );
}

#[test]
fn rules_and_dashboard_are_those_of_the_files() {
    let full = rendered(&["ci/full.yaml"]);
    let rules: Value = serde_norway::from_str(&read(ALERTS)).expect("YAML");
    assert_eq!(full.one("PrometheusRule")["spec"], rules);
    let maps = full.all("ConfigMap");
    let board = maps.iter().find_map(|map| map["data"]["tailrace.json"].as_str()).expect("a dashboard");
    let file: Value = serde_json::from_str(&read(DASHBOARD)).expect("JSON");
    assert_eq!(serde_json::from_str::<Value>(board).expect("JSON"), file);
}

#[test]
fn the_chart_is_of_this_version_and_nginx_is_told_what_docs_proxies_md_says() {
    let chart: Value = serde_norway::from_str(&read("deploy/helm/tailrace/Chart.yaml")).expect("YAML");
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let page = read("docs/proxies.md");
    let block = page
        .split("## ingress-nginx")
        .nth(1)
        .and_then(|rest| rest.split("```yaml\n").nth(1))
        .expect("a block");
    let documented: Value =
        serde_norway::from_str(block.split("```").next().expect("its end")).expect("YAML");
    let all = rendered(&["ci/minimal.yaml", "examples/ingress-nginx.yaml"]);
    let ingresses = all.all("Ingress");
    let streams =
        ingresses.iter().find(|one| one["metadata"]["name"] == "tailrace-streams").expect("an Ingress");
    assert_eq!(streams["metadata"]["annotations"], documented["metadata"]["annotations"]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not text"))
}

/// A list; nothing where there is none.
fn array(value: &Value) -> Vec<&Value> {
    value.as_array().into_iter().flatten().collect()
}
