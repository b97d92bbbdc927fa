//! From metadata to a transfer that can begin: plan, partial file, what an earlier run left.

pub(crate) mod checkpointer;
pub(crate) mod open;
pub(crate) mod publish;
pub(crate) mod restore;

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use self::checkpointer::Checkpointer;
use self::open::{PreparedFile, open};
use crate::download::Connections;
use crate::engine::context::Session;
use crate::engine::remote::discovery::Discovered;
use crate::engine::remote::pool::{Server, ServerPool};
use crate::engine::remote::{HttpRemote, Remote};
use crate::engine::schedule::dispatcher::{CompletedParts, Dispatcher};
use crate::engine::schedule::tuner::Tuner;
use crate::engine::transfer::rate_limit::Limiter;
use crate::engine::transfer::worker::Transfer;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::http::{Metadata, Pinned, RangeSupport};
use crate::object::{BlockPlan, Plan, Selection, Validator};
use crate::report::ValidatorKind;
use crate::storage::{Names, PartFile, Sink, Volume};

/// Everything that a transfer into a file needs.
pub(crate) struct Prepared<V: Volume, R> {
    pub(crate) transfer: Arc<Transfer<R, V::File>>,
    pub(crate) checkpointer: Checkpointer<V>,
    pub(crate) volume: Arc<V>,
    pub(crate) names: Names,
    pub(crate) metadata: Metadata,
}

/// What is to be downloaded.
pub(crate) struct Wanted {
    /// Of the object.
    pub(crate) length: u64,
    pub(crate) selection: Selection,
    pub(crate) validator: Validator,
    pub(super) last_modified: Option<SystemTime>,
}

/// An object of known length, and where its bytes come from.
pub(crate) struct Object<R> {
    pub(crate) wanted: Wanted,
    pub(crate) metadata: Metadata,
    pub(crate) remote: R,
}

impl Wanted {
    /// The selected bytes of an object of `length` bytes.
    pub(crate) fn new<V: Volume>(
        session: &Session<'_, V>,
        length: u64,
        metadata: &Metadata,
    ) -> Result<Self, Error> {
        let resolved = session.job.selection.resolve(length);
        Ok(Self {
            length,
            selection: resolved
                .map_err(|error| Error::new(ErrorKind::Usage, "the ranges can't be used", error))?,
            validator: metadata.validator.clone(),
            last_modified: metadata.last_modified,
        })
    }
}

impl Object<HttpRemote> {
    /// What a probe found, on its servers.
    pub(crate) fn found(
        session: &Session<'_>,
        length: u64,
        found: Discovered,
        mirrors: Vec<Server>,
    ) -> Result<Self, Error> {
        let is_whole = found.is_whole();
        let Discovered {
            metadata,
            stream,
            source,
            ..
        } = found;
        let wanted = Wanted::new(session, length, &metadata)?;
        let pinned = Pinned {
            length,
            validator: wanted.validator.clone(),
        };
        let client = session.job.client.clone();
        let first = Server::new(source, pinned);
        let servers = ServerPool::new(first, mirrors, Arc::clone(&session.shared.events));
        let remote = if is_whole {
            HttpRemote::whole(client, servers, stream)
        } else {
            HttpRemote::new(client, servers)
        };
        Ok(Self {
            wanted,
            metadata,
            remote,
        })
    }
}

/// Prepares the download of an object of known length into a file.
pub(crate) async fn prepare<V: Volume, R: Remote>(
    session: &mut Session<'_, V>,
    volume: Arc<V>,
    names: Names,
    object: Object<R>,
) -> Result<Prepared<V, R>, Error> {
    let ground = open(session, &volume, &names, &object.wanted, &object.metadata).await?;
    let PreparedFile {
        plan,
        sink,
        trusted,
        identity,
    } = ground;
    if session.resumed_bytes > 0 {
        session.shared.events.emit(Event::Resumed {
            bytes: session.resumed_bytes,
            parts: trusted.completed.count(),
        });
    }
    let checkpointer = Checkpointer::new(
        Arc::clone(&volume),
        names.clone(),
        sink.clone(),
        session.job.durability,
        identity,
        Arc::clone(&session.shared.events),
    );
    let blocks = plan.in_blocks(session.job.block_size);
    let (transfer, metadata) = new_transfer(session, plan, blocks, sink, trusted, object);
    Ok(Prepared {
        transfer,
        checkpointer,
        volume,
        names,
        metadata,
    })
}

/// A transfer that begins with the parts that are there.
pub(crate) fn new_transfer<V: Volume, R: Remote, F: PartFile>(
    session: &Session<'_, V>,
    plan: Plan,
    blocks: BlockPlan,
    sink: Sink<F>,
    trusted: CompletedParts,
    object: Object<R>,
) -> (Arc<Transfer<R, F>>, Metadata) {
    let Object {
        wanted,
        metadata,
        remote,
    } = object;
    let job = session.job;
    let tuner = match job.connections {
        _ if remote.is_whole() => Tuner::fixed(1),
        Connections::Fixed(connections) => Tuner::fixed(connections.get()),
        // Whatever the line could do, the limit is what is measured.
        Connections::Auto if job.limit_rate.is_some() => Tuner::steady(job.max_connections),
        Connections::Auto => Tuner::auto(job.max_connections, metadata.first_byte),
    };
    let dispatcher = Arc::new(Dispatcher::new(plan, blocks, trusted));
    dispatcher.replied(metadata.first_byte);
    session.shared.show(&dispatcher);
    let transfer = Transfer {
        plan,
        blocks,
        selection: wanted.selection,
        remote,
        sink,
        durability: job.durability,
        dispatcher,
        limiter: job.limit_rate.map(Limiter::new),
        events: Arc::clone(&session.shared.events),
        metrics: Arc::clone(&session.metrics),
        retries: job.retries,
        tuner: Mutex::new(tuner),
        workers: AtomicU32::new(0),
    };
    (Arc::new(transfer), metadata)
}

/// Tells what is known now.
pub(crate) fn announce<V: Volume>(session: &Session<'_, V>, metadata: &Metadata, plan: &Plan) {
    let events = &session.shared.events;
    events.emit(Event::Probed {
        length: Some(plan.length()),
        validator: kind_of(&metadata.validator),
        part_size: plan.part_size(),
        parts: plan.parts(),
        ranges: metadata.ranges != RangeSupport::No,
    });
    if metadata.validator == Validator::None {
        events.warn(
            "the server gives neither entity tag nor modification date: \
             a change of the object that keeps its length can't be noticed",
        );
    }
    if metadata.ranges == RangeSupport::No {
        events.warn(
            "the server has no byte ranges: one connection, and a resume fetches from the start",
        );
    }
}

pub(crate) fn kind_of(validator: &Validator) -> ValidatorKind {
    match validator {
        Validator::Strong(_) => ValidatorKind::StrongEtag,
        Validator::Weak { .. } => ValidatorKind::WeakEtag,
        Validator::LastModified(_) => ValidatorKind::LastModified,
        Validator::None => ValidatorKind::None,
    }
}
