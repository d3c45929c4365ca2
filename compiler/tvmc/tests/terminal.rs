//! Chat in a real terminal: the command runs on a pseudo-terminal, keys are typed, and a terminal emulator turns what it writes into the screen that
//! a person would see.
#![cfg(unix)]
#![forbid(unsafe_code)]

mod common;

use common::{root, stdout, tvmc};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const ROWS: u16 = 40;
const COLUMNS: u16 = 100;
/// How long a screen may take; far more than it should, for machines that do other things too.
const PATIENCE: Duration = Duration::from_secs(120);

struct Terminal {
    screen: vt100::Parser,
    output: Receiver<Vec<u8>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    /// Runs the command in a terminal, with a cache folder of its own.
    fn open(arguments: &[&str], cache: &Path, no_color: bool) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_tvmc"));
        command.args(arguments);
        command.cwd(root());
        command.env("TERM", "xterm-256color");
        command.env("TVMC_CACHE", cache);
        command.env_remove("NO_COLOR");
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let screen = vt100::Parser::new(ROWS, COLUMNS, 0);
        Self { screen, output, keys, child, _master: pair.master }
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits for a screen.
    fn until(&mut self, what: &str, seen: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !seen(&self.text()) {
            assert!(Instant::now() < end, "never seen: {what}\n{}", self.text());
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(100)) {
                self.screen.process(&bytes);
            }
        }
    }

    fn shows(&mut self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    /// Waits until the last line is an empty prompt.
    fn prompts(&mut self) {
        self.until("an empty prompt at the end", |screen| screen.trim_end().ends_with("\n>"));
    }

    /// Types a line and waits for the prompt after it; what is typed ahead of a prompt would be lost.
    fn enters(&mut self, line: &str) {
        let prompts = |screen: &str| screen.matches("\n>").count();
        let before = prompts(&self.text());
        self.types(line);
        self.types("\r");
        self.until("the next prompt", |screen| {
            prompts(screen) > before && screen.trim_end().ends_with("\n>")
        });
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits for the end of the command.
    fn ends(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        loop {
            while let Ok(bytes) = self.output.try_recv() {
                self.screen.process(&bytes);
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(Instant::now() < end, "does not end\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }
}

fn model() -> String {
    stdout(&tvmc(&["fetch", "smollm2"])).trim().to_owned()
}

#[test]
fn a_conversation_in_a_terminal() {
    let model = model();
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("talk.md").display().to_string();
    let mut terminal = Terminal::open(
        &["chat", &model, "--temp", "0", "--act", "f32", "--ctx", "2048", "-n", "48"],
        dir.path(),
        true,
    );
    terminal.shows("/help lists commands; Ctrl-C ends an answer, Ctrl-D the conversation.");
    terminal.prompts();

    terminal.enters("What is the capital of France?");
    terminal.shows("Paris");

    // The line before comes back with the arrow key, and can be edited.
    terminal.types("\x1b[A");
    terminal.until("the line of the history", |screen| {
        screen.trim_end().ends_with("> What is the capital of France?")
    });
    terminal.enters("\x7f\x7f\x7f\x7f\x7f\x7f\x7fItaly?");
    terminal.shows("> What is the capital of Italy?");
    terminal.shows("Rome");

    // Lines that belong together.
    terminal.types("\"\"\"Answer with one word.\r");
    terminal.until("a prompt to go on", |screen| screen.trim_end().ends_with("\n."));
    terminal.enters("Which colour has grass?\"\"\"");
    terminal.shows("\n. Which colour has grass?");
    // Several lines that are pasted are one message.
    terminal.enters("\x1b[200~Say this word:\nbanana\x1b[201~");
    terminal.shows("> Say this word:");

    terminal.enters("/system You are terse.");
    terminal.enters("/system");
    terminal.shows("\nYou are terse.");
    terminal.enters("/sytem x");
    terminal.shows("did you mean `/system`");
    terminal.enters(&format!("/save {saved}"));
    let text = std::fs::read_to_string(&saved).unwrap();
    assert!(text.contains("capital of France") && text.contains("one word.\nWhich colour"), "{text}");
    assert!(text.contains("Say this word:\nbanana"), "{text}");
    terminal.enters("/reset");
    // Ctrl-D on an empty line.
    terminal.types("\x04");
    assert_eq!(terminal.ends(), 0, "{}", terminal.text());

    // The next conversation remembers the lines of this one.
    let mut terminal =
        Terminal::open(&["chat", &model, "--temp", "0", "--ctx", "256", "-n", "8"], dir.path(), true);
    terminal.prompts();
    terminal.types("\x1b[A\x1b[A\x1b[A");
    terminal.shows("> /s");
    terminal.types("\x03");
    terminal.prompts();
    terminal.types("\x04");
    assert_eq!(terminal.ends(), 0, "{}", terminal.text());
}

#[test]
fn an_answer_is_interrupted_and_the_conversation_goes_on() {
    let model = model();
    let dir = tempfile::tempdir().unwrap();
    let mut terminal =
        Terminal::open(&["chat", &model, "--temp", "0", "--ctx", "8192", "-n", "8000"], dir.path(), true);
    terminal.prompts();
    terminal.types("Write a very long story about the sea, at least fifty pages.\r");
    terminal.until("some of the answer", |screen| screen.matches(' ').count() > 60);
    terminal.types("\x03");
    terminal.shows("(interrupted)");
    terminal.prompts();
    terminal.types("Thank you.\r");
    terminal.until("the next answer", |screen| {
        screen.split("> Thank you.").nth(1).is_some_and(|rest| rest.trim().len() > 3)
    });
    terminal.types("\x03");
    terminal.prompts();
    terminal.types("/quit\r");
    assert_eq!(terminal.ends(), 0, "{}", terminal.text());
}

/// Whether any cell of the screen has a colour.
fn coloured(terminal: &Terminal) -> bool {
    let screen = terminal.screen.screen();
    let cells = (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column)));
    cells
        .filter_map(|(row, column)| screen.cell(row, column))
        .any(|cell| cell.fgcolor() != vt100::Color::Default)
}

#[test]
fn messages_are_coloured_on_a_terminal_unless_the_user_minds() {
    let dir = tempfile::tempdir().unwrap();
    // The command's own messages, those of the command line, and diagnostics.
    let source = dir.path().join("x.tile").display().to_string();
    std::fs::write(&source, "kernel k() grid 1 { let x = y; }\n").unwrap();
    for (arguments, code) in [(["explain", "E9999"], 1), (["explain", "--typo"], 2), (["check", &source], 1)]
    {
        for no_color in [false, true] {
            let mut terminal = Terminal::open(&arguments, dir.path(), no_color);
            assert_eq!(terminal.ends(), code);
            terminal.shows("error");
            assert_eq!(coloured(&terminal), !no_color, "{arguments:?}: {}", terminal.text());
        }
    }
}
