//! The table of fetchable models, `models.txt`, embedded at build time.
//!
//! **Maps** stanzas of `field value` lines to [`FetchableModel`]s. Every field is required, once; `#` begins a comment
//! line. A test reads the embedded table, so a malformed one does not ship.

/// One fetchable model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchableModel {
    /// The name users type.
    pub name: String,
    /// One line about it.
    pub title: String,
    /// The licence of the weights.
    pub license: String,
    /// Package and exact version, as pip spells a requirement.
    pub requirement: String,
    /// SHA-256 of the wheel, in hexadecimal.
    pub wheel_sha256: String,
    /// Bytes of the wheel.
    pub wheel_bytes: u64,
    /// The path of the model file inside the wheel.
    pub inner_path: String,
    /// SHA-256 of the model file, in hexadecimal.
    pub inner_sha256: String,
    /// Bytes of the model file: the most that is ever unpacked.
    pub inner_bytes: u64,
    /// The name of the file in the cache.
    pub file: String,
}

/// A malformed table, which only a build of a changed table can show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of models is malformed at line {line}: {problem}")]
pub struct TableError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// The embedded table.
pub fn models() -> Result<Vec<FetchableModel>, TableError> {
    parse(include_str!("models.txt"))
}

const FIELDS: [&str; 9] = [
    "title",
    "license",
    "requirement",
    "wheel-sha256",
    "wheel-bytes",
    "inner-path",
    "inner-sha256",
    "inner-bytes",
    "file",
];

struct Stanza<'a> {
    line: usize,
    name: &'a str,
    values: [Option<&'a str>; FIELDS.len()],
}

fn parse(text: &str) -> Result<Vec<FetchableModel>, TableError> {
    let wrong = |line: usize, problem: String| TableError { line, problem };
    let mut stanzas: Vec<Stanza> = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let line = index + 1;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (field, value) =
            content.split_once(' ').ok_or_else(|| wrong(line, "a field without a value".into()))?;
        let value = value.trim();
        if field == "model" {
            stanzas.push(Stanza { line, name: value, values: [None; FIELDS.len()] });
            continue;
        }
        let stanza = stanzas.last_mut().ok_or_else(|| wrong(line, "a field before any model".into()))?;
        let column = FIELDS.iter().position(|known| *known == field);
        let column = column.ok_or_else(|| wrong(line, format!("unknown field {field}")))?;
        if stanza.values[column].replace(value).is_some() {
            return Err(wrong(line, format!("field {field} twice")));
        }
    }
    let models = stanzas.iter().map(finish).collect::<Result<Vec<_>, _>>()?;
    for (index, model) in models.iter().enumerate() {
        if models[..index].iter().any(|other| other.name == model.name) {
            return Err(wrong(stanzas[index].line, format!("model {} twice", model.name)));
        }
    }
    Ok(models)
}

fn finish(stanza: &Stanza) -> Result<FetchableModel, TableError> {
    let wrong = |problem: String| TableError { line: stanza.line, problem };
    let value = |field: &str| -> Result<String, TableError> {
        let column = FIELDS.iter().position(|known| *known == field);
        let value = column.and_then(|column| stanza.values[column]);
        value.map(str::to_owned).ok_or_else(|| wrong(format!("no {field}")))
    };
    let number = |field: &str| value(field)?.parse().map_err(|_| wrong(format!("{field} is not a number")));
    let hash = |field: &str| -> Result<String, TableError> {
        let hash = value(field)?;
        let digits = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hash.len() == 64 && digits { Ok(hash) } else { Err(wrong(format!("{field} is not a SHA-256"))) }
    };
    // Names become folders and file names of the cache.
    let plain = |name: String| {
        let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if good && !name.starts_with('.') {
            Ok(name)
        } else {
            Err(wrong(format!("{name:?} is no file name")))
        }
    };
    Ok(FetchableModel {
        name: plain(stanza.name.to_owned())?,
        title: value("title")?,
        license: value("license")?,
        requirement: value("requirement")?,
        wheel_sha256: hash("wheel-sha256")?,
        wheel_bytes: number("wheel-bytes")?,
        inner_path: value("inner-path")?,
        inner_sha256: hash("inner-sha256")?,
        inner_bytes: number("inner-bytes")?,
        file: plain(value("file")?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_well_formed() {
        let models = models().unwrap();
        assert!(models.iter().any(|model| model.name == "smollm2"));
        for model in models {
            let (package, version) = model.requirement.split_once("==").expect("an exact version");
            assert!(!package.is_empty() && !version.is_empty());
            assert!(model.inner_bytes > 0 && model.wheel_bytes > 0);
        }
    }

    #[test]
    fn malformed_tables_are_refused_with_the_line() {
        let good = include_str!("models.txt");
        assert!(parse(good).is_ok());
        for field in FIELDS {
            let without: String =
                good.lines().filter(|l| !l.trim().starts_with(field)).collect::<Vec<_>>().join("\n");
            assert!(parse(&without).unwrap_err().problem.contains(field), "{field}");
        }
        assert!(parse(&format!("{good}\n{good}")).unwrap_err().problem.contains("twice"));
        assert!(
            parse(&good.replace("model smollm2", "model ../up")).unwrap_err().problem.contains("file name")
        );
        assert!(parse(&good.replace("bcc81830", "BCC81830")).unwrap_err().problem.contains("SHA-256"));
        assert!(parse("title x").unwrap_err().problem.contains("before any model"));
        assert!(parse("model x\n  colour red").unwrap_err().problem.contains("unknown field"));
    }
}
