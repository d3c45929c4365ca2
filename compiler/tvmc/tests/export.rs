//! Kernels for C: objects, libraries and headers, compiled and linked with the system's C compiler and called from C.

mod common;

use common::{stderr, stdout, tvmc};
use std::path::Path;
use std::process::Command;

/// Names that would clash with C or with the wrapper's own, a condition, an assert, a shape that is computed, types below a byte.
const KERNELS: &str = r#"
kernel double(x: f32[N], bad: out f32[N], status: f32)
  grid ceil(N, 64)
  assume(N % 2 == 0)
{
  let n = block[0] * 64;
  assert(status < 100.0, "the factor \"status\" is too large??");
  bad[n +: 64] = x[n +: 64] * status;
}

kernel halves(x: f32[N * 2], y: inout i32[N], bits: u1[M, 24], n: i32)
  grid ceil(N, 64)
{
  let at = block[0] * 64;
  y[at +: 64] = y[at +: 64] + (x[at +: 64] as i32) + n + (bits[0, 0] as i32);
}

kernel softmax_rows(x: f32[M, K], y: out f32[M, K])
  grid M
{
  let m = block[0];
  let row = x[m +: 1, ..];
  let e = exp(row - max(row, axis = 1).unsqueeze(1));
  y[m +: 1, ..] = e / sum(e, axis = 1).unsqueeze(1);
}

kernel malloc(x: f32[N], x_bytes: i32, uint64_t: f32[N], linux: i32, class: out f32[N], tvmc_bad: i32)
  grid ceil(N, 64)
  assume((N - 64) * 2 < 1000)
{
  let n = block[0] * 64;
  class[n +: 64] = x[n +: 64] + uint64_t[n +: 64] + ((x_bytes + linux + tvmc_bad) as f32);
}

kernel talk(x: f32[N])
  grid 1
{
  print("x is {}", x[0]);
}
"#;

const MAIN: &str = r#"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "double.h"
#include "halves.h"
#include "softmax_rows.h"
#include "malloc.h"

static void *aligned(size_t bytes) {
  unsigned char *p = malloc(bytes + 64);
  return p + (64 - (uintptr_t)p % 64);
}

static void show(const char *what, tvmc_status s) {
  printf("%s: %d [%s] %s\n", what, (int)s.code, s.argument, s.text);
}

int main(void) {
  float *x = aligned(800), *y = aligned(800);
  int32_t *i = aligned(400);
  unsigned char *bits = aligned(64);
  for (int k = 0; k < 200; k++) x[k] = (float)k;

  show("ok", double_(100, x, 400, y, 400, 1.5f));
  for (int k = 0; k < 100; k++) if (y[k] != 1.5f * (float)k) return 10;
  show("none", double_(0, 0, 0, 0, 0, 1.5f));
  show("odd", double_(99, x, 400, y, 400, 1.5f));
  show("negative", double_(-2, x, 400, y, 400, 1.5f));
  show("huge", double_(INT64_C(4000000000), x, 400, y, 400, 1.5f));
  show("short", double_(100, x, 400, y, 399, 1.5f));
  show("null", double_(100, 0, 400, y, 400, 1.5f));
  show("misaligned", double_(100, x + 1, 400, y, 400, 1.5f));
  show("overlap", double_(100, x, 400, x + 16, 400, 1.5f));
  show("assert", double_(100, x, 400, y, 400, 1e9f));

  for (int k = 0; k < 100; k++) i[k] = 1000 * k;
  bits[0] = 1;
  show("halves", halves(100, 5, x, 800, i, 400, bits, 15, 7));
  for (int k = 0; k < 100; k++) if (i[k] != 1001 * k + 8) return 11;
  show("bits", halves(100, 5, x, 800, i, 400, bits, 14, 7));
  show("doubled", halves(100, 5, x, 799, i, 400, bits, 15, 7));

  show("names", malloc_(10, x, 40, 1, x, 40, 2, y, 40, 3));
  for (int k = 0; k < 10; k++) if (y[k] != 2.0f * (float)k + 6.0f) return 13;
  show("condition", malloc_(1000, x, 4000, 1, x, 4000, 2, y, 4000, 3));

  show("softmax", softmax_rows(3, x, 420, y, 420));
  for (int r = 0; r < 3; r++) {
    double sum = 0;
    for (int k = 0; k < 35; k++) sum += exp((double)x[r * 35 + k] - x[r * 35 + 34]);
    for (int k = 0; k < 35; k++) {
      double want = exp((double)x[r * 35 + k] - x[r * 35 + 34]) / sum;
      if (fabs(y[r * 35 + k] - want) > 1e-6 * want + 1e-12) return 12;
    }
  }
  return 0;
}
"#;

const EXPECTED: &str = "\
ok: 0 [] \n\
none: 0 [] \n\
odd: 4 [] the kernel's condition `N % 2 == 0` does not hold\n\
negative: 4 [N] a dimension is 0 to 2146435071\n\
huge: 4 [N] a dimension is 0 to 2146435071\n\
short: 2 [bad] shorter than its shape says\n\
null: 1 [x] a null pointer\n\
misaligned: 3 [x] not aligned to 64 bytes\n\
overlap: 5 [x] overlaps another argument, and one of them is written\n\
assert: 8 [] k.tile:7:3: assertion failed: the factor \"status\" is too large??\n\
halves: 0 [] \n\
bits: 2 [bits] shorter than its shape says\n\
doubled: 2 [x] shorter than its shape says\n\
names: 0 [] \n\
condition: 4 [] the kernel's condition `(N - 64) * 2 < 1000` does not hold\n\
softmax: 0 [] \n";

fn compiler() -> String {
    std::env::var("CC").ok().filter(|cc| !cc.is_empty()).unwrap_or_else(|| "cc".to_owned())
}

fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: a C compiler is needed"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?}\n{text}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn emit(dir: &Path, file: &str, kernel: &str, form: &str, to: &str, extra: &[&str]) {
    let (file, to) = (dir.join(file).display().to_string(), dir.join(to).display().to_string());
    let mut arguments = vec!["build", &file, "--kernel", kernel, "--emit", form, "-o", &to];
    arguments.extend(extra);
    stdout(&tvmc(&arguments));
}

const LIST: [(&str, &[&str]); 4] =
    [("double", &[]), ("halves", &[]), ("softmax_rows", &["--set", "K=35"]), ("malloc", &[])];

fn sources(dir: &Path, defines: bool) {
    std::fs::write(dir.join("k.tile"), KERNELS).unwrap();
    let mut main = String::new();
    if defines {
        main += "#define DOUBLE__IMPLEMENTATION\n#define HALVES_IMPLEMENTATION\n#define SOFTMAX_ROWS_IMPLEMENTATION\n#define MALLOC__IMPLEMENTATION\n";
    }
    std::fs::write(dir.join("main.c"), main + MAIN).unwrap();
}

/// What the program in a folder says, without the folder in the places of a source.
fn called(folder: &Path) -> String {
    run(&mut Command::new(folder.join("main"))).replace(&format!("{}/", folder.display()), "")
}

#[test]
fn objects_link_and_check_their_arguments_on_every_target() {
    let v4 = cfg!(target_arch = "x86_64") && std::is_x86_feature_detected!("avx512bw");
    let targets: &[&[&str]] = if v4 {
        &[&["--target", "cranelift"], &["--cpu", "x86-64-v3"], &["--cpu", "x86-64-v4"]]
    } else {
        &[&["--target", "cranelift"], &["--target", "cpu"]]
    };
    for target in targets {
        let dir = tempfile::tempdir().unwrap();
        sources(dir.path(), true);
        for (kernel, set) in LIST {
            let extra = [*target, set].concat();
            emit(dir.path(), "k.tile", kernel, "header", &format!("{kernel}.h"), &extra);
            emit(dir.path(), "k.tile", kernel, "obj", &format!("{kernel}.o"), &extra);
        }
        run(Command::new(compiler())
            .current_dir(dir.path())
            .args(["-std=c99", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O1", "-o", "main", "main.c"])
            .args(["double.o", "halves.o", "softmax_rows.o", "malloc.o", "-lm"]));
        assert_eq!(called(dir.path()), EXPECTED, "{target:?}");
    }
}

#[test]
fn libraries_hold_the_checked_function() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), false);
    for (kernel, set) in LIST {
        emit(dir.path(), "k.tile", kernel, "header", &format!("{kernel}.h"), set);
        emit(dir.path(), "k.tile", kernel, "lib", &format!("lib{kernel}.so"), set);
    }
    run(Command::new(compiler())
        .current_dir(dir.path())
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-o", "main", "main.c", "-L."])
        .args(["-ldouble", "-lhalves", "-lsoftmax_rows", "-lmalloc", "-lm", "-Wl,-rpath,$ORIGIN"]));
    assert_eq!(called(dir.path()), EXPECTED);
}

#[test]
fn a_header_is_cplusplus_too() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), true);
    emit(dir.path(), "k.tile", "halves", "header", "halves.h", &[]);
    std::fs::write(
        dir.path().join("main.cpp"),
        "#define HALVES_IMPLEMENTATION\n#include \"halves.h\"\nextern \"C\" void TVMC_CALL halves_block(const \
         struct tvmc_arguments *, int32_t, int32_t, int32_t) {}\nint main() { return halves(0, 0, 0, 0, 0, 0, 0, 0, 0).code; }\n",
    )
    .unwrap();
    let compile = Command::new("c++")
        .current_dir(dir.path())
        .args(["-std=c++11", "-Wall", "-Werror", "-o", "main", "main.cpp"])
        .output();
    match compile {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("skipped: no C++ compiler: {error}");
            return;
        }
    }
    run(&mut Command::new(dir.path().join("main")));
}

/// Every object says what it needs of a processor, those of the portable backend too, and a level by name promises no more than the level.
#[test]
#[cfg(target_arch = "x86_64")]
fn a_processor_that_lacks_something_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), true);
    let text = |extra: &[&str]| {
        emit(dir.path(), "k.tile", "halves", "header", "halves.h", extra);
        emit(dir.path(), "k.tile", "halves", "obj", "halves.o", extra);
        std::fs::read_to_string(dir.path().join("halves.h")).unwrap()
    };
    let avx2 = "tvmc_cpuid(0x7u, 0, 1, 5)";
    let (v3, v4) = (text(&["--cpu", "x86-64-v3"]), text(&["--cpu", "x86-64-v4"]));
    assert!(v3.contains(avx2) && v4.contains(avx2));
    assert!(v4.contains("avx512vl") && !v3.contains("avx512"));
    for extra in ["gfni", "vnni", "vbmi", "bf16", "vpopcntdq"] {
        assert!(!v3.contains(extra) && !v4.contains(extra), "{extra} is in no level");
    }
    let portable = text(&["--target", "cranelift"]);
    assert!(portable.contains("tvmc_cpuid(0x1u, 0, 2, 19)"), "SSE4.1 is the least: {portable}");
    assert!(!portable.contains("avx512"));
    // A system that does not save the vector registers.
    let lacking = portable.replace("= tvmc_saved(", "= !tvmc_saved(");
    assert_ne!(lacking, portable);
    std::fs::write(dir.path().join("halves.h"), lacking).unwrap();
    let main = "#include <stdio.h>\n#define HALVES_IMPLEMENTATION\n#include \"halves.h\"\nint main(void) { tvmc_status s = halves(0, 0, 0, 0, 0, 0, 0, 0, 0); \
                s = halves(0, 0, 0, 0, 0, 0, 0, 0, 0); printf(\"%d %s\\n\", (int)s.code, s.text); return 0; }\n";
    std::fs::write(dir.path().join("main.c"), main).unwrap();
    run(Command::new(compiler()).current_dir(dir.path()).args(["-o", "main", "main.c", "halves.o"]));
    let said = run(&mut Command::new(dir.path().join("main")));
    assert!(said.starts_with("7 this processor, or its system, lacks"), "{said}");
}

#[test]
fn what_has_no_form_in_c_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), true);
    let file = dir.path().join("k.tile").display().to_string();
    let out = dir.path().join("k.o").display().to_string();
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let output = tvmc(arguments);
        let text = stderr(&output, code);
        assert!(text.contains(words), "{arguments:?}: {text}");
        assert!(!Path::new(&out).exists());
    };
    refused(&["build", &file, "--kernel", "talk", "--emit", "obj", "-o", &out], 1, "take the `print` out");
    refused(&["build", &file, "--kernel", "double", "--emit", "obj"], 2, "needs -o FILE");
    let gpu = ["build", &file, "--kernel", "double", "--emit", "lib", "-o", &out, "--target", "gpu"];
    refused(&gpu, 2, "are for the CPU");
    // No such compiler: the error says what to do.
    let output = Command::new(env!("CARGO_BIN_EXE_tvmc"))
        .env("CC", "/no/such/compiler")
        .args(["build", &file, "--kernel", "double", "--emit", "lib", "-o", &out])
        .output()
        .unwrap();
    let text = stderr(&output, 1);
    assert!(text.contains("name it in CC"), "{text}");
}

#[test]
fn the_example_links_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    std::fs::copy(examples.join("low_bit_linear.tile"), dir.path().join("low_bit_linear.tile")).unwrap();
    let folder = dir.path().join("c");
    std::fs::create_dir(&folder).unwrap();
    for name in ["main.c", "Makefile"] {
        std::fs::copy(examples.join("c").join(name), folder.join(name)).unwrap();
    }
    let text = run(Command::new("make").current_dir(&folder).args([
        "-s",
        "run",
        &format!("TVMC={}", env!("CARGO_BIN_EXE_tvmc")),
    ]));
    let first = text.lines().next().unwrap_or_default();
    assert!(first.starts_with("300 sums, largest 5.17, off by at most 0.01"), "{text}");
    assert!(text.contains("short weights: code 2, argument `w`"), "{text}");
}

#[test]
fn a_header_says_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    sources(dir.path(), true);
    let file = dir.path().join("k.tile").display().to_string();
    let output = tvmc(&["build", &file, "--kernel", "halves", "--emit", "header", "--target", "cranelift"]);
    let text = stdout(&output);
    let head: Vec<&str> = text.lines().take(10).collect();
    let expected = [
        "/* halves: made by tvmc. For portable.",
        " *",
        " * N: a dimension, 0 to 2146435071",
        " * M: a dimension, 0 to 2146435071",
        " * x: f32[N * 2], row-major, 4 * N * 2 bytes, read",
        " * y: i32[N], row-major, 4 * N bytes, read and written",
        " * bits: u1[M, 24], row-major, 3 * M bytes, read",
        " * n: i32",
        " *",
        " * Pointers are aligned to 64 bytes. Returns at once if an argument does not fit: see `tvmc_status`. */",
    ];
    assert_eq!(head, expected);
}
