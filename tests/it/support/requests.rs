//! Reading the honest origin's log.

use partwise::origin::Logged;

/// A stretch of bytes, half open.
pub(crate) type Stretch = (u64, u64);

/// The stretches that were asked for and answered with 206, or with 200 and the whole, in the order
/// of the requests.
pub(crate) fn ranges_requested(log: &[Logged]) -> Vec<Stretch> {
    let bodies = log.iter().filter(|request| request.method == "GET");
    let whole = |request: &Logged| (request.status == 200).then_some((0, request.body_bytes_asked));
    bodies
        .filter_map(|request| request.asked.or_else(|| whole(request)))
        .collect()
}

/// The bytes in these stretches, sorted, with what overlaps or touches made one.
pub(crate) fn union(stretches: &[Stretch]) -> Vec<Stretch> {
    let mut sorted = stretches.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<Stretch> = Vec::new();
    for (start, end) in sorted {
        match merged.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Holds that the requests, taken together, ask for these bytes and for no other.
#[track_caller]
pub(crate) fn assert_covers_exactly(log: &[Logged], expected: &[Stretch]) {
    let requested = ranges_requested(log);
    assert_eq!(
        union(&requested),
        union(expected),
        "the requests {requested:?} do not cover exactly what was missing"
    );
}

/// The same, but for three blocks of at most 64 KiB that are compared with what is on disk.
#[track_caller]
pub(crate) fn assert_covers_after_spot_checks(log: &[Logged], expected: &[Stretch]) {
    let (missing, compared): (Vec<Stretch>, Vec<Stretch>) =
        ranges_requested(log).into_iter().partition(|asked| {
            expected
                .iter()
                .any(|all| all.0 < asked.1 && asked.0 < all.1)
        });
    assert_eq!(union(&missing), union(expected), "{missing:?} was missing");
    assert_eq!(compared.len(), 3, "{compared:?} was compared");
    let is_block = |(start, end): &Stretch| end - start <= 64 << 10;
    assert!(compared.iter().all(is_block), "{compared:?} was compared");
}

/// Bytes in these stretches.
pub(crate) fn volume(stretches: &[Stretch]) -> u64 {
    stretches.iter().map(|(start, end)| end - start).sum()
}

#[test]
fn overlapping_and_touching_stretches_become_one() {
    assert_eq!(
        union(&[(5, 9), (0, 3), (3, 4), (6, 7), (10, 11)]),
        [(0, 4), (5, 9), (10, 11)]
    );
    assert_eq!(volume(&[(5, 9), (10, 11)]), 5);
}
