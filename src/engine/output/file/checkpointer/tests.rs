use std::ffi::OsStr;
use std::future::poll_fn;

use futures::FutureExt as _;

use super::*;
use crate::object::{PartBitmap, PartIndex};
use crate::options::{Writer, WriterKind};
use crate::storage::fake::FakeDisk;
use crate::storage::{PartFile as _, open_locked};

const PARTS: u32 = 8;

/// A partial file of which every byte is there, and its checkpointer.
struct Run {
    disk: FakeDisk,
    events: Arc<EventBus>,
    checkpointer: Checkpointer<FakeDisk>,
}

impl Run {
    /// Begins on this disk. `is_refuted` tells that the checkpoint there names damaged parts.
    fn begin(disk: &FakeDisk, is_refuted: bool) -> Self {
        let names = Names::new(OsStr::new("v")).unwrap();
        let (file, _) = open_locked(disk, names.part()).unwrap();
        file.set_len(u64::from(PARTS)).unwrap();
        let (length, how) = (u64::from(PARTS), Writer::Pwrite);
        let sink = Sink::new(file, "v.part".into(), WriterKind::Pwrite, length, how).unwrap();
        let events = Arc::<EventBus>::default();
        let file = CheckpointFile {
            volume: Arc::new(disk.clone()),
            names,
            sink,
            durability: Durability::Synced,
            identity: identity(),
            is_refuted,
        };
        Self {
            disk: disk.clone(),
            checkpointer: Checkpointer::new(file, Arc::clone(&events)),
            events,
        }
    }

    async fn commit(&mut self, parts: u32, kind: CommitKind) -> Result<(), CommitError> {
        let mut completed = PartBitmap::new(PARTS);
        for part in 0..parts {
            completed.insert(PartIndex(part));
        }
        let crcs = vec![0; parts as usize];
        let parts = CompletedParts { completed, crcs };
        self.checkpointer.commit(parts, kind).await
    }

    /// Makes the creation of the next checkpoint fail.
    fn fail_next(&self) {
        self.disk.fail_at(self.disk.steps().len() + 2);
    }

    fn warnings(&self) -> Vec<String> {
        let mut told = self.events.subscribe();
        let next = || poll_fn(|cx| told.poll_next(cx)).now_or_never().flatten();
        let warnings = std::iter::from_fn(next).filter_map(|event| match event {
            Event::Warning { message } => Some(message),
            _ => None,
        });
        warnings.collect()
    }

    /// The number of parts that the checkpoint on disk names.
    fn on_disk(&self) -> Option<u32> {
        let found = checkpoint::load(&self.disk, &Names::new(OsStr::new("v")).unwrap());
        found.unwrap().map(|found| found.completed.count())
    }
}

fn identity() -> Checkpoint {
    Checkpoint {
        generation: 0,
        length: u64::from(PARTS),
        part_size: 1,
        selection: Vec::new(),
        etag: Some("\"v\"".to_owned()),
        last_modified: None,
        origin: "http://h".to_owned(),
        path: "/v".to_owned(),
        url_key: [0; 16],
        url_hash: [0; 32],
        completed: PartBitmap::new(PARTS),
        crcs: Vec::new(),
        boot_id: None,
        clean: false,
    }
}

/// A disk on which a run has ended that completed three parts.
async fn left(kind: CommitKind) -> FakeDisk {
    let disk = FakeDisk::default();
    let mut run = Run::begin(&disk, false);
    run.commit(3, kind).await.unwrap();
    disk.after_exit()
}

#[tokio::test]
async fn each_run_of_failures_is_one_warning() {
    let disk = FakeDisk::default();
    let mut run = Run::begin(&disk, false);
    run.disk.no_inodes_at(run.disk.steps().len());
    for parts in 0..3 {
        run.commit(parts, CommitKind::Periodic).await.unwrap();
    }
    let warning = "the checkpoint can't be written: cannot create v.part.ckpt.tmp: No space left on \
                   device (os error 28); a run that is interrupted now starts again from the last one";
    assert_eq!(run.warnings(), [format!("{warning}, and there is none")]);
    assert!(run.checkpointer.is_behind());

    run.disk.no_inodes_at(usize::MAX);
    run.commit(3, CommitKind::Periodic).await.unwrap();
    assert!(!run.checkpointer.is_behind());
    assert_eq!((run.on_disk(), run.warnings().len()), (Some(3), 1));

    run.disk.no_inodes_at(run.disk.steps().len());
    run.commit(3, CommitKind::Clean).await.unwrap();
    assert!(!run.checkpointer.is_behind(), "it names every part");
    run.commit(4, CommitKind::Clean).await.unwrap();
    assert!(run.checkpointer.is_behind());
    assert_eq!(run.on_disk(), Some(3));
    assert_eq!(run.warnings()[1..], [warning]);
}

#[tokio::test]
async fn a_failed_sync_of_the_data_is_final() {
    let disk = FakeDisk::default();
    let mut run = Run::begin(&disk, false);
    run.disk.fail_at(run.disk.steps().len());
    let failed = run.commit(1, CommitKind::Periodic).await.unwrap_err();
    assert!(matches!(failed, CommitError::Sync(_)), "{failed}");
    assert_eq!(run.disk.steps().last().unwrap(), "sync data of v.part");
    let failed = run.commit(1, CommitKind::Clean).await.unwrap_err();
    assert!(matches!(failed, CommitError::Poisoned), "{failed}");
    assert_eq!((run.on_disk(), run.warnings().len()), (None, 0));
}

/// The next run would not read the parts back that a clean checkpoint names.
#[tokio::test]
async fn an_earlier_checkpoint_that_may_lie_goes_if_its_successor_can_t_be_written() {
    use CommitKind::{Clean, Periodic, Suspect};
    for (earlier, is_refuted, kind, stays) in [
        (Clean, false, Periodic, true),
        (Clean, false, Clean, true),
        (Clean, false, Suspect, false),
        (Clean, true, Periodic, false),
        (Periodic, false, Suspect, true),
        (Periodic, true, Periodic, true),
    ] {
        let disk = left(earlier).await;
        let mut run = Run::begin(&disk, is_refuted);
        run.fail_next();
        run.commit(4, kind).await.unwrap();
        let case = format!("{earlier:?}, refuted: {is_refuted}, {kind:?}");
        assert_eq!(run.on_disk().is_some(), stays, "{case}");
        assert_eq!(run.warnings().len(), 1, "{case}");
        assert_eq!(
            run.warnings()[0].ends_with("there is none"),
            !stays,
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_clean_checkpoint_of_a_replaced_file_goes_as_well() {
    let disk = left(CommitKind::Clean).await;
    let mut run = Run::begin(&disk, false);
    run.disk.plant("v.part", &[0; PARTS as usize]);
    run.fail_next();
    run.commit(4, CommitKind::Clean).await.unwrap();
    assert_eq!(run.on_disk(), None);
}
