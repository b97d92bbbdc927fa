//! Decides which mirrors have the object, and which of them replaces a source that fails.

use std::time::Duration;

use futures::future::join_all;

use super::mirror_check;
use super::object::Discovered;
use super::pool::Server;
use super::probe::{ProbeMethod, probe};
use crate::engine::context::{Context, RequestFailed};
use crate::engine::job::Job;
use crate::http::{Body, Coding, HttpErrorKind, Metadata, Pinned, Probed, RangeSupport, Source};

/// The most time that the probe of a mirror may take. It delays the start of the download, so it is
/// less than that of the source.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many mirrors are probed at once.
const PROBES_AT_ONCE: usize = 8;

/// Probes every mirror that the caller named. Returns those that have the same object for certain,
/// and warns of the others.
pub(crate) async fn accept(
    context: &Context<'_>,
    found: &Discovered,
    pinned: Option<&Pinned>,
) -> Vec<Server> {
    let job = context.job;
    let others: Vec<&Source> = job
        .mirrors
        .iter()
        .filter(|mirror| !mirror.is(&found.source))
        .collect();
    let Some(pinned) = pinned.filter(|_| !found.is_whole()) else {
        if !others.is_empty() {
            context.events().warn(
                "the mirrors are left out: without byte ranges there is one stream, from one server",
            );
        }
        return Vec::new();
    };
    let mut taken = Vec::new();
    for (mirror, outcome) in probe_all(context, found.found_by, &others).await {
        let same = outcome.and_then(|(metadata, _)| {
            compare(&found.metadata, &metadata, Trust::of(job)).map(|()| metadata)
        });
        match same {
            Ok(metadata) => {
                let pinned = metadata.pinned(pinned.length);
                taken.push(Server::new(mirror.clone(), pinned));
            }
            Err(why) => context
                .events()
                .warn(format!("the mirror {} is left out: {why}", mirror.shown())),
        }
    }
    if job.trust_mirrors {
        if !taken.is_empty() {
            context.events().warn(
                "the mirrors are trusted: only their lengths are compared; a checksum tells more",
            );
        }
        return taken;
    }
    let source = Server::new(found.source.clone(), pinned.clone());
    mirror_check::same_as(context, source, taken, PROBE_TIMEOUT).await
}

/// What makes up for a mirror that does not name the version of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Nothing,
    /// A checksum of the whole file, which is compared at the end.
    Checksum,
    /// The caller's word.
    Caller,
}

impl Trust {
    fn of(job: &Job) -> Self {
        if job.trust_mirrors {
            Self::Caller
        } else if job.checksums.is_empty() {
            Self::Nothing
        } else {
            Self::Checksum
        }
    }
}

/// Discovers the object at the first mirror that answers, after the source has failed.
///
/// # Errors
///
/// Returns `failed` where no mirror answers, or where no mirror can help.
pub(crate) async fn stand_in(
    context: &Context<'_>,
    method: ProbeMethod,
    failed: RequestFailed,
) -> Result<Discovered, RequestFailed> {
    let job = context.job;
    let is_hopeless = match failed.error.kind() {
        HttpErrorKind::PreconditionFailed => true,
        HttpErrorKind::Refused(_) => job.refresh.is_some(),
        _ => false,
    };
    if is_hopeless {
        return Err(failed);
    }
    let mirrors: Vec<&Source> = job.mirrors.iter().collect();
    for (mirror, outcome) in probe_all(context, method, &mirrors).await {
        let Ok((metadata, stream)) = outcome else {
            continue;
        };
        context.events().warn(format!(
            "continuing with the mirror {} in place of {}: {}",
            mirror.shown(),
            context.source.shown(),
            failed.error
        ));
        return Ok(Discovered {
            metadata,
            stream,
            source: mirror.clone(),
            found_by: method,
            stands_in_for: Some(failed),
        });
    }
    Err(failed)
}

/// The metadata of a mirror, and the body where the probe was a GET, or why the probe failed.
type MirrorProbe = Result<(Metadata, Option<Body>), String>;

/// Probes the mirrors, and returns the results in their order.
async fn probe_all<'a>(
    context: &Context<'_>,
    method: ProbeMethod,
    mirrors: &[&'a Source],
) -> Vec<(&'a Source, MirrorProbe)> {
    let mut results = Vec::new();
    for group in mirrors.chunks(PROBES_AT_ONCE) {
        let probes = group
            .iter()
            .map(|mirror| async move { (*mirror, probe_one(context, method, mirror).await) });
        results.extend(join_all(probes).await);
    }
    results
}

async fn probe_one(context: &Context<'_>, method: ProbeMethod, mirror: &Source) -> MirrorProbe {
    match tokio::time::timeout(PROBE_TIMEOUT, probe(context, mirror, method)).await {
        Ok(Ok(Probed::Found { metadata, stream })) => Ok((metadata, stream)),
        Ok(Ok(Probed::NotModified)) => Err("it has nothing newer".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "it did not answer for {} s",
            PROBE_TIMEOUT.as_secs()
        )),
    }
}

/// Checks that a mirror names the same object as the source, and has byte ranges of it.
///
/// The length and the content coding must match. So must a digest that both send, or else their
/// strong entity tags or, where not both have one, their modification dates; or the caller must
/// have given a checksum of the whole file, or trust the mirrors.
fn compare(source: &Metadata, mirror: &Metadata, trust: Trust) -> Result<(), String> {
    if mirror.length != source.length {
        let shown = |length: Option<u64>| length.map_or("unknown".to_owned(), |n| n.to_string());
        return Err(format!(
            "its length is {}, expected {}",
            shown(mirror.length),
            shown(source.length)
        ));
    }
    if mirror.coding != source.coding {
        return Err(format!(
            "its content coding is {}, expected {}",
            Coding::shown(mirror.coding.as_ref()),
            Coding::shown(source.coding.as_ref())
        ));
    }
    if mirror.ranges == RangeSupport::No {
        return Err("it has no byte ranges".to_owned());
    }
    if trust == Trust::Caller {
        return Ok(());
    }
    match source.identity.shares_digest(&mirror.identity) {
        Some(true) => return Ok(()),
        Some(false) => return Err("the digest that it sends is not that of the object".to_owned()),
        None if trust == Trust::Checksum => return Ok(()),
        None => {}
    }
    match source.identity.shares_strong_tag(&mirror.identity) {
        Some(true) => Ok(()),
        // The same date does not outweigh tags that say that the bytes differ.
        Some(false) => {
            Err("its entity tag is not that of the object, and no checksum is given".to_owned())
        }
        None if source.identity.shares_date(&mirror.identity) => Ok(()),
        None => Err(
            "nothing shows that it has the same object: they have no entity tag and no \
             modification date in common, and no checksum is given"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{Date, Identity, Tag};
    use std::time::{Duration, SystemTime};

    /// Dates in the year 2001.
    const NOW: Option<u64> = Some(1_000_000_000);
    const LATER: Option<u64> = Some(1_000_000_001);

    fn metadata(length: u64, tag: Option<&str>, date: Option<u64>) -> Metadata {
        let date = date.map(|date| SystemTime::UNIX_EPOCH + Duration::from_secs(date));
        let date = date.map(|date| Date::of_text(&httpdate::fmt_http_date(date)));
        Metadata {
            length: Some(length),
            identity: Identity::of(tag.map(Tag::of_text), date),
            is_young: false,
            media: None,
            coding: None,
            ranges: RangeSupport::Yes,
            fields: Vec::new(),
            first_byte: Duration::ZERO,
            round_trip: Duration::ZERO,
        }
    }

    #[test]
    fn a_mirror_must_prove_that_it_has_the_object() {
        let primary = metadata(10, Some("\"a\""), NOW);
        for (mirror, checksum, taken) in [
            (metadata(10, Some("\"a\""), None), false, true),
            (metadata(10, Some("\"b\""), NOW), false, false),
            (metadata(10, None, NOW), false, true),
            (metadata(10, Some("\"b\""), LATER), false, false),
            (metadata(10, Some("\"b\""), LATER), true, true),
            (metadata(10, Some("W/\"a\""), None), false, false),
            (metadata(10, None, None), false, false),
            (metadata(11, Some("\"a\""), NOW), true, false),
        ] {
            let trust = if checksum {
                Trust::Checksum
            } else {
                Trust::Nothing
            };
            let outcome = compare(&primary, &mirror, trust);
            assert_eq!(outcome.is_ok(), taken, "{mirror:?} {outcome:?}");
        }
        let epoch = metadata(10, None, Some(0));
        assert!(compare(&epoch, &epoch, Trust::Nothing).is_err());
        let with_digest = |digest: &str, tag| {
            let mut metadata = metadata(10, Some(tag), None);
            let digests = &mut metadata.identity.digests;
            digests.insert("x-goog-hash md5".to_owned(), digest.to_owned());
            metadata
        };
        let (one, same) = (with_digest("AA==", "\"a\""), with_digest("AA==", "\"b\""));
        assert!(compare(&one, &same, Trust::Nothing).is_ok());
        assert!(compare(&one, &with_digest("BB==", "\"a\""), Trust::Checksum).is_err());
        let bare = metadata(10, None, None);
        assert!(compare(&bare, &bare, Trust::Nothing).is_err());
        assert!(compare(&bare, &bare, Trust::Caller).is_ok());
        let longer = metadata(11, None, None);
        assert!(compare(&bare, &longer, Trust::Caller).is_err());
    }

    #[test]
    fn a_mirror_must_have_the_object_in_the_same_coding() {
        let plain = metadata(10, Some("\"a\""), None);
        let coded = |name| Metadata {
            coding: Some(Coding::named(name)),
            ..plain.clone()
        };
        for (primary, mirror, taken) in [
            (coded("gzip"), coded("gzip"), true),
            (coded("gzip"), coded("br"), false),
            (coded("gzip"), plain.clone(), false),
            (plain.clone(), coded("gzip"), false),
        ] {
            // Whichever of them a checksum is of, one file may not have bytes of both.
            let outcome = compare(&primary, &mirror, Trust::Checksum);
            assert_eq!(outcome.is_ok(), taken, "{mirror:?} {outcome:?}");
        }
    }
}
