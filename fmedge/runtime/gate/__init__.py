"""The readers that check a model file before an engine gets it; they share no code with the engines."""
