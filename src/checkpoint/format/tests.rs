use super::*;
use crate::object::{PartIndex, Plan};
use proptest::prelude::*;

// Both are written by hand from the specification, not by this code. Never change them.
const GOLDEN_V1: &[u8] = include_bytes!("../golden/v1.ckpt");
const GOLDEN_V2: &[u8] = include_bytes!("../golden/v2.ckpt");

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

fn bitmap(parts: u32, completed: impl IntoIterator<Item = u32>) -> PartBitmap {
    let mut bitmap = PartBitmap::new(parts);
    for part in completed {
        bitmap.insert(PartIndex(part));
    }
    bitmap
}

/// The checkpoint in the golden file of version 2.
pub(in crate::checkpoint) fn sample() -> Checkpoint {
    let digests = [
        ("repr-digest sha-256", ":AA==:"),
        ("x-goog-hash crc32c", "AAAAAA=="),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Checkpoint {
        format: 2,
        generation: 7,
        length: 10_000,
        part_size: 100,
        selection: vec![range(5_000, 6_000), range(0, 250)],
        identity: Identity {
            version_id: Some("x-amz-version-id: 3HL4".to_owned()),
            digests: digests.map(owned).into(),
            ..plain_identity()
        },
        media: Some("video/mp4".to_owned()),
        coding: Some("gzip".to_owned()),
        origin: "https://example.org:8443".to_owned(),
        path: "/films/v.mp4".to_owned(),
        url_key: std::array::from_fn(|i| u8::try_from(i).unwrap()),
        url_hash: std::array::from_fn(|i| u8::try_from(100 + i).unwrap()),
        query_hash: Some(std::array::from_fn(|i| u8::try_from(50 + i).unwrap())),
        completed: bitmap(13, [0, 2, 7, 12]),
        crcs: (1..=4).map(|k| 0x1111_1111_1111_1111 * k).collect(),
        boot_id: Some(std::array::from_fn(|i| u8::try_from(200 + i).unwrap())),
        clean: true,
        standing: Standing::Partial,
        file: Some(FileStamp {
            inode: 4711,
            born: Some(FileTime {
                seconds: 1_700_000_000,
                nanoseconds: 5,
            }),
            length: 1250,
            modified: FileTime {
                seconds: 1_700_000_100,
                nanoseconds: 123_456_789,
            },
            changed: FileTime {
                seconds: -1,
                nanoseconds: 999_999_999,
            },
        }),
    }
}

/// What version 1 knows of the identity in the golden file.
fn plain_identity() -> Identity {
    Identity {
        tag: Some(Tag::of_text("\"v1-e\"")),
        date: Some(Date::of_text("Tue, 14 Nov 2023 22:13:20 GMT")),
        ..Identity::default()
    }
}

/// The envelope around any body, with a correct CRC.
fn sealed(version: u32, length: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes.extend(body);
    let crc = Crc64::of(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn sealed_body(change: impl FnOnce(&mut BodyFields)) -> Vec<u8> {
    let mut body = BodyFields::from(&sample());
    change(&mut body);
    let body = bincode::encode_to_vec(body, config::legacy()).unwrap();
    sealed(FORMAT_VERSION, body.len() as u64, &body)
}

#[test]
fn the_golden_file_of_version_1() {
    let expected = Checkpoint {
        format: 1,
        identity: plain_identity(),
        media: None,
        coding: None,
        query_hash: None,
        file: None,
        ..sample()
    };
    assert_eq!(decode(GOLDEN_V1).unwrap(), expected);
}

#[test]
fn the_golden_file_of_version_2() {
    assert_eq!(decode(GOLDEN_V2).unwrap(), sample());
    assert_eq!(encode(&sample()).unwrap(), GOLDEN_V2);
}

#[test]
fn a_date_of_version_1_that_no_server_can_send_counts_as_none() {
    let mut body = GOLDEN_V1[HEAD..GOLDEN_V1.len() - TAIL].to_vec();
    let date = 1_700_000_000u64.to_le_bytes();
    let at = body.windows(8).position(|bytes| bytes == date).unwrap();
    body[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    let found = decode(&sealed(1, body.len() as u64, &body)).unwrap();
    assert_eq!(found.identity.date, None);
}

#[test]
fn cut_at_every_length_and_with_every_bit_flipped() {
    for length in 0..GOLDEN_V2.len() {
        assert!(decode(&GOLDEN_V2[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..GOLDEN_V2.len() * 8 {
        let mut bytes = GOLDEN_V2.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = decode(&bytes).unwrap_err();
        let expected = if bit < MAGIC.len() * 8 {
            matches!(error, CheckpointError::Magic { .. })
        } else {
            matches!(error, CheckpointError::Checksum { .. })
        };
        assert!(expected, "bit {bit}: {error}");
    }
    let mut longer = GOLDEN_V2.to_vec();
    longer.push(0);
    assert!(matches!(
        decode(&longer),
        Err(CheckpointError::Checksum { .. })
    ));
    assert!(matches!(
        decode(&[0; 400]),
        Err(CheckpointError::Magic { .. })
    ));
}

#[test]
fn what_another_program_wrote_is_no_damage() {
    for (bytes, is_ours) in [
        (&b""[..], true),
        (b"P", true),
        (b"PARTW", true),
        (b"PARTWISE", true),
        (b"PARTWIZE and more", true),
        (&[0; 3], true),
        (b"x", false),
        (b"{\"a\":1}", false),
        (b"PART OF A TEXT", false),
        (b"\0\0x", false),
        (b"a text of mine", false),
    ] {
        assert_eq!(decode(bytes).unwrap_err().is_damage(), is_ours, "{bytes:?}");
    }
}

#[test]
fn versions_and_lengths() {
    let newer = decode(&sealed(3, 5, b"a shape of its own")).unwrap_err();
    assert!(
        matches!(newer, CheckpointError::Newer { found: 3 }),
        "{newer}"
    );
    let never = decode(&sealed(0, 0, b"")).unwrap_err();
    assert!(
        matches!(never, CheckpointError::Version { found: 0 }),
        "{never}"
    );
    for (version, golden) in [(1, GOLDEN_V1), (2, GOLDEN_V2)] {
        let body = &golden[HEAD..golden.len() - TAIL];
        for length in [0, body.len() as u64 - 1, u64::MAX] {
            let error = decode(&sealed(version, length, body)).unwrap_err();
            assert!(matches!(error, CheckpointError::Length { .. }), "{error}");
        }
        let mut trailing = body.to_vec();
        trailing.extend([1, 2, 3]);
        let error = decode(&sealed(version, trailing.len() as u64, &trailing)).unwrap_err();
        assert!(matches!(error, CheckpointError::Trailing(3)), "{error}");
    }
}

#[test]
fn numbers_that_contradict_each_other() {
    type Change = fn(&mut BodyFields);
    let table: [(&str, Change); 15] = [
        ("part size", |body| body.part_size = 0),
        ("part size", |body| {
            body.selection.clear();
            body.length = 1 << 60;
            body.part_size = 1;
        }),
        ("bitmap", |body| body.part_size = 10),
        ("bitmap", |body| body.selection.clear()),
        ("bitmap", |body| body.completed.push(0)),
        ("bitmap", |body| body.completed[1] |= 0b10_0000),
        ("list of CRCs", |body| body.crcs.push(0)),
        ("list of CRCs", |body| body.completed[0] = 0),
        ("selection", |body| body.length = 5_999),
        ("selection", |body| body.selection[0] = (5, 4)),
        ("selection", |body| body.selection[0] = (5, 5)),
        ("selection", |body| {
            body.length = u64::MAX;
            body.selection = vec![(0, u64::MAX), (0, 2)];
        }),
        ("path", |body| body.path.push('\x1b')),
        ("standing", |body| body.standing = 3),
        ("list of digests", |body| body.digests.reverse()),
    ];
    for (index, (expected, change)) in table.into_iter().enumerate() {
        match decode(&sealed_body(change)) {
            Err(CheckpointError::Field { field, .. }) => assert_eq!(field, expected, "{index}"),
            other => panic!("{index}: {other:?}"),
        }
    }
}

#[test]
fn a_crafted_count_is_refused_before_it_is_allocated() {
    let mut body = GOLDEN_V2[HEAD..GOLDEN_V2.len() - TAIL].to_vec();
    // The count of the selection's extents.
    body[24..32].copy_from_slice(&(1u64 << 60).to_le_bytes());
    let error = decode(&sealed(2, body.len() as u64, &body)).unwrap_err();
    assert!(matches!(error, CheckpointError::Body(_)), "{error}");
    body[24..32].copy_from_slice(&1000u64.to_le_bytes());
    assert!(decode(&sealed(2, body.len() as u64, &body)).is_err());
}

/// Decodes, and asserts that it allocated no more memory than the length justifies.
#[track_caller]
fn decode_within_bounds(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let mut decoded = None;
    let allocated = allocation_counter::measure(|| decoded = Some(decode(bytes)));
    let (most, length) = (allocated.bytes_max, bytes.len() as u64);
    // The smallest limit given to bincode, and the text of an error.
    assert!(
        most <= 16 * length + 8192,
        "{most} bytes allocated for {length}"
    );
    decoded.expect("it was just decoded")
}

/// The count is the largest that the limit admits, for a body just too long for the smaller limit.
#[test]
fn a_crafted_count_that_passes_allocates_little() {
    for (longer_than, limit) in [
        (0x1000, 0x1_0000),
        (0x1_0000, 0x10_0000),
        (0x10_0000, 0x100_0000),
        (0x10_0000, MAX_BODY as u64),
        (0x100_0000, MAX_BODY as u64),
    ] {
        let mut body = vec![0; longer_than + 1];
        body[24..32].copy_from_slice(&((limit - 32) / 16).to_le_bytes());
        let error = decode_within_bounds(&sealed(2, body.len() as u64, &body)).unwrap_err();
        assert!(matches!(error, CheckpointError::Body(_)), "{error}");
    }
}

#[test]
fn the_most_parts_fit() {
    let largest = Checkpoint {
        length: u64::from(MAX_PARTS),
        part_size: 1,
        selection: Vec::new(),
        completed: bitmap(MAX_PARTS, 0..MAX_PARTS),
        crcs: vec![u64::MAX; MAX_PARTS as usize],
        ..sample()
    };
    let bytes = encode(&largest).unwrap();
    assert!(decode_within_bounds(&bytes).unwrap() == largest);
    let too_long = Checkpoint {
        path: "x".repeat(MAX_BODY),
        ..sample()
    };
    assert!(matches!(
        encode(&too_long),
        Err(CheckpointError::TooLong { .. })
    ));
}

fn any_checkpoint() -> impl Strategy<Value = Checkpoint> {
    let extents = prop::collection::vec((0..9_000u64, 1..1_000u64), 0..4);
    let texts = (
        prop::option::of("[!-~é]{0,40}"),
        "[!-~]{0,40}",
        "\\PC{0,40}",
    );
    let flags = (any::<Option<[u8; 16]>>(), any::<bool>(), any::<u64>());
    let dates = prop::option::of("[!-~ é]{0,40}");
    (
        extents,
        1..3_000u64,
        texts,
        flags,
        dates,
        any::<[u8; 16]>(),
        any::<u64>(),
    )
        .prop_map(|(extents, part_size, texts, flags, date, url_key, seed)| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let digests = (0..rng.usize(..3)).map(|k| (format!("x {k}"), "y".to_owned()));
            let mut time = || FileTime {
                seconds: rng.i64(..),
                nanoseconds: rng.u32(..),
            };
            let (born, modified, changed) = (time(), time(), time());
            let mut checkpoint = Checkpoint {
                format: FORMAT_VERSION,
                generation: flags.2,
                length: 10_000,
                part_size,
                selection: extents
                    .iter()
                    .map(|e| ByteRange::at(e.0, e.1).unwrap())
                    .collect(),
                identity: Identity {
                    tag: texts.0.as_deref().map(Tag::of_text),
                    date: date.as_deref().map(Date::of_text),
                    version_id: rng.bool().then(|| "x-goog-generation: 1".to_owned()),
                    digests: digests.collect(),
                },
                media: rng.bool().then(|| "text/html".to_owned()),
                coding: rng.bool().then(|| "br".to_owned()),
                origin: texts.1,
                path: texts.2,
                url_key,
                url_hash: std::array::from_fn(|_| rng.u8(..)),
                query_hash: rng.bool().then(|| std::array::from_fn(|_| rng.u8(..))),
                completed: PartBitmap::new(0),
                crcs: Vec::new(),
                boot_id: flags.0,
                clean: flags.1,
                standing: *rng
                    .choice(&[Standing::Claimed, Standing::Partial, Standing::Refused])
                    .unwrap(),
                file: rng.bool().then_some(FileStamp {
                    inode: seed,
                    born: (seed % 2 == 0).then_some(born),
                    length: seed,
                    modified,
                    changed,
                }),
            };
            let parts = checkpoint.plan().unwrap().parts();
            checkpoint.completed = bitmap(parts, (0..parts).filter(|_| rng.bool()));
            let count = checkpoint.completed.count();
            checkpoint.crcs = (0..count).map(|_| rng.u64(..)).collect();
            checkpoint
        })
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(checkpoint in any_checkpoint()) {
        let bytes = encode(&checkpoint).unwrap();
        prop_assert_eq!(decode(&bytes).unwrap(), checkpoint);
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(decode_within_bounds(&bytes).is_err());
        for version in [1, 2] {
            let _ = decode_within_bounds(&sealed(version, bytes.len() as u64, &bytes));
        }
    }

    #[test]
    fn a_body_that_was_changed_and_sealed_anew_makes_sense_or_is_refused(
        checkpoint in any_checkpoint(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..3)), 1..4),
    ) {
        let bytes = encode(&checkpoint).unwrap();
        let mut body = bytes[HEAD..bytes.len() - TAIL].to_vec();
        for (index, bytes) in changes {
            let index = index.index(body.len());
            body.splice(index..=index, bytes);
        }
        let file = sealed(2, body.len() as u64, &body);
        if let Ok(found) = decode_within_bounds(&file) {
            prop_assert_eq!(encode(&found).unwrap(), file);
            let plan: Plan = found.plan().unwrap();
            prop_assert_eq!(plan.parts(), found.completed.parts());
            prop_assert_eq!(found.completed.count() as usize, found.crcs.len());
            prop_assert!(found.selection.iter().all(|extent| extent.end() <= found.length));
        }
    }
}
