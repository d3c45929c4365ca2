//! Tables of measurements, as Markdown, JSON or comma-separated values.

use super::{Failure, emit_json, say};
use crate::cli::TableFormat;

/// One cell of a table.
pub enum Cell {
    /// Words.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A measured number; `None` where it was not measured.
    Figure(Option<f64>),
}

/// A table of results: names of columns, rows, and what was in force.
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<&'static str>,
    /// Cells, as many in each row as there are columns.
    pub rows: Vec<Vec<Cell>>,
    /// What was in force.
    pub flags: String,
}

impl Table {
    /// Prints it on stdout.
    pub fn show(&self, format: TableFormat) -> Result<(), Failure> {
        match format {
            TableFormat::Json => {
                let rows: Vec<serde_json::Value> = self
                    .rows
                    .iter()
                    .map(|row| {
                        let cells = self.columns.iter().zip(row);
                        cells
                            .map(|(name, cell)| ((*name).to_owned(), cell.json()))
                            .collect::<serde_json::Map<_, _>>()
                            .into()
                    })
                    .collect();
                emit_json(&serde_json::json!({ "rows": rows, "flags": self.flags }))
            }
            TableFormat::Csv => {
                let mut text = self.columns.join(",") + "\n";
                for row in &self.rows {
                    let cells: Vec<String> = row.iter().map(Cell::csv).collect();
                    text += &(cells.join(",") + "\n");
                }
                say(&text)
            }
            TableFormat::Md => {
                let mut text =
                    format!("| {} |\n|{}\n", self.columns.join(" | "), "---|".repeat(self.columns.len()));
                for row in &self.rows {
                    let cells: Vec<String> = row.iter().map(Cell::short).collect();
                    text += &format!("| {} |\n", cells.join(" | "));
                }
                say(&format!("{text}\n{}\n", self.flags))
            }
        }
    }
}

impl Cell {
    fn json(&self) -> serde_json::Value {
        match self {
            Cell::Text(text) => text.as_str().into(),
            Cell::Count(count) => (*count).into(),
            Cell::Figure(value) => (*value).into(),
        }
    }

    fn csv(&self) -> String {
        match self {
            Cell::Text(text) if text.contains([',', '"', '\n']) => {
                format!("\"{}\"", text.replace('"', "\"\""))
            }
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Figure(value) => value.map_or_else(String::new, |v| v.to_string()),
        }
    }

    fn short(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => count.to_string(),
            Cell::Figure(None) => "-".to_owned(),
            Cell::Figure(Some(value)) if value.abs() >= 100.0 => format!("{value:.0}"),
            Cell::Figure(Some(value)) if value.abs() >= 1.0 => format!("{value:.2}"),
            Cell::Figure(Some(value)) => format!("{value:.4}"),
        }
    }
}

/// Median, smallest and largest of some measurements.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Summary {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
}

impl Summary {
    /// Of measurements, if there are any.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_measurements() {
        assert_eq!(Summary::of(vec![]), None);
        let summary = |v: &[f64]| Summary::of(v.to_vec()).expect("values").median;
        assert_eq!(summary(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn cells_of_csv_are_quoted() {
        assert_eq!(Cell::Text("a,\"b\"".into()).csv(), "\"a,\"\"b\"\"\"");
        assert_eq!(Cell::Figure(None).csv(), "");
    }
}
