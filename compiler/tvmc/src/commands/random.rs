//! Random contents for the arguments of a kernel that is timed.
//!
//! Floats are uniform in [-1, 1) (in [0, 1) where the type has no sign), integers from 0 to at most 99, so that a sum of many products
//! stays finite and an index stays small. The bytes of a format are 48 to 63: then no scale of 8, 16 or 32 bits among them is infinite or
//! NaN, nor so small that a product of two is subnormal, which processors may take long for. The numbers are SplitMix64's, the same in every run.

use super::Failure;
use tvmc_model::sampler::SplitMix64;
use tvmc_types::dtype::{DType, Kind};
use tvmc_types::packing::set_bits;

/// Elements, or bytes of a format, that are made at once. A multiple of 8, so that a part ends with a byte.
const PART: u64 = 1 << 16;

/// Takes a part and its offset.
type Write<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Failure> + 'a;

/// Makes `bytes` bytes of elements of a dtype or format and hands them to `write` in parts, each with its offset.
pub fn fill(element: &str, bytes: u64, seed: u64, write: &mut Write<'_>) -> Result<(), Failure> {
    let mut random = SplitMix64::new(seed);
    let bits = DType::from_name(element).map_or(8, DType::bits);
    let part_bytes = PART * u64::from(bits) / 8;
    let mut offset = 0;
    let mut buffer = Vec::new();
    while offset < bytes {
        let length = part_bytes.min(bytes - offset);
        buffer.clear();
        buffer.resize(length as usize, 0u8);
        match DType::from_name(element) {
            Some(dtype) => elements(dtype, &mut random, &mut buffer),
            None => buffer.iter_mut().for_each(|byte| *byte = (random.next_u64() & 0xf | 0x30) as u8),
        }
        write(offset, &buffer)?;
        offset += length;
    }
    Ok(())
}

fn elements(dtype: DType, random: &mut SplitMix64, bytes: &mut [u8]) {
    let bits = dtype.bits();
    let signed = !dtype.decode(dtype.encode_f64(-1.0)).is_nan() && dtype.decode(dtype.encode_f64(-1.0)) < 0.0;
    let largest = if bits < 8 { 1u64 << (bits - u32::from(dtype.kind() == Kind::Signed)) } else { 100 };
    for at in 0..bytes.len() * 8 / bits as usize {
        let code = match dtype.kind() {
            Kind::Float => {
                let unit = random.next_unit();
                dtype.encode_f64(if signed { 2.0 * unit - 1.0 } else { unit })
            }
            Kind::Signed | Kind::Unsigned => random.next_u64() % largest.max(1),
            Kind::Bool => random.next_u64() & 1,
        };
        set_bits(bytes, at, bits, code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(element: &str, bytes: u64) -> Vec<u8> {
        let mut out = vec![0xff; bytes as usize];
        fill(element, bytes, 1, &mut |offset, part| {
            out[offset as usize..offset as usize + part.len()].copy_from_slice(part);
            Ok(())
        })
        .expect("nothing fails");
        out
    }

    #[test]
    fn floats_are_finite_and_spread() {
        for name in ["f32", "f16", "bf16", "e4m3", "f64"] {
            let dtype = DType::from_name(name).expect("a dtype");
            let bytes = filled(name, 3 << 19);
            let count = bytes.len() * 8 / dtype.bits() as usize;
            let values: Vec<f64> = (0..count)
                .map(|i| dtype.decode(tvmc_types::packing::get_bits(&bytes, i, dtype.bits())))
                .collect();
            assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)), "{name}");
            let mean = values.iter().sum::<f64>() / count as f64;
            assert!(mean.abs() < 0.02 && values.iter().any(|v| *v < -0.5), "{name}: mean {mean}");
        }
    }

    #[test]
    fn integers_are_small_and_not_negative() {
        for name in ["i32", "u8", "i4", "u1", "i1"] {
            let dtype = DType::from_name(name).expect("a dtype");
            let bytes = filled(name, 4000);
            let count = bytes.len() * 8 / dtype.bits() as usize;
            let values =
                (0..count).map(|i| dtype.decode(tvmc_types::packing::get_bits(&bytes, i, dtype.bits())));
            assert!(values.into_iter().all(|v| (0.0..100.0).contains(&v)), "{name}");
        }
    }

    #[test]
    fn bytes_of_a_format_are_below_64() {
        assert!(filled("some_format", 100_001).iter().all(|b| *b < 64));
    }
}
