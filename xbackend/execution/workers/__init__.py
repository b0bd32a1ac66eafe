"""Worker processes: packed, staged, started, listened to and ended.

Others use `launcher`, `zipapp`.
"""
