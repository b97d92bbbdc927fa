//! Plots as inline SVG, without script, fonts and colours; the page's style sheet sets them.

use std::fmt::Write as _;

/// The width of every plot, in the units of its view box.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// An axis: maps values to positions and has ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) title: String,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Axis {
    /// An axis with names at equal distances: 0, 1, 2, …
    pub(super) fn places(title: &str, names: impl IntoIterator<Item = String>) -> Self {
        let ticks: Vec<_> = (0_u32..).map(f64::from).zip(names).collect();
        Self {
            title: title.to_owned(),
            from: -0.5,
            to: ticks.len() as f64 - 0.5,
            ticks,
        }
    }

    /// An axis from 0 to at least `most`, with a few round ticks, labelled by `label`.
    pub(super) fn linear(title: &str, most: f64, base: f64, label: impl Fn(f64) -> String) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 4.0, base);
        let count = (most / step).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a handful"
        )]
        let steps = 0..=count as u32;
        Self {
            title: title.to_owned(),
            from: 0.0,
            to: count * step,
            ticks: steps
                .map(|index| f64::from(index) * step)
                .map(|value| (value, label(value)))
                .collect(),
        }
    }

    fn share(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }
}

/// The smallest step of at least `least`: 1, 2 or 5 (powers of two for `base` 1024) times a power
/// of the base.
fn round_step(least: f64, base: f64) -> f64 {
    let unit = base.powf(least.log(base).floor());
    let steps: &[f64] = if base > 10.0 {
        &[
            1.0, 2.0, 4.0, 5.0, 8.0, 10.0, 16.0, 20.0, 25.0, 32.0, 50.0, 64.0, 100.0, 128.0, 200.0,
            256.0, 512.0, 1024.0,
        ]
    } else {
        &[1.0, 2.0, 5.0, 10.0]
    };
    let fits = steps.iter().map(|step| step * unit).find(|s| *s >= least);
    fits.unwrap_or(unit * base)
}

/// A plot under construction.
#[derive(Debug)]
pub(super) struct Plot {
    svg: String,
    x: Axis,
    y: Axis,
}

impl Plot {
    pub(super) fn new(label: &str, x: Axis, y: Axis) -> Self {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(label)
        );
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let plot = Self {
            svg: String::new(),
            x,
            y,
        };
        for (value, name) in &plot.y.ticks {
            let (y, name) = (plot.y_at(*value), escape(name));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 8.0,
                y + 4.0,
            );
        }
        for (value, name) in &plot.x.ticks {
            let (x, name) = (plot.x_at(*value), escape(name));
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
                bottom + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 6.0,
            escape(&plot.x.title)
        );
        Self { svg, ..plot }
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        let bottom = HEIGHT - BOTTOM;
        bottom - self.y.share(value) * (bottom - TOP)
    }

    /// Draws a line through points, in the colour of `series`.
    pub(super) fn line(&mut self, series: usize, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let pen = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{pen}{:.1} {:.1}", self.x_at(*x), self.y_at(*y));
        }
        let class = colour(series);
        let _ = writeln!(self.svg, "<path class=\"line {class}\" d=\"{path}\"/>");
    }

    /// Draws a dot with a bar from `low` to `high`; `told` is its tooltip.
    pub(super) fn dot(&mut self, series: usize, x: f64, y: f64, low: f64, high: f64, told: &str) {
        let (at, middle) = (self.x_at(x), self.y_at(y));
        let (top, bottom) = (self.y_at(high), self.y_at(low));
        let (class, told) = (colour(series), escape(told));
        let _ = writeln!(
            self.svg,
            "<g><title>{told}</title><path class=\"line {class}\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>\
             <circle class=\"dot {class}\" cx=\"{at:.1}\" cy=\"{middle:.1}\" r=\"4.5\"/></g>"
        );
    }

    /// Draws a box from the second to the fourth of five values, whiskers to the others and a line
    /// at the middle one.
    pub(super) fn spread(&mut self, series: usize, x: f64, values: [f64; 5], told: &str) {
        const HALF: f64 = 14.0;
        let at = self.x_at(x);
        let [least, low, middle, high, most] = values.map(|value| self.y_at(value));
        let (class, told) = (colour(series), escape(told));
        let _ = writeln!(
            self.svg,
            "<g><title>{told}</title><path class=\"line {class}\" d=\"M{at:.1} {least:.1}V{most:.1}\"/>\
             <rect class=\"box {class}\" x=\"{:.1}\" y=\"{high:.1}\" width=\"{}\" height=\"{:.1}\" rx=\"3\"/>\
             <path class=\"middle\" d=\"M{:.1} {middle:.1}h{}\"/></g>",
            at - HALF,
            HALF * 2.0,
            (low - high).max(1.0),
            at - HALF,
            HALF * 2.0,
        );
    }

    /// Draws a tile at a position on both axes, the darker the nearer `share` is to 1.
    pub(super) fn tile(&mut self, x: f64, y: f64, share: f64, text: &str, told: &str) {
        let (left, right) = (self.x_at(x - 0.5) + 1.0, self.x_at(x + 0.5) - 1.0);
        let (top, bottom) = (self.y_at(y + 0.5) + 1.0, self.y_at(y - 0.5) - 1.0);
        let share = share.clamp(0.0, 1.0);
        let shade = if share > 0.55 { "on-dark" } else { "on-light" };
        let _ = writeln!(
            self.svg,
            "<g><title>{}</title>\
             <rect class=\"tile\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"3\" \
             fill-opacity=\"{:.2}\"/>\
             <text class=\"{shade}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></g>",
            escape(told),
            right - left,
            bottom - top,
            0.08 + 0.92 * share,
            f64::midpoint(left, right),
            f64::midpoint(top, bottom) + 4.0,
            escape(text),
        );
    }

    pub(super) fn finish(mut self) -> String {
        self.svg.push_str("</svg>\n");
        self.svg
    }
}

/// The CSS class with the colour of a series.
pub(super) fn colour(series: usize) -> String {
    format!("s{}", series % 6)
}

/// Escapes text for HTML, including attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_beyond_the_greatest_value() {
        for (most, base, last) in [
            (1.0, 10.0, 1.0),
            (9.3, 10.0, 10.0),
            (0.037, 10.0, 0.04),
            (0.0, 10.0, 1.0),
            (400.0 * 1_048_576.0, 1024.0, 400.0 * 1_048_576.0),
        ] {
            let axis = Axis::linear("", most, base, |value| value.to_string());
            assert!((axis.to - last).abs() < last * 1e-9, "{most}: {}", axis.to);
            assert!((3..=8).contains(&axis.ticks.len()), "{:?}", axis.ticks);
        }
    }

    #[test]
    fn text_can_break_out_of_nothing() {
        assert_eq!(
            escape("<a href=\"x\">'&\u{1b}"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\\u{1b}"
        );
    }
}
