//! The package for Python, `clients/python`: its lints, its types, its tests.

use std::process::Command;

use crate::run::{command, root};
use crate::setup::PYTHON;

const FOLDER: &str = "clients/python";

const CHECKS: [&[&str]; 4] = [&["ruff", "format", "--check"], &["ruff", "check"], &["mypy"], &["pytest"]];

/// The commands that check it, each of which must succeed.
pub(crate) fn checks() -> impl Iterator<Item = Command> {
    CHECKS.into_iter().map(|check| {
        let mut python = command("python3", &[&["-m"], check].concat());
        python.current_dir(root().join(FOLDER));
        python.env("PYTHONPATH", root().join(PYTHON)).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    })
}
