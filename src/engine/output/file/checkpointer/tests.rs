use std::ffi::OsStr;
use std::future::poll_fn;

use futures::FutureExt as _;

use super::*;
use crate::engine::output::file::read_back::must_verify;
use crate::object::PartBitmap;
use crate::object::{ByteRange, Identity};
use crate::options::Verify;
use crate::options::{Writer, WriterKind};
use crate::storage::fake::FakeDisk;
use crate::storage::{create_locked, open_locked};

pub(in crate::engine::output::file) const PARTS: u32 = 8;

/// A partial file of which every byte is there, and its checkpointer.
struct Run {
    disk: FakeDisk,
    events: Arc<EventBus>,
    checkpointer: Checkpointer<FakeDisk>,
}

impl Run {
    /// Begins on this disk.
    fn begin(disk: &FakeDisk) -> Self {
        let names = Names::new(OsStr::new("v")).unwrap();
        let file = match open_locked(disk, names.part()).unwrap() {
            Some(file) => file,
            None => create_locked(disk, names.part()).unwrap().unwrap(),
        };
        file.set_len(u64::from(PARTS)).unwrap();
        let (length, how) = (u64::from(PARTS), Writer::Pwrite);
        let sink = Sink::new(file, "v.part".into(), WriterKind::Pwrite, length, how).unwrap();
        let events = Arc::<EventBus>::default();
        let file = CheckpointFile {
            volume: Arc::new(disk.clone()),
            names,
            sink,
            durability: Durability::Synced,
            pinned: Pinned::new(u64::from(PARTS), Identity::default()),
            identity: identity(),
        };
        Self {
            disk: disk.clone(),
            checkpointer: Checkpointer::new(file, Arc::clone(&events)),
            events,
        }
    }

    async fn commit(&mut self, parts: u32, kind: CommitKind) -> Result<(), CommitError> {
        let completed = PartBitmap::first(parts, PARTS);
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

pub(in crate::engine::output::file) fn identity() -> Checkpoint {
    Checkpoint {
        format: checkpoint::FORMAT_VERSION,
        generation: 0,
        length: u64::from(PARTS),
        part_size: 1,
        selection: Vec::new(),
        identity: Identity::default(),
        media: None,
        origin: "http://h".to_owned(),
        path: "/v".to_owned(),
        url_key: [0; 16],
        url_hash: [0; 32],
        query_hash: None,
        coding: None,
        completed: PartBitmap::new(PARTS),
        crcs: Vec::new(),
        boot_id: Some([1; 16]),
        clean: false,
        standing: Standing::Partial,
        file: None,
    }
}

/// A disk on which a run has ended that completed three parts.
async fn left(kind: CommitKind) -> FakeDisk {
    let disk = FakeDisk::default();
    let mut run = Run::begin(&disk);
    run.commit(3, kind).await.unwrap();
    disk.after_exit()
}

#[tokio::test]
async fn each_run_of_failures_is_one_warning() {
    let disk = FakeDisk::default();
    let mut run = Run::begin(&disk);
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
    let mut run = Run::begin(&disk);
    run.disk.fail_at(run.disk.steps().len());
    let failed = run.commit(1, CommitKind::Periodic).await.unwrap_err();
    assert!(matches!(failed, CommitError::Sync(_)), "{failed}");
    assert_eq!(run.disk.steps().last().unwrap(), "sync data of v.part");
    let failed = run.commit(1, CommitKind::Clean).await.unwrap_err();
    assert!(matches!(failed, CommitError::Poisoned), "{failed}");
    assert_eq!((run.on_disk(), run.warnings().len()), (None, 0));
}

/// An earlier checkpoint stays where its successor can't be written, also one that may lie by then.
#[tokio::test]
async fn what_an_earlier_checkpoint_names_is_read_back_after_the_file_was_changed() {
    let disk = left(CommitKind::Clean).await;
    let names = Names::new(OsStr::new("v")).unwrap();
    let is_trusted = |disk: &FakeDisk| {
        let earlier = checkpoint::load(disk, &names).unwrap().unwrap();
        let stamp = disk.open(names.part()).unwrap().stamp().unwrap();
        !must_verify(Verify::Auto, &earlier, Some([1; 16]), stamp)
    };
    assert!(is_trusted(&disk));
    let mut run = Run::begin(&disk);
    run.checkpointer
        .file
        .sink
        .window(ByteRange::whole(1))
        .unwrap()
        .write(0, b"x")
        .unwrap();
    run.fail_next();
    run.commit(4, CommitKind::Periodic).await.unwrap();
    assert_eq!(run.on_disk(), Some(3));
    assert!(!run.warnings()[0].ends_with("there is none"));
    assert!(!is_trusted(&disk));

    let disk = left(CommitKind::Clean).await;
    disk.plant("v.part", &[0; PARTS as usize]);
    assert!(!is_trusted(&disk), "another file has the name");
}
