"""The paper's studies as commands: each makes models, runs them, and says what it found here.

Others use `catalogue`, `configuration`, `figure`, `perform`, `study`, `table`.
"""
