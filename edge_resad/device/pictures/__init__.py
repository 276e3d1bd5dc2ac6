"""Pictures of parts that stay on the device: a folder of bounded size, and frames taken for training."""
