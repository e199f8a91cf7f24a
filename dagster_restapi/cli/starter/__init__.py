"""A first configuration: guessed from an OpenAPI description or an answer, and written as YAML with comments."""
