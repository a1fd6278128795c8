//! Builds the server and the load generator as they are released, and runs the load.

use anyhow::Result;

use crate::run::run;
use crate::setup;

pub(crate) fn load(arguments: &[String]) -> Result<()> {
    setup::kafka()?;
    run("cargo", &["build", "--release", "-p", "tailrace", "-p", "tailrace-benches"])?;
    let arguments = arguments.iter().map(String::as_str);
    let load = ["run", "--release", "--quiet", "-p", "tailrace-benches", "--", "load"].into_iter();
    run("cargo", &load.chain(arguments).collect::<Vec<_>>())
}
