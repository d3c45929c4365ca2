//! Lowered code gives what the tile interpreter gives, executed by the lane interpreter, for every target, with lanes in order and
//! permuted, on ragged sizes.

mod common;

use tvmc_interp::{lane as lane_interp, tile as tile_interp};
use tvmc_ir::lane::verify;
use tvmc_ir::tile::Kernel;
use tvmc_ir::tile::launch::{ArgumentShape, bind};
use tvmc_passes::packing::{Packing, ROWS, pack, packed_bytes, unit_bytes};
use tvmc_passes::planes::{self, Planes};
use tvmc_passes::{Options, ScalarBinding, lower, target};

fn random_bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect()
}

fn random_floats(count: usize, seed: u32) -> Vec<u8> {
    random_bytes(count, seed).iter().flat_map(|b| (f32::from(*b) / 64.0 - 2.0).to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// x, w (as declared), rows and bytes per row of w.
fn check(kernel: &Kernel, m: u64, k: u64, n: u64, x: &[u8], w: &[u8], unit: usize) {
    let shapes = [vec![m, k], vec![n, k], vec![m, n]];
    let arguments: Vec<ArgumentShape> = shapes.iter().map(|s| ArgumentShape::Tensor(s.clone())).collect();
    let binding = bind(kernel, &arguments).expect("it binds");
    let (mut x1, mut w1, mut want) = (x.to_vec(), w.to_vec(), vec![0u8; (m * n * 4) as usize]);
    let args = vec![
        tile_interp::Argument::Tensor(&mut x1, shapes[0].clone()),
        tile_interp::Argument::Tensor(&mut w1, shapes[1].clone()),
        tile_interp::Argument::Tensor(&mut want, shapes[2].clone()),
    ];
    tile_interp::run(kernel, &binding, args, 1 << 40).expect("it runs");
    let want = floats(&want);
    for target in target::TARGETS {
        let words = kernel.formats.first().and_then(Planes::words_of_format);
        let in_words = words.map(|_| Packing::Words);
        let others = [Packing::AsDeclared, Packing::Interleaved, Packing::Filled, Packing::Planar];
        for packing in others.into_iter().chain(in_words) {
            let options = Options {
                packing: vec![Packing::AsDeclared, packing, Packing::AsDeclared],
                ..Options::default()
            };
            let lowered = lower(kernel, &target, &options).expect("it lowers");
            let text = lowered.function.to_string();
            let scalars: Vec<u64> = lowered
                .scalars
                .iter()
                .map(|s| match s {
                    ScalarBinding::Dim(d) => binding.dims[d.index()],
                    ScalarBinding::Param(_) | ScalarBinding::Elements { .. } => 0,
                })
                .collect();
            let function = verify(lowered.function).expect("it verifies");
            let row = w.len() / n as usize;
            let weights = match packing {
                Packing::AsDeclared => w.to_vec(),
                Packing::Interleaved => {
                    let mut packed = vec![0; packed_bytes(n as usize, row).unwrap()];
                    pack(w, n as usize, row, unit, &mut packed);
                    packed
                }
                Packing::Filled => {
                    let room = (n as usize).next_multiple_of(ROWS);
                    let mut whole = w.to_vec();
                    whole.resize(room * row, 0);
                    let mut packed = vec![0; whole.len()];
                    pack(&whole, room, row, unit, &mut packed);
                    packed
                }
                Packing::Planar => {
                    let planes = match kernel.formats.first() {
                        Some(format) => Planes::of_format(format),
                        None => Planes::of_dtype(32, k).expect("whole bytes"),
                    };
                    let mut packed = vec![0; planes::packed_bytes(n as usize, row, &planes).unwrap()];
                    planes::pack(w, n as usize, row, &planes, &mut packed);
                    packed
                }
                Packing::Words => {
                    let mut packed = vec![0; w.len()];
                    planes::pack(w, n as usize, row, &words.expect("words"), &mut packed);
                    packed
                }
            };
            for order in [lane_interp::LaneOrder::Ascending, lane_interp::LaneOrder::Permuted(7)] {
                let mut got = vec![0u8; want.len() * 4];
                let buffers = vec![
                    lane_interp::Argument::Read(x),
                    lane_interp::Argument::Read(&weights),
                    lane_interp::Argument::Write(&mut got),
                ];
                let mut launch = lane_interp::Launch::new(binding.grid, buffers, &scalars);
                launch.order = order;
                if let Err(trap) = lane_interp::run(&function, launch) {
                    panic!("{} {packing:?}: {trap}\n{text}", target.name);
                }
                for (at, (g, w)) in floats(&got).iter().zip(&want).enumerate() {
                    // Where each step rounds twice the sums differ by the stated bound, 2 (K + 8) eps times the sum of magnitudes.
                    let bound = match target.dot_step {
                        target::DotStep::Fused => 0.0,
                        target::DotStep::Separate => 2.0 * (k as f32 + 8.0) * f32::EPSILON * (w.abs() + 64.0),
                    };
                    let close = g == w || (g - w).abs() <= bound || (g.is_nan() && w.is_nan());
                    assert!(close, "{} {packing:?} element {at}: {g} instead of {w}", target.name);
                }
            }
        }
    }
}

#[test]
fn f32_products_agree_bit_for_bit() {
    for (m, n, k, bm, bn, bk) in
        [(1, 64, 64, 1, 64, 32), (5, 51, 97, 8, 32, 32), (37, 24, 33, 16, 24, 8), (2, 16, 16, 2, 16, 16)]
    {
        let kernel = common::linear(None, bm, bn, bk, n, k);
        let x = random_floats((m * k) as usize, 3);
        let w = random_floats((n * k) as usize, 5);
        check(&kernel, m as u64, k as u64, n as u64, &x, &w, unit_bytes(4));
    }
}

#[test]
fn quantised_products_agree_bit_for_bit() {
    quantised_products(20);
}

/// Groups that are no whole number of words: two bytes that no field has.
#[test]
fn quantised_products_agree_where_words_leave_something() {
    quantised_products(22);
}

fn quantised_products(group: usize) {
    for (m, n, k, bm, bn, bk) in
        [(1, 64, 64, 1, 64, 32), (5, 51, 97, 8, 32, 32), (37, 24, 64, 16, 24, 8), (3, 131, 70, 2, 16, 16)]
    {
        let format = tvmc_ir::tile::Format { bytes: group as u32, ..common::q4_like() };
        let bytes = format.row_bytes(k as u64).unwrap() as usize * n as usize;
        let kernel = common::linear(Some(format), bm, bn, bk, n, k);
        let x = random_floats((m * k) as usize, 3);
        let mut w = random_bytes(bytes, 9);
        // Scales of moderate size: clear the top exponent bit of both halves.
        for group in w.chunks_exact_mut(group) {
            group[1] &= 0xbf;
            group[3] &= 0xbf;
        }
        check(&kernel, m as u64, k as u64, n as u64, &x, &w, unit_bytes(group));
    }
}
