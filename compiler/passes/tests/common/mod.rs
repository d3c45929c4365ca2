//! Tile kernels built by hand, so that the passes are tested without a front end.

use tvmc_ir::host::{Binary as HostBinary, Expr};
use tvmc_ir::lane::Access;
use tvmc_ir::tile::{
    Binary, Builder, CastRule, Decode, DimDecl, Element, Field, FieldMode, Format, FormatId, Index, Inst,
    Kernel, Memory, Op, Param, Scope, TensorDecl, TileType, Value,
};
use tvmc_types::dtype::DType;

pub fn scalar(dtype: DType) -> TileType {
    TileType::scalar(dtype)
}

/// A tensor parameter.
pub fn tensor(name: &str, element: Element, shape: &[Expr], access: Access) -> TensorDecl {
    TensorDecl::Tensor { name: name.into(), element, shape: shape.to_vec(), access }
}

/// `d * q + m`, 32 codes of 4 bits, element i in the low nibble of byte i, element i + 16 in the high one.
pub fn q4_like() -> Format {
    let inst = |op, args: &[u32], result| Inst {
        op,
        args: args.iter().map(|a| Value(*a)).collect(),
        result: Some(Value(result)),
        location: None,
    };
    let one = vec![FieldMode { size: 1, stride: 1 }];
    Format {
        name: "q4".into(),
        group: 32,
        bytes: 20,
        row_head: 0,
        tensor_head: 0,
        fields: vec![
            Field {
                name: "d".into(),
                dtype: DType::F16,
                count: 1,
                scope: Scope::Group,
                bit_offset: 0,
                modes: one.clone(),
            },
            Field {
                name: "m".into(),
                dtype: DType::F16,
                count: 1,
                scope: Scope::Group,
                bit_offset: 16,
                modes: one,
            },
            Field {
                name: "q".into(),
                dtype: DType::U4,
                count: 32,
                scope: Scope::Group,
                bit_offset: 32,
                modes: vec![FieldMode { size: 2, stride: 1 }, FieldMode { size: 16, stride: 2 }],
            },
        ],
        tables: vec![],
        decode: Decode {
            values: vec![
                scalar(DType::I32),
                scalar(DType::I32),
                scalar(DType::F16),
                scalar(DType::F16),
                scalar(DType::U4),
                scalar(DType::F32),
                scalar(DType::F32),
                scalar(DType::F32),
                scalar(DType::F32),
                scalar(DType::F32),
            ],
            insts: vec![
                inst(Op::GroupIndex, &[], 0),
                inst(Op::Const(0), &[], 1),
                inst(Op::Field(0), &[1], 2),
                inst(Op::Field(1), &[1], 3),
                inst(Op::Field(2), &[0], 4),
                inst(Op::Cast(CastRule::Exact), &[2], 5),
                inst(Op::Cast(CastRule::Exact), &[3], 6),
                inst(Op::Cast(CastRule::Exact), &[4], 7),
                inst(Op::Binary(Binary::Mul), &[5, 7], 8),
                inst(Op::Binary(Binary::Add), &[8, 6], 9),
            ],
            result: Value(9),
        },
    }
}

/// y[M, N] = x[M, K] w[N, K]^T; K and N constants.
pub fn linear(format: Option<Format>, bm: u32, bn: u32, bk: u32, n: i64, k: i64) -> Kernel {
    let mut b = Builder::new("linear");
    let f32s = Element::DType(DType::F32);
    let element = if format.is_some() { Element::Format(FormatId(0)) } else { f32s };
    b.kernel.formats.extend(format);
    b.kernel.dims.push(DimDecl { name: "M".into() });
    let m = Expr::Name("M".into());
    b.kernel.params = vec![
        tensor("x", f32s, &[m.clone(), Expr::int(k)], Access::Read),
        tensor("w", element, &[Expr::int(n), Expr::int(k)], Access::Read),
        tensor("y", f32s, &[m.clone(), Expr::int(n)], Access::Write),
    ];
    let blocks = (n + i64::from(bn) - 1) / i64::from(bn);
    b.kernel.grid = vec![Expr::int(blocks), Expr::binary(HostBinary::CeilDiv, m, Expr::int(i64::from(bm)))];
    let i32s = || scalar(DType::I32);
    let bx = b.define(Op::BlockIndex(0), &[], i32s());
    let by = b.define(Op::BlockIndex(1), &[], i32s());
    let cn = b.i32(bn as i32);
    let cm = b.i32(bm as i32);
    let n0 = b.define(Op::Binary(Binary::Mul), &[bx, cn], i32s());
    let m0 = b.define(Op::Binary(Binary::Mul), &[by, cm], i32s());
    let zero = b.f32(0.0);
    let acc = b.define(Op::Broadcast, &[zero], TileType::new(DType::F32, &[bm, bn]));
    let from = b.i32(0);
    let to = b.i32(k as i32);
    let (kk, carried) = b.begin_for(from, to, bk, &[acc]);
    let load = |p| Op::Load {
        memory: Memory::Param(Param(p)),
        indices: if p == 0 {
            vec![Index::Slice(bm), Index::Slice(bk)]
        } else {
            vec![Index::Slice(bn), Index::Slice(bk)]
        },
        padded: false,
    };
    let x = b.define(load(0), &[m0, kk], TileType::new(DType::F32, &[bm, bk]));
    let w = b.define(load(1), &[n0, kk], TileType::new(DType::F32, &[bn, bk]));
    let wt = b.define(Op::Permute(vec![1, 0]), &[w], TileType::new(DType::F32, &[bk, bn]));
    let next = b.define(Op::Dot, &[x, wt, carried[0]], TileType::new(DType::F32, &[bm, bn]));
    let sums = b.end_for(&[next]);
    b.effect(
        Op::Store { memory: Memory::Param(Param(2)), indices: vec![Index::Slice(bm), Index::Slice(bn)] },
        &[m0, n0, sums[0]],
    );
    b.finish()
}
