"""Write ncnn's pair of files.

Imports no library beyond NumPy.
"""
