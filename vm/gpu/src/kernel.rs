//! Compiled kernels and their cache. The key is everything the device side is made of: WGSL text (which holds the
//! function's name), constant tables and print sites. The texts of asserts and prints are kept by each kernel.

use std::sync::{Arc, OnceLock};

use tvmc_backend_wgsl::{BindingKind, BufferMode, Shader, compile_with};
use tvmc_ir::lane::{Function, Verified};

use crate::device::{GpuDevice, Inner, lock};
use crate::error::GpuError;

/// A kernel that is ready to run on one device. Clones share it.
#[derive(Clone)]
pub struct GpuKernel {
    pub(crate) device: GpuDevice,
    pub(crate) function: Arc<Verified>,
    pub(crate) inner: Arc<KernelInner>,
}

/// Whether indices and loops are checked by what the implementation of WGSL adds to a shader.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Checks {
    /// It adds what it holds to be necessary.
    Kept,
    /// It adds nothing.
    Dropped,
}

/// The device side, shared by equal kernels.
pub(crate) struct KernelInner {
    exact: Pipeline,
    checks: Checks,
    /// Built when a launch binds one buffer both read-only and read-write.
    all_writable: OnceLock<Result<Pipeline, GpuError>>,
}

/// A shader and its device objects.
pub(crate) struct Pipeline {
    /// Differs from that of every other pipeline and buffer.
    pub id: u64,
    pub shader: Shader,
    pub layout: wgpu::BindGroupLayout,
    pub pipeline: wgpu::ComputePipeline,
    pub constants: Option<wgpu::Buffer>,
}

impl GpuDevice {
    /// Compiles a function, or finds it in the cache. The device's implementation of WGSL checks its accesses.
    pub fn compile(&self, function: &Verified) -> Result<GpuKernel, GpuError> {
        self.compile_for(function, Checks::Kept)
    }

    /// As [`Self::compile`], but where a function multiplies matrices (fragments) no checks are added: they cost such a kernel a third of its time.
    ///
    /// # Safety
    ///
    /// Each access of the function lies inside its buffer or arena, whatever the launch, as long as that gives every buffer the length its kernel declares; and each of its loops ends.
    #[allow(unsafe_code)]
    pub unsafe fn compile_proved(&self, function: &Verified) -> Result<GpuKernel, GpuError> {
        let checks = if function.fragments.is_empty() { Checks::Kept } else { Checks::Dropped };
        self.compile_for(function, checks)
    }

    fn compile_for(&self, function: &Verified, checks: Checks) -> Result<GpuKernel, GpuError> {
        let shader = self.translate(function, BufferMode::Exact)?;
        let key = format!("{checks:?}\n{:?}\n{:?}\n{}", shader.constants, shader.prints, shader.source);
        let cached = lock(&self.0.kernels).get(&key).cloned();
        let inner = match cached {
            Some(inner) => inner,
            None => {
                let exact = self.0.pipeline(shader, checks)?;
                let inner = Arc::new(KernelInner { exact, checks, all_writable: OnceLock::new() });
                lock(&self.0.kernels).entry(key).or_insert(inner).clone()
            }
        };
        Ok(GpuKernel { device: self.clone(), function: Arc::new(function.clone()), inner })
    }

    /// Forgets the compiled kernels that nobody holds.
    pub fn trim(&self) {
        lock(&self.0.kernels).retain(|_, kernel| Arc::strong_count(kernel) > 1);
        lock(&self.0.groups).clear();
    }

    fn translate(&self, function: &Verified, mode: BufferMode) -> Result<Shader, GpuError> {
        compile_with(function, &self.0.shader_limits, mode)
            .map_err(|error| GpuError::Compile { kernel: function.name.clone(), error })
    }
}

impl std::fmt::Debug for GpuKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GpuKernel").field(&self.function.name).finish()
    }
}

impl GpuKernel {
    /// The function it was compiled from.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The generated WGSL.
    pub fn source(&self) -> &str {
        &self.inner.exact.shader.source
    }

    /// The pipeline for a launch.
    pub(crate) fn pipeline(&self, mode: BufferMode) -> Result<&Pipeline, GpuError> {
        match mode {
            BufferMode::Exact => Ok(&self.inner.exact),
            BufferMode::AllWritable => self
                .inner
                .all_writable
                .get_or_init(|| {
                    let shader = self.device.translate(&self.function, BufferMode::AllWritable)?;
                    self.device.0.pipeline(shader, self.inner.checks)
                })
                .as_ref()
                .map_err(GpuError::clone),
        }
    }

    /// The shader as it is bound by default.
    pub(crate) fn shader(&self) -> &Shader {
        &self.inner.exact.shader
    }
}

impl Inner {
    /// Makes the device objects of a shader.
    fn pipeline(&self, shader: Shader, checks: Checks) -> Result<Pipeline, GpuError> {
        let entries: Vec<wgpu::BindGroupLayoutEntry> = shader
            .bindings
            .iter()
            .map(|binding| {
                let params = binding.kind == BindingKind::Params;
                let ty = if params {
                    wgpu::BufferBindingType::Uniform
                } else {
                    wgpu::BufferBindingType::Storage { read_only: !binding.writable }
                };
                wgpu::BindGroupLayoutEntry {
                    binding: binding.index,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: params, min_binding_size: None },
                    count: None,
                }
            })
            .collect();
        let (layout, pipeline) = self.guarded(0, |device| {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: None,
                entries: &entries,
            });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: 0,
            });
            let source = wgpu::ShaderSource::Wgsl(shader.source.as_str().into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: None, source };
            #[allow(unsafe_code)]
            let module = match checks {
                Checks::Kept => device.create_shader_module(descriptor),
                // SAFETY: who asks for it has promised that no check would ever fail (`compile_proved`).
                Checks::Dropped => unsafe {
                    let none = wgpu::ShaderRuntimeChecks::unchecked();
                    device.create_shader_module_trusted(descriptor, none)
                },
            };
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(shader.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // arenas are undefined at entry, and scratch is written before it is read
                    zero_initialize_workgroup_memory: false,
                    ..wgpu::PipelineCompilationOptions::default()
                },
                cache: None,
            });
            (layout, pipeline)
        })?;
        let constants = if shader.constants.is_empty() {
            None
        } else {
            let bytes: Vec<u8> = shader.constants.iter().flat_map(|w| w.to_le_bytes()).collect();
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let buffer = self.allocate(bytes.len() as u64, usage)?;
            self.guarded(bytes.len() as u64, |_| self.queue.write_buffer(&buffer, 0, &bytes))?;
            Some(buffer)
        };
        Ok(Pipeline { id: self.fresh_id(), shader, layout, pipeline, constants })
    }
}
