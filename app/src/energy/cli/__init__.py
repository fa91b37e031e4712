"""The command line `energy`: what a person or a container starts. Explains failures in one sentence, never a stack trace."""
