use std::{net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::soon;

/// A running example.
pub struct Example {
    pub address: SocketAddr,
    lines: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Example {
    fn command(name: &str) -> Command {
        let here = std::env::current_exe().unwrap();
        let binary = here.ancestors().nth(2).unwrap().join(format!("example-{name}"));
        assert!(binary.exists(), "build the examples first: cargo build --workspace --all-features");
        Command::new(binary)
    }

    /// Returns the output of an example that exits by itself.
    #[cfg_attr(not(feature = "typed"), allow(dead_code))]
    pub async fn output(name: &str, arguments: &[&str]) -> String {
        let output = soon(Self::command(name).args(arguments).kill_on_drop(true).output()).await.unwrap();
        assert!(output.status.success(), "{name} {arguments:?} ended with {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn start(name: &str) -> Self {
        let mut command = Self::command(name);
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = soon(lines.next_line()).await.unwrap().expect("the example prints its address");
        let address = line.strip_prefix("listening on http://").expect("an address").parse().unwrap();
        Self { address, lines, _process: process }
    }

    /// Returns the next line of its output.
    pub async fn line(&mut self) -> String {
        soon(self.lines.next_line()).await.unwrap().expect("the example is running")
    }
}
