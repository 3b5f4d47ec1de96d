//! Tests of `separators.rs`: the sparse solution against a dense one that is found by plain descent.

use super::*;
use proptest::prelude::*;

const COLUMNS: usize = 6;

fn objective(weights: &[f64], rows: &[Vec<f64>], signs: &[f64]) -> f64 {
    let length: f64 = weights.iter().map(|weight| weight * weight).sum();
    let loss = |(row, sign): (&Vec<f64>, &f64)| (1.0 - sign * dot(weights, row)).max(0.0).powi(2);
    length / 2.0 + f64::from(COST) * rows.iter().zip(signs).map(loss).sum::<f64>()
}

fn dot(weights: &[f64], row: &[f64]) -> f64 {
    weights.iter().zip(row).map(|(weight, value)| weight * value).sum()
}

/// Gradient descent with the step that the objective's curvature allows. Rows have the intercept's 1 at their end.
fn naive(rows: &[Vec<f64>], signs: &[f64]) -> Vec<f64> {
    let mut weights = vec![0.0; COLUMNS + 1];
    let curvature = 1.0 + 2.0 * f64::from(COST) * rows.iter().map(|row| dot(row, row)).sum::<f64>();
    for _ in 0..20_000 {
        let mut gradient = weights.clone();
        for (row, sign) in rows.iter().zip(signs) {
            let violation = (1.0 - sign * dot(&weights, row)).max(0.0);
            for (slope, value) in gradient.iter_mut().zip(row) {
                *slope -= 2.0 * f64::from(COST) * violation * sign * value;
            }
        }
        for (weight, slope) in weights.iter_mut().zip(&gradient) {
            *weight -= slope / curvature;
        }
    }
    weights
}

fn sparse(dense: &[Vec<f64>]) -> Rows {
    let mut rows = Rows::default();
    for row in dense {
        let columns = (0_u32..).zip(row).filter(|(_, value)| **value != 0.0);
        rows.push(columns.map(|(column, &value)| (column, value as f32)));
    }
    rows
}

fn cases() -> impl Strategy<Value = Vec<(Vec<f64>, Vec<usize>)>> {
    let value = prop_oneof![2 => Just(0.0), 3 => (-8..=8_i8).prop_map(|eighths| f64::from(eighths) / 8.0)];
    let row = (prop::collection::vec(value, COLUMNS), prop::collection::vec(0..11_usize, 0..3));
    prop::collection::vec(row, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_sparse_solution_is_as_good_as_the_dense_one(case in cases()) {
        let (dense, targets): (Vec<_>, Vec<_>) = case.into_iter().unzip();
        let rows = sparse(&dense);
        let problem = Problem { rows: &rows, columns: COLUMNS, targets: &targets, classes: 11, threads: 2 };
        let all: Vec<usize> = (0..dense.len()).collect();
        let solved = problem.solve(&all, None);
        // What began with a part of the rows ends where all of them lead.
        let part = problem.solve(&all[..all.len() / 2], None);
        let continued = problem.solve(&all, Some(&part));
        let with_one: Vec<Vec<f64>> = dense.iter().map(|row| [row.as_slice(), &[1.0]].concat()).collect();
        for class in 0..11 {
            let signs: Vec<f64> = targets.iter().map(|own| if own.contains(&class) { 1.0 } else { -1.0 }).collect();
            let best = objective(&naive(&with_one, &signs), &with_one, &signs);
            for solution in [&solved, &continued] {
                let group = &solution.groups[class / LANES];
                let lane = class % LANES;
                let columns = group.weights.iter().map(|lanes| f64::from(lanes[lane]));
                let weights: Vec<f64> = columns.chain([f64::from(group.intercept[lane])]).collect();
                let reached = objective(&weights, &with_one, &signs);
                prop_assert!(reached <= best * 1.001 + 1e-4, "class {class}: {reached} where {best} is possible");
            }
        }
        for (index, row) in with_one.iter().enumerate() {
            let margins = solved.margins(|| rows.row(index));
            prop_assert_eq!(margins.len(), 11);
            let group = &solved.groups[1];
            let weights = group.weights.iter().map(|lanes| lanes[2]).chain([group.intercept[2]]);
            let expected: f32 = weights.zip(row).map(|(weight, &value)| weight * value as f32).sum();
            prop_assert!((margins[10] - f64::from(expected)).abs() < 1e-4);
        }
    }
}
