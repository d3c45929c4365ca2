//! GGUF: what is written is read, and every class of malformed file is refused at the right field, at once, and
//! without memory beyond a small multiple of the file. The allocator of this test counts per thread.

#[path = "support/raw.rs"]
mod raw;

use raw::Raw;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tvmc_weights::gguf::limits::*;
use tvmc_weights::gguf::{Array, GgufError, GgufErrorKind, GgufWriter, Header, Value, WriteError, parse};
use tvmc_weights::sizes::SizeError;
use tvmc_weights::{Access, FileBytes, FileKind, Weights};

struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator unchanged; the counter is thread-local plain data.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // The counter may be gone while a thread ends; what is allocated then is of no interest.
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get().saturating_add(layout.size())));
        // SAFETY: the caller's promises about `layout` are those the system allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with the same layout, by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Parses, and checks that time and memory stay within bounds set by the file alone.
fn parse_bounded(file: &[u8]) -> Result<Header, GgufError> {
    ALLOCATED.set(0);
    let start = Instant::now();
    let result = parse(file);
    let (allocated, took) = (ALLOCATED.get(), start.elapsed());
    assert!(allocated <= 64 * 1024 + 16 * file.len(), "{allocated} bytes allocated for {}", file.len());
    assert!(took < Duration::from_secs(2), "{took:?}");
    result
}

fn refused(file: &[u8]) -> GgufError {
    parse_bounded(file).expect_err("this file must be refused")
}

/// One tensor record and `data` bytes.
fn one_tensor(fastest_first: &[u64], type_id: u32, offset: u64, data: usize) -> Vec<u8> {
    Raw::start(3, 1, 0).tensor("w", fastest_first, type_id, offset).data(data)
}

/// Two f32 tensors of 8 elements, the second at `offset`.
fn two_tensors(offset: u64, data: usize) -> Vec<u8> {
    Raw::start(3, 2, 0).tensor("a", &[8], 0, 0).tensor("b", &[8], 0, offset).data(data)
}

/// One metadata entry `k` whose type and value are `rest`, with padding after it.
fn one_entry(rest: Raw, padding: usize) -> Vec<u8> {
    Raw::start(3, 0, 1).string(b"k").bytes(&rest.0).bytes(&vec![0; padding]).0
}

fn every_value() -> Vec<(&'static str, Value)> {
    let strings = Array::String(["", "a", "Ġt", "日本"].iter().collect());
    let nested = Array::Array(vec![
        Array::Array(vec![Array::U8(vec![1]), strings.clone()]),
        Array::F32(vec![0.5, -1.0]),
        Array::Array(vec![]),
    ]);
    vec![
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-100)),
        ("u16", Value::U16(60_000)),
        ("i16", Value::I16(-30_000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-2_000_000_000)),
        ("f32", Value::F32(1.5)),
        ("bool", Value::Bool(true)),
        ("string", Value::String("ünïcode \u{1f600}".into())),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(-0.1)),
        ("strings", Value::Array(strings)),
        ("nested", Value::Array(nested)),
        ("u8s", Value::Array(Array::U8(vec![1, 2, 3]))),
        ("i8s", Value::Array(Array::I8(vec![-1]))),
        ("u16s", Value::Array(Array::U16(vec![1, 65_535]))),
        ("i16s", Value::Array(Array::I16(vec![-1, 2]))),
        ("u32s", Value::Array(Array::U32(vec![7; 5]))),
        ("i32s", Value::Array(Array::I32(vec![-7; 5]))),
        ("f32s", Value::Array(Array::F32(vec![]))),
        ("bools", Value::Array(Array::Bool(vec![true, false]))),
        ("u64s", Value::Array(Array::U64(vec![1 << 60]))),
        ("i64s", Value::Array(Array::I64(vec![-1]))),
        ("f64s", Value::Array(Array::F64(vec![2.5]))),
    ]
}

fn sample() -> Vec<u8> {
    let mut writer = GgufWriter::new();
    for (key, value) in every_value() {
        writer.metadata(key, value).unwrap();
    }
    let ramp = |bytes: usize| (0..bytes).map(|i| i as u8).collect::<Vec<u8>>();
    writer.tensor("odd", &[3], "f32", ramp(12)).unwrap();
    writer.tensor("blocks", &[2, 3, 64], "q4_1", ramp(2 * 3 * 2 * 20)).unwrap();
    writer.tensor("last", &[1, 1, 1, 5], "i8", ramp(5)).unwrap();
    writer.to_bytes().unwrap()
}

#[test]
fn what_is_written_is_read() {
    let file = sample();
    let header = parse_bounded(&file).unwrap();
    assert_eq!((header.version, header.alignment), (3, 32));
    let read: Vec<_> = header.metadata.iter().map(|(key, value)| (key, value.clone())).collect();
    assert_eq!(read, every_value());
    let tensors: Vec<_> = header
        .tensors
        .iter()
        .map(|t| (t.name.as_str(), &t.shape[..], &*t.format, t.bytes, t.elements()))
        .collect();
    assert_eq!(
        tensors,
        [
            ("odd", &[3][..], "f32", 12, 3),
            ("blocks", &[2, 3, 64], "q4_1", 240, 384),
            ("last", &[1, 1, 1, 5], "i8", 5, 5)
        ]
    );
    let weights = Weights::from_bytes("sample".as_ref(), FileBytes::from_slice(&file).unwrap()).unwrap();
    assert_eq!(weights.kind(), FileKind::Gguf);
    for (index, tensor) in weights.tensors().iter().enumerate() {
        let expected: Vec<u8> = (0..tensor.bytes as usize).map(|i| i as u8).collect();
        assert_eq!(weights.tensor_bytes(index), &expected[..]);
        assert_eq!(weights.find(&tensor.name), Some(tensor));
        assert_eq!(tensor.offset % 32, 0);
    }
    assert_eq!(weights.find("none"), None);
}

#[test]
fn version_2_is_read_and_others_are_not() {
    let mut file = sample();
    let words = |file: &[u8]| refused(file).to_string();
    file[4] = 2;
    assert_eq!(parse_bounded(&file).unwrap().version, 2);
    file[4] = 1;
    assert_eq!(refused(&file).kind, GgufErrorKind::UnsupportedVersion(1));
    file[4] = 4;
    assert_eq!(words(&file), "byte 4, version: GGUF version 4; versions 2 and 3 are read");
    file[4..8].copy_from_slice(&3u32.to_be_bytes());
    assert_eq!(refused(&file).kind, GgufErrorKind::BigEndian);
    assert!(matches!(refused(b"hello world").kind, GgufErrorKind::NotGguf(_)));
    assert!(matches!(refused(b"").kind, GgufErrorKind::NotGguf(_)));
    assert!(matches!(refused(b"GGUF").kind, GgufErrorKind::Truncated { needed: 4, left: 0 }));
}

#[test]
fn alignments_other_than_the_default() {
    for alignment in [1u32, 8, 256, MAX_ALIGNMENT as u32] {
        let mut writer = GgufWriter::new();
        writer.metadata("general.alignment", Value::U32(alignment)).unwrap();
        writer.tensor("a", &[3], "i8", vec![1, 2, 3]).unwrap();
        writer.tensor("b", &[2], "i8", vec![4, 5]).unwrap();
        let file = writer.to_bytes().unwrap();
        let header = parse_bounded(&file).unwrap();
        assert_eq!(header.alignment, u64::from(alignment));
        let start = header.tensors[1].offset as usize;
        assert_eq!(&file[start..start + 2], &[4, 5]);
        // Without the padding after the last tensor the file is still sound.
        assert_eq!(parse_bounded(&file[..start + 2]).unwrap(), header);
        assert!(parse_bounded(&file[..start + 1]).is_err());
    }
    for bad in [0u32, 3, 2 * MAX_ALIGNMENT as u32, u32::MAX] {
        let file = Raw::start(3, 0, 1).string(b"general.alignment").u32(4).u32(bad).0;
        assert_eq!(refused(&file).kind, GgufErrorKind::BadAlignment(bad.into()));
    }
    let file = Raw::start(3, 0, 1).string(b"general.alignment").u32(10).u64(32).0;
    assert_eq!(refused(&file).kind, GgufErrorKind::AlignmentType("u64"));
}

#[test]
fn every_truncation_is_refused() {
    let file = sample();
    let header = parse_bounded(&file).unwrap();
    let last = header.tensors.last().unwrap();
    let end = (last.offset + last.bytes) as usize;
    for cut in 0..end {
        let error = refused(&file[..cut]);
        assert!(error.offset <= cut.max(32).next_multiple_of(32) as u64, "cut at {cut}: {error}");
    }
    for cut in end..=file.len() {
        assert_eq!(parse_bounded(&file[..cut]).as_ref(), Ok(&header), "only padding is missing");
    }
}

#[test]
fn counts_are_compared_with_the_file_before_anything_is_allocated() {
    for huge in [u64::MAX, 1 << 63, 1 << 40, 1000] {
        assert!(matches!(refused(&Raw::start(3, huge, 0).0).kind, GgufErrorKind::CountBeyondFile { .. }));
        assert!(matches!(refused(&Raw::start(3, 0, huge).0).kind, GgufErrorKind::CountBeyondFile { .. }));
        let key = Raw::start(3, 0, 1).u64(huge).bytes(&[0; 10]).0;
        let error = refused(&key);
        assert!(matches!(error.kind, GgufErrorKind::Truncated { .. }));
        assert_eq!(error.field, "metadata 0 key");
        let string = one_entry(Raw::default().u32(8).u64(huge), 10);
        assert!(matches!(refused(&string).kind, GgufErrorKind::Truncated { .. }));
        for element in 0..13 {
            let array = one_entry(Raw::default().u32(9).u32(element).u64(huge), 10);
            assert!(
                matches!(refused(&array).kind, GgufErrorKind::CountBeyondFile { .. }),
                "element {element}"
            );
        }
        let name = Raw::start(3, 1, 0).u64(huge).bytes(&[0; 40]).0;
        assert!(matches!(refused(&name).kind, GgufErrorKind::Truncated { .. }));
    }
}

#[test]
fn caps_hold_at_the_limit_and_one_beyond() {
    let over = |kind: &GgufErrorKind| matches!(kind, GgufErrorKind::OverLimit { .. });
    let text = |length: u64| vec![b'x'; length as usize];
    // String values.
    let string = |length| one_entry(Raw::default().u32(8).string(text(length)), 0);
    assert!(parse_bounded(&string(MAX_STRING_BYTES)).is_ok());
    assert!(over(&refused(&string(MAX_STRING_BYTES + 1)).kind));
    let strings = |length| one_entry(Raw::default().u32(9).u32(8).u64(1).string(text(length)), 0);
    assert!(parse_bounded(&strings(MAX_STRING_BYTES)).is_ok());
    assert!(over(&refused(&strings(MAX_STRING_BYTES + 1)).kind));
    // Keys and names.
    let key = |length| Raw::start(3, 0, 1).string(text(length)).u32(0).bytes(&[1]).0;
    assert!(parse_bounded(&key(MAX_KEY_BYTES)).is_ok());
    assert!(over(&refused(&key(MAX_KEY_BYTES + 1)).kind));
    let name = |length| Raw::start(3, 1, 0).tensor(&"x".repeat(length as usize), &[4], 24, 0).data(4);
    assert!(parse_bounded(&name(MAX_TENSOR_NAME_BYTES)).is_ok());
    assert!(over(&refused(&name(MAX_TENSOR_NAME_BYTES + 1)).kind));
    // Counts.
    let entries = |count: u64| {
        (0..count)
            .fold(Raw::start(3, 0, count), |raw, i| raw.string(format!("{i}").as_bytes()).u32(0).bytes(&[1]))
            .0
    };
    assert!(parse(&entries(MAX_METADATA_ENTRIES)).is_ok());
    assert!(over(&refused(&entries(MAX_METADATA_ENTRIES + 1)).kind));
    let tensors = Raw::start(3, MAX_TENSORS + 1, 0).bytes(&vec![0; 33 * (MAX_TENSORS as usize + 1)]).0;
    assert!(over(&refused(&tensors).kind));
    let tensors = Raw::start(3, MAX_TENSORS, 0).bytes(&vec![0; 33 * MAX_TENSORS as usize]).0;
    assert!(!over(&refused_unbounded(&tensors).kind));
    let inner = |count| {
        let raw = Raw::default().u32(9).u32(9).u64(count);
        one_entry((0..count).fold(raw, |raw, _| raw.u32(0).u64(0)), 0)
    };
    assert!(parse(&inner(MAX_INNER_ARRAYS)).is_ok());
    assert!(over(&refused(&inner(MAX_INNER_ARRAYS + 1)).kind));
    // Depth: `depth` arrays around an array of bytes of count 0.
    let nested = |depth: u32| {
        let raw = (1..depth).fold(Raw::default().u32(9), |raw, _| raw.u32(9).u64(1));
        one_entry(raw.u32(0).u64(0), 32)
    };
    assert!(parse(&nested(MAX_ARRAY_DEPTH)[..]).is_ok());
    assert_eq!(refused(&nested(MAX_ARRAY_DEPTH + 1)).kind, GgufErrorKind::ArrayTooDeep(MAX_ARRAY_DEPTH));
    assert_eq!(refused(&nested(100_000)).kind, GgufErrorKind::ArrayTooDeep(MAX_ARRAY_DEPTH));
    // Rank.
    assert!(parse_bounded(&one_tensor(&[1, 1, 1, 4], 24, 0, 4)).is_ok());
    assert_eq!(refused(&one_tensor(&[1, 1, 1, 1, 4], 24, 0, 4)).kind, GgufErrorKind::BadRank(5));
    assert_eq!(refused(&one_tensor(&[], 24, 0, 4)).kind, GgufErrorKind::BadRank(0));
}

/// For the one file whose record table alone, as allowed, is larger than the bound of `parse_bounded`.
fn refused_unbounded(file: &[u8]) -> GgufError {
    parse(file).expect_err("this file must be refused")
}

#[test]
fn a_sparse_file_cannot_make_the_header_grow_without_bound() {
    // 300 MiB of zeros that no disk holds: an array that claims them all is refused by the header cap.
    let file = tempfile::NamedTempFile::new().unwrap();
    let start = Raw::start(3, 0, 1).string(b"k").u32(9).u32(0).u64(290 << 20).0;
    std::fs::write(file.path(), &start).unwrap();
    std::fs::OpenOptions::new().write(true).open(file.path()).unwrap().set_len(300 << 20).unwrap();
    let bytes = FileBytes::open(file.path(), Access::Map).unwrap();
    ALLOCATED.set(0);
    let error = parse(&bytes).unwrap_err();
    assert!(matches!(error.kind, GgufErrorKind::OverLimit { .. } | GgufErrorKind::HeaderTooLarge(_)));
    assert!(ALLOCATED.get() < 64 * 1024);
}

#[test]
fn types_and_values_that_do_not_exist() {
    for unknown in [13, 14, 255, u32::MAX] {
        assert_eq!(
            refused(&one_entry(Raw::default().u32(unknown), 16)).kind,
            GgufErrorKind::UnknownValueType(unknown)
        );
        let array = one_entry(Raw::default().u32(9).u32(unknown).u64(1), 16);
        assert_eq!(refused(&array).kind, GgufErrorKind::UnknownValueType(unknown));
    }
    for unknown in [43, 44, 100, u32::MAX] {
        assert_eq!(
            refused(&one_tensor(&[32], unknown, 0, 64)).kind,
            GgufErrorKind::UnknownTensorType(unknown)
        );
    }
    for retired in [4, 5, 31, 32, 33, 36, 37, 38] {
        assert_eq!(
            refused(&one_tensor(&[32], retired, 0, 64)).kind,
            GgufErrorKind::RetiredTensorType(retired)
        );
    }
    assert_eq!(refused(&one_entry(Raw::default().u32(7).bytes(&[2]), 0)).kind, GgufErrorKind::BadBool(2));
    let bools = one_entry(Raw::default().u32(9).u32(7).u64(2).bytes(&[1, 255]), 0);
    assert_eq!(refused(&bools).kind, GgufErrorKind::BadBool(255));
    assert_eq!(
        refused(&one_entry(Raw::default().u32(8).string(b"\xff\xfe"), 0)).kind,
        GgufErrorKind::NotUtf8
    );
    assert_eq!(
        refused(&Raw::start(3, 0, 1).string(b"\xc0").u32(0).bytes(&[0; 8]).0).kind,
        GgufErrorKind::NotUtf8
    );
    assert_eq!(
        refused(&Raw::start(3, 0, 1).string(b"").u32(0).bytes(&[0; 8]).0).kind,
        GgufErrorKind::EmptyName
    );
    let nameless = Raw::start(3, 1, 0).tensor("", &[4], 24, 0).data(4);
    assert_eq!(refused(&nameless).kind, GgufErrorKind::EmptyName);
}

#[test]
fn duplicates_are_refused_by_name() {
    let keys = Raw::start(3, 0, 2).string(b"k").u32(0).bytes(&[1]).string(b"k").u32(0).bytes(&[1]).0;
    let error = refused(&keys);
    assert_eq!((error.kind, error.field.as_str()), (GgufErrorKind::Duplicate, "metadata \"k\""));
    let tensors = Raw::start(3, 2, 0).tensor("w", &[4], 24, 0).tensor("w", &[4], 24, 32).data(64);
    let error = refused(&tensors);
    assert_eq!((error.kind, error.field.as_str()), (GgufErrorKind::Duplicate, "tensor \"w\""));
    // Names are escaped, so a file cannot write control sequences to the terminal.
    let hostile = Raw::start(3, 1, 0).tensor("\x1b[2J", &[0], 24, 0).data(4);
    assert_eq!(refused(&hostile).field, "tensor \"\\u{1b}[2J\"");
}

#[test]
fn sizes_that_wrap_vanish_or_split_a_block() {
    let size = |fastest_first: &[u64], type_id| match refused(&one_tensor(fastest_first, type_id, 0, 64)).kind
    {
        GgufErrorKind::Size(error) => error,
        other => panic!("{other}"),
    };
    assert_eq!(size(&[1 << 32, 1 << 32], 0), SizeError::Overflow);
    assert_eq!(size(&[u64::MAX], 0), SizeError::Overflow);
    assert_eq!(size(&[1 << 31, 1 << 31, 1 << 31, 1 << 31], 24), SizeError::Overflow);
    // The product is exactly 2^64: wrapped, it would be an empty tensor.
    assert_eq!(size(&[1 << 16, 1 << 16, 1 << 16, 1 << 16], 24), SizeError::Overflow);
    assert_eq!(size(&[4, 0, 2], 0), SizeError::ZeroDimension { axis: 1 });
    assert_eq!(size(&[48, 2], 3), SizeError::PartialBlock { row: 48, block: 32 });
    // 16 * 2 elements would be one whole block, but rows are what must be whole.
    assert_eq!(size(&[16, 2], 3), SizeError::PartialBlock { row: 16, block: 32 });
}

#[test]
fn tensors_must_follow_one_another_inside_the_file() {
    assert!(parse_bounded(&two_tensors(32, 64)).is_ok());
    assert_eq!(refused(&two_tensors(33, 96)).kind, GgufErrorKind::Misaligned { offset: 33, alignment: 32 });
    assert_eq!(refused(&two_tensors(0, 64)).kind, GgufErrorKind::Overlap { offset: 0, expected: 32 });
    assert_eq!(refused(&two_tensors(64, 96)).kind, GgufErrorKind::Gap { offset: 64, expected: 32 });
    assert_eq!(refused(&two_tensors(32, 63)).kind, GgufErrorKind::Truncated { needed: 32, left: 31 });
    assert!(matches!(refused(&two_tensors(u64::MAX - 31, 64)).kind, GgufErrorKind::Gap { .. }));
    assert_eq!(refused(&one_tensor(&[4], 24, 32, 64)).kind, GgufErrorKind::Gap { offset: 32, expected: 0 });
    assert_eq!(refused(&two_tensors(32, 96)).kind, GgufErrorKind::TrailingBytes(32));
    assert!(parse_bounded(&two_tensors(32, 95)).is_ok());
    // A tensor larger than the file: what a reader that trusts it would send out is other people's memory.
    let large = refused(&one_tensor(&[1 << 40], 0, 0, 64));
    assert_eq!(large.kind, GgufErrorKind::Truncated { needed: 1 << 42, left: 64 });
    let unordered = Raw::start(3, 2, 0).tensor("a", &[8], 0, 32).tensor("b", &[8], 0, 0).data(64);
    assert!(matches!(refused(&unordered).kind, GgufErrorKind::Gap { .. }));
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = GgufWriter::new();
    writer.metadata("k", Value::U8(1)).unwrap();
    assert!(matches!(writer.metadata("k", Value::U8(1)), Err(WriteError::Duplicate(_))));
    assert!(matches!(writer.metadata("", Value::U8(1)), Err(WriteError::NameLength(0))));
    assert!(matches!(writer.metadata("general.alignment", Value::U32(3)), Err(WriteError::Alignment)));
    let long = Value::String("x".repeat(MAX_STRING_BYTES as usize + 1));
    assert!(matches!(writer.metadata("long", long), Err(WriteError::ValueTooLarge(_))));
    let deep = (0..4).fold(Array::U8(vec![]), |array, _| Array::Array(vec![array]));
    assert!(matches!(writer.metadata("deep", Value::Array(deep)), Err(WriteError::ValueTooLarge(_))));
    writer.tensor("t", &[2], "f32", vec![0; 8]).unwrap();
    assert!(matches!(writer.tensor("t", &[2], "f32", vec![0; 8]), Err(WriteError::Duplicate(_))));
    assert!(matches!(writer.tensor("u", &[2], "f32", vec![0; 7]), Err(WriteError::ByteCount { .. })));
    assert!(matches!(writer.tensor("u", &[2], "f33", vec![0; 8]), Err(WriteError::UnknownFormat(_))));
    assert!(matches!(writer.tensor("u", &[1; 5], "f32", vec![0; 4]), Err(WriteError::Rank(5))));
    assert!(matches!(writer.tensor("u", &[33], "q8_0", vec![0; 34]), Err(WriteError::Size(_))));
}

#[test]
fn the_view_tells_files_apart() {
    let open = |content: &[u8]| Weights::from_bytes("f".as_ref(), FileBytes::from_slice(content).unwrap());
    let words = |content: &[u8]| open(content).unwrap_err().to_string();
    assert!(words(b"just some text, renamed").starts_with("f is neither GGUF nor safetensors"));
    assert!(words(b"GGUF\x03\0\0\0").contains("byte 8, tensor count: 8 bytes announced, 0 left"));
    let header = r#"{"w":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend([1, 2, 3, 4]);
    let weights = open(&file).unwrap();
    assert_eq!(weights.kind(), FileKind::SafeTensors);
    assert_eq!(weights.tensor_bytes(0), [1, 2, 3, 4]);
    assert!(weights.metadata().is_none());
    file.pop();
    assert!(words_of_safetensors(&open(&file)).contains("data_offsets: 0..4 in a data area of 3 bytes"));
}

fn words_of_safetensors(result: &Result<Weights, tvmc_weights::WeightsError>) -> String {
    result.as_ref().unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Flipping bytes of a sound file gives a sound file or a refusal; tensors never leave the file.
    #[test]
    fn damaged_files_end_in_a_result(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut file = sample();
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        if let Ok(header) = parse_bounded(&file) {
            for tensor in header.tensors {
                prop_assert!(tensor.offset + tensor.bytes <= file.len() as u64);
            }
        }
    }

    /// Any bytes after a sound beginning.
    #[test]
    fn random_tails_end_in_a_result(tensors in 0u64..4, entries in 0u64..4, tail in proptest::collection::vec(0u8..16, 0..200)) {
        let _ = parse_bounded(&Raw::start(3, tensors, entries).bytes(&tail).0);
    }
}
