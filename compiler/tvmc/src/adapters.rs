//! The GPUs of this machine with the limits that matter to kernels, for `doctor`; nothing else calls this.
//!
//! An adapter is listed whether or not it can be used; [`Adapter::problem`] says why not. Each is opened once, for only a device says
//! whether it computes as kernels need it.

use tvmc_gpu::GpuDevice;

/// An adapter.
#[derive(Clone, PartialEq, Debug)]
pub struct Adapter {
    /// Its name, which `--device` matches.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
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
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Instance::enabled_backend_features(),
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    if descriptor.backends.is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<Adapter> = found.iter().map(adapter).collect();
    let order = ["discrete", "integrated", "virtual", "other", "software"];
    adapters.sort_by_key(|a| order.iter().position(|kind| *kind == a.kind));
    adapters
}

fn adapter(adapter: &wgpu::Adapter) -> Adapter {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let (opened, problem) = match GpuDevice::open(Some(&info.name)) {
        Ok(device) => {
            let limits = device.limits();
            let keeps_subnormals = device.info().keeps_subnormals;
            let opened = Opened { subgroup: limits.subgroup, fused_fma: limits.fused_fma, keeps_subnormals };
            (Some(opened), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    Adapter {
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        interface: format!("{:?}", info.backend),
        subgroup: (info.subgroup_min_size, info.subgroup_max_size),
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
