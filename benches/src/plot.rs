//! A plot as SVG: rates by number of clients, both axes logarithmic, with the name of each line at its end.

use std::fmt::Write;

/// A line.
pub(crate) struct Series {
    pub(crate) name: String,
    /// From left to right; both above zero.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 520.0;

/// The area within the margins: left, right, top, bottom. The names are in the right margin.
const LEFT: f64 = 70.0;
const RIGHT: f64 = WIDTH - 205.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = HEIGHT - 56.0;

/// The distance between the baselines of two names.
const LINE: f64 = 17.0;

/// The approximate width of the longest name.
const NAME: f64 = 195.0;

/// It has its own background, so that it is readable on any page; the colours follow the reader's colour scheme.
const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 16px; font-weight: 600; fill: #1f2328 }
  .page { fill: #ffffff; stroke: #d0d7de }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  .line { fill: none; stroke-width: 2 }
  .first { stroke-width: 3.5 } .name { font-weight: 600 }
  .c0 { stroke: #0a63c2 } .c1 { stroke: #6e7781; stroke-dasharray: 5 4 } .c2 { stroke: #b35900 }
  .c3 { stroke: #0f7a4a } .c4 { stroke: #b91c6b } .c5 { stroke: #6f3fc4 }
  .f0 { fill: #0a63c2 } .f1 { fill: #6e7781 } .f2 { fill: #b35900 }
  .f3 { fill: #0f7a4a } .f4 { fill: #b91c6b } .f5 { fill: #6f3fc4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #f0f6fc } .page { fill: #0d1117; stroke: #3d444d } .grid { stroke: #2a313c }
    .c0 { stroke: #58a6ff } .c1 { stroke: #9198a1 } .c2 { stroke: #f0a04b }
    .c3 { stroke: #3fcf8e } .c4 { stroke: #f778ba } .c5 { stroke: #b794f6 }
    .f0 { fill: #58a6ff } .f1 { fill: #9198a1 } .f2 { fill: #f0a04b }
    .f3 { fill: #3fcf8e } .f4 { fill: #f778ba } .f5 { fill: #b794f6 }
  }
";

/// The number of colours.
const COLOURS: usize = 6;

/// A logarithmic axis: `from` and `to` are at the pixels `start` and `end`.
struct Axis {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value / self.from).log10() / (self.to / self.from).log10();
        self.start + share * (self.end - self.start)
    }

    /// The powers of ten on the axis.
    fn decades(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.from.log10().ceil() as i32, self.to.log10().floor() as i32);
        (first..=last).map(|power| 10_f64.powi(power))
    }
}

/// The plot of these series, in the order of their colours; the first is drawn on top, with a wider line.
pub(crate) fn svg(title: &str, across: &str, series: &[Series]) -> String {
    let (x, y) = axes(series);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{0}\">\n<style>{STYLE}</style>\n<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"{1}\" \
         height=\"{2}\" rx=\"8\"/>\n<text class=\"title\" x=\"{LEFT}\" y=\"32\">{0}</text>\n\
         <text x=\"{LEFT}\" y=\"54\">{3}</text>\n",
        escaped(title),
        WIDTH - 1.0,
        HEIGHT - 1.0,
        escaped(across),
    );
    grid(&mut out, &x, &y, series);
    for (index, line) in series.iter().enumerate().rev() {
        draw(&mut out, index, line, &x, &y);
    }
    names(&mut out, series, &x, &y);
    out.push_str("</svg>\n");
    out
}

/// Axes that contain all points.
fn axes(series: &[Series]) -> (Axis, Axis) {
    let points = || series.iter().flat_map(|line| &line.points);
    let range = |value: fn(&(f64, f64)) -> f64| {
        points().map(value).fold((f64::MAX, 1.0_f64), |(low, high), it| (low.min(it), high.max(it)))
    };
    let ((left, right), (low, high)) = (range(|point| point.0), range(|point| point.1));
    let y = Axis {
        from: 10_f64.powf(low.min(high).log10().floor()),
        to: 10_f64.powf(high.log10().ceil()),
        start: BOTTOM,
        end: TOP,
    };
    (Axis { from: left.min(right / 10.0), to: right, start: LEFT, end: RIGHT }, y)
}

// Writing to a string cannot fail, here and below.
fn grid(out: &mut String, x: &Axis, y: &Axis, series: &[Series]) {
    for value in y.decades() {
        let at = y.at(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            short(value)
        );
    }
    for value in counts(series) {
        let at = x.at(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 20.0,
            short(value)
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">clients</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 42.0
    );
}

/// The numbers of clients that the longest line has.
fn counts(series: &[Series]) -> Vec<f64> {
    let longest = series.iter().max_by_key(|line| line.points.len());
    longest.into_iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect()
}

fn draw(out: &mut String, index: usize, line: &Series, x: &Axis, y: &Axis) {
    let colour = index % COLOURS;
    let at = line.points.iter().map(|point| format!("{:.1},{:.1}", x.at(point.0), y.at(point.1)));
    let first = if index == 0 { " first" } else { "" };
    let path = at.collect::<Vec<_>>().join(" ");
    let _ = writeln!(out, "<polyline class=\"line c{colour}{first}\" points=\"{path}\"/>");
    for (across, up) in &line.points {
        let _ = writeln!(
            out,
            "<circle class=\"f{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}: {} at {across} clients</title>\
             </circle>",
            x.at(*across),
            y.at(*up),
            escaped(&line.name),
            short(*up)
        );
    }
}

/// Draws the names beside the last points, moved apart where two would overlap.
fn names(out: &mut String, series: &[Series], x: &Axis, y: &Axis) {
    let ends = series.iter().map(|line| line.points.last().copied().unwrap_or((x.to, y.from)));
    let mut places =
        ends.enumerate().map(|(index, (across, up))| (index, x.at(across), y.at(up))).collect::<Vec<_>>();
    places.sort_by(|left, right| left.2.total_cmp(&right.2));
    spread_out(&mut places);
    for (index, across, up) in places {
        let line = &series[index];
        let rate = line.points.last().map_or(f64::NAN, |point| point.1);
        let _ = writeln!(
            out,
            "<text class=\"name f{}\" x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
            index % COLOURS,
            across + 10.0,
            up + 4.0,
            escaped(&line.name),
            short(rate)
        );
    }
}

/// Moves names of about the same x down until each has a line to itself.
fn spread_out(places: &mut [(usize, f64, f64)]) {
    for later in 1..places.len() {
        for earlier in 0..later {
            let (_, across, up) = places[earlier];
            let near = (places[later].1 - across).abs() < NAME;
            if near && (places[later].2 - up).abs() < LINE {
                places[later].2 = up + LINE;
            }
        }
    }
}

/// Two digits and a unit: 990, 1.4 k, 20 k, 1.2 M.
pub(crate) fn short(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 999_500.0 => (value / 1e6, " M"),
        value if value >= 999.5 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let whole = scaled >= 9.95 || (scaled - scaled.round()).abs() < 0.05;
    let decimals = usize::from(!whole);
    format!("{scaled:.decimals$}{unit}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.to_owned(), points: points.to_vec() }
    }

    #[test]
    fn a_decade_is_as_long_as_the_next() {
        let axis = Axis { from: 10.0, to: 1000.0, start: 0.0, end: 200.0 };
        assert_eq!([10.0, 100.0, 1000.0].map(|value| axis.at(value).round()), [0.0, 100.0, 200.0]);
        assert_eq!(axis.decades().collect::<Vec<_>>(), [10.0, 100.0, 1000.0]);
    }

    #[test]
    fn names_of_lines_that_end_together_do_not_overlap() {
        let mut places = vec![(0, 710.0, 100.0), (1, 710.0, 101.0), (2, 710.0, 102.0), (3, 710.0, 300.0)];
        spread_out(&mut places);
        assert!(places.windows(2).all(|pair| pair[1].2 - pair[0].2 >= LINE), "{places:?}");
    }

    #[test]
    fn rates_are_short() {
        let shown = [7.0, 990.0, 1_440.0, 20_000.0, 1_000_000.0, 1_234_567.0].map(short);
        assert_eq!(shown, ["7", "990", "1.4 k", "20 k", "1 M", "1.2 M"]);
    }

    #[test]
    fn every_line_is_drawn_and_named() {
        let lines = [line("a<b", &[(10.0, 5e4), (1000.0, 2e6)]), line("c", &[(10.0, 1e3)])];
        let drawn = svg("title", "below", &lines);
        assert_eq!(drawn.matches("<polyline").count(), 2);
        assert!(drawn.contains(">a&lt;b 2 M</text>"), "{drawn}");
    }
}
