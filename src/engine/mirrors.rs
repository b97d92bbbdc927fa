//! Several sources of one object: which of them are taken, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::join_all;

use super::hub::Hub;
use super::session::Session;
use crate::error::{Error, ErrorKind};
use crate::http::{self, Conditions, HttpError, HttpErrorKind, Metadata, Pinned, Probed, Source};
use crate::object::Validator;

/// Failures in a row after which a mirror is left out while another source works.
const MOST_FAILURES: u32 = 3;

/// A source of the object, and the version of it that every reply of this source must belong to.
#[derive(Debug)]
pub(crate) struct Supply {
    pub(crate) source: Source,
    pub(crate) pinned: Pinned,
    underway: Arc<AtomicU32>,
    /// In a row; [`LEFT_OUT`] once it is left out.
    failures: AtomicU32,
}

const LEFT_OUT: u32 = u32::MAX;

/// A fetch that is under way at its supply for as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn(Arc<AtomicU32>);

/// The sources of one object, the one that was asked for first.
#[derive(Debug)]
pub(crate) struct Supplies {
    // INVARIANT: at least one.
    supplies: Vec<Supply>,
    hub: Arc<Hub>,
}

impl Supply {
    pub(crate) fn new(source: Source, pinned: Pinned) -> Self {
        Self {
            source,
            pinned,
            underway: Arc::default(),
            failures: AtomicU32::new(0),
        }
    }

    fn is_left_out(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == LEFT_OUT
    }
}

impl Supplies {
    pub(crate) fn new(first: Supply, mirrors: Vec<Supply>, hub: Arc<Hub>) -> Self {
        let mut supplies = vec![first];
        supplies.extend(mirrors);
        Self { supplies, hub }
    }

    /// The source that was asked for.
    pub(crate) fn first(&self) -> &Supply {
        &self.supplies[0]
    }

    /// The supply with the fewest fetches under way; one that failed lately comes after the others.
    pub(crate) fn next(&self) -> (&Supply, Turn) {
        let load = |supply: &&Supply| {
            let failures = supply.failures.load(Ordering::Relaxed);
            (failures, supply.underway.load(Ordering::Relaxed))
        };
        let supply = self
            .supplies
            .iter()
            .min_by_key(load)
            .unwrap_or(self.first());
        supply.underway.fetch_add(1, Ordering::Relaxed);
        (supply, Turn(Arc::clone(&supply.underway)))
    }

    pub(crate) fn succeeded(&self, supply: &Supply) {
        if !supply.is_left_out() {
            supply.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a failure. Returns whether the same range may be asked of another supply at once: this one is left
    /// out from now on, because it failed for good or too often, and there is another.
    pub(crate) fn failed(&self, supply: &Supply, error: &HttpError) -> bool {
        let others = self
            .supplies
            .iter()
            .any(|other| !std::ptr::eq(other, supply) && !other.is_left_out());
        if !others || supply.is_left_out() {
            return others;
        }
        let failures = supply.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let for_good = matches!(http::verdict(error), http::Verdict::Fatal);
        // That the object asked for has changed, or wants fresh credentials, is for the caller to hear.
        let is_the_callers = std::ptr::eq(supply, self.first())
            && matches!(
                error.kind(),
                HttpErrorKind::Changed(_) | HttpErrorKind::Refused(_)
            );
        if is_the_callers || !(for_good || failures >= MOST_FAILURES) {
            return false;
        }
        supply.failures.store(LEFT_OUT, Ordering::Relaxed);
        self.hub.warn(format!(
            "going on without {}: {error}",
            supply.source.shown()
        ));
        true
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks every mirror of the caller's for its metadata, all at once, and takes those that surely have the same object.
/// The others are left out with a warning.
pub(crate) async fn accept(session: &Session<'_>, primary: &Metadata) -> Vec<Supply> {
    let job = session.job;
    let conditions = &Conditions::default();
    let probes = job.mirrors.iter().map(|mirror| async move {
        let outcome = match http::probe(&job.client, mirror, conditions).await {
            Ok(Probed::Found { metadata, .. }) => {
                compare(primary, &metadata, !job.checksums.is_empty()).map(|()| metadata)
            }
            Ok(Probed::NotModified) => {
                Err("it answered 304 to a request without a condition".to_owned())
            }
            Err(error) => Err(error.to_string()),
        };
        (mirror, outcome)
    });
    let mut taken = Vec::new();
    for (mirror, outcome) in join_all(probes).await {
        match outcome {
            Ok(metadata) => {
                let pinned = Pinned {
                    length: primary.length.unwrap_or_default(),
                    validator: metadata.validator,
                };
                taken.push(Supply::new(mirror.clone(), pinned));
            }
            Err(why) => session
                .link
                .hub
                .warn(format!("the mirror {} is left out: {why}", mirror.shown())),
        }
    }
    taken
}

/// Whether a mirror has the object: as long, and told to be the same version by its tag, its date, or a checksum that the
/// whole file will be held against.
fn compare(primary: &Metadata, mirror: &Metadata, has_checksum: bool) -> Result<(), String> {
    if mirror.length != primary.length {
        let shown = |length: Option<u64>| length.map_or("unknown".to_owned(), |n| n.to_string());
        return Err(format!(
            "its length is {}, expected {}",
            shown(mirror.length),
            shown(primary.length)
        ));
    }
    let same_tag = match (&primary.validator, &mirror.validator) {
        (Validator::Strong(one), Validator::Strong(other)) => one == other,
        _ => false,
    };
    let same_date =
        primary.last_modified.is_some() && primary.last_modified == mirror.last_modified;
    if same_tag || same_date || has_checksum {
        return Ok(());
    }
    Err(
        "neither its entity tag nor its modification date is that of the object, \
         and there is no --checksum to tell"
            .to_owned(),
    )
}

/// The caller's mirrors, parsed.
pub(crate) fn parse(primary: &Source, urls: &[String]) -> Result<Vec<Source>, Error> {
    urls.iter()
        .map(|url| {
            primary.mirror(url).map_err(|error| {
                Error::new(ErrorKind::Usage, "the mirror's URL can't be used", error)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::EntityTag;
    use std::time::{Duration, SystemTime};

    fn metadata(length: u64, tag: Option<&str>, date: Option<u64>) -> Metadata {
        let etag = tag.map(|tag| EntityTag::parse(tag).unwrap());
        let last_modified = date.map(|date| SystemTime::UNIX_EPOCH + Duration::from_secs(date));
        Metadata {
            length: Some(length),
            validator: Validator::from_fields(etag.clone(), last_modified),
            etag,
            last_modified,
            ranges: http::RangeSupport::Yes,
            fields: Vec::new(),
            first_byte: Duration::ZERO,
        }
    }

    #[test]
    fn a_mirror_must_prove_that_it_has_the_object() {
        let primary = metadata(10, Some("\"a\""), Some(1));
        for (mirror, checksum, taken) in [
            (metadata(10, Some("\"a\""), None), false, true),
            (metadata(10, Some("\"b\""), Some(1)), false, true),
            (metadata(10, Some("\"b\""), Some(2)), false, false),
            (metadata(10, Some("\"b\""), Some(2)), true, true),
            (metadata(10, Some("W/\"a\""), None), false, false),
            (metadata(10, None, None), false, false),
            (metadata(11, Some("\"a\""), Some(1)), true, false),
        ] {
            let outcome = compare(&primary, &mirror, checksum);
            assert_eq!(outcome.is_ok(), taken, "{mirror:?} {outcome:?}");
        }
        let bare = metadata(10, None, None);
        assert!(compare(&bare, &bare, false).is_err());
    }

    fn supplies() -> Supplies {
        let source = Source::new("http://h/x", None).unwrap();
        let supply = || {
            let pinned = Pinned {
                length: 10,
                validator: Validator::None,
            };
            Supply::new(source.clone(), pinned)
        };
        Supplies::new(supply(), vec![supply()], Arc::default())
    }

    #[test]
    fn turns_are_spread_and_given_back() {
        let supplies = supplies();
        let (one, turn) = supplies.next();
        let (other, _turn) = supplies.next();
        assert!(!std::ptr::eq(one, other));
        drop(turn);
        assert!(std::ptr::eq(supplies.next().0, one));
    }

    #[test]
    fn a_supply_that_fails_for_good_is_left_out_while_there_is_another() {
        let supplies = supplies();
        let lie = HttpError::protocol("a lie");
        assert!(supplies.failed(&supplies.supplies[1], &lie));
        for _ in 0..3 {
            assert!(std::ptr::eq(supplies.next().0, supplies.first()));
        }
        assert!(!supplies.failed(supplies.first(), &lie));
        assert!(!supplies.first().is_left_out());
    }
}
