//! A container without an engine: the image's files as a root that cannot be written to, its user, its environment.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// Makes the folder `$0` the root, read-only as a whole but for /proc, and becomes the user `$1`.
const ENTER: &str = r#"
root=$0 user=$1
shift
mount --bind "$root" "$root"
mount -o remount,ro,bind "$root"
mount -t proc proc "$root/proc"
exec chroot --userspec="$user" "$root" "$@"
"#;

pub(crate) struct Container {
    pub(crate) root: PathBuf,
    pub(crate) configuration: Value,
    environment: Vec<(String, String)>,
}

impl Container {
    /// `environment` comes on top of the image's own, `hosts` is its /etc/hosts.
    pub(crate) fn new(
        root: PathBuf,
        configuration: Value,
        environment: &[(&str, String)],
        hosts: &str,
    ) -> Container {
        // What an engine lays into every container.
        fs::create_dir_all(root.join("proc")).expect("a folder");
        fs::write(root.join("etc/hosts"), hosts).expect("a file");
        let given = environment.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let own = words(&configuration["Env"]).into_iter().map(|pair| {
            let (name, value) = pair.split_once('=').expect("NAME=value");
            (name.to_owned(), value.to_owned())
        });
        let environment = own.chain(given).collect();
        Container { root, configuration, environment }
    }

    /// The image's entry point with these arguments.
    pub(crate) fn entry(&self, arguments: &[&str]) -> Command {
        let entry = words(&self.configuration["Entrypoint"]);
        self.inside(entry.iter().map(String::as_str).chain(arguments.iter().copied()))
    }

    /// The image's HEALTHCHECK, as an engine runs it: without a shell.
    pub(crate) fn health(&self) -> Command {
        let test = words(&self.configuration["Healthcheck"]["Test"]);
        assert_eq!(test[0], "CMD", "it wants a shell");
        self.inside(test[1..].iter().map(String::as_str))
    }

    /// The port of an address in its environment.
    pub(crate) fn port(&self, variable: &str) -> u16 {
        let address = self.environment.iter().rev().find(|(name, _)| name == variable);
        let (_, address) = address.unwrap_or_else(|| panic!("no {variable}"));
        address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    fn inside<'a>(&self, command: impl Iterator<Item = &'a str>) -> Command {
        let user = self.configuration["User"].as_str().expect("a user");
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "/bin/sh", "-euc", ENTER]).arg(&self.root).arg(user).args(command);
        inside.env_clear().envs(self.environment.iter().cloned());
        inside.stdin(Stdio::null()).kill_on_drop(true);
        inside
    }
}

pub(crate) fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    words.iter().map(|word| word.as_str().expect("text").to_owned()).collect()
}
