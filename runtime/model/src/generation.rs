//! An answer as it comes: an iterator of tokens.
//!
//! Each token carries the text that became *certain* with it: whole characters that cannot be the beginning of a stop text any more.
//! The pieces joined, with what [`Generation::finish`] returns as the rest, are the answer.
//!
//! ```text
//! stop "###":   "Hi"  " #"  "1"      ->  pieces "Hi", "", " #1"
//!               "Hi"  " ##" "#"      ->  pieces "Hi", "", and the end; the answer is "Hi "
//! ```
//!
//! The prompt is fed by the first call of `next`. After an error, or the end, `next` gives nothing more. Dropping it ends the answer; the model's
//! context holds every token fed so far.

use crate::executor::Device;
use crate::language_model::{Ending, Generated, LanguageModel, Limits, ModelError};
use crate::logits::Rows;
use crate::sampler::Sampler;
use crate::tokenizer::{StreamDecoder, Tokenizer};
use std::sync::Arc;

/// A token of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Text that became certain with it; may be empty.
    pub text: String,
}

/// See the module head.
pub struct Generation<'m, D: Device> {
    model: &'m mut LanguageModel<D>,
    sampler: &'m mut Sampler,
    limits: Limits,
    stream: StreamDecoder<Arc<Tokenizer>>,
    /// What is to be fed next: the prompt, then one token at a time.
    next: Vec<u32>,
    ids: Vec<u32>,
    text: String,
    shown: usize,
    ending: Option<Ending>,
    failed: bool,
}

impl<'m, D: Device> Generation<'m, D> {
    pub(crate) fn new(
        model: &'m mut LanguageModel<D>,
        prompt: &[u32],
        sampler: &'m mut Sampler,
        limits: &Limits,
    ) -> Self {
        for token in prompt {
            sampler.observe(*token);
        }
        let stream = StreamDecoder::new(model.shared_tokenizer());
        Self {
            model,
            sampler,
            limits: limits.clone(),
            stream,
            next: prompt.to_vec(),
            ids: Vec::new(),
            text: String::new(),
            shown: 0,
            ending: None,
            failed: false,
        }
    }

    /// Why the answer ended, once it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The answer so far and the part of its text that no token has given: what was held back as the beginning of a stop text, or of a
    /// character. An answer that has not ended counts as interrupted.
    pub fn finish(mut self) -> (Generated, String) {
        let ending = self.ending.unwrap_or(Ending::Interrupted);
        if ending != Ending::Stop {
            self.text.push_str(&self.stream.finish());
        }
        let rest = self.text[self.shown.min(self.text.len())..].to_owned();
        (Generated { ids: self.ids, text: self.text, ending }, rest)
    }

    fn advance(&mut self) -> Result<Option<Token>, ModelError> {
        if self.ids.len() >= self.limits.tokens && !self.ids.is_empty() {
            return Ok(self.end(Ending::Length));
        }
        if !self.ids.is_empty() && self.model.position() == self.model.context() {
            return Ok(self.end(Ending::ContextFull));
        }
        let rows: Rows = self.model.feed(&self.next, 1)?;
        if self.limits.tokens == 0 {
            return Ok(self.end(Ending::Length));
        }
        let Some(row) = rows.row(0) else { return Err(ModelError::Interface("logits")) };
        let id = self.sampler.sample(row)?;
        if self.model.tokenizer().ends_generation(id) {
            return Ok(self.end(Ending::EndOfText));
        }
        self.sampler.observe(id);
        self.ids.push(id);
        self.next = vec![id];
        self.text.push_str(&self.stream.push(id)?);
        if let Some(at) = self.limits.stops.iter().filter_map(|s| self.text.find(s.as_str())).min() {
            self.text.truncate(at);
            self.ending = Some(Ending::Stop);
        }
        // A stop text may have begun at the end: that much waits.
        let waiting = if self.ending.is_some() { 0 } else { held_back(&self.text, &self.limits.stops) };
        let certain = (self.text.len() - waiting).max(self.shown.min(self.text.len()));
        let text = self.text[self.shown.min(certain)..certain].to_owned();
        self.shown = certain;
        Ok(Some(Token { id, text }))
    }

    fn end(&mut self, ending: Ending) -> Option<Token> {
        self.ending = Some(ending);
        None
    }
}

impl<D: Device> Iterator for Generation<'_, D> {
    type Item = Result<Token, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.ending.is_some() {
            return None;
        }
        let token = self.advance();
        self.failed = token.is_err();
        token.transpose()
    }
}

/// Length of the longest end of `text` that begins one of the stop texts.
fn held_back(text: &str, stops: &[String]) -> usize {
    let begins = |end: &str| stops.iter().any(|s| s.starts_with(end));
    let longest = stops.iter().map(String::len).max().unwrap_or(0);
    let tail = (text.len().saturating_sub(longest)..=text.len()).find(|at| text.is_char_boundary(*at));
    let text = &text[tail.unwrap_or(text.len())..];
    text.char_indices().map(|(at, _)| &text[at..]).find(|end| begins(end)).map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::held_back;

    #[test]
    fn an_end_that_may_become_a_stop_text_waits() {
        let stops = vec!["###".to_owned(), "User:".to_owned()];
        assert_eq!(held_back("Hello #", &stops), 1);
        assert_eq!(held_back("Hello ##", &stops), 2);
        assert_eq!(held_back("Hello Us", &stops), 2);
        assert_eq!(held_back("Hello", &stops), 0);
        assert_eq!(held_back("", &stops), 0);
    }
}
