//! Starts workers, and sees them hang or die: an input that does either is a failure like any other.
//!
//! A worker that dies, hangs or is stuck is followed by a fresh one that goes on behind the input in question.

use crate::report::{Finding, Tally};
use crate::targets::{Target, make};
use crate::trial::shrink;
use crate::worker::STUCK;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a worker is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long an input that ended a process is made smaller.
const SHRINK: Duration = Duration::from_secs(60);

/// How a worker ended.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// All done.
    Done,
    /// It asks for a successor.
    Stuck,
    /// It died at its last input: how, and its last words.
    Died(String),
    /// It had to be killed.
    Hung,
}

/// What a worker left.
#[derive(Clone, PartialEq, Debug)]
pub struct Left {
    /// Its last tally.
    pub tally: Tally,
    /// How it ended.
    pub end: End,
    /// The number of its last input, if it began one.
    pub last: Option<u64>,
}

fn how(status: ExitStatus) -> String {
    // A memory fault in generated code, an overflowing stack and a refused allocation end in a signal.
    status.to_string()
}

fn number(state: &Path) -> Option<u64> {
    let bytes = std::fs::read(state).ok()?;
    Some(u64::from_le_bytes(bytes.first_chunk().copied()?))
}

fn read_all(from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is not shown.
        let _ = from.take(1 << 16).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Runs one worker to its end. `hang` is how long it may show no new number in `state`.
pub fn watch(mut command: Command, state: &Path, hang: Duration) -> std::io::Result<Left> {
    std::fs::write(state, b"")?;
    let mut child: Child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let words = child.stderr.take().map(read_all);
    let lines = child.stdout.take().map(|out| {
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.filter_map(|line| serde_json::from_str::<Tally>(&line).ok()).last()
        })
    });
    let (mut seen, mut since) = (None, Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        let now = number(state);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > hang {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(POLL);
    };
    let tally = lines.and_then(|thread| thread.join().ok()).flatten().unwrap_or_default();
    let words = words.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let end = match status {
        None => End::Hung,
        Some(status) if status.success() => End::Done,
        Some(status) if status.code() == Some(i32::from(STUCK)) => End::Stuck,
        Some(status) => End::Died(format!("{}: {}", how(status), words.trim())),
    };
    Ok(Left { tally, end, last: number(state) })
}

/// One run: where it saves, and how it starts itself.
#[derive(Clone, Debug)]
pub struct Run {
    /// This program.
    pub program: PathBuf,
    /// The seed.
    pub seed: u64,
    /// Where inputs that fail are kept.
    pub save: PathBuf,
}

impl Run {
    fn worker(&self, target: Target, first: u64, seconds: f64, state: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--target", &target.name(), "--seed", &self.seed.to_string()]);
        command.args(["--first", &first.to_string(), "--seconds", &seconds.to_string(), "--worker"]);
        command.arg(state);
        command
    }

    /// Fuzzes one target for this long.
    pub fn target(&self, target: Target, time: Duration) -> std::io::Result<Tally> {
        let scratch = tempfile::tempdir()?;
        let state = scratch.path().join("state");
        let start = Instant::now();
        let mut total = Tally::default();
        let mut first = 0;
        loop {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            let command = self.worker(target, first, left.as_secs_f64(), &state);
            let worker = watch(command, &state, target.hang())?;
            let tried = worker.last.map_or(0, |last| last + 1 - first);
            let mut tally = worker.tally;
            // A worker that died told its last tally some inputs before.
            tally.tried = tally.tried.max(tried);
            total.add(tally);
            first = worker.last.map_or(first, |last| last + 1);
            let what = match worker.end {
                End::Done => break,
                End::Stuck => continue,
                End::Hung => "hangs".to_owned(),
                End::Died(how) => format!("dies, {how}"),
            };
            total.failed += 1;
            let place = what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>();
            let Some(last) = worker.last else {
                // It never began: going on would not end.
                total.findings.push(Finding { number: first, place, what, input: Vec::new() });
                break;
            };
            if total.findings.iter().all(|known| known.place != place) {
                let input = make(target.open().as_mut(), self.seed, last);
                let input = self.shrink(target, &input, scratch.path());
                total.findings.push(Finding { number: last, place, what, input });
            }
        }
        total.seconds = start.elapsed().as_secs_f64();
        Ok(total)
    }

    /// Makes an input smaller while a process that judges it still does not end well.
    fn shrink(&self, target: Target, input: &[u8], scratch: &Path) -> Vec<u8> {
        let file = scratch.join("input");
        shrink(input, SHRINK, &mut |smaller| {
            let Ok(()) = std::fs::write(&file, smaller) else { return false };
            let mut command = Command::new(&self.program);
            command.args(["--target", &target.name(), "--input"]).arg(&file);
            match watch(command, &scratch.join("shrinking"), target.hang()) {
                Ok(Left { end: End::Died(how), .. }) => how.contains("signal"),
                Ok(Left { end: End::Hung, .. }) => true,
                Ok(_) | Err(_) => false,
            }
        })
    }

    /// Saves a finding; gives its path.
    pub fn keep(&self, target: Target, finding: &Finding) -> std::io::Result<PathBuf> {
        use sha2::{Digest, Sha256};
        std::fs::create_dir_all(&self.save)?;
        let sum: String = Sha256::digest(&finding.input).iter().take(4).map(|b| format!("{b:02x}")).collect();
        let path = self.save.join(format!("{}-{sum}", target.name()));
        std::fs::write(&path, &finding.input)?;
        Ok(path)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run(script: &str, hang: Duration) -> Left {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).arg(&state);
        watch(command, &state, hang).expect("it runs")
    }

    #[test]
    fn each_end_of_a_worker_is_told_apart() {
        let long = Duration::from_secs(60);
        let tally = serde_json::to_string(&Tally { tried: 7, ..Tally::default() }).expect("JSON");
        let done = run(&format!("echo '{tally}'"), long);
        assert_eq!((done.end, done.tally.tried, done.last), (End::Done, 7, None));
        assert_eq!(run("exit 3", long).end, End::Stuck);
        let died = run("printf '\\005\\0\\0\\0\\0\\0\\0\\0' > \"$1\"; echo words >&2; kill -9 $$", long);
        assert!(matches!(&died.end, End::Died(how) if how.contains("signal: 9") && how.ends_with("words")));
        assert_eq!(died.last, Some(5));
        assert_eq!(run("sleep 60 >&- 2>&-", Duration::from_millis(300)).end, End::Hung);
    }
}
