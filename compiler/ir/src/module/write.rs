//! Module to bytes, see the head of [`super`].

use super::bytes::Writer;
use super::{Key, MAGIC, Module, VERSION, Wanted};
use crate::host::Number;
use sha2::{Digest, Sha256};

/// The file of a module. [`Module::check`] says whether it will be read back.
pub fn write(module: &Module) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.u64(VERSION);
    let length_at = out.0.len();
    out.u64(0);
    out.text(&module.build);
    section(&mut out, 1, |out| {
        out.list(&module.sources, |out, source| {
            out.text(&source.name);
            out.text(&source.text);
        });
    });
    section(&mut out, 2, |out| {
        out.list(&module.imports, |out, import| {
            match &import.wanted {
                Wanted::Library(name) => {
                    out.u64(0);
                    out.text(name);
                }
                Wanted::File { from, path } => {
                    out.u64(1);
                    out.u64(u64::from(*from));
                    out.text(path);
                }
            }
            out.u64(u64::from(import.source));
        });
    });
    section(&mut out, 3, |out| out.list(&module.interfaces, |out, i| out.text(&i.to_string())));
    section(&mut out, 4, |out| out.list(&module.programs, |out, p| out.text(&p.to_string())));
    section(&mut out, 5, |out| {
        out.list(&module.instances, |out, instance| {
            key(out, &instance.key);
            out.text(&instance.kernel.to_string());
        });
    });
    section(&mut out, 6, |out| {
        out.list(&module.formats, |out, format| {
            out.text(&format.name);
            out.u64(u64::from(format.group));
            out.u64(u64::from(format.bytes));
            out.u64(u64::from(format.row_head));
            out.u64(u64::from(format.tensor_head));
        });
    });
    section(&mut out, 7, |out| {
        out.list(&module.settings, |out, (name, number)| {
            out.text(name);
            let (tag, bits) = match number {
                Number::Int(value) => (0, value.cast_unsigned()),
                Number::Float(value) => (1, value.to_bits()),
                Number::Bool(value) => (2, u64::from(*value)),
            };
            out.u64(tag);
            out.u64(bits);
        });
    });
    section(&mut out, 8, |out| {
        out.list(&module.tunings, |out, tuning| {
            out.text(&tuning.machine);
            key(out, &tuning.key);
        });
    });
    let mut bytes = out.0;
    let length = (bytes.len() + super::CHECKSUM) as u64;
    bytes[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
    let sum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

fn section(out: &mut Writer, tag: u64, contents: impl FnOnce(&mut Writer)) {
    out.u64(tag);
    out.measured(contents);
}

fn key(out: &mut Writer, key: &Key) {
    out.text(&key.kernel);
    out.list(&key.elements, |out, (name, element)| {
        out.text(name);
        out.text(element);
    });
    out.list(&key.dims, |out, (name, size)| {
        out.text(name);
        out.u64(*size);
    });
    out.list(&key.tunes, |out, (name, value)| {
        out.text(name);
        out.u64(value.cast_unsigned());
    });
}
