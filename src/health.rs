//! `tailrace health`: asks a running server whether it is alive, for images without a shell.

use anyhow::bail;
use hyper::StatusCode;

use crate::admin_client::AdminClient;

/// What `tailrace health` is asked.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The server's address for operators, as HOST:PORT
    #[arg(
        long = "admin-listen",
        env = "TAILRACE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS"
    )]
    address: String,
    /// Ask whether it is ready for streams, too
    #[arg(long)]
    ready: bool,
}

/// Prints what the server says; an error unless it is well.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let client = AdminClient::new(&args.address, None)?;
    let (head, body) = client.get(if args.ready { "/readyz" } else { "/healthz" }).await?;
    let said = String::from_utf8_lossy(&body);
    match head.status {
        StatusCode::OK => println!("{}", said.trim_end()),
        status => bail!("{} answers {}: {}", client.address(), status.as_u16(), said.trim_end()),
    }
    Ok(())
}
