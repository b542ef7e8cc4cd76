use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Broker, Server};
use crate::support::soon;

/// PostgreSQL with the database and the user `postgres`. It refuses to run as root, so it runs as the user that Debian creates for it.
#[derive(Clone, Copy, Default)]
pub struct Postgres {
    pub password: Option<&'static str>,
}

impl Server for Postgres {
    async fn prepare(&self, folder: &Path) {
        let data = folder.join("data");
        std::fs::create_dir(&data).expect("the folder is empty");
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&data)).await;
        }
        let mut initdb = program("initdb");
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--username=postgres", "--pgdata"]).arg(&data);
        match self.password {
            Some(password) => {
                let file = folder.join("password");
                std::fs::write(&file, password).expect("the folder exists");
                initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(file)
            }
            None => initdb.arg("--auth=trust"),
        };
        run(&mut initdb).await;
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = program("postgres");
        command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string(), "-k", "", "-F"]);
        command.args(["-c", "listen_addresses=127.0.0.1"]);
        command
    }

    fn greeting(&self) -> (Vec<u8>, &'static [&'static [u8]]) {
        // The start of a session. While the server recovers its data, it answers with an error.
        let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        let length = u32::try_from(parameters.len() + 4).expect("a short text").to_be_bytes();
        ([&length[..], parameters].concat(), &[b"R"])
    }

    fn url(&self, port: u16) -> String {
        let password = self.password.map_or(String::new(), |password| format!(":{password}"));
        format!("postgres://postgres{password}@127.0.0.1:{port}/postgres")
    }

    fn end_signal(&self) -> &'static str {
        // An immediate shutdown, which also ends the processes of sessions.
        "-QUIT"
    }
}

impl Broker<Postgres> {
    /// Executes a statement.
    pub async fn execute(&self, statement: &str) {
        run(program("psql").args([&self.url(), "--no-psqlrc", "--quiet", "--command", statement])).await;
    }
}

/// A program of the newest version that is installed.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: make brokers");
    let folders = versions.map(|entry| entry.expect("a folder").path().join("bin"));
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let folder = folders.filter(|folder| folder.join(name).exists()).max_by_key(version);
    let program = folder.unwrap_or_else(|| panic!("{name} is not installed: make brokers")).join(name);
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    // Not a folder that only root can enter.
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

async fn run(command: &mut Command) {
    let output = soon(command.kill_on_drop(true).output()).await.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
