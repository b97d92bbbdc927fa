//! Verifies server certificates: against the system's authorities and the caller's certificates, or
//! not at all.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH;
use x509_cert::der::{DateTime, Decode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage};

/// A verifier that trusts the system's authorities and the certificates in `extra`.
///
/// # Errors
///
/// A certificate in `extra` can't be used as an authority. A system without a certificate store is
/// not an error: then only `extra` is trusted.
pub(super) fn verifier(
    extra: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let (all, provider) = (extra.to_vec(), Arc::clone(provider));
    let ordinary: Arc<dyn ServerCertVerifier> =
        match rustls_platform_verifier::Verifier::new_with_extra_roots(all, Arc::clone(&provider)) {
            Ok(platform) => Arc::new(platform),
            // The system's store is unusable. Plain HTTP works without it.
            Err(_) if extra.is_empty() => Arc::new(Blind {
                provider,
                trusts: Trusts::None,
            }),
            Err(error) => return Err(error),
        };
    Ok(Arc::new(Verifier {
        ordinary,
        given: extra
            .iter()
            .filter_map(|der| TrustedCertificate::parse(der.clone()))
            .collect(),
    }))
}

/// Verifies like `ordinary`, but also accepts a server that shows one of the caller's certificates
/// itself.
///
/// `openssl req -x509` marks a self-signed certificate as an authority's, which the ordinary
/// verification refuses as a server's, trusted or not. If the server shows exactly the caller's
/// certificate, there is no chain to build: this verifier checks period, host and purpose, and the
/// handshake's signature proves the key. curl does the same.
#[derive(Debug)]
struct Verifier {
    ordinary: Arc<dyn ServerCertVerifier>,
    given: Vec<TrustedCertificate>,
}

/// A certificate that the caller trusts.
#[derive(Debug)]
struct TrustedCertificate {
    der: CertificateDer<'static>,
    facts: Facts,
}

/// The contents of a certificate that are checked.
#[derive(Debug)]
struct Facts {
    not_before: UnixTime,
    not_after: UnixTime,
    /// Whether the certificate allows server use or does not restrict its use (RFC 5280, section
    /// 4.2.1.12).
    serves: bool,
    /// Whether the certificate is a self-signed authority's.
    is_root: bool,
}

impl TrustedCertificate {
    /// Parses a certificate; `None` if it can't be read. Then the ordinary verification reports
    /// what is wrong.
    fn parse(der: CertificateDer<'static>) -> Option<Self> {
        let facts = Facts::of(&der)?;
        Some(Self { der, facts })
    }

    fn verify(&self, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
        let Facts {
            not_before,
            not_after,
            serves,
            ..
        } = self.facts;
        // Also refuses unknown critical extensions.
        let parsed = ParsedCertificate::try_from(&self.der)?;
        if now < not_before {
            let time = now;
            return Err(CertificateError::NotValidYetContext { time, not_before }.into());
        }
        if now > not_after {
            let time = now;
            return Err(CertificateError::ExpiredContext { time, not_after }.into());
        }
        if !serves {
            return Err(CertificateError::InvalidPurpose.into());
        }
        verify_server_name(&parsed, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

impl Facts {
    fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let said = certificate.tbs_certificate();
        let is_authority = said
            .get_extension::<BasicConstraints>()
            .ok()?
            .is_some_and(|(_, constraints)| constraints.ca);
        let serves = match said.get_extension::<ExtendedKeyUsage>().ok()? {
            Some((_, usage)) => usage.0.contains(&ID_KP_SERVER_AUTH),
            None => true,
        };
        Some(Self {
            not_before: UnixTime::since_unix_epoch(said.validity().not_before.to_unix_duration()),
            not_after: UnixTime::since_unix_epoch(said.validity().not_after.to_unix_duration()),
            serves,
            is_root: is_authority && said.issuer() == said.subject(),
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(given) = self.given.iter().find(|given| given.der == *end_entity) {
            return given.verify(server_name, now);
        }
        self.ordinary
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| match error {
                // The ordinary verification checks the certificate's use before its issuer; the
                // unknown issuer is what the user needs to know.
                Error::InvalidCertificate(CertificateError::Other(_))
                    if Facts::of(end_entity).is_some_and(|facts| facts.is_root) =>
                {
                    CertificateError::UnknownIssuer.into()
                }
                error => error,
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ordinary
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ordinary
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.ordinary.supported_verify_schemes()
    }
}

/// A verifier that accepts every certificate.
pub(super) fn accept_all(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Blind {
        provider: Arc::clone(provider),
        trusts: Trusts::All,
    })
}

/// A verifier that ignores the certificate and always gives the same answer.
#[derive(Debug)]
struct Blind {
    provider: Arc<CryptoProvider>,
    trusts: Trusts,
}

#[derive(Clone, Copy, Debug)]
enum Trusts {
    All,
    None,
}

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.trusts {
            Trusts::All => Ok(ServerCertVerified::assertion()),
            Trusts::None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Describes what is wrong with a server's certificate.
pub(super) fn explain(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "no authority that is trusted here has signed it".to_owned()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired at {}", date(*not_after))
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is not valid before {}", date(*not_before))
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names = match presented.as_slice() {
                [] => "no host at all".to_owned(),
                names => names.join(", "),
            };
            format!("it is not for {} but for {names}", expected.to_str())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for a server's use".to_owned()
        }
        other => other.to_string(),
    }
}

fn date(time: UnixTime) -> String {
    DateTime::from_unix_duration(Duration::from_secs(time.as_secs())).map_or_else(
        |_| "a time beyond all calendars".to_owned(),
        |date| date.to_string(),
    )
}

#[cfg(test)]
mod tests;
