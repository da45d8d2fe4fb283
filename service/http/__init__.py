"""HTTP in front of inference. Knows no onnxruntime."""
