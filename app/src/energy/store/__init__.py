"""Where readings are kept: the promises (`protocol`), their one implementation (`postgres`), and its schema."""
