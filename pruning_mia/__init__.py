"""Networks, their pruning and membership inference, as an installed package: the command is `pruning-mia`."""
