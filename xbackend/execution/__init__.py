"""From a request to records: plans the runs, starts the workers, keeps what they give.

Others use `convert`, `execute`, `launcher`, `plan`, `progress`, `request`, `source`.
"""
