use std::path::PathBuf;
use std::sync::Mutex;

use rcgen::{
    BasicConstraints as Constraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::http::{
    Client, ClientConfig, Conditions, HttpError, HttpErrorKind, Source, Verdict, probe, verdict,
};

/// The contents of a certificate that are checked.
struct Says {
    names: &'static [&'static str],
    is_ca: IsCa,
    last_year: i32,
    purposes: Vec<ExtendedKeyUsagePurpose>,
}

/// A certificate like those that `openssl req -x509` makes.
fn openssl_says() -> Says {
    Says {
        names: &["localhost", "127.0.0.1"],
        is_ca: IsCa::Ca(Constraints::Unconstrained),
        last_year: 4096,
        purposes: Vec::new(),
    }
}

/// A certificate and its key.
struct Shown {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn params(says: Says) -> CertificateParams {
    let names: Vec<String> = says.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = says.is_ca;
    params.not_before = date_time_ymd(1975, 1, 1);
    params.not_after = date_time_ymd(says.last_year, 1, 1);
    params.extended_key_usages = says.purposes;
    params
}

fn shown(certificate: &rcgen::Certificate, key: &KeyPair) -> Shown {
    Shown {
        pem: certificate.pem(),
        key_pem: key.serialize_pem(),
        der: certificate.der().clone(),
        key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    }
}

fn self_signed(says: Says) -> Shown {
    let key = KeyPair::generate().unwrap();
    shown(&params(says).self_signed(&key).unwrap(), &key)
}

/// An authority's certificate in PEM, and a certificate that it signed.
fn signed(says: Says) -> (String, Shown) {
    let authority = Says {
        names: &[],
        ..openssl_says()
    };
    let authority =
        CertifiedIssuer::self_signed(params(authority), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(says).signed_by(&key, &authority).unwrap();
    (authority.pem(), shown(&leaf, &key))
}

/// How a connection began.
#[derive(Clone, Debug, PartialEq)]
struct Begun {
    kind: HandshakeKind,
    protocol: Option<Vec<u8>>,
    client_certificates: usize,
}

/// A server that closes every connection after one reply.
struct TlsServer {
    port: u16,
    begun: Arc<Mutex<Vec<Begun>>>,
}

impl TlsServer {
    async fn start(shown: &Shown) -> Self {
        Self::start_asking(shown, None).await
    }

    /// Asks the client for a certificate that this one signed.
    async fn start_asking(shown: &Shown, client_root: Option<&Shown>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client_root {
            None => builder.with_no_client_auth(),
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root.der.clone()).unwrap();
                let asking =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(asking.unwrap())
            }
        };
        let mut config = builder
            .with_single_cert(vec![shown.der.clone()], shown.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let begun = Arc::default();
        let log = Arc::clone(&begun);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&log)));
            }
        });
        Self { port, begun }
    }

    fn begun(&self) -> Vec<Begun> {
        self.begun.lock().unwrap().clone()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, log: Arc<Mutex<Vec<Begun>>>) {
    let Ok(mut stream) = acceptor.accept(stream).await else {
        return;
    };
    let (_, connection) = stream.get_ref();
    log.lock().unwrap().push(Begun {
        kind: connection.handshake_kind().unwrap(),
        protocol: connection.alpn_protocol().map(<[u8]>::to_vec),
        client_certificates: connection.peer_certificates().map_or(0, <[_]>::len),
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n";
    // The client may have closed the connection.
    let _ = stream.write_all(reply).await;
    let _ = stream.shutdown().await;
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A client that trusts the certificates of this file.
fn client_with(pem: &str) -> Client {
    let folder = tempfile::tempdir().unwrap();
    Client::new(&ClientConfig {
        ca_certificate: Some(file(&folder, "ca.pem", pem)),
        ..ClientConfig::for_tests()
    })
    .unwrap()
}

async fn ask(client: &Client, server: &TlsServer) -> Result<(), HttpError> {
    let url = format!("https://127.0.0.1:{}/x", server.port);
    let source = Source::new(&url, None).unwrap();
    probe(client, &source, &Conditions::default())
        .await
        .map(|_| ())
}

/// The error for a refused certificate, after a single attempt.
async fn refusal(shown: &Shown, trusted: &str) -> String {
    let server = TlsServer::start(shown).await;
    let error = ask(&client_with(trusted), &server).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Tls, "{error}");
    assert_eq!(verdict(&error), Verdict::Fatal);
    assert_eq!(server.begun(), [], "no request went out");
    error.to_string()
}

async fn assert_trusted(shown: &Shown, trusted: &str) {
    let server = TlsServer::start(shown).await;
    ask(&client_with(trusted), &server).await.unwrap();
    assert_eq!(server.begun().len(), 1);
}

#[tokio::test]
async fn exactly_the_given_self_signed_certificate_is_trusted() {
    for is_ca in [
        IsCa::Ca(Constraints::Unconstrained),
        IsCa::ExplicitNoCa,
        IsCa::NoCa,
    ] {
        let mut says = openssl_says();
        says.is_ca = is_ca;
        let mine = self_signed(says);
        assert_trusted(&mine, &mine.pem).await;
        let other = self_signed(openssl_says());
        assert_trusted(&mine, &format!("{}{}", other.pem, mine.pem)).await;
        // The same subject, and another key.
        let why = refusal(&mine, &other.pem).await;
        assert!(
            why.contains("certificate can't be trusted"),
            "{is_ca:?}: {why}"
        );
    }
}

#[tokio::test]
async fn a_certificate_signed_by_a_given_authority_is_trusted() {
    let leaf = || Says {
        is_ca: IsCa::NoCa,
        ..openssl_says()
    };
    let (authority, shown) = signed(leaf());
    assert_trusted(&shown, &authority).await;
    assert_trusted(&shown, &shown.pem).await;
    let (another, _) = signed(leaf());
    refusal(&shown, &another).await;
    // It signed another authority, which is no server.
    let (authority, shown) = signed(openssl_says());
    refusal(&shown, &authority).await;
}

#[tokio::test]
async fn an_unknown_authoritys_own_certificate_is_told_to_be_unknown() {
    let mut other = openssl_says();
    other.names = &["elsewhere"];
    let why = refusal(&self_signed(openssl_says()), &self_signed(other).pem).await;
    assert_eq!(
        why,
        "the server's certificate can't be trusted: no authority that is trusted here has signed it"
    );
}

#[tokio::test]
async fn the_period_of_a_given_certificate_counts() {
    let mut says = openssl_says();
    says.last_year = 1980;
    let expired = self_signed(says);
    let why = refusal(&expired, &expired.pem).await;
    assert!(why.ends_with("it expired at 1980-01-01T00:00:00Z"), "{why}");
    let given = TrustedCertificate::parse(self_signed(openssl_says()).der).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    assert!(given.verify(&name, given.facts.not_before).is_ok());
    assert!(given.verify(&name, given.facts.not_after).is_ok());
    assert!(
        given
            .verify(&name, at(given.facts.not_before.as_secs() - 1))
            .is_err()
    );
    assert!(
        given
            .verify(&name, at(given.facts.not_after.as_secs() + 1))
            .is_err()
    );
}

#[tokio::test]
async fn the_host_of_a_given_certificate_counts() {
    let mut says = openssl_says();
    says.names = &["a.example", "b.example"];
    let elsewhere = self_signed(says);
    let why = refusal(&elsewhere, &elsewhere.pem).await;
    assert!(
        why.contains("it is not for 127.0.0.1 but for") && why.contains("b.example"),
        "{why}"
    );
}

#[tokio::test]
async fn the_purpose_of_a_given_certificate_counts() {
    let with = |purpose| {
        let mut says = openssl_says();
        says.purposes = vec![purpose];
        self_signed(says)
    };
    let server = with(ExtendedKeyUsagePurpose::ServerAuth);
    assert_trusted(&server, &server.pem).await;
    let client = with(ExtendedKeyUsagePurpose::ClientAuth);
    let why = refusal(&client, &client.pem).await;
    assert!(why.ends_with("it is not for a server's use"), "{why}");
}

#[tokio::test]
async fn insecure_takes_any_certificate() {
    let mut says = openssl_says();
    (says.names, says.last_year) = (&["elsewhere"], 1980);
    let server = TlsServer::start(&self_signed(says)).await;
    let client = Client::new(&ClientConfig {
        insecure: true,
        ..ClientConfig::for_tests()
    });
    ask(&client.unwrap(), &server).await.unwrap();
}

#[tokio::test]
async fn the_second_connection_resumes_the_first_ones_session() {
    let mine = self_signed(openssl_says());
    let server = TlsServer::start(&mine).await;
    let client = client_with(&mine.pem);
    ask(&client, &server).await.unwrap();
    ask(&client.clone(), &server).await.unwrap();
    let kinds: Vec<_> = server.begun().into_iter().map(|begun| begun.kind).collect();
    assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let mine = self_signed(openssl_says());
    let own = self_signed(Says {
        is_ca: IsCa::NoCa,
        ..openssl_says()
    });
    let server = TlsServer::start_asking(&mine, Some(&own)).await;
    let folder = tempfile::tempdir().unwrap();
    let with = |certificate: Option<&str>, key: Option<&str>| {
        Client::new(&ClientConfig {
            ca_certificate: Some(file(&folder, "ca.pem", &mine.pem)),
            client_certificate: certificate.map(|pem| file(&folder, "cert.pem", pem)),
            client_key: key.map(|pem| file(&folder, "key.pem", pem)),
            ..ClientConfig::for_tests()
        })
    };
    let error = ask(&with(None, None).unwrap(), &server).await.unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Tls, "{error}");
    let both = format!("{}{}", own.key_pem, own.pem);
    let apart = with(Some(&own.pem), Some(&own.key_pem)).unwrap();
    for client in [apart, with(Some(&both), None).unwrap()] {
        ask(&client, &server).await.unwrap();
    }
    let certificates: Vec<_> = server
        .begun()
        .iter()
        .map(|b| b.client_certificates)
        .collect();
    assert!(certificates.iter().all(|shown| *shown == 1));
    assert!(
        server
            .begun()
            .iter()
            .all(|b| b.protocol.as_deref() == Some(b"http/1.1"))
    );
    let why = with(Some(&own.pem), Some(&mine.key_pem)).unwrap_err();
    assert_eq!(why.kind(), &HttpErrorKind::Configuration);
}
