"""Networks on disk: one safetensors file that says everything about itself."""
