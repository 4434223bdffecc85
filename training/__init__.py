"""Training one model with exact membership, and asking it for its outputs."""
