//! `view`, `relayout` and pinned layouts, from the text of the language, on every machine.
//!
//! `view(x, T @ spatial(lanes).local(slots))` of a tile of the same type lists what each lane holds, so a golden of a layout is what a
//! kernel stores. Expected values are written down or computed here by hand formulas; the layout algebra is not asked.

use tvmc_ir::tile::{Element, Kernel, TensorDecl};
use tvmc_sema::{Instance, Library};
use tvmc_tests::generate::{Argument, Case, Data};
use tvmc_tests::machines::Machines;
use tvmc_types::dtype::DType;

fn compiled(text: &str) -> Kernel {
    let root = tvmc_sema::Source { name: "k.tile".into(), text: text.into() };
    let loaded = Library::load(root, &[], &mut |_| None);
    assert!(loaded.diagnostics.is_empty(), "{text}: {}", loaded.diagnostics[0].message);
    match tvmc_sema::instantiate(&loaded.library, "k", &Instance::default()) {
        Ok(kernel) => {
            let printed = kernel.to_string();
            assert_eq!(tvmc_ir::tile::parse(&printed).as_ref(), Ok(&kernel), "{printed}");
            kernel
        }
        Err(list) => panic!("{text}: {}", list[0].message),
    }
}

/// Compiles a kernel `k(x, y: out)`, runs it on the interpreter, compares all machines with that, and gives the bytes of `y`.
fn run(machines: &Machines, text: &str, input: (&[u64], Vec<u8>), output: (&[u64], usize)) -> Vec<u8> {
    let kernel = compiled(text);
    let element = |at: usize| match &kernel.params[at] {
        TensorDecl::Tensor { element, .. } => *element,
        TensorDecl::Scalar { .. } => Element::DType(DType::F32),
    };
    let data = |at: usize, shape: &[u64], bytes: Vec<u8>, written| Data {
        shape: shape.to_vec(),
        element: element(at),
        bytes,
        written,
        packed: false,
    };
    let tensors = [data(0, input.0, input.1, false), data(1, output.0, vec![0xa5; output.1], true)];
    let arguments = tensors.map(Argument::Tensor).to_vec();
    let case = Case { kernel, arguments, portable: true };
    let stored = case.interpreted(1);
    if let Err(error) = machines.check(&case, true) {
        panic!("{text}: {error}");
    }
    stored
}

/// What each lane holds of a tile that is laid out so: lane by lane, slot by slot, row-major positions.
fn held(machines: &Machines, layout: &str, shape: &[u64], lanes: usize, slots: usize) -> Vec<Vec<u32>> {
    let extents: Vec<String> = shape.iter().map(u64::to_string).collect();
    let slices: Vec<String> = shape.iter().map(|e| format!("0 +: {e}")).collect();
    let (extents, slices, places) = (extents.join(", "), slices.join(", "), lanes * slots);
    let text = format!(
        "kernel k(x: u16[{extents}], y: out u16[{places}]) grid 1 {{
           let t: u16[{extents}] @ {layout} = x[{slices}];
           y[0 +: {places}] = view(t, u16 @ spatial({lanes}).local({slots}));
         }}"
    );
    let elements: u64 = shape.iter().product();
    let input = (0..elements as u16).flat_map(u16::to_le_bytes).collect();
    let bytes = run(machines, &text, (shape, input), (&[places as u64], 2 * places));
    let values: Vec<u32> =
        bytes.chunks_exact(2).map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))).collect();
    values.chunks(slots).map(<[u32]>::to_vec).collect()
}

#[test]
fn worked_layouts_hold_what_is_written_down() {
    let machines = Machines::open();
    let at = |columns: u32, index: &[(u32, u32)]| -> Vec<u32> {
        index.iter().map(|(row, column)| row * columns + column).collect()
    };
    let c = "local(2, 1).spatial(8, 4).local(1, 2)";
    let a = "column_local(2, 2).spatial(8, 4).local(1, 2)";
    let b = "local(2, 1).column_spatial(4, 8).local(2, 1)";
    let table = held(&machines, c, &[16, 8], 32, 4);
    assert_eq!(table[5], at(8, &[(1, 2), (1, 3), (9, 2), (9, 3)]));
    let table = held(&machines, a, &[16, 16], 32, 8);
    let expected = [(1, 2), (1, 3), (9, 2), (9, 3), (1, 10), (1, 11), (9, 10), (9, 11)];
    assert_eq!(table[5], at(16, &expected));
    let table = held(&machines, b, &[16, 8], 32, 4);
    assert_eq!(table[5], at(8, &[(2, 1), (3, 1), (10, 1), (11, 1)]));
    // The quotient of the first by its inner part, and a layout of one lane.
    assert_eq!(held(&machines, "local(2, 1)", &[2, 1], 1, 2), [[0, 1]]);
    assert_eq!(held(&machines, "local(2, 2)", &[2, 2], 1, 4), [[0, 1, 2, 3]]);
    assert_eq!(held(&machines, "column_local(2, 2)", &[2, 2], 1, 4), [[0, 2, 1, 3]]);
    // 128 lanes along the rows of 64 x 64.
    let table = held(&machines, "local(32, 1).spatial(2, 64)", &[64, 64], 128, 32);
    for (lane, own) in table.iter().enumerate() {
        let (row, column) = (lane as u32 / 64, lane as u32 % 64);
        assert_eq!(*own, (0..32).map(|i| (2 * i + row) * 64 + column).collect::<Vec<u32>>());
    }
    // Copies: element j of four in lanes j, j + 4, ..; sixteen elements in 128 lanes.
    let table = held(&machines, "replicated(4).spatial(4)", &[4], 16, 1);
    assert_eq!(table.concat(), (0..16).map(|lane| lane % 4).collect::<Vec<u32>>());
    let table = held(&machines, "replicated(8).spatial(16)", &[16], 128, 1);
    assert_eq!(table.concat(), (0..128).map(|lane| lane % 16).collect::<Vec<u32>>());
    // The A operand of four warps, 128 x 32, in two copies: the second and the fourth warp hold what those before them do.
    let text = "spatial(2, 1).replicated(2).local(4, 2).column_local(2, 2).spatial(8, 4).local(1, 2)";
    let table = held(&machines, text, &[128, 32], 128, 64);
    assert_eq!((&table[32..64], &table[96..]), (&table[..32], &table[64..96]));
    for (lane, own) in table.iter().enumerate() {
        for (slot, element) in own.iter().enumerate() {
            let (lane, slot) = (lane as u32, slot as u32);
            let row = lane / 64 * 64 + slot / 16 * 16 + slot / 2 % 2 * 8 + lane % 32 / 4;
            let column = slot / 4 % 4 * 8 + lane % 4 * 2 + slot % 2;
            assert_eq!(*element, row * 32 + column, "lane {lane} slot {slot}");
        }
    }
}

/// Bits `at..at + 6` of lanes' strings: what the operand of a matrix instruction holds of 6-bit numbers, as 96 bytes.
fn packed_i6(codes: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0u8; 96];
    for lane in 0..32 {
        let (row, column) = (lane % 4 * 2, lane / 4);
        let mut string = 0u32;
        for (slot, row) in [row, row + 1, row + 8, row + 9].into_iter().enumerate() {
            string |= u32::from(codes[row * 8 + column] & 63) << (6 * slot);
        }
        for byte in 0..3 {
            bytes[byte * 32 + lane] = (string >> (8 * byte)) as u8;
        }
    }
    bytes
}

#[test]
fn six_bit_weights_become_bytes_and_come_back() {
    let machines = Machines::open();
    let codes: Vec<u8> = (0..128u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as u8 & 63).collect();
    let mut stored = vec![0u8; 96];
    for (at, code) in codes.iter().enumerate() {
        for bit in 0..6 {
            stored[(at * 6 + bit) / 8] |= (code >> bit & 1) << ((at * 6 + bit) % 8);
        }
    }
    let layout = "local(2, 1).column_spatial(4, 8).local(2, 1)";
    // The weights as they are declared: bit-compact, row by row.
    let pack = format!(
        "kernel k(x: i6[16, 8], y: out u8[96]) grid 1 {{
           let w: i6[16, 8] @ {layout} = x[0 +: 16, 0 +: 8];
           y[0 +: 96] = view(w, u8 @ local(3).spatial(32));
         }}"
    );
    let bytes = run(&machines, &pack, (&[16, 8], stored), (&[96], 96));
    assert_eq!(bytes, packed_i6(&codes));
    // Lane 5 holds rows 2, 3, 10, 11 of column 1, in the bytes 5, 37 and 69.
    let own = [17, 25, 81, 89].iter().rev().fold(0u32, |bits, at| bits << 6 | u32::from(codes[*at]));
    assert_eq!([bytes[5], bytes[37], bytes[69]], own.to_le_bytes()[..3]);
    let unpack = format!(
        "kernel k(x: u8[96], y: out i8[16, 8]) grid 1 {{
           let p: u8[96] @ local(3).spatial(32) = x[0 +: 96];
           y[0 +: 16, 0 +: 8] = view(p, i6 @ {layout});
         }}"
    );
    let back = run(&machines, &unpack, (&[96], bytes), (&[16, 8], 128));
    let signed: Vec<u8> = codes.iter().map(|c| ((c << 2) as i8 >> 2) as u8).collect();
    assert_eq!(back, signed);
}

/// Elements of a lane's string of bits, read by a plain loop over single bits.
fn reread(codes: &[u64], from: u32, to: u32) -> Vec<u64> {
    let bit = |at: u32| codes[(at / from) as usize] >> (at % from) & 1;
    (0..codes.len() as u32 * from / to).map(|i| (0..to).map(|j| bit(i * to + j) << j).sum()).collect()
}

#[test]
fn every_pair_of_widths_keeps_its_bits() {
    const LANES: u32 = 4;
    let machines = Machines::open();
    let types = ["u1", "i2", "u3", "i4", "u5", "i6", "u7", "u8", "i8", "i16", "u16", "i32", "u32"];
    // The lanes of one run along, those of the other are outermost, in turn.
    let layout = |slots: u32, outer: bool| match outer {
        true => format!("local({slots}).spatial({LANES})"),
        false => format!("spatial({LANES}).local({slots})"),
    };
    let place = |lane: u32, slot: u32, slots: u32, outer: bool| match outer {
        true => slot * LANES + lane,
        false => lane * slots + slot,
    };
    for (row, from) in types.iter().enumerate() {
        let source: DType = from.parse().expect(from);
        let b = source.bits();
        let words: Vec<u32> = (0..32 * LANES)
            .map(|i| (i + 1).wrapping_mul(2_654_435_761).rotate_left(row as u32 + i))
            .collect();
        let cast = if source == DType::U32 { String::new() } else { format!(" as {from} wrap") };
        // One kernel reads the type as every other.
        let (mut body, mut expected) = (String::new(), Vec::new());
        for (column, to) in types.iter().enumerate() {
            let c = to.parse::<DType>().expect(to).bits();
            let gcd =
                (1..=b.min(c)).rev().find(|d| b.is_multiple_of(*d) && c.is_multiple_of(*d)).unwrap_or(1);
            let (slots, read) = (c / gcd, b / gcd);
            let (first, second) = ((row + column) % 2 == 0, (row + 2 * column) % 3 == 0);
            let (n, m, start) = (slots * LANES, read * LANES, expected.len());
            body += &format!(
                "let t{column}: {from}[{n}] @ {} = x[0 +: {n}]{cast};
                 y[{start} +: {m}] = view(t{column}, {to} @ {}) as i32{};\n",
                layout(slots, first),
                layout(read, second),
                if *to == "u32" { " wrap" } else { "" }
            );
            expected.resize(start + m as usize, 0);
            for lane in 0..LANES {
                let own: Vec<u64> = (0..slots)
                    .map(|slot| u64::from(words[place(lane, slot, slots, first) as usize]) & ((1 << b) - 1))
                    .collect();
                for (slot, code) in reread(&own, b, c).into_iter().enumerate() {
                    let at = start + place(lane, slot as u32, read, second) as usize;
                    let signed = ((code << (64 - c)) as i64 >> (64 - c)) as i32;
                    expected[at] = if to.starts_with('i') { signed } else { code as i32 };
                }
            }
        }
        let (n, m) = (words.len(), expected.len());
        let text = format!("kernel k(x: u32[{n}], y: out i32[{m}]) grid 1 {{\n{body}}}");
        let input = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let bytes = run(&machines, &text, (&[n as u64], input), (&[m as u64], 4 * m));
        let found: Vec<i32> =
            bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn floats_enter_and_leave_by_their_bits() {
    let machines = Machines::open();
    // Two f16 of a lane are its four bytes, or one f32.
    let halves: Vec<u8> = (0..64u16).flat_map(|i| (0x3c00 + i * 5).to_le_bytes()).collect();
    let text = "kernel k(x: f16[64], y: out u8[128]) grid 1 {
        let t: f16[64] @ spatial(32).local(2) = x[0 +: 64];
        y[0 +: 128] = view(t, u8 @ spatial(32).local(4));
    }";
    assert_eq!(run(&machines, text, (&[64], halves.clone()), (&[128], 128)), halves);
    let text = "kernel k(x: f16[64], y: out f32[32]) grid 1 {
        let t: f16[64] @ spatial(32).local(2) = x[0 +: 64];
        y[0 +: 32] = view(t, f32 @ spatial(32));
    }";
    assert_eq!(run(&machines, text, (&[64], halves.clone()), (&[32], 128)), halves);
}

#[test]
fn layouts_survive_control_flow_and_relayout() {
    let machines = Machines::open();
    // A variable keeps its layout; a relayout changes what a view sees; the number of lanes may be any that fits no vector.
    let text = "kernel k(x: u8[3, 32], y: out u8[3, 32]) lanes 4 grid 1 {
        var t: u8[32] @ spatial(4).local(8) = x[0, 0 +: 32];
        for r in 0..3 {
            let other = relayout(t, local(8).spatial(4));
            y[r, 0 +: 32] = view(other, u8 @ spatial(4).local(8));
            t = view(t, u8 @ local(8).spatial(4));
        }
    }";
    let root = tvmc_sema::Source { name: "k.tile".into(), text: text.into() };
    let loaded = Library::load(root, &[], &mut |_| None);
    let refused =
        tvmc_sema::instantiate(&loaded.library, "k", &Instance::default()).expect_err("two layouts");
    assert!(refused[0].message.contains("two layouts"), "{}", refused[0].message);

    let text = text.replace(
        "t = view(t, u8 @ local(8).spatial(4));",
        "t = relayout(view(t, u8 @ local(8).spatial(4)), spatial(4).local(8));",
    );
    let input: Vec<u8> = (0..96).collect();
    let found = run(&machines, &text, (&[3, 32], input.clone()), (&[3, 32], 96));
    // Of a tile in `spatial(4).local(8)`, read as `local(8).spatial(4)`: element `slot * 4 + lane` is what was at `lane * 8 + slot`.
    let across = |tile: &[u8]| -> Vec<u8> { (0..32).map(|i| tile[i % 4 * 8 + i / 4]).collect() };
    let back = |tile: &[u8]| -> Vec<u8> { (0..32).map(|i| tile[i % 8 * 4 + i / 8]).collect() };
    let mut tile = input[..32].to_vec();
    for row in found.chunks(32) {
        assert_eq!(row, back(&tile));
        tile = across(&tile);
    }
}
