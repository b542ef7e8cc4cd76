//! Processes, and what the kernel says of them.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::soaked::Account;

/// A process that is ended by closing its standard input, or with this value.
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

    /// The same, with the lowest priority: it takes no time that another process could use.
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

    /// The next line that it says.
    pub async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(600), self.stdout.read_line(&mut line));
        assert!(read.await.expect("it says something in time").unwrap() > 0, "a process has ended too early");
        line.trim_end().to_owned()
    }

    pub async fn json<T: serde::de::DeserializeOwned>(&mut self) -> T {
        serde_json::from_str(&self.line().await).expect("it says what is expected")
    }

    /// Tells it to end, by its standard input.
    pub fn stop(&mut self) {
        self.stdin = None;
    }
}

fn own_path() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// A server and what can be known of it.
pub struct Server {
    pub address: SocketAddr,
    control: Option<SocketAddr>,
    pid: u32,
    _process: Option<Process>,
}

/// What the server says of itself.
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

    /// A server that another program is. The first line that it says is its address, and perhaps that of its figures.
    pub async fn of_process(mut process: Process) -> Self {
        let line = process.line().await;
        let mut addresses = line.split(' ').map(|address| address.parse().expect("a server says its address"));
        let (address, control) = (addresses.next().expect("a server says its address"), addresses.next());
        Self { address, control, pid: process.pid(), _process: Some(process) }
    }

    pub async fn figures(&self) -> Figures {
        self.ask("figures").await
    }

    /// What the server of the soak has heard.
    pub async fn account(&self) -> Account {
        self.ask("account").await
    }

    pub async fn sockets_of_root(&self) -> usize {
        self.ask("sockets").await
    }

    /// Tells the server to do something.
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

    /// Resident memory now, in bytes.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// The most that was resident, in bytes.
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

/// The time that a process has had on the processors.
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // The kernel counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}
