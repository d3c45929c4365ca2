//! Formats and constant tables in the text form.

use super::super::format::{Decode, Field, FieldMode, Format, Scope};
use super::{Parser, hexadecimal};
use crate::text::Parsed;
use tvmc_types::dtype::DType;

impl Parser<'_> {
    pub(super) fn format(&mut self) -> Parsed<Format> {
        let name = self.at.text("the format's name in quotes")?;
        self.at.keyword("group")?;
        let group = self.at.u32("the number of elements in a group")?;
        self.at.keyword("bytes")?;
        let bytes = self.at.u32("the bytes of a group")?;
        let (mut row_head, mut tensor_head) = (0, 0);
        if self.at.eat_word("row")? {
            row_head = self.at.u32("the bytes before the groups of a row")?;
        }
        if self.at.eat_word("tensor")? {
            tensor_head = self.at.u32("the bytes before the rows of a matrix")?;
        }
        self.at.punct('{')?;
        let (mut fields, mut tables) = (Vec::new(), Vec::new());
        loop {
            if self.at.eat_word("field")? {
                fields.push(self.field(Scope::Group)?);
            } else if self.at.eat_word("row")? {
                self.at.keyword("field")?;
                fields.push(self.field(Scope::Row)?);
            } else if self.at.eat_word("tensor")? {
                self.at.keyword("field")?;
                fields.push(self.field(Scope::Tensor)?);
            } else if self.at.eat_word("table")? {
                tables.push(self.table()?);
            } else {
                break;
            }
        }
        let outer = std::mem::take(&mut self.types);
        let mut insts = Vec::new();
        while !self.at.is_word("value") {
            insts.push(self.inst()?);
        }
        self.at.keyword("value")?;
        let result = self.value()?;
        let values = self.take_types()?;
        self.types = outer;
        self.at.punct('}')?;
        let decode = Decode { values, insts, result };
        Ok(Format { name, group, bytes, row_head, tensor_head, fields, tables, decode })
    }

    /// `i32 [0x1, 0x2]`
    pub(super) fn table(&mut self) -> Parsed<(DType, Vec<u32>)> {
        let dtype = self.dtype()?;
        self.at.punct('[')?;
        let mut entries = Vec::new();
        while !self.at.is_punct(']') {
            entries.push(self.at.number("bits in hexadecimal", hexadecimal)?);
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(']')?;
        Ok((dtype, entries))
    }

    fn field(&mut self, scope: Scope) -> Parsed<Field> {
        let name = self.at.text("the field's name in quotes")?;
        self.at.punct(':')?;
        let dtype = self.dtype()?;
        self.at.punct('[')?;
        let count = self.at.u32("the number of values")?;
        self.at.punct(']')?;
        self.at.keyword("at")?;
        let bit_offset = self.at.u32("the first bit")?;
        self.at.keyword("modes")?;
        self.at.punct('(')?;
        let mut modes = Vec::new();
        while !self.at.is_punct(')') {
            let size = self.at.u32("the number of values of a digit")?;
            self.at.punct(':')?;
            let stride = self.at.u32("the digit's stride")?;
            modes.push(FieldMode { size, stride });
            if !self.at.eat(',')? {
                break;
            }
        }
        self.at.punct(')')?;
        Ok(Field { name, dtype, count, scope, bit_offset, modes })
    }

    // Code
}
