"""Examples and who trains on them: datasets as tensors, membership splits, batched augmentation."""
