//! Choosing and opening a device, and turning its errors into values.
//!
//! wgpu reports errors through callbacks and error scopes. Here every fallible call runs inside scopes
//! ([`Inner::guarded`]); what no scope catches, and the loss of the device, is kept in [`Faults`] and returned by the next
//! call that looks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tvmc_backend_wgsl::Limits;

use crate::buffer::Staging;
use crate::error::GpuError;
use crate::kernel::KernelInner;
use crate::launch::GroupKey;
use crate::probe;

/// What kind of machine an adapter is, best first.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GpuKind {
    /// A card of its own.
    Discrete,
    /// Shares memory with the CPU.
    Integrated,
    /// Inside a virtual machine.
    Virtual,
    /// Unknown.
    Other,
    /// A software device.
    Software,
}

impl std::fmt::Display for GpuKind {
    /// `discrete`, `integrated`, `virtual`, `other` or `software`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            GpuKind::Discrete => "discrete",
            GpuKind::Integrated => "integrated",
            GpuKind::Virtual => "virtual",
            GpuKind::Other => "other",
            GpuKind::Software => "software",
        })
    }
}

/// What is known of a device.
#[derive(Clone, Debug)]
pub struct GpuInfo {
    /// Its name, which `open` matches.
    pub name: String,
    /// Its kind.
    pub kind: GpuKind,
    /// The driver and its version.
    pub driver: String,
    /// Smallest and largest subgroup.
    pub subgroup: (u32, u32),
    /// Whether f32 arithmetic keeps subnormal numbers. WGSL permits flushing them to zero, and NVIDIA's driver does.
    /// `None` until the device is open.
    pub keeps_subnormals: Option<bool>,
}

/// Errors that came outside of any scope.
#[derive(Default)]
struct Faults {
    lost: Option<String>,
    other: Option<String>,
}

/// An open device. Clones share it.
#[derive(Clone)]
pub struct GpuDevice(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub info: GpuInfo,
    pub limits: wgpu::Limits,
    pub shader_limits: Limits,
    faults: Arc<Mutex<Faults>>,
    /// Compiled kernels by all that they are made of.
    pub kernels: Mutex<HashMap<String, Arc<KernelInner>>>,
    /// What the launches of a submission share; kept for the next one. Holding the lock from writing the parameters to the
    /// submission keeps two threads from mixing theirs.
    pub shared: Mutex<Shared>,
    /// Bind groups of earlier launches with the same arguments.
    pub groups: Mutex<HashMap<GroupKey, wgpu::BindGroup>>,
    /// Staging memory, held while a transfer runs.
    pub upload: Mutex<Staging>,
    pub download: Mutex<Staging>,
    ids: AtomicU64,
}

/// Buffers with a part for each launch of a submission. The queue orders submissions, so each finds its own contents there.
#[derive(Default)]
pub(crate) struct Shared {
    /// Parameter blocks.
    pub params: Option<wgpu::Buffer>,
    /// Reports, copied to staging memory of the submission's own when it ends.
    pub reports: Option<wgpu::Buffer>,
}

/// A lock whose data stay meaningful if a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kind_of(info: &wgpu::AdapterInfo) -> GpuKind {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => GpuKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => GpuKind::Integrated,
        wgpu::DeviceType::VirtualGpu => GpuKind::Virtual,
        wgpu::DeviceType::Other => GpuKind::Other,
        wgpu::DeviceType::Cpu => GpuKind::Software,
    }
}

pub(crate) fn info_of(adapter: &wgpu::Adapter) -> GpuInfo {
    let info = adapter.get_info();
    GpuInfo {
        kind: kind_of(&info),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        subgroup: (info.subgroup_min_size, info.subgroup_max_size),
        keeps_subnormals: None,
        name: info.name,
    }
}

/// The size of every subgroup, where it is one number.
fn subgroup_size(adapter: &wgpu::Adapter) -> Option<u32> {
    let info = adapter.get_info();
    let fixed = info.subgroup_min_size == info.subgroup_max_size && info.subgroup_min_size.is_power_of_two();
    let offered = adapter.features().contains(wgpu::Features::SUBGROUP);
    (fixed && offered).then_some(info.subgroup_min_size)
}

/// What shaders with cooperative matrices need.
const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16);

/// Whether subgroups multiply matrices of 16 by 16 halves and add the products to floats.
fn cooperative_matrices(adapter: &wgpu::Adapter) -> bool {
    use wgpu::CooperativeScalarType::{F16, F32};
    adapter.features().contains(MATRICES)
        && adapter.cooperative_matrix_properties().iter().any(|matrix| {
            let sizes = [matrix.m_size, matrix.n_size, matrix.k_size];
            sizes == [16; 3] && matrix.ab_type == F16 && matrix.cr_type == F32
        })
}

/// All adapters, best first.
pub(crate) fn installed() -> Vec<wgpu::Adapter> {
    let descriptor = wgpu::InstanceDescriptor {
        backends: wgpu::Instance::enabled_backend_features(),
        // the validation layers are a debugging aid with a price per call
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    };
    if descriptor.backends.is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(descriptor);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|a| kind_of(&a.get_info()));
    adapters
}

impl GpuDevice {
    /// The devices of this machine, best first.
    pub fn list() -> Vec<GpuInfo> {
        installed().iter().map(info_of).collect()
    }

    /// Opens the best device, or the first whose name contains `name` (in any case).
    pub fn open(name: Option<&str>) -> Result<Self, GpuError> {
        let mut adapters = installed();
        if adapters.is_empty() {
            return Err(GpuError::NoAdapter);
        }
        let at = match name {
            None => 0,
            Some(name) => {
                let wanted = name.to_lowercase();
                let names: Vec<String> = adapters.iter().map(|a| a.get_info().name).collect();
                names.iter().position(|n| n.to_lowercase().contains(&wanted)).ok_or_else(|| {
                    GpuError::NoSuchDevice { name: name.to_owned(), available: names.clone() }
                })?
            }
        };
        Self::open_adapter(&adapters.swap_remove(at))
    }

    pub(crate) fn open_adapter(adapter: &wgpu::Adapter) -> Result<Self, GpuError> {
        let info = info_of(adapter);
        let name = info.name.clone();
        let unusable = |reason: String| GpuError::Unusable { name: name.clone(), reason };
        let downlevel = adapter.get_downlevel_capabilities().flags;
        if !downlevel.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS) {
            return Err(unusable("it has no compute shaders".to_owned()));
        }
        let limits = adapter.limits();
        let matrices = cooperative_matrices(adapter);
        #[allow(unsafe_code)]
        let experimental_features = if matrices {
            // SAFETY: what is experimental about cooperative matrices is how WGSL spells them. Shaders that use them are made by our backend alone, from
            // lane IR whose rules keep every fragment in its memory, and only where the adapter says that it multiplies such matrices.
            unsafe { wgpu::ExperimentalFeatures::enabled() }
        } else {
            wgpu::ExperimentalFeatures::disabled()
        };
        let wanted = if matrices { wgpu::Features::SUBGROUP | MATRICES } else { wgpu::Features::SUBGROUP };
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: adapter.features() & wanted,
            experimental_features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) =
            pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| unusable(e.to_string()))?;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let uncaptured = Arc::clone(&faults);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&uncaptured).other.get_or_insert(error.to_string());
        }));
        let lost = Arc::clone(&faults);
        device.set_device_lost_callback(move |reason, message| {
            lock(&lost).lost.get_or_insert(format!("{reason:?}: {message}"));
        });
        let shader_limits = Limits {
            invocations: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            storage_bindings: limits.max_storage_buffers_per_shader_stage,
            binding_bytes: limits.max_storage_buffer_binding_size,
            uniform_bytes: limits.max_uniform_buffer_binding_size,
            f16_in_f32: downlevel.contains(wgpu::DownlevelFlags::SHADER_F16_IN_F32),
            // both are asked of the device below
            fused_fma: true,
            subgroup: subgroup_size(adapter),
            cooperative_matrix: matrices,
        };
        let mut opened = Self(Arc::new(Inner {
            device,
            queue,
            info,
            limits,
            shader_limits,
            faults,
            kernels: Mutex::default(),
            shared: Mutex::default(),
            groups: Mutex::default(),
            upload: Mutex::default(),
            download: Mutex::default(),
            ids: AtomicU64::new(0),
        }));
        let (fused, subnormals) = probe::arithmetic(&opened)?;
        let subgroup = probe::subgroup(&opened);
        match Arc::get_mut(&mut opened.0) {
            Some(inner) => {
                inner.shader_limits.fused_fma = fused;
                inner.shader_limits.subgroup = subgroup;
                inner.info.keeps_subnormals = Some(subnormals);
            }
            None => return Err(unusable("a probe still holds it".to_owned())),
        }
        opened.trim();
        Ok(opened)
    }

    /// What is known of it.
    pub fn info(&self) -> &GpuInfo {
        &self.0.info
    }

    /// What a kernel may use of it.
    pub fn limits(&self) -> &Limits {
        &self.0.shader_limits
    }

    /// Waits until everything submitted is done.
    pub fn wait(&self) -> Result<(), GpuError> {
        self.0.poll(None)
    }

    /// Whether two handles mean the same device.
    pub fn same(&self, other: &GpuDevice) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for GpuDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GpuDevice").field(&self.0.info).finish()
    }
}

impl Inner {
    /// A number that nothing else on this device has.
    pub fn fresh_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs a call inside error scopes; `bytes` is what an out-of-memory error then names.
    pub fn guarded<T>(&self, bytes: u64, call: impl FnOnce(&wgpu::Device) -> T) -> Result<T, GpuError> {
        self.check()?;
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let value = call(&self.device);
        let validation = pollster::block_on(validation.pop());
        let internal = pollster::block_on(internal.pop());
        let memory = pollster::block_on(memory.pop());
        self.check()?;
        match (memory, validation.or(internal)) {
            (Some(_), _) => Err(GpuError::OutOfMemory { bytes }),
            (None, Some(error)) => Err(GpuError::Internal(error.to_string())),
            (None, None) => Ok(value),
        }
    }

    /// Whether a fault has come in. Losing the device is final; other errors are told once.
    pub fn check(&self) -> Result<(), GpuError> {
        let mut faults = lock(&self.faults);
        if let Some(reason) = &faults.lost {
            return Err(GpuError::Lost(reason.clone()));
        }
        faults.other.take().map_or(Ok(()), |text| Err(GpuError::Internal(text)))
    }

    /// Waits for a submission, or for all of them.
    pub fn poll(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        self.check()?;
        waited.map(drop).map_err(|e| GpuError::Internal(e.to_string()))
    }
}
