//! Whom to trust: the system's certificate authorities, the certificates that the caller adds, or anybody.

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

/// The verifier that trusts the system's authorities and these certificates.
///
/// # Errors
///
/// A certificate that can't be used as an authority's. A system without a store of certificates is none: nobody is
/// trusted then but these.
pub(super) fn verifier(
    extra: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Error> {
    let (all, provider) = (extra.to_vec(), Arc::clone(provider));
    let ordinary: Arc<dyn ServerCertVerifier> =
        match rustls_platform_verifier::Verifier::new_with_extra_roots(all, Arc::clone(&provider)) {
            Ok(platform) => Arc::new(platform),
            // What is wrong is the system's store then: plain http works without it.
            Err(_) if extra.is_empty() => Arc::new(Blind {
                provider,
                trusts: Trusts::Nobody,
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

/// The ordinary verification, but that a server may show one of the caller's own certificates itself.
///
/// A self-signed certificate as `openssl req -x509` makes it is marked as an authority's, and the ordinary verification
/// refuses such a one as a server's, trusted or not. Where the server shows to the byte what the caller named, there is
/// no chain to build: its period, host and purpose are left to check, and that it has the key, which the handshake's
/// signature proves as ever. curl does the same.
#[derive(Debug)]
struct Verifier {
    ordinary: Arc<dyn ServerCertVerifier>,
    given: Vec<TrustedCertificate>,
}

/// A certificate of the caller's.
#[derive(Debug)]
struct TrustedCertificate {
    der: CertificateDer<'static>,
    facts: Facts,
}

/// What a certificate says of itself.
#[derive(Debug)]
struct Facts {
    not_before: UnixTime,
    not_after: UnixTime,
    /// It may be a server's, or does not say what it may be (RFC 5280, section 4.2.1.12).
    serves: bool,
    /// It belongs to an authority that vouches for itself.
    is_root: bool,
}

impl TrustedCertificate {
    /// `None` for a certificate that can't be read: the ordinary verification says what is wrong with it.
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
        // Refuses critical extensions that nobody here understands, too.
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
                // The ordinary verification stumbles over the use of such a certificate before it looks who signed
                // it; for a person the latter is what matters.
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

/// The verifier that accepts whatever a server shows.
pub(super) fn anybody(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Blind {
        provider: Arc::clone(provider),
        trusts: Trusts::Anybody,
    })
}

/// Looks at no certificate.
#[derive(Debug)]
struct Blind {
    provider: Arc<CryptoProvider>,
    trusts: Trusts,
}

#[derive(Clone, Copy, Debug)]
enum Trusts {
    Anybody,
    Nobody,
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
            Trusts::Anybody => Ok(ServerCertVerified::assertion()),
            Trusts::Nobody => Err(CertificateError::UnknownIssuer.into()),
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

/// What is wrong with a server's certificate, for people.
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
