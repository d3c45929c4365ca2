//! What a run did: counts per target, failures, and which operations ran with which types on which machines.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use tvmc_ir::tile::Kernel;
use tvmc_tests::generate::{operations, pairs, taken};
use tvmc_tests::machines::Ran;
use tvmc_types::dtype::DType;

/// How often an operation ran with a type on a machine: kernels that contain it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// By `operation`, then `type`, then machine.
    counts: BTreeMap<String, BTreeMap<String, BTreeMap<String, u64>>>,
    /// Programs by machine.
    programs: BTreeMap<String, u64>,
    /// Programs that a machine has too little for, by machine and limit.
    skipped: BTreeMap<String, u64>,
    /// Mutated functions and programs of the lower IRs: what became of them.
    mutated: BTreeMap<String, u64>,
}

impl Coverage {
    /// Notes that a kernel ran on these machines.
    pub fn ran(&mut self, kernel: &Kernel, ran: &Ran) {
        let machines = &ran.machines;
        for machine in machines {
            *self.programs.entry((*machine).to_owned()).or_default() += 1;
        }
        for skip in &ran.skipped {
            *self.skipped.entry(format!("{}, {}", skip.machine, skip.limit)).or_default() += 1;
        }
        for (op, dtype) in pairs(kernel) {
            let counts = self.counts.entry(op).or_default().entry(dtype).or_default();
            for machine in machines {
                *counts.entry((*machine).to_owned()).or_default() += 1;
            }
        }
    }

    /// Notes one more program that was judged in another way, too.
    pub fn also(&mut self, how: &str) {
        *self.programs.entry(how.to_owned()).or_default() += 1;
    }

    /// Notes what became of mutated code.
    pub fn became(&mut self, fate: &str) {
        *self.mutated.entry(fate.to_owned()).or_default() += 1;
    }

    /// Notes that a mutated lane function ran on these machines.
    pub fn lanes(&mut self, fate: &str, ran: &Ran) {
        self.became(fate);
        for machine in &ran.machines {
            self.became(&format!("{fate}, on {machine}"));
        }
        for skip in &ran.skipped {
            self.became(&format!("{fate}, but not on {}: {}", skip.machine, skip.limit));
        }
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Coverage) {
        for (own, others) in [
            (&mut self.programs, &other.programs),
            (&mut self.skipped, &other.skipped),
            (&mut self.mutated, &other.mutated),
        ] {
            for (name, count) in others {
                *own.entry(name.clone()).or_default() += count;
            }
        }
        for (op, dtypes) in &other.counts {
            for (dtype, machines) in dtypes {
                let own = self.counts.entry(op.clone()).or_default().entry(dtype.clone()).or_default();
                for (machine, count) in machines {
                    *own.entry(machine.clone()).or_default() += count;
                }
            }
        }
    }

    /// Programs by machine, then two tables: a row per operation, with how many types it ran with and the kernels per machine, and a row per type with how many operations took
    /// it; what never ran; and what became of mutated IR.
    pub fn table(&self) -> String {
        let machines: BTreeSet<&String> =
            self.counts.values().flat_map(|types| types.values().flat_map(BTreeMap::keys)).collect();
        let mut mutated = String::new();
        if !self.mutated.is_empty() {
            mutated += "| mutated IR | |\n|---:|---|\n";
            for (fate, count) in &self.mutated {
                let _ = writeln!(mutated, "| {count} | {fate} |");
            }
        }
        if machines.is_empty() {
            return mutated;
        }
        let all = self.programs.get("tile interpreter").copied().unwrap_or(0);
        let mut out = String::from("| programs | of all | |\n|---:|---:|---|\n");
        for (machine, count) in &self.programs {
            let _ =
                writeln!(out, "| {count} | {:.1} % | {machine} |", *count as f64 * 100.0 / all.max(1) as f64);
        }
        for (what, count) in &self.skipped {
            let _ = writeln!(
                out,
                "| {count} | {:.1} % | not run: too much for {what} |",
                *count as f64 * 100.0 / all.max(1) as f64
            );
        }
        if !self.programs.contains_key("wgsl") {
            out += "\nNo program ran on WGSL: there is no adapter, or none was drawn for it.\n";
        }
        out += "\n| operation | types |";
        let mut rule = String::from("|---|---:|");
        for machine in &machines {
            let _ = write!(out, " {machine} |");
            rule += "---:|";
        }
        out += "\n";
        out += &rule;
        out += "\n";
        for (op, types) in &self.counts {
            let _ = write!(out, "| `{op}` | {} |", types.len());
            for machine in &machines {
                let count: u64 = types.values().filter_map(|counts| counts.get(*machine)).sum();
                let _ = write!(out, " {count} |");
            }
            out += "\n";
        }
        let missing: Vec<String> =
            operations().into_iter().filter(|op| !self.counts.contains_key(op)).collect();
        let _ = writeln!(
            out,
            "\n{} of {} operations ran.",
            operations().len() - missing.len(),
            operations().len()
        );
        if !missing.is_empty() {
            let _ = writeln!(out, "Never run: {}.", missing.join(", "));
        }
        out += "\n";
        self.types(&machines, &mut out);
        self.pairs(&mut out);
        if !mutated.is_empty() {
            out += "\n";
        }
        out + &mutated
    }

    /// How many of the pairs that the verifier takes ran, and which did not.
    fn pairs(&self, out: &mut String) {
        let ran = |(op, dtype): &(String, String)| {
            self.counts.get(op).is_some_and(|types| types.contains_key(dtype))
        };
        let all = taken();
        let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (op, dtype) in all.iter().filter(|pair| !ran(pair)) {
            missing.entry(op).or_default().push(dtype);
        }
        let count: usize = missing.values().map(Vec::len).sum();
        let _ =
            writeln!(out, "\n{} of {} pairs of an operation and its type ran.", all.len() - count, all.len());
        for (op, dtypes) in missing {
            let _ = writeln!(out, "Never `{op}` of {} types: {}.", dtypes.len(), dtypes.join(", "));
        }
    }

    /// A row for each operation with each type: how many kernels that hold it ran on each machine.
    pub fn matrix(&self) -> String {
        let machines: BTreeSet<&String> =
            self.counts.values().flat_map(|types| types.values().flat_map(BTreeMap::keys)).collect();
        let mut out = String::from("| operation | type |");
        let mut rule = String::from("|---|---|");
        for machine in &machines {
            let _ = write!(out, " {machine} |");
            rule += "---:|";
        }
        let _ = writeln!(out, "\n{rule}");
        for (op, types) in &self.counts {
            for (dtype, counts) in types {
                let _ = write!(out, "| `{op}` | {dtype} |");
                for machine in &machines {
                    let _ = write!(out, " {} |", counts.get(*machine).copied().unwrap_or(0));
                }
                out += "\n";
            }
        }
        out
    }

    /// The table of types.
    fn types(&self, machines: &BTreeSet<&String>, out: &mut String) {
        let mut rows: BTreeMap<&str, (u64, BTreeMap<&str, u64>)> = BTreeMap::new();
        for types in self.counts.values() {
            for (dtype, counts) in types {
                // A conversion counts for both its types.
                for name in dtype.split(" to ") {
                    let (operations, row) = rows.entry(name).or_default();
                    *operations += 1;
                    for (machine, count) in counts {
                        *row.entry(machine).or_default() += count;
                    }
                }
            }
        }
        *out += "| type | operations |";
        let mut rule = String::from("|---|---:|");
        for machine in machines {
            let _ = write!(out, " {machine} |");
            rule += "---:|";
        }
        let _ = writeln!(out, "\n{rule}");
        // The types of kernels: those of 64 bits are for weights alone.
        let known: Vec<DType> = DType::ALL.iter().copied().filter(|dtype| dtype.bits() <= 32).collect();
        for dtype in &known {
            let Some((operations, row)) = rows.get(dtype.name()) else { continue };
            let _ = write!(out, "| `{dtype}` | {operations} |");
            for machine in machines {
                let _ = write!(out, " {} |", row.get(machine.as_str()).copied().unwrap_or(0));
            }
            *out += "\n";
        }
        let missing: Vec<&str> =
            known.iter().map(|dtype| dtype.name()).filter(|name| !rows.contains_key(name)).collect();
        let _ = writeln!(out, "\n{} of {} types ran.", known.len() - missing.len(), known.len());
        if !missing.is_empty() {
            let _ = writeln!(out, "Never run: {}.", missing.join(", "));
        }
    }
}

/// A failure as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The input's number.
    pub number: u64,
    /// Where or how it failed, see [`crate::trial::Failure`].
    pub place: String,
    /// All there is to say.
    pub what: String,
    /// The input, made as small as was possible.
    pub input: Vec<u8>,
}

/// What one or more workers did for a target.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Inputs judged.
    pub tried: u64,
    /// Inputs that were found sound and went all the way.
    pub accepted: u64,
    /// Inputs that failed.
    pub failed: u64,
    /// One input for each place of failure.
    pub findings: Vec<Finding>,
    /// What ran where.
    pub coverage: Coverage,
    /// Seconds of work.
    pub seconds: f64,
}

impl Tally {
    /// Adds what another worker did.
    pub fn add(&mut self, other: Tally) {
        self.tried += other.tried;
        self.accepted += other.accepted;
        self.failed += other.failed;
        self.seconds += other.seconds;
        self.coverage.add(&other.coverage);
        for finding in other.findings {
            if self.findings.iter().all(|known| known.place != finding.place) {
                self.findings.push(finding);
            }
        }
    }
}

/// The table of counts, a row per target.
pub fn counts(tallies: &[(String, Tally)]) -> String {
    let mut out =
        String::from("| target | inputs | accepted | per second | failures |\n|---|---:|---:|---:|---:|\n");
    for (name, tally) in tallies {
        let rate = tally.tried as f64 / tally.seconds.max(1e-3);
        let _ =
            writeln!(out, "| {name} | {} | {} | {rate:.0} | {} |", tally.tried, tally.accepted, tally.failed);
    }
    out
}
