//! Source text to syntax tree: spans, diagnostics, lexer, grammar, AST.
