//! Chat templates: the program, in the Jinja language, that a model file carries to lay out a conversation.
//!
//! **Maps** messages to prompt text, by the file's `tokenizer.chat_template`. The template sees what the reference
//! implementation gives it: `messages` (each with `role` and `content`), `add_generation_prompt`, `bos_token`,
//! `eos_token`, the function `raise_exception`, blocks trimmed, Python's string and dictionary methods.
//!
//! ```text
//! [user: "Hi"]  ->  <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
//! ```
//!
//! **Invariants.** A template is a stranger's program: it has no loader (nothing can be included or imported), no
//! clock, no files; it runs in a thread of its own with a budget of [`FUEL`], and recursion, output and time limits.
//! Message text is data: it is never parsed as a template.
//!
//! **What the budget does not see.** The engine computes lazy lists (`x + x`) and prints nested ones (`[x, x]`) without
//! looking at the budget until it is done; sixty such lines make work without end. The time limit ends our waiting, but a
//! thread cannot be ended from outside: it goes on until the process ends. Therefore such a template is not used
//! again, and a program that gets [`ChatTemplateError::OutOfTime`] should tell the user and exit soon.
//!
//! **Refuses** templates that do not parse, exceed a limit, or raise; the message says which.
//!
//! **Note.** The prompt text is then encoded with special tokens recognised, so a *message* that spells a special
//! token is read as one, as in the reference. Whoever takes messages from strangers uses
//! [`ChatTemplate::messages_spell`] to refuse them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, State, Template, Value, context};
use tvmc_weights::gguf::Metadata;

use crate::tokenizer::{TokenKind, Tokenizer};

/// The longest template. The engine's parser recurses without a limit over chains such as `- - - 1`, so this and
/// [`STACK_BYTES`] belong together. The longest templates in use have some 20 KiB.
pub const MAX_TEMPLATE_BYTES: usize = 64 * 1024;
/// The longest prompt text a template may produce, beyond the messages' own text.
pub const MAX_EXTRA_OUTPUT_BYTES: usize = 1 << 20;
/// How much output is allowed for each byte of message text: templates may repeat a message, not multiply it.
const OUTPUT_PER_INPUT: usize = 4;
/// Steps of the template engine per rendering, plus some for each message.
pub const FUEL: u64 = 1_000_000;
/// Steps granted per message and per 64 bytes of message text.
const FUEL_PER_MESSAGE: u64 = 10_000;
/// What the engine, and we, count as one step when data is processed.
const BYTES_PER_FUEL: u64 = 64;
/// How long the engine may take. The budget ends honest templates long before; see the note on lists above.
pub const MAX_TIME: Duration = Duration::from_secs(2);
/// The engine's stack, of which an honest template touches a few pages: 4 KiB for each byte of the longest template,
/// four times what the worst chains of the tests need.
const STACK_BYTES: usize = 4096 * MAX_TEMPLATE_BYTES;
/// Nesting of loops, conditions, macros.
const MAX_RECURSION: usize = 100;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of a role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// Why there is no prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatTemplateError {
    /// The file has no template.
    #[error("the model file has no chat template (tokenizer.chat_template); use plain completion instead")]
    Missing,
    /// The metadata value is not a string.
    #[error("tokenizer.chat_template is of type {0}, it must be a string")]
    WrongType(&'static str),
    /// The template is too long.
    #[error("the chat template has {0} bytes, more than {MAX_TEMPLATE_BYTES}")]
    TooLong(usize),
    /// The template does not parse.
    #[error("the model's chat template is malformed: {0}")]
    Malformed(String),
    /// The template used up its budget.
    #[error("the model's chat template runs too long and was stopped")]
    OutOfFuel,
    /// The template did not end in time, now or at an earlier rendering.
    #[error("the model's chat template did not end in time and is not used any more")]
    OutOfTime,
    /// The template wrote too much.
    #[error("the model's chat template writes more than {0} bytes and was stopped")]
    OutputTooLarge(usize),
    /// The template failed, or raised.
    #[error("the model's chat template refused the messages: {0}")]
    Failed(String),
}

/// A chat template that parses.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    program: Arc<Program>,
}

/// What a rendering needs, shared with the thread that does it.
#[derive(Debug)]
struct Program {
    source: String,
    bos: String,
    eos: String,
    /// Set when a rendering did not end in time: its thread may still run, and no second one is started.
    stuck: AtomicBool,
}

impl ChatTemplate {
    /// The template of a model file.
    pub fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self, ChatTemplateError> {
        let value = metadata.get("tokenizer.chat_template").ok_or(ChatTemplateError::Missing)?;
        let source = value.as_str().ok_or(ChatTemplateError::WrongType(value.type_name()))?;
        let text =
            |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default().to_owned();
        Self::new(source, &text(tokenizer.bos()), &text(tokenizer.eos()))
    }

    /// A template from source text; `bos` and `eos` are the texts of the special tokens.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, ChatTemplateError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatTemplateError::TooLong(source.len()));
        }
        let program = Program {
            source: source.to_owned(),
            bos: bos.to_owned(),
            eos: eos.to_owned(),
            stuck: AtomicBool::new(false),
        };
        let template = ChatTemplate { program: Arc::new(program) };
        template.in_thread(MAX_TIME, |program| program.parse(&environment(0)).map(|_| ()))?;
        Ok(template)
    }

    /// The source text.
    pub fn source(&self) -> &str {
        &self.program.source
    }

    /// Lays out a conversation; with `add_generation_prompt` the text ends where the assistant begins to speak.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatTemplateError> {
        self.render_within(messages, add_generation_prompt, MAX_TIME)
    }

    fn render_within(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        time: Duration,
    ) -> Result<String, ChatTemplateError> {
        let messages = messages.to_vec();
        self.in_thread(time, move |program| program.render(&messages, add_generation_prompt))
    }

    /// Runs the engine where it may overrun its time, and even panic, without taking us along.
    fn in_thread<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&Program) -> Result<T, ChatTemplateError> + Send + 'static,
    ) -> Result<T, ChatTemplateError> {
        if self.program.stuck.load(Ordering::Relaxed) {
            return Err(ChatTemplateError::OutOfTime);
        }
        let program = Arc::clone(&self.program);
        let (send, receive) = mpsc::sync_channel(1);
        let body = move || {
            // Nobody listens any more if the time is over; then the result is of no use.
            let _ = send.send(work(&program));
        };
        let thread = thread::Builder::new().name("chat template".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(body).map_err(|error| ChatTemplateError::Failed(error.to_string()))?;
        // A handle is never just dropped: some C libraries then look once more at a thread that may be gone by now, its stack unmapped with it.
        match receive.recv_timeout(time) {
            Ok(result) => {
                // It has nothing left to do but to end; what it gave is here.
                let _ = thread.join();
                result
            }
            Err(RecvTimeoutError::Timeout) => {
                self.program.stuck.store(true, Ordering::Relaxed);
                std::mem::forget(thread);
                Err(ChatTemplateError::OutOfTime)
            }
            // The thread ended without a word: the engine panicked.
            Err(RecvTimeoutError::Disconnected) => {
                let _ = thread.join();
                Err(ChatTemplateError::Failed("the template engine failed".to_owned()))
            }
        }
    }

    /// The first control token that a message spells out, if any: such a message could pose as another role.
    pub fn messages_spell<'t>(messages: &[Message], tokenizer: &'t Tokenizer) -> Option<&'t str> {
        let control = (0..tokenizer.vocabulary_size() as u32)
            .filter(|&id| tokenizer.token_kind(id) == Some(TokenKind::Control))
            .filter_map(|id| tokenizer.token_text(id));
        let mut control = control.filter(|text| !text.is_empty());
        control.find(|text| messages.iter().any(|m| m.content.contains(text) || m.role.contains(text)))
    }
}

impl Program {
    fn parse<'a>(&'a self, environment: &'a Environment<'a>) -> Result<Template<'a, 'a>, ChatTemplateError> {
        environment
            .template_from_str(&self.source)
            .map_err(|error| ChatTemplateError::Malformed(words(&error)))
    }

    fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatTemplateError> {
        let text_bytes: usize = messages.iter().map(|m| m.role.len() + m.content.len()).sum();
        let limit = text_bytes.saturating_mul(OUTPUT_PER_INPUT).saturating_add(MAX_EXTRA_OUTPUT_BYTES);
        let shares = messages.len() as u64 + text_bytes as u64 / 64;
        let environment = environment(FUEL.saturating_add(shares.saturating_mul(FUEL_PER_MESSAGE)));
        let template = self.parse(&environment)?;
        let seen = |m: &Message| context! { role => m.role.as_str(), content => m.content.as_str() };
        let context = context! {
            messages => messages.iter().map(seen).collect::<Vec<_>>(),
            add_generation_prompt => add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
        };
        let mut output = Capped { bytes: Vec::new(), limit, exceeded: false };
        let rendered = template.render_captured_to(context, &mut output).map(|_| ());
        if output.exceeded {
            return Err(ChatTemplateError::OutputTooLarge(limit));
        }
        match rendered {
            Ok(()) => String::from_utf8(output.bytes)
                .map_err(|_| ChatTemplateError::Failed("the output is not UTF-8".to_owned())),
            Err(error) if error.kind() == ErrorKind::OutOfFuel => Err(ChatTemplateError::OutOfFuel),
            Err(error) => Err(ChatTemplateError::Failed(words(&error))),
        }
    }
}

fn environment(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python_method);
    environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    // Writing to the error stream is no business of a template.
    environment.remove_global("debug");
    environment.remove_filter("pprint");
    environment
}

/// Jinja's own delimiters, with a block's own line leaving no trace. Building it fails only for clashing delimiters.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

/// Python's methods on strings, lists and dictionaries, each paid for beforehand: the library that offers them works
/// without looking at the budget, and `('a' * n).replace('a', 'b' * n)` is a bomb.
fn python_method(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let refuse = |words: &'static str| Err(Error::new(ErrorKind::InvalidOperation, words));
    let kind = value.kind();
    let sizes = args.iter().chain([value]).map(|value| value.len().unwrap_or(1) as u64);
    let mut bytes = sizes.fold(0, u64::saturating_add);
    match (kind, method) {
        // Its widths pad to any size.
        (ValueKind::String, "format") => return refuse("str.format is not offered"),
        (ValueKind::String, "replace") => {
            if let (Some(text), [old, new, ..]) = (value.as_str(), args) {
                let count = old.as_str().map_or(0, |old| text.matches(old).count() as u64);
                bytes = bytes.saturating_add(count.saturating_mul(new.len().unwrap_or(1) as u64));
            }
        }
        (ValueKind::String, "join") => {
            let joiner = value.len().unwrap_or(1) as u64;
            let items = args.first().map(Value::try_iter).transpose()?;
            for item in items.into_iter().flatten() {
                // As in Python; printing a nested list could take exponential time.
                let Some(text) = item.as_str() else { return refuse("str.join takes strings") };
                bytes = bytes.saturating_add(joiner).saturating_add(text.len() as u64);
            }
        }
        (ValueKind::Seq, "count") => {
            let nested = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Map);
            if args.iter().any(nested) {
                return refuse("list.count takes plain values");
            }
        }
        _ => {}
    }
    state.consume_fuel(bytes / BYTES_PER_FUEL + 1)?;
    minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args)
}

/// An error in one line, with control characters replaced and a bounded length.
fn words(error: &Error) -> String {
    const MAX_CHARACTERS: usize = 300;
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let text = match error.detail() {
        Some(detail) => format!("{}: {detail}{line}", error.kind()),
        None => format!("{}{line}", error.kind()),
    };
    text.chars().take(MAX_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Keeps what is written up to a limit and refuses the rest.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    exceeded: bool,
}

impl io::Write for &mut Capped {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.limit - self.bytes.len() {
            self.exceeded = true;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "output limit"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const CHAT: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
        {{ '<|im_start|>system\nBe helpful<|im_end|>\n' }}{% endif %}\
        {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
        {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn render(source: &str, messages: &[Message]) -> Result<String, ChatTemplateError> {
        ChatTemplate::new(source, "<s>", "</s>")?.render(messages, true)
    }

    /// The process could die when the engine's thread ended just as its handle was dropped: it is joined now, so all of it is over.
    #[test]
    fn the_engine_s_thread_is_gone_when_a_result_is_there() {
        use std::sync::atomic::AtomicU32;
        static ENDED: AtomicU32 = AtomicU32::new(0);
        struct Slow;
        impl Drop for Slow {
            fn drop(&mut self) {
                thread::sleep(Duration::from_millis(50));
                ENDED.fetch_add(1, Ordering::SeqCst);
            }
        }
        thread_local!(static LAST: Slow = const { Slow });
        let template = ChatTemplate::new(CHAT, "", "").unwrap();
        for number in 1..=3 {
            let result = template.in_thread(MAX_TIME, |_| {
                LAST.with(|_| {});
                Ok(())
            });
            assert_eq!(result, Ok(()));
            assert_eq!(ENDED.load(Ordering::SeqCst), number);
        }
        let failed = template.in_thread::<()>(MAX_TIME, |_| panic!("in the engine"));
        assert!(matches!(failed, Err(ChatTemplateError::Failed(_))));
    }

    #[test]
    fn a_conversation() {
        let messages = [Message::new("user", "Hi {{ 7 * 7 }} <b>")];
        let expected = "<|im_start|>system\nBe helpful<|im_end|>\n<|im_start|>user\nHi {{ 7 * 7 }} <b><|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(render(CHAT, &messages).unwrap(), expected);
        let template = ChatTemplate::new(CHAT, "", "").unwrap();
        let system = [Message::new("system", "S"), Message::new("user", "U"), Message::new("assistant", "A")];
        assert_eq!(
            template.render(&system, false).unwrap(),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
        );
        assert_eq!(template.render(&[], true).unwrap(), "<|im_start|>assistant\n");
    }

    /// The idioms that templates of common models use.
    #[test]
    fn idioms() {
        let messages = [Message::new("user", "  Hello  "), Message::new("assistant", "Yes")];
        let cases = [
            ("{{ bos_token }}{{ messages[0].content.strip() }}{{ eos_token }}", "<s>Hello</s>"),
            ("{{ messages[0]['content'] | trim }}", "Hello"),
            (
                "{%- for m in messages -%}\n  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('order') }}{%- endif -%}\n  {{ m.role | upper }}{%- endfor -%}",
                "USERASSISTANT",
            ),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "2",
            ),
            ("{% if messages[0].role == 'user' and tools is not defined %}none{% endif %}", "none"),
            ("{{ messages | length }}{{ messages[-1].content }}", "2Yes"),
            ("{% set m = messages[1:] %}{{ m[0].content.split('e')[0] }}", "Y"),
            ("{{ messages[1] | tojson }}", "{\"content\":\"Yes\",\"role\":\"assistant\"}"),
            ("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f(messages[1].content) }}", "[Yes]"),
            ("    {% if true %}\nline\n    {% endif %}\n", "line\n"),
        ];
        for (source, expected) in cases {
            let rendered = render(source, &messages).unwrap();
            if source.contains("tojson") {
                // The order of keys is not promised.
                assert!(rendered.contains("\"content\"") && rendered.contains("\"assistant\""), "{rendered}");
            } else {
                assert_eq!(rendered, expected, "{source}");
            }
        }
    }

    #[test]
    fn what_a_template_raises_is_the_error() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(error.to_string().contains("roles must alternate"), "{error}");
        assert!(matches!(render("{% if %}", &[]), Err(ChatTemplateError::Malformed(_))));
        assert!(matches!(render("{% include 'secret' %}", &[]), Err(ChatTemplateError::Failed(_))));
        assert!(matches!(render("{{ open('secret') }}", &[]), Err(ChatTemplateError::Failed(_))));
        assert!(matches!(render("{{ strftime_now('%Y') }}", &[]), Err(ChatTemplateError::Failed(_))));
        assert!(matches!(render("{{ debug() }}", &[]), Err(ChatTemplateError::Failed(_))));
    }

    #[test]
    fn bombs_are_stopped_soon() {
        let deep =
            |open: &str, close: &str, count: usize| format!("{}1{}", open.repeat(count), close.repeat(count));
        let doubled = |first: &str, last: &str| {
            format!("{{% set x = {first} %}}{}{{{{ {last} }}}}", "{% set x = x + x %}".repeat(60))
        };
        // A list that holds itself twice, sixty times over: small in memory, exponential when walked.
        let nested =
            |last: &str| format!("{{% set x = [1] %}}{}{{{{ {last} }}}}", "{% set x = [x, x] %}".repeat(60));
        let mut bombs = vec![
            "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}".to_owned(),
            "{% for a in range(100000) %}0123456789012345678901234567890123456789{% endfor %}".to_owned(),
            "{{ 'x' * 1000000000 }}".to_owned(),
            "{{ ['x'] * 1000000000 }}".to_owned(),
            "{{ ('a' * 100000).replace('a', 'b' * 100000) }}".to_owned(),
            "{{ ('a' * 100000) | replace('a', 'b' * 100000) }}".to_owned(),
            "{{ ('b' * 100000).join('a' * 1000000) }}".to_owned(),
            "{{ ('a' * 1000000) | list | join('b' * 100000) }}".to_owned(),
            "{{ '%1000000000d' | format(1) }}".to_owned(),
            "{{ '{:1000000000}'.format(1) }}".to_owned(),
            "{{ 'a' | indent(1000000000, true) }}".to_owned(),
            "{% set x = 'a b' * 1000000 %}{% for i in range(100000) %}{% set y = x.upper() %}{% endfor %}"
                .to_owned(),
            "{% set x = 'a b' * 1000000 %}{% for i in range(100000) %}{% set y = x.split() %}{% endfor %}"
                .to_owned(),
            "{% set x = 'a b' * 1000000 %}{% for i in range(100000) %}{% set y = x.find('c') %}{% endfor %}"
                .to_owned(),
            "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}".to_owned(),
            "{{ 9 ** 999999999 }}".to_owned(),
            doubled("'aaaaaaaaaaaaaaaa'", "x | length"),
            doubled("[1]", "x | length"),
            deep("{% if true %}", "{% endif %}", 10_000),
            deep("{% for a in [1] %}", "{% endfor %}", 8_000),
        ];
        let uses = ["x", "x == x", "x in [x]", "[x].count(x)", "','.join(x)"];
        bombs.extend(uses.map(nested));
        // Chains as long as a template may be.
        let chain = |first: &str, link: &str, last: &str| {
            let count = (MAX_TEMPLATE_BYTES - first.len() - last.len() - 6) / link.len();
            format!("{first}{}{last}", link.repeat(count))
        };
        let expressions = [
            chain("", "(", "1"),
            chain("", "[", "1"),
            chain("", "-", "1"),
            chain("", "not ", "1"),
            chain("x", ".a", ""),
            chain("'a'", "|trim", ""),
            chain("1", "+1", ""),
            chain("1", "**1", ""),
            chain("1", " if x else 1", ""),
            chain("x", "[0]", ""),
            chain("x", "()", ""),
            chain("1", " is defined", ""),
            chain("1", "~1", ""),
            chain("1", " and 1", ""),
            chain("1", "<1", ""),
            chain("1", " in x", ""),
        ];
        bombs.extend(expressions.iter().map(|expression| format!("{{{{ {expression} }}}}")));
        for bomb in &bombs {
            let start = Instant::now();
            let messages = [Message::new("user", "Hi")];
            let template = ChatTemplate::new(bomb, "", "");
            let result = template.and_then(|t| t.render_within(&messages, true, Duration::from_secs(1)));
            let shown: String = bomb.chars().take(100).collect();
            if let Ok(output) = &result {
                // Some are harmless after all: a long chain of operators, say. Then the output must be small.
                assert!(output.len() < MAX_EXTRA_OUTPUT_BYTES, "{shown}");
            }
            assert!(start.elapsed() < Duration::from_secs(3), "{shown}: {:?}", start.elapsed());
        }
    }

    #[test]
    fn limits_have_their_errors() {
        let limits = |source: &str| render(source, &[]).unwrap_err();
        let endless = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
        assert_eq!(limits(endless), ChatTemplateError::OutOfFuel);
        let much = format!("{{% for a in range(100000) %}}{}{{% endfor %}}", "x".repeat(40));
        assert!(matches!(limits(&much), ChatTemplateError::OutputTooLarge(_)));
        assert!(matches!(limits(&"x".repeat(MAX_TEMPLATE_BYTES + 1)), ChatTemplateError::TooLong(_)));
        // Long conversations are no bombs.
        let long: Vec<Message> =
            (0..2000).map(|i| Message::new("user", format!("{i} {}", "word ".repeat(200)))).collect();
        assert!(render(CHAT, &long).unwrap().len() > 2_000_000);
    }
}
