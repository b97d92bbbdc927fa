//! Derives the recommended settings and the limiting factor from the figures. Pure.

use std::fmt;

use serde::Serialize;

use super::course::Sink;
use super::measured::Measured;
use super::units;
use crate::Bottleneck;

/// The factor that limits the throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitingFactor {
    /// The network path; also the default if no other limit is found.
    Network,
    /// The server: it refuses connections, or holds each to a rate.
    Server,
    /// Writing the file.
    Disk,
    /// This machine's processors.
    Cpu,
}

impl fmt::Display for LimitingFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Network => "network",
            Self::Server => "server",
            Self::Disk => "disk",
            Self::Cpu => "cpu",
        })
    }
}

/// The recommended settings, and what limits the throughput.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// The number of connections.
    pub connections: u32,
    /// The part size in bytes.
    pub part_size: u64,
    /// The sink that the advice is about: the file, if it was measured.
    pub sink: Sink,
    /// The throughput in bytes per second.
    pub bytes_per_second: f64,
    /// The recommended settings as one line.
    pub recommendation: String,
    /// The factor that limits the throughput.
    pub verdict: LimitingFactor,
    /// The figures behind `verdict`.
    pub why: String,
}

/// A mean of at least this share of the best counts as equally good.
const AS_GOOD: f64 = 0.97;
/// The processors are the limit if they are busy for at least this share of the time.
const BUSY: f64 = 0.75;
/// The disk is the limit if a sink without a disk is faster by this factor.
const SLOWED_BY_DISK: f64 = 1.25;
/// The server limits the rate of each connection if, at the greatest number of connections, a
/// connection keeps at least this share of its rate at the smallest number.
const STILL_ITS_OWN: f64 = 0.8;
/// The least ratio of the greatest to the smallest number of connections from which a rate limit
/// per connection is inferred.
const WIDE: u32 = 4;

/// Derives the advice; `None` without figures.
#[must_use]
pub(super) fn advise(cells: &[Measured]) -> Option<Advice> {
    let sink = [Sink::File, Sink::Memory, Sink::Null]
        .into_iter()
        .find(|sink| cells.iter().any(|cell| cell.sink == *sink))?;
    let chosen = choose(cells, sink)?;
    let (verdict, why) = judge(cells, chosen);
    Some(Advice {
        connections: chosen.connections,
        part_size: chosen.part_size,
        sink,
        bytes_per_second: chosen.bytes_per_second.mean,
        recommendation: recommendation(cells, chosen),
        verdict,
        why,
    })
}

/// The cell with the fewest connections that does as well as the best cell; among equals, the
/// fastest.
fn choose(cells: &[Measured], sink: Sink) -> Option<&Measured> {
    let candidates = || cells.iter().filter(|cell| cell.sink == sink);
    let best = candidates().max_by(|a, b| mean(a).total_cmp(&mean(b)))?;
    let spread = best.bytes_per_second.standard_deviation.unwrap_or(0.0);
    let error = spread / (best.bytes_per_second.runs as f64).sqrt();
    let enough = (mean(best) - error).min(mean(best) * AS_GOOD);
    candidates()
        .filter(|cell| mean(cell) >= enough)
        .min_by(|a, b| (a.connections.cmp(&b.connections)).then(mean(b).total_cmp(&mean(a))))
}

fn mean(cell: &Measured) -> f64 {
    cell.bytes_per_second.mean
}

fn recommendation(cells: &[Measured], chosen: &Measured) -> String {
    let to = match chosen.sink {
        Sink::File => "to a file",
        Sink::Memory => "to memory",
        Sink::Null => "to nowhere",
    };
    let same = |cell: &&Measured| cell.sink == chosen.sink;
    let most = cells.iter().filter(same).map(|cell| cell.connections).max();
    let beyond = match most {
        Some(most) if most > chosen.connections => "; more connections add nothing",
        _ if cells
            .iter()
            .filter(same)
            .any(|cell| cell.connections < chosen.connections) =>
        {
            "; more connections than were tried may be faster still"
        }
        _ => "",
    };
    format!(
        "-c {} -p {}: {} {to}{beyond}",
        chosen.connections,
        if chosen.part_size_auto {
            "auto".to_owned()
        } else {
            units::typed(chosen.part_size)
        },
        units::rate(mean(chosen)),
    )
}

fn judge(cells: &[Measured], chosen: &Measured) -> (LimitingFactor, String) {
    busy(chosen)
        .or_else(|| slowed_by_disk(cells, chosen))
        .or_else(|| refused(cells))
        .or_else(|| held_to_a_rate(cells, chosen.sink))
        .unwrap_or_else(|| {
            let why = "neither processors, disk nor server showed a limit".to_owned();
            (LimitingFactor::Network, why)
        })
}

fn busy(chosen: &Measured) -> Option<(LimitingFactor, String)> {
    let percent = chosen.cpu_busy * 100.0;
    (chosen.cpu_busy >= BUSY).then(|| {
        (
            LimitingFactor::Cpu,
            format!("the processors were {percent:.0} % busy"),
        )
    })
}

fn slowed_by_disk(cells: &[Measured], chosen: &Measured) -> Option<(LimitingFactor, String)> {
    if chosen.sink != Sink::File {
        return None;
    }
    let without = cells
        .iter()
        .filter(|cell| cell.sink != Sink::File)
        .max_by(|a, b| mean(a).total_cmp(&mean(b)));
    match without {
        Some(without) if mean(without) > mean(chosen) * SLOWED_BY_DISK => {
            let (file, other) = (units::rate(mean(chosen)), units::rate(mean(without)));
            let why = format!("{file} to a file, {other} with the sink {}", without.sink);
            Some((LimitingFactor::Disk, why))
        }
        None if mostly(chosen, Bottleneck::Disk) => Some((
            LimitingFactor::Disk,
            "most runs waited for the file".to_owned(),
        )),
        _ => None,
    }
}

fn refused(cells: &[Measured]) -> Option<(LimitingFactor, String)> {
    let first = cells
        .iter()
        .filter(|cell| cell.bottlenecks.contains(&Bottleneck::Server))
        .min_by_key(|cell| cell.connections)?;
    let why = format!("it refused some of {} connections", first.connections);
    Some((LimitingFactor::Server, why))
}

fn held_to_a_rate(cells: &[Measured], sink: Sink) -> Option<(LimitingFactor, String)> {
    let best_of = |connections: u32| {
        cells
            .iter()
            .filter(|cell| cell.sink == sink && cell.connections == connections)
            .map(mean)
            .max_by(f64::total_cmp)
    };
    let numbers = || {
        cells
            .iter()
            .filter(|cell| cell.sink == sink)
            .map(|cell| cell.connections)
    };
    let (fewest, most) = (numbers().min()?, numbers().max()?);
    let share = |connections: u32| Some(best_of(connections)? / f64::from(connections));
    let (alone, crowded) = (share(fewest)?, share(most)?);
    (most >= fewest.saturating_mul(WIDE) && crowded >= alone * STILL_ITS_OWN).then(|| {
        let rate = units::rate(crowded);
        let why = format!("each connection brings {rate}, however many there are");
        (LimitingFactor::Server, why)
    })
}

fn mostly(cell: &Measured, bottleneck: Bottleneck) -> bool {
    let such = cell
        .bottlenecks
        .iter()
        .filter(|found| **found == bottleneck);
    such.count() * 2 > cell.bottlenecks.len()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::statistics::{Percentiles, Summary};
    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// A made-up cell; `rates` is the throughput of each run in MiB per second.
    pub(in super::super) fn cell(connections: u32, sink: Sink, rates: &[f64]) -> Measured {
        let each: Vec<f64> = rates.iter().map(|rate| rate * MIB).collect();
        let one = Summary::of(&[0.5]).unwrap();
        Measured {
            connections,
            part_size: 1 << 20,
            part_size_auto: false,
            sink,
            bytes_per_second: Summary::of(&each).unwrap(),
            first_byte_seconds: one,
            tail_seconds: one,
            cpu_seconds_per_gib: one,
            cpu_busy: 0.1,
            connection_bytes_per_second: Percentiles::of([1000, 2000], 1.0),
            request_first_byte_seconds: Percentiles::of([10, 20], 1e-6),
            retries: 0,
            wasted_bytes: 0,
            bottlenecks: vec![Bottleneck::Network; each.len()],
            timelines: vec![vec![(0.1, 1000), (0.2, 2000)]; each.len()],
            each_bytes_per_second: each,
        }
    }

    #[test]
    fn the_fewest_connections_that_do_as_well_are_recommended() {
        let cells = [
            cell(1, Sink::File, &[50.0, 52.0]),
            cell(4, Sink::File, &[99.0, 98.0]),
            cell(8, Sink::File, &[100.0, 101.0]),
            cell(16, Sink::File, &[70.0, 72.0]),
        ];
        let advice = advise(&cells).unwrap();
        assert_eq!(advice.connections, 4);
        assert_eq!(
            advice.recommendation,
            "-c 4 -p 1M: 98.5 MiB/s to a file; more connections add nothing"
        );
        assert_eq!(advice.verdict, LimitingFactor::Network);
    }

    #[test]
    fn a_noisy_best_cell_does_not_win() {
        let cells = [
            cell(2, Sink::Null, &[80.0, 81.0, 82.0]),
            cell(8, Sink::Null, &[60.0, 100.0, 110.0]),
        ];
        assert_eq!(advise(&cells).unwrap().connections, 2);
    }

    #[test]
    fn the_last_number_may_not_be_the_best_one() {
        let cells = [cell(1, Sink::Null, &[10.0]), cell(2, Sink::Null, &[20.0])];
        let advice = advise(&cells).unwrap();
        assert!(advice.recommendation.ends_with("may be faster still"));
        let one = advise(&cells[..1]).unwrap();
        assert_eq!(one.recommendation, "-c 1 -p 1M: 10.0 MiB/s to nowhere");
        assert_eq!(advise(&[]), None);
    }

    #[test]
    fn verdicts() {
        let flat = |sink| [cell(1, sink, &[100.0]), cell(8, sink, &[101.0])];
        let linear = [cell(1, Sink::File, &[10.0]), cell(8, Sink::File, &[78.0])];
        let mut busy = flat(Sink::File);
        busy[0].cpu_busy = 0.9;
        let mut refused = flat(Sink::File);
        refused[1].bottlenecks = vec![Bottleneck::Server];
        let mut waiting = flat(Sink::File);
        waiting[0].bottlenecks = vec![Bottleneck::Disk];
        let beside_null = [cell(1, Sink::File, &[100.0]), cell(1, Sink::Null, &[130.0])];
        let beside_equal = [cell(1, Sink::File, &[100.0]), cell(1, Sink::Null, &[110.0])];
        for (cells, verdict, why) in [
            (&flat(Sink::File)[..], LimitingFactor::Network, "neither"),
            (
                &linear,
                LimitingFactor::Server,
                "each connection brings 9.75 MiB/s",
            ),
            (&busy, LimitingFactor::Cpu, "90 % busy"),
            (&refused, LimitingFactor::Server, "it refused some of 8"),
            (&waiting, LimitingFactor::Disk, "waited for the file"),
            (
                &beside_null,
                LimitingFactor::Disk,
                "130 MiB/s with the sink null",
            ),
            (&beside_equal, LimitingFactor::Network, "neither"),
        ] {
            let advice = advise(cells).unwrap();
            assert_eq!(advice.verdict, verdict, "{why}");
            assert!(advice.why.contains(why), "{} {why}", advice.why);
        }
    }
}
