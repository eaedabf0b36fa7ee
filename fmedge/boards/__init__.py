"""Other machines: reach a board over ssh, set fmedge up on it, and run jobs there that survive a lost connection.

Nothing here measures or runs a model: a job is a command of fmedge, and the board's own fmedge does what it says.
"""
