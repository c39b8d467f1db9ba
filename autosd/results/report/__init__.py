"""The report of a study: everything it tells, its figures and its page. No torch, no Ray."""
