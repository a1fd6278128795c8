//! The results of a scenario: figures of one or more points, each measured several times.

use std::fmt::Write;

use serde_json::{Value, json};

/// The most points that are shown side by side.
const COLUMNS: usize = 4;

/// The results of one scenario.
pub(crate) struct Report {
    /// How often and how long, as in "5 triples of 4 s".
    pub(crate) extent: String,
    /// One point, or several that are compared, such as the rates of a curve. All have the same figures.
    pub(crate) points: Vec<Point>,
}

/// All figures under one condition.
pub(crate) struct Point {
    /// The condition; empty if there is only one.
    name: String,
    figures: Vec<Figure>,
}

struct Figure {
    /// The name with its unit.
    name: &'static str,
    decimals: usize,
    /// The highest allowed value.
    target: Option<f64>,
    samples: Vec<f64>,
}

impl Point {
    pub(crate) fn new(name: impl Into<String>) -> Point {
        Point { name: name.into(), figures: Vec::new() }
    }

    /// Adds a sample to the figure of this name, which is shown with this many decimals.
    pub(crate) fn add(&mut self, name: &'static str, decimals: usize, sample: f64) {
        self.add_with(name, decimals, None, sample);
    }

    /// As [`Point::add`], for a figure that must be at most `target`.
    pub(crate) fn add_target(&mut self, name: &'static str, decimals: usize, target: f64, sample: f64) {
        self.add_with(name, decimals, Some(target), sample);
    }

    /// As [`Point::add`], for a figure that has a target under some conditions only.
    pub(crate) fn add_with(&mut self, name: &'static str, decimals: usize, target: Option<f64>, sample: f64) {
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.samples.push(sample),
            None => self.figures.push(Figure { name, decimals, target, samples: vec![sample] }),
        }
    }
}

impl Figure {
    /// Minimum, median and maximum.
    fn spread(&self) -> [f64; 3] {
        spread(self.samples.clone())
    }

    fn shown(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }

    fn label(&self) -> String {
        match self.target {
            Some(target) => format!("**{}** (target: at most {target})", self.name),
            None => self.name.to_owned(),
        }
    }

    fn json(&self) -> Value {
        let [min, median, max] = self.spread();
        json!({
            "name": self.name, "min": min, "median": median, "max": max,
            "samples": self.samples, "target": self.target,
        })
    }
}

impl Report {
    /// Minimum, median and maximum in columns if there is one point; a column for each of a few points, a row for each
    /// of many.
    pub(crate) fn markdown(&self) -> String {
        match &self.points[..] {
            [point] => one(point),
            points if points.len() <= COLUMNS => across(points),
            points => down(points),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let point = |point: &Point| {
            let figures = point.figures.iter().map(Figure::json).collect::<Vec<_>>();
            json!({ "name": point.name, "figures": figures })
        };
        json!({ "extent": self.extent, "points": self.points.iter().map(point).collect::<Vec<_>>() })
    }
}

// Writing to a string cannot fail.
fn one(point: &Point) -> String {
    let mut out = String::from("| | min | median | max |\n| --- | ---: | ---: | ---: |\n");
    for figure in &point.figures {
        let [min, median, max] = figure.spread().map(|value| figure.shown(value));
        let _ = writeln!(out, "| {} | {min} | {median} | {max} |", figure.label());
    }
    out
}

fn across(points: &[Point]) -> String {
    let mut out = head("median (min–max)", points.iter().map(|point| &point.name[..]));
    for (row, figure) in figures(points).iter().enumerate() {
        let cells =
            points.iter().map(|point| format!(" {} |", point.figures.get(row).map_or("–".into(), cell)));
        let _ = writeln!(out, "| {} |{}", figure.name, cells.collect::<String>());
    }
    out
}

fn down(points: &[Point]) -> String {
    let mut out = head("median (min–max)", figures(points).iter().map(|figure| figure.name));
    for point in points {
        let cells = point.figures.iter().map(|figure| format!(" {} |", cell(figure)));
        let _ = writeln!(out, "| {} |{}", point.name, cells.collect::<String>());
    }
    out
}

/// All points have the same figures, in the same order.
fn figures(points: &[Point]) -> &[Figure] {
    points.first().map(|point| &point.figures[..]).unwrap_or_default()
}

fn head<'a>(corner: &str, names: impl Iterator<Item = &'a str>) -> String {
    let (mut first, mut second) = (format!("| {corner} |"), String::from("| --- |"));
    for name in names {
        let _ = write!(first, " {name} |");
        second.push_str(" ---: |");
    }
    format!("{first}\n{second}\n")
}

fn cell(figure: &Figure) -> String {
    let [min, median, max] = figure.spread().map(|value| figure.shown(value));
    let spread = if min == max { String::new() } else { format!(" ({min}–{max})") };
    let target = figure.target.map_or(String::new(), |target| format!("; target: at most {target}"));
    let median = if target.is_empty() { median } else { format!("**{median}**") };
    format!("{median}{spread}{target}")
}

/// Minimum, median and maximum; for an even number of values, the median is the mean of the two in the middle.
pub(crate) fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    [at(0), (at(last / 2) + at(last.div_ceil(2))) / 2.0, at(last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_does_not_depend_on_the_order() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(spread(vec![4.0, 1.0, 3.0, 2.0]), [1.0, 2.5, 4.0]);
    }

    #[test]
    fn one_point_shows_its_spread_and_several_stand_side_by_side() {
        let mut slow = Point::new("20/s");
        [1.0, 3.0, 2.0].into_iter().for_each(|sample| slow.add("CPU, µs", 1, sample));
        let alone = Report { extent: String::new(), points: vec![slow] };
        assert!(alone.markdown().ends_with("| CPU, µs | 1.0 | 2.0 | 3.0 |\n"));
        let mut fast = Point::new("400/s");
        fast.add("CPU, µs", 1, 0.5);
        let both = Report { points: alone.points.into_iter().chain([fast]).collect(), ..alone };
        assert!(both.markdown().contains("| median (min–max) | 20/s | 400/s |"), "{}", both.markdown());
        assert!(both.markdown().ends_with("| CPU, µs | 2.0 (1.0–3.0) | 0.5 |\n"), "{}", both.markdown());
    }
}
