#!/usr/bin/env python3
"""Times the stdlib's batch-1 linear for every stored format, beside a read probe of the same run.

Formats are all that stdlib/formats/gguf.tile and gguf_iq.tile declare, and groups of 32 with an f16 scale of every u1..u8, i2..i8 and eXmY
of 3 to 8 bits. One row of the table is one format and number of threads: the median over the rounds, which go through all formats in
turn so that a busy moment does not fall on one of them. Bytes are those of the declared format. A format that fails is a row with
its error; the table has no silent gaps.

    bench/formats.py --tvmc target/release/tvmc --out results        # results.json, results.md, results.svg

`share` is bytes per second over the probe's with as many threads. Launches take `--copies` of the weights in turn: where a cache holds all of
them it is the cache that is measured, so `share` is one of memory only with more copies than the last cache holds.
Weights lie packed, as in a session; their contents are `tvmc bench`'s random bytes.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent


def elements():
    """Names of element types, least bits first."""
    for bits in range(1, 9):
        yield f"u{bits}"
        if bits > 1:
            yield f"i{bits}"
    for bits in range(3, 9):
        for exponent in range(2, bits):
            yield f"e{exponent}m{bits - 1 - exponent}"


def source():
    """The stdlib's linear, and a format for each element type."""
    lines = [f"format {e}_codes {{ group 32 {{ d: f16; q: {e}[32]; }} value[i] = d * q[i]; }}" for e in elements()]
    return "\n".join(lines) + "\n" + (ROOT / "stdlib/linear.tile").read_text()


def declared():
    text = "\n".join((ROOT / f"stdlib/formats/{name}.tile").read_text() for name in ("gguf", "gguf_iq"))
    return re.findall(r"^format (\w+)", text, re.M)


def measure(arguments, path, name):
    n, k = arguments.shape
    command = [arguments.tvmc, "bench", str(path), "--kernel", "linear", "--json", "-r", str(arguments.repetitions)]
    command += ["-t", arguments.threads, "--cpu", arguments.cpu, "--copies", str(arguments.copies)]
    for value in (f"x=act8[1,{k}]", f"w={name}[{n},{k}]", f"y=f32[1,{n}]"):
        command += ["--arg", value]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.limit)
    except subprocess.TimeoutExpired:
        return None, f"no result within {arguments.limit} s"
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    return json.loads(done.stdout), None


def picture(rows):
    """Bars of weights per nanosecond, one a row."""
    good = [r for r in rows if "error" not in r]
    most = max((r["weights_per_ns"] for r in good), default=1)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{18 * len(good) + 30}" font-family="sans-serif" font-size="12">']
    out.append('<text x="8" y="16">weights per ns (right: share of the read probe)</text>')
    for at, row in enumerate(good):
        top, width = 26 + 18 * at, 420 * row["weights_per_ns"] / most
        out.append(f'<text x="8" y="{top + 11}">{escape(row["format"])}, {row["threads"]} threads</text>')
        out.append(f'<rect x="160" y="{top}" width="{width:.1f}" height="13" fill="#4878a8"/>')
        out.append(f'<text x="{166 + width:.1f}" y="{top + 11}">{row["weights_per_ns"]:.1f} ({row["share"]:.2f})</text>')
    return "\n".join([*out, "</svg>", ""])


def table(rows, about):
    head = ["format", "threads", "weights/ns", "GB/s", "read GB/s", "share"]
    out = [about, "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        if "error" in row:
            out.append(f"| {row['format']} | error: {row['error'].replace('|', '/')} |" + " - |" * (len(head) - 2))
        else:
            figures = [f"{row[key]:.2f}" for key in ("weights_per_ns", "gb_per_second", "read_gb_per_second", "share")]
            out.append("| " + " | ".join([row["format"], str(row["threads"]), *figures]) + " |")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tvmc", default=str(ROOT / "target/release/tvmc"))
    parser.add_argument("--out", required=True, help="path of the results without ending")
    parser.add_argument("--shape", default="14336x4096", type=lambda s: tuple(map(int, s.split("x"))), help="N x K")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--cpu", default="native")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="of the weights, taken in turn")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one format")
    parser.add_argument("--only", default=".", help="regular expression for names of formats")
    arguments = parser.parse_args()
    names = [f for f in declared() + [f"{e}_codes" for e in elements()] if re.search(arguments.only, f)]
    if not names:
        parser.error(f"no format matches {arguments.only!r}")
    found, errors = {}, {}
    flags = ""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "formats.tile"
        path.write_text(source())
        for round_number in range(arguments.rounds):
            for name in names:
                result, error = measure(arguments, path, name)
                if error:
                    errors[name] = error
                    print(f"{name}: {error}", file=sys.stderr)
                    continue
                flags = re.sub(r"\(.*?\)|W = \w+, ", "", result["flags"])
                for row in result["rows"]:
                    found.setdefault((name, row["threads"]), []).append(row)
            print(f"round {round_number + 1} of {arguments.rounds}", file=sys.stderr)
    n, k = arguments.shape
    rows = []
    for (name, threads), samples in found.items():
        middle = lambda key: statistics.median(s[key] for s in samples)
        rows.append({
            "format": name, "threads": threads, "rounds": len(samples), "weights_per_ns": n * k / middle("microseconds") / 1e3,
            "gb_per_second": middle("gb_per_second"), "read_gb_per_second": middle("read_gb_per_second"), "share": middle("ratio"),
        })
    rows.sort(key=lambda r: (r["threads"], -r["weights_per_ns"]))
    rows += [{"format": name, "error": error} for name, error in errors.items()]
    about = f"Linear {n} x {k}, n = 1, 8-bit activations, --cpu {arguments.cpu}, {arguments.rounds} rounds, {arguments.copies} copies.{flags and ' ' + flags}"
    out = arguments.out
    pathlib.Path(out + ".json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    pathlib.Path(out + ".md").write_text(table(rows, about))
    pathlib.Path(out + ".svg").write_text(picture(rows))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
