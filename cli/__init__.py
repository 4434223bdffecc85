"""What the scripts share: flags, exit codes, progress, and the evaluation of a runs directory."""
