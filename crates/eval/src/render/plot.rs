//! A plot, laid out: of every line, mark and text where it is drawn. `plot.html` draws it and knows no numbers.
//!
//! It knows points with intervals and nothing of candidates. A picture is laid out for the width that it is shown at, so
//! that letters have their size on a phone too. Read next: `axis.rs` for its numbers, `labels.rs` for its names.

use super::axis::Axis;
use super::labels::{self, Area, LETTER_HEIGHT};
use serde::Serialize;

/// The size of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Where a value may lie. An end that is no number is open: its line goes to the edge of the plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) low: f64,
    pub(super) value: f64,
    pub(super) high: f64,
}

/// A point to be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    /// What stands beside it.
    pub(super) name: String,
    /// All that is known of it, for whoever points at it.
    pub(super) about: String,
    /// Its shape and colour, by a name that the template knows.
    pub(super) look: &'static str,
    /// Half its width, in pixels.
    pub(super) radius: f64,
    pub(super) x: Span,
    pub(super) y: Span,
}

/// One side of a plot.
pub(super) struct Side {
    /// What is measured along it.
    pub(super) title: String,
    pub(super) axis: Axis,
    /// How its numbers are written.
    pub(super) show: Box<dyn Fn(f64) -> String>,
    /// What is to be reached.
    pub(super) limit: Option<f64>,
    /// On which side of the limit it is reached.
    pub(super) is_better_higher: bool,
}

/// A plot, laid out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Plot {
    width: f64,
    height: f64,
    frame: Frame,
    x_title: String,
    y_title: String,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    x_limit: Option<Limit>,
    y_limit: Option<Limit>,
    /// Where everything is that reaches what is to be reached; none without a limit.
    goal: Option<Frame>,
    marks: Vec<Mark>,
}

/// The edges of what is inside the axes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

/// A number at an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tick {
    at: f64,
    text: String,
}

/// What is to be reached: a line across the plot, and where its words stand.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Limit {
    at: f64,
    x: f64,
    y: f64,
    text: String,
}

/// A point, laid out.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Mark {
    x: f64,
    y: f64,
    radius: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    look: &'static str,
    about: String,
    name: Option<Name>,
}

/// A name beside its mark; where it is not close to it a line leads there.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Name {
    x: f64,
    /// Which part of the text is at `x`: the one that is next to the mark, so that a wide face does not run into it.
    anchor: &'static str,
    y: f64,
    text: String,
    line_to: Option<(f64, f64)>,
}

/// Room around the frame: above it, below it for numbers and a title, and at its right at least so much.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 46.0;
const RIGHT: f64 = 14.0;
/// From the number at an axis to the axis.
const GAP: f64 = 8.0;
/// A name that is farther from its mark has a line that leads there.
const CLOSE: f64 = 9.0;

impl Plot {
    /// Lays out points.
    pub(super) fn of(points: &[Point], x: &Side, y: &Side, size: Size) -> Plot {
        let widest = y.axis.ticks().into_iter().map(|tick| labels::width(&(y.show)(tick))).fold(0.0, f64::max);
        let last = x.axis.ticks().last().map_or(0.0, |&tick| labels::width(&(x.show)(tick)) / 2.0);
        let frame = Frame {
            left: rounded(widest + GAP + 2.0),
            top: ABOVE,
            right: rounded(size.width - last.max(RIGHT)),
            bottom: size.height - BELOW,
        };
        let across = |value: f64| rounded(frame.left + x.axis.place(value) * (frame.right - frame.left));
        let up = |value: f64| rounded(frame.bottom - y.axis.place(value) * (frame.bottom - frame.top));
        let mut marks: Vec<Mark> = points.iter().map(|point| mark(point, frame, across, up)).collect();
        let mut drawn: Vec<Area> = marks.iter().flat_map(Mark::areas).collect();
        let mut limit = |side: &Side, at: &dyn Fn(f64) -> f64, line: &dyn Fn(f64) -> Area| {
            side.limit.map(|value| {
                Limit::beside(line(at(value)), at(value), format!("goal {}", (side.show)(value)), &mut drawn)
            })
        };
        let y_limit = limit(y, &up, &|at| Area { left: frame.left, right: frame.right, top: at, bottom: at });
        let x_limit = limit(x, &across, &|at| Area { left: at, right: at, top: frame.top, bottom: frame.bottom });
        name(&mut marks, points, &drawn, frame);
        Plot {
            width: size.width,
            height: size.height,
            frame,
            x_title: x.title.clone(),
            y_title: y.title.clone(),
            x_ticks: apart(ticks(x, across)),
            y_ticks: ticks(y, up),
            goal: goal(frame, x_limit.as_ref(), y_limit.as_ref(), (x.is_better_higher, y.is_better_higher)),
            x_limit,
            y_limit,
            marks,
        }
    }
}

/// The part of a frame on the better side of its limits.
fn goal(frame: Frame, x: Option<&Limit>, y: Option<&Limit>, is_better_higher: (bool, bool)) -> Option<Frame> {
    let mut goal = frame;
    match x {
        Some(limit) if is_better_higher.0 => goal.left = limit.at,
        Some(limit) => goal.right = limit.at,
        None => {}
    }
    match y {
        Some(limit) if is_better_higher.1 => goal.bottom = limit.at,
        Some(limit) => goal.top = limit.at,
        None => {}
    }
    (x.is_some() || y.is_some()).then_some(goal)
}

fn ticks(side: &Side, place: impl Fn(f64) -> f64) -> Vec<Tick> {
    side.axis.ticks().into_iter().map(|tick| Tick { at: place(tick), text: (side.show)(tick) }).collect()
}

impl Limit {
    /// Puts the words at an end of the line and at a side of it, where they cover least of what is drawn; then the
    /// line and they are drawn too.
    fn beside(line: Area, at: f64, text: String, drawn: &mut Vec<Area>) -> Limit {
        let (width, height) = (labels::width(&text), LETTER_HEIGHT * 1.2);
        let area = |left: f64, top: f64| Area { left, top, right: left + width, bottom: top + height };
        let (x, y) = (GAP / 2.0, GAP / 4.0);
        let is_level = line.top == line.bottom;
        let places = if is_level {
            let (above, below) = (line.top - y - height, line.top + y);
            let (start, end) = (line.left + x, line.right - x - width);
            [area(end, above), area(start, above), area(end, below), area(start, below)]
        } else {
            let (before, after) = (line.left - x - width, line.left + x);
            let (top, bottom) = (line.top + y, line.bottom - y - height);
            [area(before, top), area(before, bottom), area(after, top), area(after, bottom)]
        };
        let covered = |place: &Area| -> f64 { drawn.iter().map(|area| place.common(area)).sum() };
        let best = places.iter().copied().min_by(|left, right| covered(left).total_cmp(&covered(right)));
        let place = best.unwrap_or(line);
        let line =
            Area { left: line.left - 1.0, top: line.top - 1.0, right: line.right + 1.0, bottom: line.bottom + 1.0 };
        drawn.extend([line, place]);
        Limit { at, x: rounded(place.left), y: rounded(place.bottom - LETTER_HEIGHT * 0.35), text }
    }
}

impl Mark {
    /// What it covers: its shape and its lines.
    fn areas(&self) -> [Area; 3] {
        let thin = 2.0;
        [
            Area::around((self.x, self.y), self.radius + 1.0),
            Area { left: self.left, right: self.right, top: self.y - thin, bottom: self.y + thin },
            Area { left: self.x - thin, right: self.x + thin, top: self.top, bottom: self.bottom },
        ]
    }
}

/// Tenths of a pixel are seen by nobody, and more digits would be most of the page.
fn rounded(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

fn mark(point: &Point, frame: Frame, across: impl Fn(f64) -> f64, up: impl Fn(f64) -> f64) -> Mark {
    let or = |value: f64, place: &dyn Fn(f64) -> f64, edge: f64| if value.is_finite() { place(value) } else { edge };
    Mark {
        x: across(point.x.value),
        y: up(point.y.value),
        radius: point.radius,
        left: or(point.x.low, &across, frame.left),
        right: or(point.x.high, &across, frame.right),
        top: or(point.y.high, &up, frame.top),
        bottom: or(point.y.low, &up, frame.bottom),
        look: point.look,
        about: point.about.clone(),
        name: None,
    }
}

/// Where numbers at an axis would touch, only every second stays, or every third: as many as there is room for.
fn apart(ticks: Vec<Tick>) -> Vec<Tick> {
    let touch = |pair: &[&Tick]| {
        let halves = pair.iter().map(|tick| labels::width(&tick.text) / 2.0).sum::<f64>();
        matches!(pair, [left, right] if right.at - left.at < halves + GAP)
    };
    let fits = |stride: &usize| {
        let kept: Vec<&Tick> = ticks.iter().step_by(*stride).collect();
        !kept.windows(2).any(touch)
    };
    let stride = (1..).find(fits).unwrap_or(1);
    ticks.into_iter().step_by(stride).collect()
}

/// Gives each mark its name.
fn name(marks: &mut [Mark], points: &[Point], drawn: &[Area], frame: Frame) {
    let named: Vec<usize> = (0..points.len()).filter(|&at| !points[at].name.is_empty()).collect();
    let names: Vec<(Area, String)> = named
        .iter()
        .map(|&at| (Area::around((marks[at].x, marks[at].y), marks[at].radius), labels::shortened(&points[at].name)))
        .collect();
    let room = Area {
        left: frame.left + 2.0,
        top: frame.top - 2.0,
        right: frame.right + RIGHT - 2.0,
        bottom: frame.bottom - 2.0,
    };
    for ((at, (_, text)), place) in named.into_iter().zip(&names).zip(labels::place(&names, drawn, room)) {
        let mark = &mut marks[at];
        let nearest = (mark.x.clamp(place.left, place.right), mark.y.clamp(place.top, place.bottom));
        let is_far = (nearest.0 - mark.x).hypot(nearest.1 - mark.y) > mark.radius + CLOSE;
        let (x, anchor) = if place.right <= mark.x {
            (place.right, "end")
        } else if place.left >= mark.x {
            (place.left, "start")
        } else {
            (place.middle().0, "middle")
        };
        mark.name = Some(Name {
            x: rounded(x),
            anchor,
            y: rounded(place.bottom - LETTER_HEIGHT * 0.35),
            text: text.clone(),
            line_to: is_far.then_some((rounded(nearest.0), rounded(nearest.1))),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: Size = Size { width: 400.0, height: 300.0 };

    fn side(values: &[f64], limit: Option<f64>) -> Side {
        let axis = Axis::fitting(values).unwrap();
        Side {
            title: "cost".to_owned(),
            axis,
            show: Box::new(|value| format!("{value}")),
            limit,
            is_better_higher: false,
        }
    }

    fn point(name: &str, x: Span, y: f64) -> Point {
        let y = Span { low: y - 0.1, value: y, high: y + 0.1 };
        Point { name: name.to_owned(), about: String::new(), look: "good", radius: 5.0, x, y }
    }

    fn exact(value: f64) -> Span {
        Span { low: value, value, high: value }
    }

    #[test]
    fn values_lie_between_their_ticks() {
        let plot = Plot::of(
            &[point("a", exact(1.0), 0.5), point("b", exact(100.0), 0.7)],
            &side(&[1.0, 100.0], Some(10.0)),
            &side(&[0.4, 0.8], None),
            SIZE,
        );
        let [a, b] = &plot.marks[..] else { panic!("two marks") };
        assert_eq!((a.x, b.x), (plot.frame.left, plot.frame.right));
        assert_eq!(plot.x_limit.as_ref().map(|limit| limit.at), Some(rounded(f64::midpoint(a.x, b.x))));
        assert!(b.y < a.y && b.top < b.y && b.y < b.bottom, "larger is higher: {plot:?}");
        assert!(plot.frame.top <= b.top && a.bottom <= plot.frame.bottom);
        assert_eq!(a.name.as_ref().map(|name| name.text.as_str()), Some("a"));
    }

    #[test]
    fn the_goal_is_on_the_better_side_of_each_limit() {
        let frame = Frame { left: 0.0, top: 0.0, right: 100.0, bottom: 80.0 };
        let limit = |at: f64| Limit { at, x: 0.0, y: 0.0, text: String::new() };
        assert_eq!(goal(frame, None, None, (false, true)), None);
        let at_most_and_least = goal(frame, Some(&limit(40.0)), Some(&limit(20.0)), (false, true));
        assert_eq!(at_most_and_least, Some(Frame { right: 40.0, bottom: 20.0, ..frame }));
        let at_most = goal(frame, None, Some(&limit(20.0)), (false, false));
        assert_eq!(at_most, Some(Frame { top: 20.0, ..frame }));
    }

    #[test]
    fn an_open_interval_goes_to_the_edge() {
        let open = Span { low: 1.0, value: 3.0, high: f64::INFINITY };
        let plot = Plot::of(&[point("a", open, 0.5)], &side(&[3.0, 10.0], None), &side(&[0.5, 1.0], None), SIZE);
        assert_eq!(plot.marks[0].right, plot.frame.right);
    }

    #[test]
    fn numbers_that_would_touch_are_left_out() {
        let tick = |at: f64| Tick { at, text: "$0.001".to_owned() };
        let kept =
            |at: &[f64]| apart(at.iter().copied().map(tick).collect()).iter().map(|tick| tick.at).collect::<Vec<_>>();
        assert_eq!(kept(&[0.0, 60.0, 120.0]), [0.0, 60.0, 120.0]);
        assert_eq!(kept(&[0.0, 60.0, 80.0, 140.0, 200.0]), [0.0, 80.0, 200.0]);
        assert_eq!(kept(&[0.0, 1.0, 2.0]), [0.0]);
    }

    proptest! {
        #[test]
        fn everything_is_drawn_inside(points in prop::collection::vec((0.0..1e6_f64, 0.0..1.0_f64), 1..9), width in 250.0..800.0_f64) {
            let xs: Vec<f64> = points.iter().map(|point| point.0).collect();
            let drawn: Vec<Point> = points.iter().map(|&(x, y)| point("some-name", exact(x), y)).collect();
            let plot = Plot::of(&drawn, &side(&xs, None), &side(&[0.0, 1.0], None), Size { width, height: 300.0 });
            for mark in &plot.marks {
                prop_assert!((0.0..=width).contains(&mark.x) && (0.0..=300.0).contains(&mark.y), "{mark:?}");
                let name = mark.name.as_ref().unwrap();
                let before = labels::width(&name.text) * match name.anchor { "start" => 0.0, "middle" => 0.5, _ => 1.0 };
                let after = labels::width(&name.text) - before;
                let is_inside = name.x - before >= -0.1 && name.x + after <= width + 0.1 && name.y <= 300.0;
                prop_assert!(is_inside, "{:?}", name);
            }
        }
    }
}
