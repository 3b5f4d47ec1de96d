//! The lowest point of a smooth convex function: L-BFGS (Nocedal and Wright, "Numerical Optimization", 2nd edition, algorithms
//! 7.4 and 7.5) with steps that are halved until they lower the function enough (algorithm 3.1).

use std::collections::VecDeque;

/// Steps that the curvature is guessed from.
const MEMORY: usize = 8;
/// Steps at most.
const MOST_STEPS: usize = 200;
/// The part of the expected fall that a step has to bring.
const ENOUGH: f64 = 1e-4;
/// Halvings of a step, after which rounding is all that is left.
const MOST_HALVINGS: usize = 30;
/// The length of the gradient, beside that of the point or 1, at which the point is taken for the lowest.
const TOLERANCE: f64 = 1e-5;

/// A step with what it changed of the gradient.
struct Step {
    change: Vec<f64>,
    gradient_change: Vec<f64>,
    product: f64,
}

/// Walks down from `start`. `function` gives the value and the gradient of a point.
pub fn lowest(start: Vec<f64>, function: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut point = start;
    let (mut value, mut gradient) = function(&point);
    let mut memory: VecDeque<Step> = VecDeque::new();
    for _ in 0..MOST_STEPS {
        if dot(&gradient, &gradient).sqrt() <= TOLERANCE * dot(&point, &point).sqrt().max(1.0) {
            break;
        }
        let direction = direction(&gradient, &memory);
        let slope = dot(&gradient, &direction);
        let mut length = 1.0;
        let found = (0..MOST_HALVINGS).find_map(|_| {
            let next: Vec<f64> = point.iter().zip(&direction).map(|(at, along)| at + length * along).collect();
            let (next_value, next_gradient) = function(&next);
            let is_enough = next_value <= value + ENOUGH * length * slope;
            length /= 2.0;
            is_enough.then_some((next, next_value, next_gradient))
        });
        let Some((next, next_value, next_gradient)) = found else { break };
        let change = difference(&next, &point);
        let gradient_change = difference(&next_gradient, &gradient);
        let product = dot(&change, &gradient_change);
        // Without curvature along the step it says nothing.
        if product > f64::EPSILON * dot(&gradient_change, &gradient_change) {
            memory.push_back(Step { change, gradient_change, product });
        }
        if memory.len() > MEMORY {
            memory.pop_front();
        }
        (point, value, gradient) = (next, next_value, next_gradient);
    }
    point
}

/// Downhill, as the remembered steps bend it.
fn direction(gradient: &[f64], memory: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for step in memory.iter().rev() {
        let share = dot(&step.change, &direction) / step.product;
        add(&mut direction, -share, &step.gradient_change);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.gradient_change, &last.gradient_change);
        direction.iter_mut().for_each(|along| *along *= scale);
    }
    for (step, share) in memory.iter().zip(shares.into_iter().rev()) {
        let again = dot(&step.gradient_change, &direction) / step.product;
        add(&mut direction, share - again, &step.change);
    }
    direction
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn difference(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| one - other).collect()
}

fn add(to: &mut [f64], factor: f64, what: &[f64]) {
    for (to, what) in to.iter_mut().zip(what) {
        *to += factor * what;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_narrow_valley_is_walked_to_its_end() {
        let widths = [1.0, 10.0, 1_000.0, 0.1];
        let bottom = [3.0, -2.0, 0.5, 7.0];
        let function = |point: &[f64]| {
            let offsets = difference(point, &bottom);
            let value: f64 = offsets.iter().zip(widths).map(|(offset, width)| width * offset * offset / 2.0).sum();
            (value, offsets.iter().zip(widths).map(|(offset, width)| width * offset).collect())
        };
        let found = lowest(vec![0.0; 4], function);
        assert!(difference(&found, &bottom).iter().all(|offset| offset.abs() < 1e-2), "{found:?}");
        assert!(function(&found).0 < 1e-6, "{found:?}");
    }

    #[test]
    fn where_nothing_falls_it_stays() {
        assert_eq!(lowest(vec![1.0, 2.0], |_| (0.0, vec![0.0, 0.0])), [1.0, 2.0]);
        assert_eq!(lowest(vec![1.0], |_| (0.0, vec![1.0])), [1.0]);
        assert!(lowest(Vec::new(), |_| (0.0, Vec::new())).is_empty());
    }
}
