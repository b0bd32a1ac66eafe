"""From a request to records: plans the runs, starts the workers, keeps what they give.

Others use `convert`, `durations`, `execute`, `launcher`, `plan`, `progress`, `request`, `source`.
"""
