"""Tables and figures, made from result rows and score arrays alone."""
