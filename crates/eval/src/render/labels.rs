//! Where names stand beside their marks in a plot, so that nobody has to look them up in a legend.
//!
//! Each name tries the places around its mark, near ones first, and takes the one that covers least of the others and of
//! what is drawn. After all have a place each tries again, a few times: the first could not know of the last.

use unicode_width::UnicodeWidthStr;

/// The height of letters, in units of the picture, which are pixels where it is not scaled.
pub(super) const LETTER_HEIGHT: f64 = 13.0;
/// The mean width of a letter that is one column wide, in heights: sans-serif faces have 0.5 to 0.62.
const LETTER_WIDTH: f64 = 0.62;
/// Longer names are cut.
const LONGEST: usize = 28;
/// What it costs to cover anything of another name: more than any distance from a mark.
const COVERING: f64 = 200.0;
/// What it costs to reach out of the frame: more than to cover names, as each mark has a place within.
const CUT: f64 = 100_000.0;
/// How often all names look for a better place.
const ROUNDS: usize = 6;

/// A rectangle, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    /// The square around a point.
    pub(super) fn around((x, y): (f64, f64), half: f64) -> Area {
        Area { left: x - half, top: y - half, right: x + half, bottom: y + half }
    }

    /// What two areas have in common.
    pub(super) fn common(&self, other: &Area) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn size(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Its middle.
    pub(super) fn middle(&self) -> (f64, f64) {
        (f64::midpoint(self.left, self.right), f64::midpoint(self.top, self.bottom))
    }
}

/// A name as a plot has room for it.
pub(super) fn shortened(name: &str) -> String {
    let mut columns = 0;
    let end = name.char_indices().find(|(_, letter)| {
        columns += UnicodeWidthStr::width(letter.encode_utf8(&mut [0; 4]) as &str);
        columns > LONGEST
    });
    match end {
        Some((end, _)) => format!("{}…", name[..end].trim_end()),
        None => name.to_owned(),
    }
}

/// About how wide a text is.
pub(super) fn width(text: &str) -> f64 {
    UnicodeWidthStr::width(text) as f64 * LETTER_HEIGHT * LETTER_WIDTH
}

/// A place for each name, in their order, within the frame. `names` have the mark that each belongs to; `drawn` is what
/// they should leave free.
pub(super) fn place(names: &[(Area, String)], drawn: &[Area], frame: Area) -> Vec<Area> {
    let mut taken: Vec<Option<Area>> = vec![None; names.len()];
    for _ in 0..ROUNDS {
        for (at, (mark, name)) in names.iter().enumerate() {
            let others = || taken.iter().enumerate().filter(|(other, _)| *other != at).filter_map(|(_, area)| *area);
            let cost = |place: &Area| {
                let outside = place.size() - place.common(&frame);
                let on_names: f64 = others().map(|other| place.common(&other)).sum();
                let on_drawn: f64 = drawn.iter().map(|area| place.common(area)).sum();
                // However little of another name is covered, a place further away is better.
                let covers = if on_names > 0.0 { COVERING } else { 0.0 };
                let is_cut = if outside > 0.0 { CUT } else { 0.0 };
                10.0 * outside + 4.0 * on_names + is_cut + covers + on_drawn + distance(mark, place)
            };
            taken[at] = around(mark, width(name)).into_iter().min_by(|left, right| cost(left).total_cmp(&cost(right)));
        }
    }
    taken.into_iter().zip(names).map(|(area, (mark, _))| area.unwrap_or(*mark)).collect()
}

/// How far a name is from its mark, as the eye has to go.
fn distance(mark: &Area, name: &Area) -> f64 {
    let (x, y) = mark.middle();
    let across = (name.left - x).max(x - name.right).max(0.0);
    let down = (name.top - y).max(y - name.bottom).max(0.0);
    across.hypot(down)
}

/// The places that a name may have: beside, above, below and at the corners of its mark, in rings.
fn around(mark: &Area, width: f64) -> Vec<Area> {
    let (x, y) = mark.middle();
    let height = LETTER_HEIGHT * 1.2;
    let place = |left: f64, top: f64| Area { left, top, right: left + width, bottom: top + height };
    let ring = |gap: f64| {
        let (left, right) = (mark.left - gap - width, mark.right + gap);
        let (above, below) = (mark.top - gap - height, mark.bottom + gap);
        let (centred, level) = (x - width / 2.0, y - height / 2.0);
        [
            place(right, level),
            place(left, level),
            place(right, above),
            place(left, above),
            place(right, below),
            place(left, below),
            place(centred, above),
            place(centred, below),
        ]
    };
    [4.0, 11.0, 20.0, 34.0, 50.0].into_iter().flat_map(ring).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: Area = Area { left: 0.0, top: 0.0, right: 500.0, bottom: 300.0 };

    fn marks(points: &[(f64, f64)]) -> Vec<(Area, String)> {
        let name = |at: usize| format!("candidate {at}");
        points.iter().enumerate().map(|(at, &point)| (Area::around(point, 5.0), name(at))).collect()
    }

    fn overlaps(places: &[Area]) -> f64 {
        let pairs =
            places.iter().enumerate().flat_map(|(at, area)| places[at + 1..].iter().map(move |b| area.common(b)));
        pairs.sum()
    }

    #[test]
    fn a_lone_name_stands_right_of_its_mark() {
        let places = place(&marks(&[(100.0, 100.0)]), &[], FRAME);
        assert!(places[0].left > 105.0 && places[0].left < 110.0, "{places:?}");
    }

    #[test]
    fn a_name_at_the_right_end_stands_left_of_its_mark() {
        let places = place(&marks(&[(495.0, 100.0)]), &[], FRAME);
        assert!(places[0].right < 495.0, "{places:?}");
    }

    #[test]
    fn names_of_marks_on_one_spot_do_not_cover_each_other() {
        let places = place(&marks(&[(250.0, 150.0); 6]), &[Area::around((250.0, 150.0), 5.0)], FRAME);
        assert!(overlaps(&places) < 1e-9, "{places:?}");
    }

    #[test]
    fn long_names_are_cut_at_a_letter() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"é".repeat(40)), format!("{}…", "é".repeat(28)));
        assert_eq!(shortened(&"長".repeat(40)), format!("{}…", "長".repeat(14)));
    }

    proptest! {
        #[test]
        fn names_stay_within_the_frame(points in prop::collection::vec((0.0..500.0_f64, 0.0..300.0_f64), 1..9)) {
            for area in place(&marks(&points), &[], FRAME) {
                prop_assert!(area.size() - area.common(&FRAME) < 1e-6, "{area:?}");
            }
        }

        #[test]
        fn a_few_names_cover_no_other(points in prop::collection::vec((0.0..500.0_f64, 0.0..300.0_f64), 1..5)) {
            prop_assert!(overlaps(&place(&marks(&points), &[], FRAME)) < 1e-6);
        }
    }
}
