//! A layout as a picture: the tile as a grid of cells.
//!
//! ```text
//!            0   1   2   3       a register layout: a cell has the colour of its lane, its slot large, its lane small above;
//!         0 [0] [1] [0] [1]      an element of several lanes has a stripe for each of up to four, `+n` for the rest
//!         1 [0] [1] [0] [1]      a shared layout: the colour of its bank, its offset large, its bank small above
//! ```
//!
//! Hues go round the circle in the order of lanes or banks, in a colour space where equal steps look equal, two lightnesses in turn, so that
//! neighbours differ and the pattern of all is a gradient; below the grid is the colour of each. A tile of more than two dimensions is drawn in blocks
//! of the last two. Everything is given in absolute numbers and plain attributes, so that any viewer draws the same.

use super::banks::{BANKS, bank};
use super::table::reads;
use std::collections::BTreeSet;
use std::fmt::Write;
use tvmc_types::dtype::DType;
use tvmc_types::layout::{Layout, SharedLayout};

/// Most cells of a picture.
pub const MAX_CELLS: u64 = 1 << 14;
/// Lanes named in the legend.
const LEGEND: usize = 64;
/// Most lanes of an element that get a stripe.
const STRIPES: usize = 4;

const CELL: (f64, f64) = (40.0, 34.0);
/// Least width of a stripe, so that its lane can be read.
const STRIPE: f64 = 22.0;
const MARGIN: f64 = 20.0;
const AXIS: f64 = 34.0;

/// The fill of a lane's or bank's cells.
fn color(lane: u32, lanes: u32) -> String {
    let hue = 2.0 * std::f64::consts::PI * f64::from(lane) / f64::from(lanes.max(2)) + 0.4;
    let (light, chroma) = if lane.is_multiple_of(2) { (0.88, 0.085) } else { (0.78, 0.105) };
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    // OKLab to linear sRGB.
    let cube = |x: f64| x * x * x;
    let l = cube(light + 0.396_337_777_4 * a + 0.215_803_757_3 * b);
    let m = cube(light - 0.105_561_345_8 * a - 0.063_854_172_8 * b);
    let s = cube(light - 0.089_484_177_5 * a - 1.291_485_548 * b);
    let byte = |linear: f64| {
        let c = linear.clamp(0.0, 1.0);
        let c = if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (c * 255.0).round() as u8
    };
    format!(
        "#{:02x}{:02x}{:02x}",
        byte(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        byte(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        byte(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701 * s)
    )
}

struct Picture {
    body: String,
}

impl Picture {
    fn text(&mut self, x: f64, y: f64, size: f64, class: &str, anchor: &str, text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text x="{x}" y="{y}" font-size="{size}" fill="{class}" text-anchor="{anchor}">{}</text>"#,
            text.replace('&', "&amp;").replace('<', "&lt;")
        );
    }

    fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str) {
        let _ = writeln!(self.body, r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="{fill}"/>"#);
    }

    fn frame(&mut self, (x, y): (f64, f64), (w, h): (f64, f64)) {
        let _ = writeln!(
            self.body,
            r##"<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="none" stroke="#ffffff" stroke-width="1.5"/>"##
        );
    }
}

const INK: &str = "#1d2733";
const FAINT: &str = "#6b7785";
/// Lanes and banks in cells: darker than [`FAINT`], since they stand on colours.
const LANE: &str = "#46535f";

/// What a picture shows.
struct Page<'a> {
    title: String,
    /// What there is to say, line by line.
    notes: Vec<String>,
    shape: &'a [u32],
    /// Width of a cell.
    width: f64,
    /// What the colours stand for: names and fills.
    legend: Vec<(String, String)>,
}

/// The picture of a register layout; `None` where it would have more than [`MAX_CELLS`] cells.
pub fn registers(layout: &Layout) -> Option<String> {
    let lanes = layout.spatial_size();
    let copies = match layout.replication() {
        1 => String::new(),
        n => format!(", each element in {n} lanes"),
    };
    let stripes = (layout.replication() as usize).min(STRIPES);
    let page = Page {
        title: layout.to_string(),
        notes: vec![format!(
            "tile {:?}: {lanes} lanes x {} slots{copies}; colour and small number: lane, large number: slot",
            layout.shape(),
            layout.local_size()
        )],
        shape: layout.shape(),
        width: CELL.0.max(stripes as f64 * STRIPE),
        legend: (0..lanes.min(LEGEND as u32 + 1))
            .map(|lane| (format!("lane {lane}"), color(lane, lanes)))
            .collect(),
    };
    page.draw(lanes as usize, |picture, index, at, size| register_cell(picture, layout, index, at, size))
}

/// The picture of a shared layout of such elements; `None` where it would have more than [`MAX_CELLS`] cells.
pub fn shared(layout: &SharedLayout, dtype: DType) -> Option<String> {
    if u64::from(layout.elements()) > MAX_CELLS {
        return None;
    }
    let banks: BTreeSet<u32> = layout.offsets().into_iter().map(|offset| bank(offset, dtype)).collect();
    let mut notes = vec![format!(
        "tile {:?} of {dtype} in {} elements of memory; colour and small number: bank of {BANKS}, large number: offset",
        layout.shape(),
        layout.size()
    )];
    let reads = reads(layout, dtype);
    if !reads.is_empty() {
        notes.push(format!("read: {reads}"));
    }
    let digits = layout.size().to_string().len();
    let page = Page {
        title: layout.to_string(),
        notes,
        shape: layout.shape(),
        width: CELL.0.max(digits as f64 * 9.0 + 8.0),
        legend: banks.iter().map(|&bank| (format!("bank {bank}"), color(bank, BANKS))).collect(),
    };
    page.draw(banks.len(), |picture, index, at, size| {
        let offset = layout.offset(index);
        let own = bank(offset, dtype);
        picture.rect(at, size, &color(own, BANKS));
        picture.text(at.0 + size.0 / 2.0, at.1 + 11.0, 9.0, LANE, "middle", &own.to_string());
        picture.frame(at, size);
        picture.text(at.0 + size.0 / 2.0, at.1 + 27.0, 14.0, INK, "middle", &offset.to_string());
    })
}

impl Page<'_> {
    /// The page with so many colours in all, its cells drawn by `cell` at a corner with a size; `None` where there are too many.
    fn draw(
        &self,
        colors: usize,
        cell: impl Fn(&mut Picture, &[u32], (f64, f64), (f64, f64)),
    ) -> Option<String> {
        let elements = self.shape.iter().try_fold(1u32, |product, extent| product.checked_mul(*extent))?;
        if u64::from(elements) > MAX_CELLS {
            return None;
        }
        let (outer, rows, columns) = match self.shape {
            [] => (&[][..], 1, 1),
            [columns] => (&[][..], 1, *columns),
            [outer @ .., rows, columns] => (outer, *rows, *columns),
        };
        let rank = self.shape.len();
        let blocks: u32 = outer.iter().product();
        let size = (self.width, CELL.1);
        let grid = (f64::from(columns) * size.0, f64::from(rows) * size.1);
        let swatch = (54.0, 20.0);
        // As wide as the grid, its title and eight swatches need.
        let longest = self.notes.iter().map(|note| note.chars().count()).max().unwrap_or(0);
        let text_width = (self.title.chars().count() as f64 * 9.9).max(longest as f64 * 6.8);
        let content = (AXIS + grid.0).max(text_width).max(swatch.0 * colors.min(8) as f64);
        let width = content + 2.0 * MARGIN;
        let line = 18.0;
        let head = MARGIN + 40.0 + line * self.notes.len() as f64;
        let block_title = if outer.is_empty() { 0.0 } else { 26.0 };
        let block_height = block_title + AXIS + grid.1 + 14.0;
        let mut picture = Picture { body: String::new() };
        picture.text(MARGIN, MARGIN + 18.0, 17.0, INK, "start", &self.title);
        for (number, note) in self.notes.iter().enumerate() {
            picture.text(MARGIN, MARGIN + 40.0 + line * number as f64, 12.0, FAINT, "start", note);
        }
        for block in 0..blocks {
            let mut index = vec![0; outer.len()];
            let mut rest = block;
            for (i, extent) in index.iter_mut().zip(outer).rev() {
                *i = rest % extent;
                rest /= extent;
            }
            let top = head + f64::from(block) * block_height;
            if !outer.is_empty() {
                let numbers: Vec<String> = index.iter().map(u32::to_string).collect();
                let name = format!("[{}, .., ..]", numbers.join(", "));
                picture.text(MARGIN, top + 16.0, 13.0, INK, "start", &name);
            }
            let corner = (MARGIN + AXIS, top + block_title + AXIS - 12.0);
            for column in 0..columns {
                let x = corner.0 + (f64::from(column) + 0.5) * size.0;
                picture.text(x, corner.1 - 7.0, 11.0, FAINT, "middle", &column.to_string());
            }
            for row in 0..rows {
                let y = corner.1 + f64::from(row) * CELL.1;
                if rank > 1 {
                    picture.text(corner.0 - 8.0, y + 21.0, 11.0, FAINT, "end", &row.to_string());
                }
                for column in 0..columns {
                    let inner = [row, column];
                    let index = [&index, &inner[2 - rank.min(2)..]].concat();
                    let at = (corner.0 + f64::from(column) * size.0, y);
                    cell(&mut picture, &index, at, size);
                }
            }
        }
        let legend = head + f64::from(blocks) * block_height + 18.0;
        let across = (content / swatch.0).floor().max(1.0);
        // A power of two in a row shows the digits of the lane number.
        let across = 2f64.powf(across.log2().floor()).min(16.0);
        for (number, (name, fill)) in self.legend.iter().take(LEGEND).enumerate() {
            let place = (number as f64 % across, (number as f64 / across).floor());
            let at = (MARGIN + place.0 * swatch.0, legend + place.1 * (swatch.1 + 4.0));
            picture.rect(at, (swatch.0 - 6.0, swatch.1), fill);
            picture.text(at.0 + (swatch.0 - 6.0) / 2.0, at.1 + 14.0, 11.0, INK, "middle", name);
        }
        let legend_rows = (colors.min(LEGEND) as f64 / across).ceil();
        let mut bottom = legend + legend_rows * (swatch.1 + 4.0);
        if colors > LEGEND {
            picture.text(MARGIN, bottom + 14.0, 11.0, FAINT, "start", &format!("and so on, {colors} in all"));
            bottom += 18.0;
        }
        let height = bottom + MARGIN;
        let font = "Inter, 'DejaVu Sans', Helvetica, Arial, sans-serif";
        Some(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"{font}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            picture.body
        ))
    }
}

fn register_cell(picture: &mut Picture, layout: &Layout, index: &[u32], at: (f64, f64), size: (f64, f64)) {
    let (holders, slot) = layout.places(index);
    let shown = holders.len().min(STRIPES);
    let stripe = size.0 / shown as f64;
    for (i, lane) in holders.iter().take(shown).enumerate() {
        let x = at.0 + i as f64 * stripe;
        picture.rect((x, at.1), (stripe + 0.2, size.1), &color(*lane, layout.spatial_size()));
        let name = match holders.len() - i {
            rest if i + 1 == STRIPES && rest > 1 => format!("+{rest}"),
            _ => lane.to_string(),
        };
        picture.text(x + stripe / 2.0, at.1 + 11.0, 9.0, LANE, "middle", &name);
    }
    picture.frame(at, size);
    picture.text(at.0 + size.0 / 2.0, at.1 + 27.0, 14.0, INK, "middle", &slot.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_every_element_and_lane() {
        let layout: Layout = "local(2, 1).spatial(8, 4).local(1, 2)".parse().expect("a layout");
        let svg = registers(&layout).expect("small");
        assert_eq!(svg.matches("font-size=\"14\"").count(), 128, "a slot in each cell");
        assert_eq!(svg.matches(">lane ").count(), 32);
        let colors: std::collections::HashSet<String> = (0..32).map(|lane| color(lane, 32)).collect();
        assert_eq!(colors.len(), 32, "lanes have different colours");
        let copies: Layout = "replicated(8).spatial(2).local(3)".parse().expect("a layout");
        assert!(registers(&copies).expect("small").contains(">+5<"));
        let large: Layout = "local(1024, 1024)".parse().expect("a layout");
        assert_eq!(registers(&large), None);
        let large: SharedLayout = "shared(1024, 1024)".parse().expect("a layout");
        assert_eq!(shared(&large, DType::F32), None);
        let swizzled: SharedLayout = "shared(8, 64).swizzle(3, 3, 3)".parse().expect("a layout");
        let svg = shared(&swizzled, DType::F16).expect("small");
        assert_eq!(svg.matches("font-size=\"14\"").count(), 512, "an offset in each cell");
        assert_eq!(svg.matches(">bank ").count(), 32);
    }
}
