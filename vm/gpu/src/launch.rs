//! A kernel with its arguments: what a launch needs that stays when it is made again with other scalars or another grid. Checked once; the bind group is made
//! with the first submission and kept.
//!
//! ```text
//! device.launch(kernel, views)          checks, ranges to bind        once
//! commands.record(launch, grid, n)      a parameter block             each time
//! submit                                the kept bind group, with the block's place as its dynamic offset
//! ```
//!
//! Groups are kept in two places: by the launch, for the last place of its report; and by the device, by (pipeline, ranges of buffers and of the report), so
//! that launches made anew with equal arguments find theirs. Both forget when a shared buffer (parameter blocks, reports) is made anew.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use tvmc_backend_wgsl::{BindingKind, BufferMode};

use crate::buffer::{GpuBuffer, GpuView};
use crate::device::{GpuDevice, lock};
use crate::error::GpuError;
use crate::kernel::{GpuKernel, Pipeline};

/// Bind groups that a device keeps; with more, all are forgotten.
const MAX_GROUPS: usize = 1 << 14;

/// A pipeline and what is bound to it: numbers of buffers, first bytes and sizes.
pub(crate) type GroupKey = (u64, Vec<(u64, u64, u64)>);

/// A kernel with its buffers. Clones share it.
#[derive(Clone)]
pub struct GpuLaunch(pub(crate) Arc<Bindings>);

/// What a launch binds.
pub(crate) struct Bindings {
    pub kernel: GpuKernel,
    pub mode: BufferMode,
    /// Byte offset of each view in its binding.
    pub offsets: Vec<u32>,
    bound: Vec<Bound>,
    group: Mutex<Option<Kept>>,
}

/// A bind group, and what it was made for.
struct Kept {
    shared: Shared,
    group: wgpu::BindGroup,
}

/// The parts of the shared buffers that a launch binds.
#[derive(Clone, PartialEq)]
pub(crate) struct Shared {
    /// The parameter blocks of the submission.
    pub params: wgpu::Buffer,
    /// Its reports.
    pub reports: wgpu::Buffer,
    /// First byte and length of the launch's own report; nothing where it makes none.
    pub report: (u64, u64),
}

/// A buffer argument as it is bound: from the last permitted offset at or below the view's start.
struct Bound {
    buffer: GpuBuffer,
    offset: u64,
    size: u64,
}

impl GpuDevice {
    /// Binds buffers to a kernel, in the order of the function.
    pub fn launch(&self, kernel: &GpuKernel, views: &[GpuView]) -> Result<GpuLaunch, GpuError> {
        if !self.same(&kernel.device) {
            return Err(GpuError::WrongDevice);
        }
        let function = kernel.function();
        if function.buffers.len() != views.len() {
            let (expected, found) = (function.buffers.len(), views.len());
            return Err(GpuError::Arguments {
                kernel: function.name.clone(),
                what: "buffers",
                expected,
                found,
            });
        }
        let mut mode = aliasing(kernel, views)?;
        let vectors = &kernel.shader().vectors;
        if views.iter().zip(vectors).any(|(view, bytes)| !view.offset.is_multiple_of(u64::from(*bytes))) {
            mode = BufferMode::AllWritable;
        }
        let mut bound = Vec::with_capacity(views.len());
        let mut offsets = Vec::with_capacity(views.len());
        for (at, view) in views.iter().enumerate() {
            let (binding, shift) = bind(self, kernel, at, view)?;
            bound.push(binding);
            offsets.push(shift);
        }
        let bindings = Bindings { kernel: kernel.clone(), mode, offsets, bound, group: Mutex::new(None) };
        Ok(GpuLaunch(Arc::new(bindings)))
    }
}

/// Refuses overlapping arguments one of which is written; finds out whether one buffer is bound both ways.
fn aliasing(kernel: &GpuKernel, views: &[GpuView]) -> Result<BufferMode, GpuError> {
    let shader = kernel.shader();
    let writes: Vec<bool> = (0..views.len())
        .map(|at| shader.binding(BindingKind::Buffer(at as u32)).is_some_and(|b| b.writable))
        .collect();
    let mut mode = BufferMode::Exact;
    for (i, a) in views.iter().enumerate() {
        for (j, b) in views.iter().enumerate().skip(i + 1) {
            if !Arc::ptr_eq(&a.buffer.0, &b.buffer.0) || !(writes[i] || writes[j]) {
                continue;
            }
            if a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes {
                let argument = |at: usize| kernel.function().buffers[at].name.clone();
                return Err(GpuError::Overlap {
                    kernel: kernel.function().name.clone(),
                    first: argument(i),
                    second: argument(j),
                });
            }
            if writes[i] != writes[j] {
                mode = BufferMode::AllWritable;
            }
        }
    }
    Ok(mode)
}

/// The binding of a view and the byte offset of the view in it.
fn bind(device: &GpuDevice, kernel: &GpuKernel, at: usize, view: &GpuView) -> Result<(Bound, u32), GpuError> {
    device.owns(&view.buffer)?;
    let limits = &device.0.limits;
    let names = || (kernel.function().name.clone(), kernel.function().buffers[at].name.clone());
    let alignment = kernel.shader().alignments[at];
    if !view.offset.is_multiple_of(u64::from(alignment)) {
        let (kernel, argument) = names();
        return Err(GpuError::Misaligned { kernel, argument, offset: view.offset, alignment });
    }
    let unit = u64::from(limits.min_storage_buffer_offset_alignment.max(4));
    let shift = view.offset % unit;
    let offset = view.offset - shift;
    // in whole vectors, at least one; allocations are rounded up, so this stays inside
    let size = (shift + view.bytes).max(1).next_multiple_of(u64::from(kernel.shader().vectors[at]));
    let limit = limits.max_storage_buffer_binding_size;
    if size > limit {
        let (kernel, argument) = names();
        return Err(GpuError::BindingTooLarge { kernel, argument, bytes: view.bytes, limit });
    }
    // a view of no bytes at the very end would start past the allocation
    let available = view.buffer.0.buffer.size();
    let (offset, shift) = if offset + size > available { (0, 0) } else { (offset, shift) };
    Ok((Bound { buffer: view.buffer.clone(), offset, size }, shift as u32))
}

impl Bindings {
    /// The bind group for these parts of the shared buffers: the one of last time, or one that the device has, or a new one.
    pub fn group(&self, device: &wgpu::Device, pipeline: &Pipeline, shared: Shared) -> wgpu::BindGroup {
        let mut kept = lock(&self.group);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.shared == shared) {
            return kept.group.clone();
        }
        let mut ranges: Vec<_> = self.bound.iter().map(|b| (b.buffer.0.id, b.offset, b.size)).collect();
        ranges.push((u64::MAX, shared.report.0, shared.report.1));
        let key: GroupKey = (pipeline.id, ranges);
        let mut groups = lock(&self.kernel.device.0.groups);
        if groups.len() >= MAX_GROUPS {
            groups.clear();
        }
        let group = groups.entry(key).or_insert_with(|| self.bind_group(device, pipeline, &shared)).clone();
        *kept = Some(Kept { shared, group: group.clone() });
        group
    }

    fn bind_group(&self, device: &wgpu::Device, pipeline: &Pipeline, shared: &Shared) -> wgpu::BindGroup {
        let mut entries = Vec::with_capacity(pipeline.shader.bindings.len());
        for binding in &pipeline.shader.bindings {
            let found = match binding.kind {
                BindingKind::Params => Some((&shared.params, 0, pipeline.shader.params.bytes())),
                BindingKind::Constants => pipeline.constants.as_ref().map(|b| (b, 0, b.size())),
                BindingKind::Report => Some((&shared.reports, shared.report.0, shared.report.1)),
                BindingKind::Buffer(at) => {
                    self.bound.get(at as usize).map(|b| (&b.buffer.0.buffer, b.offset, b.size))
                }
            };
            if let Some((buffer, offset, size)) = found {
                let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset,
                    size: NonZeroU64::new(size),
                });
                entries.push(wgpu::BindGroupEntry { binding: binding.index, resource });
            }
        }
        let layout = &pipeline.layout;
        device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
    }
}
