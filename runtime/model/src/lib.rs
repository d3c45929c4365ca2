//! Model runtime: tokenizer, chat template, sampler, program executor.
