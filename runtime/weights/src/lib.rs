//! Weight files: GGUF and safetensors readers, safe on hostile input; fetching.
