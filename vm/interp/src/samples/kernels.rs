//! Samples from the kernels in `tests/filetests/lane`, whose head comments give the shapes of the arguments.
//! The references here follow those comments, not the kernels: plain loops in f64 or in integers.

use half::f16;
use tvmc_ir::lane::Scalar;

use super::{Expected, Random, Sample, float_bytes, int_bytes};

/// A matrix product in f32 by tiles of 14 × 32.
pub const GEMM_14X32: &str = include_str!("../../../../tests/filetests/lane/gemm_f32_14x32.lane");
/// A matrix product in f32 by tiles of 6 × 16.
pub const GEMM_6X16: &str = include_str!("../../../../tests/filetests/lane/gemm_f32_6x16.lane");
/// A matrix-vector product with 3-bit weights.
pub const LINEAR_U3_Q8: &str = include_str!("../../../../tests/filetests/lane/linear_u3_q8.lane");
/// Softmax of ragged rows.
pub const SOFTMAX_MASKED: &str = include_str!("../../../../tests/filetests/lane/softmax_masked.lane");
/// A transposition through block-shared scratch.
pub const TRANSPOSE_SHARED: &str = include_str!("../../../../tests/filetests/lane/transpose_shared.lane");

const EPSILON: f64 = f32::EPSILON as f64;

/// Which of the two matrix products.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum GemmTile {
    /// 14 rows, 32 columns.
    T14x32,
    /// 6 rows, 16 columns.
    T6x16,
}

/// C = A B with `grid_x` panels of columns and `grid_y` tiles of rows.
pub fn gemm(tile: GemmTile, grid_x: u32, grid_y: u32, k: u32, seed: u64) -> Sample {
    let (text, tile_rows, tile_cols) = match tile {
        GemmTile::T14x32 => (GEMM_14X32, 14, 32),
        GemmTile::T6x16 => (GEMM_6X16, 6, 16),
    };
    let (rows, cols, depth) = (tile_rows * grid_y as usize, tile_cols * grid_x as usize, k as usize);
    let mut random = Random::new(seed);
    let a: Vec<f32> = (0..rows * depth).map(|_| random.float()).collect();
    let b: Vec<f32> = (0..depth * cols).map(|_| random.float()).collect();
    let mut values = Vec::with_capacity(rows * cols);
    let mut bounds = Vec::with_capacity(rows * cols);
    for row in 0..rows {
        for col in 0..cols {
            let (panel, lane) = (col / tile_cols, col % tile_cols);
            let (mut sum, mut size) = (0.0, 0.0);
            for i in 0..depth {
                let product =
                    f64::from(a[row * depth + i]) * f64::from(b[(panel * depth + i) * tile_cols + lane]);
                sum += product;
                size += product.abs();
            }
            values.push(sum);
            bounds.push(2.0 * (depth as f64 + 8.0) * EPSILON * size);
        }
    }
    Sample {
        name: format!("gemm {tile:?} {rows}x{cols}x{depth}"),
        text: text.to_owned(),
        grid: [grid_x, grid_y, 1],
        scalars: vec![u64::from(k)],
        buffers: vec![float_bytes(&a), float_bytes(&b), vec![0xff; 4 * rows * cols]],
        output: 2,
        expected: Expected::Near { values, bounds },
    }
}

/// y = W x with `n` rows of `groups` groups of 32 weights.
pub fn linear_u3_q8(n: u32, groups: u32, seed: u64) -> Sample {
    const GROUP: usize = 32;
    const GROUP_BYTES: usize = 224;
    let (rows, groups_) = (n as usize, groups as usize);
    let grid = rows.div_ceil(64);
    let mut random = Random::new(seed);
    // Random bytes, then sane scales: the padding rows stay noise.
    let mut w: Vec<u8> =
        (0..grid * 4 * groups_ * GROUP_BYTES).map(|_| random.next().to_le_bytes()[0]).collect();
    let mut scales = Vec::new();
    for group in w.chunks_exact_mut(GROUP_BYTES) {
        for at in 0..16 {
            let scale = f16::from_f32(0.02 + 0.01 * random.float());
            group[2 * at..2 * at + 2].copy_from_slice(&scale.to_le_bytes());
            scales.push(f64::from(scale.to_f32()));
        }
    }
    let x: Vec<i8> = (0..GROUP * groups_).map(|_| random.next().to_le_bytes()[0].cast_signed()).collect();
    let xscale: Vec<f32> = (0..groups_).map(|_| 0.01 + 0.005 * random.float()).collect();
    let xsum: Vec<i32> =
        x.chunks_exact(GROUP).map(|group| group.iter().map(|&x| i32::from(x)).sum()).collect();
    let mut values = Vec::with_capacity(rows);
    let mut bounds = Vec::with_capacity(rows);
    for row in 0..rows {
        let (mut sum, mut size) = (0.0, 0.0);
        for group in 0..groups_ {
            let number = row / 16 * groups_ + group;
            let codes = &w[number * GROUP_BYTES + 32..(number + 1) * GROUP_BYTES];
            let mut dot = 0;
            for i in 0..GROUP {
                // Stream i / 4 of 24 bytes; in it, code 4 * lane + i % 4.
                let bit = 24 * 8 * (i / 4) + 3 * (4 * (row % 16) + i % 4);
                let pair =
                    u16::from(codes[bit / 8]) | u16::from(codes.get(bit / 8 + 1).copied().unwrap_or(0)) << 8;
                let code = i32::from(pair >> (bit % 8) & 7);
                dot += (code - 4) * i32::from(x[group * GROUP + i]);
            }
            let term = scales[number * 16 + row % 16] * f64::from(xscale[group]) * f64::from(dot);
            sum += term;
            size += term.abs();
        }
        values.push(sum);
        bounds.push(2.0 * (groups_ as f64 + 8.0) * EPSILON * size);
    }
    Sample {
        name: format!("linear_u3_q8 {n}x{}", 32 * groups),
        text: LINEAR_U3_Q8.to_owned(),
        grid: [grid as u32, 1, 1],
        scalars: vec![u64::from(groups), u64::from(n)],
        buffers: vec![
            w,
            x.iter().map(|x| x.cast_unsigned()).collect(),
            float_bytes(&xscale),
            int_bytes(&xsum),
            vec![0xff; 4 * rows],
        ],
        output: 4,
        expected: Expected::Near { values, bounds },
    }
}

/// Softmax of rows with these lengths; rows are `stride` (at least the longest) apart.
pub fn softmax_masked(lengths: &[u32], stride: u32, seed: u64) -> Sample {
    const UNTOUCHED: f32 = 7.0;
    let mut random = Random::new(seed);
    let row_length = stride as usize;
    // Rows of very different magnitude, some with elements that are masked out by -inf.
    let mut x = Vec::with_capacity(lengths.len() * row_length);
    for row in 0..lengths.len() {
        let scale = [1.0, 30.0, 0.01, 1000.0][row % 4];
        for at in 0..row_length {
            let hidden = row % 3 == 2 && at > 0 && random.below(4) == 0;
            x.push(if hidden { f32::NEG_INFINITY } else { scale * random.float() });
        }
    }
    let mut values = Vec::with_capacity(x.len());
    let mut bounds = Vec::with_capacity(x.len());
    for (row, &length) in x.chunks_exact(row_length.max(1)).zip(lengths) {
        let live: Vec<f64> = row[..length as usize].iter().map(|&x| f64::from(x)).collect();
        let largest = live.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = live.iter().map(|x| (x - largest).exp()).sum();
        for at in 0..row_length {
            let value = live.get(at).map(|x| (x - largest).exp() / sum);
            values.push(value.unwrap_or(f64::from(UNTOUCHED)));
            // Three units of exp twice, the division, and each lane's sum of length / 32 terms. The last
            // term is for values below exp(-87), which come out as zero.
            let relative = (16.0 + f64::from(length) / 16.0) * EPSILON;
            bounds.push(value.map_or(0.0, |value| relative * value + 2e-38));
        }
    }
    let signed: Vec<i32> = lengths.iter().map(|length| length.cast_signed()).collect();
    Sample {
        name: format!("softmax_masked {lengths:?}"),
        text: SOFTMAX_MASKED.to_owned(),
        grid: [lengths.len() as u32, 1, 1],
        scalars: vec![u64::from(stride)],
        buffers: vec![float_bytes(&x), int_bytes(&signed), float_bytes(&vec![UNTOUCHED; x.len()])],
        output: 2,
        expected: Expected::Near { values, bounds },
    }
}

/// The transposition of a matrix of `grid_x` × `grid_y` tiles of 16 × 16.
pub fn transpose(grid_x: u32, grid_y: u32, seed: u64) -> Sample {
    let (rows, cols) = (16 * grid_y as usize, 16 * grid_x as usize);
    let mut random = Random::new(seed);
    let x: Vec<i32> = (0..rows * cols).map(|_| random.next() as i32).collect();
    let words = (0..rows * cols).map(|at| x[at % rows * cols + at / rows].cast_unsigned()).collect();
    Sample {
        name: format!("transpose {rows}x{cols}"),
        text: TRANSPOSE_SHARED.to_owned(),
        grid: [grid_x, grid_y, 1],
        scalars: vec![rows as u64, cols as u64],
        buffers: vec![int_bytes(&x), vec![0xff; 4 * rows * cols]],
        output: 1,
        expected: Expected::Exact { scalar: Scalar::I32, words },
    }
}

/// Every kernel in small and awkward sizes.
pub fn kernels() -> Vec<Sample> {
    vec![
        gemm(GemmTile::T14x32, 1, 1, 37, 1),
        gemm(GemmTile::T14x32, 3, 2, 64, 2),
        gemm(GemmTile::T14x32, 1, 1, 0, 3),
        gemm(GemmTile::T6x16, 1, 1, 1, 4),
        gemm(GemmTile::T6x16, 2, 3, 50, 5),
        linear_u3_q8(64, 3, 6),
        linear_u3_q8(131, 8, 7),
        linear_u3_q8(5, 0, 8),
        softmax_masked(&[100], 100, 9),
        softmax_masked(&[0, 1, 31, 32, 33, 64, 95, 200, 257, 2, 5, 130], 260, 10),
        transpose(1, 1, 11),
        transpose(3, 2, 12),
    ]
}
