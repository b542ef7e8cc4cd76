//! A server that is measured, as a process.

use std::{
    fs, io,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, Command},
    runtime::Builder,
    task::JoinSet,
    time::sleep,
};

use crate::client::probe;

/// Connections that send echoes.
const PROBES: usize = 5;
/// The unit of `/proc`, which Linux has fixed.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) port: u16,
    /// The time of the slowest echo, in microseconds.
    slowest: Arc<AtomicU64>,
}

impl Server {
    /// Starts a server and its probes, which have a thread of their own: the clients do not delay them.
    pub(crate) fn start(command: &[String], port: u16) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut process = Command::new(program);
        process.args(arguments).arg(port.to_string()).stdin(Stdio::piped()).kill_on_drop(true);
        let server = Self { process: process.spawn()?, port, slowest: Arc::default() };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let slowest = server.slowest.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                let probes: JoinSet<_> = (0..PROBES).map(|_| probe(port, slowest.clone())).collect();
                probes.join_all().await;
            });
        });
        Ok(server)
    }

    /// Waits until the server has answered an echo.
    pub(crate) async fn ready(&self) {
        while self.slowest.load(Relaxed) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the milliseconds of the slowest echo since the last call.
    pub(crate) fn take_slowest(&self) -> f64 {
        self.slowest.swap(0, Relaxed) as f64 / 1e3
    }

    /// Tells the server to drain, and to exit afterwards.
    pub(crate) async fn drain(&mut self, seconds: u32) -> io::Result<()> {
        let mut stdin = self.process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{seconds}\n").as_bytes()).await
    }

    /// Returns the seconds of CPU time, user and system.
    pub(crate) fn cpu_time(&self) -> io::Result<(f64, f64)> {
        let stat = self.read("stat")?;
        let seconds = |field| {
            let ticks = stat.split_whitespace().nth(field).and_then(|ticks| ticks.parse().ok());
            ticks.unwrap_or(f64::NAN) / TICKS_PER_SECOND
        };
        Ok((seconds(13), seconds(14)))
    }

    /// Returns the peak of the resident memory, in MiB.
    pub(crate) fn peak(&self) -> io::Result<f64> {
        let status = self.read("status")?;
        let kib = status.split("VmHWM:").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Ok(kib.unwrap_or(f64::NAN) / 1024.0)
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id().unwrap_or(0)))
    }
}
