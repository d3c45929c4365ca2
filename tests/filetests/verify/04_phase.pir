; Breaks rule 4.
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
state s1 "t": f32[U]
}
; ---- expected
; state s1: `U` is not known before a call (rule 4)
