//! Code that checks its accesses: that it finds nothing where nothing is wrong, and everything where proofs are wrong on purpose.

use super::program::Program;
use super::{Disagreement, FUEL, Machines, reference, wrong};
use crate::generate::Case;
use tvmc_cpu::LaunchError;
use tvmc_guarded::Placement;
use tvmc_interp::lane::{LaneOrder, TrapKind};
use tvmc_ir::lane::{self, Op, Place, Region, Stmt};
use tvmc_passes::target::WGSL;
use tvmc_passes::{Bounds, check_bounds};

/// How every report of such code begins.
const REPORT: &str = "out of bounds: ";

/// What became of code whose proofs are wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caught {
    /// The wrong proofs did no harm: nothing outside was touched.
    Harmless,
    /// Every machine refused the access: the words, by machine.
    Reported(Vec<(String, String)>),
}

impl Machines {
    /// Runs code that checks each access, on every machine: it must find nothing, and leave the same.
    pub fn check_bounds(&self, case: &Case) -> Result<(), Disagreement> {
        let expected = reference(case)?;
        for (row, name, cpu) in &self.cpu {
            let program = Program::new(case, row, Bounds::Checked)?;
            let name = format!("{name}, bounds checked");
            let got = program.on_lanes(LaneOrder::Ascending, &name)?;
            program.judge(case, &name, &expected, &got)?;
            if !self.takes(&program) {
                continue;
            }
            for got in program.on_cpu(&self.pool, *cpu, &name)?.into_iter().flatten() {
                program.judge(case, &name, &expected, &got)?;
            }
        }
        Ok(())
    }

    /// The same on the GPU, if there is one and the kernel fits it.
    pub fn check_bounds_on_gpu(&self, case: &Case) -> Result<(), Disagreement> {
        let Some(device) = &self.gpu else { return Ok(()) };
        let program = Program::new(case, &WGSL, Bounds::Checked)?;
        match program.on_gpu(device)? {
            Ok(got) => program.judge(case, "wgsl, bounds checked", &reference(case)?, &got),
            Err(_) => Ok(()),
        }
    }

    /// Takes each mask of an argument's accesses away, as if it had been proved not to be needed, and has the code check itself. What the lane interpreter finds outside without
    /// checks, every CPU must report with them, and touch nothing there: arguments end at guard pages.
    pub fn check_wrong_proofs(&self, case: &Case) -> Result<Caught, Disagreement> {
        let mut reports = Vec::new();
        for (row, name, cpu) in &self.cpu {
            let name = format!("{name}, proofs wrong");
            let mut program = Program::new(case, row, Bounds::Proved)?;
            let mut function = program.function.clone().into_inner();
            forget_masks(&mut function.body);
            let Ok(blind) = lane::verify(function.clone()) else {
                return wrong(&name, "code without masks does not verify");
            };
            program.function = blind;
            let outside = match program.run_on_lanes(LaneOrder::Ascending, FUEL) {
                Ok(_) => false,
                Err(trap) => match trap.kind {
                    TrapKind::OutOfBounds { .. } => true,
                    // Lanes that were masked off now race, or read what nobody wrote: not what is judged here.
                    _ => return Ok(Caught::Harmless),
                },
            };
            let lengths = check_bounds(&mut function, &[]);
            for length in lengths {
                let bytes = program.memory[length.buffer.index()].len() as u64;
                program.scalars.push(bytes / u64::from(length.size));
            }
            let Ok(checked) = lane::verify(function) else {
                return wrong(&name, "code that checks its accesses does not verify");
            };
            program.function = checked;
            match program.run_on_lanes(LaneOrder::Ascending, FUEL) {
                Err(trap) if matches!(trap.kind, TrapKind::OutOfBounds { .. }) => {
                    return wrong(&name, format!("the checks let through: {trap}\n{}", *program.function));
                }
                Ok(outcome) if outcome.failure.is_some() != outside => {
                    return wrong(&name, format!("outside {outside}, but reported: {:?}", outcome.failure));
                }
                Ok(_) | Err(_) => {}
            }
            for placement in Placement::ALL {
                match program.launched(&self.pool, *cpu, placement, &name)? {
                    Ok(_) if !outside => {}
                    Err(LaunchError::Assertion { said, .. }) if outside && said.contains(REPORT) => {
                        reports.push((name.clone(), said));
                    }
                    other => {
                        return wrong(&name, format!("outside {outside}, but the launch says {other:?}"));
                    }
                }
            }
        }
        Ok(if reports.is_empty() { Caught::Harmless } else { Caught::Reported(reports) })
    }

    /// Launches a case whose memory is not as long as its shapes say, so that every proof about it is wrong: `short` bytes of the tensor with this number. Gives what each machine
    /// says, WGSL too, with the place in the source.
    pub fn report_short(
        &self,
        case: &Case,
        tensor: usize,
        short: usize,
    ) -> Result<Vec<String>, Disagreement> {
        let mut said = Vec::new();
        for (row, name, cpu) in &self.cpu {
            let program = Program::new(case, row, Bounds::Checked)?.shortened(tensor, short);
            for placement in Placement::ALL {
                match program.launched(&self.pool, *cpu, placement, name)? {
                    Ok(_) => said.push("nothing".to_owned()),
                    Err(error) => said.push(error.to_string()),
                }
            }
        }
        if let Some(device) = &self.gpu {
            let program = Program::new(case, &WGSL, Bounds::Checked)?.shortened(tensor, short);
            match program.on_gpu(device)? {
                Ok(left) => said.push(left.log.unwrap_or_default().join("\n")),
                Err(skipped) => return wrong("wgsl", skipped.why),
            }
        }
        Ok(said)
    }
}

/// Every access of an argument is made by all lanes.
fn forget_masks(region: &mut Region) {
    for stmt in &mut region.stmts {
        match stmt {
            Stmt::Inst(inst) => {
                if let Op::Memory { place: Place::Buffer(_), masked: masked @ true, .. } = &mut inst.op {
                    *masked = false;
                    inst.args.pop();
                }
            }
            Stmt::For { body, .. } | Stmt::Loop { body, .. } => forget_masks(body),
            Stmt::If { then, otherwise, .. } => {
                forget_masks(then);
                forget_masks(otherwise);
            }
        }
    }
}
