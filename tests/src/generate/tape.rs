//! Decisions: a string of numbers that is read from its start and answers 0 after its end.

/// See the head comment.
#[derive(Clone, Debug)]
pub struct Tape<'a>(&'a [u32]);

impl<'a> Tape<'a> {
    /// From numbers, first decision first.
    pub fn new(decisions: &'a [u32]) -> Self {
        Self(decisions)
    }

    /// The next number, any of 32 bits.
    pub fn bits(&mut self) -> u32 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        self.bits() as usize % end
    }

    /// True in one of `of` cases, and never on an exhausted tape.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == of - 1
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Whether nothing is left to decide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
