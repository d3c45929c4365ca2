#!/usr/bin/env python3
"""Times whole models beside llama.cpp: the same files, threads and lengths, in interleaved rounds, with a read probe in every round.

    bench/llama_cpp.py --out results smollm2                                  # results.json, results.md, results.svg
    bench/llama_cpp.py --out results smollm2 --types q4_0,q8_0,q4_k           # the model in these types, too

llama.cpp is built from the source package of llama-cpp-python where no `--llama-bench` is given (needs pip, cmake and a C++ compiler; once, into
`--build`), for this machine (GGML_NATIVE). Where that build dies on the first model (virtual machines that name AMX but do not grant it), it is built once
more with what the processor names but AMX. It runs with its weights repacked and as they are, flash attention on; the better of the two counts.
tvmc runs with f32 and with 8-bit activations; only the first computes what llama.cpp's f32 reference does, llama.cpp itself quantises activations to 8 bits.
Types of `--types` are made by `tvmc quantize` from the first model, embeddings kept, and both programs run those files.

Columns: medians over the rounds in tokens per second; the ratio of tvmc's to llama.cpp's; for decoding, the share of the read probe that
the file's bytes at that speed are. The table has every row, also those where we lose. Below it, the most memory that each program held at a time
(a prompt of 64, 8 decoded, most threads), in MB.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "llama-cpp-python==0.3.36"


def run(command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.strip().splitlines()[-12:])
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{tail}")
    return done.stdout


def build(folder):
    """llama-bench, from the source package."""
    found = list(folder.glob("build/**/bin/llama-bench"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    print("building llama.cpp; this takes some minutes", file=sys.stderr)
    run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", folder, PACKAGE])
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("*/vendor/llama.cpp"))
    return compiled(source, folder / "build", ["-DGGML_NATIVE=ON"])


# llama.cpp's options by the processor's flags.
FEATURES = {
    "sse4_2": "SSE42", "avx": "AVX", "f16c": "F16C", "fma": "FMA", "bmi2": "BMI2", "avx2": "AVX2", "avx_vnni": "AVX_VNNI", "avx512f": "AVX512",
    "avx512vbmi": "AVX512_VBMI", "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16",
}


def compiled(source, folder, features):
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF", *features]
    run(["cmake", "-S", source, "-B", folder, *flags])
    run(["cmake", "--build", folder, "--target", "llama-bench", "-j"])
    return next(folder.glob("**/bin/llama-bench"))


def working(program, folder, model):
    """The program if it runs on this machine, else one built without AMX."""
    def runs(program):
        command = [program, "-m", model, "-p", "16", "-n", "1", "-r", "1", "--repack", "1"]
        return subprocess.run([str(c) for c in command], capture_output=True).returncode == 0

    if runs(program):
        return program
    found = list(folder.glob("plain/**/bin/llama-bench"))
    if not found:
        print("llama.cpp built for this machine does not run on it; building it without AMX", file=sys.stderr)
        named = set(pathlib.Path("/proc/cpuinfo").read_text().split())
        features = [f"-DGGML_{option}={'ON' if flag in named else 'OFF'}" for flag, option in FEATURES.items()]
        found = [compiled(next(folder.glob("*/vendor/llama.cpp")), folder / "plain", ["-DGGML_NATIVE=OFF", *features])]
    if not runs(found[0]):
        sys.exit(f"{found[0]} does not run {model}")
    return found[0]


def ours(arguments, model, activations):
    command = [arguments.tvmc, "bench", model, "-o", "json", "-r", arguments.repetitions, "--act", activations]
    command += ["-p", arguments.prompt, "-n", arguments.generated, "-t", arguments.threads]
    rows = json.loads(run(command))["rows"]
    return {(row["test"][:2], row["threads"]): row["tokens_per_second"] for row in rows}


def theirs(arguments, model, repack):
    command = [arguments.llama_bench, "-m", model, "-o", "json", "-r", arguments.repetitions, "-fa", "on", "--repack", repack]
    command += ["-p", arguments.prompt, "-n", arguments.generated, "-t", arguments.threads]
    rows = json.loads(run(command))
    return {("pp" if row["n_prompt"] else "tg", row["n_threads"]): statistics.median(row["samples_ts"]) for row in rows}


def probe(arguments):
    """GB/s that threads read, by their number."""
    command = [arguments.tvmc, "bench", ROOT / "stdlib/linear.tile", "--kernel", "linear", "--json", "-r", "1", "-t", arguments.threads]
    for value in ("x=act8[1,1024]", "w=q8_0[1024,1024]", "y=f32[1,1024]"):
        command += ["--arg", value]
    return {row["threads"]: row["read_gb_per_second"] for row in json.loads(run(command))["rows"]}


def peak(command):
    """MB that a command holds at most, pages of mapped files included."""
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {status}")
    return usage.ru_maxrss / 1000


def memory(arguments, models):
    """MB by model and program."""
    threads = arguments.threads.split(",")[-1]
    work = ["-p", "64", "-n", "8", "-r", "1", "-t", threads]
    programs = {
        "tvmc q8": lambda model: [arguments.tvmc, "bench", model, *work, "--act", "q8"],
        "llama.cpp repacked": lambda model: [arguments.llama_bench, "-m", model, *work, "-fa", "on", "--repack", "1"],
        "llama.cpp as stored": lambda model: [arguments.llama_bench, "-m", model, *work, "-fa", "on", "--repack", "0"],
    }
    return {model.name: {name: peak(command(model)) for name, command in programs.items()} for model in models}


def measure(arguments, models):
    """Samples by (model, test, threads, program), and of the probe by threads."""
    samples, reads = {}, {}
    programs = [
        ("tvmc f32", lambda model: ours(arguments, model, "f32")),
        ("llama.cpp repacked", lambda model: theirs(arguments, model, 1)),
        ("tvmc q8", lambda model: ours(arguments, model, "q8")),
        ("llama.cpp as stored", lambda model: theirs(arguments, model, 0)),
    ]
    for number in range(arguments.rounds):
        for threads, speed in probe(arguments).items():
            reads.setdefault(threads, []).append(speed)
        for model in models:
            # Every other round the other way about, so that no program always runs on a warmer machine.
            for program, time in programs[:: 1 if number % 2 == 0 else -1]:
                for (test, threads), speed in time(model).items():
                    samples.setdefault((model.name, test, threads, program), []).append(speed)
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return samples, reads


def rows_of(samples, reads, sizes):
    middle = {key: statistics.median(values) for key, values in samples.items()}
    rows = []
    for model, test, threads in sorted({key[:3] for key in middle}):
        at = lambda program: middle[model, test, threads, program]
        peer = max(at("llama.cpp repacked"), at("llama.cpp as stored"))
        row = {"model": model, "test": test, "threads": threads, "llama_cpp": peer,
               "repacked": at("llama.cpp repacked"), "as_stored": at("llama.cpp as stored")}
        for name, program in (("f32", "tvmc f32"), ("q8", "tvmc q8")):
            row[name], row[name + "_ratio"] = at(program), at(program) / peer
            row[name + "_share"] = at(program) * sizes[model] / 1e9 / statistics.median(reads[threads]) if test == "tg" else None
        rows.append(row)
    return rows


def table(rows, about, held):
    head = ["model", "test", "threads", "llama.cpp", "tvmc f32", "ratio", "share", "tvmc q8", "ratio", "share"]
    out = [about, "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        figures = [f"{row['llama_cpp']:.1f}"]
        for name in ("f32", "q8"):
            share = row[name + "_share"]
            figures += [f"{row[name]:.1f}", f"{row[name + '_ratio']:.2f}", "-" if share is None else f"{share:.2f}"]
        out.append("| " + " | ".join([row["model"], row["test"], str(row["threads"]), *figures]) + " |")
    names = list(next(iter(held.values())))
    out += ["", "| MB at most | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    out += [f"| {model} | " + " | ".join(f"{figures[name]:.0f}" for name in names) + " |" for model, figures in held.items()]
    return "\n".join(out) + "\n"


def picture(rows):
    """Bars of the ratios; the line is 1."""
    most = max([row[name + "_ratio"] for row in rows for name in ("f32", "q8")] + [1.0])
    scale = 400 / most
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{40 * len(rows) + 50}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>', '<text x="8" y="18">tokens per second as a multiple of llama.cpp\'s (blue: f32 activations, orange: 8 bits)</text>']
    for at, row in enumerate(rows):
        top = 34 + 40 * at
        out.append(f'<text x="8" y="{top + 20}">{escape(row["model"][:34])} {row["test"]}, {row["threads"]} threads</text>')
        for line, (name, colour) in enumerate((("f32", "#4878a8"), ("q8", "#d08030"))):
            ratio = row[name + "_ratio"]
            out.append(f'<rect x="330" y="{top + 16 * line}" width="{ratio * scale:.1f}" height="13" fill="{colour}"/>')
            out.append(f'<text x="{336 + ratio * scale:.1f}" y="{top + 11 + 16 * line}">{ratio:.2f}</text>')
    out.append(f'<line x1="{330 + scale:.1f}" x2="{330 + scale:.1f}" y1="26" y2="{34 + 40 * len(rows)}" stroke="black"/>')
    return "\n".join([*out, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", help="fetched names or paths of GGUF files")
    parser.add_argument("--out", required=True, help="path of the results without ending")
    parser.add_argument("--tvmc", default=ROOT / "target/release/tvmc", type=pathlib.Path)
    parser.add_argument("--llama-bench", type=pathlib.Path, help="a built one, instead of building it")
    parser.add_argument("--build", default=ROOT / "target/llama.cpp", type=pathlib.Path, help="where it is built")
    parser.add_argument("--types", default="", help="types that the first model is also stored in, as q4_0,q8_0")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generated", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = []
        for model in arguments.models:
            path = pathlib.Path(model)
            models.append(path if path.exists() else pathlib.Path(run([arguments.tvmc, "fetch", model]).strip()))
        for kind in filter(None, arguments.types.split(",")):
            path = pathlib.Path(folder) / f"{models[0].stem.rsplit('.', 1)[0]}.{kind}.gguf"
            embedding = next(t["format"] for t in json.loads(run([arguments.tvmc, "inspect", models[0], "--json"]))["tensors"] if t["name"] == "token_embd.weight")
            run([arguments.tvmc, "quantize", models[0], path, "--type", kind, "--rule", f"token_embd={embedding}"])
            models.append(path)
        if not arguments.llama_bench:
            arguments.llama_bench = working(build(arguments.build), arguments.build, models[0])
        sizes = {}
        for model in models:
            sizes[model.name] = json.loads(run([arguments.tvmc, "inspect", model, "--json"]))["bytes"]
        samples, reads = measure(arguments, models)
        held = memory(arguments, models)
    rows = rows_of(samples, reads, sizes)
    probes = ", ".join(f"{statistics.median(speeds):.1f} GB/s with {threads}" for threads, speeds in sorted(reads.items()))
    about = (f"Prompt {arguments.prompt}, {arguments.generated} decoded, {arguments.rounds} rounds of {arguments.repetitions}, "
             f"llama.cpp of {PACKAGE}, flash attention on, the better of repacked and as stored; read probe {probes} threads.")
    out = arguments.out
    pathlib.Path(out + ".json").write_text(json.dumps({"about": about, "rows": rows, "read_gb_per_second": reads, "megabytes": held}, indent=1) + "\n")
    pathlib.Path(out + ".md").write_text(table(rows, about, held))
    pathlib.Path(out + ".svg").write_text(picture(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
