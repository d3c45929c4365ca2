//! What no text of machine IR can break, and that no text breaks its reader or its verifier.

mod support;

use support::Random;
use tvmc_backend_x86::mir::{self, BlockId, MAX_FRAME, Rule, Text, parse, verify};
use tvmc_backend_x86::{Options, allocate, encode};

/// A function with most forms of operands: memory of each kind, masks, ties, fixed registers, flags, a loop.
const EVERYTHING: &str = r#"machine @everything v4 registers 24 scratch 64 {
  const c0 align 4 "0000803f"
b0:
  define writes (rdi=g0, rsi=g1)
  VEX_Kmovq_kr_r64 =m2, g1
  EVEX_Vpbroadcastd_zmm_k1z_xmmm32 =v3, [c0]
  EVEX_Vpxord_xmm_k1z_xmm_xmmm128b32 =v4, same, same
  EVEX_Vgatherdps_zmm_k1_vm32z v5=v4, [g0 + v3 by 4] under m6=m2
  EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er =v7, v5, [c0] broadcast under m2 zeroing
  EVEX_Vmovups_zmmm512_k1z_zmm [frame], v7
  Mov_r32_rm32 =g8, [frame + g1 by 4]
  Xor_r32_rm32 =g9, same
  Div_rm32 g8 reads (rax=g1, rdx=g9) writes (rax=g10, rdx=g11)
  jump b1(g10, v7)
b1(g12, v13) hot:
  EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er v14=v13, v5, [g0 + g12 by 4 + -32]
  Add_rm64_imm8 g15=g12, 16
  Cmp_r32_rm32 g15, g8
  Cmovl_r32_rm32 g16=g15, g8
  branch l Cmp_r32_rm32 g16, g8 then b2 else b3
b2:
  jump b1(g15, v14)
b3:
  EVEX_Vmovups_zmmm512_k1z_zmm [g0], v14 under m2
  Add_rm32_imm8 [g0 + 8], 1 locked
  return
}
"#;

fn selected(text: &str) -> mir::Mir {
    match parse(text) {
        Ok(Text::Selected(function)) => function,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_with_every_form_is_read_judged_and_encoded() {
    let function = selected(EVERYTHING);
    assert_eq!(function.to_string(), EVERYTHING);
    assert_eq!(verify(&function), Ok(()));
    let (allocated, _) = allocate(&function, Options { check: true }).unwrap();
    let text = allocated.to_string();
    let Ok(Text::Allocated(again)) = parse(&text) else { panic!("{text}") };
    assert_eq!(again, allocated);
    assert_eq!(encode(&again).unwrap(), encode(&allocated).unwrap());
}

#[test]
fn blocks_are_placed_once() {
    let mut function = selected(EVERYTHING);
    function.order.pop();
    let errors = verify(&function).unwrap_err();
    assert_eq!((errors[0].rule, errors[0].at.as_str()), (Rule::Order, "b3"));
    function.order.extend([BlockId(3), BlockId(1), BlockId(9)]);
    let rules: Vec<(Rule, String)> =
        verify(&function).unwrap_err().into_iter().map(|error| (error.rule, error.message)).collect();
    assert!(rules.contains(&(Rule::Order, "b9 is placed but not there".to_owned())), "{rules:?}");
    assert!(rules.contains(&(Rule::Order, "placed 2 times, must be placed once".to_owned())), "{rules:?}");
}

#[test]
fn the_frame_has_a_limit() {
    let text = |scratch: u32| EVERYTHING.replace("scratch 64", &format!("scratch {scratch}"));
    assert_eq!(verify(&selected(&text(MAX_FRAME))), Ok(()));
    assert_eq!(verify(&selected(&text(MAX_FRAME + 1))).unwrap_err()[0].rule, Rule::Limits);
}

/// Words of the text in other places: most are refused, none makes reader, verifier, allocator or emitter fail.
#[test]
fn what_verifies_is_allocated_and_encoded() {
    let (allocated, _) = allocate(&selected(EVERYTHING), Options { check: true }).unwrap();
    let mut random = Random(7);
    let mut sound = [0; 2];
    for text in [EVERYTHING.to_owned(), allocated.to_string()] {
        let words: Vec<&str> = text.split_inclusive([' ', '\n', ',', '=', '[', ']', '(', ')']).collect();
        for _ in 0..4000 {
            let mut changed = words.clone();
            for _ in 0..=random.below(3) {
                let (to, from) = (random.below(words.len() as u64), random.below(words.len() as u64));
                changed[to as usize] = words[from as usize];
            }
            let changed = changed.concat();
            match parse(&changed) {
                Ok(Text::Selected(function)) if verify(&function).is_ok() => {
                    sound[0] += 1;
                    let (allocated, _) = allocate(&function, Options { check: true })
                        .unwrap_or_else(|error| panic!("{error}\n{changed}"));
                    encode(&allocated).unwrap_or_else(|error| panic!("{error}\n{changed}"));
                }
                Ok(Text::Allocated(function)) if verify(&function).is_ok() => {
                    sound[1] += 1;
                    encode(&function).unwrap_or_else(|error| panic!("{error}\n{changed}"));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    assert!(sound.iter().all(|count| *count > 100), "{sound:?}");
}
