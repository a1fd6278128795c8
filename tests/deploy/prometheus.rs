//! A real Prometheus that scrapes a demo.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

use super::support::bridge::exchange;
use super::support::{eventually, free_port};
use super::{ALERTS, root};

pub(crate) struct Prometheus {
    port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes this port every second, and has the alert rules.
    pub(crate) async fn start(admin: u16) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = folder.path().join("prometheus.yml");
        let rules = root().join(ALERTS);
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\n\
             scrape_configs: [{{ job_name: tailrace, static_configs: [{{ targets: ['127.0.0.1:{admin}'] }}] }}]\n",
            rules.display()
        );
        std::fs::write(&configuration, text).expect("it can be written");
        let port = free_port();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus can be started: `cargo xtask setup` installs it");
        let prometheus = Prometheus { port, _process: process, _folder: folder };
        eventually("the demo is scraped", Duration::from_secs(30), async || {
            prometheus.try_query("tailrace_ready == 1").await.ok().filter(|found| !found.is_empty())
        })
        .await;
        prometheus
    }

    /// The series of an expression now.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Value> {
        self.try_query(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    pub(crate) async fn rules(&self) -> Vec<Value> {
        let data = self.get("/api/v1/rules").await.expect("rules");
        let groups = data["groups"].as_array().expect("groups");
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }

    async fn try_query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.get(&format!("/api/v1/query?query={escaped}")).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// HTTP/1.0, so that the answer is in one piece.
    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let answer = exchange(self.port, request.as_bytes()).await.ok_or("no answer")?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no body")?;
        let mut body: Value = serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        if body["status"] == "success" { Ok(body["data"].take()) } else { Err(body["error"].to_string()) }
    }
}
