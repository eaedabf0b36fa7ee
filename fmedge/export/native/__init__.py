"""Write models for fmedge's own kernels, which compute chains of 3 x 3 convolutions.

Imports no library beyond NumPy.
"""
