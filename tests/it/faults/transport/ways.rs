//! The way to the server: certificates, proxies, addresses.

use std::net::{SocketAddr, ToSocketAddrs};

use tokio::net::TcpSocket;

use crate::faults::asked::World;
use crate::faults::fault::{Fault, fault};
use crate::support::fault::{Certificate, Reply};

/// A certificate that is not to be trusted: it is said why, and nothing is tried twice.
fn distrusted<const N: usize>(
    name: &'static str,
    certificate: Certificate,
    says: [&str; N],
) -> Fault {
    let authority = certificate.authority().to_owned();
    fault(name)
        .certificate(certificate)
        .arguments_of(move |world| {
            std::fs::write(world.fixture.path(".ca.pem"), &authority).unwrap();
            ["--cacert", ".ca.pem"].map(str::to_owned).into()
        })
        .healed_by(["-k"])
        .fails(3, says)
        .check(|world, outcome| {
            outcome.stderr_has("hint: --cacert FILE");
            assert_eq!(world.origin.knocks(), 1, "no retry");
            assert!(world.origin.requests().is_empty());
        })
}

pub(super) fn trust() -> Vec<Fault> {
    let here = "127.0.0.1";
    vec![
        distrusted(
            "an expired certificate",
            Certificate::signed(here, 1990),
            ["expired"],
        ),
        distrusted(
            "a certificate for another host",
            Certificate::signed("b.example", 4096),
            ["b.example"],
        ),
        distrusted(
            "an unknown authority",
            Certificate::signed(here, 4096),
            ["no authority"],
        )
        .arguments([]),
        distrusted(
            "a self-signed certificate",
            Certificate::self_signed(here),
            ["no authority"],
        )
        .arguments([]),
        fault("plain HTTP where TLS is spoken")
            .impatient()
            .address(|world| world.origin.url("x").replace("http:", "https:"))
            .fails(3, []),
    ]
}

/// A URL's base at which nobody listens, and what keeps it so.
fn nobody() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://me:PROXYSECRET@{}/", socket.local_addr().unwrap());
    (socket, base)
}

pub(super) fn proxies() -> Vec<Fault> {
    let (dead, base) = nobody();
    let through = |world: &World<'_>| {
        let proxy = world
            .elsewhere()
            .url("")
            .replacen("://", "://me:PROXYSECRET@", 1);
        vec!["--proxy".to_owned(), proxy]
    };
    vec![
        fault("a proxy that is not there")
            .arguments_of(move |_| {
                let _ = &dead;
                vec!["--proxy".to_owned(), base.clone()]
            })
            .fails(3, ["the proxy http://127.0.0.1:", "could not connect"]),
        fault("a proxy of the environment that can't be used")
            .environment(|_| vec!["all_proxy=ftp://me:PROXYSECRET@h".to_owned()])
            .healed_by(["--no-proxy"])
            .fails(2, ["the environment variable `all_proxy`"]),
        fault("a proxy of the environment that can't reach the server")
            .elsewhere(|_| Reply::status(504))
            .environment(|world| {
                let proxy = world
                    .elsewhere()
                    .url("")
                    .replacen("://", "://me:PROXYSECRET@", 1);
                vec![format!("http_proxy={proxy}")]
            })
            .fails(3, ["504"]),
        fault("a proxy that wants other credentials")
            .elsewhere(|_| Reply::status(407))
            .arguments_of(through)
            .fails(3, ["407", "hint: --proxy takes user and password"]),
        fault("a proxy that can't reach the server")
            .elsewhere(|_| Reply::status(502))
            .arguments_of(through)
            .fails(3, ["502"]),
        fault("a proxy that refuses to connect")
            .certificate(Certificate::self_signed("127.0.0.1"))
            .elsewhere(|_| Reply::status(403))
            .arguments_of(through)
            .healed_by(["-k"])
            .fails(3, ["could not connect"]),
        fault("a proxy that wants other credentials to connect")
            .certificate(Certificate::self_signed("127.0.0.1"))
            .elsewhere(|_| Reply::status(407))
            .arguments_of(through)
            .healed_by(["-k"])
            .fails(
                3,
                ["could not connect", "hint: --proxy takes user and password"],
            ),
    ]
}

pub(super) fn addresses() -> Vec<Fault> {
    let (dead, base) = nobody();
    let mut table = vec![
        fault("nobody listens")
            .address(move |_| {
                let _ = &dead;
                format!("{}x", base.replace("me:PROXYSECRET@", ""))
            })
            .fails(3, ["could not connect", "attempts"]),
        fault("a name without an address")
            .address(|_| "http://nowhere.invalid/x?QUERYSECRET".to_owned())
            .fails(3, []),
    ];
    let found: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    if found.first().is_some_and(SocketAddr::is_ipv6) && found.iter().any(SocketAddr::is_ipv4) {
        let address = |world: &World<'_>| world.origin.url("x").replace("127.0.0.1", "localhost");
        table.push(fault("the first address is dead, the second alive").address(address));
    } else {
        println!(
            "skipped: first address dead, second alive: localhost has not both an IPv6 and an IPv4 address"
        );
    }
    table
}
