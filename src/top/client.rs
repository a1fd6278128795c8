//! Asks the server for its open streams. Every error says what to do next.

use std::time::Instant;

use anyhow::anyhow;
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::Sort;
use super::report::{List, Report};
use crate::admin_client::AdminClient;
use crate::config::Refusal;

pub(super) struct Client {
    admin: AdminClient,
    limit: u16,
}

impl Client {
    pub(super) fn new(address: &str, token_file: Option<&str>, limit: u16) -> Result<Client, Refusal> {
        Ok(Client { admin: AdminClient::new(address, token_file)?, limit })
    }

    pub(super) fn address(&self) -> &str {
        self.admin.address()
    }

    pub(super) async fn report(&self, sort: Sort) -> anyhow::Result<Report> {
        let tenants = self.list("/tenants", sort.of_tenants()).await?;
        let streams = self.list("/streams", sort.of_streams()).await?;
        Ok(Report { tenants, streams, at: Instant::now() })
    }

    async fn list<T: DeserializeOwned>(&self, path: &str, sort: &str) -> anyhow::Result<List<T>> {
        let (head, body) = self.admin.get(&format!("{path}?sort={sort}&limit={}", self.limit)).await?;
        let total = head.headers.get("x-total-count").and_then(|value| value.to_str().ok()?.parse().ok());
        if head.status != StatusCode::OK {
            return Err(self.refused(head.status, &body));
        }
        let list = serde_json::from_slice(&body).ok().zip(total);
        let (first, total) = list.ok_or_else(|| anyhow!("{}", self.admin.stranger()))?;
        Ok(List { first, total })
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(detail) = problem["detail"].as_str() else { return anyhow!("{}", self.admin.stranger()) };
        match (status, self.admin.has_token()) {
            (StatusCode::UNAUTHORIZED, false) => anyhow!(
                "{} asks for a token: name the file by --admin-token-file or TAILRACE_ADMIN_TOKEN_FILE",
                self.address()
            ),
            (StatusCode::UNAUTHORIZED, true) => {
                anyhow!("{} does not take the token: it must be one of the server's own file", self.address())
            }
            (StatusCode::NOT_FOUND, _) => anyhow!("{}", self.admin.stranger()),
            _ => anyhow!("{} answers {}: {}", self.address(), status.as_u16(), super::table::clean(detail)),
        }
    }
}
