//! The struct behind the pointer that compiled code is called with: `tvmc_ir::lane::abi`, field by field.

use std::ffi::c_void;
use std::mem::offset_of;

use tvmc_ir::lane::abi;

/// A compiled kernel's entry: runs one block.
#[cfg(target_arch = "x86_64")]
pub(crate) type Entry = unsafe extern "sysv64" fn(*const KernelArgs, i32, i32, i32);
/// A compiled kernel's entry: runs one block.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Entry = unsafe extern "C" fn(*const KernelArgs, i32, i32, i32);

/// What `print` calls: `(log, message, words, count)`.
#[cfg(target_arch = "x86_64")]
pub(crate) type Print = unsafe extern "sysv64" fn(*mut c_void, u32, *const u32, u32);
/// What `print` calls: `(log, message, words, count)`.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Print = unsafe extern "C" fn(*mut c_void, u32, *const u32, u32);

/// Arguments of all blocks that one thread runs in a launch.
#[repr(C)]
pub(crate) struct KernelArgs {
    pub buffers: *const *mut u8,
    pub scalars: *const u64,
    pub arena: *mut u8,
    pub status: *mut u32,
    pub grid: [i32; 4],
    pub print: Print,
    pub log: *mut c_void,
}

const _: () = {
    assert!(offset_of!(KernelArgs, buffers) == abi::BUFFERS as usize);
    assert!(offset_of!(KernelArgs, scalars) == abi::SCALARS as usize);
    assert!(offset_of!(KernelArgs, arena) == abi::ARENA as usize);
    assert!(offset_of!(KernelArgs, status) == abi::STATUS as usize);
    assert!(offset_of!(KernelArgs, grid) == abi::GRID as usize);
    assert!(offset_of!(KernelArgs, print) == abi::PRINT as usize);
    assert!(offset_of!(KernelArgs, log) == abi::LOG as usize);
    assert!(size_of::<KernelArgs>() == abi::SIZE);
};
