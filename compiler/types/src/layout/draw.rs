//! Layouts as people look at them: the tile, with `lane:slot` in the place of each element, or its offset in shared memory.
//!
//! ```text
//! 0:0 0:1 1:0 1:1          local(2, 1).spatial(2, 2).local(1, 2)
//! 2:0 2:1 3:0 3:1
//! 0:2 0:3 1:2 1:3
//! 2:2 2:3 3:2 3:3
//!
//! 0 1 2 3                  shared(2, 4).swizzle(0, 1, 2)
//! 5 4 7 6
//! ```
//!
//! Of an element that several lanes hold, the first three are named: `0,4,8,..:0`. A tile of more than two dimensions is drawn
//! in blocks of the last two, each under its index. What exceeds the given number of rows or columns is cut off with `..`.

use super::{Layout, SharedLayout};

/// Most lanes that are named for one element.
const LANES_NAMED: usize = 3;

/// A tile of cells, drawn with at most so many rows (over all blocks) and columns; each line ends with a line break.
fn grid(shape: &[u32], (max_rows, max_columns): (u32, u32), cell: impl Fn(&[u32]) -> String) -> String {
    let (outer, rows, columns) = match shape {
        [] => (&[][..], 1, 1),
        [columns] => (&[][..], 1, *columns),
        [outer @ .., rows, columns] => (outer, *rows, *columns),
    };
    let shown = columns.min(max_columns);
    let mut lines: Vec<(Option<String>, Vec<String>)> = vec![];
    let blocks: u32 = outer.iter().product();
    let all_rows = u64::from(blocks) * u64::from(rows);
    for row in 0..all_rows.min(max_rows.into()) as u32 {
        let (block, row) = (row / rows, row % rows);
        let mut index = vec![0; outer.len()];
        let mut rest = block;
        for (i, extent) in index.iter_mut().zip(outer).rev() {
            *i = rest % extent;
            rest /= extent;
        }
        let title = (row == 0 && !outer.is_empty()).then(|| {
            let numbers: Vec<String> = index.iter().map(u32::to_string).collect();
            format!("[{}, .., ..]", numbers.join(", "))
        });
        let at = |column: u32| {
            let inner = [row, column];
            // A tile of rank 0 or 1 has no row, or no row and no column, in its index.
            cell(&[&index, &inner[2 - shape.len().min(2)..]].concat())
        };
        lines.push((title, (0..shown).map(at).collect()));
    }
    let width = lines.iter().flat_map(|line| &line.1).map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for (title, cells) in lines {
        text.extend(title.map(|title| title + "\n"));
        let mut cells: Vec<String> = cells.into_iter().map(|cell| format!("{cell:>width$}")).collect();
        if shown < columns {
            cells.push("..".to_owned());
        }
        text += &cells.join(" ");
        text.push('\n');
    }
    if u64::from(max_rows) < all_rows {
        text += "..\n";
    }
    text
}

impl Layout {
    /// The tile, drawn with at most so many rows (over all blocks) and columns; each line ends with a line break.
    pub fn draw(&self, max_rows: u32, max_columns: u32) -> String {
        grid(self.shape(), (max_rows, max_columns), |index| self.cell(index))
    }

    /// The places of one element.
    fn cell(&self, index: &[u32]) -> String {
        let (lanes, slot) = self.places(index);
        let mut names: Vec<String> = lanes.iter().take(LANES_NAMED).map(u32::to_string).collect();
        if lanes.len() > LANES_NAMED {
            names.push("..".to_owned());
        }
        format!("{}:{slot}", names.join(","))
    }
}

impl SharedLayout {
    /// The offsets, drawn as [`Layout::draw`] draws places.
    pub fn draw(&self, max_rows: u32, max_columns: u32) -> String {
        grid(self.shape(), (max_rows, max_columns), |index| self.offset(index).to_string())
    }
}
