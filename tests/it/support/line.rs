//! A line between two network namespaces of our own: the command at one end, a server at the other.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use partwise::origin::Origin;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The server's address at first, and the one to which it may move.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const MOVED: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);
/// The address of the command's machine at first, and one that it may change to.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 4);
/// A neighbour that is not there. What is sent to it is lost, and nothing says so.
const NOBODY: &str = "02:00:00:00:00:99";

/// The names of the two ends of the cable.
const CLIENT_END: &str = "client";
const SERVER_END: &str = "server";

/// Two namespaces with a cable between them. They are removed when it is dropped.
pub(crate) struct Line {
    client: String,
    server: String,
    relays: Vec<JoinHandle<()>>,
}

impl Line {
    /// Lays a line. Where that is not possible it says so and gives `None`; with
    /// `PARTWISE_REQUIRE=1` that is a failure.
    pub(crate) fn lay() -> Option<Self> {
        static LAID: AtomicU32 = AtomicU32::new(0);
        let number = LAID.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("partwise-{}-{number}-{end}", std::process::id());
        let line = Self {
            client: name(CLIENT_END),
            server: name(SERVER_END),
            relays: Vec::new(),
        };
        for space in [&line.client, &line.server] {
            if let Err(why) = ip(&["netns", "add", space]) {
                let required = std::env::var("PARTWISE_REQUIRE").is_ok_and(|value| value == "1");
                assert!(
                    !required,
                    "no network namespace: {why}, and PARTWISE_REQUIRE=1"
                );
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: no network namespace can be made: {why}"
                );
                return None;
            }
        }
        let (client, server) = (&line.client, &line.server);
        must(&[
            "link", "add", CLIENT_END, "netns", client, "type", "veth", "peer", "name", SERVER_END,
            "netns", server,
        ]);
        for (space, end) in [(client, CLIENT_END), (server, SERVER_END)] {
            must(&["-n", space, "link", "set", "lo", "up"]);
            must(&["-n", space, "link", "set", end, "up"]);
        }
        line.server_has(SERVER);
        line.add_client(CLIENT);
        Some(line)
    }

    /// Lets the server's end stand for the origin, at any of its addresses. Returns the port.
    pub(crate) fn serve(&mut self, origin: &Origin) -> u16 {
        let space = PathBuf::from(format!("/run/netns/{}", self.server));
        // A socket stays in the namespace in which it was made.
        let bound = thread::spawn(move || {
            let space = fs::File::open(space).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&space), network).unwrap();
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap()
        });
        let listener = bound.join().unwrap();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let origin = origin.address();
        self.relays.push(tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(origin).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
        port
    }

    /// What runs a program at the client's end.
    pub(crate) fn at_client(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.client]
    }

    /// Lets the client's end know the server by this name. Written in place, so that a running
    /// command reads it as well.
    pub(crate) fn name_server(&self, name: &str, address: Ipv4Addr) {
        let folder = self.names();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts"), format!("{address} {name}\n")).unwrap();
        fs::write(folder.join("nsswitch.conf"), "hosts: files\n").unwrap();
    }

    fn names(&self) -> PathBuf {
        PathBuf::from(format!("/etc/netns/{}", self.client))
    }

    /// Pulls the cable.
    pub(crate) fn cut(&self) {
        must(&["-n", &self.client, "link", "set", CLIENT_END, "down"]);
    }

    /// Puts it back.
    pub(crate) fn mend(&self) {
        must(&["-n", &self.client, "link", "set", CLIENT_END, "up"]);
    }

    /// Loses every packet, in both directions.
    pub(crate) fn lose_all(&self) {
        for (space, end, other) in self.directions() {
            must(&[
                "-n",
                space,
                "neigh",
                "replace",
                &other,
                "lladdr",
                NOBODY,
                "dev",
                end,
                "nud",
                "permanent",
            ]);
        }
    }

    /// Carries packets again.
    pub(crate) fn carry(&self) {
        for (space, end, other) in self.directions() {
            must(&["-n", space, "neigh", "del", &other, "dev", end]);
        }
    }

    fn directions(&self) -> [(&str, &str, String); 2] {
        [
            (&self.client, CLIENT_END, SERVER.to_string()),
            (&self.server, SERVER_END, CLIENT.to_string()),
        ]
    }

    /// Takes the client's address away. Its connections stay, and nothing tells them.
    pub(crate) fn leave_network(&self) {
        let address = format!("{CLIENT}/24");
        must(&[
            "-n",
            &self.client,
            "addr",
            "del",
            &address,
            "dev",
            CLIENT_END,
        ]);
    }

    /// Gives the client another address.
    pub(crate) fn join_network(&self) {
        self.add_client(OTHER);
    }

    /// Moves the server from its first address to the other one.
    pub(crate) fn move_server(&self) {
        let address = format!("{SERVER}/24");
        must(&[
            "-n",
            &self.server,
            "addr",
            "del",
            &address,
            "dev",
            SERVER_END,
        ]);
        self.server_has(MOVED);
    }

    fn add_client(&self, address: Ipv4Addr) {
        let address = format!("{address}/24");
        must(&[
            "-n",
            &self.client,
            "addr",
            "add",
            &address,
            "dev",
            CLIENT_END,
        ]);
    }

    fn server_has(&self, address: Ipv4Addr) {
        let address = format!("{address}/24");
        must(&[
            "-n",
            &self.server,
            "addr",
            "add",
            &address,
            "dev",
            SERVER_END,
        ]);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        for relay in &self.relays {
            relay.abort();
        }
        for space in [&self.client, &self.server] {
            let _ = ip(&["netns", "del", space]);
        }
        let _ = fs::remove_dir_all(self.names());
    }
}

fn must(arguments: &[&str]) {
    if let Err(why) = ip(arguments) {
        panic!("ip {arguments:?}: {why}");
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
