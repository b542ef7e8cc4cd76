use std::path::Path;

use tokio::process::Command;

use super::Server;

/// `nats-server` with JetStream.
#[derive(Clone, Copy, Default)]
pub struct Nats {
    pub password: Option<&'static str>,
}

impl Server for Nats {
    async fn prepare(&self, _: &Path) {}

    fn command(&self, folder: &Path, port: u16) -> Command {
        // Debian installs it where only root looks for programs.
        let installed = Path::new("/usr/sbin/nats-server");
        let mut command = Command::new(if installed.exists() { installed } else { Path::new("nats-server") });
        command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream", "--store_dir"]).arg(folder);
        command.args(self.password.iter().flat_map(|password| ["--user", "nats", "--pass", *password]));
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        (Vec::new(), &[b"INFO "])
    }

    fn url(&self, port: u16) -> String {
        let credentials = self.password.map_or(String::new(), |password| format!("nats:{password}@"));
        format!("nats://{credentials}127.0.0.1:{port}")
    }
}
