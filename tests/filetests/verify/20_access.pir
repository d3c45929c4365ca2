; Access: what follows the shared head breaks it.
program @p {
  hyper L: i32 = "l"
  hyper H: i32 = "h" else L
  hyper eps: f32 = "eps" else 0.5
  const E = div(L, 2)
  const T = mul(V, 2)
  const U = add(S, T)
  weight w0 "embedding": any[V, L] = "e"
  weight w1 "gain"[L]: f32[mul(E, 2)] = "g.{}"
  weight w2 "head": any[V, L] = "h" else w0
  weight w3 "matrix"[L]: any[L, V] = "m.{}" else w1
  state s0 "keys": f16[L, E, V] grows V to add(start, S)
  buffer b0 "x": f32[S, U]
  input i0 "tokens": i32[S]
  scalar start: i32
  scalar heat: f32
  output o0 "logits": f32[R, V]
  for l in 0..1 { launch k(w0, b0[0], w1[l], i0, b0, scalar heat, scalar S) }
}
interface @k {
  generic W: format
  generic F: float
  generic I: int
  tensor "a": generic W[N, K] read
  tensor "b": generic F[K] read
  tensor "c": generic F[K] write
  tensor "d": generic I[N] read
  tensor "e": f32[N, K] readwrite
  scalar "s": f32
  scalar "n": u32
  dim N
  dim K specialised
  tune B = 4, 8
}
; ---- expected
; body[0].body[0]: w1[l] may only be read, `c` is written (rule 20)
