//! The values of literals: numbers and strings, from their text.
//!
//! Numbers: `42`, `1_000`, `0x7f`, `0b1010`; `1.0`, `1e-5`, `2.5e3`, `0x1.8p3`. An underscore may stand after any digit. A
//! decimal float is rounded to nearest even, once to f64 and once to f32. A hexadecimal float must be an f64 exactly.

use std::ops::Range;

/// Why a number has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NumberError {
    /// Does not follow the grammar of numbers; what is wrong in words.
    Malformed(&'static str),
    /// Integer above 2^64 - 1.
    TooLarge,
    /// Decimal float that rounds to infinity.
    Infinite,
    /// Hexadecimal float that no f64 equals.
    NotExact,
}

/// The value of a number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Number {
    Int(u64),
    Float { value: f64, single: f32 },
}

/// How many bytes of `text`, which begins with a digit, belong to one number, malformed ones taken whole.
pub(crate) fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let hex = text.starts_with("0x") || text.starts_with("0X");
    let word = |mut at: usize| {
        while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_') {
            let exponent =
                if hex { matches!(bytes[at], b'p' | b'P') } else { matches!(bytes[at], b'e' | b'E') };
            at += 1;
            let signed = exponent && matches!(bytes.get(at), Some(b'+' | b'-'));
            if signed && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
        }
        at
    };
    let end = word(0);
    // A point belongs to the number only between digits: `0..n` and `2.T` are not floats.
    let digit = |b: &u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(digit) { word(end + 1) } else { end }
}

/// The value of a number's text.
pub(crate) fn number(text: &str) -> Result<Number, NumberError> {
    let lower = text.to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0b") {
        return integer(digits, 2, "a binary integer has only the digits 0 and 1");
    }
    if let Some(digits) = lower.strip_prefix("0x") {
        if digits.contains(['.', 'p']) {
            return hex_float(digits);
        }
        return integer(digits, 16, "a hexadecimal integer has only the digits 0 to 9 and a to f");
    }
    if !lower.contains(['.', 'e']) {
        return integer(&lower, 10, "no letter may follow a number");
    }
    let plain = without_underscores(&lower).ok_or(NumberError::Malformed("`_` stands only after a digit"))?;
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let whole = mantissa.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let signless = exponent.trim_start_matches(['+', '-']);
    if !whole {
        return Err(NumberError::Malformed("no letter may follow a number"));
    }
    if signless.is_empty() || !signless.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NumberError::Malformed("the exponent is an integer: `1e-5`"));
    }
    match (plain.parse::<f64>(), plain.parse::<f32>()) {
        (Ok(value), Ok(_)) if value.is_infinite() => Err(NumberError::Infinite),
        (Ok(value), Ok(single)) => Ok(Number::Float { value, single }),
        // Digits with at most one point among them, and an integer behind `e`: there is no such number that both refuse.
        (_, _) => Err(NumberError::Malformed("the exponent is an integer: `1e-5`")),
    }
}

/// The text without its underscores; `None` if one does not follow a digit.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let stray = |(i, &b): (usize, &u8)| {
        b == b'_' && !(i > 0 && (bytes[i - 1].is_ascii_hexdigit() || bytes[i - 1] == b'_'))
    };
    if bytes.iter().enumerate().any(stray) { None } else { Some(text.replace('_', "")) }
}

fn integer(digits: &str, radix: u32, wrong_digit: &'static str) -> Result<Number, NumberError> {
    let plain = without_underscores(digits).ok_or(NumberError::Malformed("`_` stands only after a digit"))?;
    if plain.is_empty() {
        return Err(NumberError::Malformed("there are no digits after the prefix"));
    }
    if !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(NumberError::Malformed(wrong_digit));
    }
    u64::from_str_radix(&plain, radix).map(Number::Int).map_err(|_| NumberError::TooLarge)
}

/// `1.8p3` after `0x`: 1.5 times 2^3.
fn hex_float(digits: &str) -> Result<Number, NumberError> {
    let form = NumberError::Malformed("a hexadecimal float is written like `0x1.8p3`");
    let plain = without_underscores(digits).ok_or(form)?;
    let (mantissa, exponent) = plain.split_once('p').ok_or(form)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_hexdigit()) {
        return Err(form);
    }
    let sign_ok = exponent.trim_start_matches(['+', '-']).len() + 1 >= exponent.len();
    if !sign_ok || !exponent.bytes().any(|b| b.is_ascii_digit()) {
        return Err(form);
    }
    if !exponent.trim_start_matches(['+', '-']).bytes().all(|b| b.is_ascii_digit()) {
        return Err(form);
    }
    let exponent: i64 = exponent.parse().map_err(|_| NumberError::NotExact)?;
    let all = format!("{whole}{fraction}");
    let all = all.trim_start_matches('0');
    let significant = all.trim_end_matches('0');
    if significant.is_empty() {
        return Ok(Number::Float { value: 0.0, single: 0.0 });
    }
    let bits = u64::from_str_radix(significant, 16).map_err(|_| NumberError::NotExact)?;
    let dropped = (all.len() - significant.len()) as i64;
    let power = exponent.saturating_add(4 * (dropped - fraction.len() as i64));
    let bits_power = i64::from(bits.trailing_zeros());
    let odd = bits >> bits_power;
    let power = power.saturating_add(bits_power);
    // An odd number of at most 53 bits times 2^power is an f64 exactly if its last bit is not below 2^-1074 and its
    // first not above 2^1023.
    let width = 64 - i64::from(odd.leading_zeros());
    if width > 53 || power < -1074 || power.saturating_add(width) > 1024 {
        return Err(NumberError::NotExact);
    }
    let value = times_power_of_two(odd as f64, power as i32);
    Ok(Number::Float { value, single: value as f32 })
}

/// `x * 2^power` where the result is exact. The factor is applied in steps that are themselves normal numbers.
fn times_power_of_two(mut x: f64, mut power: i32) -> f64 {
    while power != 0 {
        let step = power.clamp(-1000, 1000);
        x *= 2f64.powi(step);
        power -= step;
    }
    x
}

/// Decodes the text between the quotes of a string. Each wrong escape is given by its byte range, with the reason.
pub(crate) fn unescape(text: &str) -> (String, Vec<(Range<usize>, &'static str)>) {
    let mut value = String::with_capacity(text.len());
    let mut wrong = Vec::new();
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match rest.next() {
            Some((_, 'n')) => value.push('\n'),
            Some((_, 't')) => value.push('\t'),
            Some((_, '\\')) => value.push('\\'),
            Some((_, '"')) => value.push('"'),
            Some((after, 'u')) => {
                let tail = &text[after + 1..];
                let inner = tail.strip_prefix('{').and_then(|t| t.split_once('}')).map(|(inner, _)| inner);
                let Some(digits) = inner else {
                    wrong.push((at..after + 1, "a Unicode escape is written `\\u{1F600}`"));
                    continue;
                };
                let end = after + 1 + digits.len() + 2;
                let hex = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let code = if hex { u32::from_str_radix(digits, 16).ok() } else { None };
                match code.and_then(char::from_u32) {
                    Some(c) => value.push(c),
                    None => wrong.push((at..end, "not a Unicode scalar value in 1 to 6 hexadecimal digits")),
                }
                // Each of the bytes up to `end` is one character, or was refused just now.
                while rest.clone().next().is_some_and(|(i, _)| i < end) {
                    rest.next();
                }
            }
            Some((next, c)) => {
                wrong.push((at..next + c.len_utf8(), "the escapes are \\n \\t \\\\ \\\" and \\u{..}"));
                value.push(c);
            }
            None => wrong.push((at..at + 1, "the escapes are \\n \\t \\\\ \\\" and \\u{..}")),
        }
    }
    (value, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(text: &str) -> f64 {
        match number(text) {
            Ok(Number::Float { value, .. }) => value,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn integers() {
        assert_eq!(number("1_000"), Ok(Number::Int(1000)));
        assert_eq!(number("0x7F"), Ok(Number::Int(127)));
        assert_eq!(number("0b1010"), Ok(Number::Int(10)));
        assert_eq!(number("18446744073709551615"), Ok(Number::Int(u64::MAX)));
        assert_eq!(number("18446744073709551616"), Err(NumberError::TooLarge));
        for text in ["0x", "0b2", "12ab", "0xg", "0x_1"] {
            assert!(matches!(number(text), Err(NumberError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn floats() {
        assert_eq!(float("1.5"), 1.5);
        assert_eq!(float("1e-5"), 1e-5);
        assert_eq!(float("2.5E+3"), 2500.0);
        assert_eq!(number("1e999"), Err(NumberError::Infinite));
        for text in ["1e", "1.5x", "1e5.5", "1.0e+"] {
            assert!(matches!(number(text), Err(NumberError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn an_f32_is_rounded_from_the_text() {
        // Just above the midpoint of 1 and its f32 successor, but nearer to the midpoint than an f64 can tell.
        let text = "1.00000005960464477539062500000000000000001";
        let Ok(Number::Float { value, single }) = number(text) else { panic!() };
        assert_eq!(single, 1.0 + f32::EPSILON);
        assert_eq!(value as f32, 1.0, "rounding twice would lose it");
    }

    #[test]
    fn hexadecimal_floats() {
        assert_eq!(float("0x1.8p3"), 12.0);
        assert_eq!(float("0x10p-4"), 1.0);
        assert_eq!(float("0x.0p0".replace("0x.", "0x0.").as_str()), 0.0);
        assert_eq!(float("0x1p-1074"), f64::from_bits(1));
        assert_eq!(float("0x1.fffffffffffffp1023"), f64::MAX);
        for text in ["0x1.fffffffffffff8p0", "0x1p1024", "0x1p-1075", "0x1p99999999999999999999"] {
            assert_eq!(number(text), Err(NumberError::NotExact), "{text}");
        }
        for text in ["0x1.8", "0x1p", "0x1p--3", "0x1.gp0"] {
            assert!(matches!(number(text), Err(NumberError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn lengths() {
        for (text, length) in
            [("0..n", 1), ("1.5e-3+x", 6), ("0x1e-5", 4), ("0x1.8p-3)", 8), ("2.T", 1), ("1e", 2)]
        {
            assert_eq!(number_length(text), length, "{text}");
        }
    }

    #[test]
    fn strings() {
        assert_eq!(unescape(r#"a\n\t\\\"\u{1F600}z"#).0, "a\n\t\\\"\u{1F600}z");
        for (text, range) in
            [(r"\q", 0..2), (r"x\u12", 1..3), (r"\u{110000}", 0..10), (r"\é", 0..3), ("a\\", 1..2)]
        {
            assert_eq!(unescape(text).1.first().map(|w| w.0.clone()), Some(range), "{text}");
        }
    }
}
