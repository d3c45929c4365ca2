//! Device memory. A [`GpuBuffer`] is one allocation, a [`GpuView`] a byte range of it, at any offset.
//!
//! wgpu moves whole 4-byte words; a transfer that starts or ends inside a word fetches the words at its ends first
//! and leaves their other bytes as they were. Large transfers go in pieces of [`PIECE`] bytes with at most two of them in
//! flight, so that staging memory stays small while weights of gigabytes are loaded.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::device::{GpuDevice, Inner, lock};
use crate::error::GpuError;

/// Bytes of one piece of a transfer.
const PIECE: u64 = 16 << 20;

/// An allocation in device memory. Clones share it; it is freed with the last one.
#[derive(Clone)]
pub struct GpuBuffer(pub(crate) Arc<Allocation>);

pub(crate) struct Allocation {
    pub device: GpuDevice,
    pub buffer: wgpu::Buffer,
    /// The size asked for; the allocation is a multiple of 16.
    pub bytes: u64,
}

/// A byte range of a buffer.
#[derive(Clone)]
pub struct GpuView {
    pub(crate) buffer: GpuBuffer,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl GpuBuffer {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The whole buffer as a view.
    pub fn all(&self) -> GpuView {
        GpuView { buffer: self.clone(), offset: 0, bytes: self.0.bytes }
    }

    /// A range of it.
    pub fn view(&self, range: Range<u64>) -> Result<GpuView, GpuError> {
        let bytes = range.end.saturating_sub(range.start);
        self.0.within(range.start, bytes)?;
        Ok(GpuView { buffer: self.clone(), offset: range.start, bytes })
    }
}

impl GpuView {
    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its first byte in the buffer.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The buffer it lies in.
    pub fn buffer(&self) -> &GpuBuffer {
        &self.buffer
    }
}

impl Allocation {
    /// Whether a range lies inside.
    fn within(&self, offset: u64, bytes: u64) -> Result<(), GpuError> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.bytes => Ok(()),
            _ => Err(GpuError::OutOfRange { offset, bytes, size: self.bytes }),
        }
    }
}

impl GpuDevice {
    /// Allocates device memory, zeroed.
    pub fn buffer(&self, bytes: u64) -> Result<GpuBuffer, GpuError> {
        let limit = self.0.limits.max_buffer_size;
        let Some(size) = bytes.max(1).checked_next_multiple_of(16).filter(|s| *s <= limit) else {
            return Err(GpuError::BufferTooLarge { bytes, limit });
        };
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = self.0.allocate(size, usage)?;
        Ok(GpuBuffer(Arc::new(Allocation { device: self.clone(), buffer, bytes })))
    }

    /// A buffer that holds these bytes.
    pub fn buffer_with(&self, data: &[u8]) -> Result<GpuBuffer, GpuError> {
        let buffer = self.buffer(data.len() as u64)?;
        self.upload(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// Writes bytes at an offset. Takes effect before commands that are recorded but not submitted.
    pub fn upload(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) -> Result<(), GpuError> {
        self.owns(buffer)?;
        buffer.0.within(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        // the whole words inside the range; bytes before and after share a word with others
        let (first, last) = (offset.next_multiple_of(4), end & !3);
        if first > last {
            return self.merge(buffer, offset, data);
        }
        let (head, rest) = data.split_at((first - offset) as usize);
        let (words, tail) = rest.split_at((last - first) as usize);
        self.merge(buffer, offset, head)?;
        self.merge(buffer, last, tail)?;
        let mut before = None;
        let mut at = first;
        for piece in words.chunks(PIECE as usize) {
            let submitted = self.0.guarded(piece.len() as u64, |_| {
                self.0.queue.write_buffer(&buffer.0.buffer, at, piece);
                self.0.queue.submit([])
            })?;
            if let Some(before) = before.replace(submitted) {
                self.0.poll(Some(before))?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Writes a few bytes inside one word, or across the border of two.
    fn merge(&self, buffer: &GpuBuffer, offset: u64, data: &[u8]) -> Result<(), GpuError> {
        if data.is_empty() {
            return Ok(());
        }
        let first = offset & !3;
        let end = (offset + data.len() as u64).next_multiple_of(4);
        let mut words = vec![0; (end - first) as usize];
        self.fetch(buffer, first, &mut words)?;
        let at = (offset - first) as usize;
        words[at..at + data.len()].copy_from_slice(data);
        self.0.guarded(words.len() as u64, |_| self.0.queue.write_buffer(&buffer.0.buffer, first, &words))
    }

    /// Reads bytes at an offset, after everything submitted so far.
    pub fn download(&self, buffer: &GpuBuffer, offset: u64, out: &mut [u8]) -> Result<(), GpuError> {
        self.owns(buffer)?;
        buffer.0.within(offset, out.len() as u64)?;
        let mut at = offset;
        for piece in out.chunks_mut(PIECE as usize) {
            self.fetch(buffer, at, piece)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    /// Reads one piece through a mapped copy. The range may pass the asked-for size up to the end of its word.
    fn fetch(&self, buffer: &GpuBuffer, offset: u64, out: &mut [u8]) -> Result<(), GpuError> {
        let first = offset & !3;
        let size = (offset + out.len() as u64).next_multiple_of(4) - first;
        if size == 0 {
            return Ok(());
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.0.allocate(size, usage)?;
        self.0.guarded(size, |device| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            encoder.copy_buffer_to_buffer(&buffer.0.buffer, first, &staging, 0, size);
            self.0.queue.submit([encoder.finish()]);
        })?;
        let skip = (offset - first) as usize;
        self.0.read_mapped(&staging, |bytes| out.copy_from_slice(&bytes[skip..skip + out.len()]))
    }

    /// Whether a buffer belongs to this device.
    pub(crate) fn owns(&self, buffer: &GpuBuffer) -> Result<(), GpuError> {
        if self.same(&buffer.0.device) { Ok(()) } else { Err(GpuError::WrongDevice) }
    }
}

impl Inner {
    /// A raw buffer.
    pub fn allocate(&self, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, GpuError> {
        let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
        self.guarded(size, |device| device.create_buffer(&descriptor))
    }

    /// Waits until a staging buffer can be read, and reads it.
    pub fn read_mapped(&self, staging: &wgpu::Buffer, read: impl FnOnce(&[u8])) -> Result<(), GpuError> {
        let outcome = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&outcome);
        let slice = staging.slice(..);
        slice.map_async(wgpu::MapMode::Read, move |result| *lock(&slot) = Some(result));
        self.poll(None)?;
        match lock(&outcome).take() {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(GpuError::Internal(error.to_string())),
            None => return Err(GpuError::Internal("a mapping was never answered".to_owned())),
        }
        let view = slice.get_mapped_range().map_err(|e| GpuError::Internal(e.to_string()))?;
        read(&view);
        drop(view);
        staging.unmap();
        Ok(())
    }
}
