//! Device memory. A [`GpuBuffer`] is one allocation, a [`GpuView`] a byte range of it, at any offset.
//!
//! wgpu moves whole 4-byte words; a transfer that starts or ends inside a word fetches the words at its ends first
//! and leaves their other bytes as they were. Large transfers go in pieces through two staging buffers that are kept
//! (mapping fresh memory costs more than copying it): while one is on its way, the other is filled or read.

use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::device::{GpuDevice, Inner, lock};
use crate::error::GpuError;

/// Bytes of one staging buffer.
const PIECE: u64 = 16 << 20;

/// Up to this size an upload goes through wgpu's own staging.
const SMALL: u64 = 64 << 10;

/// The two staging buffers of one direction.
pub(crate) type Staging = Option<[wgpu::Buffer; 2]>;

/// A mapping that has been asked for.
struct Mapping<'a> {
    slice: wgpu::BufferSlice<'a>,
    answer: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// An allocation in device memory. Clones share it; it is freed with the last one.
#[derive(Clone)]
pub struct GpuBuffer(pub(crate) Arc<Allocation>);

pub(crate) struct Allocation {
    pub device: GpuDevice,
    pub buffer: wgpu::Buffer,
    /// Differs from that of every other allocation.
    pub id: u64,
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
        Ok(GpuBuffer(Arc::new(Allocation { device: self.clone(), buffer, id: self.0.fresh_id(), bytes })))
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
        self.0.write(&buffer.0.buffer, first, words)
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
        self.0.write(&buffer.0.buffer, first, &words)
    }

    /// Reads bytes at an offset, after everything submitted so far.
    pub fn download(&self, buffer: &GpuBuffer, offset: u64, out: &mut [u8]) -> Result<(), GpuError> {
        self.owns(buffer)?;
        buffer.0.within(offset, out.len() as u64)?;
        self.fetch(buffer, offset, out)
    }

    /// Reads bytes; the range may pass the asked-for size up to the end of its last word.
    fn fetch(&self, buffer: &GpuBuffer, offset: u64, out: &mut [u8]) -> Result<(), GpuError> {
        if out.is_empty() {
            return Ok(());
        }
        let first = offset & !3;
        let end = (offset + out.len() as u64).next_multiple_of(4);
        let mut skip = (offset - first) as usize;
        let mut rest = out;
        self.0.read(&buffer.0.buffer, first..end, |bytes| {
            // only the first piece can start inside a word, only the last one end there
            let bytes = &bytes[skip..];
            skip = 0;
            let taken = bytes.len().min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(taken);
            now.copy_from_slice(&bytes[..taken]);
            rest = later;
        })
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

    /// Both staging buffers of a direction.
    fn staging(&self, kept: &mut Staging, usage: wgpu::BufferUsages) -> Result<[wgpu::Buffer; 2], GpuError> {
        if let Some(pair) = kept {
            return Ok(pair.clone());
        }
        let pair = [self.allocate(PIECE, usage)?, self.allocate(PIECE, usage)?];
        *kept = Some(pair.clone());
        Ok(pair)
    }

    /// Writes whole words.
    fn write(&self, buffer: &wgpu::Buffer, offset: u64, words: &[u8]) -> Result<(), GpuError> {
        if words.len() as u64 <= SMALL {
            return self.guarded(words.len() as u64, |_| {
                if !words.is_empty() {
                    self.queue.write_buffer(buffer, offset, words);
                    self.queue.submit([]);
                }
            });
        }
        let mut kept = lock(&self.upload);
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let pair = self.staging(&mut kept, usage)?;
        let outcome = self.write_pieces(&pair, buffer, offset, words);
        if outcome.is_err() {
            // it may still be mapped
            *kept = None;
        }
        outcome
    }

    fn write_pieces(
        &self,
        pair: &[wgpu::Buffer; 2],
        buffer: &wgpu::Buffer,
        offset: u64,
        words: &[u8],
    ) -> Result<(), GpuError> {
        let mut at = offset;
        // the copy that each staging buffer took part in last
        let mut copies = [None, None];
        for (number, piece) in words.chunks(PIECE as usize).enumerate() {
            let size = piece.len() as u64;
            let staging = &pair[number % 2];
            let mapping = self.map(staging, size, wgpu::MapMode::Write);
            self.answered(&mapping, copies[number % 2].take())?;
            let view = mapping.slice.get_mapped_range_mut().map_err(|e| GpuError::Internal(e.to_string()));
            view?.copy_from_slice(piece);
            staging.unmap();
            copies[number % 2] = Some(self.copy(staging, 0, buffer, at, size)?);
            at += size;
        }
        Ok(())
    }

    /// Gives the words of a range to a reader, piece by piece.
    fn read(
        &self,
        buffer: &wgpu::Buffer,
        range: Range<u64>,
        reader: impl FnMut(&[u8]),
    ) -> Result<(), GpuError> {
        let mut kept = lock(&self.download);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let pair = self.staging(&mut kept, usage)?;
        let outcome = self.read_pieces(&pair, buffer, range, reader);
        if outcome.is_err() {
            *kept = None;
        }
        outcome
    }

    fn read_pieces(
        &self,
        pair: &[wgpu::Buffer; 2],
        buffer: &wgpu::Buffer,
        range: Range<u64>,
        mut reader: impl FnMut(&[u8]),
    ) -> Result<(), GpuError> {
        let mut before = None;
        for (at, staging) in range.clone().step_by(PIECE as usize).zip(pair.iter().cycle()) {
            let size = PIECE.min(range.end - at);
            let copied = self.copy(buffer, at, staging, 0, size)?;
            let mapping = self.map(staging, size, wgpu::MapMode::Read);
            if let Some((staging, mapping, copied)) = before.replace((staging, mapping, copied)) {
                self.read_mapped(staging, &mapping, copied, &mut reader)?;
            }
        }
        match before {
            Some((staging, mapping, copied)) => self.read_mapped(staging, &mapping, copied, &mut reader),
            None => Ok(()),
        }
    }

    /// Submits one copy.
    fn copy(
        &self,
        from: &wgpu::Buffer,
        from_at: u64,
        to: &wgpu::Buffer,
        to_at: u64,
        size: u64,
    ) -> Result<wgpu::SubmissionIndex, GpuError> {
        self.guarded(size, |device| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None });
            encoder.copy_buffer_to_buffer(from, from_at, to, to_at, size);
            self.queue.submit([encoder.finish()])
        })
    }

    /// Asks for the first bytes of a buffer to be mapped.
    fn map<'a>(&self, buffer: &'a wgpu::Buffer, size: u64, mode: wgpu::MapMode) -> Mapping<'a> {
        let (sender, answer) = mpsc::channel();
        let slice = buffer.slice(..size);
        // a receiver that is gone no longer wants the answer
        slice.map_async(mode, move |result| drop(sender.send(result)));
        Mapping { slice, answer }
    }

    /// Waits for a mapping, which becomes possible with the end of a submission (or of all). Another thread that waits
    /// on the device may be the one that runs the callback.
    fn answered(
        &self,
        mapping: &Mapping<'_>,
        mut after: Option<wgpu::SubmissionIndex>,
    ) -> Result<(), GpuError> {
        loop {
            self.poll(after.take())?;
            match mapping.answer.recv_timeout(Duration::from_millis(10)) {
                Ok(result) => return result.map_err(|e| GpuError::Internal(e.to_string())),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(GpuError::Internal("a mapping was dropped".to_owned()));
                }
            }
        }
    }

    /// Reads a mapping once it is there, and ends it.
    fn read_mapped(
        &self,
        staging: &wgpu::Buffer,
        mapping: &Mapping<'_>,
        after: wgpu::SubmissionIndex,
        mut reader: impl FnMut(&[u8]),
    ) -> Result<(), GpuError> {
        self.answered(mapping, Some(after))?;
        let view = mapping.slice.get_mapped_range().map_err(|e| GpuError::Internal(e.to_string()))?;
        reader(&view);
        drop(view);
        staging.unmap();
        Ok(())
    }

    /// Waits until a whole staging buffer can be read, and reads it.
    pub fn read_back(
        &self,
        staging: &wgpu::Buffer,
        after: wgpu::SubmissionIndex,
        reader: impl FnMut(&[u8]),
    ) -> Result<(), GpuError> {
        let mapping = self.map(staging, staging.size(), wgpu::MapMode::Read);
        self.read_mapped(staging, &mapping, after, reader)
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // kept bind groups would keep the memory
        lock(&self.device.0.groups).clear();
    }
}
