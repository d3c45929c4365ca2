//! `tvmc chat`: one answer, or a conversation.
//!
//! On a terminal lines are edited and remembered (rustyline; the history is a file in the cache folder); from a pipe they are read as they
//! come, and no prompt is shown. A message is a line; one that ends in `\` goes on with the next, and lines between `"""` belong together. A
//! line that begins with `/` is a command ([`HELP`]); `//` sends a message that begins with a slash.
//!
//! Ctrl-C ends an answer, not the conversation (twice during one answer: the program); what was answered so far stays in the
//! conversation. Ctrl-D ends the conversation. A turn that fails (a message with control tokens, a full context) is reported and taken
//! back.
//!
//! The whole conversation is laid out anew for each turn, but only what differs from the tokens in the cache is fed.

use super::models::{self, Loaded};
use super::{Failure, save, say};
use crate::cli::{ModelOptions, SamplingOptions};
use crate::output;
use rustyline::config::{Behavior, Config};
use rustyline::error::ReadlineError;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tvmc_model::chat_template::{ChatTemplate, Message};
use tvmc_model::language_model::{Ending, Generated, Limits};
use tvmc_model::sampler::Sampler;
use tvmc_model::tokenizer::Special;

/// What `/help` says.
const HELP: &str = "\
/system TEXT   set the system message; without TEXT, show it
/reset         forget the conversation, keep the system message
/save FILE     write the conversation: JSON if FILE ends in .json, else Markdown
/help          this text
/quit          end, as Ctrl-D does
A line that ends in \\ goes on with the next; lines between \"\"\" belong together; // sends a message that begins with /.
Ctrl-C ends an answer.";

/// Commands by their names.
const COMMANDS: [&str; 5] = ["/system", "/reset", "/save", "/help", "/quit"];

/// Lines of the history that are kept.
const HISTORY: usize = 1000;

/// Most bytes of one message.
const MOST_BYTES: usize = 4 << 20;

/// What the user entered.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Message(String),
    System(String),
    Reset,
    Save(PathBuf),
    Help,
    Quit,
    /// No such command.
    Unknown(String),
    /// Nothing to do.
    Empty,
}

impl Entry {
    /// Reads what was entered, lines joined.
    fn read(text: &str) -> Self {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Entry::Empty;
        }
        if let Some(rest) = trimmed.strip_prefix("//") {
            return Entry::Message(format!("/{rest}"));
        }
        if !trimmed.starts_with('/') {
            return Entry::Message(trimmed.to_owned());
        }
        let (name, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        match (name, rest.trim()) {
            ("/system", text) => Entry::System(text.to_owned()),
            ("/reset", "") => Entry::Reset,
            ("/save", path) if !path.is_empty() => Entry::Save(path.into()),
            ("/help", "") => Entry::Help,
            ("/quit" | "/exit", "") => Entry::Quit,
            _ => Entry::Unknown(name.to_owned()),
        }
    }
}

/// What came of waiting for a line.
enum Line {
    Text(String),
    /// Ctrl-C: what was typed is dropped.
    Dropped,
    End,
}

/// Where lines come from.
enum Input {
    Terminal { editor: Box<rustyline::DefaultEditor>, history: Option<PathBuf> },
    Pipe(std::io::Lines<std::io::StdinLock<'static>>),
}

impl Input {
    fn open() -> Self {
        if std::io::stdin().is_terminal() {
            // The prompt goes to the terminal itself, so that stdout holds answers only.
            let config = Config::builder().behavior(Behavior::PreferTerm).auto_add_history(false);
            let config = config.max_history_size(HISTORY).map(|c| c.build());
            if let Ok(mut editor) = config.and_then(rustyline::DefaultEditor::with_config) {
                let folder = tvmc_weights::fetch::cache_directory().ok();
                let history = folder.map(|folder| folder.join("chat_history.txt"));
                if let Some(history) = &history {
                    // There is none the first time.
                    let _ = editor.load_history(history);
                }
                return Input::Terminal { editor: Box::new(editor), history };
            }
        }
        Input::Pipe(std::io::stdin().lines())
    }

    fn line(&mut self, prompt: &str) -> Result<Line, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::user(format!("cannot read the message: {error}"));
        match self {
            Input::Terminal { editor, .. } => match editor.readline(prompt) {
                Ok(text) => Ok(Line::Text(text)),
                Err(ReadlineError::Interrupted) => Ok(Line::Dropped),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(failed(&error)),
            },
            Input::Pipe(lines) => match lines.next() {
                Some(Ok(text)) => Ok(Line::Text(text)),
                Some(Err(error)) => Err(failed(&error)),
                None => Ok(Line::End),
            },
        }
    }

    /// One entry, of as many lines as it has; `None` at the end.
    fn entry(&mut self) -> Result<Option<String>, Failure> {
        let mut message = Lines::default();
        loop {
            let prompt = if message.is_empty() { "> " } else { ". " };
            match self.line(prompt)? {
                Line::End if message.is_empty() => return Ok(None),
                Line::End => break,
                Line::Dropped => message = Lines::default(),
                Line::Text(text) => {
                    if message.add(&text) {
                        break;
                    }
                    if message.text.len() > MOST_BYTES {
                        return Err(Failure::user(format!("a message has at most {MOST_BYTES} bytes")));
                    }
                }
            }
        }
        let text = message.text;
        if let (Input::Terminal { editor, .. }, false) = (&mut *self, text.trim().is_empty()) {
            // A history that cannot be kept is no reason to stop talking.
            let _ = editor.add_history_entry(&text);
        }
        Ok(Some(text))
    }

    fn close(&mut self) {
        if let Input::Terminal { editor, history: Some(path) } = self {
            if let Some(folder) = path.parent() {
                let _ = std::fs::create_dir_all(folder);
            }
            let _ = editor.save_history(path);
        }
    }
}

/// The lines of one message.
#[derive(Default)]
struct Lines {
    text: String,
    /// Between `"""`.
    quoted: bool,
    started: bool,
}

impl Lines {
    fn is_empty(&self) -> bool {
        !self.started
    }

    /// Adds a line; whether the message is complete.
    fn add(&mut self, line: &str) -> bool {
        let mut line = line.trim_end_matches(['\r', '\n']);
        let first = !std::mem::replace(&mut self.started, true);
        if first && let Some(rest) = line.trim_start().strip_prefix("\"\"\"") {
            self.quoted = true;
            line = rest;
            if line.is_empty() {
                return false;
            }
        } else if !first && !self.text.is_empty() {
            self.text.push('\n');
        }
        if self.quoted {
            match line.trim_end().strip_suffix("\"\"\"") {
                Some(last) => {
                    self.text.push_str(last);
                    return true;
                }
                None => self.text.push_str(line),
            }
            return false;
        }
        match line.strip_suffix('\\') {
            Some(part) => {
                self.text.push_str(part);
                false
            }
            None => {
                self.text.push_str(line);
                true
            }
        }
    }
}

/// What was said, and the model that says it.
struct Conversation<'a> {
    loaded: Loaded,
    template: ChatTemplate,
    system: Option<String>,
    messages: Vec<Message>,
    sampler: Sampler,
    limits: Limits,
    interrupted: &'a Arc<AtomicBool>,
}

/// `tvmc chat`.
pub fn chat(
    options: &ModelOptions,
    prompt: Option<&str>,
    system: Option<&str>,
    n: usize,
    sampling: &SamplingOptions,
    interrupted: &Arc<AtomicBool>,
) -> Result<(), Failure> {
    let sampler = models::sampler(sampling)?;
    let loaded = models::load(options, interrupted)?;
    output::note(&format!("{} -n {n}", sampling.flags()));
    let template = match &loaded.template {
        Ok(template) => template.clone(),
        Err(error) => return Err(Failure::user(format!("this model cannot chat: {error}"))),
    };
    let mut conversation = Conversation {
        loaded,
        template,
        system: system.map(str::to_owned),
        messages: Vec::new(),
        sampler,
        limits: Limits { tokens: n, stops: sampling.stop.clone() },
        interrupted,
    };
    if let Some(prompt) = prompt {
        return conversation.turn(prompt);
    }
    let mut input = Input::open();
    if matches!(input, Input::Terminal { .. }) {
        output::note("/help lists commands; Ctrl-C ends an answer, Ctrl-D the conversation.");
    }
    let result = conversation.talk(&mut input);
    input.close();
    result
}

impl Conversation<'_> {
    fn talk(&mut self, input: &mut Input) -> Result<(), Failure> {
        while let Some(text) = input.entry()? {
            self.interrupted.store(false, Ordering::Relaxed);
            match Entry::read(&text) {
                Entry::Empty => {}
                Entry::Quit => break,
                Entry::Help => output::note(HELP),
                Entry::Reset => {
                    self.messages.clear();
                    output::note("(the conversation is forgotten)");
                }
                Entry::System(text) if text.is_empty() => {
                    output::note(self.system.as_deref().unwrap_or("(the model's own system message)"));
                }
                Entry::System(text) => self.system = Some(text),
                Entry::Save(path) => match self.save(&path) {
                    Ok(()) => output::note(&format!("(written to {})", path.display())),
                    Err(failure) => output::failure(&failure),
                },
                Entry::Unknown(name) => {
                    let failure =
                        Failure::user(format!("there is no command `{name}`, or it is used otherwise"));
                    output::failure(&failure.did_you_mean(&name, COMMANDS).help("/help lists them"));
                }
                Entry::Message(text) => match self.turn(&text) {
                    Ok(()) => {}
                    // Nobody reads the answers any more.
                    Err(failure) if failure.code == 0 => return Err(failure),
                    Err(failure) => output::failure(&failure),
                },
            }
        }
        Ok(())
    }

    /// One message and its answer. A turn that fails leaves the conversation as it was.
    fn turn(&mut self, text: &str) -> Result<(), Failure> {
        let before = self.messages.len();
        self.messages.push(Message::new("user", text));
        match self.answer() {
            Ok(answer) => {
                self.messages.push(Message::new("assistant", answer.text.as_str()));
                Ok(())
            }
            Err(failure) => {
                self.messages.truncate(before);
                Err(failure)
            }
        }
    }

    fn answer(&mut self) -> Result<Generated, Failure> {
        let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
        let messages: Vec<Message> = system.chain(self.messages.iter().cloned()).collect();
        let tokenizer = self.loaded.model.tokenizer();
        if let Some(token) = ChatTemplate::messages_spell(&messages, tokenizer) {
            return Err(Failure::user(format!(
                "the message spells the control token {token:?}, which would pose as another role"
            )));
        }
        let text = self.template.render(&messages, true).map_err(Failure::from_error)?;
        let ids = tokenizer.encode(&text, Special::Parse).map_err(Failure::from_error)?;
        if ids.len() >= self.loaded.model.context() {
            let context = self.loaded.model.context();
            let failure = format!("the conversation has {} tokens, the context holds {context}", ids.len());
            return Err(Failure::user(failure).help("/reset forgets it; --ctx gives a longer context"));
        }
        let same = self.loaded.model.resume(&ids);
        let generated = models::stream(
            &mut self.loaded,
            &ids[same..],
            &mut self.sampler,
            &self.limits,
            self.interrupted,
            &mut say,
        )?;
        say("\n")?;
        match generated.ending {
            Ending::Length => {
                let count = generated.ids.len();
                output::note(&format!("(the answer was cut after {count} tokens: -n gives more)"));
            }
            Ending::ContextFull => output::note("(the context is full: /reset forgets the conversation)"),
            Ending::Interrupted => output::note("(interrupted)"),
            Ending::EndOfText | Ending::Stop => {}
        }
        Ok(generated)
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        let system = self.system.iter().map(|text| ("system", text.as_str()));
        let all = system.chain(self.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())));
        let text = if path.extension().is_some_and(|e| e == "json") {
            let list: Vec<serde_json::Value> =
                all.map(|(role, content)| serde_json::json!({ "role": role, "content": content })).collect();
            format!("{}\n", serde_json::Value::from(list))
        } else {
            all.map(|(role, content)| format!("## {role}\n\n{content}\n\n")).collect()
        };
        save(path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(lines: &[&str]) -> Option<String> {
        let mut message = Lines::default();
        let (last, rest) = lines.split_last()?;
        for line in rest {
            assert!(!message.add(line), "{line} ends the message");
        }
        message.add(last).then_some(message.text)
    }

    #[test]
    fn messages_of_several_lines() {
        assert_eq!(message(&["one"]).as_deref(), Some("one"));
        assert_eq!(message(&["one\\", "two\\", "three"]).as_deref(), Some("one\ntwo\nthree"));
        assert_eq!(message(&["\"\"\"", "one", "", "two", "\"\"\""]).as_deref(), Some("one\n\ntwo\n"));
        assert_eq!(message(&["\"\"\"one", "two\"\"\""]).as_deref(), Some("one\ntwo"));
        assert_eq!(message(&["\"\"\"one\"\"\""]).as_deref(), Some("one"));
        assert_eq!(message(&["one\\"]), None);
    }

    #[test]
    fn entries() {
        assert_eq!(Entry::read("  hello "), Entry::Message("hello".into()));
        assert_eq!(Entry::read("//etc is a folder"), Entry::Message("/etc is a folder".into()));
        assert_eq!(Entry::read("/system Be brief."), Entry::System("Be brief.".into()));
        assert_eq!(Entry::read("/system"), Entry::System(String::new()));
        assert_eq!(Entry::read("/save a b.json"), Entry::Save("a b.json".into()));
        assert_eq!(Entry::read("/save"), Entry::Unknown("/save".into()));
        assert_eq!(Entry::read("/rest"), Entry::Unknown("/rest".into()));
        assert_eq!(Entry::read(" "), Entry::Empty);
        assert_eq!(Entry::read("/quit"), Entry::Quit);
    }
}
