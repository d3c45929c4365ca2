//! Recording and submitting. A launch is checked when it is recorded; device objects (parameter blocks, reports) are
//! made for the whole submission at once. Parameters come in by a dynamic offset, so a launch keeps its bind group (`launch`).
//!
//! ```text
//! dispatch  dispatch  copy  dispatch      recorded
//! [--- one pass ---]        [ pass ]      encoded; wgpu puts barriers between dependent dispatches
//! params | report 0 | report 3            one uniform buffer, one report buffer with a region per launch that needs it
//! ```

use std::sync::Arc;

use tvmc_backend_wgsl::BindingKind;
use tvmc_backend_wgsl::report::{HEADER_WORDS, Record, decode};

use crate::buffer::GpuView;
use crate::device::{GpuDevice, Inner, lock};
use crate::error::GpuError;
use crate::kernel::{GpuKernel, Pipeline};
use crate::launch::{GpuLaunch, Shared};

/// Bytes of log that a launch with prints gets, unless [`Commands::log_bytes`] says otherwise.
const DEFAULT_LOG: u64 = 64 << 10;

/// A list of commands under construction.
pub struct Commands {
    device: GpuDevice,
    recorded: Vec<Command>,
    log_bytes: u64,
}

enum Command {
    Dispatch(Dispatch),
    Copy { from: GpuView, to: GpuView },
    Zero(GpuView),
}

struct Dispatch {
    launch: GpuLaunch,
    grid: [u32; 3],
    workgroups: [u32; 2],
    params: Vec<u32>,
    /// Bytes of the report region, or 0.
    report: u64,
}

/// Commands on their way.
pub struct Submission {
    device: GpuDevice,
    index: wgpu::SubmissionIndex,
    /// The mapped copy of the report buffer, and each launch's region in it.
    reports: Option<(wgpu::Buffer, Vec<Region>)>,
}

/// A launch's part of the report buffer.
struct Region {
    kernel: GpuKernel,
    grid: [u32; 3],
    /// Its place among the dispatches.
    dispatch: usize,
    offset: u64,
    bytes: u64,
}

/// Device objects of a dispatch within its submission.
struct Placed<'a> {
    pipeline: &'a Pipeline,
    /// First byte of its parameter block.
    params: u32,
    /// First byte of its report.
    report: u64,
}

/// One executed print.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogEntry {
    /// The block that printed.
    pub block: [u32; 3],
    /// Number of the message.
    pub message: u32,
    /// Its text with the operands put in.
    pub text: String,
}

/// What one launch reported.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its place among the submission's dispatches, from 0.
    pub dispatch: usize,
    /// The kernel, whose function holds the messages.
    pub kernel: GpuKernel,
    /// Message number of a failed assert: of the first one in its block.
    pub failure: Option<u32>,
    /// What was printed, block by block.
    pub log: Vec<LogEntry>,
    /// Prints for which the log had no room.
    pub dropped: u32,
}

impl GpuDevice {
    /// Starts a list of commands.
    pub fn commands(&self) -> Commands {
        Commands { device: self.clone(), recorded: Vec::new(), log_bytes: DEFAULT_LOG }
    }
}

impl Commands {
    /// Sets the log space in bytes of launches recorded from now on whose kernels print.
    pub fn log_bytes(&mut self, bytes: u64) {
        self.log_bytes = bytes;
    }

    /// Records a launch: one block per point of the grid, buffers and scalars in the order of the function.
    pub fn dispatch(
        &mut self,
        kernel: &GpuKernel,
        grid: [u32; 3],
        views: &[GpuView],
        scalars: &[u64],
    ) -> Result<(), GpuError> {
        let launch = self.device.launch(kernel, views)?;
        self.record(&launch, grid, scalars)
    }

    /// Records a launch of a kernel that has its buffers already.
    pub fn record(&mut self, launch: &GpuLaunch, grid: [u32; 3], scalars: &[u64]) -> Result<(), GpuError> {
        let kernel = &launch.0.kernel;
        if !self.device.same(&kernel.device) {
            return Err(GpuError::WrongDevice);
        }
        let (function, shader) = (kernel.function(), kernel.shader());
        if function.scalars.len() != scalars.len() {
            let (expected, found) = (function.scalars.len(), scalars.len());
            return Err(GpuError::Arguments {
                kernel: function.name.clone(),
                what: "scalars",
                expected,
                found,
            });
        }
        let workgroups = self.fold(grid)?;
        let Some(params) = shader.params.encode(grid, &launch.0.offsets, scalars) else {
            return Err(GpuError::Grid(grid[0], grid[1], grid[2]));
        };
        if workgroups[0] == 0 {
            return Ok(());
        }
        let report = match shader.binding(BindingKind::Report) {
            None => 0,
            Some(_) => {
                let log = if shader.prints.is_empty() { 0 } else { self.log_bytes };
                let bytes = HEADER_WORDS as u64 * 4 + log.max(4);
                let limit = self.device.0.limits.max_storage_buffer_binding_size & !3;
                bytes.checked_next_multiple_of(16).unwrap_or(limit).min(limit)
            }
        };
        let launch = launch.clone();
        self.recorded.push(Command::Dispatch(Dispatch { launch, grid, workgroups, params, report }));
        Ok(())
    }

    /// Workgroups on two axes that cover all blocks; the shader drops the surplus.
    fn fold(&self, grid: [u32; 3]) -> Result<[u32; 2], GpuError> {
        let refused = GpuError::Grid(grid[0], grid[1], grid[2]);
        let limit = self.device.0.limits.max_compute_workgroups_per_dimension;
        let blocks = grid[0].checked_mul(grid[1]).and_then(|b| b.checked_mul(grid[2]));
        match blocks {
            None => Err(refused),
            Some(0) => Ok([0, 0]),
            Some(blocks) => {
                let rows = blocks.div_ceil(limit);
                if rows > limit { Err(refused) } else { Ok([blocks.div_ceil(rows), rows]) }
            }
        }
    }

    /// Records a copy between buffers of this device, in whole words. The views have one size and do not overlap.
    pub fn copy(&mut self, from: &GpuView, to: &GpuView) -> Result<(), GpuError> {
        for view in [from, to] {
            self.device.owns(&view.buffer)?;
            aligned(view)?;
        }
        let overlap = Arc::ptr_eq(&from.buffer.0, &to.buffer.0)
            && from.offset < to.offset + to.bytes
            && to.offset < from.offset + from.bytes;
        if from.bytes != to.bytes || overlap {
            return Err(GpuError::OutOfRange { offset: to.offset, bytes: from.bytes, size: to.bytes });
        }
        self.recorded.push(Command::Copy { from: from.clone(), to: to.clone() });
        Ok(())
    }

    /// Records filling with zeros, in whole words.
    pub fn zero(&mut self, view: &GpuView) -> Result<(), GpuError> {
        self.device.owns(&view.buffer)?;
        aligned(view)?;
        self.recorded.push(Command::Zero(view.clone()));
        Ok(())
    }

    /// Number of commands recorded.
    pub fn len(&self) -> usize {
        self.recorded.len()
    }

    /// Whether nothing is recorded.
    pub fn is_empty(&self) -> bool {
        self.recorded.is_empty()
    }

    /// Hands everything to the device in one submission.
    pub fn submit(self) -> Result<Submission, GpuError> {
        let inner = &self.device.0;
        let limits = &inner.limits;
        let uniform_unit = limits.min_uniform_buffer_offset_alignment as usize;
        let storage_unit = u64::from(limits.min_storage_buffer_offset_alignment);

        // where each dispatch finds its parameters and its report
        let mut params: Vec<u8> = Vec::new();
        let mut regions = Vec::new();
        let mut report_bytes = 0;
        let mut placed = Vec::new();
        for command in &self.recorded {
            match command {
                Command::Copy { .. } | Command::Zero(_) => {}
                Command::Dispatch(dispatch) => {
                    params.resize(params.len().next_multiple_of(uniform_unit), 0);
                    let kernel = &dispatch.launch.0.kernel;
                    if dispatch.report > 0 {
                        regions.push(Region {
                            kernel: kernel.clone(),
                            grid: dispatch.grid,
                            dispatch: placed.len(),
                            offset: report_bytes,
                            bytes: dispatch.report,
                        });
                    }
                    placed.push(Placed {
                        pipeline: kernel.pipeline(dispatch.launch.0.mode)?,
                        params: params.len() as u32,
                        report: report_bytes,
                    });
                    params.extend(dispatch.params.iter().flat_map(|w| w.to_le_bytes()));
                    report_bytes = (report_bytes + dispatch.report).next_multiple_of(storage_unit);
                }
            }
        }
        let staging = match report_bytes {
            0 => None,
            bytes => {
                let read = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
                Some(inner.allocate(bytes, read)?)
            }
        };
        let mut shared = lock(&inner.shared);
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let block = inner.shared_buffer(&mut shared.params, params.len() as u64, usage)?;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let report = inner.shared_buffer(&mut shared.reports, report_bytes, usage)?;
        let index = inner.guarded(report_bytes, |device| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            if report_bytes > 0 {
                encoder.clear_buffer(&report, 0, Some(report_bytes));
            }
            let mut pass = None;
            let mut places = placed.iter();
            for command in &self.recorded {
                match command {
                    Command::Copy { from, to } => {
                        pass = None;
                        let (source, target) = (&from.buffer.0.buffer, &to.buffer.0.buffer);
                        encoder.copy_buffer_to_buffer(source, from.offset, target, to.offset, from.bytes);
                    }
                    Command::Zero(view) => {
                        pass = None;
                        encoder.clear_buffer(&view.buffer.0.buffer, view.offset, Some(view.bytes));
                    }
                    Command::Dispatch(dispatch) => {
                        let Some(place) = places.next() else { continue };
                        let pass = pass.get_or_insert_with(|| {
                            let descriptor = wgpu::ComputePassDescriptor::default();
                            encoder.begin_compute_pass(&descriptor).forget_lifetime()
                        });
                        pass.set_pipeline(&place.pipeline.pipeline);
                        let own = if dispatch.report > 0 { (place.report, dispatch.report) } else { (0, 0) };
                        let shared = Shared { params: block.clone(), reports: report.clone(), report: own };
                        let group = dispatch.launch.0.group(device, place.pipeline, shared);
                        pass.set_bind_group(0, &group, &[place.params]);
                        pass.dispatch_workgroups(dispatch.workgroups[0], dispatch.workgroups[1], 1);
                    }
                }
            }
            drop(pass);
            if let Some(staging) = &staging {
                encoder.copy_buffer_to_buffer(&report, 0, staging, 0, report_bytes);
            }
            if !params.is_empty() {
                inner.queue.write_buffer(&block, 0, &params);
            }
            inner.queue.submit([encoder.finish()])
        })?;
        drop(shared);
        let reports = staging.map(|staging| (staging, regions));
        Ok(Submission { device: self.device.clone(), index, reports })
    }
}

impl Inner {
    /// The buffer kept in `kept`, made anew (and every bind group forgotten) where it has less than `bytes`.
    fn shared_buffer(
        &self,
        kept: &mut Option<wgpu::Buffer>,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, GpuError> {
        if let Some(buffer) = kept.as_ref().filter(|buffer| buffer.size() >= bytes) {
            return Ok(buffer.clone());
        }
        lock(&self.groups).clear();
        let buffer = self.allocate(bytes.max(4096).checked_next_power_of_two().unwrap_or(bytes), usage)?;
        *kept = Some(buffer.clone());
        Ok(buffer)
    }
}

/// Whether a view is made of whole words.
fn aligned(view: &GpuView) -> Result<(), GpuError> {
    if view.offset.is_multiple_of(4) && view.bytes.is_multiple_of(4) {
        Ok(())
    } else {
        Err(GpuError::Unaligned { offset: view.offset, bytes: view.bytes })
    }
}

impl Submission {
    /// Waits for the commands and gives the reports of those launches that failed an assert or printed.
    pub fn wait(self) -> Result<Vec<Launch>, GpuError> {
        let inner = &self.device.0;
        let Some((staging, regions)) = self.reports else {
            inner.poll(Some(self.index))?;
            return Ok(Vec::new());
        };
        let mut words: Vec<u32> = Vec::new();
        inner.read_back(&staging, self.index, |bytes| {
            words = bytes.chunks_exact(4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
        })?;
        let launches = regions.into_iter().map(|region| {
            let (first, last) = (region.offset as usize / 4, (region.offset + region.bytes) as usize / 4);
            region.read(words.get(first..last).unwrap_or(&[]))
        });
        Ok(launches.filter(|l| l.failure.is_some() || !l.log.is_empty() || l.dropped > 0).collect())
    }
}

impl Region {
    /// Decodes the region's words.
    fn read(self, words: &[u32]) -> Launch {
        let report = decode(words);
        let function = self.kernel.function();
        let sites = &self.kernel.shader().prints;
        let entry = |record: &Record| {
            let site = sites.get(record.site as usize)?;
            let message = function.messages.get(site.message as usize)?;
            // the grid has no empty axis, or nothing would have run
            let (x, y) = (self.grid[0].max(1), self.grid[1].max(1));
            let block = [record.block % x, record.block / x % y, record.block / x / y];
            let text = message.format(&site.types, function.lanes, &record.words);
            Some(LogEntry { block, message: site.message, text })
        };
        let log = report.records.iter().filter_map(entry).collect();
        Launch {
            dispatch: self.dispatch,
            failure: report.failed,
            log,
            dropped: report.dropped,
            kernel: self.kernel.clone(),
        }
    }
}
