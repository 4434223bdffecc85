"""Pictures and who trains on them: datasets as uint8 tensors, membership splits, batched augmentation."""
