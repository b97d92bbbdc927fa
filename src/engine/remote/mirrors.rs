//! Decides which mirrors have the object, and which of them replaces a source that fails.

use std::time::Duration;

use futures::future::join_all;

use super::object::Discovered;
use super::pool::Server;
use super::probe::{ProbeMethod, probe};
use crate::engine::context::{Context, RequestFailed};
use crate::http::{Body, Coding, HttpErrorKind, Metadata, Pinned, Probed, RangeSupport, Source};
use crate::object::Validator;

/// The most time that the probe of a mirror may take. It delays the start of the download, so it is
/// less than that of the source.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many mirrors are probed at once.
const PROBES_AT_ONCE: usize = 8;

/// Probes every mirror that the caller named. Returns those that have the same object for certain,
/// and warns of the others.
pub(crate) async fn accept(context: &Context<'_>, found: &Discovered) -> Vec<Server> {
    let job = context.job;
    let others: Vec<&Source> = job
        .mirrors
        .iter()
        .filter(|mirror| !mirror.is(&found.source))
        .collect();
    let Some(length) = found.metadata.length.filter(|_| !found.is_whole()) else {
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
            compare(&found.metadata, &metadata, !job.checksums.is_empty()).map(|()| metadata)
        });
        match same {
            Ok(metadata) => {
                let pinned = Pinned::new(length, metadata.identity).in_coding(metadata.coding);
                taken.push(Server::new(mirror.clone(), pinned));
            }
            Err(why) => context
                .events()
                .warn(format!("the mirror {} is left out: {why}", mirror.shown())),
        }
    }
    taken
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

/// Checks that a mirror has the same object, and byte ranges of it.
///
/// The length and the content coding must match. So must the strong entity tags or, where not both
/// have one, the modification dates; or the caller must have given a checksum of the whole file.
fn compare(primary: &Metadata, mirror: &Metadata, has_checksum: bool) -> Result<(), String> {
    if mirror.length != primary.length {
        let shown = |length: Option<u64>| length.map_or("unknown".to_owned(), |n| n.to_string());
        return Err(format!(
            "its length is {}, expected {}",
            shown(mirror.length),
            shown(primary.length)
        ));
    }
    if mirror.coding != primary.coding {
        return Err(format!(
            "its content coding is {}, expected {}",
            Coding::shown(mirror.coding.as_ref()),
            Coding::shown(primary.coding.as_ref())
        ));
    }
    let tags_agree = match (primary.validator(), mirror.validator()) {
        (Validator::Strong(one), Validator::Strong(other)) => Some(one == other),
        _ => None,
    };
    let same_date =
        primary.last_modified.is_some() && primary.last_modified == mirror.last_modified;
    if mirror.ranges == RangeSupport::No {
        return Err("it has no byte ranges".to_owned());
    }
    match tags_agree {
        _ if has_checksum => Ok(()),
        Some(true) => Ok(()),
        // The same date does not outweigh tags that say that the bytes differ.
        Some(false) => {
            Err("its entity tag is not that of the object, and no checksum is given".to_owned())
        }
        None if same_date => Ok(()),
        None => Err(
            "neither its entity tag nor its modification date is that of the object, \
             and no checksum is given"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{EntityTag, Identity};
    use std::time::{Duration, SystemTime};

    fn metadata(length: u64, tag: Option<&str>, date: Option<u64>) -> Metadata {
        let etag = tag.map(|tag| EntityTag::parse(tag).unwrap());
        let last_modified = date.map(|date| SystemTime::UNIX_EPOCH + Duration::from_secs(date));
        Metadata {
            length: Some(length),
            identity: Identity::of(etag.clone(), last_modified),
            etag,
            last_modified,
            coding: None,
            ranges: RangeSupport::Yes,
            fields: Vec::new(),
            first_byte: Duration::ZERO,
        }
    }

    #[test]
    fn a_mirror_must_prove_that_it_has_the_object() {
        let primary = metadata(10, Some("\"a\""), Some(1));
        for (mirror, checksum, taken) in [
            (metadata(10, Some("\"a\""), None), false, true),
            (metadata(10, Some("\"b\""), Some(1)), false, false),
            (metadata(10, None, Some(1)), false, true),
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
            let outcome = compare(&primary, &mirror, true);
            assert_eq!(outcome.is_ok(), taken, "{mirror:?} {outcome:?}");
        }
    }
}
