//! One tile operation on lane values. The register form of a dtype is f32 for floats of up to 32 bits (a narrower float is held as the
//! f32 that equals it), i32 for integers (sign- or zero-extended) and bool.

use crate::lower::{LowerError, Lowering};
use tvmc_ir::lane::{self, Pure, Scalar};
use tvmc_ir::tile::{Binary, CastRule, Inst, Unary, bitcast_leads};
use tvmc_types::dtype::{DType, Kind};

impl Lowering<'_> {
    /// A constant given by its bit pattern.
    pub fn constant(&mut self, dtype: DType, bits: u32) -> Result<lane::Value, LowerError> {
        Ok(match dtype.kind() {
            Kind::Bool => self.emit.bool(bits != 0),
            Kind::Unsigned | Kind::Signed => self.emit.i32(bits as i32),
            Kind::Float => self.emit.f32_bits(bits),
        })
    }

    /// Element-wise, one operand.
    pub fn unary(&mut self, op: Unary, dtype: DType, a: lane::Value) -> Result<lane::Value, LowerError> {
        let float = dtype.kind() == Kind::Float;
        let pure = match op {
            Unary::Neg if float => Pure::FNeg,
            Unary::Neg => {
                let zero = self.emit.i32(0);
                return Ok(self.emit.pure(Pure::ISub, &[zero, a]));
            }
            Unary::Not if dtype.kind() == Kind::Bool => Pure::BNot,
            Unary::Not => {
                let ones = self.emit.i32(-1);
                return Ok(self.emit.pure(Pure::IXor, &[a, ones]));
            }
            Unary::Abs if float => Pure::FAbs,
            Unary::Abs if dtype.kind() == Kind::Unsigned => return Ok(a),
            Unary::Abs => {
                let zero = self.emit.i32(0);
                let negative = self.emit.pure(Pure::ISub, &[zero, a]);
                return Ok(self.emit.pure(Pure::IMaxS, &[a, negative]));
            }
            Unary::Sqrt => Pure::FSqrt,
            Unary::Floor => Pure::Floor,
            Unary::Ceil => Pure::Ceil,
            Unary::Trunc => Pure::Trunc,
            Unary::Round => Pure::Nearest,
            Unary::PopCount => Pure::PopCount,
        };
        Ok(self.emit.pure(pure, &[a]))
    }

    /// Element-wise, two operands of this dtype.
    pub fn binary(
        &mut self,
        op: Binary,
        dtype: DType,
        a: lane::Value,
        b: lane::Value,
    ) -> Result<lane::Value, LowerError> {
        let kind = dtype.kind();
        let pick = |float: Pure, signed: Pure, unsigned: Pure| match kind {
            Kind::Float => float,
            Kind::Signed => signed,
            Kind::Unsigned | Kind::Bool => unsigned,
        };
        let pure = match op {
            Binary::Add => pick(Pure::FAdd, Pure::IAdd, Pure::IAdd),
            Binary::Sub => pick(Pure::FSub, Pure::ISub, Pure::ISub),
            Binary::Mul => pick(Pure::FMul, Pure::IMul, Pure::IMul),
            Binary::Div => pick(Pure::FDiv, Pure::IDivS, Pure::IDivU),
            Binary::Rem if kind == Kind::Float => return self.unsupported("the remainder of floats", None),
            Binary::Rem => pick(Pure::IRemS, Pure::IRemS, Pure::IRemU),
            Binary::Min => pick(Pure::FMin, Pure::IMinS, Pure::IMinU),
            Binary::Max => pick(Pure::FMax, Pure::IMaxS, Pure::IMaxU),
            Binary::And if kind == Kind::Bool => Pure::BAnd,
            Binary::Or if kind == Kind::Bool => Pure::BOr,
            Binary::Xor if kind == Kind::Bool => Pure::BXor,
            Binary::And => Pure::IAnd,
            Binary::Or => Pure::IOr,
            Binary::Xor => Pure::IXor,
            Binary::Shl => Pure::Shl,
            Binary::Shr => pick(Pure::ShrU, Pure::ShrS, Pure::ShrU),
            Binary::Eq | Binary::Ne if kind == Kind::Bool => {
                let differ = self.emit.pure(Pure::BXor, &[a, b]);
                return Ok(if op == Binary::Ne { differ } else { self.emit.pure(Pure::BNot, &[differ]) });
            }
            Binary::Eq => pick(Pure::FEq, Pure::IEq, Pure::IEq),
            Binary::Ne => pick(Pure::FNe, Pure::INe, Pure::INe),
            Binary::Lt => pick(Pure::FLt, Pure::ILtS, Pure::ILtU),
            Binary::Le => pick(Pure::FLe, Pure::ILeS, Pure::ILeU),
        };
        Ok(self.emit.pure(pure, &[a, b]))
    }

    /// A conversion between dtypes; `docs/reference/2-types.md` has the rules.
    pub fn cast(
        &mut self,
        a: lane::Value,
        from: DType,
        to: DType,
        rule: CastRule,
        inst: &Inst,
    ) -> Result<lane::Value, LowerError> {
        if from == to {
            return Ok(a);
        }
        match (from.kind(), to.kind()) {
            (Kind::Float, Kind::Float) => self.round_float(a, from, to, inst),
            (Kind::Bool, Kind::Float) => {
                let i = self.emit.pure(Pure::BoolToI32, &[a]);
                Ok(self.emit.pure(Pure::I32ToF32, &[i]))
            }
            (Kind::Bool, Kind::Signed | Kind::Unsigned) => Ok(self.emit.pure(Pure::BoolToI32, &[a])),
            (Kind::Float, Kind::Bool) => {
                let zero = self.emit.f32(0.0);
                Ok(self.emit.pure(Pure::FNe, &[a, zero]))
            }
            (Kind::Signed | Kind::Unsigned, Kind::Bool) => {
                let zero = self.emit.i32(0);
                Ok(self.emit.pure(Pure::INe, &[a, zero]))
            }
            (Kind::Signed, Kind::Float) => {
                let f = self.emit.pure(Pure::I32ToF32, &[a]);
                self.round_float(f, DType::F32, to, inst)
            }
            (Kind::Unsigned, Kind::Float) => {
                // Below 2^31 both conversions agree, and the signed one exists on every machine.
                let pure = if from.bits() < 32 { Pure::I32ToF32 } else { Pure::U32ToF32 };
                let f = self.emit.pure(pure, &[a]);
                self.round_float(f, DType::F32, to, inst)
            }
            (Kind::Float, Kind::Signed) => {
                let i = self.emit.pure(Pure::F32ToI32, &[a]);
                self.narrow(i, DType::I32, to, rule, inst)
            }
            (Kind::Float, Kind::Unsigned) => {
                // Wrapping takes the low bits of the signed integer; saturating clamps at 0.
                let wraps = rule == CastRule::Wrap && to.bits() < 32;
                let (pure, wide) =
                    if wraps { (Pure::F32ToI32, DType::I32) } else { (Pure::F32ToU32, DType::U32) };
                let i = self.emit.pure(pure, &[a]);
                self.narrow(i, wide, to, rule, inst)
            }
            (Kind::Signed | Kind::Unsigned, Kind::Signed | Kind::Unsigned) => {
                self.narrow(a, from, to, rule, inst)
            }
            (Kind::Bool, Kind::Bool) => Ok(a),
        }
    }

    fn round_float(
        &mut self,
        a: lane::Value,
        from: DType,
        to: DType,
        inst: &Inst,
    ) -> Result<lane::Value, LowerError> {
        // A wider target holds every value of the source.
        if to == DType::F32 || (from == DType::F16 || from == DType::BF16) && to == from {
            return Ok(a);
        }
        if to == DType::F16 {
            let bits = self.emit.pure(Pure::F32ToF16, &[a]);
            return Ok(self.emit.pure(Pure::F16ToF32, &[bits]));
        }
        if to == DType::BF16 {
            let bits = self.emit.pure(Pure::F32ToBf16, &[a]);
            let sixteen = self.emit.i32(16);
            let wide = self.emit.pure(Pure::Shl, &[bits, sixteen]);
            return Ok(self.emit.pure(Pure::F32FromBits, &[wide]));
        }
        if to.bits() <= 8 {
            let code = self.code_of(a, to);
            return self.widen_code(code, to);
        }
        self.unsupported(format!("converting {from} to {to} in a kernel"), Some(inst))
    }

    fn narrow(
        &mut self,
        a: lane::Value,
        from: DType,
        to: DType,
        rule: CastRule,
        inst: &Inst,
    ) -> Result<lane::Value, LowerError> {
        let signed = to.kind() == Kind::Signed;
        let bits = to.bits();
        let (lo, hi): (i64, i64) =
            if signed { (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1) } else { (0, (1i64 << bits) - 1) };
        match rule {
            CastRule::Exact => Ok(a),
            CastRule::Wrap if bits == 32 => Ok(a),
            CastRule::Wrap => Ok(self.extend_bits(a, bits, signed)),
            CastRule::Saturate | CastRule::Round => {
                let source_signed = from.kind() == Kind::Signed;
                let clamp = |x: i64| x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                if source_signed {
                    let lo = self.emit.i32(clamp(lo));
                    let low = self.emit.pure(Pure::IMaxS, &[a, lo]);
                    if hi >= i64::from(i32::MAX) {
                        return Ok(low);
                    }
                    let hi = self.emit.i32(clamp(hi));
                    Ok(self.emit.pure(Pure::IMinS, &[low, hi]))
                } else if hi >= i64::from(u32::MAX) {
                    Ok(a)
                } else {
                    let hi = self.emit.i32(hi as u32 as i32);
                    Ok(self.emit.pure(Pure::IMinU, &[a, hi]))
                }
            }
        }
        .and_then(|v| if bits > 32 { self.unsupported("a 64-bit integer", Some(inst)) } else { Ok(v) })
    }

    /// The low `bits` bits, extended.
    pub fn extend_bits(&mut self, a: lane::Value, bits: u32, signed: bool) -> lane::Value {
        if bits >= 32 {
            return a;
        }
        if signed {
            let shift = self.emit.i32((32 - bits) as i32);
            let high = self.emit.pure(Pure::Shl, &[a, shift]);
            self.emit.pure(Pure::ShrS, &[high, shift])
        } else {
            let mask = self.emit.i32(((1u64 << bits) - 1) as i32);
            self.emit.pure(Pure::IAnd, &[a, mask])
        }
    }

    /// The same bits as another dtype of that width. Registers hold the values of narrow floats as f32 and of narrow integers extended, so those
    /// are stored and read again.
    pub fn bitcast(
        &mut self,
        a: lane::Value,
        from: DType,
        to: DType,
        inst: &Inst,
    ) -> Result<lane::Value, LowerError> {
        let float = |d: DType| d.kind() == Kind::Float;
        if !bitcast_leads(from, to) {
            return self.unsupported(format!("a bitcast of {from} to {to}"), Some(inst));
        }
        if from.bits() < 32 {
            let code = match from {
                DType::F16 => self.emit.pure(Pure::F32ToF16, &[a]),
                DType::BF16 => self.emit.pure(Pure::F32ToBf16, &[a]),
                _ => self.code_of(a, from),
            };
            return self.widen_code(code, to);
        }
        Ok(match (float(from), float(to)) {
            (true, false) => self.emit.pure(Pure::F32Bits, &[a]),
            (false, true) => self.emit.pure(Pure::F32FromBits, &[a]),
            (true, true) | (false, false) => a,
        })
    }

    /// The neutral element of a sum, minimum or maximum in a register kind.
    pub fn zero(&mut self, scalar: Scalar) -> lane::Value {
        match scalar {
            Scalar::F32 => self.emit.f32(0.0),
            Scalar::I32 => self.emit.i32(0),
            Scalar::I64 => self.emit.i64(0),
            Scalar::Bool => self.emit.bool(false),
        }
    }
}
