"""How a certificate is made: which layers can be judged, their right values, their judgement.

Others use `evaluation`, `judging`, `layers`, `local`, `reading`.
"""
