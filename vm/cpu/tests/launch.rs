//! Launches: arguments, threads, asserts, prints, lifetimes.

mod support;

use std::sync::Arc;

use support::{Case, Placement, bytes, pools, targets};
use tvmc_cpu::{
    AlignedBuffer, Backend, BufferArg, CompiledKernel, LaunchError, Pool, Prepared, RawBuffer, Target,
};
use tvmc_ir::lane::{Verified, parse, verify};

fn kernel(text: &str) -> Verified {
    verify(parse(text).unwrap()).unwrap()
}

/// y[block] = block * factor, linear block number; asserts that it is not `bad`, prints every 7th.
const NUMBERED: &str = r#"kernel @numbered lanes 3 {
  buffer b0 "y" write
  scalar v0: u.i32 "factor"
  v1: u.i32 = block_index.x
  v2: u.i32 = block_index.y
  v3: u.i32 = block_index.z
  v4: u.i32 = block_count.x
  v5: u.i32 = block_count.y
  v6: u.i32 = imul v3, v5
  v7: u.i32 = iadd v6, v2
  v8: u.i32 = imul v7, v4
  v9: u.i32 = iadd v8, v1
  v10: u.i32 = imul v9, v0
  v11: u.i64 = i32_to_i64 v9
  store.uniform.i32 b0[v11], v10
}"#;

const TALKING: &str = r#"kernel @talking lanes 3 {
  message 0 "not {} good" at "k.tile:3:4"
  message 1 "block {} of {}: {} {} {}" at "k.tile:5:6"
  message 2 "too late"
  scalar v0: u.i32 "first_bad"
  v1: u.i32 = block_index.x
  v2: u.bool = ilt_s v1, v0
  assert 0 v2
  assert 2 v2
  v3: u.i32 = const.i32 7
  v4: u.i32 = irem_u v1, v3
  v5: u.i32 = const.i32 0
  v6: u.bool = ieq v4, v5
  if v6 {
    v7: u.i64 = const.i64 -5
    v8: v.i32 = lane_index
    v9: v.f32 = i32_to_f32 v8
    v10: v.bool = ieq v8, v8
    print 1 v1, v7, v9, v10, v2
    print 1 v2, v7, v9, v10, v1
  }
}"#;

#[test]
fn grids_of_every_shape_give_the_same_on_any_number_of_threads() {
    let function = kernel(NUMBERED);
    for grid in [[1, 1, 1], [2, 1, 1], [1, 3, 1], [1, 1, 5], [7, 3, 2], [1000, 1, 1], [33, 5, 7]] {
        let blocks: u32 = grid.iter().product();
        let case = Case {
            function: (*function).clone(),
            grid,
            buffers: vec![vec![0; 4 * blocks as usize]],
            scalars: vec![0xffff_fffd],
            floats: Vec::new(),
        };
        case.check();
    }
}

#[test]
fn asserts_and_prints_come_in_block_order() {
    let function = kernel(TALKING);
    for first_bad in [0u32, 1, 40, 99, 100] {
        let case = Case {
            function: (*function).clone(),
            grid: [100, 1, 1],
            buffers: Vec::new(),
            scalars: vec![first_bad.into()],
            floats: Vec::new(),
        };
        case.check();
    }
    for target in targets() {
        let compiled = CompiledKernel::compile(&function, target).unwrap();
        // Prints are left to the portable backend.
        assert_eq!(compiled.backend(), Backend::Cranelift);
        let mut launch = Prepared::new(&compiled);
        launch.set_grid([100, 1, 1]);
        launch.set_scalar(0, 98).unwrap();
        // SAFETY: the kernel accesses no memory.
        let error = unsafe { pools()[1].launch_prepared(&launch) }.unwrap_err();
        assert_eq!(
            error.to_string(),
            "k.tile:3:4: assertion failed: not {} good (kernel @talking, block [98, 0, 0])"
        );
        let LaunchError::Assertion { printed, .. } = error else { panic!() };
        assert_eq!(printed.len(), 30);
        assert_eq!(printed[2].text, "k.tile:5:6: block 7 of -5: [0.0, 1.0, 2.0] [true, true, true] true");
        assert_eq!(printed[3].text, "k.tile:5:6: block true of -5: [0.0, 1.0, 2.0] [true, true, true] 7");
        assert_eq!(printed[2].block, [7, 0, 0]);
    }
}

#[test]
fn empty_grids_do_nothing_and_huge_ones_are_refused() {
    let function = kernel(NUMBERED);
    let compiled = CompiledKernel::compile(&function, Target::native()).unwrap();
    let mut launch = Prepared::new(&compiled);
    for grid in [[0, 1, 1], [5, 0, 9], [1, 1, 0], [0, u32::MAX, u32::MAX]] {
        launch.set_grid(grid);
        // SAFETY: no block runs.
        assert_eq!(unsafe { pools()[1].launch_prepared(&launch) }.unwrap().blocks, 0);
    }
    for grid in [[1 << 31, 1, 1], [0x7fff_ffff; 3]] {
        launch.set_grid(grid);
        // SAFETY: no block runs.
        let error = unsafe { pools()[1].launch_prepared(&launch) }.unwrap_err();
        assert_eq!(error, LaunchError::GridTooLarge(grid));
    }
}

#[test]
fn wrong_arguments_are_named() {
    let function = kernel(NUMBERED);
    let compiled = CompiledKernel::compile(&function, Target::native()).unwrap();
    let mut memory = AlignedBuffer::zeroed(128).unwrap();
    let launch = |buffers: &mut [BufferArg], scalars: &[u64]| {
        // SAFETY: refused, or one block that writes 4 bytes of 64 at least.
        unsafe { pools()[0].launch(&compiled, [1, 1, 1], buffers, scalars) }.unwrap_err().to_string()
    };
    assert_eq!(launch(&mut [], &[1]), "kernel @numbered takes 1 buffers, got 0");
    let bytes = memory.as_mut_slice();
    assert_eq!(
        launch(&mut [BufferArg::Read(&bytes[..64])], &[1]),
        "kernel @numbered writes buffer `y`, which was given as read-only"
    );
    assert_eq!(
        launch(&mut [BufferArg::Write(&mut bytes[4..])], &[1]),
        "kernel @numbered: buffer `y` is not aligned to 64 bytes"
    );
    assert_eq!(launch(&mut [BufferArg::Write(bytes)], &[]), "kernel @numbered takes 1 scalars, got 0");
    let mut prepared = Prepared::new(&compiled);
    assert!(prepared.set_buffer(1, RawBuffer { start: memory.as_ptr() }).is_err());
    assert!(prepared.set_buffer(0, RawBuffer { start: memory.as_ptr().wrapping_add(32) }).is_err());
    assert!(prepared.set_scalar(1, 0).is_err());
}

#[test]
fn launches_from_many_threads_run_one_after_the_other() {
    let function = kernel(NUMBERED);
    let pool = Arc::new(Pool::new(3));
    let compiled = CompiledKernel::compile(&function, Target::native()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (pool, compiled) = (Arc::clone(&pool), compiled.clone());
            scope.spawn(move || {
                let mut memory = AlignedBuffer::zeroed(4 * 200).unwrap();
                for round in 0..500u32 {
                    let blocks = 1 + (round * 7 + thread) % 200;
                    let factor = round * 4 + thread;
                    let grid = [blocks, 1, 1];
                    let mut arguments = [BufferArg::Write(memory.as_mut_slice())];
                    // SAFETY: 200 words for at most 200 blocks.
                    let report =
                        unsafe { pool.launch(&compiled, grid, &mut arguments, &[factor.into()]) }.unwrap();
                    assert_eq!(report.blocks, blocks.into());
                    let wanted = bytes((0..blocks).map(|block| block * factor));
                    assert_eq!(&memory.as_slice()[..wanted.len()], wanted);
                }
            });
        }
    });
}

#[test]
fn sleeping_workers_wake_up_or_are_not_waited_for() {
    let function = kernel(NUMBERED);
    let compiled = CompiledKernel::compile(&function, Target::native()).unwrap();
    let pool = Pool::new(2);
    let mut memory = AlignedBuffer::zeroed(4 * 64).unwrap();
    for round in 0..30u64 {
        std::thread::sleep(std::time::Duration::from_micros(round * 40));
        let mut arguments = [BufferArg::Write(memory.as_mut_slice())];
        // SAFETY: 64 words for 64 blocks.
        unsafe { pool.launch(&compiled, [64, 1, 1], &mut arguments, &[round]) }.unwrap();
        assert_eq!(memory.as_slice(), bytes((0..64).map(|block| block * round as u32)));
    }
}

#[test]
fn code_lives_as_long_as_a_clone_and_is_freed_after() {
    let function = kernel(NUMBERED);
    let case = Case {
        function: (*function).clone(),
        grid: [4, 1, 1],
        buffers: vec![vec![0; 16]],
        scalars: vec![3],
        floats: Vec::new(),
    };
    for target in targets() {
        for _ in 0..200 {
            let first = CompiledKernel::compile(&function, target).unwrap();
            let second = first.clone();
            drop(first);
            let (report, buffers) = case.launch(&pools()[1], &second, Placement::Start);
            report.unwrap();
            assert_eq!(buffers[0].content(), bytes([0, 3, 6, 9]));
        }
    }
    #[cfg(target_os = "linux")]
    {
        // Kernels that are gone leave no executable pages behind. Neighbouring mappings show as one.
        let executable = || {
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let anonymous = maps.lines().filter(|line| line.contains("r-xp") && !line.contains('/'));
            let size = |line: &str| {
                let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
                usize::from_str_radix(to, 16).unwrap() - usize::from_str_radix(from, 16).unwrap()
            };
            anonymous.map(size).sum::<usize>() / 4096
        };
        let kernels: Vec<CompiledKernel> =
            (0..100).map(|_| CompiledKernel::compile(&function, Target::Cranelift).unwrap()).collect();
        let during = executable();
        drop(kernels);
        assert!(executable() + 50 < during, "{} then {during}", executable());
    }
}

#[test]
fn what_the_processor_lacks_is_refused() {
    use tvmc_backend_x86::{Features, Level};
    let function = kernel(NUMBERED);
    let Some(host) = Features::detect() else {
        let error = CompiledKernel::compile(&function, Target::X86(Features::baseline(Level::V3)));
        assert!(error.is_err());
        return;
    };
    let all = Features {
        level: Level::V4,
        vnni: true,
        vbmi: true,
        vbmi2: true,
        popcnt_vector: true,
        gfni: true,
        bf16: true,
    };
    assert_eq!(CompiledKernel::compile(&function, Target::X86(all)).is_ok(), host == all);
    assert!(CompiledKernel::compile(&function, Target::X86(Features::baseline(Level::V3))).is_ok());
}

#[test]
fn scratch_grows_to_the_largest_kernel() {
    let pool = Pool::new(2);
    for bytes in [64u32, 1 << 20, 100, 3 << 20] {
        let text = format!(
            r#"kernel @scratch lanes 4 {{
              buffer b0 "y" write
              arena a0 {bytes}
              v0: u.i64 = const.i64 {last}
              v1: v.i32 = lane_index
              store.contig.i32 a0[v0], v1
              barrier
              v2: v.i32 = load.contig.i32 a0[v0]
              v3: u.i32 = block_index.x
              v4: u.i64 = i32_to_i64 v3
              v5: u.i32 = reduce.iadd v2
              store.uniform.i32 b0[v4], v5
            }}"#,
            last = bytes / 4 - 4
        );
        let function = kernel(&text);
        for target in targets() {
            let compiled = CompiledKernel::compile(&function, target).unwrap();
            let mut memory = AlignedBuffer::zeroed(4 * 16).unwrap();
            let mut arguments = [BufferArg::Write(memory.as_mut_slice())];
            // SAFETY: 16 words for 16 blocks.
            unsafe { pool.launch(&compiled, [16, 1, 1], &mut arguments, &[]) }.unwrap();
            assert_eq!(memory.as_slice(), support::bytes([6; 16]));
        }
    }
}
