//! The version that all replies of one source must belong to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::coding::Coding;
use super::error::HttpError;
use super::head::{is_html, is_message};
use crate::object::{Identity, Proof, Validator};

/// How long no reply may have agreed with a version whose bytes still came, before the object is
/// looked at once more.
const UNSEEN: Duration = Duration::from_secs(1);

/// The version that every reply of one source must belong to. Clones share it: each field is pinned
/// by the first reply that has it, for all requests.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// Length of the object, in bytes.
    pub(crate) length: u64,
    coding: Option<Coding>,
    /// The media type in lower case, without its parameters.
    media: Option<String>,
    // Locked to compare and to copy, never across an await.
    version: Arc<Mutex<Version>>,
}

#[derive(Debug)]
struct Version {
    identity: Identity,
    /// What the weakest reply with bytes proved; `None` before the first.
    proof: Option<Proof>,
    /// Whether a reply with bytes of the object had a field of the identity.
    is_carried: bool,
    /// Whether an earlier run left bytes, so that only what that knew of the version proves any.
    is_resumed: bool,
    /// Whether nothing came of this version yet, so that one reply with the whole object may be of
    /// another.
    is_open: bool,
    /// What the probe told, where one reply with the whole object told otherwise.
    overruled: Option<Identity>,
    /// When a reply last agreed with the version.
    seen: Instant,
    /// Replies with bytes.
    replies: u64,
    /// Whether the version was so new that another change in the same second would not show.
    is_young: bool,
    /// Whether requests carry no condition, because the server refuses them.
    has_no_condition: bool,
}

impl Pinned {
    /// A version of `length` bytes, as far as a probe told its identity.
    pub(crate) fn new(length: u64, identity: Identity) -> Self {
        let version = Version {
            identity,
            proof: None,
            is_carried: false,
            is_resumed: false,
            is_open: true,
            overruled: None,
            seen: Instant::now(),
            replies: 0,
            is_young: false,
            has_no_condition: false,
        };
        Self {
            length,
            coding: None,
            media: None,
            version: Arc::new(Mutex::new(version)),
        }
    }

    /// The same version, in the content coding that a probe found. Every reply must be in it.
    pub(crate) fn in_coding(self, coding: Option<Coding>) -> Self {
        Self { coding, ..self }
    }

    /// The same version, of the media type that a probe found.
    pub(crate) fn of_media(self, media: Option<String>) -> Self {
        Self { media, ..self }
    }

    /// All that is known of the version by now.
    pub(crate) fn identity(&self) -> Identity {
        self.version().identity.clone()
    }

    /// Whether a strong tag, or something stronger, names the version.
    pub(crate) fn has_strong_name(&self) -> bool {
        self.version().identity.best_proof() >= Proof::StrongTag
    }

    /// The same version, of which no byte came yet.
    pub(crate) fn anew(&self) -> Self {
        let anew = Self::new(self.length, self.identity())
            .in_coding(self.coding.clone())
            .of_media(self.media.clone());
        anew.hold();
        if self.version().is_young {
            anew.note_young();
        }
        anew
    }

    /// What tells this version in a request.
    pub(super) fn validator(&self) -> Validator {
        self.version().identity.validator()
    }

    /// The condition that requests for this version carry, if the server takes one.
    pub(super) fn condition(&self) -> Option<Validator> {
        let version = self.version();
        (!version.has_no_condition).then(|| version.identity.validator())
    }

    /// Whether requests for this version carry a condition.
    pub(crate) fn is_conditional(&self) -> bool {
        let condition = self.condition();
        condition.is_some_and(|validator| {
            validator.if_match().is_some() || validator.if_unmodified_since().is_some()
        })
    }

    /// Sends no condition any more. The fields of each reply must prove the version.
    pub(crate) fn forgo_condition(&self) {
        self.version().has_no_condition = true;
    }

    /// What every reply with bytes proved, or could have proved where none came.
    pub(crate) fn proof(&self) -> Proof {
        let version = self.version();
        version
            .proof
            .unwrap_or_else(|| version.identity.best_proof())
    }

    /// Whether a reply with bytes named its version.
    pub(crate) fn is_carried(&self) -> bool {
        self.version().is_carried
    }

    /// The number of replies that brought bytes of this version.
    pub(crate) fn replies(&self) -> u64 {
        self.version().replies
    }

    /// Whether bytes may have come after the object was overwritten, with no reply since whose head
    /// would tell. A reply under way goes on with the bytes of the new object.
    pub(crate) fn may_be_overwritten(&self) -> bool {
        let version = self.version();
        version.replies > 0 && (version.is_young || version.seen.elapsed() >= UNSEEN)
    }

    /// Whether a look at the object can tell that it was overwritten, and might.
    pub(crate) fn wants_look(&self) -> bool {
        self.may_be_overwritten() && self.version().identity.has_fields()
    }

    /// Whether the one reply that brought the object told another version than the probe.
    pub(crate) fn is_overruled(&self) -> bool {
        self.version().overruled.is_some()
    }

    /// Notes that the version was so new that another change in the same second would not show.
    pub(super) fn note_young(&self) {
        self.version().is_young = true;
    }

    /// Compares what a probe found under another URL with this version, and pins what is new in it.
    ///
    /// # Errors
    ///
    /// `Changed` where it differs in its length, its content coding or a field.
    pub(crate) fn pin_again(
        &self,
        length: Option<u64>,
        coding: Option<&Coding>,
        claims: &Identity,
    ) -> Result<(), HttpError> {
        if length != Some(self.length) {
            let length = length.map_or("not told".to_owned(), |length| length.to_string());
            let why = format!("its length was {} bytes and is {length} now", self.length);
            return Err(HttpError::changed(why));
        }
        if coding != self.coding.as_ref() {
            return Err(HttpError::changed(format!(
                "its content coding was {} and is {} now",
                Coding::shown(self.coding.as_ref()),
                Coding::shown(coding)
            )));
        }
        let mut version = self.version();
        version.compare(claims)?;
        version.identity.learn(claims);
        Ok(())
    }

    /// Checks that the bytes of a reply are in the coding that the probe found. In another one they
    /// have other positions.
    ///
    /// # Errors
    ///
    /// `Coding` where not even the first reply with bytes agrees with the probe, `Protocol` where a
    /// later one does not: another server behind the same name may have sent that.
    pub(super) fn check_coding(&self, found: Option<&Coding>) -> Result<(), HttpError> {
        if found == self.coding.as_ref() {
            return Ok(());
        }
        let why = format!(
            "another content coding than the probe found: expected {}, found {}",
            Coding::shown(self.coding.as_ref()),
            Coding::shown(found)
        );
        Err(match self.replies() {
            0 => HttpError::coding(why),
            _ => HttpError::protocol(why),
        })
    }

    /// Refuses what is most likely a login page or an error in place of the object.
    ///
    /// # Errors
    ///
    /// `Page` for HTML, or a message, where the probe found another media type.
    pub(super) fn check_media(&self, found: Option<&str>) -> Result<(), HttpError> {
        let expected = self.media.as_deref();
        if found == expected {
            return Ok(());
        }
        match found {
            found if is_html(found) => Err(HttpError::page("a page of HTML")),
            Some(found) if expected.is_some() && is_message(found) => {
                Err(HttpError::page(&format!("a message ({found})")))
            }
            _ => Ok(()),
        }
    }

    /// Pins what an earlier run knew of the version whose bytes it left.
    pub(crate) fn resume(&self, known: &Identity) {
        self.learn(known);
        self.version().is_resumed = true;
    }

    /// Pins what replies told of the version that brought none of its bytes.
    pub(crate) fn learn(&self, told: &Identity) {
        self.hold();
        self.version().identity.learn(told);
    }

    /// From now on every reply must agree with the probe, also one with the whole object.
    pub(crate) fn hold(&self) {
        self.version().is_open = false;
    }

    /// Whether one reply with the whole object may still be of another version than the probe's.
    /// Servers behind one name may each have a tag of their own.
    pub(super) fn is_open(&self) -> bool {
        self.version().is_open
    }

    /// Compares what a reply says with the version, and pins nothing. `is_all` tells that the reply
    /// brings the whole object.
    ///
    /// # Errors
    ///
    /// `Changed` where they differ in a field.
    pub(super) fn compare(&self, claims: &Identity, is_all: bool) -> Result<Proof, HttpError> {
        let version = self.version();
        match version.compare(claims) {
            Err(_) if is_all && version.is_open => Ok(claims.best_proof()),
            compared => compared,
        }
    }

    /// Compares what a reply says with the version and pins what is new in it. For a reply that
    /// passed every other check. `is_all` tells that it brings the whole object: as long as nothing
    /// came, it may then be of another version than the probe's.
    ///
    /// # Errors
    ///
    /// `Changed` where they differ in a field. A retryable error where the reply has no field of
    /// the version although earlier replies of this source had one: it proves nothing.
    pub(crate) fn pin(&self, claims: &Identity, is_all: bool) -> Result<(), HttpError> {
        let mut version = self.version();
        let compared = version.compare(claims);
        if compared.is_err() && is_all && version.is_open {
            let probed = std::mem::replace(&mut version.identity, claims.clone());
            version.overruled = Some(probed);
        } else {
            compared?;
        }
        if version.is_carried && !version.identity.shares_field(claims) {
            let why = "the reply names no version, though earlier replies of this server did";
            return Err(HttpError::protocol(why).passing());
        }
        version.accept(claims);
        Ok(())
    }

    /// Notes that the probe's own reply brings the bytes.
    pub(crate) fn comes_with_probe(&self) {
        let mut version = self.version();
        version.proof = Some(version.identity.best_proof());
        version.replies += 1;
        version.is_carried |= version.identity.has_fields();
        version.is_open = false;
    }

    /// Compares what a last look at the object tells with the version. Where tags are known to
    /// differ from reply to reply, the rest is compared.
    ///
    /// # Errors
    ///
    /// `Changed` where they differ in a field.
    pub(crate) fn look_again(&self, claims: &Identity) -> Result<Proof, HttpError> {
        let mut version = self.version();
        let proof = match &version.overruled {
            None => version.compare(claims)?,
            Some(probed) => {
                let untagged = Identity {
                    tag: None,
                    ..claims.clone()
                };
                match probed.compare(&untagged) {
                    Ok(proof) => proof,
                    Err(_) => version.compare(&untagged)?,
                }
            }
        };
        if proof > Proof::None {
            version.is_young = false;
            version.seen = Instant::now();
        }
        Ok(proof)
    }

    fn version(&self) -> MutexGuard<'_, Version> {
        // The version is consistent between any two statements, so a panic elsewhere leaves it
        // usable.
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Version {
    fn compare(&self, claims: &Identity) -> Result<Proof, HttpError> {
        let compared = self.identity.compare(claims);
        compared.map_err(|mismatch| HttpError::changed(mismatch.to_string()))
    }

    /// Takes over what a reply with bytes says that agrees with the version.
    fn accept(&mut self, claims: &Identity) {
        let before = self.identity.compare(claims).unwrap_or(Proof::None);
        // A probe with other fields told nothing of what this reply brings, and the next reply may
        // agree with that.
        let is_apart = self.identity.has_fields() && !self.identity.shares_field(claims);
        self.identity.learn(claims);
        // A field that the first reply is the first to have counts for it.
        let proof = match self.is_carried || self.is_resumed || is_apart {
            true => before,
            false => self.identity.compare(claims).unwrap_or(Proof::None),
        };
        self.proof = Some(self.proof.map_or(proof, |weakest| weakest.min(proof)));
        self.replies += 1;
        self.is_carried |= claims.has_fields();
        self.is_open = false;
        self.seen = Instant::now();
    }
}
