//! What there is to download: the object as the servers describe it, and the bytes of it that are
//! wanted.

use std::sync::Arc;

use super::NO_RANGES;
use super::http::HttpRemote;
use super::pool::{Server, ServerPool};
use super::probe::ProbeMethod;
use crate::engine::context::{Context, RequestFailed};
use crate::engine::job::Job;
use crate::engine::summary::kind_of;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{Body, Metadata, Pinned, RangeSupport, Source};
use crate::object::{Plan, Selection};

/// An object as a probe found it.
pub(crate) struct Discovered {
    pub(crate) metadata: Metadata,
    /// The object itself, where the probe's reply was the whole object.
    pub(crate) stream: Option<Body>,
    /// The source that answered.
    pub(crate) source: Source,
    pub(crate) found_by: ProbeMethod,
    /// How the source of the job failed, where `source` is a mirror in its place.
    pub(crate) stands_in_for: Option<RequestFailed>,
}

impl Discovered {
    /// Whether the server has no byte ranges.
    pub(crate) fn is_whole(&self) -> bool {
        self.stream.is_some() || self.metadata.ranges == RangeSupport::No
    }
}

/// An object of known length, and where its bytes come from.
pub(crate) struct Object<R> {
    pub(crate) wanted: Wanted,
    pub(crate) metadata: Metadata,
    /// The version, as the source's replies pin it.
    pub(crate) pinned: Pinned,
    pub(crate) remote: R,
    pub(crate) found_by: ProbeMethod,
    /// How the source of the job failed, where a mirror stands in for it.
    pub(crate) stands_in_for: Option<RequestFailed>,
}

/// The bytes that are wanted of one version of an object.
pub(crate) struct Wanted {
    /// Length of the whole object, in bytes.
    pub(crate) length: u64,
    pub(crate) selection: Selection,
}

impl Wanted {
    /// The selected bytes of an object of `length` bytes.
    ///
    /// # Errors
    ///
    /// `Usage` where the object does not have the bytes that the job selects.
    pub(crate) fn new(job: &Job, length: u64) -> Result<Self, Error> {
        let resolved = job.selection.resolve(length);
        Ok(Self {
            length,
            selection: resolved
                .map_err(|error| Error::new(ErrorKind::Usage, "the ranges can't be used", error))?,
        })
    }

    /// How the wanted bytes are cut into parts: as the job says, or as it suits their number.
    ///
    /// # Errors
    ///
    /// `Usage` where the part size of the job makes too many parts.
    pub(crate) fn plan(&self, job: &Job) -> Result<Plan, Error> {
        match job.part_size {
            None => Ok(Plan::auto(self.selection.length())),
            Some(part_size) => plan_of(self.selection.length(), part_size),
        }
    }
}

/// `length` bytes in parts of `part_size` bytes.
///
/// # Errors
///
/// `Usage` where that makes too many parts.
pub(crate) fn plan_of(length: u64, part_size: u64) -> Result<Plan, Error> {
    Plan::new(length, part_size)
        .map_err(|error| Error::new(ErrorKind::Usage, "the part size can't be used", error))
}

impl Object<HttpRemote> {
    /// The object of the `pinned` version, on the server that was probed and on the mirrors that
    /// have it.
    ///
    /// # Errors
    ///
    /// As [`Wanted::new`].
    pub(crate) fn on_servers(
        context: &Context<'_>,
        pinned: Pinned,
        found: Discovered,
        mirrors: Vec<Server>,
    ) -> Result<Self, Error> {
        let is_whole = found.is_whole();
        let wanted = Wanted::new(context.job, pinned.length)?;
        let client = context.job.client.clone();
        let is_source = found.source.is(&context.source);
        let first = Server::new(found.source, pinned.clone());
        let servers = ServerPool::new(first, mirrors, Arc::clone(context.events()));
        let mut remote = if is_whole {
            HttpRemote::whole(client, servers, found.stream)
        } else {
            let ranges = found.metadata.ranges;
            HttpRemote::new(client, servers).where_ranges_are(ranges)
        };
        if let Some(refresher) = context.refresher.as_ref().filter(|_| is_source) {
            remote = remote.renewed_by(Arc::clone(refresher));
        }
        Ok(Self {
            wanted,
            metadata: found.metadata,
            pinned,
            remote,
            found_by: found.found_by,
            stands_in_for: found.stands_in_for,
        })
    }
}

/// Announces an object in parts, and warns where the server does not help against changes and
/// interruptions.
pub(crate) fn announce(context: &Context<'_>, metadata: &Metadata, plan: &Plan) {
    let events = context.events();
    // An empty object needs none.
    let lacks_ranges = metadata.ranges == RangeSupport::No && plan.length() > 0;
    events.emit(Event::Probed {
        length: Some(plan.length()),
        validator: kind_of(&metadata.identity.validator()),
        part_size: plan.part_size(),
        parts: plan.parts(),
        ranges: !lacks_ranges,
    });
    if !metadata.identity.has_fields() && context.job.checksums.is_empty() {
        events.warn_once(
            "the server sends neither entity tag nor modification date: if the object is replaced \
             by one of the same length, that may pass unnoticed; a checksum tells",
        );
    }
    if lacks_ranges {
        events.warn_once(NO_RANGES);
    }
}

/// Announces an object of unknown length.
pub(crate) fn announce_stream(context: &Context<'_>, metadata: &Metadata) {
    context.events().emit(Event::Probed {
        length: None,
        validator: kind_of(&metadata.identity.validator()),
        part_size: 0,
        parts: 0,
        ranges: false,
    });
    if !metadata.identity.has_fields() && context.job.checksums.is_empty() {
        context.events().warn_once(
            "the server sends neither entity tag nor modification date: if the object is replaced \
             while it comes, that passes unnoticed; a checksum tells",
        );
    }
}
