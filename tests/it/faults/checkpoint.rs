//! What an earlier run left, damaged.

mod left;

use std::fs;

use crc_fast::{CrcAlgorithm, checksum};
use partwise::origin::Object;
use partwise::{Download, PartSize};
use tokio::runtime::Handle;

use self::left::{Left, flip_completed_byte, with_crc};
use super::table::{Ends, Row, assert_ends, assert_no_secret, hold, row};
use super::{LENGTH, PART};
use crate::support::fault::{FaultOrigin, honest};
use crate::support::fixture::{Fixture, Outcome};

/// What is said of a partial file that is another program's.
const NOT_OURS: &str = "no checkpoint of partwise belongs to it";

/// Where the numbers of the format stand.
const VERSION: usize = 8;
const OBJECT_LENGTH: usize = 28;
const PART_SIZE: usize = 36;

#[tokio::test(flavor = "multi_thread")]
async fn checkpoint() {
    let left = Left::of(&Object::new(9, LENGTH), PART);
    let small = Left::of(&Object::new(9, 10_003), 1 << 10);
    let tables = [files(), formats(), strangers(), bytes()];
    let rows = tables
        .into_iter()
        .flatten()
        .map(|damage| damage.row(left.clone()))
        .chain(every(&small));
    hold("checkpoint", rows);
}

/// What the next run makes of the damage.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// It goes on from so many parts.
    GoesOn(u64),
    /// It begins anew, and says why.
    StartsOver(&'static str),
    /// It begins anew: nothing tells that there ever was an earlier run.
    Begins,
    /// It fails, because the partial file is another program's, and leaves that as it is.
    IsNotOurs,
    /// It fails, and says why; `--fresh` begins anew.
    Fails(i32, &'static [&'static str]),
}

/// A damage to what an earlier run left.
struct Damage {
    name: &'static str,
    harm: fn(&mut Left),
    arguments: Vec<String>,
    then: Then,
}

fn damage(name: &'static str, then: Then, harm: fn(&mut Left)) -> Damage {
    Damage {
        name,
        harm,
        arguments: Vec::new(),
        then,
    }
}

impl Damage {
    fn verified_always(self) -> Self {
        self.arguments(["--verify", "always"].map(str::to_owned))
    }

    /// The caller knows the object's checksum.
    fn checksum(self) -> Self {
        let mut bytes = vec![0; usize::try_from(LENGTH).unwrap()];
        Object::new(9, LENGTH).read_at(0, &mut bytes);
        let crc = checksum(CrcAlgorithm::Crc32Iscsi, &bytes);
        self.arguments(["--checksum".to_owned(), format!("crc32c={crc:08x}")])
    }

    fn arguments<const N: usize>(self, arguments: [String; N]) -> Self {
        Self {
            arguments: arguments.into(),
            ..self
        }
    }

    fn row(self, left: Left) -> Row {
        row(self.name, move || self.hold(left))
    }

    fn hold(self, mut left: Left) {
        let object = left.object.clone();
        let served = object.clone();
        let origin = FaultOrigin::new(move |request| honest(&served, request));
        let fixture = Fixture::new();
        (self.harm)(&mut left);
        left.put(&fixture);
        let outcome = run(&fixture, &origin, &self.arguments);
        assert_no_secret(&outcome);
        let ends = match self.then {
            Then::Fails(code, says) => Ends::with(code, says),
            Then::IsNotOurs => Ends::with(6, &[NOT_OURS, "hint: move or remove that file"]),
            _ => Ends::well(),
        };
        assert_ends(&outcome, &ends);
        let resumed = match self.then {
            Then::GoesOn(parts) => parts * PART,
            _ => 0,
        };
        if let Then::StartsOver(reason) = self.then {
            let told = outcome.events("restarted");
            let told = told.first().and_then(|event| event["reason"].as_str());
            assert!(
                told.is_some_and(|told| told.contains(reason)),
                "{reason:?} is not the reason: {told:?}"
            );
        }
        let fresh = ["--fresh".to_owned()];
        match self.then {
            Then::Fails(..) => {
                fixture.file("x").is_absent();
                assert_ends(&run(&fixture, &origin, &fresh), &Ends::well());
            }
            Then::IsNotOurs => {
                let again = run(&fixture, &origin, &fresh);
                assert_ends(&again, &Ends::with(6, &[NOT_OURS]));
                assert_eq!(fs::read(fixture.path("x.part")).unwrap(), left.part);
                fs::remove_file(fixture.path("x.part")).unwrap();
                assert_ends(&run(&fixture, &origin, &[]), &Ends::well());
            }
            _ => assert_eq!(outcome.json()["resumed_bytes"], resumed),
        }
        fixture.file("x").is(&object);
        fixture.assert_holds_only(["x"]);
    }
}

fn run(fixture: &Fixture, origin: &FaultOrigin, more: &[String]) -> Outcome {
    let url = origin.url("x?signature=QUERYSECRET");
    let mut arguments = vec!["get", "-k", "-c", "2", "--progress", "json", "--json"];
    arguments.extend(more.iter().map(String::as_str));
    arguments.push(&url);
    fixture.partwise(arguments).spawn().wait()
}

/// The files themselves.
fn files() -> Vec<Damage> {
    use Then::{Begins, GoesOn, IsNotOurs, StartsOver};
    vec![
        damage("nothing", GoesOn(8), |_| {}),
        damage("empty", StartsOver("cut short"), |left| {
            left.checkpoint.clear();
        }),
        damage("zeroed", StartsOver("first bytes are damaged"), |left| {
            left.checkpoint.fill(0);
        }),
        damage("junk after it", StartsOver("checksum is wrong"), |left| {
            left.checkpoint.extend(b"junk");
        }),
        damage("junk after it, a lot", StartsOver("longer than"), |left| {
            left.checkpoint.resize(40 << 20, b'j');
        }),
        damage("twice", StartsOver("checksum is wrong"), |left| {
            left.checkpoint.extend(left.checkpoint.clone());
        }),
        damage("another file's bytes", IsNotOurs, |left| {
            left.checkpoint =
                b"\x1b[2J\xc2\x9b\xe2\x80\xae is what it begins with, and more".to_vec();
        }),
        damage("another file's bytes, a lot", IsNotOurs, |left| {
            left.checkpoint = vec![b'j'; 40 << 20];
        }),
        damage("a text of 13 bytes", IsNotOurs, |left| {
            left.checkpoint = b"a text of me\n".to_vec();
        }),
        damage("no checkpoint", IsNotOurs, |left| {
            left.has_checkpoint = false;
        }),
        damage("another program's .part in its place", IsNotOurs, |left| {
            left.part.fill(7);
        }),
        damage("another program's, and shorter", IsNotOurs, |left| {
            left.part = vec![7; 1000];
        }),
        damage("no .part", Begins, |left| left.has_part = false),
        damage("an empty .part", StartsOver("has 0 bytes"), |left| {
            left.part.clear();
        }),
        damage(
            "a shorter .part",
            StartsOver("262146 bytes where 262147"),
            |left| {
                left.part.pop();
            },
        ),
        damage(
            "a longer .part",
            StartsOver("262148 bytes where 262147"),
            |left| {
                left.part.push(0);
            },
        ),
        damage("an earlier temporary file", GoesOn(8), |left| {
            left.temporary = Some(left.checkpoint[..99].to_vec());
        }),
    ]
}

/// Checkpoints that are whole, of another format or another world.
fn formats() -> Vec<Damage> {
    use Then::{Fails, StartsOver};
    let newer = Fails(
        6,
        &[
            "can't read the checkpoint",
            "format is version",
            "hint: resume with the newer",
        ],
    );
    vec![
        damage("format 0", StartsOver("which never was"), |left| {
            with_crc(&mut left.checkpoint, VERSION, &0_u32.to_le_bytes());
        }),
        damage("the next format", newer, |left| {
            with_crc(&mut left.checkpoint, VERSION, &3_u32.to_le_bytes());
        }),
        damage("a format of the far future", newer, |left| {
            with_crc(&mut left.checkpoint, VERSION, &u32::MAX.to_le_bytes());
        }),
        damage(
            "2^60 parts",
            StartsOver("part size makes no sense"),
            |left| {
                with_crc(
                    &mut left.checkpoint,
                    OBJECT_LENGTH,
                    &(1_u64 << 60).to_le_bytes(),
                );
                with_crc(&mut left.checkpoint, PART_SIZE, &1_u64.to_le_bytes());
            },
        ),
        damage(
            "parts of nothing",
            StartsOver("part size makes no sense"),
            |left| {
                with_crc(&mut left.checkpoint, PART_SIZE, &0_u64.to_le_bytes());
            },
        ),
        damage(
            "fewer parts than its bitmap has",
            StartsOver("makes no sense"),
            |left| {
                with_crc(&mut left.checkpoint, PART_SIZE, &(PART * 16).to_le_bytes());
            },
        ),
        damage(
            "a length that wraps",
            StartsOver("makes no sense"),
            |left| {
                with_crc(&mut left.checkpoint, OBJECT_LENGTH, &u64::MAX.to_le_bytes());
            },
        ),
    ]
}

/// Checkpoints of other objects.
fn strangers() -> Vec<Damage> {
    use Then::{IsNotOurs, StartsOver};
    vec![
        damage("another object's", StartsOver("entity tag was"), |left| {
            *left = Left {
                object: left.object.clone(),
                ..Left::of(&Object::new(10, LENGTH), PART)
            };
        }),
        damage(
            "another object's, beside this one's .part",
            IsNotOurs,
            |left| {
                left.checkpoint = Left::of(&Object::new(10, LENGTH), PART).checkpoint;
            },
        ),
        damage(
            "a longer object's",
            StartsOver("bytes long and is"),
            |left| {
                *left = Left {
                    object: left.object.clone(),
                    ..Left::of(&Object::new(9, LENGTH + 1), PART)
                };
            },
        ),
        damage("other ranges'", StartsOver("other ranges"), |left| {
            *left = left.selecting("0-200000");
        }),
    ]
}

/// A byte that is not what it was.
fn bytes() -> Vec<Damage> {
    use Then::GoesOn;
    vec![
        damage(
            "a byte changed, --verify always",
            GoesOn(7),
            flip_completed_byte,
        )
        .verified_always(),
        damage("a byte changed after an unclean end", GoesOn(7), |left| {
            flip_completed_byte(left);
            left.make_unclean();
        }),
        damage("a byte changed, and another boot", GoesOn(7), |left| {
            flip_completed_byte(left);
            left.make_of_another_boot();
        }),
        damage(
            "a byte changed where nothing is completed",
            GoesOn(8),
            |left| {
                *left.part.last_mut().unwrap() ^= 1;
            },
        ),
        damage(
            "a byte changed after a clean end",
            GoesOn(7),
            flip_completed_byte,
        ),
        damage(
            "a byte changed after a clean end, and a checksum",
            GoesOn(7),
            flip_completed_byte,
        )
        .checksum(),
    ]
}

/// Every length at which a checkpoint may be cut, and a flip of every byte.
fn every(left: &Left) -> Vec<Row> {
    let length = left.checkpoint.len();
    let rows = |what: &'static str, harm: fn(&mut Left, usize)| {
        (0..8).map(move |residue| {
            let left = left.clone();
            row(
                format!("{what} {residue}, {}, …", residue + 8),
                move || {
                    for at in (residue..length).step_by(8) {
                        let mut left = left.clone();
                        harm(&mut left, at);
                        assert_survives(&left, at);
                    }
                },
            )
        })
    };
    rows("cut at", |left, at| left.checkpoint.truncate(at))
        .chain(rows("a bit flipped in byte", |left, at| {
            left.checkpoint[at] ^= 1 << (at / 8 % 8);
        }))
        .collect()
}

/// In this very process, which is quicker.
fn assert_survives(left: &Left, at: usize) {
    let object = left.object.clone();
    let origin = FaultOrigin::new(move |request| honest(&object, request));
    let fixture = Fixture::new();
    left.put(&fixture);
    let download = Download::builder(origin.url("x"))
        .dir(fixture.folder())
        .part_size(PartSize::Bytes(1 << 10))
        // Neither matters here, and both take time.
        .insecure(true)
        .sync(false)
        .build()
        .unwrap();
    let report = Handle::current().block_on(download.start().finish());
    let report = report.unwrap_or_else(|error| panic!("byte {at}: {error}"));
    assert_eq!(report.resumed_bytes, 0, "byte {at}");
    fixture.file("x").is(&left.object);
    fixture.assert_holds_only(["x"]);
    fs::remove_file(fixture.path("x")).unwrap();
}
