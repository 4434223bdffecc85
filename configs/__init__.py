"""Values: what an experiment is, which flags describe it, and the errors that name a flag."""
