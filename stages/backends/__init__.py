"""The only rooms that import torch, diffusers, transformers, insightface and onnxruntime."""
