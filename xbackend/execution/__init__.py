"""From a request to records: plans the runs, starts the workers, keeps what they give.

Others use `convert`, `durations`, `execute`, `plan`, `progress`, `request`, `source`,
`workers`.
"""
