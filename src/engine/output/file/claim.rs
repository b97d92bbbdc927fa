//! The claim to the part name, and the new partial file under it.
//!
//! A partial file without a checkpoint is another program's. So a checkpoint of no parts is written
//! before the file is made, and it stays for as long as the file.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::checkpoint::{self, Checkpoint, FORMAT_VERSION, Standing, hash_url};
use crate::engine::blocking;
use crate::engine::context::Context;
use crate::error::Error;
use crate::http::Metadata;
use crate::object::PartBitmap;
use crate::storage::{self, Durability, Names, PartFile, StorageError, Volume};

/// Creates the partial file, in place of the `useless` one that this run holds locked. `None` where
/// another run has taken the name meanwhile.
///
/// # Errors
///
/// `File` where the useless file can't be removed, or the new one not be made.
pub(crate) async fn create<V: Volume>(
    context: &Context<'_>,
    volume: &Arc<V>,
    names: &Names,
    claim: Checkpoint,
    useless: Option<V::File>,
) -> Result<Option<V::File>, Error> {
    let (on_volume, of) = (Arc::clone(volume), names.clone());
    let durability = context.job.durability;
    let (claimed, created) = blocking::run(move || {
        if useless.is_some() {
            storage::remove_part(&*on_volume, &of)?;
        }
        let mut claimed = checkpoint::claim(&*on_volume, &of, &claim, durability);
        let created = storage::create_locked(&*on_volume, of.part());
        if let Ok(Some(file)) = &created {
            let file = file.stamp().ok();
            let claim = Checkpoint { file, ..claim };
            claimed =
                claimed.and_then(|()| checkpoint::claim(&*on_volume, &of, &claim, durability));
        } else if created.is_err() {
            // The error that led here is the one to report.
            let _ = storage::remove_checkpoint(&*on_volume, &of, Durability::Unsynced);
        }
        Ok::<_, StorageError>((claimed, created?))
    })
    .await?;
    if let Err(error) = claimed {
        context.events().warn(format!(
            "the checkpoint can't be written: {error}; if this run is killed before one is, it can't \
             be resumed, and {} must be removed before the next one",
            volume.path(names.part()).display()
        ));
    }
    if created.is_some() {
        context.has_partial.store(true, Ordering::Relaxed);
    }
    Ok(created)
}

/// A claim that names the source and the version, and neither length nor parts. It claims the name
/// as it is where the length is not known.
pub(crate) fn blank(context: &Context<'_>, metadata: &Metadata) -> Checkpoint {
    let source = &context.source;
    let url_key: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    Checkpoint {
        format: FORMAT_VERSION,
        generation: 0,
        length: 0,
        part_size: 1,
        selection: Vec::new(),
        identity: metadata.identity.clone(),
        media: metadata.media.clone(),
        coding: metadata.coding.as_ref().map(ToString::to_string),
        origin: source.origin(),
        path: source.path(),
        url_key,
        url_hash: hash_url(&url_key, &source.key_text()),
        query_hash: Some(hash_url(&url_key, &source.query_text())),
        completed: PartBitmap::new(0),
        crcs: Vec::new(),
        // Without a boot the next run reads every part back. It must, where there were mirrors: a
        // mirror may have been taken on its word, and of two connections that bring the same part
        // the slower may be the last to write.
        boot_id: context.boot.filter(|_| context.job.mirrors.is_empty()),
        clean: false,
        standing: Standing::Claimed,
        file: None,
    }
}
