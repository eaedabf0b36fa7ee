"""Write models for fmedge's own kernels, which compute chains of 3 x 3 convolutions.

Stock networks need no library beyond NumPy; networks of the user's own come as ONNX.
"""
