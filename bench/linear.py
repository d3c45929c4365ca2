#!/usr/bin/env python3
"""Times one linear layer in every GGUF type beside ggml: the same shape and threads, in interleaved rounds, with the roofs of the same run.

    bench/linear.py --out results                      # 4096 x 14336, batch 1 and 512: results.json, results.md, results.svg
    bench/linear.py --out results --only 'q4_|iq'      # the types that match
    bench/linear.py --out results --peer ''            # without ggml: our figures and the read roof alone

ggml comes from the source package of llama-cpp-python (needs pip, cmake, a C compiler; once, into `--build`), built for this machine, with
`ggml_linear.c` beside it as the program that is timed; `--peer` gives a built one. It runs with weights repacked and as stored, and the better of the two
counts. tvmc multiplies by activations of 8 bits (`act8`), as ggml does. Both quantise x outside of, ggml inside, what is timed.

Columns: G operations per second (2 N K batch / time), medians over the rounds; the ratio to ggml's better one; for batch 1 the share of the read probe
that the declared bytes at that speed are, for larger ones the share of the most 8-bit operations that the peer's program found. Every type is a row, also
where we lose; a side that fails is a dash, and its message stands below the table.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tarfile
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "llama-cpp-python==0.3.36"
FORMATS = [ROOT / "stdlib/formats/gguf.tile", ROOT / "stdlib/formats/gguf_iq.tile"]


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line] or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{pathlib.Path(command[0]).name}: {lines[-1]}")
    return done.stdout


def build(folder):
    """The peer's program, from the source package."""
    program = folder / "ggml_linear"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    print("building ggml; this takes some minutes", file=sys.stderr)
    if not list(folder.glob("*/vendor/llama.cpp")):
        run([sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", folder, PACKAGE])
        with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
            archive.extractall(folder, filter="data")
    source = next(folder.glob("*/vendor/llama.cpp"))
    off = [f"-DLLAMA_BUILD_{part}=OFF" for part in ("TESTS", "EXAMPLES", "TOOLS", "SERVER", "COMMON")]
    run(["cmake", "-S", source, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", *off])
    run(["cmake", "--build", folder / "build", "--target", "ggml", "-j"])
    libraries = next(folder.glob("build/**/libggml.so")).parent
    run(["cc", "-O2", "-march=native", "-fopenmp", ROOT / "bench/ggml_linear.c", "-I", source / "ggml/include", "-L", libraries,
         f"-Wl,-rpath,{libraries.resolve()}", "-lggml", "-lggml-base", "-lggml-cpu", "-lm", "-o", program])
    return program


def types():
    """Names of the stored types."""
    return re.findall(r"^format (\w+)", "\n".join(path.read_text() for path in FORMATS), re.M)


class Failures(dict):
    """First message of each side that fails."""

    def attempt(self, key, action):
        if key in self:
            return None
        try:
            return action()
        except RuntimeError as error:
            self[key] = str(error)
            return None


def ours(arguments, name, batch):
    """(Microseconds, bytes as declared, GB/s of the read probe) by threads."""
    n, k = arguments.shape
    command = [arguments.tvmc, "bench", ROOT / "stdlib/linear.tile", "--kernel", "linear", "--json", "-r", arguments.repetitions]
    command += ["-t", arguments.threads, "--copies", arguments.copies]
    for value in (f"x=act8[{batch},{k}]", f"w={name}[{n},{k}]", f"y=f32[{batch},{n}]"):
        command += ["--arg", value]
    rows = json.loads(run(command))["rows"]
    return {row["threads"]: (row["microseconds"], row["bytes"], row["read_gb_per_second"]) for row in rows}


def theirs(arguments, name, batch, repack):
    n, k = arguments.shape
    found = {}
    for threads in map(int, arguments.threads.split(",")):
        command = [arguments.peer, name, n, k, batch, threads, repack, arguments.copies, arguments.repetitions]
        found[threads] = json.loads(run(command))["us"]
    return found


def roof(arguments, threads):
    return json.loads(run([arguments.peer, "roof", threads]))["gops"] if arguments.peer else None


def measure(arguments, names):
    samples, sizes, reads, roofs, failures = {}, {}, {}, {}, Failures()

    def note(side, key, times):
        for threads, time in (times or {}).items():
            samples.setdefault((*key, threads, side), []).append(time)

    for number in range(arguments.rounds):
        for threads in map(int, arguments.threads.split(",")):
            found = failures.attempt(("roof",), lambda: roof(arguments, threads))
            if found:
                roofs.setdefault(threads, []).append(found)
        for name in names:
            for batch in arguments.batches:

                def tvmc():
                    times = failures.attempt((name, batch, "tvmc"), lambda: ours(arguments, name, batch)) or {}
                    for threads, (_, size, read) in times.items():
                        sizes[name, batch] = size
                        if read:
                            reads.setdefault(threads, []).append(read)
                    note("tvmc", (name, batch), {threads: time for threads, (time, *_) in times.items()})

                def peer():
                    for side, repack in (("repacked", 1), ("as stored", 0)):
                        if arguments.peer:
                            times = failures.attempt((name, batch, side), lambda: theirs(arguments, name, batch, repack))
                            note(side, (name, batch), times)

                # Every other round the other way about, so that no program always runs on a warmer machine.
                for side in (tvmc, peer)[:: 1 if number % 2 == 0 else -1]:
                    side()
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
    return samples, sizes, reads, roofs, failures


def rows_of(arguments, samples, sizes, reads, roofs):
    n, k = arguments.shape
    rows = []
    for name, batch, threads in sorted({key[:3] for key in samples}, key=lambda key: (key[1], key[2], key[0])):

        def speed(side):
            times = samples.get((name, batch, threads, side))
            return 2 * n * k * batch / statistics.median(times) / 1e3 if times else None

        row = {"type": name, "batch": batch, "threads": threads, "tvmc": speed("tvmc")}
        row["repacked"], row["as_stored"] = speed("repacked"), speed("as stored")
        peer = max(filter(None, (row["repacked"], row["as_stored"])), default=None)
        row["ggml"] = peer
        row["ratio"] = row["tvmc"] / peer if row["tvmc"] and peer else None
        row["share"] = None
        if row["tvmc"] and batch == 1 and threads in reads:
            seconds = 2 * n * k / (row["tvmc"] * 1e9)
            row["share"] = sizes[name, batch] / seconds / 1e9 / statistics.median(reads[threads])
        elif row["tvmc"] and threads in roofs:
            row["share"] = row["tvmc"] / statistics.median(roofs[threads])
        rows.append(row)
    return rows


def table(rows, about, failures):
    head = ["type", "batch", "threads", "tvmc", "ggml repacked", "ggml as stored", "ratio", "share of the roof"]
    out = [about, "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    figure = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    for row in rows:
        cells = [row["type"], str(row["batch"]), str(row["threads"])]
        cells += [figure(row[side], 1) for side in ("tvmc", "repacked", "as_stored")]
        cells += [figure(row["ratio"], 2), figure(row["share"], 2)]
        out.append("| " + " | ".join(cells) + " |")
    lost = [f"{r['type']} (batch {r['batch']}, {r['threads']} threads: {r['ratio']:.2f})" for r in rows if r["ratio"] and r["ratio"] < 0.97]
    if any(row["ratio"] for row in rows):
        out += ["", "Slower than ggml by more than 3 %: " + (", ".join(lost) or "none") + "."]
    if failures:
        out += ["", *(f"* {' '.join(map(str, key))}: {message}" for key, message in sorted(failures.items(), key=str))]
    return "\n".join(out) + "\n"


def picture(rows):
    """Bars of the ratios, or of the speeds without a peer; the line is 1."""
    compared = any(row["ratio"] for row in rows)
    value = lambda row: (row["ratio"] if compared else row["tvmc"]) or 0
    most = max([value(row) for row in rows] + [1.0])
    scale = 400 / most
    what = "as a multiple of ggml's better one" if compared else "in G operations per second"
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{18 * len(rows) + 40}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>', f'<text x="8" y="16">speed of a linear layer {what}</text>']
    for at, row in enumerate(rows):
        top, colour = 26 + 18 * at, "#4878a8" if not compared or value(row) >= 0.97 else "#c04040"
        out.append(f'<text x="8" y="{top + 11}">{escape(row["type"])}, batch {row["batch"]}, {row["threads"]} threads</text>')
        out.append(f'<rect x="220" y="{top}" width="{value(row) * scale:.1f}" height="13" fill="{colour}"/>')
        out.append(f'<text x="{226 + value(row) * scale:.1f}" y="{top + 11}">{value(row):.2f}</text>')
    if compared:
        out.append(f'<line x1="{220 + scale:.1f}" x2="{220 + scale:.1f}" y1="22" y2="{30 + 18 * len(rows)}" stroke="black"/>')
    return "\n".join([*out, "</svg>", ""])


def main():
    shape = lambda text: tuple(int(part) for part in text.split("x"))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", required=True, help="path of the results without ending")
    parser.add_argument("--tvmc", default=ROOT / "target/release/tvmc", type=pathlib.Path)
    parser.add_argument("--peer", help="a built ggml_linear, instead of building it; empty for none")
    parser.add_argument("--build", default=ROOT / "target/ggml", type=pathlib.Path, help="where it is built")
    parser.add_argument("--only", default="", help="a regular expression of types")
    parser.add_argument("--shape", type=shape, default=(4096, 14336), help="rows and columns of the weights, as 4096x14336")
    parser.add_argument("--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 512])
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--copies", type=int, default=4, help="copies of the weights that take turns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.peer is None:
        try:
            arguments.peer = build(arguments.build)
        except RuntimeError as error:
            sys.exit(f"ggml cannot be built ({error}); `--peer ''` measures without it")
    names = [name for name in types() if re.search(arguments.only, name)]
    if not names:
        sys.exit(f"no type of {FORMATS[0].name} and {FORMATS[1].name} matches `{arguments.only}`")
    n, k = arguments.shape
    samples, sizes, reads, roofs, failures = measure(arguments, names)
    rows = rows_of(arguments, samples, sizes, reads, roofs)
    middles = lambda values, unit: ", ".join(f"{statistics.median(v):.1f} {unit} with {t}" for t, v in sorted(values.items()))
    about = f"Linear {n} x {k}, G operations per second, {arguments.rounds} rounds of {arguments.repetitions}, {arguments.copies} copies of the weights; read probe {middles(reads, 'GB/s')} threads"
    about += f"; most 8-bit operations {middles(roofs, 'G/s')} threads; ggml of {PACKAGE}." if roofs else "."
    document = {"about": about, "rows": rows, "read_gb_per_second": reads, "gops": roofs}
    document["failures"] = {" ".join(map(str, key)): message for key, message in failures.items()}
    pathlib.Path(arguments.out + ".json").write_text(json.dumps(document, indent=1) + "\n")
    pathlib.Path(arguments.out + ".md").write_text(table(rows, about, failures))
    pathlib.Path(arguments.out + ".svg").write_text(picture(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
