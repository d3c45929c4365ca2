//! Programs with state on a device that only stores bytes: states grow by need, keep what they have, are refused when full, saved and restored.

use std::io::Write;
use tvmc_ir::host::Number;
use tvmc_ir::program::{Verified, parse, verify};
use tvmc_model::executor::{
    Argument, Arrangement, CHUNK, Call, Device, DeviceError, LaunchId, LoadOptions, MemoryId, Purpose,
    Session, Slice,
};
use tvmc_types::dtype::DType;
use tvmc_weights::{Access, Weights};

/// Memory, and two kernels: `append(values, state, start)` stores values[j] as entry start + j of every row of a state [rows, entries];
/// `read(state, out, at)` gives entry `at` of every row.
#[derive(Default)]
struct Store {
    memory: Vec<Option<Vec<u8>>>,
    /// Launches that are ready, and how many were made so.
    ready: Vec<Option<(String, Vec<Argument>)>>,
}

impl Store {
    fn slice(&mut self, slice: Slice) -> &mut [u8] {
        let memory = self.memory[slice.memory.0].as_mut().expect("live memory");
        &mut memory[slice.offset as usize..(slice.offset + slice.bytes) as usize]
    }

    fn live_bytes(&self) -> usize {
        self.memory.iter().flatten().map(Vec::len).sum()
    }

    /// Launches that are ready now, and that ever were.
    fn launches(&self) -> (usize, usize) {
        (self.ready.iter().flatten().count(), self.ready.len())
    }
}

impl Device for Store {
    fn allocate(&mut self, bytes: u64, _: &str) -> Result<MemoryId, DeviceError> {
        self.memory.push(Some(vec![0; bytes as usize]));
        Ok(MemoryId(self.memory.len() - 1))
    }

    fn release(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        assert!(self.memory[memory.0].take().is_some(), "released twice");
        Ok(())
    }

    fn write(&mut self, memory: MemoryId, offset: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.slice(Slice { memory, offset, bytes: bytes.len() as u64 }).copy_from_slice(bytes);
        Ok(())
    }

    fn read(&mut self, memory: MemoryId, offset: u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        bytes.copy_from_slice(self.slice(Slice { memory, offset, bytes: bytes.len() as u64 }));
        Ok(())
    }

    fn clear(&mut self, memory: MemoryId) -> Result<(), DeviceError> {
        self.memory[memory.0].as_mut().expect("live memory").fill(0);
        Ok(())
    }

    fn weight(&mut self, _: &[u8], _: u64, _: &str, _: Arrangement, _: &str) -> Result<Slice, DeviceError> {
        Err(DeviceError("there are no weights".to_owned()))
    }

    fn filled_bytes(&self, _: &str, _: &[u64]) -> Result<u64, DeviceError> {
        Err(DeviceError("nothing is packed".to_owned()))
    }

    fn prefers_packed(
        &mut self,
        _: &str,
        _: usize,
        _: Purpose,
        _: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        Ok(false)
    }

    fn stores_in_parts(
        &mut self,
        _: &str,
        _: usize,
        _: &str,
        _: &[Vec<Option<u64>>],
    ) -> Result<bool, DeviceError> {
        Ok(false)
    }

    fn tensor_bytes(&self, element: &str, shape: &[u64]) -> Result<u64, DeviceError> {
        let dtype = DType::from_name(element).ok_or_else(|| DeviceError(format!("no dtype `{element}`")))?;
        Ok((shape.iter().product::<u64>() * u64::from(dtype.bits())).div_ceil(8))
    }

    fn launch(
        &mut self,
        _: usize,
        kernel: &str,
        arguments: &[Argument],
        _: &[(String, i64)],
    ) -> Result<(), DeviceError> {
        let [
            Argument::Tensor { slice: first, shape: first_shape, .. },
            Argument::Tensor { slice: second, shape: second_shape, .. },
            Argument::Scalar(Number::Int(at)),
        ] = arguments
        else {
            return Err(DeviceError("other arguments".to_owned()));
        };
        let state = if kernel == "append" { second_shape } else { first_shape };
        assert!(!state[1].fixed && state[0].fixed, "what grows is no constant");
        let (rows, entries, at) = (state[0].size as usize, state[1].size as usize, *at as usize);
        match kernel {
            "append" => {
                let values = self.slice(*first).to_vec();
                for row in 0..rows {
                    let start = row * entries + at;
                    self.slice(*second)[start..start + values.len()].copy_from_slice(&values);
                }
            }
            "read" => {
                let state = self.slice(*first).to_vec();
                for row in 0..rows {
                    self.slice(*second)[row] = state[row * entries + at];
                }
            }
            other => return Err(DeviceError(format!("no kernel `{other}`"))),
        }
        Ok(())
    }

    fn prepare(
        &mut self,
        _: usize,
        kernel: &str,
        arguments: &[Argument],
        _: &[(String, i64)],
    ) -> Result<LaunchId, DeviceError> {
        self.ready.push(Some((kernel.to_owned(), arguments.to_vec())));
        Ok(LaunchId(self.ready.len() - 1))
    }

    fn again(&mut self, launch: LaunchId, numbers: &[(usize, Number)]) -> Result<(), DeviceError> {
        let ready = self.ready[launch.0].as_mut().expect("a launch that is ready");
        for (at, number) in numbers {
            assert!(matches!(ready.1[*at], Argument::Scalar(_)), "argument {at} is memory");
            ready.1[*at] = Argument::Scalar(*number);
        }
        let (kernel, arguments) = ready.clone();
        self.launch(0, &kernel, &arguments, &[])
    }

    fn forget(&mut self, launch: LaunchId) {
        assert!(self.ready[launch.0].take().is_some(), "forgotten twice");
    }
}

const PROGRAM: &str = r#"program @memory {
  hyper C: i32 = "c"
  state s0 "seen": u8[3, C] grows C to add(start, S)
  input i0 "values": u8[S]
  scalar start: i32
  scalar ask: i32
  output o0 "answer": u8[3]
  launch append(i0, s0, scalar start)
  launch read(s0, o0, scalar ask)
}"#;

fn program(text: &str) -> Verified {
    verify(parse(text).expect("a program")).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// A model file with nothing in it.
fn nothing() -> (tempfile::NamedTempFile, Weights) {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0").expect("room");
    let weights = Weights::open(file.path(), Access::Map).expect("an empty model");
    (file, weights)
}

fn session(text: &str, context: i64) -> Session<Store> {
    let (_file, weights) = nothing();
    let options = LoadOptions { set: vec![("C".to_owned(), Number::Int(context))] };
    Session::load(program(text), &weights, Store::default(), &options).expect("a session")
}

/// Appends values at a position, then reads an entry of each row.
fn call(session: &mut Session<Store>, values: &[u8], start: usize, ask: usize) -> Result<Vec<u8>, String> {
    let number = |n: usize| Number::Int(n as i64);
    let numbers = vec![("S", number(values.len())), ("start", number(start)), ("ask", number(ask))];
    session
        .call(&Call { numbers, tensors: vec![("values", values)], ..Call::default() })
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    session.output("answer", &mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn states_grow_by_need_and_keep_what_they_have() {
    let context = 1000;
    let mut session = session(PROGRAM, context);
    assert_eq!(session.resident_bytes().1, 0, "nothing before the first call");
    let mut capacities = Vec::new();
    for position in 0..context as usize {
        // Every entry is asked for again later, from before and after each growth.
        let ask = position * 7 % (position + 1);
        let answer = call(&mut session, &[position as u8 ^ 0x5a], position, ask).expect("room");
        assert_eq!(answer, [ask as u8 ^ 0x5a; 3], "entry {ask} at {position}");
        capacities.push(session.resident_bytes().1 / 3);
    }
    capacities.dedup();
    assert_eq!(capacities, [CHUNK, 2 * CHUNK, 1000]);
    let error = call(&mut session, &[1], context as usize, 0).expect_err("no room");
    assert_eq!(error, "state `seen` is full: this call needs 1001 entries along `C`, at most 1000 fit");
    let live = session.device().live_bytes();
    assert!(live <= 3 * 1000 + 3 + 1, "{live} bytes: old memory is given back");
    assert_eq!(call(&mut session, &[9], 999, 999), Ok(vec![9; 3]), "a refused call changes nothing");
}

#[test]
fn a_long_first_call_takes_what_it_needs() {
    let mut session = session(PROGRAM, 100_000);
    let values: Vec<u8> = (0..600).map(|i| i as u8).collect();
    assert_eq!(call(&mut session, &values, 0, 599), Ok(vec![87; 3]));
    assert_eq!(session.resident_bytes().1, 3 * 768);
}

#[test]
fn a_fork_goes_on_from_what_was_saved() {
    let mut session = session(PROGRAM, 4096);
    call(&mut session, &[1; 200], 0, 0).expect("room");
    let saved = session.save().expect("a copy");
    let one = call(&mut session, &[2; 900], 200, 300);
    session.restore(&saved).expect("the same program");
    assert_eq!(session.resident_bytes().1, 3 * 256, "as it was");
    let other = call(&mut session, &[3; 900], 200, 300);
    assert_eq!((one, other), (Ok(vec![2; 3]), Ok(vec![3; 3])));
    assert_eq!(call(&mut session, &[4], 1100, 199), Ok(vec![1; 3]), "the shared beginning");
    session.reset().expect("cleared");
    assert_eq!(call(&mut session, &[4], 0, 199), Ok(vec![0; 3]));
}

/// Three slices of 257 four-bit entries are not whole bytes each, so they are not moved.
#[test]
fn slices_of_broken_bytes_are_allocated_whole() {
    let text = PROGRAM.replace("u8[3, C]", "u4[3, C]");
    assert_eq!(session(&text, 257).resident_bytes().1, (3 * 257u64).div_ceil(2));
    assert_eq!(session(&text, 258).resident_bytes().1, 0);
}

/// The first call of a shape walks, the second walks and records, later ones replay; when the state grows, that begins again.
#[test]
fn calls_of_one_shape_are_worked_out_twice() {
    let mut session = session(PROGRAM, 100_000);
    let mut launches = Vec::new();
    for position in 0..CHUNK as usize + 4 {
        let answer = call(&mut session, &[position as u8 | 1], position, position).expect("room");
        assert_eq!(answer, [position as u8 | 1; 3], "at {position}");
        launches.push(session.device().launches());
    }
    launches.dedup();
    // Two launches a call; of another memory, the plan is forgotten at once and made again by the second call.
    assert_eq!(launches, [(0, 0), (2, 2), (0, 2), (2, 4)]);
}

/// Calls of several shapes in turn keep a plan each, while they fit the memory there is; a call is never answered by the plan of another shape.
#[test]
fn plans_are_for_one_shape_each() {
    let mut session = session(PROGRAM, 100_000);
    for round in 0..4u8 {
        for length in [3, 1] {
            for repeat in 0..2 {
                let values: Vec<u8> = (0..length).map(|i| 10 * round + 3 * repeat + i).collect();
                let last = usize::from(length) - 1;
                let answer = call(&mut session, &values, 7, 7 + last).expect("room");
                assert_eq!(answer, [values[last]; 3], "round {round}, {length} values");
            }
        }
    }
    assert_eq!(session.device().launches(), (4, 4), "one plan of two launches for each length");
    // A session never keeps many.
    for length in (4..20).rev() {
        for _ in 0..2 {
            call(&mut session, &vec![length; usize::from(length)], 0, 0).expect("room");
        }
    }
    assert_eq!(session.device().launches().0, 8);
}
