//! One logical line (a statement, or the head of a block) cut into physical ones.
//!
//! The printer gives a line as a flat sequence of [`Piece`]s: text, groups, and places where the line may be broken. The law:
//! * a group that fits stays on one line; else every break of a [`Group::Whole`] becomes a line end, and of a [`Group::Fill`]
//!   as many as needed;
//! * an inner group is broken only if its outer group is, so lines are cut at the loosest place first;
//! * a comment runs to the end of its line, so every group around one is broken.
//!
//! Worked example, with a width of 10: `f(` Open Indent Break("") `aaaa,` Break(" ") `bbbb` Dedent Break("") Close `)` is `f(`, `  aaaa,`,
//! `  bbbb`, `)`; with a width of 13 it is `f(aaaa, bbbb)`.
//!
//! Whether a group fits is decided by looking at no more pieces than fill a line, so the time is linear in the length of the text
//! (times the width); there is no recursion.

use super::WIDTH;

/// A part of a logical line.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Piece<'a> {
    /// Words as they are.
    Text(&'a str),
    /// A group begins.
    Open(Group),
    /// The innermost group ends.
    Close,
    /// Lines broken from here on are one level deeper.
    Indent,
    /// Undoes [`Piece::Indent`].
    Dedent,
    /// A line end if the group is broken, this text if not.
    Break(&'static str),
    /// This text, only if the group is broken: the comma after the last of a list.
    IfBroken(&'static str),
    /// A comment; the next piece of the group that prints anything must be a [`Piece::Break`].
    Comment {
        /// With its slashes.
        text: &'a str,
        /// Whether it stands on a line of its own.
        alone: bool,
    },
}

/// How a group that does not fit is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// At every break.
    Whole,
    /// Only where the next part does not fit.
    Fill,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Flat,
    Broken,
    Filled,
}

/// Appends a line's text to `out`, where the first physical line has its indentation of `indent` levels already.
pub(super) fn layout(pieces: &[Piece<'_>], mut indent: usize, out: &mut String) {
    let forced = forced(pieces);
    let start = out.rfind('\n').map_or(0, |at| at + 1);
    let mut column = width(&out[start..]);
    let mut modes: Vec<Mode> = Vec::new();
    // A comment was the last thing printed: only a line end may follow.
    let mut commented = false;
    let end_line = |out: &mut String, indent: usize| {
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", indent));
        2 * indent
    };
    for (at, piece) in pieces.iter().enumerate() {
        match *piece {
            Piece::Text(text) => {
                out.push_str(text);
                column += width(text);
            }
            Piece::Open(group) => {
                let flat = modes.last() == Some(&Mode::Flat)
                    || (!forced[at] && fits(&pieces[at + 1..], 1, WIDTH.saturating_sub(column)));
                modes.push(match (flat, group) {
                    (true, _) => Mode::Flat,
                    (false, Group::Whole) => Mode::Broken,
                    (false, Group::Fill) => Mode::Filled,
                });
            }
            Piece::Close => {
                modes.pop();
            }
            Piece::Indent => indent += 1,
            Piece::Dedent => indent = indent.saturating_sub(1),
            Piece::Break(flat) => {
                let ends = match modes.last() {
                    Some(Mode::Broken) => true,
                    Some(Mode::Filled) => {
                        let room = WIDTH.saturating_sub(column + width(flat));
                        commented || !fits(&pieces[at + 1..], 0, room)
                    }
                    Some(Mode::Flat) | None => commented,
                };
                if ends {
                    column = end_line(out, indent);
                } else {
                    out.push_str(flat);
                    column += width(flat);
                }
                commented = false;
            }
            Piece::IfBroken(text) => {
                if modes.last() != Some(&Mode::Flat) {
                    out.push_str(text);
                    column += width(text);
                }
            }
            Piece::Comment { text, alone } => {
                if alone || commented {
                    end_line(out, indent);
                } else {
                    out.push(' ');
                }
                out.push_str(text);
                commented = true;
            }
        }
    }
}

/// Which groups hold a comment, by the index of their [`Piece::Open`].
fn forced(pieces: &[Piece<'_>]) -> Vec<bool> {
    let mut forced = vec![false; pieces.len()];
    let mut open: Vec<usize> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Open(_) => open.push(at),
            Piece::Close => {
                let inner = open.pop();
                // Passed outwards at the end of a group, so that each piece is looked at once.
                if let (Some(inner), Some(&outer)) = (inner, open.last()) {
                    forced[outer] |= forced[inner];
                }
            }
            Piece::Comment { .. } => {
                if let Some(&inner) = open.last() {
                    forced[inner] = true;
                }
            }
            Piece::Text(_) | Piece::Indent | Piece::Dedent | Piece::Break(_) | Piece::IfBroken(_) => {}
        }
    }
    forced
}

/// Whether what follows fits into `room` columns: `depth` groups without a break, then all up to the next break.
fn fits(pieces: &[Piece<'_>], mut depth: usize, mut room: usize) -> bool {
    // The group of a break itself counts as left when `depth` is 0: its next break ends the part, those of inner groups do not.
    let mut inner = 0usize;
    let filling = depth == 0;
    for piece in pieces {
        let used = match piece {
            Piece::Text(text) => width(text),
            Piece::Open(_) => {
                if depth > 0 {
                    depth += 1;
                } else {
                    inner += 1;
                }
                0
            }
            Piece::Close => {
                if depth > 0 {
                    depth -= 1;
                } else {
                    inner = inner.saturating_sub(1);
                }
                0
            }
            Piece::Break(flat) if depth > 0 || (filling && inner > 0) => width(flat),
            Piece::Break(_) => return true,
            Piece::Comment { .. } => return depth == 0,
            // Behind the groups asked about: of a group around them, which is broken.
            Piece::IfBroken(text) if depth == 0 && inner == 0 => width(text),
            Piece::Indent | Piece::Dedent | Piece::IfBroken(_) => 0,
        };
        if used > room {
            return false;
        }
        room -= used;
    }
    true
}

/// Columns of a text.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::Piece::*;
    use super::*;

    fn print(pieces: &[Piece<'_>]) -> String {
        let mut out = String::new();
        layout(pieces, 0, &mut out);
        out
    }

    fn list<'a>(head: &'a str, items: &[&'a str], group: Group) -> Vec<Piece<'a>> {
        let mut pieces = vec![Text(head), Open(group), Indent, Break("")];
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                pieces.extend([Text(","), Break(" ")]);
            }
            pieces.push(Text(item));
        }
        pieces.extend([Dedent, Break(""), Close, Text(")")]);
        pieces
    }

    #[test]
    fn a_group_breaks_everywhere_or_nowhere() {
        let long = "x".repeat(60);
        assert_eq!(print(&list("f(", &["a", "b"], Group::Whole)), "f(a, b)");
        assert_eq!(
            print(&list("f(", &[&long, &long, "c"], Group::Whole)),
            format!("f(\n  {long},\n  {long},\n  c\n)")
        );
    }

    #[test]
    fn a_filled_group_breaks_where_it_must() {
        let items = ["12345678"; 15];
        let text = print(&list("f(", &items, Group::Fill));
        assert!(text.lines().all(|l| l.len() <= WIDTH), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn the_text_behind_a_group_counts() {
        let long = "x".repeat(WIDTH - 4);
        let mut pieces = list("f(", &[&long], Group::Whole);
        pieces.push(Text(" {"));
        assert_eq!(print(&pieces), format!("f(\n  {long}\n) {{"));
    }

    #[test]
    fn a_comment_breaks_the_groups_around_it() {
        let pieces = [
            Text("f("),
            Open(Group::Whole),
            Indent,
            Break(""),
            Text("a,"),
            Comment { text: "// one", alone: false },
            Comment { text: "// two", alone: true },
            Break(" "),
            Text("b"),
            Dedent,
            Break(""),
            Close,
            Text(")"),
        ];
        assert_eq!(print(&pieces), "f(\n  a, // one\n  // two\n  b\n)");
    }
}
