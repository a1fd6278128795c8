//! Settings of the proxies in front: which are believed, and how they report a client's address.

use super::SettingError;
use super::value::{parse, wrong};
use crate::peer::{ForwardedHeader, PeerRules};

#[derive(Clone, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Proxies that are believed when they report a client's address: networks or addresses, comma-separated, as in `10.0.0.0/8,fd00::/8`; empty: none
    #[arg(
        long = "trusted-proxies",
        env = "TAILRACE_TRUSTED_PROXIES",
        default_value = "",
        value_name = "NETWORKS"
    )]
    trusted_proxies: String,
    /// Header in which trusted proxies report a client's address: `forwarded`, `x-forwarded-for`, or `any`: either, and neither where they disagree
    #[arg(
        long = "forwarded-header",
        env = "TAILRACE_FORWARDED_HEADER",
        default_value = "any",
        value_name = "HEADER"
    )]
    forwarded_header: String,
    /// Whether connections from trusted proxies begin with a header of the PROXY protocol, version 1 or 2: `on` (all of them must) or `off`
    #[arg(
        long = "proxy-protocol",
        env = "TAILRACE_PROXY_PROTOCOL",
        default_value = "off",
        value_name = "SWITCH"
    )]
    proxy_protocol: String,
}

impl Args {
    pub(super) fn rules(&self) -> Result<PeerRules, SettingError> {
        let rules = PeerRules {
            trusted: parse("TAILRACE_TRUSTED_PROXIES", &self.trusted_proxies)?,
            header: parse("TAILRACE_FORWARDED_HEADER", &self.forwarded_header)?,
            proxy_protocol: self.proxy_protocol()?,
        };
        if rules.proxy_protocol && rules.trusted.is_empty() {
            let accepted = "off, or the balancers that send the header in TAILRACE_TRUSTED_PROXIES: without them, nobody may";
            return Err(wrong("TAILRACE_PROXY_PROTOCOL", &self.proxy_protocol, accepted));
        }
        Ok(rules)
    }

    fn proxy_protocol(&self) -> Result<bool, SettingError> {
        match self.proxy_protocol.as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            other => Err(wrong("TAILRACE_PROXY_PROTOCOL", other, "on or off")),
        }
    }
}

/// What the operator may not have meant, each as a sentence.
pub(super) fn doubts(rules: &PeerRules) -> Vec<String> {
    let everybody = rules.trusted.everybody().map(|network| {
        format!(
            "TAILRACE_TRUSTED_PROXIES has {network}: whoever reaches this server chooses the address that limits and the log \
             have for it; list the proxies alone"
        )
    });
    let is_idle = rules.header != ForwardedHeader::Any && rules.trusted.is_empty();
    let idle = is_idle.then(|| {
        "TAILRACE_FORWARDED_HEADER is set, and nobody is believed who writes it: TAILRACE_TRUSTED_PROXIES is empty".to_owned()
    });
    everybody.into_iter().chain(idle).collect()
}
