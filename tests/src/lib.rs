//! Cross-crate tests: filetests, backend differences, models, hostile files, tidy rules.
