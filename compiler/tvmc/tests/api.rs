//! The Rust API: kernels on slices, models token by token, errors as enums. The example hosts of `examples/rust` run as their readers would run them.
#![forbid(unsafe_code)]

use std::process::Command;
use tvmc::api::{
    ActivationStorage, Argument, Ending, Error, Generate, Kernel, Machine, Message, Model, ModelSettings,
    Target,
};

const SCALE: &str = "
kernel scale(x: inout f32[N], by: f32)
  grid ceil(N, 64)
{
  let n = block[0] * 64;
  assert(by > 0.0, \"by must be positive\");
  x[n +: 64] = x[n +: 64] * by;
}
kernel widen(x: f16[N], y: out f32[N])
  grid ceil(N, 64)
{
  let n = block[0] * 64;
  y[n +: 64] = x[n +: 64];
}";

fn machines() -> Vec<Machine> {
    let machine = |target| Machine { target, threads: Some(2), device: None };
    vec![machine(Target::Cpu), machine(Target::Cranelift), machine(Target::Interpreter)]
}

#[test]
fn a_kernel_runs_on_slices_of_any_length() {
    for machine in machines() {
        let mut scale = Kernel::compile(SCALE, "scale", &machine).unwrap();
        for n in [1usize, 63, 64, 200, 5] {
            let mut x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            scale
                .launch(&mut [Argument::float("by", 2.0), Argument::write("x", &mut x, &[n as u64])])
                .unwrap();
            assert!(x.iter().enumerate().all(|(i, x)| *x == 2.0 * i as f32), "{n}");
        }
    }
}

#[test]
fn halves_are_slices_of_the_half_crate() {
    let x: Vec<half::f16> = (0..70).map(|i| half::f16::from_f32(i as f32 / 4.0)).collect();
    let mut y = vec![0f32; 70];
    let mut widen = Kernel::compile(SCALE, "widen", &Machine::default()).unwrap();
    widen.launch(&mut [Argument::read("x", &x, &[70]), Argument::write("y", &mut y, &[70])]).unwrap();
    assert!(x.iter().zip(&y).all(|(x, y)| x.to_f32() == *y));
}

#[test]
fn mistakes_in_a_source_come_back_as_diagnostics() {
    let error = Kernel::compile("kernel k() grid 1 { let x = y; }", "k", &Machine::default()).err().unwrap();
    let Error::Source { diagnostics } = error else { panic!("{error:?}") };
    assert!(diagnostics.contains("error[E") && diagnostics.contains("`y`"), "{diagnostics}");
    let error = Kernel::compile(SCALE, "scales", &Machine::default()).err().unwrap();
    assert!(matches!(&error, Error::Input(text) if text.contains("did you mean `scale`")), "{error:?}");
}

#[test]
fn mistakes_in_arguments_name_the_argument() {
    let mut scale = Kernel::compile(SCALE, "scale", &Machine::default()).unwrap();
    let x = vec![1f32; 8];
    let y = vec![1i32; 8];
    let mut z = vec![1f32; 8];
    let mut refused = |arguments: &mut [Argument<'_>], name: &str, why: &str| {
        let error = scale.launch(arguments).err().unwrap();
        let Error::Argument { name: found, why: text } = &error else { panic!("{error:?}") };
        assert!(found == name && text.contains(why), "{error}");
    };
    refused(&mut [Argument::float("by", 2.0)], "x", "missing");
    refused(&mut [Argument::float("by", 2.0), Argument::read("x", &y, &[8])], "x", "expects `f32`");
    refused(&mut [Argument::float("by", 2.0), Argument::write("x", &mut z, &[9])], "x", "32 bytes");
    refused(&mut [Argument::float("by", 2.0), Argument::read("x", &x, &[8])], "x", "writes it");
    refused(&mut [Argument::float("by", 2.0), Argument::float("b", 2.0)], "b", "no parameter");
    refused(&mut [Argument::float("by", 2.0), Argument::float("by", 2.0)], "by", "twice");
    refused(&mut [Argument::read("by", &x, &[8]), Argument::write("x", &mut z, &[8])], "by", "number");
}

#[test]
fn a_failed_assert_is_an_error() {
    let mut x = vec![1f32; 8];
    let mut scale = Kernel::compile(SCALE, "scale", &Machine::default()).unwrap();
    let arguments = &mut [Argument::float("by", -1.0), Argument::write("x", &mut x, &[8])];
    let error = scale.launch(arguments).err().unwrap();
    assert!(matches!(&error, Error::Launch(text) if text.contains("by must be positive")), "{error:?}");
}

#[test]
fn a_model_answers_token_by_token() {
    let mut model = Model::load("smollm2", &ModelSettings::default()).unwrap();
    let options = Generate { tokens: 6, ..Generate::default() };
    let pieces: Vec<String> = model
        .generate("The capital of France is", &options)
        .unwrap()
        .map(|token| token.unwrap().text)
        .collect();
    assert_eq!(pieces.len(), 6);
    let (text, ending) = model.generate("The capital of France is", &options).unwrap().into_text().unwrap();
    assert_eq!((pieces.concat(), Ending::Length), (text.clone(), ending));
    assert!(text.starts_with(" Paris."), "{text:?}");

    let stops = vec!["Paris".to_owned()];
    let options = Generate { tokens: 6, stops, ..Generate::default() };
    let answer = model.generate("The capital of France is", &options).unwrap();
    assert_eq!(answer.into_text().unwrap(), (" ".to_owned(), Ending::Stop));

    let logits = model.logits("The capital of France is").unwrap();
    let ids = model.tokenize(" Paris").unwrap();
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    assert_eq!(ids, [best as u32]);
    assert_eq!(model.text(&ids).unwrap(), " Paris");
}

#[test]
fn a_model_chats_by_its_template() {
    let settings = ModelSettings {
        activations: ActivationStorage::Q8,
        context: Some(512),
        machine: Machine { threads: Some(1), ..Machine::default() },
        ..ModelSettings::default()
    };
    let mut model = Model::load("smollm2", &settings).unwrap();
    assert_eq!(model.context(), 512);
    let messages = [Message::new("user", "Say hello.")];
    let options = Generate { tokens: 24, ..Generate::default() };
    let (text, _) = model.chat(&messages, &options).unwrap().into_text().unwrap();
    assert!(text.to_lowercase().contains("hello"), "{text:?}");
    // The next turn begins as this one did; what is not computed again is no different.
    let messages =
        [messages[0].clone(), Message::new("assistant", &text), Message::new("user", "And goodbye?")];
    let again = model.chat(&messages, &options).unwrap().into_text().unwrap();
    let fresh =
        Model::load("smollm2", &settings).unwrap().chat(&messages, &options).unwrap().into_text().unwrap();
    assert_eq!(again, fresh);
}

#[test]
fn a_missing_model_is_an_error() {
    let error = Model::load("./no/such.gguf", &ModelSettings::default()).err().unwrap();
    assert!(matches!(&error, Error::Input(text) if text.contains("no file")), "{error:?}");
    let error = Model::load("smolm2", &ModelSettings::default()).err().unwrap();
    assert!(matches!(&error, Error::Input(text) if text.contains("did you mean `smollm2`")), "{error:?}");
}

fn example(name: &str, arguments: &[&str]) -> String {
    // Test binaries stand in `deps`, examples beside that folder.
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");
    let output = Command::new(folder.join(name)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "an API says nothing: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_hosts_run() {
    assert_eq!(example("vector_add", &[]), "0.5 1.5 .. 999.5\n");
    let text = example("low_bit_linear", &[]);
    assert!(text.starts_with("5376 bytes for 12288 weights, relative error 0.0"), "{text}");
    let text = example("generate", &["smollm2", "The capital of France is"]);
    assert!(text.contains("\" Paris\"") && text.contains("The capital of France is Paris."), "{text}");
}

/// The real model on a GPU, or on a software device. The prompt is fed in two pieces of at most 7 tokens, so that prefill and decoding need the same kernels: a software device
/// compiles those of larger tiles for a minute and more.
#[test]
fn a_model_on_a_gpu_gives_the_golden_logits_and_tokens() {
    if std::env::var_os("CI").is_none() && std::env::var_os("TVMC_GPU").is_none() {
        eprintln!("skipped: set CI=true or TVMC_GPU");
        return;
    }
    const STORY: &str = "Once upon a time, there was a little girl named";
    let mut results = Vec::new();
    for target in [Target::Gpu, Target::Cpu] {
        let settings = ModelSettings {
            machine: Machine { target, threads: Some(2), device: None },
            activations: ActivationStorage::F32,
            ..ModelSettings::default()
        };
        let mut model = Model::load("smollm2", &settings).unwrap();
        model.logits("Once upon a time,").unwrap();
        let logits = model.logits(STORY).unwrap();
        let options = Generate { tokens: 24, ..Generate::default() };
        let ids: Vec<u32> = model.generate(STORY, &options).unwrap().map(|token| token.unwrap().id).collect();
        results.push((logits, ids));
    }
    let [(logits, ids), (reference, same)] = results.as_slice() else { panic!("two machines") };
    for (id, golden) in [(20391, 5.0007), (15487, 3.7412), (8165, 3.7062), (21230, 3.6694), (14176, 3.4863)] {
        assert!((logits[id] - golden).abs() <= 0.05, "logit of {id} is {}, golden {golden}", logits[id]);
    }
    let farthest = std::iter::zip(logits, reference).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(
        logits.len() == reference.len() && farthest <= 0.05,
        "a logit differs from the CPU's by {farthest}"
    );
    assert_eq!(ids[..12], [20391, 617, 5732, 288, 1238, 281, 260, 2388, 30, 2306, 736, 1129]);
    assert_eq!(ids, same);
    assert_eq!(ids.len(), 24);
}
