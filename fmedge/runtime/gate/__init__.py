"""The readers that check a model file before an engine gets it.

They share nothing with the engines.
"""
