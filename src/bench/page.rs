//! Renders the results as one self-contained page: no script, and no font or picture from
//! elsewhere.

use std::fmt::Write as _;

use super::course::Sink;
use super::measured::Measured;
use super::plot::{Axis, Plot, colour, escape};
use super::results::Results;
use super::units;

/// The most points of a line over time; more would not be visible.
const POINTS: usize = 200;

const STYLE: &str = "\
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#5b6470;--grid:#e3e6ea;\
--s0:#2563c9;--s1:#d9652b;--s2:#1a8f63;--s3:#8a4fc4;--s4:#b8860b;--s5:#c2417c}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--ink:#e8eaed;--soft:#9aa3ad;--grid:#2c3138;\
--s0:#6ea3f5;--s1:#f08b56;--s2:#46bd8d;--s3:#b78be6;--s4:#d9ab3c;--s5:#e676a8}}
body{margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--page);color:var(--ink);\
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:0 0 .25rem}
p{margin:.25rem 0}.soft,figcaption{color:var(--soft);font-size:.85rem}
.advice{border-left:4px solid var(--s0);padding:.25rem 1rem;margin:1rem 0;font-size:1.1rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1.5rem}
figure{margin:0}svg{width:100%;height:auto;display:block}
svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--grid);fill:none}.axis{stroke:var(--soft);fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.middle{stroke:var(--page);stroke-width:2}
.tile{fill:var(--s0)}svg .on-dark{fill:var(--page)}svg .on-light{fill:var(--ink)}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}
.line{stroke:var(--c)}.dot,.box{fill:var(--c)}
.key{display:inline-block;width:.8rem;height:.8rem;border-radius:2px;background:var(--c);margin:0 .3rem 0 .8rem}
.table{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}
th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid var(--grid)}th{color:var(--soft)}
";

impl Results {
    /// Renders a self-contained HTML page with plots; `title` names what was measured.
    #[must_use]
    pub fn html(&self, title: &str) -> String {
        let title = escape(title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        );
        let _ = writeln!(page, "<p class=\"soft\">{}</p>", escape(&self.provenance()));
        if !self.cells.is_empty() {
            page.push_str("<div class=\"advice\">");
            for sentence in self.sentences() {
                let _ = write!(page, "<p>{}</p>", escape(&sentence));
            }
            page.push_str("</div>\n<div class=\"plots\">\n");
            page.push_str(&self.over_connections());
            for sink in self.sinks() {
                page.push_str(&self.heat_map(sink));
            }
            page.push_str(&self.over_time());
            page.push_str(&self.distribution());
            page.push_str("</div>\n");
        }
        page.push_str(&self.html_table());
        page.push_str("</body></html>\n");
        page
    }

    fn sinks(&self) -> Vec<Sink> {
        distinct(self.cells.iter().map(|cell| cell.sink))
    }

    fn numbers(&self) -> Vec<u32> {
        let mut numbers = distinct(self.cells.iter().map(|cell| cell.connections));
        numbers.sort_unstable();
        numbers
    }

    fn part_sizes(&self) -> Vec<u64> {
        let mut sizes = distinct(self.cells.iter().map(|cell| cell.part_size));
        sizes.sort_unstable();
        sizes
    }

    fn connections_axis(&self) -> Axis {
        Axis::places("connections", self.numbers().iter().map(u32::to_string))
    }

    /// Plots throughput over connections: for each sink, the part size of its best cell.
    fn over_connections(&self) -> String {
        let most = greatest(self.cells.iter().map(|cell| cell.bytes_per_second.max));
        let mut plot = Plot::new(
            "throughput over connections",
            self.connections_axis(),
            rate_axis(most),
        );
        let numbers = self.numbers();
        let mut keys = Vec::new();
        for (series, sink) in self.sinks().into_iter().enumerate() {
            let of_sink = || self.cells.iter().filter(move |cell| cell.sink == sink);
            let Some(size) = of_sink().max_by(by_mean).map(|cell| cell.part_size) else {
                continue;
            };
            let cells: Vec<_> = of_sink().filter(|cell| cell.part_size == size).collect();
            let points = cells.iter().map(|cell| {
                let x = place(&numbers, &cell.connections);
                (x, cell.bytes_per_second.mean)
            });
            let points: Vec<_> = points.collect();
            plot.line(series, &points);
            for (cell, (x, mean)) in cells.iter().zip(points) {
                let deviation = cell.bytes_per_second.standard_deviation.unwrap_or(0.0);
                let low = (mean - deviation).max(0.0);
                plot.dot(series, x, mean, low, mean + deviation, &told(cell));
            }
            keys.push((series, format!("{sink}, parts of {}", units::typed(size))));
        }
        figure(
            "Throughput over connections",
            &keys,
            plot,
            "Mean of the runs, with one standard deviation; of each sink the part size that did best.",
        )
    }

    fn heat_map(&self, sink: Sink) -> String {
        let sizes = self.part_sizes();
        let mut plot = Plot::new(
            &format!("throughput by connections and part size, sink {sink}"),
            self.connections_axis(),
            Axis::places("part size", sizes.iter().map(|size| units::typed(*size))),
        );
        let most = greatest(self.cells.iter().map(|cell| cell.bytes_per_second.mean));
        let numbers = self.numbers();
        for cell in self.cells.iter().filter(|cell| cell.sink == sink) {
            let mean = cell.bytes_per_second.mean;
            plot.tile(
                place(&numbers, &cell.connections),
                place(&sizes, &cell.part_size),
                mean / most.max(1.0),
                &units::rate(mean),
                &told(cell),
            );
        }
        figure(
            &format!("Connections × part size, sink {sink}"),
            &[],
            plot,
            "Mean throughput; the darker, the faster. One scale for all sinks.",
        )
    }

    fn over_time(&self) -> String {
        let Some(cell) = self.advised() else {
            return String::new();
        };
        let lines: Vec<_> = cell.timelines.iter().map(|line| smooth(line)).collect();
        let points = || lines.iter().flatten();
        let mut plot = Plot::new(
            "throughput over time",
            Axis::linear(
                "seconds",
                greatest(points().map(|point| point.0)),
                10.0,
                |value| {
                    format!("{value:.3}")
                        .trim_end_matches('0')
                        .trim_end_matches('.')
                        .to_owned()
                },
            ),
            rate_axis(greatest(points().map(|point| point.1))),
        );
        let mut keys = Vec::new();
        for (series, line) in lines.iter().enumerate() {
            plot.line(series, line);
            keys.push((series, format!("run {}", series + 1)));
        }
        figure(
            "Throughput over time",
            &keys,
            plot,
            &format!("Every run of {}.", told(cell)),
        )
    }

    fn distribution(&self) -> String {
        let Some(chosen) = self.advised() else {
            return String::new();
        };
        let alike =
            |cell: &&Measured| cell.sink == chosen.sink && cell.part_size == chosen.part_size;
        let spreads: Vec<_> = self
            .cells
            .iter()
            .filter(alike)
            .filter_map(|cell| Some((cell, cell.connection_bytes_per_second?)))
            .collect();
        let mut plot = Plot::new(
            "distribution of one connection's throughput",
            self.connections_axis(),
            rate_axis(greatest(spreads.iter().map(|(_, spread)| spread.p95))),
        );
        let numbers = self.numbers();
        for (cell, spread) in spreads {
            let values = [spread.p5, spread.p25, spread.p50, spread.p75, spread.p95];
            let [p5, _, p50, _, p95] = values.map(units::rate);
            let told = format!(
                "{}: p5 {p5}, p50 {p50}, p95 {p95} of {}",
                units::count(cell.connections.into(), "connection"),
                units::count(spread.count, "lease")
            );
            plot.spread(0, place(&numbers, &cell.connections), values, &told);
        }
        figure(
            "One connection's throughput",
            &[],
            plot,
            &format!(
                "Sink {}, parts of {}: boxes from p25 to p75 with the median, whiskers from p5 to p95.",
                chosen.sink,
                units::typed(chosen.part_size)
            ),
        )
    }

    fn advised(&self) -> Option<&Measured> {
        let advice = self.advice.as_ref()?;
        self.cells.iter().find(|cell| {
            (cell.connections, cell.part_size, cell.sink)
                == (advice.connections, advice.part_size, advice.sink)
        })
    }

    /// The rows of the Markdown table as an HTML table.
    fn html_table(&self) -> String {
        let markdown = self.markdown();
        let rows = markdown.lines().filter(|line| line.starts_with("| "));
        let mut table = String::from("<h2>Figures</h2>\n<div class=\"table\"><table>\n");
        for (index, row) in rows.enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            table.push_str("<tr>");
            for cell in row.trim_matches(['|', ' ']).split(" | ") {
                let _ = write!(table, "<{tag}>{}</{tag}>", escape(cell));
            }
            table.push_str("</tr>\n");
        }
        table.push_str("</table></div>\n");
        table
    }
}

fn by_mean(a: &&Measured, b: &&Measured) -> std::cmp::Ordering {
    a.bytes_per_second.mean.total_cmp(&b.bytes_per_second.mean)
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
        }
    }
    distinct
}

fn place<T: PartialEq>(places: &[T], value: &T) -> f64 {
    places.iter().position(|place| place == value).unwrap_or(0) as f64
}

fn rate_axis(most: f64) -> Axis {
    Axis::linear("", most, 1024.0, units::rate)
}

fn told(cell: &Measured) -> String {
    let throughput = &cell.bytes_per_second;
    format!(
        "{}, parts of {}, sink {}: {}",
        units::count(cell.connections.into(), "connection"),
        units::typed(cell.part_size),
        cell.sink,
        units::rate_with_deviation(throughput.mean, throughput.standard_deviation)
    )
}

/// Turns a timeline into at most [`POINTS`] rates.
fn smooth(timeline: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let group = timeline.len().div_ceil(POINTS).max(1);
    let mut before = 0.0;
    let mut points = Vec::new();
    for marks in timeline.chunks(group) {
        let bytes: u64 = marks.iter().map(|mark| mark.1).sum();
        let at = marks.last().map_or(before, |mark| mark.0);
        if at > before {
            points.push((at, bytes as f64 / (at - before)));
            before = at;
        }
    }
    points
}

fn figure(title: &str, keys: &[(usize, String)], plot: Plot, caption: &str) -> String {
    let keys: String = keys
        .iter()
        .map(|(series, name)| {
            let class = colour(*series);
            format!("<span class=\"key {class}\"></span>{}", escape(name))
        })
        .collect();
    format!(
        "<figure><h2>{}</h2><div class=\"soft\">{keys}</div>\n{}<figcaption>{}</figcaption></figure>\n",
        escape(title),
        plot.finish(),
        escape(caption)
    )
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::results;
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let page = results().html("bench of http://h/<script>");
        for reference in [
            "<script", "src=", "href=", "url(", "@import", "<link", "<iframe",
        ] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert!(page.contains("bench of http://h/&lt;script&gt;"));
    }

    #[test]
    fn the_page_has_every_plot_and_figure() {
        let page = results().html("t");
        assert_eq!(page.matches("<svg").count(), 1 + 2 + 1 + 1);
        assert_eq!(page.matches("</svg>").count(), page.matches("<svg").count());
        assert_eq!(page.matches("class=\"tile\"").count(), 6);
        assert_eq!(page.matches("<tr>").count(), 1 + 6);
        assert!(page.contains("recommended: "));
        assert!(!page.contains("NaN") && !page.contains("inf"));
    }

    #[test]
    fn a_page_of_nothing_is_a_page() {
        let mut results = results();
        results.cells.clear();
        results.advice = None;
        assert!(results.html("t").ends_with("</html>\n"));
    }

    #[test]
    fn a_long_timeline_becomes_a_short_one() {
        let marks: Vec<_> = (1..=1000_u32).map(|i| (f64::from(i) / 10.0, 100)).collect();
        let points = smooth(&marks);
        assert_eq!(points.len(), POINTS);
        assert!(points.iter().all(|(_, rate)| (rate - 1000.0).abs() < 1e-6));
        assert_eq!(smooth(&[]), []);
    }
}
