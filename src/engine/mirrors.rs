//! Several sources of one object: which of them are taken, and whose turn it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures::future::join_all;

use super::discover::{Discovered, Failed};
use super::hub::Hub;
use super::session::Session;
use crate::error::{Error, ErrorKind};
use crate::http::{
    self, HttpError, HttpErrorKind, Metadata, Pinned, Probed, RangeSupport, Source, Verdict,
};
use crate::object::Validator;
use crate::storage::Volume;

/// How long a mirror may take to tell what it has. It holds up the beginning, so this is less than what a source may
/// take that there is no other for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many mirrors are asked at once what they have.
const ASKED_AT_ONCE: usize = 8;

/// Failures in a row after which a supply is asked only when the others fail as well.
const MOST_FAILURES: u32 = 3;

/// How many fetches under way weigh as much as one failure in the choice of a supply.
const WEIGHT_OF_FAILURE: u32 = 4;

/// A source of the object, and the version of it that every reply of this source must belong to.
#[derive(Debug)]
pub(crate) struct Supply {
    pub(crate) source: Source,
    pub(crate) pinned: Pinned,
    underway: AtomicU32,
    /// In a row; [`LEFT_OUT`] once it is left out.
    failures: AtomicU32,
    /// Some reply was a part, so a whole object in place of another is a fault.
    has_ranges: AtomicBool,
}

const LEFT_OUT: u32 = u32::MAX;

/// The sources of one object, the one that was asked for first.
#[derive(Debug)]
pub(crate) struct Supplies {
    // INVARIANT: at least one.
    supplies: Vec<Supply>,
    hub: Arc<Hub>,
}

/// A fetch that counts as under way at its supply for as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn {
    supplies: Arc<Supplies>,
    // INVARIANT: the index of a supply.
    at: usize,
}

/// Where to go on after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Another supply may have what this one did not give.
    Another,
    /// The error is what there is to tell.
    Nowhere,
}

impl Supply {
    pub(crate) fn new(source: Source, pinned: Pinned) -> Self {
        Self {
            source,
            pinned,
            underway: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            has_ranges: AtomicBool::new(false),
        }
    }

    fn is_left_out(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == LEFT_OUT
    }

    /// The less, the sooner it is its turn.
    fn load(&self) -> (u32, u32) {
        let failures = self.failures.load(Ordering::Relaxed);
        let underway = self.underway.load(Ordering::Relaxed);
        if failures < MOST_FAILURES {
            (0, underway + failures * WEIGHT_OF_FAILURE)
        } else {
            (failures, underway)
        }
    }
}

impl Supplies {
    pub(crate) fn new(first: Supply, mirrors: Vec<Supply>, hub: Arc<Hub>) -> Arc<Self> {
        let mut supplies = vec![first];
        supplies.extend(mirrors);
        Arc::new(Self { supplies, hub })
    }

    pub(crate) fn len(&self) -> usize {
        self.supplies.len()
    }

    /// The source that was asked for.
    pub(crate) fn first(&self) -> &Supply {
        &self.supplies[0]
    }

    /// A turn at the supply with the fewest fetches under way; one that failed lately comes after the others.
    pub(crate) fn next(self: &Arc<Self>) -> Turn {
        let at = (0..self.len())
            .min_by_key(|at| self.supplies[*at].load())
            .unwrap_or(0);
        self.supplies[at].underway.fetch_add(1, Ordering::Relaxed);
        Turn {
            supplies: Arc::clone(self),
            at,
        }
    }
}

impl Turn {
    pub(crate) fn supply(&self) -> &Supply {
        &self.supplies.supplies[self.at]
    }

    /// Whether every other supply is left out.
    pub(crate) fn is_at_the_last(&self) -> bool {
        let mut others = self.supplies.supplies.iter().enumerate();
        others.all(|(at, other)| at == self.at || other.is_left_out())
    }

    /// Takes note that the supply answered a range with a part.
    pub(crate) fn has_ranges(&self) {
        self.supply().has_ranges.store(true, Ordering::Relaxed);
    }

    /// Whether the supply may answer a range with the whole object: it never did otherwise, and there is no other.
    pub(crate) fn may_be_whole(&self) -> bool {
        !self.supply().has_ranges.load(Ordering::Relaxed) && self.is_at_the_last()
    }

    /// Takes note that bytes come.
    pub(crate) fn succeeded(&self) {
        if !self.supply().is_left_out() {
            self.supply().failures.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note of a failure. A supply that failed for good is left out from now on, if there is another.
    pub(crate) fn failed(&self, error: &HttpError) -> After {
        let supply = self.supply();
        if self.is_at_the_last() {
            return After::Nowhere;
        }
        // That the object asked for has changed, or wants fresh credentials, is for the caller to hear.
        let is_the_callers = self.at == 0
            && matches!(
                error.kind(),
                HttpErrorKind::Changed(_) | HttpErrorKind::Refused(_)
            );
        if is_the_callers {
            return After::Nowhere;
        }
        let hub = &self.supplies.hub;
        let shown = || supply.source.shown();
        if http::verdict(error) == Verdict::Fatal {
            if supply.failures.swap(LEFT_OUT, Ordering::Relaxed) != LEFT_OUT {
                hub.warn(format!("going on without {}: {error}", shown()));
            }
        } else if !supply.is_left_out()
            && supply.failures.fetch_add(1, Ordering::Relaxed) + 1 == MOST_FAILURES
        {
            hub.warn(format!(
                "going on without {} while others answer: {error}",
                shown()
            ));
        }
        After::Another
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.supply().underway.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks every mirror of the caller's for its metadata and takes those that surely have the same object. The others are
/// left out with a warning.
pub(crate) async fn accept<V: Volume>(session: &Session<'_, V>, found: &Discovered) -> Vec<Supply> {
    let job = session.job;
    let others: Vec<&Source> = job
        .mirrors
        .iter()
        .filter(|mirror| !mirror.is(&found.source))
        .collect();
    let Some(length) = found.metadata.length.filter(|_| !found.is_whole()) else {
        if !others.is_empty() {
            session.link.hub.warn(
                "the mirrors are left out: without byte ranges there is one stream, from one server",
            );
        }
        return Vec::new();
    };
    let mut taken = Vec::new();
    for (mirror, outcome) in ask(session, &others).await {
        let same = outcome.and_then(|(metadata, _)| {
            compare(&found.metadata, &metadata, !job.checksums.is_empty()).map(|()| metadata)
        });
        match same {
            Ok(metadata) => {
                let pinned = Pinned {
                    length,
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

/// What the first mirror that answers has, in place of what the source has that was asked for and failed.
///
/// # Errors
///
/// `failed` itself where no mirror can help.
pub(crate) async fn stand_in<V: Volume>(
    session: &Session<'_, V>,
    failed: Failed,
) -> Result<Discovered, Failed> {
    let job = session.job;
    let is_hopeless = match failed.error.kind() {
        HttpErrorKind::PreconditionFailed => true,
        HttpErrorKind::Refused(_) => job.refresh_command.is_some(),
        _ => false,
    };
    if is_hopeless {
        return Err(failed);
    }
    let mirrors: Vec<&Source> = job.mirrors.iter().collect();
    for (mirror, outcome) in ask(session, &mirrors).await {
        let Ok((metadata, stream)) = outcome else {
            continue;
        };
        session.link.hub.warn(format!(
            "going on with the mirror {} in place of {}: {}",
            mirror.shown(),
            job.source.shown(),
            failed.error
        ));
        return Ok(Discovered {
            metadata,
            stream,
            source: mirror.clone(),
            stands_in_for: Some(failed),
        });
    }
    Err(failed)
}

/// What a mirror has, or why that is not known.
type Outcome = Result<(Metadata, Option<http::Body>), String>;

async fn ask<'a, V: Volume>(
    session: &Session<'_, V>,
    mirrors: &[&'a Source],
) -> Vec<(&'a Source, Outcome)> {
    let mut answers = Vec::new();
    for group in mirrors.chunks(ASKED_AT_ONCE) {
        let asked = group
            .iter()
            .map(|mirror| async move { (*mirror, ask_one(session, mirror).await) });
        answers.extend(join_all(asked).await);
    }
    answers
}

async fn ask_one<V: Volume>(session: &Session<'_, V>, mirror: &Source) -> Outcome {
    let (client, conditions) = (&session.job.client, &session.job.conditions);
    let probe = async {
        if session.ask_by_get {
            http::probe_by_get(client, mirror, conditions).await
        } else {
            http::probe(client, mirror, conditions).await
        }
    };
    match tokio::time::timeout(PATIENCE, probe).await {
        Ok(Ok(Probed::Found { metadata, stream })) => Ok((metadata, stream)),
        Ok(Ok(Probed::NotModified)) => Err("it has nothing newer".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not answer for {} s", PATIENCE.as_secs())),
    }
}

/// Whether a mirror has the object: as long, and told to be the same version by its tag, its date, or a checksum that the
/// whole file will be held against; and whether it gives parts of it.
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
    if mirror.ranges == RangeSupport::No {
        return Err("it has no byte ranges".to_owned());
    }
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

    fn supplies() -> (Arc<Supplies>, Arc<Hub>) {
        let supply = |host: &str| {
            let pinned = Pinned {
                length: 10,
                validator: Validator::None,
            };
            let url = format!("http://user:secret@{host}/x?secret");
            Supply::new(Source::new(&url, None).unwrap(), pinned)
        };
        let hub = Arc::new(Hub::default());
        let supplies = Supplies::new(supply("a"), vec![supply("b")], Arc::clone(&hub));
        (supplies, hub)
    }

    fn lie() -> HttpError {
        HttpError::protocol("a lie")
    }

    /// Turns at both, the first supply's first.
    fn turns(supplies: &Arc<Supplies>) -> (Turn, Turn) {
        let (first, second) = (supplies.next(), supplies.next());
        assert_eq!((first.at, second.at), (0, 1));
        (first, second)
    }

    #[test]
    fn turns_are_spread_and_given_back() {
        let (supplies, _) = supplies();
        let (first, _second) = turns(&supplies);
        drop(first);
        assert_eq!(supplies.next().at, 0);
    }

    #[tokio::test]
    async fn a_supply_that_fails_for_good_is_left_out_while_there_is_another() {
        let (supplies, hub) = supplies();
        let mut events = hub.subscribe();
        let (first, second) = turns(&supplies);
        assert_eq!(second.failed(&lie()), After::Another);
        second.succeeded();
        let _busy: Vec<_> = (0..5).map(|_| supplies.next()).collect();
        assert_eq!(supplies.next().at, 0);
        assert_eq!(first.failed(&lie()), After::Nowhere);
        assert!(!supplies.first().is_left_out());
        assert_eq!(
            second.failed(&lie()),
            After::Another,
            "what is left out already is told once"
        );
        hub.close();
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        let message = "going on without http://b/x: a lie".to_owned();
        assert_eq!(event, Some(crate::event::Event::Warning { message }));
        let event = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        assert_eq!(event, None);
    }

    #[test]
    fn a_supply_that_stumbles_gets_its_turn_again_and_one_that_lies_low_comes_last() {
        let (supplies, _) = supplies();
        let (first, second) = turns(&supplies);
        drop(first);
        let stumble = HttpError::protocol("a stumble").passing();
        assert_eq!(second.failed(&stumble), After::Another);
        let busy: Vec<_> = (0..8).map(|_| supplies.next()).collect();
        assert!(busy.iter().any(|turn| turn.at == 1));
        for _ in 1..MOST_FAILURES {
            second.failed(&stumble);
        }
        let _busier: Vec<_> = (0..20).map(|_| supplies.next()).collect();
        assert_eq!(supplies.next().at, 0);
        second.succeeded();
        assert_eq!(supplies.next().at, 1);
    }

    #[test]
    fn what_the_caller_must_hear_of_the_first_supply_is_told() {
        let (supplies, _) = supplies();
        let (first, second) = turns(&supplies);
        let changed = HttpError::changed("another tag");
        assert_eq!(first.failed(&changed), After::Nowhere);
        assert_eq!(second.failed(&changed), After::Another);
    }

    #[test]
    fn only_the_last_supply_may_have_no_ranges() {
        let (supplies, _) = supplies();
        let (first, second) = turns(&supplies);
        assert!(!first.may_be_whole());
        second.failed(&lie());
        assert!(first.may_be_whole());
        first.has_ranges();
        assert!(!first.may_be_whole());
    }
}
