"""Takes electricity meter readings and answers 201 only when they are committed."""

__version__ = "0.1.0"
