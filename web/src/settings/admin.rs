//! Settings of the operators' address: where it is, and who may call it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::SettingError;
use super::value::{address, wrong};
use crate::admin_tokens::AdminTokens;

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Address of /healthz, /readyz, /metrics, and of /streams, /tenants and /config, as HOST:PORT
    #[arg(
        long = "admin-listen",
        env = "TAILRACE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS"
    )]
    pub(super) admin_listen: String,
    /// File with the tokens of operators, one a line, each of 32 bytes or more, read again on change. With it /streams, /tenants and /config ask for one; without it they answer on a loopback address only
    #[arg(long = "admin-token-file", env = "TAILRACE_ADMIN_TOKEN_FILE", value_name = "PATH")]
    admin_token_file: Option<String>,
}

/// The checked settings of the operators' address.
#[derive(Clone)]
pub(crate) struct AdminSettings {
    pub(crate) listen: SocketAddr,
    /// `None`: no token is asked for.
    pub(crate) tokens: Option<Arc<AdminTokens>>,
}

impl Args {
    pub(super) fn settings(&self) -> Result<AdminSettings, SettingError> {
        let listen = address("TAILRACE_ADMIN_LISTEN", &self.admin_listen)?;
        Ok(AdminSettings { listen, tokens: self.tokens()? })
    }

    fn tokens(&self) -> Result<Option<Arc<AdminTokens>>, SettingError> {
        let Some(path) = self.admin_token_file.as_deref().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let tokens = AdminTokens::read(path.into());
        let tokens = tokens.map_err(|accepted| wrong("TAILRACE_ADMIN_TOKEN_FILE", path, accepted))?;
        Ok(Some(Arc::new(tokens)))
    }
}
