//! The servers that people really download from, as their packages ship them.

mod configuration;

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use partwise::origin::Object;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tempfile::TempDir;

/// The longest that a server may take to accept its first connection.
const READY: Duration = Duration::from_secs(20);
/// Between two looks at a foreign process, which has no other way to say that it is ready.
const GLANCE: Duration = Duration::from_millis(10);
/// Somebody else may take the free port that was found, before the server does.
const PORTS_TRIED: usize = 5;
/// The first object's modification date: long past, so that its entity tag is a strong one
/// everywhere.
const FIRST_DATE: Duration = Duration::from_secs(1_704_067_200);

/// A server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Nginx,
    Apache,
    Caddy,
    Lighttpd,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Apache => "apache2",
            Self::Caddy => "caddy",
            Self::Lighttpd => "lighttpd",
        }
    }

    /// Where it is installed, if it is: on the path, or where Debian puts what only root is thought
    /// to run.
    fn find(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
        folders
            .map(|folder| folder.join(self.name()))
            .find(|file| file.is_file())
    }
}

/// A real server over a temporary folder. Killed when it is dropped.
pub(crate) struct Server {
    program: Program,
    executable: PathBuf,
    folder: TempDir,
    rate_per_connection: Option<u64>,
    process: Process,
}

impl Server {
    /// Starts it. Where it is not installed it says so and gives `None`; with `PARTWISE_REQUIRE=1`
    /// that is a failure.
    pub(crate) fn start(program: Program) -> Option<Self> {
        Self::start_limited(program, None)
    }

    /// The same, with so many bytes a second for each connection, at least 1024. Caddy knows no
    /// such limit.
    pub(crate) fn start_limited(program: Program, rate: Option<u64>) -> Option<Self> {
        let Some(executable) = program.find() else {
            skip(program.name());
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("www")).unwrap();
        // Apache gives up root's rights, and then has to read this folder as somebody else.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let process = Process::start(program, &executable, folder.path(), rate);
        Some(Self {
            program,
            executable,
            folder,
            rate_per_connection: rate,
            process,
        })
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.process.port)
    }

    /// Puts an object under this name, all at once, with a date that is `hours` after 2024-01-01.
    /// Different dates make different validators.
    pub(crate) fn put(&self, name: &str, object: &Object, hours: u32) {
        let www = self.folder.path().join("www");
        let new = www.join(".new");
        let mut file = File::create(&new).unwrap();
        let mut block = vec![0; 1 << 20];
        let mut position = 0;
        while position < object.length() {
            let left = usize::try_from(object.length() - position).unwrap();
            let count = left.min(block.len());
            object.read_at(position, &mut block[..count]);
            file.write_all(&block[..count]).unwrap();
            position += count as u64;
        }
        let date = SystemTime::UNIX_EPOCH + FIRST_DATE + Duration::from_secs(3600) * hours;
        file.set_modified(date).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o644)).unwrap();
        fs::rename(&new, www.join(name)).unwrap();
    }

    /// Kills it, with every connection, and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        let port = self.process.port;
        self.process.end();
        let (program, folder) = (self.program, self.folder.path());
        let rate = self.rate_per_connection;
        match Process::try_start(program, &self.executable, folder, rate, port) {
            Ok(process) => self.process = process,
            Err(why) => panic!("{program:?} does not start again: {why}"),
        }
    }
}

/// Says that something is missing, past the capture of the test's output; a failure where nothing
/// may be missing.
fn skip(name: &str) {
    let required = std::env::var("PARTWISE_REQUIRE").is_ok_and(|value| value == "1");
    assert!(!required, "{name} is not installed, and PARTWISE_REQUIRE=1");
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not installed");
}

struct Process {
    // The leader of a process group of its own, so that a server's workers end with it.
    child: Child,
    port: u16,
}

impl Process {
    fn start(program: Program, executable: &Path, folder: &Path, rate: Option<u64>) -> Self {
        let mut why = String::new();
        for _ in 0..PORTS_TRIED {
            match Self::try_start(program, executable, folder, rate, free_port()) {
                Ok(process) => return process,
                Err(error) => why = error,
            }
        }
        panic!("{program:?} does not start: {why}");
    }

    fn try_start(
        program: Program,
        executable: &Path,
        folder: &Path,
        rate: Option<u64>,
        port: u16,
    ) -> Result<Self, String> {
        let errors = folder.join("stderr.log");
        let child = Command::new(executable)
            .args(configuration::write(program, folder, port, rate))
            .env("HOME", folder)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).unwrap())
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut process = Self { child, port };
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            if let Some(status) = process.child.try_wait().unwrap() {
                let said = fs::read_to_string(errors).unwrap_or_default();
                return Err(format!("{status}: {said}"));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(process);
            }
            thread::sleep(GLANCE);
        }
        Err(format!("not ready after {READY:?}"))
    }

    fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
        // Its workers end a moment later than their leader, and until then the port is theirs.
        let deadline = Instant::now() + READY;
        let group = Pid::from_child(&self.child);
        while test_kill_process_group(group).is_ok() && Instant::now() < deadline {
            thread::sleep(GLANCE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn serves(program: Program) {
        let Some(mut server) = Server::start(program) else {
            return;
        };
        let get = |url| {
            let client = crate::support::plain_client();
            client.get(url).header("range", "bytes=8-15").send()
        };
        let (old, new) = (Object::new(1, 100_000), Object::new(2, 100_000));

        server.put("x", &old, 0);
        let first = get(server.url("x")).await.unwrap();
        assert_eq!(first.status(), 206, "{program:?}");
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(etag.starts_with('"'), "{program:?}: {etag}");
        let mut expected = [0; 8];
        old.read_at(8, &mut expected);
        assert_eq!(first.bytes().await.unwrap(), expected[..], "{program:?}");

        server.put("x", &new, 1);
        server.restart();
        let second = get(server.url("x")).await.unwrap();
        assert_ne!(second.headers()["etag"], etag.as_str(), "{program:?}");
        new.read_at(8, &mut expected);
        assert_eq!(second.bytes().await.unwrap(), expected[..], "{program:?}");
    }

    #[tokio::test]
    async fn nginx_serves() {
        serves(Program::Nginx).await;
    }

    #[tokio::test]
    async fn apache_serves() {
        serves(Program::Apache).await;
    }

    #[tokio::test]
    async fn caddy_serves() {
        serves(Program::Caddy).await;
    }

    #[tokio::test]
    async fn lighttpd_serves() {
        serves(Program::Lighttpd).await;
    }
}
