"""Looking after a store: what it holds, what may go, stores put together, runs to carry away.

Others use `bundle`, `contents`, `lock`, `merge`, `prune`.
"""
