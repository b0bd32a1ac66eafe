"""Typed facts that every sentence of a report is made from, gates on them, what to do next.

Others use `accuracy`, `agreement`, `answer`, `baseline`, `certified`, `changes`, `checks`,
`cohorts`, `explanation`, `fleet`, `gates`, `isolated`, `label_accuracy`, `next_commands`,
`outcome`, `pairs`, `switched`, `told`.
"""
