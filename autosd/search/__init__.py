"""The search: spaces, trials, engines.

Called, it runs a study: `autosd.search(...)` is `autosd.results.calls.search`.
"""
