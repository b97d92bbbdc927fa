//! Sets up TLS from the client's configuration.

use crate::options::HttpVersion;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::config::ClientConfig;
use super::error::HttpError;
use super::trust;

/// A certificate chain and the private key of its first certificate.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The TLS configuration of one client. All its connections share it and its resumable sessions.
///
/// # Errors
///
/// `Configuration` for a certificate or key that can't be used.
pub(super) fn configure(config: &ClientConfig) -> Result<rustls::ClientConfig, HttpError> {
    let provider = Arc::new(default_provider());
    let extra = match &config.ca_certificate {
        Some(file) => certificates(file, &read(file)?)?,
        None => Vec::new(),
    };
    let verifier = if config.insecure {
        trust::accept_all(&provider)
    } else {
        trust::verifier(&extra, &provider)
            .map_err(|error| cannot("the certificates to be trusted", error))?
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot("TLS", error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut tls = match identity(config)? {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| cannot("the client certificate", error))?,
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = if config.http_version == HttpVersion::Http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    Ok(tls)
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(HttpError::configuration(format!(
            "no certificates in {}: expected PEM",
            file.display()
        ))),
    }
}

fn identity(config: &ClientConfig) -> Result<Option<Identity>, HttpError> {
    let Some(file) = &config.client_certificate else {
        return match config.client_key {
            Some(_) => Err(HttpError::configuration(
                "a client key needs a client certificate",
            )),
            None => Ok(None),
        };
    };
    let pem = read(file)?;
    let chain = certificates(file, &pem)?;
    let (key_file, key) = match &config.client_key {
        Some(key_file) => (key_file, &read(key_file)?),
        None => (file, &pem),
    };
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        HttpError::configuration(format!(
            "no private key in {}: expected one in PEM, without a passphrase",
            key_file.display()
        ))
    })?;
    Ok(Some((chain, key)))
}

fn read(file: &Path) -> Result<Vec<u8>, HttpError> {
    fs::read(file).map_err(|error| {
        HttpError::configuration(format!("cannot read {}: {error}", file.display()))
            .with_source(error)
    })
}

fn cannot(what: &str, error: rustls::Error) -> HttpError {
    HttpError::configuration(format!("cannot use {what}: {error}")).with_source(error)
}
