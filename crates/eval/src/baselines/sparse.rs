//! Rows of numbers most of which are zero.

/// Sparse rows: of each the columns that are not zero, ascending, and their values.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The columns and values of a row.
    pub fn row(&self, index: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let end = self.starts.get(index + 1).copied().unwrap_or(self.columns.len());
        let range = self.starts[index]..end;
        self.columns[range.clone()].iter().map(|&column| column as usize).zip(self.values[range].iter().copied())
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl IntoIterator<Item = (u32, f32)>) {
        self.starts.push(self.columns.len());
        for (column, value) in row {
            self.columns.push(column);
            self.values.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_they_were_pushed() {
        let mut rows = Rows::default();
        let pushed = [vec![(3, 0.5), (9, 2.0)], vec![], vec![(0, -1.0)]];
        pushed.iter().for_each(|row| rows.push(row.iter().copied()));
        assert_eq!(rows.count(), 3);
        for (index, row) in pushed.iter().enumerate() {
            let wide: Vec<_> = row.iter().map(|&(column, value)| (column as usize, value)).collect();
            assert_eq!(rows.row(index).collect::<Vec<_>>(), wide);
        }
    }
}
