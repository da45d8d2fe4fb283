"""The serving half: loads published models into onnxruntime and answers over HTTP. Never imports torch."""
