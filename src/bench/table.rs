//! Renders the results as text: for a terminal, and as Markdown.

use std::fmt::Write as _;

use super::measured::Measured;
use super::results::Results;
use super::statistics::Percentiles;
use super::units;

const COLUMNS: [&str; 8] = [
    "connections",
    "part",
    "sink",
    "throughput",
    "first byte",
    "one connection p5 / p50 / p95",
    "tail",
    "CPU s/GiB",
];

/// A standard deviation above this share of the mean is reported as noisy.
const NOISY: f64 = 0.1;

impl Results {
    /// Renders a table for a terminal, followed by the advice.
    #[must_use]
    pub fn table(&self) -> String {
        let rows: Vec<_> = self.cells.iter().map(row).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([COLUMNS[column].len()]).max().unwrap_or(0)
        };
        let widths: [usize; 8] = std::array::from_fn(width);
        let line = |cells: &[String; 8]| {
            let padded = cells.iter().zip(widths);
            let padded: Vec<String> = padded
                .map(|(cell, width)| format!("{cell:>width$}"))
                .collect();
            padded.join("  ")
        };
        let mut text = String::new();
        if !rows.is_empty() {
            let _ = writeln!(text, "{}", line(&COLUMNS.map(str::to_owned)));
        }
        for row in &rows {
            let _ = writeln!(text, "{}", line(row));
        }
        for sentence in self.sentences() {
            let _ = writeln!(text, "{sentence}");
        }
        text
    }

    /// Renders a section of Markdown: table, advice and machine.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n", COLUMNS.join(" | "));
        text.push_str("|--:|--:|:--|--:|--:|--:|--:|--:|\n");
        for cell in &self.cells {
            let _ = writeln!(text, "| {} |", row(cell).join(" | "));
        }
        for sentence in self.sentences() {
            let _ = write!(text, "\n{sentence}\n");
        }
        let _ = write!(text, "\n{}\n", self.provenance());
        text
    }

    /// The sentences under a table.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if let Some(advice) = &self.advice {
            sentences.push(format!("recommended: {}", advice.recommendation));
            sentences.push(format!("held back by: {} ({})", advice.verdict, advice.why));
        }
        let noisy = |cell: &&Measured| cell.bytes_per_second.noise() > NOISY;
        let noisy = self.cells.iter().filter(noisy).count() as u64;
        if noisy > 0 {
            sentences.push(format!(
                "{} of {} varied by more than 10 %: --runs, --traffic or a quieter machine steady them",
                noisy,
                units::count(self.cells.len() as u64, "cell")
            ));
        }
        if let Some(why) = &self.ended_early {
            sentences.push(format!("ended early: {why}"));
        }
        sentences
    }

    /// Version, machine and amount, in one line.
    pub(super) fn provenance(&self) -> String {
        let machine = &self.machine;
        format!(
            "partwise {}, {} × {}, {} of memory, Linux {}; {} of {} a cell, {} fetched",
            self.version,
            machine.processors,
            machine.processor,
            units::bytes(machine.memory_bytes),
            machine.kernel,
            units::count(self.runs.into(), "run"),
            units::bytes(self.bytes_per_run),
            units::bytes(self.fetched_bytes),
        )
    }
}

fn row(cell: &Measured) -> [String; 8] {
    let throughput = &cell.bytes_per_second;
    [
        cell.connections.to_string(),
        units::typed(cell.part_size),
        cell.sink.to_string(),
        units::rate_with_deviation(throughput.mean, throughput.standard_deviation),
        units::seconds(cell.first_byte_seconds.mean),
        cell.connection_bytes_per_second
            .as_ref()
            .map_or_else(|| "-".to_owned(), spread),
        units::seconds(cell.tail_seconds.mean),
        format!("{:.2}", cell.cpu_seconds_per_gib.mean),
    ]
}

fn spread(rates: &Percentiles) -> String {
    let [low, middle, high] = [rates.p5, rates.p50, rates.p95].map(units::rate);
    format!("{low} / {middle} / {high}")
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::course::Sink;
    use super::super::machine::Machine;
    use super::super::verdict::{advise, tests::cell};
    use super::*;

    /// Made-up results of two sinks and three numbers of connections.
    pub(in super::super) fn results() -> Results {
        let mut cells = Vec::new();
        for sink in [Sink::Null, Sink::File] {
            for connections in [1, 4, 16] {
                let rate = 100.0 * f64::from(connections).sqrt();
                cells.push(cell(connections, sink, &[rate, rate * 1.02, rate * 0.97]));
            }
        }
        Results {
            version: "1.2.3",
            machine: Machine::this(),
            bytes_per_run: 64 << 20,
            runs: 3,
            fetched_bytes: 1 << 30,
            ended_early: None,
            failure: None,
            advice: advise(&cells),
            cells,
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_cell() {
        let table = results().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 1 + 6 + 2);
        assert!(lines[0].contains("connections") && lines[0].contains("CPU s/GiB"));
        assert!(lines[1].contains("99.7 ± 2.5 MiB/s"), "{}", lines[1]);
        assert!(lines[7].starts_with("recommended: -c 16 -p 1M: "));
        assert!(lines[8].starts_with("held back by: network ("));
        let widths = lines[..7].iter().map(|line| line.chars().count());
        assert_eq!(widths.clone().min(), widths.max());
    }

    #[test]
    fn markdown_has_as_many_columns_in_each_row() {
        let mut results = results();
        results.ended_early = Some("it was stopped".to_owned());
        let text = results.markdown();
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 2 + 6);
        assert!(rows.iter().all(|row| row.matches('|').count() == 9));
        assert!(text.contains("\nended early: it was stopped\n"));
        assert!(text.contains("partwise 1.2.3"));
    }
}
