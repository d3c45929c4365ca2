//! Syntax tree to tile IR and program IR: names, shapes, dtypes, constants.
