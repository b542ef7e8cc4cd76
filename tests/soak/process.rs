//! Processes, and their statistics from the kernel.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::soaked::Account;

/// A process that ends when its standard input is closed or this value is dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program with other arguments.
    pub fn start<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Self {
        let mut command = Command::new(own_path());
        command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        Self::spawn(command)
    }

    /// The same with the lowest priority, so that it does not slow down other processes.
    pub fn start_nicely<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Self {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(own_path());
        command.args(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the program runs");
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Returns the next line of its output.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(600), self.stdout.read_line(&mut line));
        assert!(read.await.expect("it says something in time").unwrap() > 0, "a process has ended too early");
        line.trim_end().to_owned()
    }

    pub async fn json<T: serde::de::DeserializeOwned>(&mut self) -> T {
        serde_json::from_str(&self.line().await).expect("it says what is expected")
    }

    /// Closes its standard input, so that it exits.
    pub fn stop(&mut self) {
        self.stdin = None;
    }
}

fn own_path() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// A server and its statistics.
pub struct Server {
    pub address: SocketAddr,
    control: Option<SocketAddr>,
    pid: u32,
    _process: Option<Process>,
}

/// The statistics that the server reports.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Figures {
    pub connections: usize,
    pub sockets: usize,
    pub panics: u64,
    pub slow_clients: u64,
    pub namespaces: usize,
    pub rooms: usize,
    pub tasks: usize,
}

impl Server {
    pub async fn start(mode: &str) -> Self {
        Self::of_process(Process::start(["serve", mode])).await
    }

    /// Starts a server that is another program. Its first line contains its address, and optionally that of its statistics.
    pub async fn of_process(mut process: Process) -> Self {
        let line = process.line().await;
        let mut addresses = line.split(' ').map(|address| address.parse().expect("a server says its address"));
        let (address, control) = (addresses.next().expect("a server says its address"), addresses.next());
        Self { address, control, pid: process.pid(), _process: Some(process) }
    }

    pub async fn figures(&self) -> Figures {
        self.ask("figures").await
    }

    /// Returns the events that the soak server has recorded.
    pub async fn account(&self) -> Account {
        self.ask("account").await
    }

    pub async fn sockets_of_root(&self) -> usize {
        self.ask("sockets").await
    }

    /// Sends a command to the server.
    pub async fn order(&self, order: &str) {
        self.ask::<()>(order).await;
    }

    async fn ask<T: Default + serde::de::DeserializeOwned>(&self, what: &str) -> T {
        let Some(control) = self.control else { return T::default() };
        let mut text = String::new();
        let mut connection = TcpStream::connect(control).await.expect("the server runs");
        connection.write_all(format!("{what}\n").as_bytes()).await.unwrap();
        connection.read_to_string(&mut text).await.unwrap();
        serde_json::from_str(&text).expect("it says what is expected")
    }

    /// Returns the current resident memory in bytes.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// Returns the peak resident memory in bytes.
    pub fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel says it");
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("the server runs").count()
    }

    pub fn processor_time(&self) -> Duration {
        processor_time(self.pid)
    }
}

/// Returns the CPU time of a process.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // The kernel counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}
