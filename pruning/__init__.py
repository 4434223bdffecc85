"""Pruning methods. The dense baseline is one of them: a pruner whose hooks do nothing."""
