//! The adapters of this machine with the limits that matter to kernels, for people who ask what they have.
//!
//! An adapter is listed whether or not it can be used; [`Adapter::problem`] says why not. Each is opened once, for only a device says
//! whether it computes as kernels need it.

use crate::device::{GpuDevice, GpuKind, info_of, installed};

/// An adapter.
#[derive(Clone, PartialEq, Debug)]
pub struct Adapter {
    /// Its name, which `--device` matches.
    pub name: String,
    /// Its kind.
    pub kind: GpuKind,
    /// The driver and its version.
    pub driver: String,
    /// The interface it is reached by.
    pub interface: String,
    /// Smallest and largest subgroup.
    pub subgroup: (u32, u32),
    /// Whether subgroup operations are offered.
    pub subgroup_operations: bool,
    /// Whether shaders may compute in f16.
    pub f16: bool,
    /// Whether cooperative matrices are offered.
    pub cooperative_matrix: bool,
    /// Bytes of one buffer.
    pub buffer: u64,
    /// Bytes of one storage binding.
    pub binding: u64,
    /// Storage buffers of one kernel.
    pub storage_buffers: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// What kernels found when it was opened, if it could be.
    pub opened: Option<Opened>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// What only an open device tells.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The subgroup size that kernels rely on, if they can.
    pub subgroup: Option<u32>,
    /// Whether `fma` rounds once.
    pub fused_fma: bool,
    /// Whether subnormal numbers are kept.
    pub keeps_subnormals: Option<bool>,
}

/// All adapters, best first.
pub fn adapters() -> Vec<Adapter> {
    installed().iter().map(adapter).collect()
}

fn adapter(adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (info_of(adapter), adapter.limits(), adapter.features());
    let (opened, problem) = match GpuDevice::open_adapter(adapter) {
        Ok(device) => {
            let limits = device.limits();
            let keeps_subnormals = device.info().keeps_subnormals;
            let opened = Opened { subgroup: limits.subgroup, fused_fma: limits.fused_fma, keeps_subnormals };
            (Some(opened), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    Adapter {
        kind: info.kind,
        driver: info.driver,
        interface: format!("{:?}", adapter.get_info().backend),
        subgroup: info.subgroup,
        subgroup_operations: features.contains(wgpu::Features::SUBGROUP),
        f16: features.contains(wgpu::Features::SHADER_F16),
        cooperative_matrix: features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
        buffer: limits.max_buffer_size,
        binding: limits.max_storage_buffer_binding_size,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        workgroup_memory: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup,
        name: info.name,
        opened,
        problem,
    }
}
