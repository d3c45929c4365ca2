; Breaks rule 10.
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
  state s1 "groups": format "q8_0"[L, V] grows V to S
  buffer b0 "x": f32[S, U]
  input i0 "tokens": i32[S]
  scalar start: i32
  scalar heat: f32
  output o0 "logits": f32[R, V]
launch f(s0 as [L])
}
; ---- expected
; state s1: a state of a format grows along its groups (rule 10)
; body[0]: another shape of s0, which grows (rule 10)
